"""prepare, train and evaluate as a user types them, at the real image size on tiny patients."""

import csv
import json
import shlex
import shutil

import pytest
import torch

from napari_cead.corruption.mixtures import SCANNERS
from napari_cead.training import CoarseNoise, RunFolder, SliceStore
from napari_cead.zoo import find_models, load_card, models_folder
from small_stores import write_patients

FAST = ["--size", "small", "--epochs", 1, "--batch-size", 4, "--device", "cpu"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return write_patients(tmp_path_factory.mktemp("cohort") / "train", 5, (6, 120, 110)).parent


@pytest.fixture(scope="module")
def store(cohort):
    from napari_cead.store.prepare import prepare

    return prepare(cohort, cohort.parent / "store", min_brain=0.05).path


def test_prepare_says_what_is_in_the_store(call, cohort, tmp_path):
    status, out, err = call("prepare", cohort, "--out", tmp_path / "store", "--min-brain", 0.05)
    assert (status, err) == (0, "")
    store = SliceStore.open(tmp_path / "store")
    assert f"train: 3 patients, {len(store.healthy_rows('train'))} healthy slices" in out
    assert {part: len(store.patients_of(part)) for part in ("train", "validation", "test")} == {
        "train": 3,
        "validation": 1,
        "test": 1,
    }


def test_a_split_by_slice_says_that_it_leaks(call, cohort, tmp_path):
    status, _, err = call("prepare", cohort, "--out", tmp_path / "s", "--split", "slice", "--min-brain", 0.05)
    assert status == 0 and "leak" in err


def test_train_ends_with_a_model_that_is_listed_and_detects(call, cohort, store, tmp_path):
    status, out, err = call("train", "ce-vae1", "--data", store, "--out", tmp_path / "mine", *FAST)
    assert status == 0, err
    assert "epoch 1/1: training loss" in out and "installed as mine" in out
    assert "mine" in [info["name"] for info in json.loads(call("models", "list", "--json")[1])]
    card = load_card(find_models()["mine"])
    assert {suggestion.rule for suggestion in card.suggestions} == {"healthy-quantile", "validation"}
    assert card.statistics == ("residual_mean", "residual_std")
    assert card.training["steps"] == 1 or card.training["steps"] == card.training["slices"] // 4
    assert len(card.training["curve"]["validation_loss"]) == 1
    patient = cohort / "train" / "Mets_001"
    assert call("detect", patient, "--model", "mine", "--out", tmp_path / "found")[0] == 0


def test_a_second_model_of_the_same_name_hides_none(call, store, tmp_path):
    for folder, seed in (("a", 0), ("b", 1)):
        place = tmp_path / folder
        place.mkdir()
        status, _, err = call("train", "ae", "--data", store, "--out", place / "twin", "--seed", seed, *FAST)
        assert status == 0
    assert err == "warning: another model is called twin: this one is called twin-2\n"
    models = find_models()
    assert {"twin", "twin-2"} <= set(models)
    assert load_card(models["twin"]).sha256 != load_card(models["twin-2"]).sha256
    status, _, err = call("train", "ae", "--data", store, "--out", tmp_path / "c", "--name", "twin", *FAST)
    assert status == 2 and "twin" in err and not (tmp_path / "c").exists()


def test_several_models_share_a_folder_and_resume_skips_what_is_done(call, store, tmp_path):
    arguments = ["train", "ae,ce-vae2", "--data", store, "--out", tmp_path / "runs", "--no-install", *FAST]
    assert call(*arguments)[0] == 0
    cards = [load_card(tmp_path / "runs" / name / "model") for name in ("ae", "ce-vae2")]
    assert [card.spec.name for card in cards] == ["ae", "ce-vae2"]
    status, out, err = call(*arguments, "--resume")
    assert (status, err) == (0, "") and "epoch" not in out


def test_resume_goes_on_to_more_epochs(call, store, tmp_path):
    arguments = ["train", "ae", "--data", store, "--out", tmp_path / "run", "--no-install", *FAST]
    arguments.append("--keep-checkpoint")
    assert call(*arguments)[0] == 0
    status, _, err = call(*arguments)
    assert status == 2 and "--resume" in err and err.count("\n") == 1
    again = ["train", "ae", "--data", store, "--out", tmp_path / "run", "--no-install", "--resume"]
    again.append("--keep-checkpoint")
    assert call(*again, "--epochs", 2)[0] == 0  # all else is as it was
    assert RunFolder(tmp_path / "run").load_checkpoint()["epoch"] == 2
    plan = RunFolder(tmp_path / "run").plan()
    assert (plan.settings.epochs, plan.current.epochs) == (1, 2)  # how it began, how it goes on
    card = load_card(tmp_path / "run" / "model")
    assert (card.training["epochs"], card.training["planned_epochs"]) == (2, 2)


def test_fine_tuning_keeps_the_chain_of_provenance(call, store, tmp_path):
    assert call("train", "ae", "--data", store, "--out", tmp_path / "first", *FAST)[0] == 0
    tune = ["--init-from", "first", "--freeze-encoder", "--epochs", 1, "--batch-size", 4]
    assert call("train", "ce-ae", "--data", store, "--out", tmp_path / "second", *tune)[0] == 0
    again = ["--init-from", "second", "--epochs", 1, "--batch-size", 4]
    assert call("train", "ce-ae", "--data", store, "--out", tmp_path / "third", *again)[0] == 0
    cards = {name: load_card(find_models()[name]) for name in ("first", "second", "third")}
    assert [(parent.name, parent.sha256) for parent in cards["third"].parents] == [
        ("second", cards["second"].sha256),
        ("first", cards["first"].sha256),
    ]
    assert cards["second"].training["learning_rate"] == pytest.approx(2e-5)
    assert cards["second"].spec.size == "small"


def test_the_papers_preset_prepares_trains_and_evaluates(call, tmp_path):
    cohort = write_patients(tmp_path / "cohort", 5, (6, 150, 140))
    out = tmp_path / "run"
    status, printed, err = call("train", "ae", "--data", cohort, "--out", out, "--preset", "paper", *FAST)
    assert status == 0, err
    settings = RunFolder(out).plan().settings
    assert settings.augmentation is None and settings.learning_rate == 1e-4
    assert len(SliceStore.open(out / "store").patients) == 5
    with (out / "evaluation" / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {"flair-threshold", "nothing"} < {row["model"] for row in rows}
    assert {"dice_pooled", "dice_patient", "dice_lesion_slices", "dice_all_slices", "rule"} < set(rows[0])
    assert "dice_patient" in printed
    few = len(SliceStore.open(out / "store").patients_of("validation"))
    assert 0 < few < 5 and "too few to trust the threshold: check the masks" in printed


def test_denoisers_are_trained_and_detect_by_their_names(call, cohort, tmp_path):
    store = tmp_path / "store"
    assert (
        call("prepare", cohort, "--out", store, "--spacing", 3, "--image-size", 64, "--min-brain", 0.05)[0]
        == 0
    )
    file = tmp_path / "corruption.json"
    file.write_text('{"kind": "coarse", "sigma": 0.3, "cells": [8]}')
    for name, more in {
        "dae": ["--corruption", file, "--feature-maps", "4,8", "--working-size", 32],
        "ce-unet": ["--feature-maps", "4,8", "--bright-limit", 1.5],
    }.items():
        arguments = ["--data", store, "--out", tmp_path / name, "--name", f"my-{name}", *FAST, *more]
        status, _, err = call("train", name, *arguments)
        assert (status, err) == (0, "")
        settings = RunFolder(tmp_path / name).plan().settings
        assert (settings.spec.name, settings.spec.size, settings.loss) == (name, "custom", "absolute")
        assert settings.spec.feature_maps == (4, 8)
        card = load_card(find_models()[f"my-{name}"])
        # A network that sees the mirrored slice gains nothing from a second look at it.
        assert card.mirror_average == (name == "dae") and "smoothed-times-intensity" in card.score_scales
    assert RunFolder(tmp_path / "dae").plan().settings.corruption == CoarseNoise(sigma=0.3, cells=(8,))
    assert RunFolder(tmp_path / "ce-unet").plan().settings.corruption == SCANNERS
    out = tmp_path / "found"
    patient = cohort / "train" / "Mets_001"
    arguments = ["--model", "my-dae", "--score", "residual-times-intensity", "--device", "cpu", "--json"]
    status, printed, _ = call("detect", patient, "--out", out, *arguments)
    described = json.loads(printed)
    assert status == 0 and described["score"] == "residual-times-intensity"
    assert described["preprocessing"]["mirror_average"] is True
    tune = ["--init-from", "my-dae", "--epochs", 1, "--batch-size", 4, "--no-install", "--device", "cpu"]
    assert call("train", "dae", "--data", store, "--out", tmp_path / "tuned", *tune)[0] == 0
    assert RunFolder(tmp_path / "tuned").plan().settings.spec.feature_maps == (4, 8)
    figures = tmp_path / "figures"
    status, _, err = call(
        "evaluate", cohort, "--models", "my-dae,my-ce-unet", "--workers", 1, "--out", figures
    )
    assert status == 0, err
    with (figures / "results.csv").open() as stream:
        assert {"my-dae", "my-ce-unet", "flair-threshold"} <= {row["model"] for row in csv.DictReader(stream)}


def test_ce_unet_is_fine_tuned_on_slices_as_it_knows_them(call, store, tmp_path):
    cohort = write_patients(tmp_path / "cohort", 4, (6, 150, 140))
    tune = ["train", "ce-unet", "--init-from", "ce-unet", "--epochs", 1, "--batch-size", 4, "--device", "cpu"]
    base = load_card(find_models()["ce-unet"])
    status, out, err = call(*tune, "--data", cohort, "--out", tmp_path / "tuned")
    assert status == 0, err
    card = load_card(find_models()["tuned"])
    shape = ("closing_radius", "area_fraction", "dilation_radius")
    first, before = card.suggestions[0], base.suggestions[0]
    assert first.score == before.score and all(first.params[name] == before.params[name] for name in shape)
    assert "those of ce-unet (closing 1 px, area 20%, dilation 0 px), with a new threshold" in out
    assert card.preprocessing == base.preprocessing
    quantiles = [one.training["calibration"]["healthy_quantile"] for one in (card, base)]
    assert quantiles == [0.999, 0.999]
    assert [parent.sha256 for parent in card.parents] == [
        base.sha256,
        *(parent.sha256 for parent in base.parents),
    ]
    status, printed, _ = call(
        "detect", cohort / "Mets_001", "--model", "tuned", "--out", tmp_path / "found", "--json"
    )
    assert status == 0 and json.loads(printed)["score"] == "fused"
    # A store of the usual slices is refused, and what the error says helps.
    status, _, err = call(*tune, "--data", store, "--out", tmp_path / "other")
    assert status == 2 and err.startswith("error: ") and err.count("\n") == 1
    assert str(store) in err and "ce-unet was trained on 192 pixels of 1 mm" in err
    command = err[err.index("napari-cead prepare") :]
    command = command.replace("COHORT", str(cohort)).replace("STORE", str(tmp_path / "right"))
    assert call(*shlex.split(command)[1:])[0] == 0
    status, _, err = call(*tune, "--data", tmp_path / "right", "--out", tmp_path / "again", "--no-install")
    assert status == 0, err


def test_a_folder_is_prepared_as_the_design_wants_it_and_never_reused_for_another(call, tmp_path):
    cohort = write_patients(tmp_path / "cohort", 4, (6, 150, 140))
    fast = ["--data", cohort, "--out", tmp_path / "run", "--no-install", *FAST]
    status, _, err = call("train", "ce-unet", *fast, "--feature-maps", "4,8")
    assert status == 0, err
    made = SliceStore.open(tmp_path / "run" / "store").settings
    assert (made.image_size, made.spacing, made.intensity) == (192, (1.0, 1.0), "volume-tissue")
    assert RunFolder(tmp_path / "run").plan().settings.spec.image_size == 192
    # A run goes on with the slices it has; without it, they are not taken for a model that wants others.
    status, _, err = call("train", "ce-unet", *fast, "--feature-maps", "4,8", "--resume")
    assert status == 0, err
    for entry in (tmp_path / "run").iterdir():
        if entry.name != "store":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    status, _, err = call("train", "ae", *fast)
    assert (
        status == 2 and "this store was prepared with intensity volume-tissue, not volume-percentile" in err
    )
    status, _, err = call("train", "ae,ce-unet", "--data", cohort, "--out", tmp_path / "both", *FAST)
    assert status == 2 and "one by one" in err and not (tmp_path / "both").exists()


def test_the_network_takes_slices_of_the_size_that_a_store_has(call, tmp_path):
    cohort = write_patients(tmp_path / "cohort", 4)
    small = ["--image-size", 64, "--min-brain", 0.05]
    assert call("prepare", cohort, "--out", tmp_path / "store", *small)[0] == 0
    status, _, err = call("train", "ae", "--data", tmp_path / "store", "--out", tmp_path / "run", *FAST)
    assert status == 0, err
    assert RunFolder(tmp_path / "run").plan().settings.spec.image_size == 64
    other = ["--data", tmp_path / "store", "--out", tmp_path / "other", "--image-size", 96, *FAST]
    status, _, err = call("train", "ae", *other)
    assert status == 2 and "64 pixels wide" in err and "--image-size 64" in err


def test_white_noise_and_lesions_are_corruptions_too(call, store, tmp_path):
    for kind in ("gaussian", "lesions"):
        arguments = ["--data", store, "--out", tmp_path / kind, "--corruption", kind, "--no-install", *FAST]
        assert call("train", "ce-ae", *arguments)[0] == 0
        assert RunFolder(tmp_path / kind).plan().settings.corruption.kind == kind


def test_squares_can_be_described(call, store, tmp_path):
    squares = ["--max-squares", 3, "--squares-inside-brain", "--fill", "zero", "--no-install"]
    assert call("train", "ce-ae", "--data", store, "--out", tmp_path / "run", *squares, *FAST)[0] == 0
    corruption = RunFolder(tmp_path / "run").plan().settings.corruption
    assert (corruption.squares, corruption.inside_brain, corruption.fill) == ((1, 3), True, "zero")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resnet"], "no design called 'resnet'"),
        (["ae", "--data", "nowhere"], "nowhere"),
        (["ae", "--lr", "-1"], "learning rate"),
        (["ae", "--epochs", "0"], "epochs"),
        (["ae", "--schedule", "wild"], "schedule"),
        (["ae", "--init-from", "missing"], "missing"),
        (["ae", "--device", "cuda:99"], "cuda:99"),
        (["ae", "--devices", "8"], "cannot be shared by 8"),
        (["ae,vae1", "--name", "both"], "one model"),
        (["ae", "--name", "a/b"], "a/b"),
        (["ae", "--resume"], "no training run here"),
        (["ae", "--sequence", "t1_gd"], "this store holds flair"),
        (["ae", "--events", "nowhere/at/all"], "the events cannot be written"),
        (["ce-ae", "--corruption", "coarse", "--fill", "zero"], "--corruption squares"),
        (["ce-ae", "--max-squares", "0"], "squares"),
        (["ce-ae", "--fill", "pink"], "fill"),
        (["dae", "--corruption", "salt"], "no corruption and no file called 'salt'"),
        (["dae", "--feature-maps", "4,x"], "4,x"),
        (["dae", "--feature-maps", "0"], "feature_maps"),
        (["ae", "--working-size", "64"], "for ae: it belongs to dae and ce-unet"),
        (["ae", "--loss", "absolute"], "for ae: it belongs to dae and ce-unet"),
        (["ae", "--beta", "1"], "--beta does nothing for ae: it belongs to vae1, ce-vae1, vae2 and ce-vae2"),
        (["ae", "--codebook", "loss"], "--codebook does nothing for ae: it belongs to vq-vae and ce-vq-vae"),
        (["ae", "--max-squares", "3"], "--max-squares does nothing for ae: it belongs to ce-ae, ce-vae1,"),
        (["vae1,vae2", "--reset-dead-codes"], "--reset-dead-codes does nothing for vae1 and vae2"),
        (["dae", "--optimizer", "sgd"], "optimizer"),
    ],
)
def test_wrong_use_is_one_line(call, store, tmp_path, arguments, words):
    model, *more = arguments
    data = [] if "--data" in more else ["--data", store]
    given = ["train", model, *data, "--out", tmp_path / "deep" / "run", *FAST, *more]
    status, _, err = call(*given)
    assert status == 2, err
    assert err.startswith("error: ") and err.count("\n") == 1 and words in err
    assert not (tmp_path / "deep").exists()
    assert json.loads(call("runs", "list", "--json")[1]) == []


