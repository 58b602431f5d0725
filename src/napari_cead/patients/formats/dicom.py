"""DICOM: one series is a volume in its own grid. ``patients/dicom`` finds the series."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import GeometryError, UnreadableError, UnsupportedError
from ..dicom import ENDINGS, MEND, Series, is_dicom, series_of
from ..dicom_headers import Frame
from ..dicom_pixels import stored_values
from ..findings import Note
from ..itk import grid_of_lps
from ..limits import MAX_VOXELS, check_memory
from ..places import Place
from ..volume import Volume
from ._format import Format, Side

APART = "slices lie"
"""Beginning of a note about gaps."""

_EVEN = 0.01  # of a step: how far slices may lie off an even grid without a note
_NEARLY = 0.25  # of a step: up to here they are taken as they are, with a word; beyond, they are laid where they belong
_SAME = 0.02  # of the largest gap: slices that lie closer lie at one place
_CLOSE = 1e-3  # mm: likewise


_VAGUE = ("acquisition", "time")  # they differ whatever else does
_FIXED = ("time point", "b-value", "repetition time")  # in one volume they are the same for all slices


def read_series(place: Place) -> Volume:
    """Read one series as a volume in its own grid.

    Slices are put in order by where they lie, not by name or number, and each has its own slope.

    Args:
        place: A series of a folder, or a file of the series.

    Raises:
        PatientError: If the series cannot be used.
    """
    path, series = place.path, series_of(place)
    if series.unusable:
        raise UnsupportedError(
            f"the series is no scan of a brain: {series.unusable}", file=path, hint="choose another"
        )
    frames = _sorted(series, path)
    positions = np.array([frame.position for frame in frames])
    steps, stop, notes = _laid(positions, _normal(frames[0]), path)
    columns, rows = frames[0].size
    count = max(len(frames), len(steps))
    if columns * rows * count > MAX_VOXELS:
        raise GeometryError("the series is impossibly large", file=path, hint=MEND)
    check_memory(12 * columns * rows * count, path)
    data = _values(frames, path)
    if len(steps) != len(frames) or not np.array_equal(steps, np.arange(len(frames))):
        data = _between(data, steps)
    axes, spacing = frames[0].axes, frames[0].spacing
    assert axes is not None and spacing is not None
    depth = len(data)
    step = (stop - positions[0]) / (depth - 1)
    affine = np.stack([axes[0] * spacing[0], axes[1] * spacing[1], step], axis=1)
    grid = grid_of_lps((columns, rows, depth), affine, positions[0], has_orientation=True, file=path)
    notes += _what_varies(frames)
    said = tuple(
        Note("slice-gap" if note.startswith(APART) else "series", note, path.name)
        for note in (*series.notes, *notes)
    )
    return Volume(grid.to_canonical(data.transpose(2, 1, 0)), grid, said)


def _normal(frame: Frame) -> NDArray[np.float64]:
    assert frame.axes is not None
    return np.cross(*frame.axes)


def _sorted(series: Series, path: Path) -> list[Frame]:
    """Return the slices by position, each position once."""
    normal = _normal(series.frames[0])
    heights = [float(np.dot(frame.position, normal)) for frame in series.frames if frame.position is not None]
    order = np.argsort(heights, kind="stable")
    frames, sorted_heights = [series.frames[index] for index in order], np.array(heights)[order]
    # Frames at one place, by the first of them.
    gaps = np.diff(sorted_heights)
    apart = np.flatnonzero(gaps >= max(_CLOSE, _SAME * gaps.max()))
    groups = np.split(np.arange(len(frames)), apart + 1)
    if len(groups) < len(frames):
        most = max(groups, key=len)
        raise UnsupportedError(
            f"several slices lie at the same place ({_what_repeats([frames[index] for index in most])})",
            file=path,
            hint="give a series of one volume",
        )
    return frames


def _what_repeats(frames: Sequence[Frame]) -> str:
    """Return how slices at one position differ."""
    for name in sorted(frames[0].moments, key=_VAGUE.__contains__):
        if (count := len({frame.moments.get(name, "") for frame in frames})) > 1:
            return f"{count} that differ in {name}"
    return (
        "their headers do not tell them apart: a series over time, several echoes, or copies under new names"
    )


def _what_varies(frames: Sequence[Frame]) -> list[str]:
    """Say what differs between slices that lie at places of their own: two volumes may be laid into each other."""
    notes = []
    for name in _FIXED:
        values = sorted({_rounded(frame.moments.get(name, "")) for frame in frames})
        if 1 < len(values) < len(frames):
            notes.append(
                f"slices differ in {name} ({', '.join(values[:3])}), so this may be {len(values)} volumes "
                "in one another"
            )
    return notes


def _rounded(text: str) -> str:
    """Return a number to three digits: scanners repeat themselves no better."""
    try:
        return f"{float(f'{float(text):.3g}'):g}"
    except ValueError:
        return text or "none"


def _laid(
    positions: NDArray[np.float64], normal: NDArray[np.float64], path: Path
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Find the even grid on which slices lie.

    Args:
        positions: (n, 3) of the slices, sorted, in mm.
        normal: (3,) direction in which they are stacked.
        path: To name in an error.

    Returns:
        For each slice of the grid its place among the slices that there are, as a number of slices from the first;
        where the last slice of the grid lies; and what is to be said.

    Raises:
        GeometryError: If more slices are missing than are there.
    """
    heights = positions @ normal
    heights = heights - heights[0]
    gaps, count = np.diff(heights), len(positions)
    even = heights[-1] * np.arange(count) / (count - 1)
    line = positions[0] + np.outer(heights / heights[-1], positions[-1] - positions[0])
    aside, off = np.linalg.norm(positions - line, axis=1).max(), np.abs(heights - even).max()
    usual = _usual(gaps)
    notes = []
    if aside > max(_EVEN * usual, 0.05):
        notes.append(f"slices are shifted sideways, by up to {aside:.2g} mm that are not undone")
    if off <= max(_EVEN * usual, 0.01):
        return np.arange(count, dtype=np.float64), positions[-1], notes
    said = f"{APART} {gaps.min():.3g} to {gaps.max():.3g} mm apart"
    if off <= _NEARLY * usual:
        mean = heights[-1] / (count - 1)
        notes.append(f"{said}; an even {mean:.3g} mm is assumed, so slices are up to {off:.2g} mm off")
        return np.arange(count, dtype=np.float64), positions[-1], notes
    if heights[-1] > 2 * count * usual:
        raise GeometryError(
            f"{said}, so that more slices are missing than are there", file=path, hint="give the whole series"
        )
    depth = math.ceil(heights[-1] / usual - 0.01) + 1
    wanted = usual * np.arange(depth)
    made = int((np.abs(wanted[:, None] - heights).min(axis=1) > _EVEN * usual).sum())
    missing = "; slices seem to be missing" if gaps.max() > 1.5 * usual else ""
    notes.append(
        f"{said}{missing}; they are laid where they belong, an even {usual:.3g} mm apart, and {made} of {depth} slices "
        "are interpolated"
    )
    direction = (positions[-1] - positions[0]) / heights[-1]
    return np.interp(wanted, heights, np.arange(count)), positions[0] + direction * wanted[-1], notes


