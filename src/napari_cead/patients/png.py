"""Slices stored as PNG pictures: BrainMetShare's PNG release, and plain 2-D slices."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..errors import GeometryError, PatientNotFoundError, UnreadableError, UnsupportedError
from .grid import Grid
from .volumes import Volume

Side = Literal["left", "right"]

PNG_SPACING = (1.0, 0.94, 0.94)
"""(z, y, x) in mm assumed for PNG slices: that of BrainMetShare."""


def slice_files(folder: Path) -> list[Path]:
    """Return the PNG slices of a folder, sorted by the whole number that is their name.

    Raises:
        PatientError: If there are none, or numbers are missing in between or double.
    """
    numbered = {}
    for path in folder.glob("*.png"):
        if path.stem.isdecimal():
            number = int(path.stem)
            if number in numbered:
                raise UnreadableError(
                    f"two slices have the number {number}", file=folder, mend="remove one of them"
                )
            numbered[number] = path
    if not numbered:
        raise PatientNotFoundError(
            "no numbered PNG slices (000.png, 001.png, …)", file=folder, mend="check the folder"
        )
    numbers = sorted(numbered)
    # Counted, not listed: one file with a number of twenty digits would make a list of as many missing ones.
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    if missing:
        gap = next(one + 1 for one, other in pairwise(numbers) if other != one + 1)
        raise UnreadableError(
            f"{missing} of {missing + len(numbers)} slices are missing, the first is number {gap}",
            file=folder,
            mend="restore the missing PNG files",
        )
    return [numbered[number] for number in numbers]


def read_picture(path: Path) -> NDArray[Any]:
    """Return a grey PNG as (Y, X); RGB(A) pictures are accepted if they are grey.

    Raises:
        PatientError: If the file is not a readable grey picture.
    """
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB") if picture.mode in ("P", "PA") else picture)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UnreadableError("the PNG cannot be read", file=path, mend="copy the file again") from error
    if pixels.ndim == 3:
        if pixels.shape[2] in (2, 4):  # alpha says nothing about the scan
            pixels = pixels[..., :-1]
        if not (pixels == pixels[..., :1]).all():
            raise UnsupportedError("the picture is in colour", file=path, mend="give grey slices")
        pixels = pixels[..., 0]
    return pixels


def read_stack(files: list[Path], side: Side, spacing: tuple[float, float, float]) -> Volume:
    """Read PNG slices into one volume.

    Args:
        files: One file a slice, inferior to superior; row 0 is anterior.
        side: Which side of the patient column 0 shows.
        spacing: (z, y, x) in mm.

    Raises:
        PatientError: If a file cannot be read or sizes differ.
    """
    with ThreadPoolExecutor() as pool:
        slices = list(pool.map(read_picture, files))
    for path, pixels in zip(files, slices, strict=True):
        if pixels.shape != slices[0].shape:
            raise GeometryError(
                f"the slice has {pixels.shape[0]}x{pixels.shape[1]} pixels, "
                f"{files[0].name} has {slices[0].shape[0]}x{slices[0].shape[1]}",
                file=path,
                mend="give slices of one size",
            )
    volume = np.stack(slices)
    if side == "left":
        volume = volume[..., ::-1]
    z, y, x = volume.shape
    note = (
        f"PNG slices carry no side or voxel size: column 0 taken as the patient's {side}, "
        f"{spacing[2]:g} x {spacing[1]:g} x {spacing[0]:g} mm assumed"
    )
    return Volume(np.ascontiguousarray(volume), Grid.of_spacing((z, y, x), spacing), (note,))
