"""From a cohort on disk to a slice store, one patient at a time, and updated when the cohort changes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import CeadWarning, ParameterError, PatientError, SplitError, StoreError
from ..json_files import wrong_values
from ..patients import PNG_SPACING, PatientFiles
from ..patients.datasets import Layout, find_layout
from ..patients.findings import refused_mask
from ..patients.formats import Side
from ..patients.lesion_masks import FOLLOWS
from ..patients.loading import read_files
from ..progress import Progress, Stop, check_stop, tell
from ..slices import IntensityScaling, slice_marks, slice_stack
from ..wording import counted
from .folder import check_folder, clear, locked
from .index import (
    HEALTHY,
    INDEX_FILE,
    LESION,
    OTHER_STORE,
    READING,
    UNLABELLED,
    ScanListSummary,
    SkippedPatient,
    Split,
    SplitKind,
    StoredPatient,
    StoreIndex,
    StoreSettings,
    check_same_way,
    earlier_index,
    group_name,
    write_index,
)
from .parts import Part, assign_patients, assign_slices, read_split, write_split
from .scan_list import ScanList, scans_of
from .scans import ScanSource
from .sources import fingerprint, source_files, stamp, unique_names
from .store import SliceStore, read_patient, require_zarr, write_patient

SPLIT_FILE = "split.json"

_NO_MASK = "no lesion mask, and unlabelled is not healthy"
_ASSUME = "use --assume-healthy if you know that patients without a mask are healthy"
_NO_LESIONS = "rename or move that mask if it marks no lesions"
_SAY_HEALTHY = 'let the list say "healthy": true if you know it'
_NEEDS_BRAIN = "strip it, or give a brain mask in a scan list (--skull-ok takes such scans as they are)"


def prepare(
    cohort: str | Path | ScanList,
    out: str | Path,
    *,
    sequence: str | None = None,
    assume_healthy: bool = False,
    skull_ok: bool = False,
    split: str | Path = "patient",
    seed: int = 0,
    validation: float = 0.15,
    test: float = 0.15,
    min_brain: float = 0.15,
    intensity: IntensityScaling = "volume-percentile",
    spacing: tuple[float, float] = (0.94, 0.94),
    image_size: int = 196,
    png_first_column: Side = "left",
    png_spacing: tuple[float, float, float] = PNG_SPACING,
    layout: Layout | str | Path | None = None,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> SliceStore:
    """Bring a cohort onto the model grid, once, for training.

    A repeated call reads only patients that are new or whose files changed, and forgets those that were removed. After
    a stop or kill, the store is unchanged, and the next call continues from there. A patient's part never changes. One
    patient is in memory at a time.

    Args:
        cohort: Folder whose descendants are patients; or a scan list, or the JSON file of one, see
            :mod:`~napari_cead.store.scan_list`: only its scans, with its masks.
        out: Folder of the store; created if needed.
        sequence: Sequence to store; None: that of the scan list, or FLAIR.
        assume_healthy: Treat all slices of patients without a lesion mask as healthy. Otherwise such patients are
            skipped: unlabelled is not healthy. Scans that a list calls healthy do not need it.
        skull_ok: Accept scans that are not skull-stripped, or whose background is not 0, unchanged. Otherwise they are
            skipped, unless a scan list gives a brain mask.
        split: ``"patient"``: patients at random; ``"slice"``: slices at random, which leaks (a warning says so); or a
            split file, see :func:`~napari_cead.store.parts.read_split`: patients in none of its lists are skipped.
        seed: Seed of a random split.
        validation: Share of the patients that choose settings.
        test: Share of the labelled patients that are kept for the final report.
        min_brain: Smallest share of brain in a slice's pixels for use in training.
        intensity: The scaling of intensities to [0, 1].
        spacing: In-plane pixel spacing (y, x) in mm of the model grid.
        image_size: Side of the slices in pixels.
        png_first_column: Side of the patient that column 0 of PNG slices shows.
        png_spacing: (z, y, x) in mm of PNG slices.
        layout: Layout of the cohort, its name or its file (see :mod:`~napari_cead.patients.datasets`): its fixed split
            stands for ``"patient"``. None: names are read as they are.
        on_progress: Called with (patients done, patients in total).
        should_stop: Called before each patient.

    Returns:
        The store. Patients that cannot be read are in its ``skipped``, each with a warning.

    Raises:
        ParameterError: If a setting is out of its range.
        StoreError: If there are no patients or no healthy slices, the split is not possible, or ``out`` is something
            else, prepared differently, or being written by another process.
        OutputError: If the store cannot be written.
        MissingExtraError: If zarr is not installed.
        Cancelled: If ``should_stop`` returned true.
    """
    require_zarr()
    known = layout if layout is None or isinstance(layout, Layout) else find_layout(layout)
    listing = scans_of(cohort, sequence, known)
    if known is not None:
        warnings.warn(known.said, CeadWarning, stacklevel=2)
    if not (0 < validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise ParameterError(
            f"parts of {validation:g} for validation and {test:g} for test leave nothing to train on or to validate",
            hint="use shares above 0 whose sum is below 1",
        )
    with wrong_values(ParameterError, hint="see napari-cead prepare --help"):
        settings = StoreSettings(
            sequence=listing.sequence,
            intensity=intensity,
            spacing=spacing,
            image_size=image_size,
            min_brain=min_brain,
            assume_healthy=assume_healthy,
            skull_ok=skull_ok,
            png_first_column=png_first_column,
            png_spacing=png_spacing,
        )
    fixed = {scan.name: scan.part for scan in listing.scans if scan.part}
    kind: SplitKind = (
        "slice" if split == "slice" else "patient" if split == "patient" and not fixed else "file"
    )
    listed = {} if kind != "file" else fixed if split == "patient" else read_split(split)

    folder = Path(out).expanduser()
    root = Path("scan list") if isinstance(cohort, ScanList) else Path(cohort).expanduser().resolve()
    check_folder(folder)
    with locked(folder):
        old = earlier_index(folder)
        wanted = Split(
            kind=kind, seed=seed, validation=validation, test=test, parts=old.split.parts if old else {}
        )
        if old is not None:
            check_same_way(folder, old, settings, wanted)
        scans = {scan.name: scan for scan in listing.scans}
        if listing.found:
            names = unique_names(root, [scan.scan for scan in listing.scans], old)
            scans = {name: ScanSource(name, place, found=True) for name, place in names.items()}
        if unknown := sorted(set(listed) - set(scans)):
            raise SplitError(
                f"{unknown[0]} is no patient of this cohort",
                file=split,
                hint=f"use the names of the cohort, such as {min(scans)}",
            )
        work = _Preparation(folder, settings, old, wanted, listed if kind == "file" else None)
        for done, (name, scan) in enumerate(scans.items()):
            check_stop(should_stop)
            work.add(name, scan)
            tell(on_progress, done + 1, len(scans))
        return work.finish(root, listing.summary())


def _how_healthy(scan: ScanSource) -> str:
    return _ASSUME if scan.found else _SAY_HEALTHY


@dataclass(eq=False)
class _Preparation:
    """The state of one run.

    Attributes:
        folder: The store.
        settings: The settings for turning patients into slices.
        old: The result of an earlier run.
        split: The requested split, with the parts assigned so far.
        listed: Parts by a split file; None without one.
    """

    folder: Path
    settings: StoreSettings
    old: StoreIndex | None
    split: Split
    listed: dict[str, Part] | None
    patients: list[StoredPatient] = field(default_factory=list)
    skipped: list[SkippedPatient] = field(default_factory=list)
    stamps: dict[str, str] = field(default_factory=dict)
    unlabelled: int = 0
    notes: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.known = {patient.name: patient for patient in self.old.patients} if self.old else {}

    def add(self, name: str, scan: ScanSource) -> None:
        """Store a patient, or find that it is already stored, or must be left out."""
        place = scan.scan
        if self.listed is not None and name not in self.listed:
            self._skip(place, "no list of the split file names it")
            return
        try:
            files = scan.files(self.settings.sequence)
            sources = source_files(files, self.settings.sequence, place, scan.brain_mask)
            if files.mask is None and not (self.settings.assume_healthy or scan.healthy):
                self.unlabelled += 1
                self._skip(place, f"{_NO_MASK}; {_how_healthy(scan)}")
                return
            if files.mask is None and self.listed is not None and self.listed[name] == "test":
                self._skip(place, "no lesion mask, so there is nothing to test against")
                return
            stored = self._stored(name, scan, files, sources)
            self.patients.append(replace(stored, source=str(place)))
        except PatientError as error:
            self._skip(place, str(error))
            warnings.warn(f"skipped: {error}", CeadWarning, stacklevel=3)

    def _skip(self, place: Path, reason: str) -> None:
        self.skipped.append(SkippedPatient(str(place), reason))

    def _stored(
        self, name: str, scan: ScanSource, files: PatientFiles, sources: list[tuple[str, Path]]
    ) -> StoredPatient:
        healthy = scan.healthy and files.mask is None
        state, before = stamp(sources, healthy=healthy), self.known.get(name)
        unchanged = before is not None and self.old is not None and self.old.stamps.get(name) == state
        digest = (
            before.fingerprint if before is not None and unchanged else fingerprint(sources, healthy=healthy)
        )
        patient = read_patient(self.folder, self.settings, name, digest)
        if patient is None or patient.reading < READING:
            patient = self._read(name, scan, files, digest)
        self.stamps[name] = state
        return patient

    def _read(self, name: str, scan: ScanSource, files: PatientFiles, digest: str) -> StoredPatient:
        settings, place = self.settings, scan.scan
        healthy = scan.healthy and files.mask is None
        patient = read_files(
            files,
            settings.sequence,
            place,
            only=True,
            trust_mask=not scan.found,
            brain_mask=scan.brain_mask,
            png_first_column=settings.png_first_column,
            png_spacing=settings.png_spacing,
        )
        for note in patient.warnings:
            warnings.warn(note, CeadWarning, stacklevel=5)
        if patient.lesion_mask is None:
            refused = refused_mask(patient.warnings)
            reason = refused or _NO_MASK
            if refused and FOLLOWS not in refused:  # it may mark a lesion larger than any
                raise PatientError(reason, file=place, hint=_NO_LESIONS)
            if not (healthy or settings.assume_healthy):
                raise PatientError(reason, file=place, hint=_how_healthy(scan))
        stack = slice_stack(
            patient, scaling=settings.intensity, model_spacing=settings.spacing, size=settings.image_size
        )
        if not (settings.skull_ok or scan.brain_mask is not None or stack.skull.brain_only):
            raise PatientError(stack.skull.sentence, file=place, hint=_NEEDS_BRAIN)
        rows, geometry, lesion = stack.occupied, stack.geometry, patient.lesion_mask
        for note in stack.warnings:
            self.notes.setdefault(note, []).append(name)
        # Labels come from the whole patient: a lesion outside the crop still makes the slice diseased.
        ill = lesion if lesion is None or patient.ignored is None else lesion | patient.ignored
        found = None if ill is None else np.asarray(ill.any(axis=(1, 2)))[rows]
        z, y, x = patient.spacing
        stored = StoredPatient(
            name=name,
            source=str(place),
            fingerprint=digest,
            labelled=lesion is not None,
            spacing=(z, y / geometry.zoom[0], x / geometry.zoom[1]),
            numbers=tuple(rows.tolist()),
            labels=((HEALTHY if healthy else UNLABELLED),) * len(rows)
            if found is None
            else tuple((found * LESION).tolist()),
            brain=tuple(stack.brain_shares.round(6).tolist()),
            warnings=(*patient.warnings, *stack.warnings),
            marks=slice_marks(patient.volume()[rows]),
            reading=READING,
        )
        images = np.rint(stack.images[rows] * 255).astype(np.uint8)
        masks = None if lesion is None else geometry.labels_to_model(lesion)[rows]
        if self.old is None and not (self.folder / INDEX_FILE).exists():
            # Marks the folder as an unfinished store: a later run may clear only such folders.
            write_index(self.folder, StoreIndex(complete=False, settings=settings, split=self.split))
        write_patient(self.folder, settings, stored, images, masks)
        return stored

    def finish(self, root: Path, listed: ScanListSummary | None) -> SliceStore:
        """Split, write the index, and remove unreferenced data."""
        if not self.patients:
            only_unlabelled = self.unlabelled == len(self.skipped)
            first = _NO_MASK if only_unlabelled else self.skipped[0].reason
            raise StoreError(
                f"none of the {len(self.skipped)} patients can be used: {first}",
                file=root,
                hint=(_ASSUME if listed is None else _SAY_HEALTHY) if only_unlabelled else None,
            )
        index = self._index().model_copy(update={"listed": listed})
        store = SliceStore.of_index(self.folder, index)
        self._check_healthy(root, store)
        self._warn(store, listed)
        if index.split.kind != "slice":
            write_split(
                self.folder / SPLIT_FILE, {patient.name: patient.parts[0] for patient in store.patients}
            )
        write_index(self.folder, index)
        clear(
            self.folder,
            {group_name(patient.name, patient.fingerprint, self.settings) for patient in self.patients},
        )
        return store

    def _index(self) -> StoreIndex:
        split = self.split
        if split.kind == "slice":
            parts = {
                patient.name: assign_slices(
                    patient.name,
                    len(patient.numbers),
                    labelled=patient.labelled,
                    seed=split.seed,
                    validation=split.validation,
                    test=split.test,
                )
                for patient in self.patients
            }
        else:
            by_patient = self._by_patient()
            split = split.model_copy(update={"parts": {**split.parts, **by_patient}})
            parts = {
                patient.name: (by_patient[patient.name],) * len(patient.numbers) for patient in self.patients
            }
        return StoreIndex(
            settings=self.settings,
            split=split,
            patients=tuple(replace(patient, parts=parts[patient.name]) for patient in self.patients),
            skipped=tuple(self.skipped),
            stamps=self.stamps,
        )

    def _by_patient(self) -> dict[str, Part]:
        if self.listed is not None:
            for patient in self.patients:
                before, now = self.split.parts.get(patient.name), self.listed[patient.name]
                if before not in (None, now):
                    raise SplitError(
                        f"{patient.name} is in {before} in this store, but in {now} in the split file",
                        file=self.folder,
                        hint=OTHER_STORE,
                    )
            return {patient.name: self.listed[patient.name] for patient in self.patients}
        return assign_patients(
            [patient.name for patient in self.patients if patient.labelled],
            [patient.name for patient in self.patients if not patient.labelled],
            self.split.parts,
            seed=self.split.seed,
            validation=self.split.validation,
            test=self.split.test,
        )

    def _check_healthy(self, root: Path, store: SliceStore) -> None:
        """Refuse a store that no model can be trained on."""
        usable = {part: len(store.healthy_rows(part)) for part in ("train", "validation", "test")}
        if not sum(usable.values()):
            raise StoreError(
                f"no healthy slice with at least {self.settings.min_brain:.0%} brain in {len(store.patients)} patients",
                file=root,
                hint="add patients with lesion-free slices, or lower min_brain",
            )
        hint = "add patients, or give a split file (--split FILE)"
        if store.split_kind == "file":
            hint = "name other patients in the split file"
        elif len(store.patients) == 1 and store.split_kind == "patient":
            raise StoreError("one patient cannot be split into training and validation", file=root, hint=hint)
        for part in ("train", "validation"):
            if not usable[part]:
                raise StoreError(f"no healthy slice is left for the part {part!r}", file=root, hint=hint)

    def _warn(self, store: SliceStore, listed: ScanListSummary | None) -> None:
        notes = [
            f"{note} ({names[0]}" + (f" and {len(names) - 1} more)" if names[1:] else ")")
            for note, names in self.notes.items()
        ]
        if self.unlabelled:
            hint = _ASSUME if listed is None else _SAY_HEALTHY
            notes.append(f"{counted(self.unlabelled, 'patient')} left out: {_NO_MASK}; {hint}")
        if store.split_kind == "slice":
            notes.append(
                "slices of one patient lie in training and in validation: they leak, and every figure comes out too "
                "good; use --split patient for results to report"
            )
        first: dict[str, str] = {}
        for patient in store.patients:
            twin = first.setdefault(patient.fingerprint, patient.name)
            if twin != patient.name:
                notes.append(
                    f"{twin} and {patient.name} are the same scan; if this is unintended, remove one of them"
                )
        for note in notes:
            warnings.warn(note, CeadWarning, stacklevel=4)
