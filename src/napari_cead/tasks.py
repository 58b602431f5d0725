"""Run one job for many items: one after the other here, or on the workers of a Dask cluster.

Only the items and the results go through the scheduler, and they are small; volumes never do. A task that fails is one
:class:`Failure`, and the others continue. If a worker dies, another one repeats its task.
"""

from __future__ import annotations

import logging
import os
import pickle
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import psutil

from .errors import Cancelled, CeadError, CeadWarning, OutputError, ParameterError, extra, why
from .progress import Stop, check_stop

DEATHS = 3
"""Number of workers that a task may kill before it is given up, for instance a patient that needs too much memory."""

MEMORY = 0.8
"""Share of the machine's memory for all workers of an embedded cluster together."""

ANSWERS = 15
"""Time limit for an answer of a cluster's scheduler, in seconds."""

AHEAD = 4
"""Number of tasks per worker in the scheduler at a time: it would have to manage 50,000 at once."""

_log = logging.getLogger(__name__)

_DIED = object()
_FATAL = f"it ended {DEATHS} workers one after the other, for lack of memory or by a crash"
_LOOK = 0.2  # seconds between two calls of should_stop
_COUNT = 2.0  # seconds between two counts of the workers


@dataclass(frozen=True)
class Failure:
    """A task that failed.

    Attributes:
        reason: The reason, in one sentence.
    """

    reason: str


class Tasks(Protocol):
    """A place to run jobs."""

    @property
    def workers(self) -> int:
        """Number of items in progress at a time."""
        ...

    def each(
        self, function: Callable[[Any], Any], items: Sequence[Any], should_stop: Stop | None = None
    ) -> Iterator[tuple[int, Any]]:
        """Yield the number of every item with the function's result, or a :class:`Failure`, in the order of completion.

        Args:
            function: A function of a module, which other processes can import.
            items: Its arguments; small.
            should_stop: Called several times a second.

        Raises:
            Cancelled: If ``should_stop`` returned true, or the function raised it.
            OutputError: If the function raised it: an output that cannot be written ends the work.
        """
        ...


class Here:
    """This process, one item at a time."""

    workers = 1

    def each(
        self, function: Callable[[Any], Any], items: Iterable[Any], should_stop: Stop | None = None
    ) -> Iterator[tuple[int, Any]]:
        """See :class:`Tasks`. An item is taken when the one before is done: more may come meanwhile."""
        for number, item in enumerate(items):
            check_stop(should_stop)
            yield number, tried(function, item)


