"""Reading one volume, whatever it is stored as, and what belongs to it on disk."""

from __future__ import annotations

from pathlib import Path

from ..errors import CeadError, PatientNotFoundError, UnreadableError, UnsupportedError, why
from .archives import fill, real_place
from .formats import FORMATS, PNG_SPACING, Format, Side, format_at
from .formats.nifti import read_volume
from .places import Place, place_of
from .volume import Volume


def read_place(
    path: str | Path | Place, side: Side = "left", png_spacing: tuple[float, float, float] = PNG_SPACING
) -> Volume:
    """Read a file of any format, a DICOM series, PNG slices, or any of them inside a zip.

    Args:
        path: The file, the folder of slices, ``FOLDER#SERIES``, or ``ZIP#PLACE``.
        side: Side of the patient that column 0 of PNG slices shows.
        png_spacing: (z, y, x) in mm of PNG slices.

    Raises:
        PatientError: If it cannot be read.
    """
    place = place_of(path)
    if place.zipped and not place.inside:
        raise UnsupportedError("a zip is not one scan", file=place.file, hint="name a file inside: ZIP#FILE")
    with real_place(place) as real:
        if not real.file.exists():
            raise PatientNotFoundError("there is no such file", file=real.file, hint="check the path")
        form = format_at(real)
        if form is None:
            return read_volume(real.file)  # says what is wrong with it
        fill(place, form.files(real))
        return form.load(real, side, png_spacing) if form.name in FORMATS.own else _by_another(form, real)


def _by_another(form: Format, place: Place) -> Volume:
    """Read a place by a format of another package, which may raise anything."""
    try:
        volume = form.load(place, "left", PNG_SPACING)
        if not isinstance(volume, Volume) or volume.data.shape != volume.grid.canonical_shape:
            raise ValueError("its reader does not return one volume")
        return volume
    except CeadError:
        raise
    except Exception as error:
        raise UnreadableError(
            f"the file cannot be read as {form.title} ({why(error)})",
            file=place.file,
            hint="copy the file again, or update the package that reads it",
        ) from error


def is_pictures(path: str | Path | Place) -> bool:
    """Whether the side and voxel size of what lies at a place are assumed, as those of PNG slices."""
    with real_place(place_of(path)) as real:
        form = format_at(real)
        return form is not None and form.bare and bool(form.files(real))


def disk_files(path: str | Path | Place) -> list[Path]:
    """Return the files on disk that are read for a place, in a fixed order.

    A header with its image, all slices of a folder or of a series; of what lies in a zip, the zip.
    """
    place = place_of(path)
    if place.zipped:
        return [place.file]
    form = format_at(place)
    return [place.file] if form is None else form.files(place)
