"""What a run's folder says, with processes that are gone, others that have their number, and damage."""

import json
import os
import shutil
import socket
import time

import psutil
import pytest

from napari_cead.errors import OutputError, RunError
from napari_cead.runs.registry import forget, known_runs, registry_file, remember, runs_folder
from napari_cead.runs.requests import ask
from napari_cead.runs.run_info import RunInfo, look, read_status, write_status
from napari_cead.training import RunFolder, train
from napari_cead.training.launching import command_line, recipe_of, words_of
from napari_cead.training.manager import RunManager
from napari_cead.training.recipe import Recipe, read_recipe
from small_stores import CE_VAE, settings


@pytest.fixture(scope="module")
def made(small_store, tmp_path_factory):
    """A run of two epochs, as the library leaves it."""
    run = tmp_path_factory.mktemp("made") / "run"
    train(settings(epochs=2), small_store, run)
    return run


@pytest.fixture
def run(made, tmp_path):
    return shutil.copytree(made, tmp_path / "run")


def say(run, *kinds, **more):
    for kind in kinds:
        RunFolder(run).say(kind, **more)


def claim(run, **changes):
    """Write that a process is active, by default this one."""
    info = (read_status(run) or RunInfo(run, run.name, "paused")).by(os.getpid(), "running")
    write_status(RunInfo(**{**info.__dict__, **changes}))


def test_the_figures_are_those_of_the_log(run):
    history = RunManager().history(run)
    info = look(run)
    assert (info.state, info.epoch, info.epochs, info.model, info.size) == ("finished", 2, 2, "ae", "custom")
    assert info.validation_loss == history[-1]["validation_loss"]
    assert info.best_loss == min(entry["validation_loss"] for entry in history)
    assert history[info.best_epoch - 1]["validation_loss"] == info.best_loss
    assert (info.pid, info.seconds_left, info.active) == (None, None, False)


def test_a_run_of_an_earlier_version_is_read_from_its_other_files(run):
    now = look(run)
    (run / "status.json").unlink()
    for name in ("command.json", "launched.json", "process.json"):
        (run / name).write_text("{}")
    then = look(run)
    same = ("epoch", "epochs", "model", "size", "data", "best_epoch", "best_loss", "train_loss", "parent")
    assert then.state == "paused" and {name: getattr(then, name) for name in same} == {
        name: getattr(now, name) for name in same
    }
    (run / "model").mkdir()
    (run / "model" / "model.json").write_text("{}")
    assert look(run).state == "finished"
    assert recipe_of(run).model == "ae"
    RunManager().remove(run)
    assert not run.exists()


def test_a_number_alone_is_no_process(run):
    claim(run)
    assert look(run).state == "running"
    claim(run, process_started=psutil.Process().create_time() - 3600)  # it had our number an hour ago
    info = look(run)
    assert info.state == "crashed" and info.pid is None and "without an error message" in info.error
    claim(run, pid=2**22 + 5)
    assert look(run).state == "crashed"


def test_a_process_of_another_machine_is_at_work_as_long_as_it_is_heard_of(run):
    claim(run, host="elsewhere", pid=7)
    info = look(run)
    assert (info.state, info.host, info.pid) == ("running", "elsewhere", 7)
    with pytest.raises(RunError) as error:
        RunManager().kill(run)
    assert "process 7 on elsewhere" in str(error.value)
    for action in (RunManager().remove, RunManager().resume):
        with pytest.raises(RunError, match="is training here"):
            action(run)
    long_ago = time.time() - 3600
    os.utime(run / "status.json", (long_ago, long_ago))
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
def test_the_last_event_of_a_process_that_is_gone_counts(run, kinds, state):
    claim(run, pid=2**22 + 5)
    say(run, *kinds)
    assert look(run).state == state


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (None, "paused"),
        (KeyboardInterrupt, "paused"),
        (MemoryError, "crashed"),
        (RunError("no luck"), "crashed"),
    ],
)
def test_a_process_that_ends_says_so_and_one_that_did_nothing_changes_nothing(run, error, state):
    before = (run / "status.json").read_bytes()
    for events in ((), ("start", "step")):
        try:
            with RunFolder(run).locked():
                assert look(run).pid == os.getpid()
                say(run, *events)
                if error is not None:
                    raise error
        except (KeyboardInterrupt, MemoryError, RunError):
            pass
        if not events:
            assert (run / "status.json").read_bytes() == before
    info = look(run)
    assert (info.state, info.pid) == (state, None)
    assert (info.error is None) == (state == "paused")


def test_a_process_that_was_started_and_has_said_nothing(run):
    write_status(read_status(run).by(os.getpid(), "starting"))
    assert look(run).state == "starting"
    write_status(read_status(run).by(2**22 + 5, "starting"))  # gone
    (run / "output.log").write_text("Traceback …\nerror: no GPU of this number; check --device\n")
    info = look(run)
    assert info.state == "crashed" and info.error == "no GPU of this number; check --device"
    assert info.last_words == ("Traceback …", "error: no GPU of this number; check --device")
    with pytest.raises(RunError), RunFolder(run).locked():  # its first word is a refusal
        raise RunError("other settings")
    assert look(run).state == "crashed"


