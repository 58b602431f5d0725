"""The manager with real processes, as the window uses it."""

import time

import psutil
import pytest

from napari_cead.training import RunFolder
from napari_cead.training.manager import RunManager
from napari_cead.training.recipe import Recipe
from napari_cead.zoo import find_models, load_card
from patience import PATIENCE
from small_stores import write_patients

OPTIONS = {"size": "small", "epochs": 100_000, "batch_size": 4, "device": "cpu", "precision": "32"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    from napari_cead.store.prepare import prepare

    folder = tmp_path_factory.mktemp("store")
    cohort = write_patients(folder / "cohort", 5, (6, 120, 110))
    return prepare(cohort, folder / "store", min_brain=0.05).path


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def wait_until(condition, what=None):
    deadline = time.monotonic() + 120 * PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what and what()
        time.sleep(0.05)


def has_epochs(manager, run, count):
    def check():
        info = manager.status(run)
        assert info.active, info
        return info.epoch >= count and (run / "checkpoint.json").exists()

    return check


@pytest.mark.slow  # the window's and the run's tests kill one, too
def test_killed_resumed_finished_and_installed(store, tmp_path):
    manager = RunManager()
    folder = manager.new_folder("mine")
    info = manager.start(Recipe(model="ae", data=store, out=folder, name="mine", **OPTIONS))
    assert info.state == "starting" and info.name == "mine" and info.path.is_dir()
    wait_until(has_epochs(manager, info.path, 2))
    running = manager.status("mine")
    assert running.state == "running" and running.device == "cpu" and running.phase == "training"
    assert psutil.Process(running.pid).create_time() == pytest.approx(running.process_started, abs=3)
    assert [each.name for each in RunManager().list()] == ["mine"]  # another window

    psutil.Process(running.pid).kill()
    wait_until(lambda: not RunManager().status("mine").active)
    crashed = RunManager().status("mine")
    assert crashed.state == "crashed" and "killed" in crashed.error
    assert any("epoch 2/100000" in line for line in crashed.last_words)

    reached = RunFolder(info.path).load_checkpoint()["epoch"]
    tail = manager.follow("mine", last=0)
    assert tail.poll() == []
    again = manager.resume("mine")
    assert again.state == "starting"
    events = []
    wait_until(lambda: events.extend(tail.poll()) or any(event["event"] == "epoch" for event in events))
    assert events[0]["event"] == "start" and events[0]["epoch"] == reached and events[0]["resumed"]
    finished = manager.finish("mine", wait=120)
    assert finished.state == "finished" and finished.installed == "mine" and finished.asked is None
    kinds = [event["event"] for event in tail.poll()]
    assert kinds[-2:] == ["installed", "done"] and "calibrating" in kinds
    card = load_card(find_models()["mine"])
    history = manager.history("mine")
    best = min(history, key=lambda entry: entry["validation_loss"])
    assert card.training["best_epoch"] == best["epoch"] == finished.best_epoch
    assert (info.path / "previews" / "epoch-0001.png").is_file()
    manager.remove("mine", model=True)
    assert not info.path.exists() and "mine" not in find_models()


@pytest.mark.slow  # the command line's tests discard one too
def test_discarded_while_it_trains(store, tmp_path):
    manager = RunManager()
    run = tmp_path / "elsewhere" / "run"
    run.parent.mkdir()
    manager.start(Recipe(model="ae", data=store, out=run, **OPTIONS))
    wait_until(has_epochs(manager, run, 1))
    assert manager.discard(run, wait=120) is None
    assert not run.exists() and manager.list() == [] and run.parent.is_dir()


def test_a_process_that_cannot_begin_says_why(tmp_path):
    manager = RunManager()
    info = manager.start(Recipe(model="resnet", data=tmp_path / "nowhere", out=tmp_path / "run"))
    wait_until(lambda: not manager.status(info.path).active)
    info = manager.status(info.path)
    assert info.state == "crashed" and "no design called 'resnet'" in info.error
    assert info.last_words[-1] == f"error: {info.error}"
