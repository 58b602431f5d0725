"""The run's folder: locks, damage, and processes that are killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from napari_cead.errors import ParameterError, RunError
from napari_cead.runs.run_info import look
from napari_cead.training import RunFolder, train
from napari_cead.training.presets import read_corruption
from patience import PATIENCE
from small_stores import same, settings, weights

TESTS = Path(__file__).resolve().parents[1]
TRAIN = (
    "import sys; from small_stores import settings; from napari_cead.training import train; "
    "train(settings(epochs=int(sys.argv[3])), sys.argv[1], sys.argv[2], resume=True)"
)


def start(store, run, epochs):
    paths = os.pathsep.join([str(TESTS), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, store.path, run, str(epochs)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
    )


def wait_until(condition, process):
    deadline = time.monotonic() + 120 * PATIENCE
    while not condition():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("kill", [signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM])
def test_a_killed_run_goes_on_and_ends_with_the_same_weights(small_store, tmp_path, kill):
    run = tmp_path / "run"
    run.mkdir()
    for delay in (0.0, 0.3):
        process = start(small_store, run, 400)
        before = (RunFolder(run).load_checkpoint() or {"step": 0})["step"]
        wait_until(
            lambda start=before: (RunFolder(run).load_checkpoint() or {"step": 0})["step"] > start, process
        )
        time.sleep(delay)
        process.send_signal(kill)
        process.wait()
        process.stderr.close()
    reached = RunFolder(run).load_checkpoint()["epoch"]
    assert 0 < reached < 400
    torch.set_num_threads(1)
    resumed = train(settings(epochs=reached + 2), small_store, run, resume=True)
    whole = train(settings(epochs=reached + 2), small_store, tmp_path / "whole")
    assert same(weights(resumed.run), weights(whole.run))


def test_a_folder_in_use_says_by_which_process(small_store, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    process = start(small_store, run, 100_000)
    wait_until((run / "checkpoint.json").exists, process)
    with pytest.raises(RunError) as error:
        train(settings(epochs=100_000), small_store, run, resume=True)
    assert f"process {process.pid} on " in str(error.value)
    process.kill()
    process.wait()
    process.stderr.close()
    with RunFolder(run).locked():  # the lock ended with the process
        assert look(run).pid == os.getpid()


@pytest.mark.parametrize("which", ["step-*.checkpoint", "best-*.checkpoint", "checkpoint.json", "run.json"])
@pytest.mark.parametrize("damage", ["changed", "cut", "empty"])
def test_a_damaged_run_is_named_in_one_sentence(small_store, tmp_path, which, damage):
    train(settings(epochs=1), small_store, tmp_path / "run")
    (file,) = (tmp_path / "run").glob(which)
    content = bytearray(file.read_bytes())
    if damage == "changed":
        content[len(content) // 3] ^= 0x80
    file.write_bytes({"changed": content, "cut": content[: len(content) // 2], "empty": b""}[damage])
    with pytest.raises(RunError) as error:
        train(settings(epochs=2), small_store, tmp_path / "run", resume=True)
    assert file.name in str(error.value) and "\n" not in str(error.value) and "damaged" in str(error.value)


@pytest.mark.parametrize("kind", ["patches", "smooth"])
def test_a_run_with_a_corruption_that_is_gone_says_so(tmp_path, kind):
    run = RunFolder(tmp_path / "run")
    run.create(settings(epochs=1), tmp_path / "store", "0" * 64, ())
    values = json.loads((run.path / "run.json").read_text())
    parts = [{"share": 1.0, "corruption": {"kind": kind}}]
    values["settings"]["corruption"] = {"kind": "mixture", "parts": parts}
    (run.path / "run.json").write_text(json.dumps(values))
    with pytest.raises(
        RunError, match=f"'{kind}', which napari-cead no longer has.*start a new run"
    ) as refused:
        run.plan()
    assert "install" not in str(refused.value)
    with pytest.raises(ParameterError, match=f"no longer has the corruption '{kind}'"):
        read_corruption(json.dumps({"kind": kind}))


@pytest.mark.parametrize("version", [True, 1.0, "1", 2, None, "x" * 5000])
@pytest.mark.parametrize("name", ["run.json", "checkpoint.json"])
def test_a_run_of_another_version_is_refused_and_listed_as_such(tmp_path, name, version):
    run = RunFolder(tmp_path / "run")
    run.create(settings(epochs=1), tmp_path / "store", "0" * 64, ())
    run.save_checkpoint({"epoch": 1}, None, 0, 1, 1)
    file = run.path / name
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema_version": version}))
    with pytest.raises(
        RunError, match=r"has schema version .*, this program reads 1; use the version"
    ) as error:
        run.plan() if name == "run.json" else run.load_checkpoint()
    assert len(error.value.reason) < 120
    info = look(run.path)
    assert info.state == "damaged" and info.error == str(error.value)


def test_true_is_no_number_in_what_a_run_was_started_with(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.create(settings(epochs=1), tmp_path / "store", "0" * 64, ())
    values = json.loads((run.path / "run.json").read_text())
    values["settings"]["epochs"] = True
    (run.path / "run.json").write_text(json.dumps(values))
    with pytest.raises(RunError, match="damaged"):
        run.plan()


def test_a_checkpoint_runs_no_code(small_store, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    run = train(settings(epochs=1), small_store, tmp_path / "run").run
    run.save_checkpoint({"epoch": Evil()}, None, 0, 1, 1)
    with pytest.raises(RunError):
        run.load_checkpoint()
    assert not (tmp_path / "owned").exists()


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_not_called_damaged(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.create(settings(epochs=1), tmp_path / "store", "0" * 64, ())
    run.save_checkpoint({"epoch": 0}, None, 0, 0, 0)
    writer = threading.Thread(
        target=lambda: [run.save_checkpoint({"epoch": each}, None, 0, each, each) for each in range(1, 61)]
    )
    writer.start()
    seen = []
    while writer.is_alive():
        seen.append(RunFolder(run.path).load_checkpoint()["epoch"])
    writer.join()
    assert seen == sorted(seen) and run.load_checkpoint()["epoch"] == 60


def test_old_checkpoints_are_cleared_away(small_store, tmp_path):
    train(settings(epochs=4), small_store, tmp_path / "run")
    assert len(list((tmp_path / "run").glob("*.checkpoint"))) == 2
