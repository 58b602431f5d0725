import numpy as np
import pytest

from napari_cead.metrics import (
    INTERVALS,
    PatientCounts,
    averages,
    bootstrap,
    bootstrap_difference,
    bootstrap_ratio,
    bootstrap_seeds,
)


def cohort(patients=7, seed=0):
    """Patients of different depth; one without anything, one without a lesion, one without a detection."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(patients):
        mask, reference = rng.random((2, 4 + number, 9, 9)) < 0.1
        mask[rng.random(len(mask)) < 0.5] = False
        mask &= number not in (0, 2)
        reference[rng.random(len(mask)) < 0.5] = False
        reference &= number not in (0, 1)
        brain = np.zeros(mask.shape, dtype=bool)
        brain[1:, 2:7, 2:7] = True
        found.append(PatientCounts.of(mask, reference, brain))
    return found


def loop(counts, resamples, seed):
    """The definition: draw patients, average, leave undefined ones out, take percentiles."""
    draws = np.random.default_rng(seed).integers(len(counts), size=(resamples, len(counts)))
    values = [averages(counts[number] for number in draw).as_dict() for draw in draws]
    return {name: np.nanpercentile([value[name] for value in values], (2.5, 97.5)) for name in INTERVALS}


@pytest.mark.parametrize("patients", [7, 3])
def test_equals_a_loop_over_resamples(patients):
    counts = cohort(patients)
    expected = loop(counts, 200, 3)
    found = bootstrap(counts, 200, 3)
    assert tuple(found) == INTERVALS
    for name in INTERVALS:
        assert found[name] == pytest.approx(tuple(expected[name]), abs=1e-12), name


def test_resamples_in_which_an_average_is_undefined_are_left_out():
    none, some = np.zeros((3, 5, 5)), np.ones((3, 5, 5))
    counts = [PatientCounts.of(none, none), PatientCounts.of(some, some)]
    found = bootstrap(counts, 200)
    # A quarter of the resamples hold the empty patient alone: no Dice there, but all slices count 1.
    assert found["dice_pooled"] == found["dice_patient"] == found["dice_lesion_slices"] == (1, 1)
    assert found["dice_all_slices"] == (1, 1)


def test_an_average_that_is_never_defined_has_no_interval():
    none = np.zeros((3, 5, 5))
    found = bootstrap([PatientCounts.of(none, none)] * 3, 50)
    assert found["dice_all_slices"] == (1, 1)
    assert [name for name in INTERVALS if found[name] is None] == [
        name for name in INTERVALS if name != "dice_all_slices"
    ]


def test_one_patient_has_no_interval():
    assert bootstrap(cohort(1)) == dict.fromkeys(INTERVALS)
    assert bootstrap([]) == dict.fromkeys(INTERVALS)


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others():
    counts = cohort()
    assert bootstrap(counts, 100, seed=5) == bootstrap(counts, 100, seed=5)
    assert bootstrap(counts, 100, seed=5) != bootstrap(counts, 100, seed=6)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="resample"):
        bootstrap(cohort(), 0)


def test_a_difference_equals_a_loop_that_draws_the_same_patients_for_both():
    rng = np.random.default_rng(5)
    first, second = [], []
    for number in range(6):
        reference, one, other = rng.random((3, 5, 8, 8)) < 0.2
        reference &= number not in (0, 1)
        other &= number not in (0, 3)
        first.append(PatientCounts.of(one & (number != 1), reference))
        second.append(PatientCounts.of(other, reference))
    draws = np.random.default_rng(2).integers(6, size=(150, 6))
    values = [
        [averages(counts[number] for number in draw).as_dict() for counts in (first, second)]
        for draw in draws
    ]
    found = bootstrap_difference(first, second, 150, 2)
    assert tuple(found) == INTERVALS
    for name in INTERVALS:
        differences = [one[name] - other[name] for one, other in values]
        assert found[name] == pytest.approx(tuple(np.nanpercentile(differences, (2.5, 97.5))), abs=1e-12), (
            name
        )


def test_a_difference_is_surer_than_its_two_averages():
    # Patients differ a lot from each other, the two detectors hardly: by one voxel in each patient.
    reference = np.zeros((1, 10, 10))
    reference[0, :5] = 1
    first, second = [], []
    for size in (1, 10, 20, 30, 40, 49):
        mask = np.zeros((1, 100))
        mask[0, :size] = 1
        second.append(PatientCounts.of(mask.reshape(1, 10, 10), reference))
        mask[0, size] = 1
        first.append(PatientCounts.of(mask.reshape(1, 10, 10), reference))
    low, high = bootstrap_difference(first, second, 300)["dice_patient"]
    single = bootstrap(first, 300)["dice_patient"]
    assert 0 < low < high
    assert high - low < (single[1] - single[0]) / 10
    assert bootstrap_difference(first, first, 50) == dict.fromkeys(INTERVALS, (0, 0))


def test_a_ratio_equals_a_loop_over_resamples():
    parts, wholes = [0, 2, 0, 1, 3], [0, 4, 2, 1, 3]
    draws = np.random.default_rng(7).integers(5, size=(200, 5))
    with np.errstate(invalid="ignore"):
        ratios = np.array(parts)[draws].sum(axis=1) / np.array(wholes)[draws].sum(axis=1)
    assert bootstrap_ratio(parts, wholes, 200, 7) == pytest.approx(
        tuple(np.nanpercentile(ratios, (2.5, 97.5)))
    )


def test_a_ratio_of_one_patient_has_no_interval():
    assert bootstrap_ratio([0, 3, 0], [0, 5, 0], 50) is None
    assert bootstrap_ratio([], [], 50) is None
    assert bootstrap_ratio([0, 3], [1, 3], 50) is not None


def test_unequal_cohorts_are_refused():
    with pytest.raises(ValueError, match="same patients"):
        bootstrap_difference(cohort(3), cohort(4))
    with pytest.raises(ValueError, match="as many parts"):
        bootstrap_ratio([1], [1, 2])


def test_an_interval_over_seeds_equals_a_loop_that_draws_seeds_and_patients():
    cohorts = [cohort(seed=0), cohort(seed=1), cohort(seed=2)]
    resamples, patients = 200, len(cohorts[0])
    of_patients = np.random.default_rng(3).integers(patients, size=(resamples, patients))
    of_seeds = np.random.default_rng(4).integers(3, size=(resamples, 3))
    values = []
    for drawn, seeds in zip(of_patients, of_seeds, strict=True):
        each = [averages(cohorts[seed][number] for number in drawn).as_dict() for seed in seeds]
        values.append({name: np.mean([one[name] for one in each]) for name in INTERVALS})
    found = bootstrap_seeds(cohorts, resamples, 3)
    for name in INTERVALS:
        expected = np.nanpercentile([value[name] for value in values], (2.5, 97.5))
        assert found[name] == pytest.approx(tuple(expected), abs=1e-12), name


def test_seeds_that_agree_add_nothing_to_the_interval_over_patients():
    found, alone = bootstrap_seeds([cohort()] * 3, 200, 3), bootstrap(cohort(), 200, 3)
    for name in INTERVALS:
        assert found[name] == pytest.approx(alone[name])


def test_one_seed_has_no_interval_and_other_patients_are_refused():
    assert set(bootstrap_seeds([cohort()]).values()) == {None}
    with pytest.raises(ValueError, match="same patients"):
        bootstrap_seeds([cohort(5), cohort(6)])
