"""Judge scans before training on them: their content, their usable part, and their problems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import MaskError, PatientError
from ..patients import Patient, is_pictures, within_brain
from ..patients.aliases import LESION, words_of
from ..patients.bias_field import LEAST_SLICES as LEAST_TO_EVEN
from ..patients.brain import brain_mask
from ..patients.findings import NO_ORIENTATION, Note
from ..patients.lesion_masks import FOLLOWS, MOST_OUTSIDE, NO_LESIONS, outside, unlike_lesions
from ..patients.loading import read_files
from ..progress import Stop, check_stop
from ..slices import FAMILY, SliceStack, guess_contrast, slice_stack, unevenness
from ..wording import counted
from .duplicate_scans import alike, signature
from .index import StoreSettings
from .scans import ScanSource

WarningCode = Literal[
    "unreadable",
    "skull",
    "background",
    "contrast",
    "duplicate",
    "lesion-mask",
    "lesion-mask-unusable",
    "brain-mask",
    "brain-mask-unusable",
    "few-slices",
    "no-slices",
    "spacing",
    "orientation",
    "uneven",
    "note",
]

_NEVER: frozenset[WarningCode] = frozenset(
    ("unreadable", "skull", "background", "no-slices", "lesion-mask-unusable")
)
FEW_SLICES = 10
"""A volume with fewer usable slices is worth a warning."""
THUMBNAIL = 96
"""Longest side of a thumbnail in pixels."""

_MEND_SKULL = "strip it, or give a brain mask"
_FEW_KEPT = 0.1  # a brain is a larger share of a head with its background of noise
_VOXEL = (0.2, 8.0)  # mm
_BRAIN = (80.0, 280.0)  # mm, front to back in the fullest slice, with the scalp
_WORKERS = 3  # volumes in memory at once
_LOOK = 0.1  # seconds between two calls of should_stop


@dataclass(frozen=True)
class ScanWarning:
    """A warning about a scan.

    Attributes:
        code: Its code.
        sentence: Its text for the user.
        blocking: Whether the scan is left out unless the user decides otherwise.
    """

    code: WarningCode
    sentence: str
    blocking: bool = False


@dataclass(frozen=True, eq=False)
class ScanReport:
    """The content of a scan, and whether it is fit for training.

    Attributes:
        source: Its location; a brain mask that was named like a lesion mask, or an unusable mask, is corrected here.
        shape: (Z, Y, X); (0, 0, 0) if it cannot be read.
        spacing: (z, y, x) in mm.
        slices: Number of slices for training: enough brain, no lesion.
        thumbnail: (H, W) uint8 of the fullest slice, radiological view; (0, 0) if it cannot be read.
        warnings: The warnings.
        signature: Coarse picture for finding duplicates.
        given: The original source, None if nothing was corrected.
    """

    source: ScanSource
    shape: tuple[int, int, int] = (0, 0, 0)
    spacing: tuple[float, float, float] = (0.0, 0.0, 0.0)
    slices: int = 0
    thumbnail: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.uint8))
    warnings: tuple[ScanWarning, ...] = ()
    signature: NDArray[np.float32] | None = field(default=None, repr=False)
    given: ScanSource | None = None

    @property
    def again(self) -> ScanSource:
        """The scan to judge again: with the unusable masks, so that they are found again."""
        codes = {warning.code for warning in self.warnings}
        source = self.source
        if self.given is not None and "lesion-mask-unusable" in codes:
            source = replace(source, lesion_mask=self.given.lesion_mask)
        if self.given is not None and "brain-mask-unusable" in codes:
            source = replace(source, brain_mask=self.given.brain_mask)
        return source

    @property
    def usable(self) -> bool:
        """Whether nothing blocks training on it: ticked by default."""
        return not any(warning.blocking for warning in self.warnings)

    @property
    def choosable(self) -> bool:
        """Whether the user may choose it anyway: a skull, or lesions without a mask, are never learnt."""
        return bool(self.slices) and not any(warning.code in _NEVER for warning in self.warnings)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return the reasons why it is not usable."""
        return tuple(warning.sentence for warning in self.warnings if warning.blocking)


