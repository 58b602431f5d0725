"""The index of a slice store: settings, patients with their labels, split. The root group's attributes."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, FiniteFloat, model_validator

from ..atomic import write_text
from ..errors import StoreDamagedError, StoreError, why
from ..json_files import FileKind, Saved, read_json, warn_of
from ..patients import PNG_SPACING
from ..zoo.card import Preprocessing
from .parts import Part

SCHEMA_VERSION = 1
LABELS = ("healthy", "lesion", "unlabelled")
"""Names of the label codes 0, 1 and 2 of a slice."""
HEALTHY, LESION, UNLABELLED = range(len(LABELS))

READING = 1
"""Version of the rules for reading scans and masks; increased when they give a patient other slices or labels."""

INDEX_FILE = "zarr.json"
LARGEST_INDEX = 1 << 29
"""Largest size of an index in bytes: it lists every slice, some 70 bytes each."""
OTHER_STORE = "choose another --out, or delete this store first"
TEMPORARY = ".part-"

SplitKind = Literal["patient", "slice", "file"]
_Positive = Annotated[FiniteFloat, Field(gt=0)]


class StoreSettings(Preprocessing):
    """The settings for turning patients into slices, the same for a whole store.

    Attributes:
        min_brain: Smallest share of brain pixels for a slice to be used in training.
        assume_healthy: Whether all slices of unlabelled patients count as healthy.
        skull_ok: Whether scans that are not skull-stripped were accepted unchanged.
        png_first_column: Side of the patient that column 0 of PNG slices shows.
        png_spacing: (z, y, x) in mm of PNG slices.
    """

    image_size: int = Field(default=196, ge=8, le=4096)
    min_brain: float = Field(default=0.15, ge=0, lt=1)
    assume_healthy: bool = False
    skull_ok: bool = False
    png_first_column: Literal["left", "right"] = "left"
    png_spacing: tuple[_Positive, _Positive, _Positive] = PNG_SPACING

    FIRST: ClassVar[tuple[str, ...]] = (
        *("sequence", "intensity", "spacing", "image_size"),
        *("min_brain", "assume_healthy", "png_first_column", "png_spacing"),
    )
    """The fields that all stores have."""

    def lasting(self) -> dict[str, Any]:
        """Return the settings as JSON values for a checksum.

        A field that was added later counts only if it is not at its default, so that no new field changes the checksum
        of an existing store.
        """
        usual = type(self)().model_dump(mode="json")
        values = self.model_dump(mode="json")
        return {name: value for name, value in values.items() if name in self.FIRST or value != usual[name]}


@dataclass(frozen=True)
class StoredPatient:
    """One patient in the store: all slices with brain, inferior to superior.

    Attributes:
        name: Name, unique in the store.
        source: Path of the patient on disk.
        fingerprint: sha256 of its source files.
        labelled: Whether there is a lesion mask.
        spacing: (z, y, x) in mm of the stored slices; in plane the patient's own unless it was resampled.
        numbers: Index in the patient of every stored slice.
        labels: Code of every slice, see ``LABELS``. A slice is healthy if it holds no lesion voxel of the patient.
        brain: Share of the pixels of every slice that are brain.
        parts: Part of every slice; all equal unless the split is by slice.
        warnings: What was assumed, repaired or cropped.
        marks: Mark of every slice for recognising it elsewhere, see :mod:`~napari_cead.slices.marks`; none in
            stores of earlier versions.
        reading: The `READING` version that read it; 0 in stores of earlier versions, for which a mask of the brain, or
            one with negative values, was a lesion mask.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")
    UNWRITTEN: ClassVar[frozenset[str]] = frozenset({"marks", "reading"})

    name: str
    source: str
    fingerprint: str
    labelled: bool
    spacing: tuple[float, float, float]
    numbers: tuple[int, ...]
    labels: tuple[int, ...]
    brain: tuple[float, ...]
    parts: tuple[Part, ...] = ()
    warnings: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    reading: int = 0


@dataclass(frozen=True)
class SkippedPatient:
    """A patient of the cohort that is not in the store, and why."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    source: str
    reason: str


@dataclass(frozen=True)
class ScanListSummary:
    """The content of the scan list that a store was made from: only numbers, no name and no path.

    Attributes:
        scans: Number of scans in the list.
        healthy: Number declared to be healthy.
        lesion_masks: With a lesion mask.
        brain_masks: With a brain mask.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    scans: int
    healthy: int
    lesion_masks: int
    brain_masks: int


