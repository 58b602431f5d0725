"""Reading one volume, whatever it is stored as."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import UnsupportedError
from .aliases import is_image
from .archives import unpacked
from .dicom import is_dicom
from .nrrd import read_nrrd
from .places import place_of
from .png import PNG_SPACING, Side, read_folder, read_stack
from .series import read_series
from .volumes import Volume, read_volume


def read_place(
    path: str | Path, side: Side = "left", png_spacing: tuple[float, float, float] = PNG_SPACING
) -> Volume:
    """Read a NIfTI, Analyze, MGH or NRRD file, a DICOM series, PNG slices, or any of them inside a zip.

    Args:
        path: The file, the folder of slices, ``FOLDER#SERIES``, or ``ZIP#PLACE``.
        side: Side of the patient that column 0 of PNG slices shows.
        png_spacing: (z, y, x) in mm of PNG slices.

    Raises:
        PatientError: If it cannot be read.
    """
    place = place_of(path)
    if place.zipped:
        if not place.inside:
            raise UnsupportedError(
                "a zip is not one scan", file=place.file, mend="name a file inside: ZIP#FILE"
            )
        with unpacked(place.file, place.inside) as real:
            volume = read_place(real, side, png_spacing)
            # The file goes: what is mapped from it has to be in memory.
            return volume if volume.data.base is None else replace(volume, data=volume.data.copy())
    if place.series:
        return read_series(path)
    file = place.file
    if file.is_dir():
        return read_folder(file, side, png_spacing)
    suffix = file.suffix.lower()
    if suffix == ".png":
        return replace(read_stack([file], side, png_spacing), numbers=(0,))
    if suffix in (".nrrd", ".nhdr"):
        return read_nrrd(file)
    if file.is_file() and not is_image(file) and is_dicom(file):
        return read_series(file)
    return read_volume(file)
