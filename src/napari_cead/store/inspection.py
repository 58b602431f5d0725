"""Judge scans before training on them: their content, their usable part, and their problems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import PatientError
from ..patients import Patient, is_pictures, within_brain
from ..patients.aliases import LESION, words_of
from ..patients.brain import brain_mask
from ..patients.findings import NO_ORIENTATION, Code, Finding, Note, Severity
from ..patients.judging import judge
from ..patients.lesion_masks import FOLLOWS, MOST_OUTSIDE, NO_LESIONS, outside, unlike_lesions
from ..progress import Stop, in_threads
from ..slices import FAMILY, SliceStack, slice_stack
from ..wording import counted
from .duplicate_scans import alike, signature
from .index import StoreSettings
from .scans import ScanSource

FEW_SLICES = 10
"""A volume with fewer usable slices is worth a warning."""
THUMBNAIL = 96
"""Longest side of a thumbnail in pixels."""

_MEND_SKULL = "strip it, or give a brain mask"
_FEW_KEPT = 0.1  # a brain is a larger share of a head with its background of noise
_VOXEL = (0.2, 8.0)  # mm
_BRAIN = (80.0, 280.0)  # mm, front to back in the fullest slice, with the scalp
_WORKERS = 3  # volumes in memory at once


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
    warnings: tuple[Finding, ...] = ()
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
        return bool(self.slices) and not any(warning.severity == "error" for warning in self.warnings)

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
    try:
        scan = _Scan(source, how)
    except PatientError as error:
        finding = Finding(source.name, "unreadable", source.scan, _brief(error, source), "error")
        return ScanReport(source, warnings=(finding,))
    patient, stack = scan.patient, scan.stack
    report = ScanReport(
        scan.source,
        patient.shape,
        patient.spacing,
        scan.slices,
        _thumbnail(stack),
        tuple(scan.findings),
        signature(stack.scaled, stack.brain),
        source,
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

    def look(source: ScanSource) -> ScanReport:
        return inspect(source, sequence=sequence, settings=settings)

    for seen in in_threads(look, sources, workers, should_stop):
        reports.append(_compared(seen, [*known, *reports]))
        if on_report is not None:
            on_report(reports[-1])
    return reports


def _brief(error: PatientError, source: ScanSource) -> str:
    """Return an error without the path of the scan, which is known; other files are named."""
    file = Path(error.file) if error.file else source.scan
    where = "" if file == source.scan else f"{file.name}: "
    return where + error.brief


class _Scan:
    """A scan while it is judged.

    Args:
        source: The scan.
        how: Settings for preparing slices.

    Attributes:
        source: The scan with the masks that are used.
        patient: It, as read.
        stack: Its slices.
        slices: Number of slices for training.
        findings: What was found, in the order in which people read it.

    Raises:
        PatientError: If it cannot be used.
    """

    def __init__(self, source: ScanSource, how: StoreSettings) -> None:
        self.source, self._how = source, how
        self._place, self._told = source.scan, source.sequence
        self.findings: list[Finding] = []
        judged = judge(
            source.files(how.sequence),
            how.sequence,
            png_first_column=how.png_first_column,
            png_spacing=how.png_spacing,
        )
        bad = None if judged.mask is None else judged.mask.error
        self.patient: Patient = judged.patient(trust_mask=True, use_mask=bad is None)
        if bad is not None:
            self._tell("lesion-mask-unusable", _brief(bad, source), "error")
            self.source = replace(self.source, lesion_mask=None)
        if source.brain_mask is not None:
            self._strip(source.brain_mask)
        self._judge_lesion_mask()
        self.stack: SliceStack = slice_stack(
            self.patient, scaling=how.intensity, model_spacing=how.spacing, size=how.image_size
        )
        lesion = self.patient.lesion_mask
        usable = self.stack.brain_shares >= how.min_brain
        if lesion is not None:
            usable &= ~np.asarray(lesion.any(axis=(1, 2)))[self.stack.occupied]
        self.slices = int(usable.sum())
        self._judge_voxels()
        for note in self.patient.warnings:
            if isinstance(note, Note) and note.kind.train:
                self._tell(note.code, note)
        self._judge_contrast()
        self._judge_slices()
        self._judge_size()

    def _tell(self, code: Code, said: str, severity: Severity = "note", **values: Any) -> None:
        self.findings.append(Finding(self.source.name, code, self._place, said, severity, values))

    def _strip(self, file: Path) -> None:
        """Keep the brain alone, by its mask; an unusable mask is left out and reported."""
        whole = self.patient
        try:
            self.patient = within_brain(whole, file, png_first_column=self._how.png_first_column)
        except PatientError as error:
            self._tell("brain-mask-unusable", _brief(error, self.source))
            self.source = replace(self.source, brain_mask=None)
            return
        self.source = replace(self.source, brain_mask=file)
        before, after = (np.count_nonzero(patient.volume()) for patient in (whole, self.patient))
        text = f"brain mask {file.name}"
        if len(self.patient.warnings) > len(whole.warnings):
            text += ", which lies on another grid"
        few = f", keeps only {after / before:.0%} of the scan" if after < _FEW_KEPT * before else ""
        self._tell("brain-mask", text + few, share=after / before)

    def _judge_lesion_mask(self) -> None:
        """Take a mask named like a lesion mask that covers the brain for a brain mask: ``scan_mask.nii.gz``."""
        lesion, file = self.patient.lesion_mask, self.source.lesion_mask
        if lesion is None or file is None or not (doubt := unlike_lesions(lesion, self.patient.volume())):
            return
        if (
            "mask" in file.name.lower()
            and self.source.brain_mask is None
            and _of_the_brain(file, self.patient)
        ):
            self._tell("brain-mask", f"{file.name} {doubt}, so it is taken as a brain mask")
            self.source = replace(self.source, lesion_mask=None)
            self.patient = self.patient.with_lesion_mask(None)
            self._strip(file)
        else:
            self._tell("lesion-mask-unusable", f"{file.name} {doubt}: {NO_LESIONS}", "error")

    @property
    def _brain_alone(self) -> bool:
        """Whether its values are those of the brain alone."""
        return self.source.brain_mask is not None or self.stack.skull.brain_only

    def _judge_voxels(self) -> None:
        skull = self.stack.skull
        if not self._brain_alone:
            code: Code = "background" if skull.stripped else "skull"
            said = f"{skull.sentence}; {_MEND_SKULL}"
            self._tell(code, said, "error", gaps=skull.score, filled_border=skull.filled_border)
        elif self.stack.uneven:
            self._tell("uneven", self.stack.uneven)

    def _judge_contrast(self) -> None:
        wanted, told = self.patient.sequence, self._told
        if told is not None and told != wanted:
            self._tell("contrast", f"the name says {told}, the model takes {wanted}", "warning")
            return
        figures = self.stack.contrast if self._brain_alone else None
        if figures is None or figures.guess in (None, FAMILY[wanted]):
            return
        said = f"the intensities look like {str(figures.guess).upper()}, the model takes {wanted}"
        # If the name agrees with the model, it is more often right than a guess from grey values.
        if told is not None:
            said += f", as its name says {told} it is taken all the same"
        severity: Severity = "warning" if told is None else "note"
        self._tell("contrast", said, severity, skewness=figures.skewness, rim=figures.rim)

    def _judge_slices(self) -> None:
        patient, mask = self.patient, self.patient.lesion_mask
        if mask is not None:
            lesions = int(mask.any(axis=(1, 2)).sum())
            left_out = f"{'is' if lesions == 1 else 'are'} left out"
            self._tell(
                "lesion-mask", f"has a lesion mask: {counted(lesions, 'slice')} with lesion {left_out}"
            )
        if self.slices == 0:
            self._tell("no-slices", "no slice has enough brain and no lesion", "error")
        elif self.slices < FEW_SLICES and patient.shape[0] > 1:
            self._tell("few-slices", f"only {counted(self.slices, 'slice')} can be used")
        if any(map(is_pictures, patient.files.values())):
            self._tell("orientation", patient.warnings[0])
        elif not patient.grid.has_orientation:
            self._tell("orientation", NO_ORIENTATION)

    def _judge_size(self) -> None:
        z, y, x = self.patient.spacing
        fullest = self.stack.brain[_fullest(self.stack)]
        length = float(np.ptp(np.flatnonzero(fullest.any(axis=1))) + 1) * y
        if not all(_VOXEL[0] <= size <= _VOXEL[1] for size in (z, y, x)):
            self._tell("spacing", f"odd voxel size {x:.3g} x {y:.3g} x {z:.3g} mm")
        elif not _BRAIN[0] <= length <= _BRAIN[1]:
            said = f"odd size: {length:.0f} mm from front to back with voxels of {y:.3g} mm"
            self._tell("spacing", said, length_mm=length)
        reason = self.stack.geometry.reason
        if reason and reason.startswith("the brain is larger"):
            self._tell("spacing", reason)


def _of_the_brain(mask: Path, patient: Patient) -> bool:
    """Whether a mask that is not of lesions can be of the brain: nothing else inside it may be learnt as healthy."""
    lesion, scan = patient.lesion_mask, patient.volume()
    of_lesions = LESION & set(words_of(mask)) or "lesion" in mask.name.lower()
    if lesion is None or of_lesions or outside(lesion, scan) > MOST_OUTSIDE:
        return False
    head = np.count_nonzero(brain_mask(scan))  # with the scalp, which a brain mask leaves out
    return bool(unlike_lesions(lesion, scan).startswith(FOLLOWS) or 2 * np.count_nonzero(lesion) > head)


def _compared(report: ScanReport, known: Sequence[ScanReport]) -> ScanReport:
    if report.signature is None or any(warning.code == "duplicate" for warning in report.warnings):
        return report
    for other in known:
        if other.signature is not None and alike(report.signature, other.signature):
            said = f"the same scan as {other.source.name}"
            finding = Finding(report.source.name, "duplicate", report.source.scan, said, "warning")
            return replace(report, warnings=(*report.warnings, finding))
    return report


def _thumbnail(stack: SliceStack) -> NDArray[np.uint8]:
    image = stack.images[_fullest(stack)]
    side = min(THUMBNAIL, image.shape[0])
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(np.rint(np.clip(small, 0, 1) * 255), dtype=np.uint8)


def _fullest(stack: SliceStack) -> int:
    return int(stack.brain.sum(axis=(1, 2)).argmax())
