"""A queue of patients: one model runs over many, one after the other, in the background. No Qt."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from psygnal import Signal

from ..atomic import make_folder, to_json, write_text
from ..detection.cohort import DetectJob, detect_one, let_model_go, model_for_all
from ..detection.run_settings import RunSettings
from ..errors import Cancelled, NotReadyError, OutputError, PatientError
from ..json_files import read_json
from ..patients import find_files, find_patients, is_patient
from ..patients.places import is_zip
from ..preparing import Preparation
from ..progress import Progress, Stop
from ..tasks import Failure, Here
from .queue_items import QueueItem, QueueResult

__all__ = ["PER_PATIENT", "RECORD_FILE", "DetectionQueue", "QueueItem", "QueueResult", "RunSettings"]

SCHEMA_VERSION = 1

RECORD_FILE = "queue.json"
"""File name of the list of a queue's patients and results, in the output folder."""

PER_PATIENT = 1000
"""Progress steps per patient."""


class DetectionQueue:
    """Patients that run one after the other with the same settings.

    ``run`` blocks; patients may be added and removed meanwhile in other threads. Events are emitted in the
    calling thread.

    Attributes:
        item_changed: Emitted with a ``QueueItem`` when its state has changed.
        items_changed: Emitted when items were added or removed.
    """

    item_changed = Signal(object)
    items_changed = Signal()

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._items: dict[Path, QueueItem] = {}  # by resolved path
        self._running = False

    @property
    def items(self) -> tuple[QueueItem, ...]:
        """The items in the order in which they run."""
        with self._lock:
            return tuple(self._items.values())

    @property
    def running(self) -> bool:
        """Whether ``run`` is in progress."""
        return self._running

    # -- items ---------------------------------------------------------------------------------------------

    def add(self, paths: Iterable[str | Path], *, should_stop: Stop | None = None) -> tuple[QueueItem, ...]:
        """Append patients; those already in the queue are left alone.

        Args:
            paths: Patients' folders or files, or folders with patients.
            should_stop: Called between patients found; those found so far stay.

        Returns:
            The items that are new.

        Raises:
            PatientError: If something is not a patient and holds none. All the others are added before.
        """
        refused: list[PatientError] = []
        fresh: list[QueueItem] = []
        for path in paths:
            before = len(fresh)
            try:
                for found in _patients_at(Path(path).expanduser().absolute()):
                    if should_stop is not None and should_stop():
                        return tuple(fresh)
                    item = QueueItem(found, find_files(found).name)
                    with self._lock:
                        if self._items.setdefault(found.resolve(), item) is item:
                            fresh.append(item)
            except PatientError as error:
                refused.append(error)
            if len(fresh) > before:
                self.items_changed.emit()
        if refused:
            raise refused[0]
        return tuple(fresh)

    def remove(self, paths: Iterable[str | Path]) -> None:
        """Remove patients from the queue. The running one stays; results on disk stay."""
        self._drop({Path(path).resolve() for path in paths})

    def clear_done(self) -> None:
        """Remove the finished patients from the queue; results on disk stay."""
        self._drop({item.path.resolve() for item in self.items if item.state == "done"})

    def retry(self, paths: Iterable[str | Path] | None = None) -> None:
        """Queue patients again.

        Args:
            paths: The patients; None takes those that failed or were cancelled.
        """
        wanted = None if paths is None else {Path(path).resolve() for path in paths}
        for item in self.items:
            ended = ("failed", "cancelled") if wanted is None else ("done", "failed", "cancelled")
            if item.state in ended and (wanted is None or item.path.resolve() in wanted):
                self._set(item.again())

    def _drop(self, keys: set[Path]) -> None:
        with self._lock:
            gone = [key for key in keys if key in self._items and self._items[key].state != "running"]
            for key in gone:
                del self._items[key]
        if gone:
            self.items_changed.emit()

    def _set(self, item: QueueItem) -> QueueItem:
        with self._lock:
            self._items[item.path.resolve()] = item
        self.item_changed.emit(item)
        return item

    def _begin_next(self, settings: RunSettings) -> QueueItem | None:
        with self._lock:
            waiting = next((item for item in self._items.values() if item.state == "waiting"), None)
            if waiting is None:
                return None
            item = replace(waiting, state="running", settings=settings)
            self._items[item.path.resolve()] = item
        self.item_changed.emit(item)
        return item

    def _waiting(self) -> int:
        return sum(item.state == "waiting" for item in self.items)

    # -- running -------------------------------------------------------------------------------------------

    def run(
        self,
        settings: RunSettings,
        out: str | Path,
        *,
        should_stop: Stop | None = None,
        on_progress: Progress | None = None,
        wait: Callable[[], None] | None = None,
    ) -> QueueResult:
        """Run the waiting patients one after the other, including those added meanwhile.

        Results go to one folder per patient, named after the patient. A folder with another result is left alone,
        and a number is added to the name. ``queue.json`` beside them lists all patients and is rewritten after each.
        A patient that cannot be used fails, and the others continue.

        Args:
            settings: Settings of the run.
            out: Folder for the results, created if it does not exist.
            should_stop: Called between batches of slices. The running patient then becomes ``"cancelled"``, those
                after it still wait.
            on_progress: Called with (done, total) in steps of 1 / ``PER_PATIENT`` of a patient.
            wait: Called before ``should_stop``; blocks for as long as something more urgent runs.

        Raises:
            ModelError: If the model cannot be used; wrong settings raise ``ParameterError`` instead.
            OutputError: If the folder cannot be written, or is among the patients' own files. A running patient
                then waits again.
            CeadError: If the queue is already running.
        """
        with self._lock:
            if self._running:
                raise NotReadyError("the queue is running already", hint="wait for it or cancel it")
            self._running = True
        try:
            target = Path(out).expanduser().absolute()
            _check_apart(target, (item.path for item in self.items if item.state == "waiting"))
            return _Run(self, settings, target, should_stop, on_progress, wait).all()
        finally:
            let_model_go()
            self._running = False