@pytest.mark.parametrize("designs", ["ae", "ae,vae1"])
def test_resume_begins_what_was_broken_off_before_there_was_a_folder(call, store, tmp_path, designs):
    out = tmp_path / "runs"
    status, _, err = call("train", designs, "--data", store, "--out", out, "--no-install", "--resume", *FAST)
    assert (status, err) == (0, "")
    assert len(list(out.rglob("model.json"))) == len(designs.split(","))


def test_an_option_goes_to_those_of_several_designs_that_it_belongs_to(call, store, tmp_path):
    arguments = ["--data", store, "--out", tmp_path / "runs", "--no-install", "--beta", 4, *FAST]
    status, _, err = call("train", "ae,vae1", *arguments)
    assert (status, err) == (0, "note: --beta is for vae1; it does nothing for ae\n")
    plans = {name: RunFolder(tmp_path / "runs" / name).plan().settings for name in ("ae", "vae1")}
    assert {name: plan.beta for name, plan in plans.items()} == {"ae": 1.0, "vae1": 4.0}


@pytest.mark.parametrize("model", ["ae", "ae,vae1"])
@pytest.mark.parametrize("there", [False, True])
def test_a_start_that_is_refused_after_looking_at_the_patients_leaves_nothing(call, tmp_path, model, there):
    cohort = write_patients(tmp_path / "cohort", 3, (6, 120, 110))
    for mask in cohort.glob("*/seg.nii.gz"):
        mask.unlink()
    out = tmp_path / "deep" / "run"
    if there:
        (out / "evaluation").mkdir(parents=True)  # whatever it is, it is not this training's
        (out / "evaluation" / "table.md").write_text("mine")
    status, _, err = call("train", model, "--data", cohort, "--out", out, *FAST)
    assert status == 2 and "--assume-healthy" in err
    assert (tmp_path / "deep").exists() == there
    left = sorted(path.name for path in (tmp_path / "deep").rglob("*"))
    assert left == (["evaluation", "run", "table.md"] if there else [])
    assert json.loads(call("runs", "list", "--json")[1]) == []


