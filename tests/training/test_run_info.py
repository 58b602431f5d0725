"""What a run's folder says, with processes that are gone, others that have their number, and damage."""

import json
import os
import socket
import time

import psutil
import pytest

from napari_cead.errors import OutputError, RunError
from napari_cead.training import RunFolder, train
from napari_cead.training import registry as registry_module
from napari_cead.training.events import EventFile
from napari_cead.training.launching import (
    command_line,
    resume_arguments,
    save_command,
    train_arguments,
    with_option,
)
from napari_cead.training.manager import RunManager
from napari_cead.training.registry import forget, known_runs, registry_file, remember, runs_folder
from napari_cead.training.requests import ask
from napari_cead.training.run_info import look
from napari_cead.training.run_lock import Owner
from small_stores import CE_VAE, settings


@pytest.fixture(scope="module")
def made(small_store, tmp_path_factory):
    """A run of two epochs, as the library leaves it."""
    run = tmp_path_factory.mktemp("made") / "run"
    train(settings(epochs=2), small_store, run, events=run.parent / "events.jsonl")
    return run


@pytest.fixture
def run(made, tmp_path):
    import shutil

    return shutil.copytree(made, tmp_path / "run")


def say(run, *kinds, **more):
    file = EventFile(run / "events.jsonl")
    for kind in kinds:
        file({"event": kind, **more})


def note(run, name="process.json", **changes):
    values = {**Owner.this().__dict__, **changes}
    (run / name).write_text(json.dumps(values))


def test_figures_come_from_log_and_plan(run):
    history = RunManager().history(run)
    info = look(run)
    assert (info.epoch, info.epochs, info.model, info.size) == (2, 2, "ae", "custom")
    assert info.validation_loss == history[-1]["validation_loss"]
    assert info.best_loss == min(entry["validation_loss"] for entry in history)
    assert (info.pid, info.seconds_left, info.active) == (None, None, False)


def test_a_number_alone_is_no_process(run):
    say(run, "start", "step")
    note(run, pid=os.getppid())  # alive, but it does not hold the lock
    info = look(run)
    assert info.state == "crashed" and info.pid is None and "without an error message" in info.error


def test_without_a_lock_to_go_by_the_start_of_the_process_counts(run, monkeypatch):
    monkeypatch.setattr("napari_cead.training.run_info.is_held", lambda folder: None)
    say(run, "start")
    note(run)
    assert look(run).state == "running"
    note(run, process_started=psutil.Process().create_time() - 3600)  # it had our number an hour ago
    assert look(run).state == "crashed"
    note(run, pid=2**22 + 5)
    assert look(run).state == "crashed"
    note(run, host="elsewhere")  # nobody can tell from here
    info = look(run)
    assert (info.state, info.host) == ("running", "elsewhere")


def test_the_lock_is_the_truth_across_machines(run):
    say(run, "start")
    folder = RunFolder(run)
    with folder.locked():
        note(run, host="elsewhere", pid=7)
        info = look(run)
        assert (info.state, info.host, info.pid) == ("running", "elsewhere", 7)
        with pytest.raises(RunError) as error:
            RunManager().kill(run)
        assert "process 7 on elsewhere" in str(error.value)
        for action in (RunManager().remove, RunManager().resume):
            with pytest.raises(RunError, match="is training here"):
                action(run)
    note(run, host="elsewhere", pid=7)
    assert look(run).state == "crashed"


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        (("start", "step", "paused"), "paused"),
        (("start", "finish", "calibrating", "installed", "done"), "finished"),
        (("start", "error"), "crashed"),
        (("start", "paused", "start", "step"), "crashed"),
        (("start", "done", "start", "step"), "crashed"),
        (("start", "finish", "calibrating"), "crashed"),
        (("preparing",), "crashed"),
    ],
)
def test_the_last_word_counts(run, kinds, state):
    save_command(run, ["train", "ae"])
    say(run, *kinds)
    assert look(run).state == state


