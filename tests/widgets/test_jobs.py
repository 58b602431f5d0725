"""Work in threads, and that nothing is left of it."""

import gc
import threading
import time
import warnings
import weakref

import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QObject

from napari_cead.errors import Cancelled, CeadError
from napari_cead.widgets.common.jobs import Job, on_main


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


class Told(QObject):
    """Notes what it is told, and where."""

    heard: list[tuple[int, threading.Thread]]

    def __init__(self, heard):
        super().__init__()
        self.heard = heard

    def hear(self, number):
        self.heard.append((number, threading.current_thread()))


def test_news_from_a_thread_arrive_on_the_main_thread_in_order_and_at_once_from_there(qtbot):
    heard = []
    told = Told(heard)
    tell = on_main(told.hear)
    tell(-1)
    assert heard == [(-1, threading.main_thread())]
    thread = threading.Thread(target=lambda: [tell(number) for number in range(50)])
    thread.start()
    qtbot.waitUntil(lambda: len(heard) == 51)
    thread.join()
    assert [number for number, _ in heard] == list(range(-1, 50))
    assert {where for _, where in heard} == {threading.main_thread()}


def test_what_is_told_all_the_time_can_be_destroyed_at_any_moment(qtbot):
    """Emitting a signal of an object that is being destroyed ended Python in one of some runs."""
    heard, tells, over = [], [], threading.Event()

    def talk():
        while not over.is_set():
            for tell in list(tells):
                tell(0)
            time.sleep(0.0001)

    threads = [threading.Thread(target=talk) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for round_ in range(150):
            told = Told(heard)
            tells[:] = [on_main(told.hear)]
            qtbot.wait(1)
            if round_ % 2:
                told.deleteLater()
            gone = weakref.ref(told)
            del told
            qtbot.wait(1)
            if not round_ % 2:
                assert gone() is None  # nobody else holds it
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert heard
    assert {where for _, where in heard} == {threading.main_thread()}
