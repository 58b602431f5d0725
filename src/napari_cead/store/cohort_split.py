"""Split a cohort: the patients that choose the thresholds and those that are reported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ParameterError
from ..patients import PNG_SPACING, PatientFiles, all_patients, find_files, is_patient
from ..patients.places import is_zip
from ..preparing import RAW, Preparation
from ..wording import counted
from .parts import PARTS, Part, read_split
from .sources import shows, unique_names

if TYPE_CHECKING:
    from ..patients.datasets import Layout
    from .store import SliceStore


@dataclass(frozen=True)
class Member:
    """A patient of the cohort in one part of the split.

    Attributes:
        name: Name of the patient.
        path: Folder or file of the patient.
        part: Part of the split.
        slices: The patient's slices in the part; None: all.
        preparation: Preparation of the scan.
        files: Its files, if a layout names them.
        site: Where it was scanned, if the layout tells; else empty.
    """

    name: str
    path: Path
    part: Part
    slices: tuple[int, ...] | None = None
    preparation: Preparation = RAW
    files: PatientFiles | None = field(default=None, compare=False)
    site: str = ""

    @property
    def source(self) -> Path | PatientFiles:
        """What to load it from."""
        return self.path if self.files is None else self.files


@dataclass(frozen=True)
class Split:
    """The patients of a cohort by part.

    Attributes:
        source: Split file or store; None: all patients are reported.
        sequence: Sequence to use.
        png_spacing: (z, y, x) in mm of PNG slices.
        members: Patients in the order of their paths; with a split by slice one may be in several parts.
        unassigned: Name and path of the patients of the cohort that the split does not name.
        assume_healthy: Whether slices of unlabelled patients count as healthy, as in the store.
        warnings: Inconsistencies.
        layout: Name of the layout whose fixed split it is; else empty.
    """

    source: Path | None
    sequence: str
    png_spacing: tuple[float, float, float]
    members: tuple[Member, ...]
    unassigned: tuple[tuple[str, Path], ...] = ()
    assume_healthy: bool = False
    warnings: tuple[str, ...] = ()
    layout: str = ""

    def prepared(self, preparation: Preparation) -> Split:
        """Return the same split with the preparation of each scan."""
        members = tuple(replace(member, preparation=preparation) for member in self.members)
        return replace(self, members=members)

    def all_reported(self) -> Split:
        """Return the patients of the layout's fixed split as one part, for folds; any other split as it is."""
        if not self.layout:
            return self
        return replace(
            self, members=tuple(replace(member, part="test") for member in self.members), layout=""
        )

    def part(self, part: Part) -> tuple[Member, ...]:
        """Return the patients of one part."""
        return tuple(member for member in self.members if member.part == part)


def split_cohort(
    cohort: str | Path,
    split: str | Path | None = None,
    *,
    sequence: str | None = None,
    png_spacing: tuple[float, float, float] | None = None,
    layout: Layout | None = None,
) -> Split:
    """Find the patients of a cohort and their parts of the split.

    Args:
        cohort: Folder whose descendants are patients, or one patient.
        split: Split file (see :func:`~napari_cead.store.parts.read_split`) or prepared store. None: all patients
            are test patients. Two patients with the same name are distinguished by their paths in the cohort
            (``a/Mets_001``).
        sequence: Sequence to use; None: that of the store, else FLAIR.
        png_spacing: (z, y, x) in mm of PNG slices; None: that of the store, else the default.
        layout: Layout of the cohort, whose fixed split counts without ``split``; None: names are read as they are.

    Raises:
        PatientError: If there is no patient in the cohort.
        StoreError: If the split or the store cannot be read.
    """
    where = Path(cohort).expanduser()
    source = None if split is None else Path(split).expanduser()
    store = None
    if source is not None and source.is_dir():
        from .store import SliceStore

        store = SliceStore.open(source)
    wanted = sequence or ("flair" if store is None else store.settings.sequence)
    spacing = png_spacing or (PNG_SPACING if store is None else store.settings.png_spacing)
    if layout is None:
        members = {name: Member(name, path, "test") for name, path in _patients(where, wanted).items()}
    else:
        members = {
            one.name: Member(one.name, one.path, one.part, files=one.files, site=one.site)
            for one in layout.patients(where)
        }
    if store is not None and source is not None:
        found = _of_store(source, store, wanted, spacing, members)
    elif source is not None:
        assigned = read_split(source)
        found = Split(
            source,
            wanted,
            spacing,
            tuple(replace(each, part=assigned[name]) for name, each in members.items() if name in assigned),
            tuple((name, each.path) for name, each in members.items() if name not in assigned),
            warnings=_missing(name for name in assigned if name not in members),
        )
    else:
        name = "" if layout is None else layout.name
        found = Split(None, wanted, spacing, tuple(members.values()), layout=name)
    return found if layout is None else replace(found, warnings=(layout.said, *found.warnings))