def test_a_run_of_a_program_ends_with_its_training(run):
    say(run, "start", "epoch", "finish")
    assert look(run).state == "finished"


def test_a_process_that_was_started_and_has_said_nothing(run):
    say(run, "start", "paused")
    note(run, "launched.json", noted=time.time() + 1)
    assert look(run).state == "starting"
    note(run, "launched.json", noted=time.time() + 1, process_started=5.0)  # not that process
    (run / "output.log").write_text("Traceback …\nerror: no GPU of this number; check --device\n")
    info = look(run)
    assert info.state == "crashed" and info.error == "no GPU of this number; check --device"
    assert info.last_words == ("Traceback …", "error: no GPU of this number; check --device")


@pytest.mark.parametrize("file", ["run.json", "checkpoint.json", "best-*.checkpoint"])
def test_damage_is_one_sentence(run, file):
    (path,) = run.glob(file)
    if path.suffix == ".json":
        path.write_text("{")
    else:
        path.unlink()
    info = look(run)
    assert info.state == "damaged" and path.name in info.error and "\n" not in info.error
    assert [each.state for each in _listed(run)] == ["damaged"]


def _listed(run):
    remember(run)
    return RunManager().list()


def test_phases_and_speed_while_it_runs(run):
    with RunFolder(run).locked():
        say(run, "preparing", done=3, total=30)
        info = look(run)
        assert (info.state, info.phase, info.progress) == ("running", "preparing", (3, 30))
        say(run, "start", device="cuda:0", epochs=9)
        say(run, "step", slices_per_second=120.5, seconds_left=60.0)
        ask(run, "finish")
        info = look(run)
        assert (info.phase, info.device, info.epochs, info.asked) == ("training", "cuda:0", 9, "finish")
        assert (info.slices_per_second, info.seconds_left) == (120.5, 60.0)
        say(run, "finish")
        say(run, "calibrating", done=1, total=4)
        assert look(run).progress == (1, 4)


def test_a_run_that_is_not_at_work_is_left_as_it_is(run):
    say(run, "start", "paused")
    manager = RunManager()
    assert manager.pause(run).state == manager.finish(run).state == manager.pause(run).state == "paused"
    assert not (run / "request.json").exists()
    manager.kill(run)


def test_removing_takes_what_belongs_to_the_run(run, small_store):
    (run / "thesis.txt").write_text("everything")
    manager = RunManager()
    manager.remove(run)
    assert [entry.name for entry in run.iterdir()] == ["thesis.txt"]
    with pytest.raises(RunError, match="no such training run"):
        manager.status(run)


def test_slices_that_another_run_learns_from_stay(run, tmp_path):
    (run / "store").mkdir()
    (run / "store" / "zarr.json").write_text("{}")
    other = tmp_path / "other"
    other.mkdir()
    plan = json.loads((run / "run.json").read_text())
    (other / "run.json").write_text(json.dumps({**plan, "data": str(run / "store")}))
    remember(other)
    RunManager().remove(run)
    assert (run / "store" / "zarr.json").exists()
    RunManager().remove(other)
    assert not other.exists()


def test_a_discarded_run_goes_when_its_process_has_ended(run):
    remember(run)
    manager = RunManager()
    folder = RunFolder(run)
    with folder.locked():
        say(run, "start")
        assert manager.discard(run).asked == "discard"
        assert [info.asked for info in manager.list()] == ["discard"]
    assert RunManager().list() == [] and not run.exists() and known_runs() == []