class Split(Saved):
    """The assignment of slices to parts, and every part ever given to a patient, including removed ones."""

    kind: SplitKind = "patient"
    seed: int = 0
    validation: float = 0.15
    test: float = 0.15
    parts: dict[str, Part] = Field(default_factory=dict)


class StoreIndex(Saved):
    """The attributes of the root group: written last, so that a store agrees with its index.

    Attributes:
        complete: False until the very first preparation has ended.
        settings: The settings for turning patients into slices.
        split: The assignment of slices to parts.
        patients: The stored patients.
        skipped: The patients left out.
        stamps: Name of a patient to a hash of the names, sizes and times of its source files.
        listed: For a store made from a scan list, the content of the list.
    """

    complete: bool = True
    settings: StoreSettings
    split: Split
    patients: tuple[StoredPatient, ...] = ()
    skipped: tuple[SkippedPatient, ...] = ()
    stamps: dict[str, str] = Field(default_factory=dict)
    listed: ScanListSummary | None = None

    @model_validator(mode="after")
    def _slices_agree(self) -> Self:
        for patient in self.patients:
            columns = (patient.numbers, patient.labels, patient.brain, patient.parts)
            marks = patient.marks or patient.numbers  # earlier versions made none
            if len({len(column) for column in (*columns, marks)}) > 1:
                raise ValueError(f"{patient.name} has columns of different lengths")
        return self


def group_name(name: str, fingerprint: str, settings: StoreSettings) -> str:
    """Return the name of a patient's group. A changed patient gets another, so the old index stays true."""
    # These fields select the slices used, not their content.
    use = {"min_brain", "assume_healthy", "skull_ok"}
    look = {setting: value for setting, value in settings.lasting().items() if setting not in use}
    digest = hashlib.sha256(json.dumps([name, fingerprint, look], sort_keys=True).encode()).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[-48:]
    return f"{readable}-{digest[:16]}"


_INDEXES = FileKind(
    "the slice store", StoreDamagedError, "prepare the cohort into another folder", SCHEMA_VERSION
)


def read_index(folder: Path) -> StoreIndex:
    """Read the index of a store.

    Raises:
        StoreError: If there is no store, it is of another version, or damaged.
    """
    file = folder / INDEX_FILE
    if not file.is_file():
        raise StoreError(
            "there is no slice store", file=folder, hint="make one: napari-cead prepare COHORT --out STORE"
        )
    try:
        attributes = read_json(file, LARGEST_INDEX)["attributes"]
        if "schema_version" not in attributes or "split" not in attributes:
            raise StoreError(
                "this Zarr group is not a slice store", file=folder, hint="choose another folder"
            )
        _INDEXES.check_version(attributes, folder)
        del attributes["schema_version"]
        index, notes = _INDEXES.made(StoreIndex, attributes, file)
        warn_of(notes, file)
        return index
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreDamagedError(
            f"the index is damaged ({why(error)})", file=file, hint=_INDEXES.hint
        ) from error


def write_index(folder: Path, index: StoreIndex) -> None:
    """Write the index, which defines the store. Atomic.

    Raises:
        OutputError: If it cannot be written.
    """
    attributes = {"schema_version": SCHEMA_VERSION, **index.model_dump(mode="json")}
    document = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    write_text(folder / INDEX_FILE, json.dumps(document, allow_nan=False))


def earlier_index(folder: Path) -> StoreIndex | None:
    """Return the index of an earlier preparation; None without one.

    Raises:
        StoreError: If it is of another version, or damaged.
    """
    if not (folder / INDEX_FILE).exists():
        return None
    index = read_index(folder)
    return index if index.complete else None


def check_same_way(folder: Path, old: StoreIndex, settings: StoreSettings, split: Split) -> None:
    """Refuse to mix two ways of preparing in one store.

    Raises:
        StoreError: If the store was prepared differently.
    """
    compared = [
        (name, getattr(old.settings, name), getattr(settings, name)) for name in StoreSettings.model_fields
    ]
    compared.append(("split", old.split.kind, split.kind))
    if split.kind != "file":
        compared += [
            (name, getattr(old.split, name), getattr(split, name)) for name in ("seed", "validation", "test")
        ]
    for name, before, now in compared:
        if before != now:
            raise StoreError(
                f"this store was prepared with {name} {before}, not {now}", file=folder, hint=OTHER_STORE
            )
