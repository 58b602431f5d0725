"""Slices as PNG pictures: BrainMetShare's PNG release, and plain 2-D slices."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import GeometryError, PatientNotFoundError, UnreadableError, UnsupportedError
from ..findings import Note
from ..grid import Grid
from ..limits import MAX_PIXELS, check_held, check_memory, check_shape
from ..places import Place
from ..repairs import repairs
from ..volume import Volume
from ._format import Format, Side

_SIGNATURE = b"\x89PNG\r\n\x1a\n"

NO_NUMBER = "their names are no numbers"
"""The note on PNGs without a slice number."""


def pngs_in(folder: Path) -> list[Path]:
    """Return the PNG files of a folder, sorted by name, without hidden ones."""
    return sorted(path for path in (folder.iterdir() if folder.is_dir() else ()) if PNG.names(path))


def numbered_slices(folder: Path) -> dict[int, Path]:
    """Return the PNG slices of a folder by the whole number that is their name, in order. ``7`` and ``007`` are one.

    Raises:
        PatientError: If there are none, or two have one number.
    """
    numbered: dict[int, Path] = {}
    for path in pngs_in(folder):
        if not path.stem.isdecimal():
            continue
        number = int(path.stem)
        if number in numbered:
            raise UnreadableError(
                f"two slices have the number {number} ({numbered[number].name} and {path.name})",
                file=folder,
                hint="remove one of them",
            )
        numbered[number] = path
    if not numbered:
        raise PatientNotFoundError(
            "no numbered PNG slices (000.png, 001.png, …)", file=folder, hint="check the folder"
        )
    return dict(sorted(numbered.items()))


def slice_files(folder: Path) -> list[Path]:
    """Return the PNG slices of a scan, sorted by the whole number that is their name.

    Raises:
        PatientError: As `numbered_slices`, and if slices are missing in between.
    """
    slices = numbered_slices(folder)
    check_gaps(tuple(slices), folder)
    return list(slices.values())


def read_folder(folder: Path, side: Side, spacing: tuple[float, float, float]) -> Volume:
    """Read the numbered PNG slices of a folder; see `read_stack`.

    Raises:
        PatientError: If a file cannot be read, sizes differ, or names tell no place for a slice.
    """
    slices = numbered_slices(folder)
    volume = read_stack(list(slices.values()), side, spacing)
    strange = [path.name for path in pngs_in(folder) if not path.stem.isdecimal()]
    if strange:
        note = Note("unrecognised", f"passed over, for {NO_NUMBER}: {', '.join(strange[:3])}", folder.name)
        volume = replace(volume, warnings=(*volume.warnings, note))
    return replace(volume, numbers=tuple(slices))


def check_gaps(numbers: tuple[int, ...], folder: Path) -> None:
    """Refuse a scan with missing slices: those above the gap would lie too low.

    Raises:
        PatientError: If there are any.
    """
    if not numbers:
        return
    first, last = numbers[0], numbers[-1]
    missing = last - first + 1 - len(numbers)
    if missing:  # counted, not listed: names can hold any number
        lost = next(
            number for number, there in zip(range(first, last), numbers, strict=False) if number != there
        )
        raise UnreadableError(
            f"{missing} of {last - first + 1} slices are missing, the first is number {lost}",
            file=folder,
            hint="restore the missing PNG files",
        )


def placed(volume: Volume, scan: Volume, what: str) -> Volume:
    """Place numbered slices at the same numbers of a scan; 0 elsewhere.

    Args:
        volume: A volume; one that has no numbers stays as it is.
        scan: The scan.
        what: File or folder to name in messages.

    Raises:
        PatientError: If the scan has no slice of such a number, or no numbers and another count of slices; or if its
            pictures have another size.
    """
    if volume.numbers and scan.numbers and volume.data.shape[1:] != scan.data.shape[1:]:
        # Pictures have no voxel sizes: this one may be coarser, or cropped.
        (rows, columns), (wanted, across) = volume.data.shape[1:], scan.data.shape[1:]
        raise GeometryError(
            f"the slices have {rows}x{columns} pixels, those of the scan {wanted}x{across}",
            file=what,
            hint="give slices of the size of the scan's",
        )
    if not volume.numbers or volume.numbers == scan.numbers:
        return volume
    if not scan.numbers:
        if volume.grid.canonical_shape == scan.grid.canonical_shape:
            return volume
        raise GeometryError(
            f"{_counted(volume)} do not tell where they lie in a scan of {scan.grid.canonical_shape[0]} slices that "
            "have no numbers",
            file=what,
            hint="give a file on the grid of the scan",
        )
    index = {number: place for place, number in enumerate(scan.numbers)}
    strange = [number for number in volume.numbers if number not in index]
    if strange:
        raise GeometryError(
            f"{len(strange)} of {len(volume.numbers)} slices have numbers that the scan ({scan.numbers[0]} to "
            f"{scan.numbers[-1]}) lacks, the first is {strange[0]}",
            file=what,
            hint="number the slices as those of the scan",
        )
    data = np.zeros((len(index), *volume.data.shape[1:]), volume.data.dtype)
    data[[index[number] for number in volume.numbers]] = volume.data
    z, y, x = data.shape
    grid = Grid.of_spacing((z, y, x), volume.grid.spacing)
    note = Note(
        "slice-gap", f"{_counted(volume)} of {z}, placed by their numbers; the others are taken as 0", what
    )
    return Volume(data, grid, (*volume.warnings, note), scan.numbers)


def _counted(volume: Volume) -> str:
    first, last = volume.numbers[0], volume.numbers[-1]
    return f"{len(volume.numbers)} slices ({first} to {last})"


def read_picture(path: Path) -> NDArray[Any]:
    """Return a grey PNG as (Y, X); RGB(A) pictures are accepted if they are grey.

    Raises:
        PatientError: If the file is not a readable grey picture.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(len(_SIGNATURE) + 16)
        if not start.startswith(_SIGNATURE) or start[12:16] != b"IHDR":
            raise UnreadableError(
                "the PNG cannot be read: it is not a PNG file", file=path, hint="give PNG slices"
            )
        size = tuple(int.from_bytes(start[place : place + 4], "big") for place in (16, 20))
        # A pixel takes at least a bit, before it is compressed.
        check_held(check_shape(size, path, MAX_PIXELS) // 8, path, packed=True)
        # Transparency and animation are dropped. Other formats can start other programs.
        with repairs(), Image.open(path, formats=("PNG",)) as picture:
            pixels = np.asarray(picture.convert("RGB") if picture.mode in ("P", "PA") else picture)
    except (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError) as error:
        raise UnreadableError("the PNG cannot be read", file=path, hint="copy the file again") from error
    if pixels.ndim == 3:
        if pixels.shape[2] in (2, 4):  # alpha says nothing about the scan
            pixels = pixels[..., :-1]
        if not (pixels == pixels[..., :1]).all():
            raise UnsupportedError("the picture is in colour", file=path, hint="give grey slices")
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
    first = read_picture(files[0])
    voxels = check_shape((len(files), *first.shape), files[0].parent)
    check_memory(2 * voxels * first.dtype.itemsize, files[0].parent)

    def read(path: Path) -> NDArray[Any]:
        pixels = read_picture(path)
        if pixels.shape != first.shape:
            raise GeometryError(
                f"the slice has {pixels.shape[0]}x{pixels.shape[1]} pixels, "
                f"{files[0].name} has {first.shape[0]}x{first.shape[1]}",
                file=path,
                hint="give slices of one size",
            )
        return pixels

    with ThreadPoolExecutor() as pool:
        volume = np.stack([first, *pool.map(read, files[1:])])
    if side == "left":
        volume = volume[..., ::-1]
    z, y, x = volume.shape
    note = (
        f"PNG slices carry no side or voxel size: column 0 taken as the patient's {side}, "
        f"{spacing[2]:g} x {spacing[1]:g} x {spacing[0]:g} mm assumed"
    )
    return Volume(np.ascontiguousarray(volume), Grid.of_spacing((z, y, x), spacing), (note,))


class Png(Format):
    """One slice, or a folder of slices with numbers for names."""

    name = "png"
    title = "PNG"
    endings = (".png",)
    whole = False
    bare = True
    rank = 5

    def matches(self, place: Place) -> bool:
        """Whether it is a picture, or a folder, which then has to hold some."""
        return not place.inside and (self.names(place.file) or place.file.is_dir())

    def load(self, place: Place, side: Side, spacing: tuple[float, float, float]) -> Volume:
        """Read one slice, or those of a folder."""
        if place.file.is_dir():
            return read_folder(place.file, side, spacing)
        return replace(read_stack([place.file], side, spacing), numbers=(0,))

    def files(self, place: Place) -> list[Path]:
        """Return the slices."""
        return pngs_in(place.file) if place.file.is_dir() else [place.file]


PNG = Png()
OFFERED = (PNG,)
