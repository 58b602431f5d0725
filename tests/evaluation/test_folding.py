"""Cross-validation: the stores of the folds, and models trained and measured on them as one job."""

import csv
import math

import numpy as np
import pytest

import napari_cead as cead
from napari_cead.calibration.finishing import finish
from napari_cead.cli import run
from napari_cead.errors import ParameterError
from napari_cead.evaluation import evaluate
from napari_cead.evaluation.folding import Folded, check_folds, cross_validate, fold_stores
from napari_cead.store.prepare import prepare
from napari_cead.training import RunFolder, SliceStore, train
from napari_cead.zoo import find_models
from small_stores import SIZE, settings, write_patients

PARTS = ("train", "validation", "test")


def test_each_patient_is_reported_in_one_fold_and_validates_in_another(tmp_path):
    cohort = write_patients(tmp_path / "cohort", 5)
    store = prepare(cohort, tmp_path / "store", image_size=SIZE, validation=0.25, test=0)
    stores = fold_stores(store, tmp_path / "folds", 3, seed=1)
    names = sorted(patient.name for patient in store.patients)
    for part in ("validation", "test"):
        found = [patient.name for each in stores for patient in each.patients_of(part)]
        assert sorted(found) == names
    for each in stores:
        of_part = {part: {patient.name for patient in each.patients_of(part)} for part in PARTS}
        assert sorted(name for found in of_part.values() for name in found) == names
        assert all(of_part.values()) and SliceStore.open(each.path).fingerprint == each.fingerprint
        for name in names:
            assert np.array_equal(each.slices(name).images, store.slices(name).images)
    assert len({each.fingerprint for each in stores}) == 3
    # The same folds again are the same stores; others are not mixed with them.
    assert [each.fingerprint for each in fold_stores(store, tmp_path / "folds", 3, seed=1)] == [
        each.fingerprint for each in stores
    ]
    with pytest.raises(ParameterError, match="another number or seed"):
        fold_stores(store, tmp_path / "folds", 4, seed=1)
    with pytest.raises(ParameterError, match="6 folds"):
        fold_stores(store, tmp_path / "more", 6)
    with pytest.raises(ParameterError, match="2 folds leave none to train on"):
        check_folds(2)


@pytest.fixture(scope="module")
def crossed(tmp_path_factory):
    """A cross-validation of three small models, its models by fold, and the patients."""
    root = tmp_path_factory.mktemp("crossed")
    cohort = write_patients(root / "cohort", 4)
    store = prepare(cohort, root / "store", image_size=SIZE, validation=0.25, test=0)
    stores = fold_stores(store, root / "folds", 3)
    models = [
        finish(train(settings(epochs=1, seed=fold), each, root / f"mine.fold{fold}").run, device="cpu")
        for fold, each in enumerate(stores)
    ]
    folded = [Folded("mine", fold, model) for fold, model in enumerate(models)]
    return cross_validate(folded, stores, root / "out", device="cpu"), models, cohort


def test_the_maps_of_baselines_are_ranked_as_in_one_evaluation_of_all_patients(crossed, tmp_path):
    found, _, cohort = crossed
    plain = evaluate(cohort, [], tmp_path / "plain", rules=["oracle"], report=False)
    for model in ("flair-threshold", "flair-tissue", "flair-asymmetry"):
        (together,) = [row for row in found.rows if (row.model, row.rule) == (model, "oracle")]
        (expected,) = [row for row in plain.rows if row.model == model]
        assert sorted(each.name for each in together.patients) == [each.name for each in expected.patients]
        assert not math.isnan(expected.auroc)
        for name in ("auroc", "average_precision", "aupro", "dice_ceiling", "froc", "healthy_voxels"):
            assert getattr(together, name) == pytest.approx(getattr(expected, name))
    # A baseline that lets each fold choose its smoothing is one row for all patients.
    (smooth,) = [row for row in found.rows if (row.model, row.rule) == ("flair-tissue-smooth", "oracle")]
    assert len(smooth.patients) == 4


def test_networks_of_several_folds_have_no_common_scale_but_let_healthy_voxels_through(crossed):
    found, models, cohort = crossed
    rows = [row for row in found.rows if row.model == "mine" and row.rule == "healthy-quantile"]
    assert rows
    for row in rows:
        assert all(map(math.isnan, (row.auroc, row.average_precision, row.aupro, row.dice_ceiling)))
        assert row.froc == ()
        above = healthy = 0
        for fold, names in enumerate(found.folds):
            detector = cead.load_model(models[fold], device="cpu")
            threshold = row.settings[fold if len(row.settings) > 1 else 0].threshold
            for name in names:
                made = cead.detect(cead.load_patient(cohort / name), detector, score=row.score)
                inside = made.brain & ~made.patient.lesion_mask
                above += np.count_nonzero(made.anomaly_map[inside] > threshold)
                healthy += np.count_nonzero(inside)
        assert (row.healthy_above, row.healthy_voxels) == (pytest.approx(above / healthy), healthy)


@pytest.mark.slow
def test_training_and_measuring_in_folds_is_one_job(tmp_path, capsys):
    cohort = write_patients(tmp_path / "cohort", 4, (6, 120, 110))
    store = prepare(cohort, tmp_path / "store", min_brain=0.05).path
    out = tmp_path / "mine"
    arguments = ["train", "ae", "--data", str(store), "--out", str(out), "--folds", "3", "--device", "cpu"]
    arguments += ["--size", "small", "--epochs", "1", "--batch-size", "4"]
    assert run(arguments) == 0, capsys.readouterr().err
    assert {"mine.fold0", "mine.fold1", "mine.fold2"} <= set(find_models())
    printed = capsys.readouterr().out
    assert "run 3 of 3" in printed and "4 patients reported" in printed
    # Nobody is measured under a model that has seen it.
    for fold in range(3):
        trained = SliceStore.open(RunFolder(out / f"mine.fold{fold}").plan().data)
        with (out / "evaluation" / f"fold{fold}" / "per_patient.csv").open() as stream:
            measured = {row["patient"] for row in csv.DictReader(stream) if row["model"].startswith("mine")}
        assert measured == {patient.name for patient in trained.patients_of("test")}
    # The pooled figures are those of all patients together.
    with (out / "evaluation" / "per_patient.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if (row["model"], row["rule"]) == ("mine", "oracle")]
    score = rows[0]["score"]
    counts = np.array(
        [[int(row[key]) for key in ("tp", "fp", "fn")] for row in rows if row["score"] == score]
    )
    assert len(counts) == 4
    tp, fp, fn = counts.sum(axis=0)
    with (out / "evaluation" / "results.csv").open() as stream:
        (result,) = [
            row
            for row in csv.DictReader(stream)
            if (row["model"], row["rule"], row["score"]) == ("mine", "oracle", score)
        ]
    assert float(result["dice_pooled"]) == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert int(result["patients"]) == 4 and result["dice_patient_low"]
    assert (out / "evaluation" / "report.html").is_file()
    assert "cross-validation in 3 folds" in (out / "evaluation" / "table.md").read_text("utf-8")
    assert run([*arguments, "--resume"]) == 0
    assert capsys.readouterr().out.count("finished before") == 3
