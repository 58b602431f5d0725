"""Opening the arrays of a slice store, as anybody may have written them: looked at before Zarr is asked to."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..json_files import read_json

LARGEST_CHUNK = 1 << 28
"""Most bytes of a chunk: the store's own have 32 slices."""
DATA_TYPES = {"images": "uint8", "masks": "bool"}
CODECS = frozenset({"bytes", "blosc", "zstd", "gzip", "crc32c"})
"""Codecs that turn bytes into bytes; others of Zarr can be plug-ins, or objects that are made by running code."""


def check_array(place: Path, shape: tuple[int, ...]) -> None:
    """Check what an array of a store says about itself.

    Args:
        place: Folder of the array, named after what it holds.
        shape: What it must have.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not as the store writes arrays.
    """
    found = read_json(place / "zarr.json")
    if not isinstance(found, dict) or (found.get("zarr_format"), found.get("node_type")) != (3, "array"):
        raise ValueError("it is no array of Zarr version 3")
    if found.get("shape") != list(shape):
        raise ValueError("some slices are missing")
    if found.get("data_type") != DATA_TYPES[place.name]:
        raise ValueError(f"its values are not {DATA_TYPES[place.name]}")
    try:
        chunks = found["chunk_grid"]["configuration"]["chunk_shape"]
        whole = all(type(length) is int and length > 0 for length in chunks)
        names = {codec["name"] for codec in found["codecs"]}
    except (KeyError, TypeError):
        raise ValueError("its description is damaged") from None
    if not whole or chunks[1:] != list(shape[1:]) or math.prod(chunks) > LARGEST_CHUNK:
        raise ValueError("its chunks are not groups of slices")
    if found.get("storage_transformers") or not names <= CODECS:
        raise ValueError(
            f"it is stored in a way that is not read ({', '.join(sorted(map(str, names - CODECS)))})"
        )


def open_array(zarr: Any, place: Path, shape: tuple[int, ...]) -> Any:
    """Check an array of a store and open it for reading.

    Args:
        zarr: The module.
        place: Folder of the array.
        shape: What it must have.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not as the store writes arrays.
    """
    check_array(place, shape)
    return zarr.open_array(place, mode="r", zarr_format=3)
