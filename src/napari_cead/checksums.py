"""The sha256 of files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash


def add_file(digest: _Hash, file: Path) -> None:
    """Feed the bytes of a file to a digest.

    Raises:
        OSError: If it cannot be read.
    """
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)


def file_sha256(*files: Path) -> str:
    """Return the sha256 of the bytes of files, one after the other, in hexadecimal.

    Raises:
        OSError: If a file cannot be read.
    """
    digest = hashlib.sha256()
    for file in files:
        add_file(digest, file)
    return digest.hexdigest()
