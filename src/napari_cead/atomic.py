"""Write files atomically: a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import OutputError, disk_errors

PATIENCE_S = (0.01, 0.03, 0.1, 0.3, 1.0) if os.name == "nt" else ()
"""Pauses between tries to replace a file: Windows refuses while another program, or a virus scanner, reads it."""


def make_folder(path: str | Path) -> Path:
    """Create a folder with its parents and return it.

    Raises:
        OutputError: If it cannot be created.
    """
    folder = Path(path)
    with disk_errors(OutputError, "the folder cannot be created", folder, "choose another output folder"):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it replaces ``path``, on failure it is removed.

    The temporary name ends as ``path`` does, so that writers which look at the suffix (``.nii.gz``) work.

    Raises:
        OutputError: If the file cannot be written.
    """
    target = Path(path)
    temporary: Path | None = None
    hint = "choose a folder that exists, can be written and has space left"
    try:
        with disk_errors(OutputError, "the file cannot be written", target, hint):
            handle, name = tempfile.mkstemp(
                dir=target.parent, prefix=".part-", suffix="".join(target.suffixes[-2:])
            )
            os.close(handle)
            temporary = Path(name)
            yield temporary
            # mkstemp makes files private; give the result the permissions of a plain open().
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)
            _replace(temporary, target)
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def _replace(temporary: Path, target: Path) -> None:
    for pause in PATIENCE_S:
        with suppress(PermissionError):
            temporary.replace(target)
            return
        time.sleep(pause)
    temporary.replace(target)


def strict(value: Any) -> Any:
    """Return ``value`` with NaN and infinities as None and paths, tuples and NumPy scalars as plain JSON."""
    if isinstance(value, dict):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def to_json(value: Any) -> str:
    """Return ``value`` as strict, indented JSON (NaN is ``null``)."""
    return json.dumps(strict(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` (UTF-8) atomically.

    Raises:
        OutputError: If the file cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")  # the same bytes on all systems