def test_a_refused_start_in_the_background_is_refused_here(call, store, tmp_path):
    arguments = ["--data", store, "--out", tmp_path / "run", "--detach", "--device", "cpu"]
    status, _, err = call("train", "ae", *arguments, "--image-size", 96)
    assert status == 2 and "pixels wide" in err and not (tmp_path / "run").exists()


def test_resuming_several_finishes_a_model_whose_calibration_was_interrupted(
    call, store, tmp_path, monkeypatch
):
    from napari_cead.calibration import finishing

    arguments = ["train", "ae,vae1", "--data", store, "--out", tmp_path / "runs", *FAST, "--keep-checkpoint"]
    calibrate, calls = finishing.calibrate, []

    def interrupted(*given, **more):
        calls.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(finishing, "calibrate", interrupted)
    assert call(*arguments)[0] == 130
    run = tmp_path / "runs" / "ae"
    assert calls == [1] and not (run / "model").exists() and not list(run.glob(".part-*"))
    assert not list(models_folder().glob("*"))
    monkeypatch.setattr(finishing, "calibrate", calibrate)
    learned = RunFolder(run).load_best()

    status, out, err = call(*arguments, "--resume")
    assert status == 0, err
    for name in ("ae", "vae1"):
        card = load_card(tmp_path / "runs" / name / "model")
        assert card.suggestions and "calibration" in card.training
        assert card.sha256 in {load_card(folder).sha256 for folder in find_models().values()}
    kept = RunFolder(run).load_best()
    assert all(torch.equal(kept[name], tensor) for name, tensor in learned.items())
    assert "epoch 1/1" in out.split("calibrating")[1]  # of vae1 alone: ae had been trained

    status, out, err = call(*arguments, "--resume")  # now nothing is left to do
    assert (status, err) == (0, "") and out.count("finished before") == 2

    shutil.rmtree(find_models()[json_of(call, run)])
    status, out, _ = call(*arguments, "--resume")  # finished means installed, too
    assert status == 0 and out.count("finished before") == 1 and "installed as" in out


