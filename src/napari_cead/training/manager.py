"""All trainings of this machine: list, observe, start, stop and remove them.

Windows and the command line use the same manager. Its whole state is on disk: any number of managers, in any number of
processes, see and steer the same runs.
"""

from __future__ import annotations

import shutil
import socket
import time
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil

from ..errors import OutputError, RunBusyError, RunError, RunNotFoundError, disk_errors
from ..json_files import read_json
from ..runs import requests
from ..runs.events import EventTail
from ..runs.registry import forget, known_runs, remember, runs_folder
from ..runs.requests import Asked
from ..runs.run_files import EVENTS_FILE, STORE, is_run, remove_run
from ..runs.run_info import RunInfo, look, process_of, read_history
from ..zoo.finding import models_folder
from . import launching
from .recipe import Recipe

# ``list`` is a method below; as a type it is spelled out here.
Runs = list[RunInfo]
History = list[dict[str, float | None]]


class RunManager:
    """Finds, starts and steers trainings. Everything blocks only for moments, unless told to wait."""

    def __init__(self) -> None:
        self._children: set[Popen[bytes]] = set()

    def list(self) -> Runs:
        """Return all runs, active ones first, then the latest first. Removes runs with a request to be discarded."""
        self._reap()
        found = []
        for path in known_runs():
            if (info := self._swept(path)) is not None:
                found.append(info)
        return sorted(found, key=lambda info: (info.active, info.started, info.name), reverse=True)

    def find(self, run: str | Path) -> Path:
        """Return the folder of a run, by its path or by its name in the list.

        Raises:
            RunError: If there is none, or several have the name.
        """
        path = Path(run).expanduser()
        if is_run(path):
            return path.absolute()
        named = [known for known in known_runs() if known.name == str(run)]
        if len(named) == 1:
            return named[0]
        if named:
            places = ", ".join(str(known) for known in named)
            raise RunNotFoundError(
                f"several runs have this name ({places})", file=run, hint="give the run's folder"
            )
        raise RunNotFoundError("there is no such training run", file=run, hint="see: napari-cead runs list")

    def status(self, run: str | Path) -> RunInfo:
        """Return the state of a run.

        Raises:
            RunError: If there is none.
        """
        self._reap()
        return self._look(self.find(run))

    def history(self, run: str | Path) -> History:
        """Return the epochs of a run in order, as :func:`~napari_cead.training.training_warnings.advice` takes them."""
        return read_history(self.find(run))

    def new_folder(self, name: str) -> Path:
        """Return a folder for a new run in the usual place, with a number added if the name is taken."""
        folder, number = runs_folder() / name, 1
        while folder.exists():
            number += 1
            folder = runs_folder() / f"{name}-{number}"
        return folder.absolute()

    def start(self, recipe: Recipe) -> RunInfo:
        """Start a training in a separate process and return at once.

        Args:
            recipe: The recipe; with ``resume``, its folder may have a run.

        Raises:
            RunError: If there is a run in the folder, or the process cannot be started.
            OutputError: If the folder holds other files or cannot be written.
        """
        if is_run(recipe.out) and recipe.resume:
            self.check_idle(recipe.out)
        elif is_run(recipe.out):
            raise RunError(
                "there is a training run here", file=recipe.out, hint="add --resume, or choose another --out"
            )
        return self._launch(recipe, resume=recipe.resume)

    def resume(self, run: str | Path, **changes: Any) -> RunInfo:
        """Resume a run in a new process, with its original options, and return at once.

        Args:
            run: Its folder or name.
            changes: Options to change, for instance ``epochs=40`` for more epochs; None keeps one.

        Raises:
            RunError: If there is none, or a process is active there.
        """
        return self._launch(self.recipe(run), resume=True, changes=changes)

    def recipe(self, run: str | Path) -> Recipe:
        """Return the recipe of a run that no process is active in.

        Raises:
            RunError: If there is none, or a process is active there.
            ParameterError: If its file is damaged.
        """
        return launching.recipe_of(self.check_idle(run).path)

    def _launch(self, recipe: Recipe, **how: Any) -> RunInfo:
        whole = recipe.anywhere()
        self._children.add(launching.launch(whole.out, whole, **how))
        remember(whole.out)
        return self._look(whole.out)

    def pause(self, run: str | Path, *, wait: float = 0) -> RunInfo:
        """Ask a training to write a checkpoint and end. An inactive one is left alone.

        Args:
            run: Its folder or name.
            wait: Seconds to wait until it has ended.
        """
        return self._ask(run, "pause", wait)

    def finish(self, run: str | Path, *, wait: float = 0) -> RunInfo:
        """Ask a training to end and to make a model of its best epoch so far; without one it pauses.

        An inactive run is left alone: resume it, then ask.
        """
        return self._ask(run, "finish", wait)

    def discard(self, run: str | Path, *, wait: float = 0) -> RunInfo | None:
        """Ask a training to end, and remove the run when it has.

        Returns:
            None if it is removed; otherwise it is removed when :meth:`list` is called after its process has ended.
        """
        place = self.find(run)
        requests.ask(place, "discard")
        deadline = time.monotonic() + wait
        while True:
            self._reap()
            info = self._swept(place)
            if info is None or time.monotonic() >= deadline:
                return info
            time.sleep(0.1)

    def kill(self, run: str | Path) -> None:
        """End the process of a run that does not respond; the run can be resumed from its last checkpoint.

        Raises:
            RunError: If it runs on another machine.
        """
        place = self.find(run)
        info = look(place)
        if info.active and info.host != socket.gethostname():
            raise RunBusyError(f"{info.process} is training here", file=place, hint="do this on that machine")
        process = process_of(info)
        if process is not None:
            with suppress(psutil.Error):
                process.kill()
                process.wait(10)
        self._reap()

    def remove(self, run: str | Path, *, model: bool = False) -> None:
        """Remove an inactive run.

        Slices that another run learns from stay, and so do files that are not part of a run.

        Args:
            run: Its folder or name.
            model: Whether to remove its model from the installed models, too.

        Raises:
            RunError: If there is none, or a process is active there.
            OutputError: If something cannot be removed.
        """
        place = self.find(run)
        info = self.check_idle(place)
        if model:
            self._remove_model(info)
        self._remove(place)

    def check_idle(self, run: str | Path) -> RunInfo:
        """Return the state of a run if no process is active in it.

        Raises:
            RunError: If there is none, or a process is active there.
        """
        info = self._look(self.find(run))
        if info.active:
            raise RunBusyError(f"{info.process} is training here", file=info.path, hint="stop it first")
        return info

    def follow(self, run: str | Path, last: int | None = None) -> EventTail:
        """Return an object whose ``poll()`` gives the events since the last call; ``last`` limits the first one."""
        return EventTail(self.find(run) / EVENTS_FILE, last=last)

    def _ask(self, run: str | Path, what: Asked, wait: float) -> RunInfo:
        place = self.find(run)
        info = self._look(place)
        if not info.active:
            return info
        requests.ask(place, what)
        deadline = time.monotonic() + wait
        while (info := self._look(place)).active and time.monotonic() < deadline:
            time.sleep(0.1)
        if not info.active:  # it had ended before it could see the request
            requests.clear(place)
        self._reap()
        return info

    def _swept(self, path: Path) -> RunInfo | None:
        """Return the state of a run; None if it was to be discarded and is now removed."""
        info = self._look(path)
        request = requests.asked(path)
        if info.active or request is None or request[0] != "discard":
            return info
        try:
            self._remove(path)
        except OutputError:  # tried again at the next call
            return info
        return None

    def _look(self, path: Path) -> RunInfo:
        info = look(path)
        if info.installed is not None and not info.active:
            info = replace(info, installed=_installed_as(path / "model", info.installed))
        return info

    def _remove(self, path: Path) -> None:
        shared = any(_inside(look(known).data, path / STORE) for known in known_runs() if known != path)
        remove_run(path, kept=(STORE,) if shared else ())
        forget(path)

    def _remove_model(self, info: RunInfo) -> None:
        """Remove the installed model of a run, if it still belongs to that run."""
        if info.installed is None:
            return
        folder = models_folder() / info.installed
        made, there = _sha256(info.path / "model"), _sha256(folder)
        if made is None or made != there:
            return
        hint = "close what uses it and try again"
        with disk_errors(OutputError, "the model cannot be removed", folder, hint):
            shutil.rmtree(folder)

    def _reap(self) -> None:
        """Reap ended processes of ours, so that they do not linger as zombies."""
        self._children = {process for process in self._children if process.poll() is None}


def _inside(data: str, folder: Path) -> bool:
    return bool(data) and Path(data).absolute().is_relative_to(folder)


def _installed_as(model: Path, name: str) -> str | None:
    """Return the present name of a run's model: it may have been renamed, or deleted."""
    made = _sha256(model)
    if made is None:  # no way to identify it
        return name if (models_folder() / name).is_dir() else None
    names = sorted(folder.name for folder in models_folder().glob("*/") if not folder.name.startswith("."))
    for candidate in (name, *names):
        if _sha256(models_folder() / candidate) == made:
            return candidate
    return None


def _sha256(model: Path) -> str | None:
    file = model / "model.json"
    try:
        stat = file.stat()
        return _sha256_in(file, stat.st_mtime_ns, stat.st_size)
    except (OSError, ValueError, KeyError, TypeError):
        return None


@lru_cache(maxsize=1000)
def _sha256_in(file: Path, changed: int, size: int) -> str:
    """Return the checksum in a card; looked up anew only when the card has changed."""
    return str(read_json(file)["sha256"])
