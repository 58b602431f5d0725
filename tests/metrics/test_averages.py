import math

import numpy as np
import pytest

from napari_cead.metrics import PatientCounts, averages, dice, mixture, precision, recall


def random_cohort(seed=0):
    """Patients of different depth, with empty slices of every sort, one patient without anything."""
    rng = np.random.default_rng(seed)
    cohort = []
    for depth in (5, 9, 14):
        mask, reference = rng.random((2, depth, 12, 12)) < 0.2
        mask[rng.random(depth) < 0.4] = False
        reference[rng.random(depth) < 0.5] = False
        mask[0] = reference[0] = False
        brain = np.zeros((depth, 12, 12), dtype=bool)
        brain[: depth - 1, 2:10, 2:10] = True
        mask[depth - 1] = reference[depth - 1] = False
        cohort.append((mask, reference, brain))
    cohort.append((np.zeros((4, 12, 12)), np.zeros((4, 12, 12)), np.ones((4, 12, 12))))
    return cohort


def test_each_average_by_its_definition():
    cohort = random_cohort()
    result = averages(PatientCounts.of(*patient) for patient in cohort)
    flat_mask, flat_reference = (np.concatenate([np.ravel(p[i]) > 0 for p in cohort]) for i in (0, 1))
    assert result.dice_pooled == dice(flat_mask, flat_reference)
    assert result.precision == precision(flat_mask, flat_reference)
    assert result.recall == recall(flat_mask, flat_reference)
    assert result.dice_patient == pytest.approx(np.mean([dice(m, r) for m, r, _ in cohort[:-1]]), abs=1e-14)
    slices = [(m[z], r[z], b[z]) for m, r, b in cohort for z in range(len(m))]
    lesion = [dice(m, r) for m, r, _ in slices if np.any(r)]
    brain = [dice(m, r, empty=1.0) for m, r, b in slices if np.any(b)]
    assert result.dice_lesion_slices == pytest.approx(np.mean(lesion), abs=1e-14)
    assert result.dice_all_slices == pytest.approx(np.mean(brain), abs=1e-14)
    assert (result.patients, result.both_empty_patients) == (4, 1)
    assert (result.lesion_slices, result.brain_slices) == (len(lesion), len(brain))
    both_empty = [1 for m, r, b in slices if np.any(b) and not np.any(m) and not np.any(r)]
    assert result.both_empty_slices == len(both_empty)
    assert (
        len({round(value, 6) for value in list(result.as_dict().values())[:4]}) == 4
    )  # all differ on this cohort


def test_a_detector_that_finds_nothing_scores_the_share_of_healthy_slices_only_over_all_slices():
    reference = np.zeros((419, 4, 4))
    reference[:215, 1, 1] = 1
    result = averages([PatientCounts.of(np.zeros_like(reference), reference)])
    assert result.dice_all_slices == pytest.approx(204 / 419, abs=1e-14)
    assert result.both_empty_slices == 204
    assert (result.dice_pooled, result.dice_patient, result.dice_lesion_slices, result.recall) == (0, 0, 0, 0)
    assert math.isnan(result.precision)


def test_only_slices_with_brain_count_for_all_slices():
    reference, brain = np.zeros((10, 4, 4)), np.zeros((10, 4, 4))
    reference[2, 1, 1] = 1
    brain[2:5] = 1
    result = averages([PatientCounts.of(np.zeros_like(reference), reference, brain)])
    assert (result.brain_slices, result.both_empty_slices) == (3, 2)
    assert result.dice_all_slices == 2 / 3


def test_a_detection_in_a_healthy_slice_counts_zero_there():
    mask, reference = np.zeros((2, 4, 4)), np.zeros((2, 4, 4))
    mask[0, 0, 0] = 1
    result = averages([PatientCounts.of(mask, reference)])
    assert result.dice_all_slices == 0.5
    assert result.dice_patient == 0.0  # not both empty: it stays in
    assert result.both_empty_patients == 0


def test_nothing_at_all_is_nan_except_over_all_slices():
    result = averages([PatientCounts.of(np.zeros((3, 4, 4)), np.zeros((3, 4, 4)))])
    assert result.dice_all_slices == 1.0
    for value in (
        result.dice_pooled,
        result.dice_patient,
        result.dice_lesion_slices,
        result.precision,
        result.recall,
    ):
        assert math.isnan(value)
    empty = averages([])
    assert empty.patients == 0
    assert math.isnan(empty.dice_all_slices) and math.isnan(empty.dice_pooled)


def test_one_slice_is_a_patient():
    mask, reference = np.eye(4), np.ones((4, 4))
    result = averages([PatientCounts.of(mask, reference, reference)])
    assert result.brain_slices == 1
    assert result.dice_pooled == result.dice_patient == result.dice_lesion_slices == dice(mask, reference)


def test_total_is_the_whole_volume():
    mask, reference, brain = random_cohort(2)[1]
    total = PatientCounts.of(mask, reference, brain).total
    assert total.dice() == dice(mask, reference)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="reference"):
        PatientCounts.of(np.zeros((2, 3, 3)), np.zeros((3, 3, 3)))
    with pytest.raises(ValueError, match="brain"):
        PatientCounts.of(np.zeros((2, 3, 3)), np.zeros((2, 3, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="Z, Y, X"):
        PatientCounts.of(np.zeros(3), np.zeros(3))


def test_a_mixture_is_what_repeating_the_healthy_slices_gives():
    """One patient with 2 lesion slices and 3 healthy ones; at 2 : 6 each healthy slice counts twice."""
    rng = np.random.default_rng(5)
    reference = np.zeros((5, 8, 8), bool)
    reference[:2, 2:5, 2:5] = True
    detected = rng.random((5, 8, 8)) < 0.1
    detected[3] = False
    cohort = [PatientCounts.of(detected, reference)]
    order = [0, 1, 2, 3, 4, 2, 3, 4]
    repeated = averages([PatientCounts.of(detected[order], reference[order])])
    found = mixture(cohort, 2, 6)
    assert found.dice_pooled == pytest.approx(repeated.dice_pooled)
    assert found.dice_patient == pytest.approx(repeated.dice_patient)
    assert found.dice_lesion_slices == pytest.approx(repeated.dice_lesion_slices)
    assert found.dice_all_slices == pytest.approx(repeated.dice_all_slices)
    assert found.dice_all_slices_zero == pytest.approx(2 * repeated.dice_lesion_slices / 8)
    assert found.dice_nonempty_slices == pytest.approx(2 * repeated.dice_lesion_slices / 6)


def test_nothing_has_the_share_of_healthy_slices_in_a_mixture():
    reference = np.zeros((6, 4, 4), bool)
    reference[0, 1:3, 1:3] = True
    found = mixture([PatientCounts.of(np.zeros_like(reference), reference)], 215, 204)
    assert found.dice_all_slices == pytest.approx(204 / 419)
    assert found.dice_pooled == found.dice_lesion_slices == found.dice_all_slices_zero == 0
    assert math.isnan(mixture([PatientCounts.of(reference, reference[:, :, :] > 2)], 1, 1).dice_pooled)
    assert math.isnan(mixture([], 1, 1).dice_patient)