def inspect(
    source: ScanSource,
    *,
    sequence: str = "flair",
    known: Sequence[ScanReport] = (),
    settings: StoreSettings | None = None,
) -> ScanReport:
    """Read one scan and judge it. Every problem is a warning, never an exception.

    Args:
        source: The scan.
        sequence: The model's sequence.
        known: Earlier reports to find duplicates among.
        settings: Settings for preparing slices; None: the default.
    """
    how = settings or StoreSettings(sequence=sequence)
    notes: list[ScanWarning] = []
    given = source
    try:
        source, patient = _read(source, how, notes)
        stack = slice_stack(patient, scaling=how.intensity, model_spacing=how.spacing, size=how.image_size)
        if (swapped := _brain_mask_in_disguise(source, patient, notes)) is not None:
            source, patient = _read(swapped, how, notes)
            stack = slice_stack(
                patient, scaling=how.intensity, model_spacing=how.spacing, size=how.image_size
            )
    except PatientError as error:
        return ScanReport(source, warnings=(ScanWarning("unreadable", _brief(error, source), True),))
    usable = stack.brain_shares >= how.min_brain
    if patient.lesion_mask is not None:
        usable &= ~np.asarray(patient.lesion_mask.any(axis=(1, 2)))[stack.occupied]
    count = int(usable.sum())
    scan = _Seen(source, patient, stack, count)
    notes += [warning for check in CHECKS for warning in check(scan)]
    report = ScanReport(
        source,
        patient.shape,
        patient.spacing,
        count,
        _thumbnail(stack),
        tuple(notes),
        signature(stack.scaled, stack.brain),
        given,
    )
    return _compared(report, known)


def inspect_all(
    sources: Iterable[ScanSource],
    on_report: Callable[[ScanReport], None] | None = None,
    should_stop: Stop | None = None,
    *,
    sequence: str = "flair",
    known: Sequence[ScanReport] = (),
    settings: StoreSettings | None = None,
    workers: int = _WORKERS,
) -> list[ScanReport]:
    """Judge many scans, several at a time; the first of two similar ones is the original.

    Args:
        sources: The scans.
        on_report: Called with every report, in the order of the scans, from this thread.
        should_stop: Called ten times a second.
        sequence: The model's sequence.
        known: See :func:`inspect`.
        settings: See :func:`inspect`.
        workers: Scans in memory at once.

    Raises:
        Cancelled: If ``should_stop`` returned true.
    """
    reports: list[ScanReport] = []
    waiting = list(sources)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        tasks = [pool.submit(inspect, source, sequence=sequence, settings=settings) for source in waiting]
        try:
            for task in tasks:
                report = _compared(_wait(task, should_stop), [*known, *reports])
                reports.append(report)
                if on_report is not None:
                    on_report(report)
        finally:
            for task in tasks:
                task.cancel()
    return reports


def _wait(task: Future[ScanReport], should_stop: Stop | None) -> ScanReport:
    while True:
        check_stop(should_stop)
        try:
            return task.result(timeout=_LOOK)
        except NotYet:
            if task.done():
                raise


def _brief(error: PatientError, source: ScanSource) -> str:
    """Return an error without the path of the scan, which is known; other files are named."""
    file = Path(error.file) if error.file else source.scan
    where = "" if file == source.scan else f"{file.name}: "
    return where + error.brief


