"""Loggers: where the figures of a training go besides ``log.csv``, one file for each."""

from __future__ import annotations

from typing import Any

from ...errors import MissingExtraError
from ...plugins import Registry, lacks
from ._logger import Logger, RunLog

__all__ = ["LOGGERS", "USUAL", "Logger", "RunLog", "loggers_of"]

USUAL = "tensorboard"
"""The logger of a training that names none; it is left out if it is not installed."""

NONE = "none"


def _lacking(thing: Any) -> str | None:
    return lacks(thing, "name", "package", "extra", "missing", "open")


LOGGERS: Registry[Logger] = Registry("loggers", "logger", __package__, _lacking)
"""All loggers by name."""


def loggers_of(wanted: str | None) -> tuple[str, ...]:
    """Return the names of the loggers that a training wants.

    Args:
        wanted: Names with commas, or ``"none"``; None: the usual one, if it is installed.

    Raises:
        ParameterError: If there is no such logger.
        MissingExtraError: If one is asked for that is not installed.
    """
    if wanted is None:
        return () if LOGGERS.find(USUAL).missing() else (USUAL,)
    names = tuple(dict.fromkeys(name for name in wanted.split(",") if name and name != NONE))
    for name in names:
        logger = LOGGERS.find(name)
        if logger.missing():
            raise MissingExtraError(
                f"the logger {name} needs {logger.package}, which is not installed",
                hint=f'run: pip install "napari-cead[{logger.extra}]"',
            )
    return names
