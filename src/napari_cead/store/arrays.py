"""Open the arrays of a slice store, which may come from anywhere: they are checked before Zarr opens them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..json_files import read_json

LARGEST_CHUNK = 1 << 28
"""Largest size of a chunk in bytes: the store's own have 32 slices."""
DATA_TYPES = {"images": "uint8", "masks": "bool"}
CODECS = frozenset({"bytes", "blosc", "zstd", "gzip", "crc32c"})
"""Codecs from bytes to bytes; other codecs of Zarr can be plug-ins, or objects that are made by running code."""


def check_array(place: Path, shape: tuple[int, ...]) -> None:
    """Check the metadata of a store's array.

    Args:
        place: Folder of the array, named after its content.
        shape: Its required shape.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it differs from the arrays that the store writes.
    """
    found = read_json(place / "zarr.json")
    if not isinstance(found, dict) or (found.get("zarr_format"), found.get("node_type")) != (3, "array"):
        raise ValueError("it is not an array of Zarr version 3")
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
            f"it is stored in an unsupported way ({', '.join(sorted(map(str, names - CODECS)))})"
        )


def open_array(zarr: Any, place: Path, shape: tuple[int, ...]) -> Any:
    """Check an array of a store and open it for reading.

    Args:
        zarr: The module.
        place: Folder of the array.
        shape: Its required shape.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it differs from the arrays that the store writes.
    """
    check_array(place, shape)
    return zarr.open_array(place, mode="r", zarr_format=3)
