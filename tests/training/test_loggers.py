"""Where the figures of a training go besides its log."""

import csv
import json
import socket
import sys

import pytest

from napari_cead.errors import MissingExtraError, ParameterError
from napari_cead.training import train
from napari_cead.training.loggers import LOGGERS, loggers_of
from small_stores import StopAfter, settings

WANDB = """
import json, os, pathlib

REPORTS = os.environ.get("WANDB_ERROR_REPORTING")

def Settings(**values):
    return values

class Run:
    def __init__(self, values):
        self.file = pathlib.Path(values["dir"], "calls.jsonl")
        self.say("init", values)
    def say(self, what, values):
        with self.file.open("a") as stream:
            stream.write(json.dumps([what, values]) + chr(10))
    def log(self, figures, step):
        if os.environ.get("STAND_IN") == "broken":
            raise RuntimeError("the service is gone")
        self.say("log", {**figures, "step": step})
    def finish(self):
        self.say("finish", {})

def init(**values):
    return Run(values)
"""

MLFLOW = """
import json, os, pathlib
from types import SimpleNamespace
from urllib.request import url2pathname
from urllib.parse import urlparse

NAMES = ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "MLFLOW_ALLOW_FILE_STORE")
TELLS = [os.environ.get(name) for name in NAMES]

class MlflowClient:
    def __init__(self, tracking_uri):
        self.folder = pathlib.Path(url2pathname(urlparse(tracking_uri).path))
        self.folder.mkdir(exist_ok=True)
    def say(self, *what):
        with (self.folder / "calls.jsonl").open("a") as stream:
            stream.write(json.dumps(what) + chr(10))
    def get_experiment_by_name(self, name):
        return SimpleNamespace(experiment_id="7") if (self.folder / "calls.jsonl").exists() else None
    def create_experiment(self, name):
        self.say("experiment", name)
        return "7"
    def create_run(self, experiment, run_name, tags):
        self.say("run", run_name, tags)
        return SimpleNamespace(info=SimpleNamespace(run_id="r1"))
    def search_runs(self, experiments, text):
        lines = [json.loads(line) for line in (self.folder / "calls.jsonl").read_text().splitlines()]
        mark = next(line[2]["napari_cead_run"] for line in lines if line[0] == "run")
        found = SimpleNamespace(info=SimpleNamespace(run_id="r1"))
        return [found] if text == f"tags.napari_cead_run = '{mark}'" else []
    def update_run(self, run, status):
        self.say("again", run, status)
    def log_param(self, run, name, value):
        self.say("param", run, name, value)
    def log_metric(self, run, name, value, step):
        self.say("metric", run, name, value, step)
    def set_terminated(self, run):
        self.say("end", run)
"""


QUIET = {
    "WANDB_ERROR_REPORTING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",
}
"""What keeps the two from calling home, and MLflow content with files; both look when they are imported."""


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """Programs that write down how they were called, and no way out of this computer."""
    for name, text in (("wandb", WANDB), ("mlflow", MLFLOW)):
        folder = tmp_path / "site" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path / "site")
    for variable in ("WANDB_MODE", "MLFLOW_TRACKING_URI", *QUIET):
        monkeypatch.setenv(variable, "")  # so that it is as before in the end
        monkeypatch.delenv(variable)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection was opened"))
    yield
    for name in ("wandb", "mlflow"):
        sys.modules.pop(name, None)


def calls(run, name):
    return [json.loads(line) for line in (run / "logs" / name / "calls.jsonl").read_text().splitlines()]


