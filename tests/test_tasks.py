"""Work here or on a cluster: the same outcomes, whatever happens to a worker."""

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import cv2
import pytest

from napari_cead.errors import Cancelled, OutputError, ParameterError, PatientError
from napari_cead.tasks import Failure, Here, tasks
from patience import PATIENCE


def square(number):
    if number == 2:
        raise PatientError("it is broken", file="Mets_002", hint="mend it")
    if number == 3:
        raise FileNotFoundError(2, "No such file or directory", "flair.nii.gz")
    if number == 4:
        raise ValueError("odd")
    return number**2


def dies(item):
    """End the process: once for all, or every time that it is asked."""
    marker, always = item
    if marker is not None and (always or not Path(marker).exists()):
        Path(marker).touch()
        os._exit(9)
    return os.getpid()


def cannot_write(name):
    raise OutputError("no space left on device", file=name, hint="make room")


def environment(name):
    return os.environ.get(name)


@pytest.fixture(scope="module")
def cluster():
    with tasks(2, device="cpu") as crew:
        yield crew


@pytest.mark.parametrize("where", ["here", "cluster"])
def test_outcomes_and_failures(where, request):
    crew = Here() if where == "here" else request.getfixturevalue("cluster")
    found = dict(crew.each(square, range(6)))
    assert found == {
        0: 0,
        1: 1,
        2: Failure("Mets_002: it is broken; mend it"),
        3: Failure("flair.nii.gz: No such file or directory"),
        4: Failure("unexpected ValueError: odd; please report this"),
        5: 25,
    }


def test_a_worker_that_dies_costs_a_retry_and_a_deadly_task_only_itself(cluster, tmp_path):
    once, always = str(tmp_path / "once"), str(tmp_path / "always")
    items = [(None, False)] * 4 + [(once, False), (always, True)] + [(None, False)] * 6
    found = dict(cluster.each(dies, items))
    assert sorted(found) == list(range(12))
    failed = {number: item.reason for number, item in found.items() if isinstance(item, Failure)}
    assert list(failed) == [5]
    assert "ended 3 workers" in failed[5]
    assert os.getpid() not in found.values()


def test_several_processes_are_at_work_with_their_share_of_the_cores(cluster):
    until = time.monotonic() + 60 * PATIENCE
    while cluster.workers != 2 and time.monotonic() < until:  # one that another test has killed comes back
        time.sleep(0.2)
    assert cluster.workers == 2
    pids = {pid for _, pid in cluster.each(dies, [(None, False)] * 40)}
    assert 1 <= len(pids) <= 2
    share = str(max(1, os.cpu_count() // 2))
    wanted = ["OMP_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_"]
    # Dask's own threshold would give the memory of each volume back to the system.
    assert sorted(cluster.each(environment, wanted)) == [(0, share), (1, os.environ.get(wanted[1]))]


@pytest.mark.parametrize("where", ["here", "cluster"])
def test_it_can_be_stopped(where, request):
    crew = Here() if where == "here" else request.getfixturevalue("cluster")
    seen = []
    with pytest.raises(Cancelled):
        for number, _ in crew.each(time.sleep, [0.01] * 200, lambda: len(seen) >= 3):
            seen.append(number)
    assert len(seen) < 200


@pytest.mark.parametrize("where", ["here", "cluster"])
def test_a_full_disk_ends_the_work(where, request):
    crew = Here() if where == "here" else request.getfixturevalue("cluster")
    with pytest.raises(OutputError, match="out: no space left on device; make room"):
        list(crew.each(cannot_write, ["out"] * 5))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_thousand_small_tasks_all_come_back(cluster):
    found = [number for number, _ in cluster.each(os.path.basename, [str(item) for item in range(50_000)])]
    assert sorted(found) == list(range(50_000))


def test_two_clusters_at_a_time_say_nothing(recwarn):
    with tasks(2, device="cpu") as one, tasks(2, device="cpu") as other:
        assert one.workers == other.workers == 2
    assert not [str(each.message) for each in recwarn if "Port" in str(each.message)]


def threads_of_opencv(fails):
    if fails:
        raise ValueError(cv2.getNumThreads())
    return cv2.getNumThreads()


def test_opencv_works_in_the_thread_of_a_job_and_is_as_before_after_it():
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(3)
        found = dict(Here().each(threads_of_opencv, [False, True]))
        assert found[0] == 1 and "ValueError: 1" in found[1].reason
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


def test_one_worker_needs_no_cluster():
    with tasks(1) as crew:
        assert isinstance(crew, Here)


def test_a_scheduler_that_is_not_there_and_no_workers_at_all(monkeypatch, attempts):
    monkeypatch.setattr("napari_cead.tasks.ANSWERS", 1)
    with pytest.raises(ParameterError, match="at least one worker"), tasks(0):
        pass
    no_answer = pytest.raises(ParameterError, match="no Dask scheduler answers at tcp://nowhere:9")
    with no_answer, tasks(scheduler="tcp://nowhere:9"):
        pass
    assert set(attempts.read_text(encoding="utf-8").split()) == {"nowhere"}  # it was asked for
    attempts.unlink()


def test_an_existing_cluster_is_used(tmp_path):
    """Started as a user would: a scheduler and a worker, each by its command."""
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", file], **quiet
    )
    worker = None
    try:
        deadline = time.monotonic() + 60 * PATIENCE
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        with pytest.raises(ParameterError, match="no workers"), tasks(scheduler=address):
            pass
        worker = subprocess.Popen(
            [*dask, "worker", address, "--no-dashboard", "--nthreads", "1"],
            cwd=tmp_path,
            **quiet,
        )
        script = textwrap.dedent(f"""
            import os, time
            from napari_cead.errors import ParameterError
            from napari_cead.tasks import tasks
            for _ in range(200):
                try:
                    with tasks(scheduler={address!r}) as crew:
                        print(dict(crew.each(os.path.basename, ["a/b", "c/d"])))
                    break
                except ParameterError:
                    time.sleep(0.2)
        """)
        ended = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=90 * PATIENCE, check=True
        )
        assert ended.stdout.strip() in ("{0: 'b', 1: 'd'}", "{1: 'd', 0: 'b'}")
    finally:
        for process in (worker, scheduler):
            if process is not None:
                process.kill()
                process.wait()
