"""Each result keeps the options that it was made with, and they give it again."""

from __future__ import annotations

import csv
import itertools
import json
import shutil

import pytest
import yaml

from napari_cead.cli.evaluate import keep_evaluation
from napari_cead.options_file import CONFIG_FILE
from napari_cead.training import SliceStore
from napari_cead.zoo import find_models, load_card
from small_stores import write_patients

FAST = ("--size", "small", "--epochs", 1, "--batch-size", 4, "--device", "cpu", "--no-install")
VOLUMES = ("anomaly_map.nii.gz", "mask.nii.gz", "reconstruction.nii.gz")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a cohort, to which paths are relative."""
    folder = tmp_path_factory.mktemp("work")
    write_patients(folder / "cohort" / "train", 5, (6, 60, 56))
    return folder


@pytest.fixture(scope="module")
def store(place):
    from napari_cead.store.prepare import prepare

    return prepare(place / "cohort", place / "store", image_size=64, min_brain=0.05).path


@pytest.fixture
def again(call, place, monkeypatch):
    """Run a command in that folder, then the file that it keeps, elsewhere; return both folders and the options."""

    def again(verb, *arguments, out, kept="."):
        monkeypatch.chdir(place)
        shutil.rmtree(place / out, ignore_errors=True)
        status, _, err = call(verb, *arguments, "--out", out)
        assert status == 0, err
        return repeated(verb if kept == "." else "evaluate", place / out / kept)

    def repeated(verb, first):
        second = first.with_name(f"{first.name}-again")
        shutil.rmtree(second, ignore_errors=True)
        monkeypatch.chdir("/")
        status, _, err = call(verb, "--config", first / CONFIG_FILE, "--out", second)
        assert status == 0, err
        options = yaml.safe_load((first / CONFIG_FILE).read_text("utf-8"))
        assert options["out"] == str(first)
        later = yaml.safe_load((second / CONFIG_FILE).read_text("utf-8"))
        assert {**later, "out": None} == {**options, "out": None}
        return first, second, options

    again.repeated = repeated
    return again


def volumes(folder):
    return {
        file.relative_to(folder): file.read_bytes() for name in VOLUMES for file in sorted(folder.rglob(name))
    }


def figures(folder):
    """Return every figure of an evaluation, without what is different for each one: time, folder, versions."""
    results = json.loads((folder / "results.json").read_text("utf-8"))
    return results["rows"], (folder / "results.csv").read_bytes(), (folder / "per_patient.csv").read_bytes()


def test_the_detection_of_a_patient(again, place, model_folder):
    model = place / "tiny"
    shutil.copytree(model_folder, model, dirs_exist_ok=True)
    given = ("cohort/train/Mets_001", "--model", "tiny", "--dilation", 3, "--smoothing", 1, "--device", "cpu")
    first, second, options = again("detect", *given, out="found")
    assert volumes(first) == volumes(second) and len(volumes(first)) == 3
    assert options["patient"] == str(place / "cohort" / "train" / "Mets_001")
    assert options["mask"] == f"{options['patient']}/seg.nii.gz"
    assert options["model"] == str(model)
    assert (options["score"], options["threshold"], options["dilation"]) == ("positive-residual", 0.7, 3)
    unset = {name for name, value in options.items() if value is None}
    assert unset == {"corrections", "png_first_column", "scheduler", "workers"}
    # The command in detection.json says the same: there is no second truth.
    argv = json.loads((first / "detection.json").read_text("utf-8"))["command"]["argv"]
    for flag, value in itertools.pairwise(argv):
        name = flag.removeprefix("--").replace("-", "_")
        if (
            flag.startswith("--")
            and name in options
            and name != "out"
            and not isinstance(options[name], bool)
        ):
            assert type(options[name])(value) == options[name], flag


def test_the_detection_of_a_cohort(again, place, model_folder):
    given = ("cohort", "--model", model_folder, "--settings", "suggested", "--workers", 1, "--device", "cpu")
    first, second, options = again("detect", *given, out="found-all")
    assert volumes(first) == volumes(second) and len(volumes(first)) == 15
    assert options["patient"] == str(place / "cohort") and options["model"] == str(model_folder)
    assert (options["score"], options["threshold"], options["batch_size"]) == ("positive-residual", 0.7, 32)
    unset = {name for name, value in options.items() if value is None}
    assert unset == {"mask", "threads", "corrections", "scheduler"}


def test_a_detection_that_was_refused_leaves_the_options_of_the_one_before(call, place, model_folder):
    out = place / "kept"
    given = ("detect", place / "cohort" / "train" / "Mets_001", "--model", model_folder, "--out", out)
    assert call(*given, "--device", "cpu")[0] == 0
    before = (out / CONFIG_FILE).read_bytes()
    assert call(*given, "--threshold", 7)[0] == 2
    assert (out / CONFIG_FILE).read_bytes() == before


def test_a_preparation(again, place):
    (place / "split.json").write_text(
        json.dumps({"train": ["Mets_001", "Mets_002"], "validation": ["Mets_003"], "test": ["Mets_004"]})
    )
    given = ("cohort", "--split", "split.json", "--min-brain", 0.05, "--image-size", 64)
    first, second, options = again("prepare", *given, out="prepared")
    one, two = SliceStore.open(first), SliceStore.open(second)
    assert one.fingerprint == two.fingerprint and len(one.patients) == 4
    assert options["cohort"] == str(place / "cohort") and options["split"] == str(place / "split.json")
    assert (options["sequence"], options["image_size"]) == ("flair", 64)
    assert {name for name, value in options.items() if value is None} == {"layout"}


def test_an_evaluation(again, place, store, model_folder):
    shutil.copytree(model_folder, place / "tiny", dirs_exist_ok=True)
    given = ("cohort", "--models", "tiny", "--split", "store", "--workers", 1, "--device", "cpu")
    first, second, options = again("evaluate", *given, out="figures")
    assert figures(first) == figures(second)
    assert options["models"] == str(place / "tiny") and options["split"] == str(store)
    assert (options["sequence"], options["scores"]) == ("flair", "suggested")
    unset = {name for name, value in options.items() if value is None}
    assert unset == {"maps", "maps_pattern", "layout", "folds", "scheduler"}


def test_maps_scores_and_sequences_of_an_evaluation(call, place, model_folder, monkeypatch):
    monkeypatch.chdir(place)
    detect = ("detect", "cohort", "--model", model_folder, "--workers", 1, "--device", "cpu")
    assert call(*detect, "--out", "maps")[0] == 0
    maps = ("--maps", "theirs=maps,maps", "--maps-pattern", "**/{patient}/anomaly_map.nii.gz")
    given = ("cohort", "--models", "", "--scores", "residual,squared", "--workers", 1, "--device", "cpu")
    assert call("evaluate", *given, *maps, "--out", "ranked")[0] == 0
    options = yaml.safe_load((place / "ranked" / CONFIG_FILE).read_text("utf-8"))
    assert (options["models"], options["scores"]) == ("", "residual,squared")
    assert options["maps"] == f"theirs={place / 'maps'},{place / 'maps'}"
    assert options["maps_pattern"] == maps[-1]


def test_all_models_are_named(tmp_path):
    keep_evaluation(tmp_path / "cohort", "all", tmp_path)
    options = yaml.safe_load((tmp_path / CONFIG_FILE).read_text("utf-8"))
    assert options["models"].split(",") == list(find_models()) and find_models()


def test_an_evaluation_that_was_stopped_keeps_its_options(call, place, model_folder, monkeypatch, tmp_path):
    from napari_cead.evaluation import comparison

    def stopped(*given, **more):
        raise KeyboardInterrupt

    given = ("evaluate", place / "cohort", "--models", model_folder, "--workers", 1, "--device", "cpu")
    monkeypatch.setattr(comparison, "picture_jobs", stopped)
    assert call(*given, "--out", tmp_path / "e")[0] == 130
    options = yaml.safe_load((tmp_path / "e" / CONFIG_FILE).read_text("utf-8"))
    assert options["models"] == str(model_folder)
    assert call(*given, "--folds", 99, "--out", tmp_path / "refused")[0] == 2
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize(
    ("several", "models"),
    [
        (("ae,ce-vae1", "--beta", 2, "--max-squares", 3), ("ae", "ce-vae1")),
        (("ae", "--seeds", "3,1"), ("job.seed3", "job.seed1", "job.ensemble")),
    ],
    ids=["models", "seeds"],
)
def test_a_training_of_several(again, place, store, several, models):
    first, second, options = again("train", *several, "--data", "store", *FAST, out="job")
    assert options["data"] == str(store) and options["model"] == several[0]
    assert (options["lr"], options["schedule"], options["sequence"]) == (1e-4, "constant", "flair")
    for model in models:
        here, there = (
            next(folder.glob(f"{name}/model"), folder / name)
            for folder, name in ((first, model), (second, model.replace("job", "job-again")))
        )
        assert load_card(here).sha256 == load_card(there).sha256
    # Each of them comes back on its own, too.
    for model in models[:2]:
        run, alone, own = again.repeated("train", first / model)
        assert load_card(run / "model").sha256 == load_card(alone / "model").sha256
        assert (own["beta"], own["max_squares"]) == ((2.0 if model == "ce-vae1" else None), None)
        assert own["seeds"] is None and own["seed"] is not None


@pytest.mark.slow
def test_a_cross_validation(again, store):
    first, second, options = again("train", "ae", "--data", "store", "--folds", 3, *FAST, out="folds")
    assert (options["folds"], options["seed"]) == (3, 0)
    assert figures_by_model(first) == figures_by_model(second)
    fold, alone, _ = again.repeated("evaluate", first / "evaluation" / "fold1")
    assert figures(fold) == figures(alone)


def figures_by_model(folder):
    with (folder / "evaluation" / "per_patient.csv").open() as stream:
        return [
            {**row, "model": row["model"].replace("folds-again", "folds")} for row in csv.DictReader(stream)
        ]


@pytest.mark.slow
def test_the_evaluation_at_the_end_of_the_papers_preset(again, store):
    first, second, options = again(
        "train", "ae", "--data", "store", "--preset", "paper", *FAST, out="paper", kept="evaluation"
    )
    assert figures(first) == figures(second)
    assert options["models"] == str(first.parent / "model") and options["strip"] == "never"
    assert options["split"] == str(store)
