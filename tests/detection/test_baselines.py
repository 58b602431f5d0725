"""Baselines against their words: scaled, smoothed and mirrored here by other means."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import gaussian

import napari_cead as cead
from napari_cead.detection.baselines import ASYMMETRY_MM, BASELINES
from napari_cead.detection.smoothing import smoothed_in_brain
from napari_cead.evaluation import evaluate
from napari_cead.slices.symmetry import midline, mirrored
from napari_cead.zoo import Preprocessing, load_card, load_model, save_model
from scans import make_brain

SPACING = (3.0, 1.0, 0.8)
NAMES = ["threshold", "tissue", "tissue-smooth", "asymmetry"]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """A patient with its brain, scaled by its tissue by hand."""
    volume, _ = make_brain((9, 40, 36), seed=5)
    folder = tmp_path_factory.mktemp("patient")
    nib.save(nib.Nifti1Image(volume.T, np.diag([*SPACING[::-1], 1.0])), folder / "flair.nii.gz")
    person = cead.load_patient(folder)
    brain = ndimage.binary_fill_holes(person.volume() > 0)
    values = person.volume()[brain]
    tissue = np.median(values[values > 0.6 * np.median(values)])
    scaled = np.where(brain, np.clip(person.volume() / (2 * tissue), 0, 1), 0)
    return person, brain, scaled


def normalised(values, brain, sigma):
    """Smooth inside the brain with another library's Gaussian."""
    options = {"sigma": sigma, "mode": "constant", "truncate": 4.0, "preserve_range": True}
    weight = gaussian(brain.astype(float), **options)
    return np.where(brain, gaussian(np.where(brain, values, 0.0), **options) / np.maximum(weight, 1e-9), 0)


def test_these_stand_in_every_table():
    assert list(BASELINES) == NAMES
    assert [baseline.title("t1_gd") for baseline in BASELINES.values()] == [f"t1_gd-{name}" for name in NAMES]
    for baseline in BASELINES.values():
        assert baseline.default in baseline.maps and set(baseline.healthy) == set(baseline.maps)
        for score in baseline.maps:
            params = baseline.settings(score, "healthy-quantile", "flair")
            assert 0 < params.threshold < 1 and params == cead.PostprocessParams(threshold=params.threshold)
            assert baseline.settings(score, "healthy-quantile", "t2") is None
            assert baseline.settings(score, "validation", "flair") is None


def test_raw_intensity_is_scaled_by_the_percentile_on_the_patients_own_grid(seen):
    person, brain, _ = seen
    found = BASELINES["threshold"].seen(person).anomaly_map("intensity")
    expected = np.clip(person.volume() / np.percentile(person.volume()[brain], 99.5), 0, 1) * brain
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_tissue_lies_at_one_half(seen):
    person, _, scaled = seen
    assert BASELINES["tissue"].seen(person).anomaly_map("intensity") == pytest.approx(scaled, abs=1e-6)


@pytest.mark.parametrize("score", BASELINES["tissue-smooth"].maps)
def test_smoothing_is_in_millimetres_inside_the_brain(seen, score):
    person, brain, scaled = seen
    size, kind = score.split("mm-")
    sigma = [float(size) / side for side in SPACING]
    if kind == "2d":
        sigma[0] = 0
    found = BASELINES["tissue-smooth"].seen(person).anomaly_map(score)
    assert found == pytest.approx(normalised(scaled, brain, sigma), abs=1e-5)


