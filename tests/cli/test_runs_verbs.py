"""The verbs about runs, as a user types them."""

import io
import json
import subprocess
import sys

import pytest

from napari_cead.runs.events import EventTail
from napari_cead.runs.requests import ask, asked
from napari_cead.training import RunFolder
from napari_cead.training.launching import recipe_of
from napari_cead.zoo import find_models
from small_stores import write_patients

FAST = ["--size", "small", "--epochs", 1, "--batch-size", 4, "--device", "cpu"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return write_patients(tmp_path_factory.mktemp("cohort") / "train", 5, (6, 150, 140))


@pytest.fixture(scope="module")
def store(cohort):
    from napari_cead.store.prepare import prepare

    return prepare(cohort, cohort.parent / "store", min_brain=0.05).path


def kinds(run):
    return [event["event"] for event in EventTail(run / "events.jsonl").poll()]


class Terminal(io.StringIO):
    """Somebody who answers."""

    def isatty(self):
        return True


def test_a_run_from_the_terminal_is_listed_finished_longer_and_removed(call, store, tmp_path, monkeypatch):
    run = tmp_path / "mine"
    assert call("train", "ae", "--data", store, "--out", run, *FAST, "--augment", "--keep-checkpoint")[0] == 0
    assert kinds(run)[-2:] == ["installed", "done"]
    (listed,) = json.loads(call("runs", "list", "--json")[1])
    assert (listed["name"], listed["state"], listed["installed"]) == ("mine", "finished", "mine")
    status, out, err = call("runs", "status", "mine")
    assert (status, err) == (0, "") and "mine: finished" in out and "epoch       1 of 1" in out
    facts = json.loads(call("runs", "status", run, "--json")[1])
    assert facts["schema_version"] == 1 and facts["path"] == str(run) and facts["advice"] == []
    assert "mine" in call("runs", "list")[1]

    ask(run, "finish")  # meant for a process that is asked to go on for long
    status, out, err = call("runs", "resume", "mine", "--epochs", 5000)
    assert status == 0, err
    assert (
        RunFolder(run).plan().settings.epochs == 1 and len(RunFolder(run).load_checkpoint()["history"]) < 5000
    )
    assert asked(run) is None and kinds(run)[-1] == "done"
    kept = recipe_of(run)
    assert (kept.resume, kept.data, kept.epochs, kept.augment) == (False, store, 5000, True)

    status, out, _ = call("runs", "tail", "mine", "-n", 2)
    assert status == 0 and [line.split()[1] for line in out.splitlines()] == ["installed", "done"]
    lines = call("runs", "tail", "mine", "-n", 3, "--json", "--follow")[1].splitlines()
    assert len(lines) == 3 and json.loads(lines[-1])["event"] == "done"

    assert call("runs", "stop", "mine")[1] == "mine: finished\n"
    status, out, err = call("runs", "remove", "mine")  # nobody is there to be asked
    assert (status, out) == (2, "") and "--yes" in err and run.exists()
    for answer, expected in (("n\n", 130), ("y\n", 0)):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        status, out, _ = call("runs", "remove", "mine")
        assert status == expected and f"Delete the run {run} (epoch " in out
        assert run.exists() == bool(expected)
    assert (
        not run.exists() and "mine" in find_models() and json.loads(call("runs", "list", "--json")[1]) == []
    )


def test_a_pause_while_slices_are_prepared(call, cohort, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    ask(run, "pause")
    status, out, err = call("train", "ae", "--data", cohort, "--out", run, *FAST, "--no-install")
    assert status == 0, err
    assert "paused; continue with: napari-cead runs resume" in out and kinds(run) == ["paused"]
    assert json.loads(call("runs", "list", "--json")[1])[0]["state"] == "paused"
    status, out, err = call("runs", "resume", run)
    assert status == 0, err
    found = kinds(run)
    assert RunFolder(run).plan().settings.epochs == 1
    assert found[1] == "preparing" and found[-1] == "done" and "installed" not in found
    assert (run / "model" / "model.json").is_file() and (run / "store" / "zarr.json").is_file()
    assert json.loads(call("runs", "list", "--json")[1])[0]["state"] == "finished"


def test_a_second_start_in_the_folder_of_a_run_changes_nothing(call, store, tmp_path):
    run = tmp_path / "run"
    arguments = ["train", "ae", "--data", store, "--out", run, *FAST, "--no-install"]
    assert call(*arguments)[0] == 0
    before = kinds(run)
    assert call(*arguments)[0] == 2
    status, _, err = call(*arguments, "--resume", "--lr", 0.5)
    assert status == 2 and "learning rate" in err
    assert kinds(run) == before
    assert json.loads(call("runs", "list", "--json")[1])[0]["state"] == "finished"
    with RunFolder(run).locked():
        status, _, err = call(*arguments, "--resume")
        assert status == 2 and "is training here" in err and err.count("\n") == 1
        status, _, err = call("runs", "remove", "run")
        assert status == 2 and "is training here" in err and err.count("\n") == 1
        assert "still at work" in call("runs", "stop", "run", "--wait", 0)[1]
    assert call("runs", "stop", "run", "--discard", "--yes")[1] == "run: discarded\n" and not run.exists()


def test_a_failure_is_remembered(call, store, tmp_path, monkeypatch):
    from napari_cead.training import loop

    def broken(self):
        raise MemoryError

    monkeypatch.setattr(loop.Loop, "_train_epoch", broken)
    status, _, err = call("train", "ae", "--data", store, "--out", tmp_path / "run", *FAST)
    assert status == 2 and err.startswith("error: out of memory")
    (listed,) = json.loads(call("runs", "list", "--json")[1])
    assert listed["state"] == "crashed" and listed["error"].startswith("out of memory")
    assert "continue with: napari-cead runs resume" in call("runs", "status", "run")[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["runs", "status", "nothing"],
        ["runs", "resume", "nothing"],
        ["runs", "stop", "nothing", "--finish", "--discard"],
        ["train", "ae,vae1", "--data", "x", "--out", "y", "--detach"],
    ],
)
def test_wrong_use_is_one_line(call, arguments):
    status, _, err = call(*arguments)
    assert status == 2 and err.startswith("error: ") and err.count("\n") == 1


def test_a_detached_training_is_paused_before_it_works_and_discarded(call, store, tmp_path):
    run = tmp_path / "run"
    arguments = ["train", "ae", "--data", store, "--out", run, *FAST, "--no-install"]
    status, out, err = call(*arguments, "--detach")
    assert status == 0, err
    assert "runs tail --follow" in out and recipe_of(run).no_install
    assert json.loads(call("runs", "status", run, "--json")[1])["state"] == "starting"
    assert call("runs", "stop", run, "--wait", 120)[1] == "run: paused\n"
    assert call("runs", "stop", run)[1] == "run: paused\n" and asked(run) is None
    assert kinds(run)[-1] == "paused" and "paused" in (run / "output.log").read_text()
    status, _, err = call(*arguments, "--detach")
    assert status == 2 and "--resume" in err and kinds(run)[-1] == "paused"
    assert call("runs", "stop", run, "--discard", "-y")[1] == "run: discarded\n" and not run.exists()


def test_looking_at_runs_needs_no_torch():
    code = (
        "import sys; from napari_cead.cli import run; status = run(['runs', 'list']); "
        "sys.exit(bool(status or 'torch' in sys.modules or 'zarr' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_finished_run_keeps_no_checkpoint_unless_asked(call, store, tmp_path):
    run = tmp_path / "run"
    arguments = ["train", "ae", "--data", store, "--out", run, *FAST, "--no-install"]
    assert call(*arguments)[0] == 0
    assert not list(run.glob("*checkpoint*")) and (run / "model" / "model.safetensors").is_file()
    before = (run / "config.yaml").read_text()
    for verb in (arguments, ["runs", "resume", run]):
        again = [*verb, "--resume"] if verb is arguments else verb
        status, out, err = call(*again)
        assert (status, err) == (0, "") and "finished before" in out
        status, _, err = call(*again, "--epochs", 2)
        assert status == 2 and err.count("\n") == 1
        assert "its checkpoint was not kept" in err and f"--init-from {run / 'model'}" in err
    status, out, err = call(*arguments[:-1], "--resume")  # its model, which was not installed
    assert (status, err) == (0, "") and "installed as run" in out and "run" in find_models()
    before = before.replace("no_install: true", "no_install: false")
    assert call(*arguments)[0] == 2  # it is not begun again
    assert (run / "config.yaml").read_text() == before
    assert json.loads(call("runs", "status", run, "--json")[1])["state"] == "finished"
