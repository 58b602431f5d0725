"""From the recipe of a training to its command, and to a separate process."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..atomic import make_folder, write_text
from ..errors import RunError, RunNotFoundError, disk_errors
from ..options_file import CONFIG_FILE
from ..runs.requests import clear
from ..runs.run_files import OUTPUT_FILE, check_folder, read_plan
from ..runs.run_info import RunInfo, read_status, write_status
from .recipe import Recipe, read_recipe

PROGRAM = "napari-cead"


def words_of(options: Mapping[str, Any]) -> list[str]:
    """Return options, by name with underscores, as words of a command; None and False leave one out."""
    words: list[str] = []
    for name, value in options.items():
        if value is not None and value is not False:
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return words


def command_line(arguments: Sequence[str]) -> str:
    """Return arguments as a line to type or copy, quoted for this system's terminal."""
    words = [PROGRAM, *arguments]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def recipe_of(run: Path) -> Recipe:
    """Return the recipe of a run, wherever its folder is now.

    Raises:
        ParameterError: If its file is damaged.
        RunError: If a program started it, and its plan is missing or damaged.
    """
    if (run / CONFIG_FILE).is_file():
        return read_recipe(run / CONFIG_FILE).model_copy(update={"out": run.absolute()})
    if (plan := read_plan(run)) is None:
        raise RunNotFoundError(
            "nothing says what to train on which data here", file=run, hint="start the training again"
        )
    parents = [parent["name"] for parent in plan.get("parents") or ()]
    # Without a checkpoint the initial weights are needed again.
    start = parents[0] if parents and not (run / "checkpoint.json").exists() else None
    model = plan["settings"]["spec"]["name"]
    return Recipe.checked(model=model, data=plan.get("data", ""), out=run.absolute(), init_from=start)


def launch(
    run: Path, recipe: Recipe, *, resume: bool = False, changes: Mapping[str, Any] | None = None
) -> subprocess.Popen[bytes]:
    """Start a training in a process that outlives this one, with its output in the run's folder.

    Args:
        run: The run's folder; created if needed.
        recipe: The recipe.
        resume: Whether to resume the run.
        changes: Options to change in a resumed run.

    Raises:
        OutputError: If the folder holds other files, or cannot be written.
        RunError: If the process cannot be started.
    """
    make_folder(run)
    check_folder(run)
    clear(run)
    write_text(run / CONFIG_FILE, recipe.written())
    options = {"config": run / CONFIG_FILE, "out": run, "resume": resume, **(changes or {})}
    arguments = ["train", *words_of(options)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
    hint = f"run it in a terminal: {command_line(arguments)}"
    started = disk_errors(RunError, "the training process cannot be started", run, hint)
    with started, (run / OUTPUT_FILE).open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "napari_cead", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            **_detached(),
        )
    status = read_status(run) or RunInfo(run, run.name, "paused", model=recipe.model, data=str(recipe.data))
    if status.pid != process.pid:  # it has not taken over yet
        write_status(status.by(process.pid, "starting"))
    return process


def _detached() -> dict[str, Any]:
    """Return the options that keep a process alive when the window or terminal that started it closes."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS}
    return {"start_new_session": True}