def test_asymmetry_is_brightness_above_tissue_and_above_the_mirrored_side(seen):
    person, brain, scaled = seen
    width = brain.shape[2]
    shares = {}
    for axis in range(width // 2, 3 * width // 2):
        across = axis - np.arange(width)
        inside = (across >= 0) & (across < width)
        shares[axis] = np.count_nonzero(brain[:, :, inside] & brain[:, :, across[inside]])
    axis = max(shares, key=shares.get)
    assert shares[midline(brain)] == shares[axis]
    other, there = np.zeros_like(scaled), np.zeros_like(brain)
    for x in range(width):
        if 0 <= midline(brain) - x < width:
            other[:, :, x], there[:, :, x] = (one[:, :, midline(brain) - x] for one in (scaled, brain))
    expected = np.sqrt(np.clip(scaled - 0.5, 0, None) * np.where(there, np.clip(scaled - other, 0, None), 0))
    expected = normalised(expected, brain, [ASYMMETRY_MM / side for side in SPACING])
    found = BASELINES["asymmetry"].seen(person).anomaly_map("asymmetry")
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_lesion_on_one_side_stands_out_and_the_same_on_both_does_not():
    brain = np.zeros((1, 21, 41), np.bool_)
    brain[0, 3:18, 4:33] = True  # not in the middle of the image
    assert midline(brain) == 4 + 32
    image = np.where(brain, 0.5, 0).astype(np.float32)
    image[0, 8:11, 8:11] = 0.8
    score = BASELINES["asymmetry"].maps["asymmetry"]
    one_side = score(image, brain, (1.0, 1.0, 1.0))
    assert np.unravel_index(one_side.argmax(), one_side.shape) == (0, 9, 9)
    assert one_side[0, 9, 27] < 0.01 * one_side.max() and (one_side[~brain] == 0).all()
    both = np.maximum(image, mirrored(image, midline(brain)))
    assert not score(both, brain, (1.0, 1.0, 1.0)).any()


def test_no_brain_no_map():
    nothing = np.zeros((2, 5, 6), np.float32)
    assert not smoothed_in_brain(nothing, nothing > 0, SPACING, 1.0, through=True).any()


def rows_of(evaluation):
    return {(row.model, row.score, row.rule): row for row in evaluation.rows if row.model != "mine"}


def test_the_baselines_do_not_depend_on_the_models_or_their_order(untouched, split, model, tmp_path, quiet):
    card = load_card(model)
    other = card.model_copy(
        update={
            "name": "other",
            "preprocessing": Preprocessing(image_size=40, intensity="volume-tissue", spacing=(2, 2)),
        }
    )
    second = save_model(load_model(model, device="cpu").module, other, tmp_path / "other")
    found = []
    for number, models in enumerate(([], [model, second], [second, model])):
        evaluation = evaluate(
            untouched, models, tmp_path / str(number), split=split, device="cpu", resamples=5, report=False
        )
        found.append({key: row for key, row in rows_of(evaluation).items() if key[0] != "other"})
    assert {name for name, *_ in found[0]} == {*(f"flair-{name}" for name in NAMES), "nothing"}
    for others in found[1:]:
        assert others.keys() == found[0].keys()
        for key, row in others.items():
            same = found[0][key]
            assert (row.params, row.averages, row.note, row.chosen) == (
                same.params,
                same.averages,
                same.note,
                same.chosen,
            )
            assert row.froc == pytest.approx(same.froc, nan_ok=True)
            assert row.method == same.method != ""


def test_validation_patients_choose_the_size_by_dice_patient(untouched, split, tmp_path, quiet):
    evaluation = evaluate(untouched, [], tmp_path, split=split, resamples=5, report=False)
    (score,) = {score for name, score, _ in rows_of(evaluation) if name == "flair-tissue-smooth"}
    row = rows_of(evaluation)["flair-tissue-smooth", score, "validation"]
    healthy = [own for (*_, rule), own in rows_of(evaluation).items() if rule == "healthy-quantile"]
    assert {own.chosen for own in healthy} == {"2 validation patients"}
    assert "of 1mm-2d, 1mm-3d, 3mm-2d, 3mm-3d" in row.method and "2 validation patients" in row.method

    # The best that thresholds tried here can do with each size.
    smooth, best = BASELINES["tissue-smooth"], {}
    people = [cead.load_patient(untouched / name) for name in ("Mets_002", "Mets_003")]
    for name in smooth.maps:
        maps = [smooth.seen(person).anomaly_map(name) for person in people]
        best[name] = max(
            np.mean(
                [
                    cead.dice(
                        cead.postprocess(values, shape.replace(threshold=threshold), person.spacing),
                        person.lesion_mask,
                    )
                    for values, person in zip(maps, people, strict=True)
                ]
            )
            for threshold in np.linspace(0.5, 0.85, 36)
            for shape in (
                cead.PostprocessParams(),
                cead.PostprocessParams(closing_radius=1, dilation_radius=0),
                cead.PostprocessParams(closing_radius=1, area_fraction=0.2, dilation_radius=0),
            )
        )
    assert best[score] > max(best.values()) - 0.03


def test_without_validation_patients_a_fixed_size_and_fixed_thresholds_stand(untouched, tmp_path, quiet):
    evaluation = evaluate(untouched, [], tmp_path, resamples=5, report=False)
    rows = rows_of(evaluation)
    assert {score for name, score, _ in rows if name == "flair-tissue-smooth"} == {"1mm-3d"}
    for baseline in BASELINES.values():
        row = rows[baseline.title("flair"), baseline.default, "healthy-quantile"]
        assert row.params == baseline.settings(baseline.default, "healthy-quantile", "flair")
        assert row.chosen == "fixed default" and row.averages is not None
    assert "the fixed one" in rows["flair-tissue-smooth", "1mm-3d", "oracle"].method
    text = (tmp_path / "table.md").read_text()
    assert "## Baselines" in text and "fixed default" in text and "FROC" in text


def test_healthy_volumes_say_how_much_is_marked_in_them(untouched, split, tmp_path, quiet):
    evaluation = evaluate(untouched, [], tmp_path, split=split, resamples=5, report=False)
    row = rows_of(evaluation)["flair-threshold", "intensity", "healthy-quantile"]
    healthy = cead.load_patient(untouched / "Mets_006")
    seen = BASELINES["threshold"].seen(healthy)
    mask = cead.postprocess(seen.anomaly_map("intensity"), row.params, healthy.spacing, seen.stack.brain)
    assert row.healthy_patients == 1
    assert row.healthy_ml == pytest.approx(mask.sum() * 0.94 * 0.94 / 1000)
