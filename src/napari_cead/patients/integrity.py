"""Checking a cohort before hours of work: missing, unreadable and inconsistent files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import PatientError
from ..progress import Progress, Stop, in_threads, tell
from .aliases import MASK, MASK_FOLDERS, SEQUENCES, read_name
from .cases import PatientFiles
from .datasets import Layout
from .findings import CODES, Finding
from .formats import PNG_SPACING, is_image
from .judging import Judged, judge
from .layouts import all_patients, find_files, find_patients, folders_below
from .marks import kind_of
from .nnunet import is_labels_folder
from .places import is_zip
from .volume import Volume

Ready = Callable[[Judged], tuple[Sequence[str], Sequence[str]]]
"""Returns what a scan has that has to go before a run, and what speaks against that, each in one clause."""

USUAL = 0.5
"""A sequence that more than this share of the patients have is missed where it is not."""

_PATIENTS = 4  # in memory at once


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
    direction) than the wanted sequence; headers without an orientation; values that are NaN or infinite;
    masks that are images, or of several labels, or lie outside the brain; slices that are missing or empty in the
    middle of the brain; DICOM series of which something had to be assumed or left out; and two patients of one name.
    A patient without a mask is unlabelled: counted, no finding.

    Args:
        cohort: Folder whose descendants are patients, or one patient.
        sequence: A sequence that every patient has to have; None: those that most have.
        layout: Layout of the cohort; None: names are read as they are.
        png_spacing: (z, y, x) in mm of PNG slices.
        ready: Asked about the files of each patient whose wanted scan can be used.
        on_progress: Called with (patients done, total patients).
        should_stop: Called between patients.

    Raises:
        PatientError: If there is neither a patient nor anything that might be one.
        Cancelled: If ``should_stop`` returned true.
    """
    top = Path(cohort).expanduser()
    laid_out = {} if layout is None else {one.path: one.files for one in layout.patients(top)}
    strays: list[CheckedPatient] = []
    places = list(laid_out) or list(find_patients(top)) or [top] * (top.is_file() and not is_zip(top))
    if not (top.is_file() or laid_out):
        strays = list(_strays(top, places))
    if not (places or strays):
        places = all_patients(top)  # says what is wrong
    patients: list[CheckedPatient] = []

    def look(place: Path) -> CheckedPatient:
        return _check(place, sequence or "flair", png_spacing, ready, laid_out.get(place))

    for patient in in_threads(look, places, _PATIENTS, should_stop):
        patients.append(patient)
        tell(on_progress, len(patients), len(places))
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
        finding = Finding(place.name, "unrecognised", place, error.brief, "error")
        return CheckedPatient(place.name, place, findings=(finding,))
    judged = judge(files, sequence, png_spacing=png_spacing)
    findings, mask = list(judged.findings(place)), judged.mask
    needs: tuple[str, ...] = ()
    wanted = next(iter(judged.scans.values()))
    if ready is not None and wanted.error is None:
        faults, against = ready(judged)
        needs = tuple(faults)
        findings += [Finding(files.name, "preparation", wanted.file, said, "warning") for said in against]
    labelled = mask is not None and not mask.doubt
    usable = mask if mask is not None and labelled and mask.error is None else None
    return CheckedPatient(
        files.name,
        place,
        files.kind,
        {name: _described(scan.file, scan.volume) for name, scan in judged.scans.items() if scan.volume},
        None if mask is None or mask.volume is None else _described(mask.file, mask.volume),
        labelled,
        None if usable is None else usable.millilitres,
        () if usable is None else usable.labels,
        tuple(name for name, scan in judged.scans.items() if scan.volume is None),
        needs,
        tuple(findings),
    )


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
            finding = Finding(folder.name, "unrecognised", folder, error.brief, "error")
            yield CheckedPatient(folder.name, folder, findings=(finding,))


def _described(file: Path, volume: Volume) -> CheckedVolume:
    grid = volume.grid
    return CheckedVolume(file, grid.canonical_shape, grid.spacing, grid.axcodes)
