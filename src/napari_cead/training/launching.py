"""From the options of a training to its command, and to a separate process."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..atomic import make_folder, to_json, write_text
from ..errors import RunDamagedError, RunError, RunNotFoundError
from ..json_files import read_json
from .requests import clear
from .run_files import COMMAND_FILE, LAUNCH_FILE, OUTPUT_FILE, check_folder
from .run_lock import Owner

SCHEMA_VERSION = 1
PROGRAM = "napari-cead"


def train_arguments(
    model: str, data: str | Path, out: str | Path, options: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the arguments of ``napari-cead`` that train a model.

    Args:
        model: One of the named designs.
        data: Slice store, folder of patients, or scan list.
        out: The run's folder.
        options: Further options of ``napari-cead train`` by name, with underscores: ``{"epochs": 20, "init_from":
            "ce-vae1", "augment": False}``. None leaves an option out, as does False (except for ``augment``).
    """
    arguments = ["train", model, "--data", str(data), "--out", str(out)]
    for name, value in (options or {}).items():
        arguments = with_option(arguments, name, value)
    return arguments


def with_option(arguments: Sequence[str], name: str, value: Any) -> list[str]:
    """Return arguments with an option set to a value, replacing any earlier value.

    None removes an option with a value, False one without a value; True sets one without a value.
    """
    option = f"--{name.replace('_', '-')}"
    off = f"--no-{option[2:]}"
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == option:
            skip = not isinstance(value, bool)
        elif argument != off and not argument.startswith(f"{option}="):
            kept.append(argument)
    if value is True:
        return [*kept, option]
    if value is False:
        return [*kept, off] if name == "augment" else kept
    return kept if value is None else [*kept, option, str(value)]


def command_line(arguments: Sequence[str]) -> str:
    """Return arguments as a line to type or copy, quoted for this system's terminal."""
    words = [PROGRAM, *arguments]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def save_command(run: Path, arguments: Sequence[str]) -> None:
    """Store the command of a run, so that it can be resumed with the same options.

    Raises:
        OutputError: If it cannot be written.
    """
    values = {"schema_version": SCHEMA_VERSION, "arguments": list(arguments)}
    write_text(run / COMMAND_FILE, to_json(values))


def saved_command(run: Path) -> list[str] | None:
    """Return the arguments that a run was started with, None if they are unknown."""
    try:
        arguments = read_json(run / COMMAND_FILE)["arguments"]
        return [str(argument) for argument in arguments] if arguments[0] == "train" else None
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def resume_arguments(run: Path, options: Mapping[str, Any] | None = None) -> list[str]:
    """Return the arguments that resume a run, with its original options.

    Args:
        run: The run's folder, wherever it is now.
        options: Options to change; ``epochs`` for more or fewer epochs. None keeps one.

    Raises:
        RunError: If the folder does not say what to train on which data.
    """
    arguments = saved_command(run)
    if arguments is None:
        arguments = _from_plan(run)
    arguments = with_option(with_option(arguments, "out", run.absolute()), "resume", True)
    for name, value in (options or {}).items():
        if value is not None:
            arguments = with_option(arguments, name, value)
    return arguments


def _from_plan(run: Path) -> list[str]:
    """Return arguments for a run that was not started from the command line."""
    try:
        plan = read_json(run / "run.json")
        parents = [parent["name"] for parent in plan.get("parents", [])]
        # Without a checkpoint the initial weights are needed again.
        start = {"init_from": parents[0]} if parents and not (run / "checkpoint.json").exists() else {}
        return train_arguments(str(plan["settings"]["spec"]["name"]), str(plan["data"]), run, start)
    except FileNotFoundError:
        raise RunNotFoundError(
            "there is no training run here", file=run, mend="see: napari-cead runs list"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise RunDamagedError(
            "the description of the run is damaged",
            file=run / "run.json",
            mend="start the training again in another folder",
        ) from error


def launch(run: Path, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start ``napari-cead`` in a process that outlives this one, with its output in the run's folder.

    Args:
        run: The run's folder; created if needed.
        arguments: The arguments after ``napari-cead``.

    Raises:
        OutputError: If the folder holds other files, or cannot be written.
        RunError: If the process cannot be started.
    """
    make_folder(run)
    check_folder(run)
    clear(run)
    if saved_command(run) is None:
        save_command(run, arguments)
    command = [sys.executable, "-m", "napari_cead", *arguments]
    began = time.time()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
    try:
        with (run / OUTPUT_FILE).open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                **_detached(),
            )
    except OSError as error:
        raise RunError(
            f"the training process cannot be started ({error.strerror or error})",
            file=run,
            mend=f"run it in a terminal: {command_line(arguments)}",
        ) from error
    Owner.of(process.pid, began).write(run / LAUNCH_FILE)
    return process


def _detached() -> dict[str, Any]:
    """Return the options that keep a process alive when the window or terminal that started it closes."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS}
    return {"start_new_session": True}