def _usual(gaps: NDArray[np.float64]) -> float:
    """Return the most frequent gap between slices; of several, the smallest."""
    _, which, counts = np.unique(np.round(gaps, 2), return_inverse=True, return_counts=True)
    return float(gaps[which == np.argmax(counts)].mean())


def _values(frames: Sequence[Frame], path: Path) -> NDArray[np.float32]:
    """Return (slices, rows, columns) intensities, each slice by its own slope."""
    columns, rows = frames[0].size
    data = np.empty((len(frames), rows, columns), dtype=np.float32)
    by_file: dict[Path, list[int]] = {}
    for number, frame in enumerate(frames):
        by_file.setdefault(frame.file, []).append(number)
    for file, numbers in by_file.items():
        stored = stored_values(file)
        for number in numbers:
            frame = frames[number]
            slope, intercept = frame.rescale
            if slope == 0 or not math.isfinite(slope + intercept):
                raise UnreadableError("the rescale slope of a slice is no slope", file=path, hint=MEND)
            if stored.shape[1:] != (rows, columns) or frame.index >= len(stored):
                raise UnreadableError(
                    "a file of the series holds other slices than its header says", file=path, hint=MEND
                )
            data[number] = stored[frame.index] * np.float64(slope) + intercept
    return data


def _between(data: NDArray[np.float32], steps: NDArray[np.float64]) -> NDArray[np.float32]:
    """Interpolate along the first axis at these places; a whole number is that slice as it is."""
    below = np.minimum(steps.astype(int), len(data) - 1)
    above = np.minimum(below + 1, len(data) - 1)
    share = (steps - below).astype(np.float32)[:, None, None]
    share[share < 1e-3], share[share > 1 - 1e-3] = 0, 1
    return np.asarray(data[below] * (1 - share) + data[above] * share, dtype=np.float32)


class Dicom(Format):
    """A series of a folder, named by its number or by one of its files. A mark inside tells, not the ending."""

    name = "dicom"
    title = "DICOM"
    endings = ENDINGS
    whole = False
    rank = 4

    def matches(self, place: Place) -> bool:
        """Whether it is a series, or a file with the DICOM mark."""
        return bool(place.inside) or (place.file.is_file() and is_dicom(place.file))

    def load(self, place: Place, side: Side, spacing: tuple[float, float, float]) -> Volume:
        """Read the series."""
        return read_series(place)

    def files(self, place: Place) -> list[Path]:
        """Return the files of the series."""
        return list(series_of(place).files)


OFFERED = (Dicom(),)