def test_the_list_survives_what_is_missing_or_odd(run, tmp_path):
    away = tmp_path / "disk" / "away"
    registry_file().parent.mkdir(parents=True, exist_ok=True)
    registry_file().write_text(json.dumps({"runs": [str(away), 5, str(run)]}))
    assert known_runs() == [run]
    gone = tmp_path / "gone"
    (gone).mkdir()
    remember(gone)
    gone.rmdir()
    other = tmp_path / "more"
    other.mkdir()
    save_command(other, ["train", "ae"])
    remember(other)
    kept = json.loads(registry_file().read_text())["runs"]
    assert kept == [str(away), str(run), str(other)]  # a disk may come back, a deleted folder does not
    registry_file().write_text("{")
    assert known_runs() == []
    forget(run)
    inside = runs_folder() / "usual"
    inside.mkdir(parents=True)
    save_command(inside, ["train", "ae"])
    (runs_folder() / "no-run").mkdir()
    remember(inside)
    assert known_runs() == [inside] and registry_file().read_text() == "{"


def test_a_name_is_enough_if_it_is_the_only_one(run, tmp_path):
    remember(run)
    manager = RunManager()
    assert manager.find("run") == manager.find(run) == run
    twin = tmp_path / "more" / "run"
    twin.mkdir(parents=True)
    save_command(twin, ["train", "ae"])
    remember(twin)
    with pytest.raises(RunError, match="several runs"):
        manager.find("run")


def test_commands():
    options = {"epochs": 20, "init_from": "ce-vae1", "no_install": True, "lr": None, "augment": False}
    arguments = train_arguments("ce-vae1", "my scans", "out", options)
    assert arguments == [
        *("train", "ce-vae1", "--data", "my scans", "--out", "out"),
        *("--epochs", "20", "--init-from", "ce-vae1", "--no-install", "--no-augment"),
    ]
    assert with_option(["train", "--epochs=3", "--lr", "1"], "epochs", 5) == [
        "train",
        "--lr",
        "1",
        "--epochs",
        "5",
    ]
    assert with_option(["a", "--resume", "b"], "resume", False) == ["a", "b"]
    assert with_option(["a", "--augment"], "augment", False) == ["a", "--no-augment"]
    assert with_option(["a", "--lr", "1", "b"], "lr", None) == ["a", "b"]
    if os.name != "nt":
        assert command_line(arguments).startswith("napari-cead train ce-vae1 --data 'my scans' --out out")


def test_resuming_keeps_the_options_of_before(run):
    save_command(run, ["train", "ae", "--data", "d", "--out", "moved", "--epochs", "3", "--lr=1"])
    before = ["train", "ae", "--data", "d", "--epochs", "3", "--lr=1", "--out", str(run), "--resume"]
    assert resume_arguments(run) == resume_arguments(run, {"epochs": None}) == before
    assert resume_arguments(run, {"lr": 2})[-4:] == [str(run), "--resume", "--lr", "2"]


def test_resuming_a_run_without_a_command(run, tmp_path):
    arguments = resume_arguments(run, {"epochs": 7})
    data = json.loads((run / "run.json").read_text())["data"]
    assert arguments == ["train", "ae", "--data", data, "--out", str(run), "--resume", "--epochs", "7"]
    with pytest.raises(RunError, match="no training run here"):
        resume_arguments(tmp_path)


def test_resuming_a_fine_tuning_that_has_no_checkpoint_starts_from_its_parent(tmp_path, small_store):
    class Mother:
        name, sha256 = "mother", "0" * 64

    folder = RunFolder(tmp_path / "run")
    folder.create(settings(CE_VAE), small_store.path, small_store.fingerprint, (Mother,))
    assert "--init-from mother" in " ".join(resume_arguments(folder.path))


def test_a_folder_of_other_files_is_left_alone(tmp_path, small_store):
    (tmp_path / "thesis.txt").write_text("everything")
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        RunManager().start("ae", small_store.path, tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_lock_held_elsewhere_is_seen(run, monkeypatch):
    from napari_cead.training.run_lock import is_held

    assert is_held(run) is False
    with RunFolder(run).locked():
        assert is_held(run) is True
        assert Owner.read(run / "process.json").alive()
        assert socket.gethostname() in str(Owner.read(run / "process.json"))
    assert is_held(run) is False and is_held(run / "nowhere") is False
    assert registry_module.is_run(run)
