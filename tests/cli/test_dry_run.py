"""What a training would cost, before it begins."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_cead.cli import dry_run
from napari_cead.errors import Cancelled
from napari_cead.evaluation.making import plan
from napari_cead.models import build
from napari_cead.models.building import parameter_count
from napari_cead.runs.run_info import RunInfo
from napari_cead.runs.training_settings import Hardware
from napari_cead.training.cost import Cost, cost_of
from napari_cead.training.presets import training_settings
from napari_cead.training.recipe import Recipe
from napari_cead.wording import duration
from scans import write_nifti
from small_stores import write_patients


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    from napari_cead.store.prepare import prepare

    cohort = write_patients(tmp_path_factory.mktemp("data") / "train", 4, (6, 120, 110))
    return prepare(cohort, cohort.parent / "store", min_brain=0.05)


def test_a_dry_run_says_everything_and_starts_nothing(call, store, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "napari_cead.evaluation.making.run_training", lambda *_, **__: pytest.fail("a training was started")
    )
    before = sorted(store.path.rglob("*"))
    status, out, err = call(
        *("train", "ae,ce-unet", "--data", store.path, "--out", tmp_path / "out", "--size", "small"),
        *("--epochs", 7, "--batch-size", 4, "--lr", 2e-4, "--device", "cpu", "--dry-run"),
    )
    assert (status, err) == (0, "")
    assert not (tmp_path / "out").exists() and sorted(store.path.rglob("*")) == before
    assert f"split by patient: {store.summary()}" in out
    weights = parameter_count(build("ae", size="small")) / 1e6
    assert f"ae (size small): {weights:.1f} million weights, slices of 196 x 196 pixels" in out
    assert "epochs 7" in out and "lr 0.0002" in out and "schedule one-cycle" in out
    assert len(re.findall(r"^memory: about [\d.]+ of this computer's \d+ GiB$", out, re.M)) == 2
    assert len(re.findall(r"^time on cpu, .* per epoch, .* for 7 epochs", out, re.M)) == 2


def test_a_dry_run_on_patients_prepares_none(call, store, tmp_path):
    status, out, err = call(
        *("train", "ae", "--data", store.path.parent / "train", "--out", tmp_path / "out"),
        *("--size", "small", "--batch-size", 2, "--device", "cpu", "--dry-run"),
    )
    assert status == 0, err
    assert not (tmp_path / "out").exists()
    assert "4 patients by the names of the files, prepared before the training; 0 left out" in out
    parts = {part: len(store.patients_of(part)) for part in ("train", "validation", "test")}
    said = f"split by patient: {parts['train']} to train, {parts['validation']} to validate, {parts['test']} to test"
    assert said in out
    depth = 6  # slices of 1 mm, all of them within a brain
    assert (
        f"about {depth * parts['train']} training and {depth * parts['validation']} validation slices" in out
    )
    assert re.search(
        r"^time on cpu, .*: at most about .* per epoch, .* for 200 epochs, .*\(an estimate\)$", out, re.M
    )


def test_what_is_foreseen_is_what_is_prepared(tmp_path):
    from napari_cead.store.foreseeing import foresee
    from napari_cead.store.prepare import prepare

    cohort = write_patients(tmp_path / "train", 9, (6, 120, 110))
    (cohort / "Mets_003" / "seg.nii.gz").unlink()
    for assume_healthy in (False, True):
        found = foresee(cohort, assume_healthy=assume_healthy)
        made = prepare(
            cohort, tmp_path / f"store-{assume_healthy}", min_brain=0.05, assume_healthy=assume_healthy
        )
        assert found.parts == {patient.name: patient.parts[0] for patient in made.patients}
        assert found.left_out == len(made.skipped) == 1 - assume_healthy
        # No slice is stored that was not foreseen; those at the ends of a scan may be without brain.
        for part, slices in found.slices.items():
            stored = made.patients_of(part)
            assert sum(len(one.numbers) for one in stored) <= slices == 6 * len(stored)


def test_thin_slices_beyond_the_brain_are_not_foreseen(tmp_path):
    from napari_cead.store.foreseeing import BRAIN_MM, foresee

    for number in range(3):
        place = tmp_path / f"Mets_00{number}"
        for name in ("flair", "seg"):
            # The slices lie along the second axis, 0.5 mm apart.
            affine = np.array([[1.0, 0, 0, 0], [0, 0, 1.0, 0], [0, 0.5, 0, 0], [0, 0, 0, 1]])
            write_nifti(place / f"{name}.nii.gz", np.zeros((4, 600, 5), np.uint8), affine)
    assert foresee(tmp_path).slices["train"] % round(BRAIN_MM / 0.5) == 0


def test_headers_that_tell_nothing_leave_the_time_per_slice(call, store, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_cead.store.foreseeing.read_header", lambda path: None)
    status, out, err = call(
        *("train", "ae", "--data", store.path.parent / "train", "--out", tmp_path / "out"),
        *("--size", "small", "--batch-size", 2, "--device", "cpu", "--dry-run"),
    )
    assert status == 0, err
    assert "200 epochs of 1,000 slices each" in out and "validation slices" not in out


def test_the_time_of_a_training_is_that_of_its_slices():
    cost = Cost("cpu", 1, slice_seconds=0.5, validation_seconds=0.25, memory=0, updates=3, epochs=10)
    assert cost.epoch(100, 8) == 52 and cost.total(100, 8) == 520


def test_two_devices_take_half_the_time(monkeypatch):
    settings = training_settings("ae", size="small", image_size=48, batch_size=2)
    measured = Cost("cpu", 1, 0.5, 0.25, 0, 3, 10)
    monkeypatch.setattr("napari_cead.training.cost.measure", lambda *_, **__: measured)
    found = cost_of(settings, Hardware(device="cpu", devices=2), (1.0, 1.0))
    assert (found.slice_seconds, found.validation_seconds) == (0.25, 0.125)


@pytest.fixture
def slow(monkeypatch):
    """A processor on which a slice takes half a second, and every training takes long."""

    def measured(fabric, settings, spacing, *, most=None):
        with torch.device("meta"):
            weights = parameter_count(build(settings.spec))
        return Cost("cpu", weights, 0.5, 0.25, 0, 3, settings.epochs)

    monkeypatch.setattr("napari_cead.training.cost.measure", measured)
    monkeypatch.setattr("napari_cead.training.cost.LONG", 0.0)


def planned(store, out, model="ae", **more):
    given = {"epochs": 200, "batch_size": 2, "device": "cpu", "size": "paper", **more}
    return plan(Recipe(model=model, data=store, out=out, **given))


def test_a_long_training_at_full_size_on_a_processor_is_announced_with_a_smaller_one(
    store, slow, tmp_path, monkeypatch
):
    (text,) = dry_run.announced(planned(store.path, tmp_path / "out"), store)
    assert text.startswith("ae at full size (81 million weights) takes about ")
    assert re.search(
        r"per epoch on this processor, .* for 200; with --size small about .*16 epochs\) about", text
    )
    assert dry_run.announced(planned(store.path, tmp_path / "out", size="small"), store) == []
    monkeypatch.setattr("napari_cead.training.cost.LONG", 1e12)
    assert dry_run.announced(planned(store.path, tmp_path / "out"), store) == []


def test_a_training_that_has_no_smaller_one_is_announced_without(store, slow, tmp_path):
    planning = planned(store.path, tmp_path / "out")
    tuned = replace(planning, recipe=planning.recipe.model_copy(update={"init_from": "mine"}))
    (text,) = dry_run.announced(tuned, store)
    assert text.endswith("use a GPU, or fewer --epochs")


def test_several_trainings_are_announced_together(store, slow, tmp_path):
    counts = [len(store.healthy_rows(part)) for part in ("train", "validation")]
    one = 200 * (0.5 * counts[0] + 0.25 * counts[1])
    first, second, last = dry_run.announced(planned(store.path, tmp_path / "out", "ae,vae1"), store)
    assert first.startswith("ae at full size") and second.startswith("vae1 at full size")
    assert last == f"all 2 trainings one after the other take about {duration(2 * one)}"
    text, last = dry_run.announced(planned(store.path, tmp_path / "out", seeds="0,1,2"), store)
    assert text.startswith("ae at full size")
    assert last == f"all 3 trainings one after the other take about {duration(3 * one)}"


def test_a_folder_is_announced_before_its_slices_are_prepared(call, store, slow, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_cead.training.cost.is_costly", lambda *_: True)
    stages = []
    monkeypatch.setattr(
        "napari_cead.cli.train.typer.echo", lambda text, err=False: stages.append(("said", text))
    )
    monkeypatch.setattr(
        "napari_cead.evaluation.making.prepare", lambda *_, **__: stages.append(("prepared", "")) or store
    )
    monkeypatch.setattr("napari_cead.evaluation.making.run_training", _stops)
    data = store.path.parent / "train"
    call("train", "ae", "--data", data, "--out", tmp_path / "out", "--batch-size", 2, "--device", "cpu")
    notes = [at for at, (kind, text) in enumerate(stages) if text.startswith("note: ae at full size")]
    assert len(notes) == 1 and notes[0] < stages.index(("prepared", ""))


def test_a_training_in_the_background_is_announced_where_it_is_started(
    call, store, slow, tmp_path, monkeypatch
):
    monkeypatch.setattr("napari_cead.training.cost.is_costly", lambda *_: True)
    started = []
    monkeypatch.setattr(
        "napari_cead.training.manager.RunManager.start",
        lambda manager, recipe: started.append(recipe) or RunInfo(recipe.out, "out", "starting", pid=1),
    )
    arguments = ("train", "ae", "--data", store.path, "--out", tmp_path / "out", "--batch-size", 2)
    status, _, err = call(*arguments, "--device", "cpu", "--detach")
    assert (status, len(started)) == (0, 1)
    assert err.startswith("note: ae at full size (81 million weights) takes about ")


def _stops(*_, **__):
    raise Cancelled


def test_the_announcement_comes_before_the_training_and_does_not_stop_it(
    call, store, slow, tmp_path, monkeypatch
):
    monkeypatch.setattr("napari_cead.training.cost.is_costly", lambda *_: True)
    arguments = ("train", "ae", "--data", store.path, "--out", tmp_path / "run", "--size", "small")
    arguments += ("--epochs", 2, "--batch-size", 4, "--device", "cpu", "--no-install", "--keep-checkpoint")
    status, out, err = call(*arguments)
    assert status == 0 and err.startswith("note: ae at full size") and err.count("\n") == 1
    assert re.search(r"^epoch 1/2: .* slices/s, about \d+ s left$", out, re.M)
    assert re.search(r"^epoch 2/2: .* slices/s$", out, re.M)
    assert call(*arguments, "--resume")[2] == ""  # what has begun is not announced again