@pytest.mark.parametrize("file", ["run.json", "checkpoint.json", "best-*.checkpoint"])
def test_damage_is_one_sentence(run, file):
    (path,) = run.glob(file)
    if path.suffix == ".json":
        path.write_text("{")
    else:
        path.unlink()
    info = look(run)
    assert info.state == "damaged" and path.name in info.error and "\n" not in info.error
    remember(run)
    assert [each.state for each in RunManager().list()] == ["damaged"]


@pytest.mark.parametrize("content", ["{", '{"schema_version": 99}', '{"schema_version": 1, "state": "odd"}'])
def test_a_state_that_cannot_be_read_is_taken_from_the_other_files(run, content):
    (run / "status.json").write_text(content)
    assert (look(run).state, look(run).epoch) == ("paused", 2)


def test_phases_and_speed_while_it_runs(run):
    with RunFolder(run).locked():
        say(run, "preparing", done=3, total=30)
        info = look(run)
        assert (info.state, info.phase, info.progress) == ("running", "preparing", (3, 30))
        say(run, "start", device="cuda:0", epochs=9, epoch=0, model="ae", size="small", data="there")
        say(run, "step", slices_per_second=120.5, seconds_left=60.0)
        ask(run, "finish")
        info = look(run)
        assert (info.phase, info.device, info.epochs, info.asked) == ("training", "cuda:0", 9, "finish")
        assert (info.slices_per_second, info.seconds_left) == (120.5, 60.0)
        say(run, "finish")
        say(run, "calibrating", done=1, total=4)
        assert look(run).progress == (1, 4)


def test_a_run_that_is_not_at_work_is_left_as_it_is(run):
    say(run, "paused")
    manager = RunManager()
    assert manager.pause(run).state == manager.finish(run).state == manager.pause(run).state == "paused"
    assert not (run / "request.json").exists()
    manager.kill(run)


def test_removing_takes_what_belongs_to_the_run(run):
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
    with RunFolder(run).locked():
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
    gone.mkdir()
    remember(gone)
    gone.rmdir()
    other = shutil.copytree(run, tmp_path / "more")
    remember(other)
    kept = json.loads(registry_file().read_text())["runs"]
    assert kept == [str(away), str(run), str(other)]  # a disk may come back, a deleted folder does not
    registry_file().write_text("{")
    assert known_runs() == []
    forget(run)
    inside = shutil.copytree(run, runs_folder() / "usual")
    (runs_folder() / "no-run").mkdir()
    remember(inside)
    assert known_runs() == [inside] and registry_file().read_text() == "{"


def test_a_name_is_enough_if_it_is_the_only_one(run, tmp_path):
    remember(run)
    manager = RunManager()
    assert manager.find("run") == manager.find(run) == run
    remember(shutil.copytree(run, tmp_path / "more" / "run"))
    with pytest.raises(RunError, match="several runs"):
        manager.find("run")


def test_a_recipe_is_a_command_and_a_file(tmp_path):
    options = {"epochs": 20, "init_from": "ce-vae1", "no_install": True, "augment": False, "lr": 2e-4}
    recipe = Recipe(model="ce-vae1", data="my scans", out="out", **options)
    assert recipe.words() == [
        *("ce-vae1", "--data", "my scans", "--out", "out", "--init-from", "ce-vae1", "--epochs", "20"),
        *("--lr", "0.0002", "--no-augment", "--no-install"),
    ]
    (tmp_path / "config.yaml").write_text(recipe.written())
    assert read_recipe(tmp_path / "config.yaml") == recipe
    if os.name != "nt":
        line = command_line(["train", *recipe.words()])
        assert line.startswith("napari-cead train ce-vae1 --data 'my scans' --out out")
    assert words_of({"a_b": 1, "c": None, "d": True, "e": False}) == ["--a-b", "1", "--d"]


def test_a_run_without_a_recipe_is_resumed_by_its_plan(run, tmp_path):
    recipe = recipe_of(run)
    data = json.loads((run / "run.json").read_text())["data"]
    assert (recipe.model, str(recipe.data), recipe.out, recipe.init_from) == ("ae", data, run, None)
    with pytest.raises(RunError, match="nothing says what to train"):
        recipe_of(tmp_path)


def test_a_recipe_goes_with_its_folder(run, tmp_path):
    recipe = Recipe(model="ae", data=tmp_path / "data", out=tmp_path / "before", epochs=3)
    (run / "config.yaml").write_text(recipe.written())
    assert recipe_of(run) == recipe.model_copy(update={"out": run})


def test_resuming_a_fine_tuning_that_has_no_checkpoint_starts_from_its_parent(tmp_path, small_store):
    class Mother:
        name, sha256 = "mother", "0" * 64

    folder = RunFolder(tmp_path / "run")
    folder.create(settings(CE_VAE), small_store.path, small_store.fingerprint, (Mother,))
    assert recipe_of(folder.path).init_from == look(folder.path).parent == "mother"


def test_a_folder_of_other_files_is_left_alone(tmp_path, small_store):
    (tmp_path / "thesis.txt").write_text("everything")
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        RunManager().start(Recipe(model="ae", data=small_store.path, out=tmp_path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_process_at_work_is_named(run):
    with RunFolder(run).locked():
        info = look(run)
        assert info.pid == os.getpid() and socket.gethostname() in info.process
        assert info.process_started == pytest.approx(psutil.Process().create_time(), abs=3)
