"""The judge of a patient's files: it reads each once, and knows what it holds and what does not fit.

Loading takes the `Patient` from it and raises its errors; `check` and the Train dock take its findings. What the voxels
of a scan tell about skull, field and contrast is judged in `slices.judging`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MaskError, PatientError, UnsupportedError
from ..metrics.overlap import volume_ml
from .aliases import MASK, SEQUENCES
from .cases import PatientFiles
from .findings import NO_ORIENTATION, Code, Finding, Note, code_of
from .formats import PNG_SPACING, Side
from .formats.png import check_gaps, placed
from .grid import Grid
from .lesion_masks import not_used, place_mask, split_labels, unlike_lesions
from .lookalikes import overlooked
from .marks import MADE, kind_of
from .patient import Patient
from .reading import is_pictures, read_place
from .volumes import Volume, clean_intensities, clean_mask, lies_elsewhere, onto, voxel_for_voxel


@dataclass(eq=False)
class JudgedFile:
    """A scan or a mask, as it was read.

    Attributes:
        file: The file, or the folder of slices.
        name: Its name in messages.
        volume: The volume on its own grid, that of a scan with a background of 0; None if it cannot be read.
        said: What was done to the values.
        error: Why it cannot be used; None if it can.
        code: The kind of the error.
    """

    file: Path
    name: str
    volume: Volume | None = None
    said: tuple[str, ...] = ()
    error: PatientError | None = None
    code: Code = "unreadable"

    def usable(self) -> Volume:
        """Return the volume.

        Raises:
            PatientError: If it cannot be used.
        """
        if self.error is not None:
            raise self.error
        assert self.volume is not None
        return self.volume


@dataclass(eq=False)
class JudgedMask(JudgedFile):
    """A lesion mask.

    Attributes:
        lesion: (Z, Y, X) bool on the grid of the scan; None if it cannot be used.
        ignored: (Z, Y, X) bool, what the layout leaves out of an evaluation; None without any.
        own: The lesion on its own grid.
        doubt: Why its extent rules out lesions, in one clause; empty if it does not.
        labels: Values above 0; all count as lesion.
        millilitres: Volume of the lesion, on its own grid if that can be trusted.
    """

    lesion: NDArray[np.bool_] | None = None
    ignored: NDArray[np.bool_] | None = None
    own: Volume | None = None
    doubt: str = ""
    labels: tuple[int, ...] = ()
    millilitres: float = 0.0


@dataclass(frozen=True, eq=False)
class Judged:
    """The files of a patient, as they were read.

    Attributes:
        files: The files.
        scans: The sequences by name, the wanted one first.
        mask: The lesion mask; None if there is none.
    """

    files: PatientFiles
    scans: dict[str, JudgedFile]
    mask: JudgedMask | None

    @property
    def first(self) -> JudgedFile | None:
        """The first scan that can be read, with whose grid the others are compared."""
        return next((scan for scan in self.scans.values() if scan.volume is not None), None)

    def patient(self, *, only: bool = False, trust_mask: bool = False, use_mask: bool = True) -> Patient:
        """Return the patient on the grid of the wanted scan.

        Args:
            only: Leave the other sequences out.
            trust_mask: Use the lesion mask even if its extent rules out lesions: somebody named it.
            use_mask: Whether the lesion mask is taken at all.

        Raises:
            PatientError: If the wanted scan cannot be used.
            MaskError: If the lesion mask cannot be used.
        """
        sequence, chosen = next(iter(self.scans.items()))
        files, wanted = self.files, chosen.usable()
        grid, notes = wanted.grid, [*files.notes, *wanted.warnings]
        if files.guessed:
            notes.append(f"{chosen.file.name}: the name tells no sequence, taken as {sequence}")
        volumes: dict[str, NDArray[np.float32]] = {}
        elsewhere: dict[str, Volume] = {}
        for name, scan in ((sequence, chosen),) if only else self.scans.items():
            try:
                own = scan.usable()
                moved = onto(placed(own, wanted, scan.name), grid, 1, scan.name)
                # Cleaned on the other grid too: our own resampling leaves a faint rim, and what is written of this
                # volume has to be read as the same.
                same = moved.data is own.data
                volumes[name] = moved.data if same else clean_intensities(moved.data, scan.name)[0]
            except PatientError as error:
                notes.append(f"left out: {error}")
                continue
            if lies_elsewhere(own.grid, grid):
                elsewhere[name] = Volume(own.data, own.grid)
            notes += [note for note in (*moved.warnings, *scan.said) if note not in notes]
        sources = {name: files.sequences[name] for name in volumes}
        mask, lesion, ignored = self.mask if use_mask else None, None, None
        if mask is not None:
            mask.usable()
            assert mask.own is not None
            if not mask.doubt or trust_mask:
                lesion, ignored, sources[MASK] = mask.lesion, mask.ignored, mask.file
                notes += [note for note in mask.said if note not in notes]
                if mask.doubt:
                    said = f"{mask.name} {mask.doubt}; it is used as the lesion mask because it was named"
                    notes.append(said)
                if lies_elsewhere(mask.own.grid, grid):
                    elsewhere[MASK] = mask.own
            else:
                notes.append(not_used(mask.file, mask.doubt))
        return Patient(
            name=files.name,
            sequence=sequence,
            sequences=volumes,
            lesion_mask=lesion,
            spacing=grid.spacing,
            grid=grid,
            files=sources,
            warnings=tuple(notes),
            elsewhere=elsewhere,
            ignored=ignored,
        )

    def findings(self, place: Path) -> Iterator[Finding]:
        """Yield what does not fit in the files, for a report.

        Args:
            place: The patient's place on disk.
        """
        files, mask = self.files, self.mask
        name = files.name
        for scan in (*self.scans.values(), *([] if mask is None else [mask])):
            if scan.volume is None and scan.error is not None:
                yield Finding(name, scan.code, scan.file, scan.error.brief, "error")
        for note in files.notes:
            if code_of(note) is None and files.kind == "dicom":
                yield Finding(name, "series", place, note)
        yield from _reported(name, files.notes, place, "result", *([] if mask else ["mask-name"]))
        if mask is None:
            for file, why in overlooked(files, None if self.first is None else self.first.volume):
                said = f"there is no lesion mask, but {file.name} may be one: {why}"
                yield Finding(name, "mask-name", file, f"{said}; call it seg, or name it with --mask")
        for sequence, scan in self.scans.items():
            if scan.volume is not None:
                yield from self._about_scan(sequence, scan, scan.volume)
        if mask is not None and mask.volume is not None:
            yield from self._about_mask(mask, mask.volume)

    def _about_scan(self, sequence: str, scan: JudgedFile, volume: Volume) -> Iterator[Finding]:
        name, first = self.files.name, self.first
        if not (volume.grid.has_orientation or is_pictures(scan.file)):
            yield Finding(name, "orientation", scan.file, NO_ORIENTATION)
        yield from self._about_header(scan, volume)
        if scan.error is not None:
            yield Finding(name, scan.code, scan.file, scan.error.brief, "error")
            return
        yield from _reported(name, scan.said, scan.file)
        occupied = np.flatnonzero(volume.data.any(axis=(1, 2)))
        empty = np.setdiff1d(np.arange(occupied[0], occupied[-1] + 1), occupied)
        if empty.size:
            said = f"{empty.size} slices in the middle of the scan are empty, the first is number {empty[0]}"
            yield Finding(name, "slice-gap", scan.file, said, values={"slices": int(empty.size)})
        if first is not None and first.volume is not None and first is not scan:
            try:
                whole = placed(volume, first.volume, scan.name)
            except PatientError as error:
                yield Finding(name, "shape", scan.file, error.brief, "error")
                return
            yield from self._about_grid(f"the {sequence} scan", scan.file, whole.grid, first.volume.grid)

    def _about_mask(self, mask: JudgedMask, volume: Volume) -> Iterator[Finding]:
        name = self.files.name
        first = None if self.first is None or self.first.error is not None else self.first.volume
        yield from self._about_header(mask, volume)
        if first is not None and mask.own is not None:
            numbered = bool(volume.numbers) or volume.grid.shape == first.grid.shape
            if volume.grid.has_orientation or not numbered:
                yield from self._about_grid("the lesion mask", mask.file, volume.grid, first.grid)
        if mask.error is not None:
            yield Finding(name, mask.code, mask.file, mask.error.brief, "error")
        elif mask.doubt:
            yield from _reported(name, [not_used(mask.file, mask.doubt)], mask.file)
        else:
            yield from _reported(name, mask.said, mask.file, "mask-place", "lesions-lost")

    def _about_header(self, read: JudgedFile, volume: Volume) -> Iterator[Finding]:
        """Yield the reader's assumptions about a file."""
        for note in volume.warnings:
            if not isinstance(note, Note):
                if is_pictures(read.file):
                    continue  # that side and voxel size are assumed is no fault of one file
                note = Note("affine", note.removeprefix(f"{read.name}: "))  # from a format of another package
            if note.code != "orientation":
                yield from _reported(self.files.name, (note,), read.file)

    def _about_grid(self, what: str, file: Path, grid: Grid, wanted: Grid) -> Iterator[Finding]:
        """Yield where a file lies on another grid than the first scan."""
        scan = f"the {next(name for name, scan in self.scans.items() if scan is self.first)} scan"

        def found(code: Code, said: str, **values: Any) -> Finding:
            return Finding(self.files.name, code, file, said, values=values)

        if grid.matches(wanted):
            return
        if grid.has_orientation and (doubt := voxel_for_voxel(grid, wanted)):
            said = f"{what} is taken voxel for voxel: {doubt}; save it with the affine of the scan"
            yield found("affine", said)
            return
        shapes = grid.canonical_shape, wanted.canonical_shape
        sizes = grid.spacing, wanted.spacing
        if shapes[0] != shapes[1]:
            said = f"{what} has {_times(shapes[0])} voxels, {scan} {_times(shapes[1])}; it is resampled"
            yield found("shape", said, shape=shapes[0], first=shapes[1])
        if not np.allclose(*sizes, rtol=0.01):
            said = (
                f"{what} has voxels of {_times(sizes[0])} mm, {scan} {_times(sizes[1])} mm; it is resampled"
            )
            yield found("spacing", said, spacing=sizes[0], first=sizes[1])
        elif shapes[0] == shapes[1]:
            shift = float(np.linalg.norm(_centre(grid) - _centre(wanted)))
            turned = "" if grid.axcodes == wanted.axcodes else f", {grid.axcodes} instead of {wanted.axcodes}"
            said = (
                f"{what} lies elsewhere than {scan}: its centre is {shift:.1f} mm away{turned}; it is "
                "resampled, so check that both show the same place"
            )
            yield found("affine", said, shift_mm=shift)