class Cluster:
    """A Dask cluster.

    Args:
        client: A client that is connected to it.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._workers, self._counted = 0, -_COUNT

    @property
    def workers(self) -> int:
        """The workers at this moment, which come and go; at least 1."""
        if (now := time.monotonic()) - self._counted >= _COUNT:
            found = len(self._client.scheduler_info(n_workers=-1)["workers"])
            if self._workers and not found:
                warnings.warn(
                    "the cluster has no worker left; the work goes on when one joins",
                    CeadWarning,
                    stacklevel=2,
                )
            self._workers, self._counted = found, now
        return max(1, self._workers)

    def each(
        self, function: Callable[[Any], Any], items: Sequence[Any], should_stop: Stop | None = None
    ) -> Iterator[tuple[int, Any]]:
        """See :class:`Tasks`."""
        suspects: list[tuple[int, Any]] = []
        for number, found in self._several(function, enumerate(items), None, should_stop):
            if found is _DIED:
                suspects.append((number, items[number]))
            else:
                yield number, found
        # A worker takes down all tasks waiting for it: run alone, each shows whether it was at fault.
        for suspect in suspects:
            for number, found in self._several(function, iter([suspect]), 1, should_stop):
                yield number, Failure(_FATAL) if found is _DIED else found

    def _several(
        self,
        function: Callable[[Any], Any],
        waiting: Iterator[tuple[int, Any]],
        most: int | None,
        should_stop: Stop | None,
    ) -> Iterator[tuple[int, Any]]:
        """Run items, so many at a time; None: as many as keep the workers busy that there are."""
        running: dict[Any, int] = {}
        done: SimpleQueue[Any] = SimpleQueue()
        try:
            while True:
                room = (AHEAD * self.workers if most is None else most) - len(running)
                for number, item in islice(waiting, max(room, 0)):
                    future = self._client.submit(tried, function, item, pure=False)
                    running[future] = number
                    future.add_done_callback(done.put)
                if not running:
                    return
                check_stop(should_stop)
                try:
                    future = done.get(timeout=_LOOK)
                except Empty:
                    continue
                yield running.pop(future), _outcome(future)
        finally:
            self._client.cancel(list(running))


@contextmanager
def tasks(
    workers: int | None = None, scheduler: str | None = None, *, device: str = "auto"
) -> Iterator[Tasks]:
    """Yield a place to run jobs, for the duration of the block.

    Args:
        workers: Processes of an embedded cluster, one item each at a time; 1: this process, without a cluster; None:
            one for each GPU that ``device`` allows, else one for each processor core.
        scheduler: Address of a running Dask cluster (``tcp://host:port``) to use instead. Its workers need this
            package, and the same files at the same places.
        device: Device of the tasks.

    Raises:
        ParameterError: If the number of workers is below 1, or the cluster cannot be reached.
        MissingExtraError: If a cluster is needed and Dask is not installed.
    """
    if workers is not None and workers < 1:
        raise ParameterError(
            f"at least one worker is needed, not {workers}", hint="leave it out for one a core"
        )
    gpus = _gpus(device)
    count = workers or len(gpus) or os.cpu_count() or 1
    if scheduler is None and count == 1:
        yield Here()
        return
    with extra("evaluate", "Work on several processes"):
        import dask
        import distributed
    # Dask has each worker give memory back to the system at once. Volumes come and go all the time: to get it again
    # costs more than the work on it.
    spawning = {
        name: value
        for name, value in dask.config.get("distributed.nanny.pre-spawn-environ").items()
        if name != "MALLOC_TRIM_THRESHOLD_"
    }
    with dask.config.set(
        {
            "distributed.scheduler.allowed-failures": DEATHS - 1,
            "distributed.comm.timeouts.connect": f"{ANSWERS}s",
            "distributed.worker.daemon": False,
            # Set before a worker imports anything; a worker that is told to stop prints a lot.
            "distributed.nanny.pre-spawn-environ": spawning | {"DASK_LOGGING__DISTRIBUTED": "critical"},
        }
    ):
        if scheduler is not None:
            with _connected(distributed, scheduler) as client:
                yield Cluster(client)
            return
        with _embedded(distributed, count, gpus) as cluster, _client(distributed, cluster) as client:
            client.wait_for_workers(count, timeout=120)
            yield Cluster(client)


def _client(distributed: Any, where: Any) -> Any:
    return distributed.Client(where, set_as_default=False, timeout=ANSWERS)


@contextmanager
def _connected(distributed: Any, scheduler: str) -> Iterator[Any]:
    try:
        client = _client(distributed, scheduler)
    except (OSError, ValueError, TimeoutError) as error:
        raise ParameterError(
            f"no Dask scheduler answers at {scheduler} ({why(error)})",
            hint="start one with `dask scheduler`, and workers with `dask worker`, or leave --scheduler out",
        ) from error
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise ParameterError(
                f"the Dask cluster at {scheduler} has no workers", hint=f"start some: dask worker {scheduler}"
            )
        yield client


@contextmanager
def _embedded(distributed: Any, count: int, gpus: Sequence[str]) -> Iterator[Any]:
    """A cluster on this machine: processes of one thread each that die with it."""
    memory = int(MEMORY * psutil.virtual_memory().total / count)
    threads = max(1, (os.cpu_count() or 1) // count)
    workers = {
        number: {
            "cls": distributed.Nanny,
            "options": {
                "nthreads": 1,
                "memory_limit": memory,
                "env": _environment(threads, gpus[number % len(gpus)] if gpus else None),
                "silence_logs": 50,
                "dashboard": False,
                "host": "127.0.0.1",
            },
        }
        for number in range(count)
    }
    # Choose a port for the scheduler's own pages too, or a second cluster on the machine finds the usual one taken.
    options = {"host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    here = {"cls": distributed.Scheduler, "options": options}
    with distributed.SpecCluster(
        workers=workers, scheduler=here, silence_logs=50, name="napari-cead"
    ) as cluster:
        yield cluster


def _environment(threads: int, gpu: str | None) -> dict[str, str]:
    """Return the environment of a worker: its number of threads, and its one GPU."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(threads)) | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})


def _gpus(device: str) -> list[str]:
    """Return the CUDA devices, one per worker, as CUDA_VISIBLE_DEVICES names them."""
    if not device.startswith(("auto", "cuda")):
        return []
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name.strip() for name in seen.split(",") if name.strip()] or [
        str(number) for number in range(count)
    ]
    if ":" in device:
        return names[int(device.partition(":")[2]) :][:1]
    return names[:count]


def tried(function: Callable[[Any], Any], item: Any) -> Any:
    """Return the function's result, or a :class:`Failure`.

    Raises:
        Cancelled: If the function raised it.
        OutputError: If the function raised it.
    """
    try:
        with _one_thread():
            return function(item)
    except (Cancelled, OutputError):  # a full disk is not the patient's fault: it ends the work
        raise
    except CeadError as error:
        return Failure(str(error))
    except MemoryError:
        return Failure("there is not enough memory for it")
    except OSError as error:
        return Failure(f"{error.filename or 'a file'}: {error.strerror or error}")
    except Exception as error:
        # One strange patient must not end a night's work, but must not be hidden either.
        _log.exception("a job failed")
        words = " ".join(str(error).split())[:200]
        return Failure(f"unexpected {type(error).__name__}: {words}; please report this")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let OpenCV work in the thread that calls it: its own threads wait for each other in a busy loop."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _outcome(future: Any) -> Any:
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    try:
        return future.result()
    except KilledWorker:
        return _DIED
    except (FutureCancelledError, pickle.PickleError) as error:
        return Failure(f"it was lost by the cluster ({type(error).__name__})")
