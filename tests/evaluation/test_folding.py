"""Cross-validation: the stores of the folds, and models trained and measured on them as one job."""

import csv

import numpy as np
import pytest

from napari_cead.cli import run
from napari_cead.errors import ParameterError
from napari_cead.evaluation.folding import check_folds, fold_stores
from napari_cead.training import RunFolder, SliceStore
from napari_cead.training.preparation import prepare
from napari_cead.zoo import find_models
from small_stores import SIZE, write_patients

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