def folds_of(names: Iterable[str], count: int, seed: int = 0) -> dict[str, int]:
    """Assign every patient to one fold, at random but repeatably; visits of one person stay together.

    Args:
        names: Names of the patients; their order does not matter.
        count: Number of folds.
        seed: Seed of the draw.

    Raises:
        ParameterError: If there are fewer than two folds, or fewer persons than folds.
    """
    persons = {name: person_of(name) for name in names}
    order = np.random.default_rng(seed).permutation(sorted(set(persons.values()))).tolist()
    if not 2 <= count <= len(order):
        raise ParameterError(
            f"{len(order)} patients cannot make {count} folds",
            hint=f"give from 2 to {len(order)} folds" if len(order) > 1 else "give more patients",
        )
    fold = {person: place % count for place, person in enumerate(order)}
    return {name: fold[person] for name, person in persons.items()}


def person_of(name: str) -> str:
    """Return the person of a patient's name: BIDS has a name for each visit."""
    found = re.search(r"(?:^|[/_])(sub-[A-Za-z0-9]+)", name)
    return found[1] if found else name


def _patients(cohort: Path, sequence: str) -> dict[str, Path]:
    """Return the patients by the names that a store gives them."""
    if not cohort.is_dir() and not is_zip(cohort) and (cohort.is_file() or is_patient(cohort)):
        return {find_files(cohort).name: cohort}
    return unique_names(cohort, [place for place in all_patients(cohort) if shows(place, sequence)], None)


def _of_store(
    folder: Path,
    store: SliceStore,
    wanted: str,
    png_spacing: tuple[float, float, float],
    cohort: Mapping[str, Member],
) -> Split:
    by_path = {member.path.resolve(): name for name, member in cohort.items()}
    members: dict[str, list[Member]] = {name: [] for name in cohort}
    missing: list[str] = []
    for stored in store.patients:
        name = by_path.get(Path(stored.source).resolve(), stored.name)
        if name not in cohort:
            missing.append(stored.name)
            continue
        for part in PARTS:
            rows = [row for row, found in enumerate(stored.parts) if found == part]
            if rows:
                # All slices in one part means a split by patient: slices without brain then belong to it too.
                slices = (
                    None if len(rows) == len(stored.parts) else tuple(stored.numbers[row] for row in rows)
                )
                members[name].append(replace(cohort[name], part=part, slices=slices))
    notes = [*_missing(missing), *_by_slice(store)]
    if wanted != store.settings.sequence:
        notes.append(f"the store was prepared for {store.settings.sequence}, this is {wanted}")
    return Split(
        folder,
        wanted,
        png_spacing,
        tuple(member for found in members.values() for member in found),
        tuple((name, cohort[name].path) for name, found in members.items() if not found),
        assume_healthy=store.settings.assume_healthy,
        warnings=tuple(notes),
    )


def _by_slice(store: SliceStore) -> tuple[str, ...]:
    if store.split_kind != "slice":
        return ()
    return (
        "the split is by slice: training, validation and test share patients, so the figures are optimistic",
    )


def _missing(names: Iterable[str]) -> tuple[str, ...]:
    found = tuple(names)
    if not found:
        return ()
    some = ", ".join(found[:5]) + (", …" if len(found) > 5 else "")
    verb = "is" if len(found) == 1 else "are"
    return (f"{counted(len(found), 'patient')} of the split {verb} not in the cohort: {some}",)
