"""One spoilt input, one verdict: used, refused with a sentence, or a finding."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import signal
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from napari_cead.errors import CeadError, CeadWarning

from .recipes import FOLDER, LINK, Files, Recipe, spoil
from .targets import TARGETS

LIMIT = 10.0
"""Seconds of computing for one input; the slowest good one takes a tenth of a second."""

PATIENCE = 120.0
"""Seconds on the clock for one input: for what waits without computing, on machines that do other things too."""

MEMORY = 1 << 30
"""Bytes by which one input may raise the peak of the process."""


class Hang(BaseException):
    """An input took longer than `LIMIT`."""


@dataclass(frozen=True)
class Finding:
    """What must not happen.

    Attributes:
        what: ``"exception"``, ``"warning"``, ``"log"``, ``"hang"``, ``"memory"`` or ``"sentence"``.
        words: The message.
        place: Innermost line of the program that was involved; findings at one place are one finding.
    """

    what: str
    words: str
    place: str


@cache
def seed(target: str) -> Files:
    """Return the files of a good input."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            TARGETS[target].make(folder)
        return {
            str(file.relative_to(folder).as_posix()): file.read_bytes()
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }


def write(files: Files, folder: Path) -> None:
    """Write files; names that this system does not take are left out."""
    for name, data in files.items():
        file = folder / name
        with suppress(OSError, ValueError):
            file.parent.mkdir(parents=True, exist_ok=True)
            if data == FOLDER:
                file.mkdir()
            elif data.startswith(LINK):
                file.symlink_to(data.removeprefix(LINK).decode())
            else:
                file.write_bytes(data)


def attempt(target: str, recipe: Recipe, home: Path) -> Finding | CeadError | None:
    """Use a spoilt input.

    Args:
        target: Name of the target.
        recipe: How it is spoilt.
        home: Folder for it; what is written is removed.

    Returns:
        None if it could be used, the error that refused it, or what is wrong with how it ended.
    """
    folder = Path(tempfile.mkdtemp(dir=home)) / "Mets_001"
    folder.mkdir()
    try:
        write(spoil(seed(target), recipe), folder)
        return _guarded(target, folder)
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)


def _guarded(target: str, folder: Path) -> Finding | CeadError | None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = None
    try:
        with warnings.catch_warnings(record=True) as told, _logged() as logged, _alarm():
            warnings.simplefilter("always")
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            TARGETS[target].use(folder)
    except CeadError as error:
        refused = error
    except Hang as error:
        return Finding(
            "hang", f"still at work after {LIMIT:g} s of computing, or {PATIENCE:g} s", _place(error)
        )
    except Exception as error:
        return Finding("exception", f"{type(error).__name__}: {error}", _place(error))
    for warning in told:
        if not issubclass(warning.category, CeadWarning):
            words = f"{warning.category.__name__}: {warning.message}"
            return Finding("warning", words, f"{Path(warning.filename).name}:{warning.lineno}")
    for record in logged:
        return Finding("log", record.getMessage(), f"{record.name}")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if grown > MEMORY:
        return Finding("memory", f"the peak grew by {grown >> 20} MiB", target)
    if refused is not None and (problem := _problem(refused)):
        return Finding("sentence", f"{problem}: {refused!s}", _place(refused))
    return refused


def _problem(error: CeadError) -> str | None:
    """Return what is wrong with a refusal: it has to be one line that names the file and the mend."""
    text = str(error)
    if "\n" in text or not text.isprintable():
        return "more than one printable line"
    if error.file is None:
        return "names no file"
    if error.hint is None:
        return "names no mend"
    if error.code == CeadError.code:
        return "has no kind"
    if len(error.reason) > 1000:
        return "longer than anybody reads"
    return None


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "napari_cead" in frame.filename] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].name}" if ours else "?"


@contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Hang

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, LIMIT), signal.SIGALRM: (signal.ITIMER_REAL, PATIENCE)}
    before = {number: signal.signal(number, ring) for number in timers}
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


@contextmanager
def _logged() -> Iterator[list[logging.LogRecord]]:
    """Give what libraries would print to a terminal on their own."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keep(logging.WARNING)
    loggers = [logging.getLogger(), logging.getLogger("nibabel.global")]
    others = {logger: list(logger.handlers) for logger in loggers}
    for logger in loggers:
        logger.handlers[:] = []
    loggers[0].addHandler(handler)
    try:
        yield records
    finally:
        for logger in loggers:
            logger.handlers[:] = others[logger]


def set_home(home: Path) -> None:
    """Let nothing be read from, or written to, what the user has installed."""
    os.environ["NAPARI_CEAD_HOME"] = str(home / "home")