def json_of(call, run):
    """Return the name under which a run's model is installed."""
    return json.loads(call("runs", "status", run, "--json")[1])["installed"]


def test_a_model_that_an_earlier_version_left_uncalibrated_is_not_taken_for_finished(call, store, tmp_path):
    arguments = ["train", "ae,vae1", "--data", store, "--out", tmp_path / "runs", "--no-install", *FAST]
    arguments.append("--keep-checkpoint")
    assert call(*arguments)[0] == 0
    file = tmp_path / "runs" / "ae" / "model" / "model.json"
    values = json.loads(file.read_text())
    del values["training"]["calibration"]
    file.write_text(json.dumps(values | {"suggestions": []}))
    status, out, _ = call(*arguments, "--resume")
    assert status == 0 and "ae: trained; calibrating" in out and "vae1: finished before" in out
    assert load_card(file.parent).suggestions


@pytest.mark.parametrize("kept", [False, True])
def test_a_finished_run_keeps_its_checkpoint_only_if_asked(call, store, tmp_path, kept):
    run = tmp_path / "run"
    asked = ["--keep-checkpoint"] if kept else []
    assert call("train", "ae", "--data", store, "--out", run, "--no-install", *FAST, *asked)[0] == 0
    assert bool(list(run.glob("*.checkpoint"))) == (run / "checkpoint.json").exists() == kept
    assert RunFolder(run).has_checkpoint() == kept and (run / "model" / "model.safetensors").exists()


