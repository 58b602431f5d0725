"""Progress without a terminal: a line at least every 30 seconds. The clock is a fake one; nothing sleeps."""

import json
import pickle
import threading
from itertools import pairwise

from napari_cead.cli import console
from napari_cead.cli.heartbeat import INTERVAL, Heartbeat
from napari_cead.cli.training_progress import TrainingProgress


class Clock:
    """A clock that stands until it is moved, and the wait that moves it."""

    def __init__(self):
        self.now = 1000.0
        self.until = float("inf")

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds
        return self.now > self.until


def heartbeat(stage="calibrating"):
    clock, said = Clock(), []
    return (
        Heartbeat(stage, lambda line: said.append((clock.now - 1000, line)), clock, clock.wait),
        clock,
        said,
    )


def test_a_command_that_is_done_soon_says_nothing():
    beat, clock, said = heartbeat()
    for done in range(28):
        clock.now += 1
        beat(done, 29)
    assert said == []


def test_a_line_says_the_stage_how_far_it_is_and_how_long_it_will_take():
    beat, clock, said = heartbeat()
    beat(0, 40)
    for done in range(1, 11):
        clock.now += 12
        beat(done, 40)
    assert [when for when, _ in said] == [36, 72, 108]
    assert said[-1][1] == "calibrating: 9/40, 2 min so far, about 6 min left"


def test_no_half_minute_is_silent_while_a_step_takes_an_hour():
    beat, clock, said = heartbeat("evaluating")
    beat(3, 40)
    clock.until = clock.now + 3600
    beat.beat()
    times = [0.0, *(when for when, _ in said)]
    assert max(later - earlier for earlier, later in pairwise(times)) <= INTERVAL
    assert times[-1] > 3570
    assert said[0][1] == "evaluating: 3/40, 29 s so far"  # no pace is known yet


def test_before_anything_is_known_the_line_says_how_long_it_has_been_at_it():
    beat, clock, said = heartbeat("looking for patients")
    clock.until = clock.now + 40
    beat.beat()
    assert [line for _, line in said] == ["looking for patients: 29 s so far"]


def test_the_time_left_that_the_work_knows_goes_before_the_pace():
    beat, clock, said = heartbeat()
    clock.now += 31
    beat(5, 10, left=7200, stage="training ae")
    assert said[0][1] == "training ae: 5/10, 31 s so far, about 2 h 0 min left"


def test_what_was_done_before_an_interruption_is_no_measure_of_the_pace():
    beat, clock, said = heartbeat()
    beat(900, 1000)  # at once: they were done before
    for done in range(901, 911):
        clock.now += 10
        beat(done, 1000)
    assert said[-1][1].endswith("about 15 min left")  # 91 steps of 10 s


def test_the_thread_ends_with_the_work():
    with Heartbeat("checking", lambda line: None) as beat:
        thread = beat._thread
        assert thread in threading.enumerate()
    assert thread not in threading.enumerate()


def test_nobody_reading_on_does_not_end_the_work():
    def closed(line):
        raise BrokenPipeError

    clock = Clock()
    beat = Heartbeat("checking", closed, clock, clock.wait)
    clock.until = clock.now + 100
    beat.beat()
    assert clock.now > 1100


class Quiet(Heartbeat):
    """A heartbeat whose clock every look moves on by a minute, without a thread."""

    def __init__(self, stage):
        clock = Clock()

        def moving():
            clock.now += 60
            return clock.now

        super().__init__(stage, clock=moving, wait=lambda seconds: True)


def test_all_progress_without_a_terminal_is_told_on_stderr(monkeypatch, capsys):
    monkeypatch.setattr("napari_cead.cli.heartbeat.Heartbeat", Quiet)
    with console.progress("checking") as on_progress:
        on_progress(1, 3)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("checking: 1/3, ")


def test_json_progress_stays_json_alone(monkeypatch, capsys):
    monkeypatch.setattr("napari_cead.cli.heartbeat.Heartbeat", Quiet)
    with console.progress("evaluating", console.Progress.JSON) as on_progress:
        on_progress(1, 3)
    assert json.loads(capsys.readouterr().err) == {"done": 1, "total": 3, "left_s": None}


def test_json_progress_says_the_seconds_left(monkeypatch, capsys):
    now = [10.0]
    monkeypatch.setattr("napari_cead.progress.time.monotonic", lambda: now[0])
    with console.progress("evaluating", console.Progress.JSON) as on_progress:
        for done in range(3):
            on_progress(done, 4)
            now[0] += 2.5
    assert [json.loads(line)["left_s"] for line in capsys.readouterr().err.splitlines()] == [None, 7.5, 5.0]


def test_a_training_tells_its_steps_and_its_own_estimate(monkeypatch, capsys):
    monkeypatch.setattr("napari_cead.cli.heartbeat.Heartbeat", Quiet)
    with TrainingProgress() as shown:
        shown({"event": "start", "model": "ae", "epoch": 0, "epochs": 4, "steps_per_epoch": 5})
        shown({"event": "step", "step": 3, "seconds_left": 90.0})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("training ae: 0/20, ")
    assert lines[1].startswith("training ae: 3/20, ")
    assert lines[1].endswith("about 2 min left")


def test_a_training_of_several_says_how_long_all_of_them_take(monkeypatch, capsys):
    monkeypatch.setattr("napari_cead.cli.heartbeat.Heartbeat", Quiet)
    with TrainingProgress(to_come=2) as shown:
        shown({"event": "start", "model": "ae", "epoch": 0, "epochs": 4, "steps_per_epoch": 5})
        shown({"event": "step", "step": 5, "seconds_left": 900.0})
        figures = {"train_loss": 1.0, "validation_loss": 2.0, "slices_per_second": 3.0}
        shown({"event": "epoch", "epoch": 1, "epochs": 4, "step": 5, "seconds": 300.0, **figures})
        shown({"event": "epoch", "epoch": 4, "epochs": 4, "step": 20, "seconds": 1200.0, **figures})
    told = capsys.readouterr()
    # 15 minutes are left of this one, and 20 take each of the other two.
    line = told.err.splitlines()[1]
    assert line.startswith("training ae, about 55 min for all runs: 5/20, ")
    assert line.endswith("about 15 min left")
    first, last = told.out.splitlines()
    assert first.endswith(", about 15 min left, about 55 min for all runs")
    assert last.endswith("3 slices/s, about 40 min for all runs")


def test_the_progress_of_several_processes_can_be_sent_to_the_first_of_them(monkeypatch, capsys):
    with TrainingProgress(alone=False) as shown:
        sent = pickle.loads(pickle.dumps(shown))
    monkeypatch.setattr("napari_cead.cli.heartbeat.Heartbeat", Quiet)
    sent({"event": "note", "message": "before it starts"})
    sent({"event": "start", "model": "ae", "epoch": 2, "epochs": 4, "steps_per_epoch": 5})
    assert capsys.readouterr().err.splitlines()[1].startswith("training ae: 10/20, ")