def _read(source: ScanSource, how: StoreSettings, notes: list[ScanWarning]) -> tuple[ScanSource, Patient]:
    """Read a scan with its masks; an unusable mask is left out and reported."""
    options: dict[str, Any] = {
        "png_first_column": how.png_first_column,
        "png_spacing": how.png_spacing,
        "trust_mask": True,  # judged below, including other kinds of masks
    }
    try:
        patient = read_files(source.files(how.sequence), how.sequence, source.scan, **options)
    except MaskError as error:
        notes.append(ScanWarning("lesion-mask-unusable", _brief(error, source), True))
        source = replace(source, lesion_mask=None)
        patient = read_files(source.files(how.sequence), how.sequence, source.scan, **options)
    if source.brain_mask is not None:
        try:
            whole = patient
            patient = within_brain(patient, source.brain_mask, png_first_column=how.png_first_column)
            notes.append(ScanWarning("brain-mask", _about_mask(source.brain_mask, whole, patient)))
        except PatientError as error:
            notes.append(ScanWarning("brain-mask-unusable", _brief(error, source)))
            source = replace(source, brain_mask=None)
    return source, patient


def _about_mask(file: Path, whole: Patient, inside: Patient) -> str:
    """Describe the brain mask of a scan, and any sign that it belongs to another scan."""
    before, after = (np.count_nonzero(patient.volume()) for patient in (whole, inside))
    text = f"brain mask {file.name}"
    if len(inside.warnings) > len(whole.warnings):
        text += ", which lies on another grid"
    return text + (f", keeps only {after / before:.0%} of the scan" if after < _FEW_KEPT * before else "")


def _brain_mask_in_disguise(
    source: ScanSource, patient: Patient, notes: list[ScanWarning]
) -> ScanSource | None:
    """Return the corrected source if a mask named like a lesion mask covers the brain: ``scan_mask.nii.gz``."""
    if patient.lesion_mask is None or source.lesion_mask is None:
        return None
    if not (doubt := unlike_lesions(patient.lesion_mask, patient.volume())):
        return None
    file = source.lesion_mask.name
    if "mask" in file.lower() and source.brain_mask is None and _of_the_brain(source.lesion_mask, patient):
        notes.append(ScanWarning("note", f"{file} {doubt}, so it is taken as a brain mask"))
        return replace(source, lesion_mask=None, brain_mask=source.lesion_mask)
    sentence = f"{file} {doubt}: {NO_LESIONS}"
    notes.append(ScanWarning("lesion-mask-unusable", sentence, True))
    return None


def _of_the_brain(mask: Path, patient: Patient) -> bool:
    """Whether a mask that is not of lesions can be of the brain: nothing else inside it may be learnt as healthy."""
    lesion, scan = patient.lesion_mask, patient.volume()
    of_lesions = LESION & set(words_of(mask)) or "lesion" in mask.name.lower()
    if lesion is None or of_lesions or outside(lesion, scan) > MOST_OUTSIDE:
        return False
    head = np.count_nonzero(brain_mask(scan))  # with the scalp, which a brain mask leaves out
    return bool(unlike_lesions(lesion, scan).startswith(FOLLOWS) or 2 * np.count_nonzero(lesion) > head)


class _Seen(NamedTuple):
    """A scan that was read."""

    source: ScanSource
    patient: Patient
    stack: SliceStack
    slices: int

    @property
    def brain_alone(self) -> bool:
        """Whether its values are those of the brain alone."""
        return self.source.brain_mask is not None or self.stack.skull.brain_only


def _skull(seen: _Seen) -> Iterator[ScanWarning]:
    if not seen.brain_alone:
        code: WarningCode = "background" if seen.stack.skull.stripped else "skull"
        yield ScanWarning(code, f"{seen.stack.skull.sentence}; {_MEND_SKULL}", True)


def _evenness(seen: _Seen) -> Iterator[ScanWarning]:
    brain = seen.stack.brain
    if not seen.brain_alone or len(brain) < LEAST_TO_EVEN:
        return
    if why := unevenness(np.maximum(seen.patient.volume(), 0), brain):
        yield ScanWarning("uneven", why)


