"""Reading JSON files that anybody may have written: no more of them than makes sense, and no surprise in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

LARGEST = 64 << 20
"""Most bytes of a JSON file; those that list every slice of a cohort may have more."""


def read_json(file: str | Path, most: int = LARGEST) -> Any:
    """Read strict JSON: UTF-8, no NaN, no nesting that goes on and on.

    Args:
        file: The file.
        most: Most bytes that it may have; what is larger is not read.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is too large or not strict JSON.
    """
    with Path(file).open("rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(f"the file has more than {most:,} bytes")
    return parse_json(content)


def parse_json(content: bytes | str) -> Any:
    """Return the value of strict JSON text.

    Raises:
        ValueError: If it is not strict JSON.
    """
    text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
