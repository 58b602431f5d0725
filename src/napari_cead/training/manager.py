"""All trainings of this machine: list, observe, start, stop and remove them.

Windows and the command line use the same manager. Its whole state is on disk: any number of managers, in any number of
processes, see and steer the same runs.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil

from ..errors import OutputError, RunBusyError, RunError, RunNotFoundError
from ..json_files import read_json
from ..zoo.finding import models_folder
from . import launching, requests
from .events import Event, EventTail
from .registry import forget, known_runs, remember, runs_folder
from .requests import Asked
from .run_files import (
    COMMAND_FILE,
    EVENTS_FILE,
    LAUNCH_FILE,
    OWNER_FILE,
    REQUEST_FILE,
    STORE,
    is_run,
    remove_run,
)
from .run_info import RunInfo, look, read_history, read_output, worker
from .run_lock import Owner

_WATCHED = (
    "run.json",
    "checkpoint.json",
    "log.csv",
    EVENTS_FILE,
    OWNER_FILE,
    LAUNCH_FILE,
    REQUEST_FILE,
    COMMAND_FILE,
)


# ``list`` is a method below; as a type it is spelled out here.
Runs = list[RunInfo]
History = list[dict[str, float | None]]
Lines = list[str]
Events = list[Event]


class RunManager:
    """Finds, starts and steers trainings. Everything blocks only for moments, unless told to wait."""

    def __init__(self) -> None:
        self._children: dict[Path, Popen[bytes]] = {}
        self._seen: dict[Path, tuple[tuple[tuple[int, int], ...], RunInfo]] = {}

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
                f"several runs have this name ({places})", file=run, mend="give the run's folder"
            )
        raise RunNotFoundError("there is no such training run", file=run, mend="see: napari-cead runs list")

    def status(self, run: str | Path) -> RunInfo:
        """Return the state of a run.

        Raises:
            RunError: If there is none.
        """
        self._reap()
        return self._look(self.find(run))

    def history(self, run: str | Path) -> History:
        """Return the epochs of a run in order, as :func:`~napari_cead.training.advice.advice` takes them."""
        return read_history(self.find(run))

    def command(
        self, model: str, data: str | Path, out: str | Path, options: Mapping[str, Any] | None = None
    ) -> Lines:
        """Return the command that :meth:`start` runs, ready to be copied.

        Args:
            model: One of the named designs.
            data: Slice store, folder of patients, or scan list.
            out: The run's folder.
            options: See :func:`~napari_cead.training.launching.train_arguments`.
        """
        place = Path(out).expanduser().absolute()
        return [
            launching.PROGRAM,
            *launching.train_arguments(model, Path(data).expanduser().absolute(), place, options),
        ]

    def new_folder(self, name: str) -> Path:
        """Return a folder for a new run in the usual place, with a number added if the name is taken."""
        folder, number = runs_folder() / name, 1
        while folder.exists():
            number += 1
            folder = runs_folder() / f"{name}-{number}"
        return folder.absolute()

    def start(
        self,
        model: str,
        data: str | Path,
        out: str | Path | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> RunInfo:
        """Start a training in a separate process and return at once.

        Args:
            model: One of the named designs.
            data: Slice store, folder of patients, or scan list.
            out: The run's folder; None: a new one in the usual place, with the model's future name.
            options: See :func:`~napari_cead.training.launching.train_arguments`.

        Raises:
            RunError: If there is a run in the folder, or the process cannot be started.
            OutputError: If the folder holds other files or cannot be written.
        """
        options = dict(options or {})
        place = (
            self.new_folder(str(options.get("name") or model))
            if out is None
            else Path(out).expanduser().absolute()
        )
        if is_run(place):
            raise RunError(
                "there is a training run here", file=place, mend="resume it, or choose another --out"
            )
        return self.launch(place, self.command(model, data, place, options)[1:])

    def resume(self, run: str | Path, options: Mapping[str, Any] | None = None) -> RunInfo:
        """Resume a run in a new process, with its original options, and return at once.

        Args:
            run: Its folder or name.
            options: Options to change, for instance ``{"epochs": 40}`` for more epochs.

        Raises:
            RunError: If there is none, or a process is active there.
        """
        place = self.find(run)
        self._refuse_active(place, "stop it first")
        return self.launch(place, launching.resume_arguments(place, options))

    def launch(self, run: Path, arguments: Lines) -> RunInfo:
        """Start ``napari-cead`` with arguments for a training in a run's folder, and return at once.

        Raises:
            RunError: If a process is active there, or none can be started.
            OutputError: If the folder holds other files or cannot be written.
        """
        run = run.absolute()
        if is_run(run):
            self._refuse_active(run, "stop it first")
        self._children[run] = launching.launch(run, arguments)
        remember(run)
        return self._look(run)

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
        owner = worker(place) or Owner.read(place / LAUNCH_FILE)
        if owner is not None and not owner.here:
            raise RunBusyError(f"{owner} is training here", file=place, mend="do this on that machine")
        process = None if owner is None else owner.process()
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
        self.check_idle(place)
        if model:
            self._remove_model(self._look(place))
        self._remove(place)

    def check_idle(self, run: str | Path) -> RunInfo:
        """Return the state of a run if no process is active in it.

        Raises:
            RunError: If there is none, or a process is active there.
        """
        place = self.find(run)
        self._refuse_active(place, "stop it first")
        return self._look(place)

    def tail(self, run: str | Path, lines: int = 20) -> Events:
        """Return the last events of a run."""
        return EventTail(self.find(run) / EVENTS_FILE, last=lines).poll()

    def output(self, run: str | Path, lines: int = 20) -> Lines:
        """Return the last output lines of a process started in the background."""
        return read_output(self.find(run), lines)

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
        stamp = (_stamp(models_folder()), *(_stamp(path / name) for name in _WATCHED))
        known = self._seen.get(path)
        if known is not None and known[0] == stamp and not known[1].active:
            return known[1]
        info = look(path)
        if info.installed is not None and not info.active:
            info = replace(info, installed=_installed_as(path / "model", info.installed))
        self._seen[path] = (stamp, info)
        return info

    def _refuse_active(self, path: Path, mend: str) -> None:
        info = look(path)
        if info.active:
            raise RunBusyError(f"process {info.pid} on {info.host} is training here", file=path, mend=mend)

    def _remove(self, path: Path) -> None:
        self._seen.pop(path, None)
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
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise OutputError(
                f"the model cannot be removed ({error.strerror or error})",
                file=folder,
                mend="close what uses it and try again",
            ) from error

    def _reap(self) -> None:
        """Reap ended processes of ours, so that they do not linger as zombies."""
        for path, process in list(self._children.items()):
            if process.poll() is not None:
                del self._children[path]


def _stamp(file: Path) -> tuple[int, int]:
    try:
        stat = file.stat()
    except OSError:
        return (0, 0)
    return (stat.st_mtime_ns, stat.st_size)


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
    try:
        return str(read_json(model / "model.json")["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