def judge(
    files: PatientFiles,
    sequence: str,
    *,
    only: bool = False,
    png_first_column: Side = "left",
    png_spacing: tuple[float, float, float] = PNG_SPACING,
) -> Judged:
    """Read the files of a patient, each once. Whatever is wrong with one is kept, not raised.

    Args:
        files: The files.
        sequence: The wanted sequence, with which all others and the mask are compared.
        only: Read that sequence and the mask alone.
        png_first_column: Side of the patient that column 0 of PNG slices shows.
        png_spacing: (z, y, x) in mm of PNG slices.
    """
    order = sorted(files.sequences, key=lambda name: (name != sequence, (*SEQUENCES, name).index(name)))
    names = order[:1] if only else order
    folder = f"{files.name}/" if files.kind == "png" else ""
    scans = {name: JudgedFile(file := files.sequences[name], f"{folder}{file.name}") for name in names}
    mask = None if files.mask is None else JudgedMask(files.mask, files.mask.name)
    with ThreadPoolExecutor() as pool:  # decompression releases the GIL
        for _ in pool.map(
            lambda found: _read(found, png_first_column, png_spacing),
            (*scans.values(), *([] if mask is None else [mask])),
        ):
            pass
    judged = Judged(files, scans, mask)
    if mask is not None:
        _judge_mask(mask, files, judged.first)
    return judged


