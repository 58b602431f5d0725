"""The files of a run's folder, by name.

::

    command.json         the arguments it was started with
    scans.json, scans/   the scans chosen in a window, and those from layers
    parent.json          the card of the model to start from, at that time
    run.json             the settings and the data
    log.csv              one line per epoch
    tensorboard/         the same for TensorBoard
    logs/                the same for other loggers, if they are asked for
    events.jsonl         the events, a line of JSON each
    previews/            a strip of validation slices per epoch
    checkpoint.json      the files of the last checkpoint, with their sha256; replaced last, atomically
    step-*.checkpoint    everything needed to resume: weights, optimiser, random generators, history
    best-*.checkpoint    weights of the best epoch so far
    model/               the finished model
    store/               the slices, if they were prepared for this run
    evaluation/          the figures, if they were requested
    output.log           output of a process in the background
    launched.json        the process started in the background
    process.json, .lock  the active process
    request.json         a request to it
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from ..errors import OutputError
from ..options_file import CONFIG_FILE

SCHEMA_VERSION = 1
STARTED_IT = "use the version of napari-cead that started it"
"""The advice if files of a run have another schema version."""

COMMAND_FILE = "command.json"
EVENTS_FILE = "events.jsonl"
LAUNCH_FILE = "launched.json"
LOCK_FILE = ".lock"
OUTPUT_FILE = "output.log"
OWNER_FILE = "process.json"
REQUEST_FILE = "request.json"
PARENT_FILE = "parent.json"
LOGS = "logs"
PREVIEWS = "previews"
SCANS_FILE = "scans.json"
SCANS = "scans"
STORE = "store"

BEFORE = frozenset(
    {
        COMMAND_FILE,
        EVENTS_FILE,
        LAUNCH_FILE,
        LOCK_FILE,
        OUTPUT_FILE,
        OWNER_FILE,
        PARENT_FILE,
        REQUEST_FILE,
        CONFIG_FILE,
        SCANS_FILE,
        SCANS,
        STORE,
        "evaluation",
    }
)
"""Files that may exist before a training begins."""

BEGUN = frozenset({"run.json", "log.csv", "tensorboard", LOGS, PREVIEWS})
"""Files that exist before the first checkpoint."""

ENDED = frozenset({"checkpoint.json", "model"})

MARKS = ("run.json", COMMAND_FILE, OWNER_FILE)
"""A folder with one of these is a run, even one that is about to begin."""


def is_run(folder: Path) -> bool:
    """Whether a folder holds a training run."""
    return any((folder / mark).is_file() for mark in MARKS)


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
                f"the folder holds other files ({entry.name})", file=folder, mend="choose an empty --out"
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
            mend="close what uses it and try again",
        ) from error
    with suppress(OSError):
        folder.rmdir()


def _ours(name: str, names: frozenset[str]) -> bool:
    return name in names or name.startswith(".part-") or ("model" in names and name.endswith(".checkpoint"))
