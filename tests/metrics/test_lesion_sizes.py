import math

import numpy as np
import pytest

from napari_cead.metrics import PatientCounts, match_lesions
from napari_cead.metrics.lesion_sizes import SIZES, diameter_mm, lesion_records, strata
from napari_cead.report.results import LesionRecord, PatientFigures, Row

NONE = PatientCounts.of(np.zeros((2, 3, 3)), np.zeros((2, 3, 3)))


def patient(name, *lesions, hd95=math.nan, detections=0, false=0):
    """A patient whose lesions are given as (diameter, found)."""
    return PatientFigures(
        name=name,
        counts=NONE,
        reference_ml=0.0,
        detected_ml=0.0,
        lesions=len(lesions),
        lesions_found=sum(found for _, found in lesions),
        detections=detections,
        false_detections=false,
        lesion_records=tuple(LesionRecord(diameter, 0.0, 0.0, found) for diameter, found in lesions),
        hd95=hd95,
    )


COHORT = (
    patient("a", (3.0, True), (4.999, False), (5.0, True), hd95=4.0, detections=5, false=3),
    patient("b", (1.0, False), (9.0, False), (10.0, True), hd95=7.0, detections=3, false=2),
    patient("c", (19.9, False)),
    patient("d", (6.0, True), (7.0, True)),
)


def test_the_diameter_is_that_of_the_ball_or_disk():
    for diameter in (2.0, 7.5, 31.0):
        ball, disk = math.pi / 6 * diameter**3, math.pi / 4 * diameter**2
        assert diameter_mm(ball, (3.0, 1.0, 1.0), slices=20) == pytest.approx(diameter)
        assert diameter_mm(disk * 2.5, (2.5, 1.0, 1.0), slices=1) == pytest.approx(diameter)


def test_records_of_a_patient():
    reference, mask = np.zeros((2, 10, 40, 40))
    z, y, x = np.indices(reference.shape)
    ball = ((z - 5) * 2) ** 2 + (y - 12) ** 2 + (x - 12) ** 2 <= 8**2
    reference[ball] = 1
    reference[2, 30:32, 30:32] = 1
    mask[5, 12, 12] = 1
    spacing = (2.0, 1.0, 1.0)
    small, large = lesion_records(match_lesions(mask, reference, spacing), spacing, slices=10)[::-1]
    if small.volume_mm3 > large.volume_mm3:
        small, large = large, small
    assert (small.volume_mm3, small.overlap_mm3, small.found) == (8.0, 0.0, False)
    assert (large.volume_mm3, large.overlap_mm3, large.found) == (2.0 * ball.sum(), 2.0, True)
    assert large.diameter_mm == pytest.approx(16, abs=0.5)  # a ball of voxels is nearly one

    flat, detected = np.zeros((2, 1, 40, 40))
    flat[0][(y[0] - 20) ** 2 + (x[0] - 20) ** 2 <= 10**2] = 1
    (disk,) = lesion_records(match_lesions(detected, flat, (5.0, 0.5, 0.5)), (5.0, 0.5, 0.5), slices=1)
    assert disk.diameter_mm == pytest.approx(10, abs=0.2)


def test_strata_by_hand():
    small, medium, large, huge = strata(COHORT, 100)
    assert [size.label for size in SIZES] == ["< 5 mm", "5–10 mm", "10–20 mm", "> 20 mm"]
    assert [item.label for item in (small, medium, large, huge)] == [size.label for size in SIZES]
    assert (small.lesions, small.found, small.sensitivity) == (3, 1, 1 / 3)
    assert (medium.lesions, medium.found, medium.sensitivity) == (4, 3, 0.75)  # 5 mm belongs to 5–10 mm
    assert (large.lesions, large.found, large.sensitivity) == (2, 1, 0.5)
    assert (huge.lesions, huge.found, huge.interval) == (0, 0, None)
    assert math.isnan(huge.sensitivity)
    assert (huge.low_mm, huge.high_mm) == (20.0, math.inf)


def test_every_lesion_is_in_exactly_one_stratum():
    diameters = [0.01, 4.9999999, 5.0, 9.99, 10.0, 19.99, 20.0, 300.0]
    found = strata([patient("a", *((diameter, True) for diameter in diameters))])
    assert [item.lesions for item in found] == [2, 2, 2, 2]


def test_the_interval_is_that_of_a_loop_over_patients():
    draws = np.random.default_rng(4).integers(4, size=(300, 4))
    found, lesions = np.array([1, 0, 0, 2]), np.array([1, 1, 0, 2])  # of 5 to 10 mm
    with np.errstate(invalid="ignore"):
        shares = found[draws].sum(axis=1) / lesions[draws].sum(axis=1)
    expected = tuple(np.nanpercentile(shares, (2.5, 97.5)))
    small, medium, _, _ = strata(COHORT, 300, 4)
    assert medium.interval == pytest.approx(expected)
    assert small.interval is not None


def test_lesions_of_one_patient_have_no_interval():
    found = strata((patient("a", (3.0, True), (4.0, False)), patient("b"), patient("c")), 50)
    assert (found[0].sensitivity, found[0].interval) == (0.5, None)


def test_a_row_holds_them_with_precision_and_hd95():
    row = Row.of("m", "residual", "oracle", None, COHORT, sequence="t1", resamples=50)
    assert row.sequence == "t1"
    assert row.strata == strata(COHORT, 50)
    assert row.lesion_precision == (8 - 5) / 8
    assert (row.hd95, row.hd95_patients) == (5.5, 2)
    none = Row.of("m", "residual", "oracle", None, [patient("a")], resamples=50)
    assert math.isnan(none.lesion_precision)
    assert math.isnan(none.hd95)
    assert none.hd95_patients == 0
