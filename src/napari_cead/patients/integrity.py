"""Checking a cohort before hours of work: missing, unreadable and inconsistent files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import MaskError, PatientError, PatientNotFoundError
from ..progress import Progress, Stop, check_stop, tell
from .aliases import MASK, MASK_FOLDERS, SEQUENCES, read_name
from .cases import PatientFiles
from .datasets import Layout
from .formats import PNG_SPACING, is_image
from .formats.png import check_gaps, placed
from .grid import Grid
from .layouts import find_files, find_patients, folders_below
from .lesion_masks import not_used, place_mask, split_labels, unlike_lesions
from .lookalikes import overlooked
from .marks import kind_of
from .nnunet import is_labels_folder
from .notes import NO_ORIENTATION, Note, NoteCode, code_of
from .places import is_zip
from .reading import is_pictures, read_place
from .volumes import Volume, clean_intensities, clean_mask, voxel_for_voxel

Code = Literal[
    "unreadable",
    "unrecognised",
    "missing-sequence",
    "shape",
    "spacing",
    "affine",
    "orientation",
    "intensities",
    "mask-values",
    "mask-place",
    "mask-name",
    "result",
    "mask-covers",
    "lesions-lost",
    "slice-gap",
    "series",
    "same-name",
    "preparation",
]


class Prepares(Protocol):
    """What is said about a scan by who prepares it."""

    @property
    def needs(self) -> Sequence[str]:
        """What the scan has that has to go before a run."""

    @property
    def findings(self) -> Sequence[str]:
        """What speaks against that, each in one clause."""


Ready = Callable[[Path, str, NDArray[np.float32], Grid], Prepares]

CODES: tuple[Code, ...] = get_args(Code)

USUAL = 0.5
"""A sequence that more than this share of the patients have is missed where it is not."""

_PATIENTS = 4  # in memory at once


@dataclass(frozen=True)
class Finding:
    """Something that does not fit.

    Attributes:
        patient: Name of the patient.
        code: What it is, one of `CODES`.
        file: Where it was found.
        sentence: The same for a reader, with what to do.
    """

    patient: str
    code: Code
    file: Path
    sentence: str


@dataclass(frozen=True)
class CheckedVolume:
    """One scan or mask of a patient, as read.

    Attributes:
        file: The file, or the folder of slices.
        shape: (Z, Y, X) in canonical order.
        spacing: (z, y, x) in mm.
        axcodes: Directions in which the axes of the file grow.
    """

    file: Path
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    axcodes: str


@dataclass(frozen=True)
class CheckedPatient:
    """One patient.

    Attributes:
        name: Its name.
        path: Its folder or file.
        kind: ``"nifti"``, ``"png"`` or ``"picture"``; empty if it is none.
        sequences: The sequences that can be read, by name.
        mask: The lesion mask, None if there is none or it cannot be read.
        labelled: Whether there is a lesion mask, readable or not.
        lesion_ml: Volume of the lesion mask in mL; None without a mask that can be used.
        labels: Values above 0 of the lesion mask; all count as lesion.
        unreadable: The sequences that are there and cannot be read.
        needs: What its scan has that has to go before a run, if somebody was asked.
        findings: What does not fit.
    """

    name: str
    path: Path
    kind: str = ""
    sequences: Mapping[str, CheckedVolume] = field(default_factory=dict)
    mask: CheckedVolume | None = None
    labelled: bool = False
    lesion_ml: float | None = None
    labels: tuple[int, ...] = ()
    unreadable: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class CohortCheck:
    """The report about a cohort.

    Attributes:
        cohort: The folder.
        patients: All patients, sorted by path.
        expected: The sequences that every patient should have: the one asked for, and those that most have.
    """

    cohort: Path
    patients: tuple[CheckedPatient, ...]
    expected: tuple[str, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, patient by patient."""
        return tuple(finding for patient in self.patients for finding in patient.findings)

    @property
    def clean(self) -> bool:
        """Whether there is nothing to mend."""
        return not self.findings

    @property
    def labelled(self) -> int:
        """Patients with a lesion mask."""
        return sum(patient.labelled for patient in self.patients)

    def counts(self) -> dict[str, int]:
        """Return how many findings there are of each code."""
        found = Counter(finding.code for finding in self.findings)
        return {code: found[code] for code in CODES if found[code]}

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for strict JSON."""
        return {
            "schema_version": 1,
            "cohort": self.cohort,
            "clean": self.clean,
            "expected_sequences": self.expected,
            "counts": self.counts(),
            "labelled": self.labelled,
            "unlabelled": len(self.patients) - self.labelled,
            "patients": [asdict(patient) for patient in self.patients],
        }


def check_cohort(
    cohort: str | Path,
    sequence: str | None = None,
    *,
    layout: Layout | None = None,
    png_spacing: tuple[float, float, float] = PNG_SPACING,
    ready: Ready | None = None,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> CohortCheck:
    """Read every file of every patient and report all findings.

    Findings: files that cannot be read; folders with scans of which no name tells what they are; a sequence that is
    missing though most patients have it; sequences or a mask on another grid (shape, spacing, or position and
    direction) than the patient's first sequence; headers without an orientation; values that are NaN or infinite;
    masks that are images, or of several labels, or lie outside the brain; slices that are missing or empty in the
    middle of the brain; DICOM series of which something had to be assumed or left out; and two patients of one name.
    A patient without a mask is unlabelled: counted, no finding.

    Args:
        cohort: Folder whose descendants are patients, or one patient.
        sequence: A sequence that every patient has to have; None: those that most have.
        layout: Layout of the cohort; None: names are read as they are.
        png_spacing: (z, y, x) in mm of PNG slices.
        ready: Asked about the scan that a run would take: its file, sequence, volume (Z, Y, X) with a background of 0,
            and grid. Returns what it needs before a run, and what speaks against that.
        on_progress: Called with (patients done, total patients).
        should_stop: Called between patients.

    Raises:
        PatientError: If there is neither a patient nor anything that might be one.
        Cancelled: If ``should_stop`` returned true.
    """
    top = Path(cohort).expanduser()
    laid_out = {} if layout is None else {one.path: one.files for one in layout.patients(top)}
    places = list(laid_out) or list(find_patients(top)) or [top] * (top.is_file() and not is_zip(top))
    strays = [] if top.is_file() or laid_out else list(_strays(top, places))
    if not places and not strays:
        what = "there are no patients in this folder" if top.is_dir() else "there is no such folder"
        raise PatientNotFoundError(what, file=top, hint="give a folder that holds patients")
    patients: list[CheckedPatient] = []
    with ThreadPoolExecutor(_PATIENTS) as pool:
        tasks = [
            pool.submit(_check, place, sequence or "flair", png_spacing, ready, laid_out.get(place))
            for place in places
        ]
        try:
            for done, task in enumerate(tasks, start=1):
                check_stop(should_stop)
                patients.append(task.result())
                tell(on_progress, done, len(tasks))
        finally:
            for task in tasks:
                task.cancel()
    expected = _expected(patients, sequence)
    names = Counter(patient.name for patient in patients)
    found = [_among_others(patient, expected, names) for patient in patients]
    return CohortCheck(top, tuple(sorted([*found, *strays], key=lambda one: one.path)), expected)


def _expected(patients: Sequence[CheckedPatient], sequence: str | None) -> tuple[str, ...]:
    counts = Counter(name for patient in patients for name in patient.sequences)
    usual = {name for name, count in counts.items() if count > USUAL * len(patients)}
    return tuple(name for name in SEQUENCES if name in usual or name == sequence)


def _among_others(patient: CheckedPatient, expected: Iterable[str], names: Counter[str]) -> CheckedPatient:
    """Add the findings that depend on the other patients."""
    findings = list(patient.findings)
    there = (*patient.sequences, *patient.unreadable)
    for name in (name for name in expected if patient.kind and name not in there):
        findings.append(
            Finding(patient.name, "missing-sequence", patient.path, f"there is no {name} scan; add it")
        )
    if names[patient.name] > 1:
        findings.append(
            Finding(
                patient.name,
                "same-name",
                patient.path,
                f"{names[patient.name]} patients of the cohort are called {patient.name}; rename them, or mean "
                "each by its path in split files",
            )
        )
    return replace(patient, findings=tuple(findings))


def _check(
    place: Path,
    sequence: str,
    png_spacing: tuple[float, float, float],
    ready: Ready | None,
    given: PatientFiles | None = None,
) -> CheckedPatient:
    """Read one patient and judge it by itself."""
    try:
        files = given or find_files(place, sequence)
    except PatientError as error:
        return CheckedPatient(
            place.name, place, findings=(Finding(place.name, "unrecognised", place, error.brief),)
        )
    return _Patient(place, files, png_spacing, sequence, ready).judged()


class _Patient:
    """One patient while it is looked at."""

    def __init__(
        self,
        place: Path,
        files: PatientFiles,
        png_spacing: tuple[float, float, float],
        wanted: str,
        ready: Ready | None,
    ) -> None:
        self.place, self.files, self.png_spacing = place, files, png_spacing
        self.wanted, self.ready = wanted, ready
        self.needs: tuple[str, ...] = ()
        self.findings: list[Finding] = []

    def judged(self) -> CheckedPatient:
        files = self.files
        order = sorted(files.sequences, key=lambda name: (*SEQUENCES, name).index(name))
        read = {name: self._read(files.sequences[name]) for name in order}
        volumes = {name: volume for name, volume in read.items() if volume is not None}
        first = next(iter(volumes.values()), None)
        for note in files.notes:
            if code_of(note) is None and files.kind == "dicom":
                self._find("series", self.place, note)
        self._report(files.notes, self.place, "result")
        if files.mask is None:
            self._look_for_a_mask(first)
        scan = None
        for name, volume in volumes.items():
            clean = self._judge_scan(name, files.sequences[name], volume, first)
            scan = clean if volume is first else scan
            if clean is not None and name == (self.wanted if self.wanted in volumes else order[0]):
                self._judge_readiness(name, files.sequences[name], clean, volume.grid)
        mask, lesion, labelled = None, None, files.mask is not None
        if files.mask is not None and (mask := self._read(files.mask)) is not None:
            self._judge_header(files.mask, mask)
            mask = self._meant(mask, files.mask)
            lesion = self._lesion(mask, files.mask)
            if first is not None and (mask := self._placed_mask(mask, first)) is None:
                lesion = None
            elif lesion is not None and mask is not None and mask.numbers:
                lesion = mask.data > 0
            if lesion is not None and first is not None and scan is not None and mask is not None:
                labelled = self._judge_place(mask, files.mask, first.grid, scan)
                lesion = lesion if labelled else None
        grid = None if mask is None else mask.grid
        if grid is not None and first is not None and voxel_for_voxel(grid, first.grid):
            grid = first.grid
        voxel = 0.0 if grid is None else float(np.prod(grid.spacing))
        return CheckedPatient(
            files.name,
            self.place,
            files.kind,
            {name: _described(files.sequences[name], volume) for name, volume in volumes.items()},
            None if mask is None or files.mask is None else _described(files.mask, mask),
            labelled,
            None if lesion is None else int(np.count_nonzero(lesion)) * voxel / 1000,
            () if lesion is None or mask is None else _labels(mask.data),
            tuple(name for name in order if name not in volumes),
            self.needs,
            tuple(self.findings),
        )

    def _find(self, code: Code, file: Path, sentence: str) -> None:
        self.findings.append(Finding(self.files.name, code, file, sentence))

    def _report(self, notes: Iterable[str], file: Path, *codes: NoteCode) -> None:
        """Find the notes that are findings: of some kinds, or of all."""
        for note in notes:
            if isinstance(note, Note) and note.kind.check and (not codes or note.code in codes):
                self._find(cast("Code", note.code), file, note.finding)

    def _look_for_a_mask(self, scan: Volume | None) -> None:
        for file, why in overlooked(self.files, scan):
            said = f"there is no lesion mask, but {file.name} may be one: {why}; call it seg, or name it with --mask"
            self._find("mask-name", file, said)
        self._report(self.files.notes, self.place, "mask-name")

    def _placed_mask(self, mask: Volume, scan: Volume) -> Volume | None:
        """Place the numbered slices of a mask in the scan; None if they have no place."""
        file = self.files.mask
        assert file is not None
        try:
            whole = placed(mask, scan, file.name)
        except PatientError as error:
            self._find("mask-place", file, error.brief)
            return None
        if whole is not mask:
            self._report(whole.warnings, file, "slice-gap")
        return whole

    def _read(self, file: Path) -> Volume | None:
        try:
            volume = read_place(file, "left", self.png_spacing)
            if file != self.files.mask:
                check_gaps(volume.numbers, file)
            self._report(volume.warnings, file, "unrecognised")
            return volume
        except PatientError as error:
            gap = "slices are missing" in error.reason
            self._find("slice-gap" if gap else "unreadable", file, error.brief)
            return None

    def _judge_header(self, file: Path, volume: Volume) -> None:
        """Find the reader's assumptions about a file's header."""
        if is_pictures(file):
            return
        if not volume.grid.has_orientation and file != self.files.mask:
            self._find("orientation", file, NO_ORIENTATION)
        for note in volume.warnings:
            if not isinstance(note, Note):  # from a format of another package
                note = Note("affine", note.removeprefix(f"{file.name}: "))
            if note.code != "orientation":
                self._report((note,), file)

    def _judge_scan(
        self, name: str, file: Path, volume: Volume, first: Volume | None
    ) -> NDArray[np.float32] | None:
        """Return the scan with a background of 0; None if it cannot be used."""
        self._judge_header(file, volume)
        try:
            clean, notes = clean_intensities(volume.data, file.name)
        except PatientError as error:
            self._find("intensities", file, error.brief)
            return None
        self._report(notes, file)
        occupied = np.flatnonzero(clean.any(axis=(1, 2)))
        empty = np.setdiff1d(np.arange(occupied[0], occupied[-1] + 1), occupied)
        if empty.size:
            self._find(
                "slice-gap",
                file,
                f"{empty.size} slices in the middle of the scan are empty, the first is number {empty[0]}",
            )
        if first is not None and first is not volume:
            try:
                whole = placed(volume, first, file.name)
            except PatientError as error:
                self._find("shape", file, error.brief)
                return None
            self._judge_grid(f"the {name} scan", file, whole.grid, first.grid)
        return clean

    def _judge_readiness(self, name: str, file: Path, scan: NDArray[np.float32], grid: Grid) -> None:
        if self.ready is None:
            return
        found = self.ready(file, name, scan, grid)
        self.needs = tuple(found.needs)
        for sentence in found.findings:
            self._find("preparation", file, sentence)

    def _judge_grid(self, what: str, file: Path, grid: Grid, wanted: Grid) -> None:
        if grid.matches(wanted):
            return
        if grid.has_orientation and (doubt := voxel_for_voxel(grid, wanted)):
            self._find(
                "affine",
                file,
                f"{what} is taken voxel for voxel: {doubt}; save it with the affine of the scan",
            )
            return
        shapes, spacings = grid.canonical_shape != wanted.canonical_shape, not _same_spacing(grid, wanted)
        if shapes:
            self._find(
                "shape",
                file,
                f"{what} has {_times(grid.canonical_shape)} voxels, the first sequence "
                f"{_times(wanted.canonical_shape)}; it is resampled",
            )
        if spacings:
            self._find(
                "spacing",
                file,
                f"{what} has voxels of {_times(grid.spacing)} mm, the first sequence {_times(wanted.spacing)} mm; "
                "it is resampled",
            )
        if not (shapes or spacings):
            shift = float(np.linalg.norm(_centre(grid) - _centre(wanted)))
            turned = "" if grid.axcodes == wanted.axcodes else f", {grid.axcodes} instead of {wanted.axcodes}"
            self._find(
                "affine",
                file,
                f"{what} lies elsewhere than the first sequence: its centre is {shift:.1f} mm away{turned}; it is "
                "resampled, so check that both show the same place",
            )

    def _meant(self, mask: Volume, file: Path) -> Volume:
        """Return the mask with 1 for what the layout calls lesion; labels without a layout stay."""
        if not (self.files.lesion_labels or self.files.ignored_labels):
            return mask
        try:
            return split_labels(mask, self.files.lesion_labels, self.files.ignored_labels, file)[0]
        except MaskError as error:
            self._find("mask-values", file, error.brief)
            return mask

    def _lesion(self, mask: Volume, file: Path) -> NDArray[np.bool_] | None:
        try:
            return clean_mask(mask.data, str(file))[0]
        except MaskError as error:
            self._find("mask-values", file, error.brief)
            return None

    def _judge_place(self, mask: Volume, file: Path, grid: Grid, scan: NDArray[np.float32]) -> bool:
        """Return whether the patient is labelled: whether the mask can be of lesions."""
        if mask.grid.has_orientation or mask.grid.shape != grid.shape:
            self._judge_grid("the lesion mask", file, mask.grid, grid)
        try:
            lesion, notes = place_mask(mask, grid, scan, file)
        except MaskError as error:
            self._find("mask-place", file, error.brief)
            return True
        if doubt := unlike_lesions(lesion, scan):
            self._report([not_used(file, doubt)], file)
            return False
        self._report(notes, file, "mask-place", "lesions-lost")
        return True


def _strays(top: Path, patients: Sequence[Path]) -> Iterator[CheckedPatient]:
    """Give the folders that hold scans and are no patient: they would be passed over without a word."""
    known = {place.resolve() for place in patients}
    known |= {place.resolve().parent for place in patients if not place.exists()}  # cases of one folder
    for folder, children, names in folders_below(top):
        if folder.resolve() in known:
            children.clear()
            continue
        if is_labels_folder(folder):
            continue
        images = [folder / name for name in names if is_image(name)]
        # Results under names of ours are at home; under the name of a scan somebody takes them for one.
        if all(kind_of(image) and read_name(image).role not in SEQUENCES for image in images):
            continue
        if folder.name.lower() in MASK_FOLDERS and all(read_name(image).role == MASK for image in images):
            continue
        try:
            find_files(folder)
        except PatientError as error:
            finding = Finding(folder.name, "unrecognised", folder, error.brief)
            yield CheckedPatient(folder.name, folder, findings=(finding,))


def _described(file: Path, volume: Volume) -> CheckedVolume:
    grid = volume.grid
    return CheckedVolume(file, grid.canonical_shape, grid.spacing, grid.axcodes)


def _labels(data: NDArray[Any]) -> tuple[int, ...]:
    return tuple(int(value) for value in np.unique(data[data > 0]))


def _same_spacing(one: Grid, other: Grid) -> bool:
    return bool(np.allclose(one.spacing, other.spacing, rtol=0.01))


def _centre(grid: Grid) -> NDArray[np.float64]:
    middle = (np.array(grid.shape) - 1) / 2
    return np.asarray(grid.affine[:3, :3] @ middle + grid.affine[:3, 3])


def _times(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in np.round(values[::-1], 3))
