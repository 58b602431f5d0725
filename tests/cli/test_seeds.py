"""Several seeds as one job."""

import csv
import json
import statistics

import pytest

from napari_cead.widgets.evaluate.evaluation_table import read_results
from napari_cead.zoo import find_models, load_card
from small_stores import write_patients

FAST = ["--size", "small", "--epochs", 1, "--batch-size", 4, "--device", "cpu"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return write_patients(tmp_path_factory.mktemp("cohort") / "train", 5, (6, 120, 110)).parent


@pytest.fixture(scope="module")
def store(cohort):
    from napari_cead.store.prepare import prepare

    return prepare(cohort, cohort.parent / "store", min_brain=0.05).path


def test_seeds_make_models_and_their_ensemble_and_resume(call, cohort, store, tmp_path):
    arguments = ["train", "ae", "--data", store, "--out", tmp_path / "mine", *FAST, "--seeds", "0,1"]
    status, out, err = call(*arguments)
    assert (status, err) == (0, "")
    assert "run 2 of 2" in out
    first, second = (line for line in out.splitlines() if line.startswith("epoch 1/1: "))
    assert first.endswith("for all runs") and "for all runs" not in second
    cards = {name: load_card(folder) for name, folder in find_models().items() if name.startswith("mine.")}
    assert set(cards) == {"mine.seed0", "mine.seed1", "mine.ensemble"}
    assert [cards[f"mine.seed{seed}"].training["seed"] for seed in (0, 1)] == [0, 1]
    assert [parent.name for parent in cards["mine.ensemble"].parents] == ["mine.seed0", "mine.seed1"]
    # Each is the run that its seed alone gives, and keeps a file that gives it again.
    alone = ["train", "ae", "--config", tmp_path / "mine" / "mine.seed1" / "config.yaml"]
    assert call(*alone, "--out", tmp_path / "alone", "--no-install")[0] == 0
    assert load_card(tmp_path / "alone" / "model").sha256 == cards["mine.seed1"].sha256
    # What is done is left as it is; what is missing is made.
    status, out, err = call(*arguments, "--resume")
    assert (status, err) == (0, "") and out.count("finished before") == 3
    for path in sorted((tmp_path / "mine" / "mine.seed1").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    status, out, err = call(*arguments, "--resume")
    assert (status, err) == (0, "") and out.count("finished before") == 2
    again = load_card(tmp_path / "mine" / "mine.seed1" / "model")
    assert again.sha256 == cards["mine.seed1"].sha256

    status, out, err = call("models", "show", "mine.ensemble")
    assert status == 0 and "Members" in out and "1. mine.seed0" in out
    patient = cohort / "train" / "Mets_001"
    assert call("detect", patient, "--model", "mine.ensemble", "--out", tmp_path / "found")[0] == 0
    again = ["--models", "mine.*", "--split", store, "--device", "cpu", "--workers", 1]
    status, out, err = call("evaluate", cohort, *again, "--out", tmp_path / "results")
    assert status == 0, err
    assert "mine (2 seeds) healthy-quantile residual: dice_patient" in out
    with (tmp_path / "results" / "seeds.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    one = next(row for row in rows if (row["rule"], row["average"]) == ("oracle", "dice_pooled"))
    results = json.loads((tmp_path / "results" / "results.json").read_text())["rows"]
    values = [
        row["dice_pooled"]
        for row in results
        if row["model"].startswith("mine.seed") and (row["rule"], row["score"]) == ("oracle", one["score"])
    ]
    assert len(values) == 2 and one["model"] == "mine" and one["seeds"] == "2"
    assert float(one["mean"]) == pytest.approx(statistics.fmean(values))
    assert float(one["sd"]) == pytest.approx(statistics.stdev(values))
    shown = f"{statistics.fmean(values):.3f} ± {statistics.stdev(values):.3f}"
    table = (tmp_path / "results" / "table.md").read_text("utf-8").split("## Over seeds")[1].split("\n## ")[0]
    (line,) = [line for line in table.splitlines() if f"| {one['score']} | oracle (optimistic) |" in line]
    assert line.startswith("| mine (2 seeds) |") and shown in line
    assert "<h3>Over seeds</h3>" in (tmp_path / "results" / "report.html").read_text("utf-8")
    row = next(
        row
        for row in read_results(tmp_path / "results" / "results.json").rows
        if (row.model, row.rule, row.score) == ("mine.seed1", "oracle", one["score"])
    )
    assert f"dice_pooled {shown}" in row.tip and "over 2 seeds: " in row.tip


def test_an_ensemble_of_installed_models(call, store, tmp_path):
    for seed in (3, 4):
        arguments = ["train", "ae", "--data", store, "--out", tmp_path / f"x{seed}", "--seed", seed, *FAST]
        assert call(*arguments)[0] == 0
    status, out, err = call("models", "ensemble", "both", "x3", "x4", "--data", store, "--device", "cpu")
    assert (status, err) == (0, "") and "ensemble of 2 models" in out
    assert load_card(find_models()["both"]).training["calibration"]["validation_patients"] == 1
    status, _, err = call("models", "ensemble", "both", "x3", "x4", "--data", store)
    assert status == 2 and "is installed" in err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--seeds", "0,0"), "not a list of different seeds"),
        (("--seeds", "a"), "not a list of different seeds"),
        (("--seeds", "0,1", "--seed", 3), "exclude each other"),
        (("--seeds", "0,1", "--detach"), "--detach goes with one model"),
    ],
)
def test_seeds_that_cannot_be_meant_are_refused(call, store, tmp_path, given, said):
    status, _, err = call("train", "ae", "--data", store, "--out", tmp_path / "mine", *FAST, *given)
    assert status == 2 and said in err and err.count("\n") == 1
    assert not (tmp_path / "mine").exists()
