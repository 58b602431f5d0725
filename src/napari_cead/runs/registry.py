"""The known runs: those in the folder of runs, and those elsewhere that were started from this machine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..atomic import make_folder, to_json, write_text
from ..errors import OutputError
from ..json_files import read_json
from ..zoo.finding import models_folder
from .run_files import is_run

SCHEMA_VERSION = 1


def runs_folder() -> Path:
    """Return the usual place of runs, beside the models: in ``NAPARI_CEAD_HOME`` or the user data folder."""
    return models_folder().parent / "runs"


def registry_file() -> Path:
    """Return the file with the list of runs in other places."""
    return models_folder().parent / "runs.json"


def known_runs() -> list[Path]:
    """Return the folders of all existing runs; one on a disconnected disk is left out, not forgotten."""
    found: dict[Path, None] = {}
    with suppress(OSError):
        for folder in sorted(runs_folder().iterdir()):
            if not folder.name.startswith(".") and is_run(folder):
                found[folder.absolute()] = None
    for folder in _read():
        with suppress(OSError):
            if is_run(folder):
                found[folder] = None
    return list(found)


def remember(run: Path) -> None:
    """Remember a run outside the usual folder. A list that cannot be written is no reason to fail and is ignored."""
    folder = run.absolute()
    if folder.parent != runs_folder().absolute() and folder not in _read():
        # A run that is missing while its neighbours exist was deleted by hand.
        _change(
            lambda known: [*(each for each in known if each.exists() or not each.parent.is_dir()), folder]
        )


def forget(run: Path) -> None:
    """Remove a run from the list."""
    folder = run.absolute()
    if folder in _read():
        _change(lambda known: [each for each in known if each != folder])


def _read() -> list[Path]:
    try:
        values = read_json(registry_file())
        return list(dict.fromkeys(Path(run) for run in values["runs"] if isinstance(run, str)))
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _change(changed: Callable[[list[Path]], list[Path]]) -> None:
    """Replace the list, so that two writers do not lose each other's runs."""
    with suppress(ImportError, OSError, OutputError):
        from filelock import FileLock

        with FileLock(make_folder(registry_file().parent) / ".runs.lock", timeout=2):
            runs = [str(run) for run in changed(_read())]
            write_text(registry_file(), to_json({"schema_version": SCHEMA_VERSION, "runs": runs}))
