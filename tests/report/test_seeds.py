import csv
import io
import math
import statistics

import numpy as np
import pytest

from napari_cead.detection import PostprocessParams
from napari_cead.metrics import PatientCounts, averages
from napari_cead.metrics.patient_figures import PatientFigures
from napari_cead.report.results import Row
from napari_cead.report.seeds import over_seeds, seeds_csv


def row(seed, masks, reference):
    patients = tuple(
        PatientFigures(f"Mets_{number:03}", PatientCounts.of(mask, reference), 1, 1, 1, 1, 1, 0)
        for number, mask in enumerate(masks)
    )
    means = averages([patient.counts for patient in patients])
    params = PostprocessParams()
    return Row(f"ae.seed{seed}", "residual", "validation", params, averages=means, patients=patients)


@pytest.fixture
def reference():
    lesion = np.zeros((3, 8, 8), bool)
    lesion[:, 2:6, 2:6] = True
    return lesion


def test_mean_and_deviation_are_those_of_the_seeds(reference):
    masks = [[reference, np.roll(reference, shift, axis=1)] for shift in (1, 2, 4)]
    rows = [row(seed, made, reference) for seed, made in enumerate(masks)]
    found = {each.average: each for each in over_seeds(rows, resamples=10)}
    for name, each in found.items():
        values = [getattr(one.averages, name) for one in rows]
        assert each.mean == pytest.approx(statistics.fmean(values))
        assert each.deviation == pytest.approx(statistics.stdev(values))
        assert (each.seeds, each.patients) == (3, 2)


def test_an_average_that_a_seed_does_not_have_is_left_open(reference):
    nothing = np.zeros_like(reference)
    rows = [row(0, [reference, reference], reference), row(1, [nothing, nothing], reference)]
    found = over_seeds(rows, resamples=10)
    precision = next(each for each in found if each.average == "precision")
    assert math.isnan(precision.mean) and math.isnan(precision.deviation)
    line = next(
        each for each in csv.DictReader(io.StringIO(seeds_csv(found))) if each["average"] == "precision"
    )
    assert line["mean"] == line["sd"] == ""
