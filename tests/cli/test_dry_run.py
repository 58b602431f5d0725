"""What a training would cost, before it begins."""

import re

import pytest
import torch

from napari_cead.cli import dry_run
from napari_cead.models import build
from napari_cead.models.building import parameter_count
from napari_cead.training.cost import Cost, cost_of
from napari_cead.training.presets import training_settings
from napari_cead.training.settings import Hardware
from small_stores import write_patients

CPU = Hardware(device="cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    from napari_cead.training.preparation import prepare

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
    assert "4 patients, prepared and split by patient before the training" in out
    assert "200 epochs of 1,000 slices each" in out and not (tmp_path / "out").exists()


def test_the_time_of_a_training_is_that_of_its_slices():
    cost = Cost("cpu", 1, slice_seconds=0.5, validation_seconds=0.25, memory=0, updates=3, epochs=10)
    assert cost.epoch(100, 8) == 52 and cost.total(100, 8) == 520


def test_two_devices_take_half_the_time(monkeypatch):
    settings = training_settings("ae", size="small", image_size=48, batch_size=2)
    measured = Cost("cpu", 1, 0.5, 0.25, 0, 3, 10)
    monkeypatch.setattr("napari_cead.training.cost.measure", lambda *_, **__: measured)
    found = cost_of(settings, Hardware(device="cpu", devices=2), (1.0, 1.0))
    assert (found.slice_seconds, found.validation_seconds) == (0.25, 0.125)


def test_a_long_training_at_full_size_on_a_processor_is_announced_with_a_smaller_one(store, monkeypatch):
    def measured(fabric, settings, spacing, *, most=None):
        with torch.device("meta"):
            weights = parameter_count(build(settings.spec))
        return Cost("cpu", weights, 0.5, 0.25, 0, 3, settings.epochs)

    monkeypatch.setattr("napari_cead.training.cost.measure", measured)
    settings = training_settings("ae", epochs=200, batch_size=2)
    monkeypatch.setattr(dry_run, "LONG", 0.0)
    text = dry_run.announced(settings, store, CPU, tuned=False)
    assert text is not None and text.startswith("ae at full size (81 million weights) takes about ")
    assert re.search(
        r"per epoch on this processor, .* for 200; with --size small about .*16 epochs\) about", text
    )
    tuned = dry_run.announced(settings, store, CPU, tuned=True)
    assert tuned is not None and tuned.endswith("use a GPU, or fewer --epochs")
    monkeypatch.setattr(dry_run, "LONG", 1e12)
    assert dry_run.announced(settings, store, CPU, tuned=False) is None
    small = training_settings("ae", size="small")
    assert dry_run.announced(small, store, CPU, tuned=False) is None


def test_the_announcement_comes_before_the_training_and_does_not_stop_it(call, store, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_cead.cli.train.announced", lambda *_: "this takes long")
    arguments = ("train", "ae", "--data", store.path, "--out", tmp_path / "run", "--size", "small")
    arguments += ("--epochs", 2, "--batch-size", 4, "--device", "cpu", "--no-install")
    status, out, err = call(*arguments)
    assert (status, err) == (0, "note: this takes long\n")
    assert re.search(r"^epoch 1/2: .* slices/s, about \d+ s left$", out, re.M)
    assert re.search(r"^epoch 2/2: .* slices/s$", out, re.M)
    assert call(*arguments, "--resume")[2] == ""  # what has begun is not announced again