def _read(found: JudgedFile, side: Side, spacing: tuple[float, float, float]) -> None:
    """Read a scan or a mask; that of a scan gets a background of 0."""
    mask = isinstance(found, JudgedMask)
    try:
        if not mask and (kind := kind_of(found.file)) is not None:
            raise UnsupportedError(
                f"this is {MADE[kind]}, not a scan",
                file=found.file,
                hint="give the scan that it was made from",
            )
        volume = read_place(found.file, side, spacing)
        if not mask:
            found.code = "slice-gap"
            check_gaps(volume.numbers, found.file)
            found.volume, found.code = volume, "intensities"
            # On its own grid: resampling would smear NaN and a background that is not 0.
            data, found.said = clean_intensities(volume.data, found.name)
            volume = replace(volume, data=data)
        found.volume = volume
    except PatientError as error:
        found.error = error.at(found.file) if found.code == "intensities" else error


def _judge_mask(mask: JudgedMask, files: PatientFiles, scan: JudgedFile | None) -> None:
    """Bring a lesion mask onto the grid of its scan, and see whether it can be of lesions."""
    try:
        drawn, unseen = mask.usable(), None
        mask.code = "mask-values"
        if files.lesion_labels or files.ignored_labels:
            drawn, unseen = split_labels(drawn, files.lesion_labels, files.ignored_labels, mask.file)
        lesion, said = clean_mask(drawn.data, str(mask.file))
        mask.labels = tuple(int(value) for value in np.unique(drawn.data[lesion]))
        mask.own = replace(drawn, data=lesion)
        mask.millilitres = volume_ml(lesion, drawn.grid.spacing)
        if scan is None or scan.volume is None or scan.error is not None:
            return
        mask.code = "mask-place"
        if voxel_for_voxel(drawn.grid, scan.volume.grid):
            mask.millilitres = volume_ml(lesion, scan.volume.grid.spacing)
        mask.volume = placed(mask.own, scan.volume, mask.name)
        mask.lesion, more = place_mask(mask.volume, scan.volume.grid, scan.volume.data, mask.file)
        if (kind := kind_of(mask.file)) is not None:
            said = (f"{mask.name} is {MADE[kind]}, not a reference; figures compare two results", *said)
        mask.said = (*said, *more)
        mask.doubt = unlike_lesions(mask.lesion, scan.volume.data)
        if unseen is not None:
            there = placed(unseen, scan.volume, mask.name)
            mask.ignored = onto(there, scan.volume.grid, 0, mask.name).data > 0
    except PatientError as error:
        file = error.file if mask.code == "unreadable" else mask.file
        mask.error = MaskError(error.reason, file=file, hint=error.hint)
        mask.error.__cause__ = error


def _reported(patient: str, notes: Iterable[str], file: Path, *codes: str) -> Iterator[Finding]:
    """Yield the notes that are findings: of some kinds, or of all."""
    for note in notes:
        if isinstance(note, Note) and note.kind.check and (not codes or note.code in codes):
            yield Finding(patient, note.code, file, note.finding)


def _centre(grid: Grid) -> NDArray[np.float64]:
    middle = (np.array(grid.shape) - 1) / 2
    return np.asarray(grid.affine[:3, :3] @ middle + grid.affine[:3, 3])


def _times(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in np.round(values[::-1], 3))
