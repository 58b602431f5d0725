import numpy as np
import pytest

import napari_cead as cead
from napari_cead.detection.thresholds import ScoreHistograms
from napari_cead.evaluation.cases import BINS, THRESHOLDS, Case, CasesOnDisk
from napari_cead.metrics import PatientCounts, averages

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


def test_masks_at_the_candidates_are_those_of_the_full_map():
    anomaly_map, reference, brain, _ = scan()
    one = case()
    for threshold in THRESHOLDS[::7]:
        for closing, dilation in ((2, 1), (0, 2), (1, 0)):
            params = cead.PostprocessParams(
                threshold=threshold, closing_radius=closing, dilation_radius=dilation
            )
            full = cead.postprocess(anomaly_map, params, SPACING, brain)
            mask = one.mask(params)
            assert mask.sum() == full.sum()
            expected = averages([PatientCounts.of(full, reference, brain)])
            assert averages([one.counts(mask)]) == expected


def test_a_value_equal_to_a_candidate_is_not_above_it_and_nan_is_above_none():
    anomaly_map = np.zeros((1, 1, 5), np.float32)
    anomaly_map[0, 0] = [
        0,
        np.float32(THRESHOLDS[10]),
        np.nextafter(np.float32(THRESHOLDS[10]), 1),
        1,
        np.nan,
    ]
    full = np.ones(anomaly_map.shape, bool)
    one = Case.of("one", anomaly_map, full, full, SPACING, np.zeros(1, bool))
    assert one.levels.ravel().tolist() == [0, 10, 11, len(THRESHOLDS), 0]


def test_other_settings_than_candidates_are_refused():
    with pytest.raises(ValueError, match="post-processed"):
        case().mask(cead.PostprocessParams(threshold=0.123456))
    with pytest.raises(ValueError, match="post-processed"):
        case().mask(cead.PostprocessParams(threshold=THRESHOLDS[5], dilation_radius=5))


def test_healthy_histogram_holds_brain_voxels_of_healthy_slices_alone():
    anomaly_map, _, brain, healthy = scan()
    values = anomaly_map[healthy][brain[healthy]]
    expected = ScoreHistograms.of(values, np.zeros(values.shape, bool), bins=BINS)
    np.testing.assert_array_equal(case().healthy.healthy, expected.healthy)


@pytest.mark.parametrize("labelled", [True, False])
def test_cases_on_disk_come_back_as_they_were(tmp_path, labelled):
    cases = CasesOnDisk(tmp_path / "cases")
    originals = [case(seed, f"p/{seed}", labelled) for seed in (1, 2)]
    for one in originals:
        cases.append(one)
    assert [one.name for one in cases] == ["p/1", "p/2"]
    for stored, one in zip(cases, originals, strict=True):
        np.testing.assert_array_equal(stored.levels, one.levels)
        np.testing.assert_array_equal(stored.brain_slices, one.brain_slices)
        np.testing.assert_array_equal(stored.healthy.healthy, one.healthy.healthy)
        assert stored.spacing == one.spacing
        if labelled:
            np.testing.assert_array_equal(stored.reference, one.reference)
        else:
            assert stored.reference is None
    assert cases[-1].name == "p/2"
    assert [one.name for one in cases[:1]] == ["p/1"]
    with pytest.raises(IndexError):
        cases[2]


def test_an_unlabelled_case_cannot_be_counted():
    one = case(labelled=False)
    assert not one.has_lesion
    with pytest.raises(ValueError, match="no lesion mask"):
        one.counts(np.zeros(one.levels.shape, bool))
