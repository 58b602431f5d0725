"""All options of a job as one commented YAML file, to keep and to use again."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from .errors import ParameterError, why
from .json_files import read_bytes

CONFIG_FILE = "config.yaml"
"""Name of the file kept beside a result."""

LARGEST = 1 << 20
"""Largest size of such a file in bytes."""

WIDTH = 100
"""Longest line of a comment."""


def write_options(job: str, options: Iterable[tuple[str, str, Any]]) -> str:
    """Return options as YAML, each below its help.

    Args:
        job: Their verb.
        options: Name, help and value of each.
    """
    import yaml  # type: ignore[import-untyped]

    lines = [
        f"# Options of napari-cead {job}; use them again with --config FILE.",
        "# null: the model, the data or the program decides.",
    ]
    for name, text, value in options:
        value = value.value if isinstance(value, Enum) else value
        value = value if isinstance(value, (bool, int, float, type(None))) else str(value)
        lines += ["", *(f"# {line}" for line in textwrap.wrap(text, WIDTH))]
        lines.append(yaml.safe_dump({name: value}, width=LARGEST, allow_unicode=True).rstrip("\n"))
    return "\n".join(lines) + "\n"


def read_options(
    file: Path, names: Collection[str], former: Mapping[str, str] | None = None
) -> dict[str, bool | str]:
    """Read the options of a job; those that are null are left out.

    Args:
        file: The file.
        names: The existing options.
        former: Options by the names that they had.

    Raises:
        ParameterError: If it cannot be read, is not a mapping, or holds anything else.
    """
    import yaml

    try:
        found = yaml.safe_load(read_bytes(file, LARGEST).decode("utf-8-sig"))
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = "" if place is None else f", line {place.line + 1}"
        raise ParameterError(f"this is not valid YAML{where}", file=file, hint=_HINT) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ParameterError(f"the options cannot be read ({why(error)})", file=file, hint=_HINT) from None
    if not isinstance(found, dict):
        raise ParameterError("this file holds no options", file=file, hint=_HINT)
    found = {(former or {}).get(name, name): value for name, value in found.items()}
    for name, value in found.items():
        if name not in names:
            raise ParameterError(
                f"there is no option called {str(name)[:40]!r} here",
                file=file,
                hint=f"use some of {', '.join(names)}",
            )
        if isinstance(value, (dict, list)):
            raise ParameterError(
                f"{name} is a number, a text, true or false", file=file, hint="put JSON in quotation marks"
            )
    return {
        name: value if isinstance(value, bool) else str(value)
        for name, value in found.items()
        if value is not None
    }


_HINT = "make one with --print-config"
