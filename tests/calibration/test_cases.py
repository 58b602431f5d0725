import numpy as np
import pytest

import napari_cead as cead
from napari_cead.calibration.cases import BINS, Case, healthy_in, spread_in
from napari_cead.detection.thresholds import ScoreHistograms
from napari_cead.metrics import PatientCounts, hd95, lesionwise, match_lesions, volume_ml

SPACING = (3.0, 0.9, 0.9)


def scan(seed=0, shape=(9, 40, 44)):
    """A noisy map inside a brain, with a lesion that partly lies outside of it."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
    brain = (z / 0.8) ** 2 + (y / 0.6) ** 2 + (x / 0.7) ** 2 < 1
    reference = (z - 0.2) ** 2 + (y - 0.5) ** 2 + (x - 0.1) ** 2 < 0.06
    anomaly_map = np.where(brain, rng.random(shape) ** 3 * 0.7 + 0.3 * reference, 0).astype(np.float32)
    return anomaly_map, reference, brain, ~reference.any(axis=(1, 2))


def case(seed=0, name="one", labelled=True):
    anomaly_map, reference, brain, healthy = scan(seed)
    return Case.of(name, anomaly_map, reference if labelled else None, brain, SPACING, healthy)


SETTINGS = [
    cead.PostprocessParams(threshold=threshold, closing_radius=closing, dilation_radius=dilation)
    for threshold in (0.0, 0.02, 0.1234567, 0.3, 0.69)
    for closing, dilation in ((2, 1), (0, 2), (1, 0), (3, 25))
]


OUTSIDE = [params.replace(inside_brain=False) for params in SETTINGS]


@pytest.mark.parametrize("grid", [SETTINGS, OUTSIDE, [*SETTINGS, *OUTSIDE]], ids=["cut", "uncut", "both"])
def test_figures_are_those_of_the_full_map_at_any_settings(grid):
    anomaly_map, reference, brain, _ = scan()
    one = case()
    dice, figures = one.dice(grid), one.figures(grid)
    for params, value in zip(grid, dice, strict=True):
        full, found = cead.postprocess(anomaly_map, params, SPACING, brain), figures[params]
        assert value == cead.dice(full, reference)
        for own, expected in zip(
            vars(found.counts).values(), vars(PatientCounts.of(full, reference, brain)).values(), strict=True
        ):
            np.testing.assert_array_equal(own, expected)  # slice by slice: slices without brain are there too
        match, by_lesion = match_lesions(full, reference, SPACING), lesionwise(full, reference, SPACING)
        assert (found.detections, found.lesions_found) == (len(match.detections), len(match.found))
        np.testing.assert_equal(found.hd95, hd95(full, reference, SPACING))
        assert (found.lesionwise_dice, found.lesionwise_hd95) == (by_lesion.dice, by_lesion.hd95)
        assert found.detected_ml == volume_ml(full, SPACING)


def test_nothing_is_counted_where_a_data_set_says_to_ignore(tmp_path):
    anomaly_map, reference, brain, healthy = scan()
    ignored = np.zeros_like(brain)
    ignored[3:6, 2:18, 5:30] = True  # reaches beyond the brain
    reference, brain, anomaly_map = reference & ~ignored, brain & ~ignored, np.where(ignored, 0, anomaly_map)
    made = Case.of("one", anomaly_map, reference, brain, SPACING, healthy, ignored)
    made.save(tmp_path / "one.npz")
    for one in (made, Case.load(tmp_path / "one.npz", "one")):
        dice, figures = one.dice(SETTINGS), one.figures(SETTINGS)
        for params, value in zip(SETTINGS, dice, strict=True):
            full = cead.postprocess(anomaly_map, params, SPACING, brain) & ~ignored
            assert value == cead.dice(full, reference)
            assert figures[params].detected_ml == volume_ml(full, SPACING)


def test_nan_is_above_no_threshold():
    anomaly_map = np.full((1, 1, 3), 0.5, np.float32)
    anomaly_map[0, 0, 1] = np.nan
    full = np.ones(anomaly_map.shape, bool)
    one = Case.of("one", anomaly_map, full, full, SPACING, np.zeros(1, bool))
    params = cead.PostprocessParams(threshold=0.3, closing_radius=0, dilation_radius=0)
    assert one.figures([params])[params].counts.tp == [2]
    assert one.dice([params]) == [0.8]


def test_healthy_histogram_holds_brain_voxels_of_healthy_slices_alone():
    anomaly_map, _, brain, healthy = scan()
    values = anomaly_map[healthy][brain[healthy]]
    expected = ScoreHistograms.of(values, np.zeros(values.shape, bool), bins=BINS)
    np.testing.assert_array_equal(case().healthy.healthy, expected.healthy)


@pytest.mark.parametrize("labelled", [True, False])
def test_a_case_comes_back_from_disk_as_it_was(tmp_path, labelled):
    one, file = case(1, "p/1", labelled), tmp_path / "case.npz"
    one.save(file)
    stored = Case.load(file, "p/1")
    assert (stored.shape, stored.room, stored.spacing) == (one.shape, one.room, one.spacing)
    for name in ("values", "brain", "brain_slices"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(one, name))
    for found in (stored.healthy, healthy_in(file)):
        np.testing.assert_array_equal(found.healthy, one.healthy.healthy)
    for spread in (stored.spread, spread_in(file)):
        np.testing.assert_array_equal(spread.values, one.spread.values)
        np.testing.assert_array_equal(spread.counts, one.spread.counts)
    if labelled:
        np.testing.assert_array_equal(stored.reference, one.reference)
    else:
        assert stored.reference is None


def test_an_unlabelled_case_cannot_be_counted():
    one = case(labelled=False)
    assert not one.has_lesion
    with pytest.raises(ValueError, match="no lesion mask"):
        one.figures([cead.PostprocessParams()])