def test_a_run_cannot_go_back_to_fewer_epochs(call, store, tmp_path):
    run = ["train", "ae", "--data", store, "--out", tmp_path / "run", "--no-install", *FAST]
    run.append("--keep-checkpoint")
    assert call(*run, "--epochs", 2)[0] == 0
    card = (tmp_path / "run" / "model" / "model.json").read_bytes()
    status, _, err = call(*run, "--resume", "--epochs", 1)
    assert status == 2 and "2 epochs are done here, more than 1" in err and err.count("\n") == 1
    assert (tmp_path / "run" / "model" / "model.json").read_bytes() == card


def test_a_falling_learning_rate_cannot_be_extended_and_the_refusal_says_why(call, store, tmp_path):
    run = ["--data", store, "--out", tmp_path / "run", "--no-install"]
    assert call("train", "ae", *run, "--schedule", "linear", *FAST)[0] == 0
    status, _, err = call("train", "ae", *run, "--resume", "--epochs", 2)
    assert status == 2 and err.count("\n") == 1
    assert (
        "epochs 1, not 2: its learning rate falls along them (schedule linear)" in err
        and "--init-from" in err
    )


@pytest.mark.parametrize("content", ["empty", "other schema", "nothing"])
def test_a_store_that_is_none_is_one_line(call, tmp_path, content):
    folder = tmp_path / "store"
    folder.mkdir()
    if content == "other schema":
        attributes = {"zarr_format": 3, "node_type": "group", "attributes": {"schema_version": 99}}
        (folder / "zarr.json").write_text(json.dumps(attributes))
    elif content == "empty":
        (folder / "zarr.json").write_text("")
    status, _, err = call("train", "ae", "--data", folder, "--out", tmp_path / "run", *FAST)
    assert status == 2 and err.startswith("error: ") and err.count("\n") == 1 and str(folder) in err


def test_one_patient_cannot_be_split(call, tmp_path):
    cohort = write_patients(tmp_path / "cohort", 1, (6, 120, 110))
    status, _, err = call("prepare", cohort, "--out", tmp_path / "s", "--min-brain", 0.05)
    assert status == 2 and "one patient" in err and err.count("\n") == 1