def logged(run):
    with (run / "log.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_each_logger_gets_the_figures_of_the_log(stand_ins, small_store, tmp_path):
    run = tmp_path / "ward"
    train(settings(epochs=2), small_store, run, loggers="wandb,mlflow,tensorboard")
    lines = logged(run)
    first, *epochs, last = calls(run, "wandb")
    assert (first[0], last[0]) == ("init", "finish")
    assert first[1]["mode"] == "offline" and first[1]["name"] == "ward"
    assert first[1]["settings"] == {"console": "off", "disable_git": True, "save_code": False}
    assert first[1]["config"]["epochs"] == 2
    assert [entry["step"] for _, entry in epochs] == [1, 2]
    found = [
        (step, value)
        for what, *rest in calls(run, "mlflow")
        if what == "metric"
        for _, name, value, step in [rest]
        if name == "validation_loss"
    ]
    assert [step for step, _ in found] == [1, 2]
    for line, (_, entry), (_, value) in zip(lines, epochs, found, strict=True):
        assert entry["validation_loss"] == value == pytest.approx(float(line["validation_loss"]))
    assert ["param", "r1", "epochs", "2"] in calls(run, "mlflow") and calls(run, "mlflow")[-1] == [
        "end",
        "r1",
    ]
    assert list((run / "tensorboard").iterdir())


@pytest.mark.parametrize("wanted", [{}, dict.fromkeys(QUIET, "as I say")], ids=["left alone", "chosen"])
def test_neither_calls_home_unless_the_user_lets_it(stand_ins, small_store, tmp_path, monkeypatch, wanted):
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    train(settings(epochs=1), small_store, tmp_path / "ward", loggers="wandb,mlflow")
    seen = (sys.modules["wandb"].REPORTS, *sys.modules["mlflow"].TELLS)
    assert seen == tuple((QUIET | wanted).values())


def test_a_resumed_training_continues_its_logs(stand_ins, small_store, tmp_path):
    run = tmp_path / "ward"
    with pytest.raises(Exception):  # noqa: B017  # it is asked to stop
        train(settings(epochs=4), small_store, run, loggers="wandb,mlflow", should_stop=StopAfter(9))
    done = len(logged(run))
    assert 0 < done < 4
    train(settings(epochs=4), small_store, run, loggers="wandb,mlflow", resume=True)
    started = [values["id"] for what, values in calls(run, "wandb") if what == "init"]
    assert len(started) == 2 and len(set(started)) == 1
    steps = [values["step"] for what, values in calls(run, "wandb") if what == "log"]
    assert steps == [1, 2, 3, 4]
    assert [what for what, *_ in calls(run, "mlflow") if what in ("run", "again")] == ["run", "again"]


def test_nothing_but_files_of_the_run_without_a_wish(stand_ins, small_store, tmp_path):
    train(settings(epochs=1), small_store, tmp_path / "usual")
    train(settings(epochs=1), small_store, tmp_path / "none", loggers="none")
    for name in ("wandb", "mlflow"):
        assert name not in sys.modules
    assert not (tmp_path / "usual" / "logs").exists()
    assert (tmp_path / "usual" / "tensorboard").is_dir()
    assert not (tmp_path / "none" / "tensorboard").exists()
    assert len(logged(tmp_path / "none")) == 1


def test_a_logger_that_fails_does_not_end_the_training(stand_ins, small_store, tmp_path, monkeypatch):
    monkeypatch.setenv("STAND_IN", "broken")
    notes = []
    train(
        settings(epochs=2),
        small_store,
        tmp_path / "run",
        loggers="wandb",
        on_event=lambda event: notes.append(event.get("message")),
    )
    assert len(logged(tmp_path / "run")) == 2
    assert [note for note in notes if note] == [
        "the logger wandb is left out from here on: the service is gone"
    ]


def test_what_cannot_be_asked_for_is_refused_before_anything_is_written(small_store, tmp_path, monkeypatch):
    with pytest.raises(ParameterError, match="no logger called 'paper'"):
        train(settings(), small_store, tmp_path / "run", loggers="paper")
    monkeypatch.setattr(type(LOGGERS.find("wandb")), "missing", lambda self: True)
    with pytest.raises(MissingExtraError, match=r"napari-cead\[wandb\]"):
        train(settings(), small_store, tmp_path / "run", loggers="wandb")
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(type(LOGGERS.find("tensorboard")), "missing", lambda self: True)
    assert loggers_of(None) == ()


def test_a_logger_of_another_package_is_one_file(plugin, small_store, tmp_path):
    run = tmp_path / "run"
    train(settings(epochs=1), small_store, run, loggers="example-lines")
    train(settings(epochs=2), small_store, run, loggers="example-lines", resume=True)
    text = (run / "logs" / "example-lines" / "epochs.jsonl").read_text("utf-8")
    found = [json.loads(line) for line in text.splitlines()]
    assert [entry["epoch"] for entry in found] == [1, 2]
    expected = [float(line["train_loss"]) for line in logged(run)]
    assert [entry["train_loss"] for entry in found] == pytest.approx(expected)