def _notes(seen: _Seen) -> Iterator[ScanWarning]:
    for note in seen.patient.warnings:
        if isinstance(note, Note) and note.kind.train:
            yield ScanWarning("note", note)


def _contrast(seen: _Seen) -> Iterator[ScanWarning]:
    wanted, told = seen.patient.sequence, seen.source.sequence
    if told is not None and told != wanted:
        yield ScanWarning("contrast", f"the name says {told}, the model takes {wanted}", True)
        return
    if not seen.brain_alone:
        return  # the intensities include the scalp
    found = guess_contrast(seen.patient.volume(), seen.stack.brain, seen.patient.spacing)
    if found is not None and found != FAMILY[wanted]:
        sentence = f"the intensities look like {found.upper()}, the model takes {wanted}"
        # If the name agrees with the model, it is more often right than a guess from grey values.
        name = "" if told is None else f", as its name says {told} it is taken all the same"
        yield ScanWarning("contrast", sentence + name, told is None)


def _lesions(seen: _Seen) -> Iterator[ScanWarning]:
    mask = seen.patient.lesion_mask
    if mask is not None:
        lesions = int(mask.any(axis=(1, 2)).sum())
        yield ScanWarning(
            "lesion-mask",
            f"has a lesion mask: {counted(lesions, 'slice')} with lesion {'is' if lesions == 1 else 'are'} left out",
        )


def _slices(seen: _Seen) -> Iterator[ScanWarning]:
    if seen.slices == 0:
        yield ScanWarning("no-slices", "no slice has enough brain and no lesion", True)
    elif seen.slices < FEW_SLICES and seen.patient.shape[0] > 1:
        yield ScanWarning("few-slices", f"only {counted(seen.slices, 'slice')} can be used")


def _orientation(seen: _Seen) -> Iterator[ScanWarning]:
    if any(map(is_pictures, seen.patient.files.values())):
        yield ScanWarning("orientation", seen.patient.warnings[0])
    elif not seen.patient.grid.has_orientation:
        yield ScanWarning("orientation", NO_ORIENTATION)


def _size(seen: _Seen) -> Iterator[ScanWarning]:
    z, y, x = seen.patient.spacing
    fullest = seen.stack.brain[int(seen.stack.brain.sum(axis=(1, 2)).argmax())]
    length = float(np.ptp(np.flatnonzero(fullest.any(axis=1))) + 1) * y
    if not all(_VOXEL[0] <= size <= _VOXEL[1] for size in (z, y, x)):
        yield ScanWarning("spacing", f"odd voxel size {x:.3g} x {y:.3g} x {z:.3g} mm")
    elif not _BRAIN[0] <= length <= _BRAIN[1]:
        yield ScanWarning(
            "spacing", f"odd size: {length:.0f} mm from front to back with voxels of {y:.3g} mm"
        )
    reason = seen.stack.geometry.reason
    if reason and reason.startswith("the brain is larger"):
        yield ScanWarning("spacing", reason)


CHECKS = (_skull, _evenness, _notes, _contrast, _lesions, _slices, _orientation, _size)
"""Each gives the warnings of one kind, in the order in which people read them."""


def _compared(report: ScanReport, known: Sequence[ScanReport]) -> ScanReport:
    if report.signature is None or any(warning.code == "duplicate" for warning in report.warnings):
        return report
    for other in known:
        if other.signature is not None and alike(report.signature, other.signature):
            warning = ScanWarning("duplicate", f"the same scan as {other.source.name}", True)
            return replace(report, warnings=(*report.warnings, warning))
    return report


def _thumbnail(stack: SliceStack) -> NDArray[np.uint8]:
    fullest = int(stack.brain.sum(axis=(1, 2)).argmax())
    image = stack.images[fullest]
    side = min(THUMBNAIL, image.shape[0])
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(np.rint(np.clip(small, 0, 1) * 255), dtype=np.uint8)
