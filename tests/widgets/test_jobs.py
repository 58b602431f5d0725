"""Work in threads, and that nothing is left of it."""

import gc
import threading
import time
import warnings
import weakref

import pytest
from napari.utils.notifications import notification_manager

from napari_cead.errors import Cancelled, CeadError
from napari_cead.widgets.jobs import Job


class Owner:
    """What the work needs, and what must neither stay nor go in a thread."""

    destroyed_in: list[threading.Thread]

    def __init__(self, destroyed_in):
        self.destroyed_in = destroyed_in

    def work(self):
        time.sleep(0.001)
        return self

    def __del__(self):
        self.destroyed_in.append(threading.current_thread())


def test_what_has_been_done_is_let_go_on_the_main_thread(qtbot):
    destroyed_in, left, show = [], [], warnings.showwarning
    for _ in range(60):
        pair = Job(), Job()
        for job in pair:
            owner = Owner(destroyed_in)
            left.append(weakref.ref(owner))
            job.start(owner.work, lambda result: None)
        del owner
        qtbot.waitUntil(lambda pair=pair: not any(job.running for job in pair))
    gc.collect()
    assert [ref for ref in left if ref() is not None] == []
    assert set(destroyed_in) == {threading.main_thread()}
    assert len(destroyed_in) == 120
    assert warnings.showwarning is show


def test_the_answer_comes_on_the_main_thread_and_then_the_end(qtbot):
    job, seen = Job(), []
    job.ended.connect(lambda: seen.append(("ended", job.running)))
    job.start(threading.current_thread, lambda worker: seen.append((worker, threading.current_thread())))
    assert not job.start(lambda: None)
    qtbot.waitUntil(lambda: len(seen) == 2)
    worker, here = seen[0]
    assert here is threading.main_thread()
    assert worker is not here
    assert seen[1] == ("ended", False)


@pytest.mark.parametrize(
    ("error", "shown"), [(CeadError("no"), ["no"]), (Cancelled(), []), (SystemExit(1), ["SystemExit: 1"])]
)
def test_work_that_fails_ends(qtbot, monkeypatch, error, shown):
    told, done, job = [], [], Job()
    monkeypatch.setattr(notification_manager, "dispatch", lambda note: told.append(note.message))

    def work():
        raise error

    job.start(work, done.append)
    qtbot.waitUntil(lambda: not job.running)
    assert len(told) == len(shown) and all(
        words in message for words, message in zip(shown, told, strict=True)
    )
    assert done == []


def test_an_answer_that_fails_ends_the_job_too(qtbot):
    job = Job()
    with qtbot.captureExceptions() as caught:
        job.start(lambda: 1, lambda result: result / 0)
        qtbot.waitUntil(lambda: not job.running)
    assert [kind for kind, *_ in caught] == [ZeroDivisionError]


def test_work_can_be_asked_to_stop(qtbot):
    job = Job()

    def work():
        while not job.stopping():
            time.sleep(0.001)

    job.start(work)
    job.stop()
    qtbot.waitUntil(lambda: not job.running)