class _Run:
    """One run of a queue: the model stays loaded from one patient to the next."""

    def __init__(
        self,
        queue: DetectionQueue,
        settings: RunSettings,
        out: Path,
        should_stop: Stop | None,
        on_progress: Progress | None,
        wait: Callable[[], None] | None,
    ) -> None:
        self.queue, self.settings, self.out = queue, settings, out
        self._should_stop, self._on_progress, self._wait = should_stop, on_progress, wait
        self._waited = 0.0
        self._ended = {"done": 0, "failed": 0, "cancelled": 0}
        self._earlier: list[Any] = []

    def all(self) -> QueueResult:
        if not self._stop() and self.queue._waiting():
            folder = model_for_all(self.settings)
            make_folder(self.out)
            self._earlier = _recorded(self.out / RECORD_FILE)
            self._record()
            try:
                for _, found in Here().each(partial(self._one, folder), self._taken(), self._stop):
                    if isinstance(found, Failure):
                        found = replace(self._running[0], state="failed", reason=found.reason)
                    self._end(found)
            except Cancelled:
                self._end(replace(self._running[0], state="cancelled"))
            finally:  # the results cannot be written, or the program ends
                for item in self._running:
                    self.queue._set(item.again())
        left = self.queue._waiting() + self._ended["cancelled"]
        return QueueResult(self._ended["done"], self._ended["failed"], left, self._stop(), self.out)

    @property
    def _running(self) -> list[QueueItem]:
        """The running patient, if there is one."""
        return [item for item in self.queue.items if item.state == "running"]

    def _taken(self) -> Iterator[QueueItem]:
        """Take one waiting patient after the other; after a stop they still wait."""
        while not self._stop() and (item := self.queue._begin_next(self.settings)) is not None:
            yield item

    def _end(self, item: QueueItem) -> None:
        self._ended[item.state] += 1
        self.queue._set(item)
        self._record()
        self._progress(0, 1)

    def _one(self, model: Path, item: QueueItem) -> QueueItem:
        began, self._waited = time.perf_counter(), 0.0
        _check_apart(self.out, [item.path])  # it may have been added meanwhile
        self._progress(0, 1)
        settings = replace(self.settings, model=str(model))
        # Prepared, as nobody is there to press the dock's button.
        job = DetectJob(item.path, self.out, settings, preparation=Preparation(), named=True)
        found = detect_one(job, self._progress, self._stop)
        return replace(
            item,
            name=found.described["patient"],
            state="done",
            dice=found.described["dice"],
            volume_ml=found.described["volume_ml"],
            seconds=time.perf_counter() - began - self._waited,
            out=found.folder,
            warnings=tuple(found.described["warnings"]),
        )

    def _stop(self) -> bool:
        if self._wait is not None:
            began = time.perf_counter()
            self._wait()
            self._waited += time.perf_counter() - began
        return self._should_stop is not None and self._should_stop()

    def _progress(self, done: int, total: int) -> None:
        if self._on_progress is not None:
            ended = sum(self._ended.values())
            running = len(self._running)
            part = PER_PATIENT * done // max(total, 1)
            self._on_progress(
                PER_PATIENT * ended + part, PER_PATIENT * (ended + running + self.queue._waiting())
            )

    def _record(self) -> None:
        items = self.queue.items
        ours = {str(item.path) for item in items}
        described = {
            "schema_version": SCHEMA_VERSION,
            "settings": self.settings.described(),
            "items": [
                *(old for old in self._earlier if old["path"] not in ours),
                *(item.described() for item in items),
            ],
        }
        write_text(self.out / RECORD_FILE, to_json(described))


def _patients_at(path: Path) -> Iterable[Path]:
    """Yield the patient at a path, or all below it."""
    if (not path.is_dir() and not is_zip(path)) or is_patient(path):
        find_files(path)  # raises with the reason
        yield path
        return
    found = False
    for patient in find_patients(path):
        found = True
        yield patient
    if not found:
        find_files(path)


def _check_apart(out: Path, patients: Iterable[Path]) -> None:
    """Refuse an output folder among patients' own files, or the cohort's folder; nothing is read or created.

    Raises:
        OutputError: If it is one.
    """
    target = out.resolve()
    taken = is_patient(target)
    for path in patients:
        place = path.resolve()
        # Results are named after the patients: in the cohort's folder they would fall into the patients' own.
        taken = taken or target in (place, place.parent) or (place.is_dir() and place in target.parents)
    if taken:
        raise OutputError(
            "results would lie among the patients' own files", file=out, hint="choose another output folder"
        )


def _recorded(file: Path) -> list[Any]:
    """Return the items listed by an earlier queue in the same folder; none if the file cannot be read."""
    try:
        items = read_json(file)["items"]
        return [item for item in items if isinstance(item["path"], str)]
    except (OSError, ValueError, LookupError, TypeError):
        return []
