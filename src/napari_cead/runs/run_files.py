"""The files of a run's folder, by name.

::

    config.yaml          the recipe: every option it was started with, for ``train --config``
    status.json          its state: one file, replaced by the process that trains (``run_info``)
    events.jsonl         what happened, a line of JSON each, for the plots
    request.json         a request to the process
    .lock                held by the process
    scans.json, scans/   the scans chosen in a window, and those from layers
    parent.json          the card of the model to start from, at that time
    run.json             the plan of the engine: the training settings and the data
    log.csv              one line per epoch
    tensorboard/         the same for TensorBoard
    logs/                the same for other loggers, if they are asked for
    previews/            a strip of validation slices per epoch
    checkpoint.json      the files of the last checkpoint, with their sha256; replaced last, atomically
    step-*.checkpoint    everything needed to resume: weights, optimiser, random generators, history
    best-*.checkpoint    weights of the best epoch so far
    model/               the finished model
    store/               the slices, if they were prepared for this run
    evaluation/          the figures, if they were requested
    output.log           output of a process in the background

A finished run has its checkpoint no longer, unless it was asked to keep it.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import OutputError, RunDamagedError
from ..json_files import FileKind, read_json
from ..options_file import CONFIG_FILE

SCHEMA_VERSION = 1

EVENTS_FILE = "events.jsonl"
LOCK_FILE = ".lock"
OUTPUT_FILE = "output.log"
REQUEST_FILE = "request.json"
STATUS_FILE = "status.json"
PARENT_FILE = "parent.json"
LOGS = "logs"
PREVIEWS = "previews"
SCANS_FILE = "scans.json"
SCANS = "scans"
STORE = "store"

EARLIER = frozenset({"command.json", "launched.json", "process.json"})
"""Files that earlier versions wrote."""

BEFORE = EARLIER | {
    CONFIG_FILE,
    EVENTS_FILE,
    LOCK_FILE,
    OUTPUT_FILE,
    PARENT_FILE,
    REQUEST_FILE,
    SCANS_FILE,
    SCANS,
    STATUS_FILE,
    STORE,
    "evaluation",
}
"""Files that may exist before a training begins."""

BEGUN = frozenset({"run.json", "log.csv", "tensorboard", LOGS, PREVIEWS})
"""Files that exist before the first checkpoint."""

ENDED = frozenset({"checkpoint.json", "model"})

MARKS = ("run.json", STATUS_FILE, "command.json")
"""A folder with one of these is a run, even one that is about to begin."""


_OTHER = "use the version of napari-cead that started it"
PLANS = FileKind(
    "the description of the run",
    RunDamagedError,
    "start the training again in another folder",
    SCHEMA_VERSION,
    _OTHER,
)
CHECKPOINTS = FileKind(
    "the checkpoint",
    RunDamagedError,
    "restore the run's folder from a backup, or start again in another folder",
    SCHEMA_VERSION,
    _OTHER,
)


def is_run(folder: Path) -> bool:
    """Whether a folder holds a training run."""
    return any((folder / mark).is_file() for mark in MARKS)


def read_plan(folder: Path) -> dict[str, Any] | None:
    """Read the plan of a run as plain values; None if it has none yet.

    Raises:
        RunDamagedError: If it is damaged, or of another version.
    """
    file = folder / "run.json"
    try:
        plan: dict[str, Any] = read_json(file)
        PLANS.check_version(plan, file)
        if not isinstance(plan["settings"]["spec"]["name"], str) or not isinstance(plan.get("data", ""), str):
            raise TypeError
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PLANS.damaged(file) from error
    return plan


def read_pointer(folder: Path) -> dict[str, Any] | None:
    """Read which files make up the last checkpoint of a run; None if it has none.

    Raises:
        RunDamagedError: If that is damaged, of another version, or names a file that is missing.
    """
    pointer = _pointer(folder)
    for name in () if pointer is None else pointer["sha256"]:
        if not (folder / Path(name).name).is_file():
            if _pointer(folder) != pointer:  # the process that trains has just replaced it
                return read_pointer(folder)
            raise CHECKPOINTS.damaged(folder / name)
    return pointer


def _pointer(folder: Path) -> dict[str, Any] | None:
    file = folder / "checkpoint.json"
    try:
        pointer: dict[str, Any] = read_json(file)
        CHECKPOINTS.check_version(pointer, file)
        if not isinstance(pointer["sha256"][pointer["last"]], str):
            raise TypeError
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CHECKPOINTS.damaged(file) from error
    return pointer


def check_folder(folder: Path, more: frozenset[str] = BEGUN | ENDED) -> None:
    """Refuse a folder that holds anything but files of a run.

    Args:
        folder: The folder.
        more: Names that it may hold besides those before a training begins.

    Raises:
        OutputError: If it holds anything else.
    """
    for entry in sorted(folder.iterdir()):
        if not _ours(entry.name, BEFORE | more):
            raise OutputError(
                f"the folder holds other files ({entry.name})", file=folder, hint="choose an empty --out"
            )


def remove_run(folder: Path, *, kept: Collection[str] = ()) -> None:
    """Remove a run's files, and its folder if nothing else is in it.

    Args:
        folder: The run's folder.
        kept: Names of files that stay.

    Raises:
        OutputError: If a file cannot be removed.
    """
    try:
        # Its marks go last: an interrupted removal can be repeated.
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name in MARKS):
            if entry.name in kept or not _ours(entry.name, BEFORE | BEGUN | ENDED):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    except OSError as error:
        raise OutputError(
            f"the run cannot be removed ({error.strerror or error})",
            file=error.filename or folder,
            hint="close what uses it and try again",
        ) from error
    with suppress(OSError):
        folder.rmdir()


def remove_empty(folder: Path) -> None:
    """Remove a folder that holds nothing but its lock."""
    with suppress(OSError):
        if [entry.name for entry in folder.iterdir()] == [LOCK_FILE]:
            (folder / LOCK_FILE).unlink()
            folder.rmdir()


def _ours(name: str, names: frozenset[str]) -> bool:
    return name in names or name.startswith(".part-") or ("model" in names and name.endswith(".checkpoint"))
