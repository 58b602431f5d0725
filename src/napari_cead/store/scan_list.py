"""The scan list: the user's choice of local scans to train on. A JSON file, and nothing in it is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from ..atomic import to_json, write_text
from ..errors import MissingSequenceError, ParameterError, SplitError
from ..json_files import first_wrong, read_json_of, version_of
from ..patients import SEQUENCES
from ..patients.datasets import Layout
from ..patients.places import is_zip
from .index import ScanListSummary
from .scans import ScanSource
from .sources import patients_in, unique_names

SCHEMA_VERSION = 1

_HINT = "write the list again"
_Name = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")]


@dataclass(frozen=True)
class ScanList:
    """Scans to train on.

    Attributes:
        scans: The scans, with unique names and absolute paths.
        sequence: The sequence they show.
    """

    scans: tuple[ScanSource, ...]
    sequence: str = "flair"

    @property
    def found(self) -> bool:
        """Whether nobody listed the scans: they were found in a folder."""
        return any(scan.found for scan in self.scans)

    def summary(self) -> ScanListSummary | None:
        """Return the list's content in numbers, without names and paths; None if nobody listed the scans."""
        if self.found:
            return None
        return ScanListSummary(
            len(self.scans),
            sum(scan.healthy for scan in self.scans),
            sum(scan.lesion_mask is not None for scan in self.scans),
            sum(scan.brain_mask is not None for scan in self.scans),
        )


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: _Name
    scan: _Name
    lesion_mask: _Name | None = None
    brain_mask: _Name | None = None
    healthy: bool = False

    @field_validator("scan", "lesion_mask", "brain_mask")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is not None and not Path(value).is_absolute():
            raise ValueError(f"{value!r} is not an absolute path")
        return value


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1]
    sequence: str = "flair"
    scans: list[_Entry] = Field(min_length=1)

    @field_validator("sequence")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in SEQUENCES:
            raise ValueError(f"unknown sequence {value!r}, use one of {', '.join(SEQUENCES)}")
        return value

    @field_validator("scans")
    @classmethod
    def _are_unique(cls, value: list[_Entry]) -> list[_Entry]:
        name, count = Counter(entry.name for entry in value).most_common(1)[0]
        if count > 1:
            raise ValueError(f"{name!r} is in the list {count} times")
        return value


def write_scan_list(path: str | Path, scans: Iterable[ScanSource], sequence: str = "flair") -> Path:
    """Write a scan list. Atomic.

    Args:
        path: The file, for instance ``scans.json``.
        scans: The scans; relative paths are made absolute.
        sequence: The sequence they show.

    Raises:
        ParameterError: If there are none, names are not unique, or the sequence is unknown.
        OutputError: If it cannot be written.
    """

    def place(value: Path | None) -> str | None:
        return None if value is None else str(value.expanduser().absolute())

    content = {
        "schema_version": SCHEMA_VERSION,
        "sequence": sequence,
        "scans": [
            {
                "name": scan.name,
                "scan": place(scan.scan),
                "lesion_mask": place(scan.lesion_mask),
                "brain_mask": place(scan.brain_mask),
                "healthy": scan.healthy,
            }
            for scan in scans
        ],
    }
    try:
        _Document.model_validate(content)
    except ValidationError as error:
        raise ParameterError(
            f"this is not a scan list: {first_wrong(error)}",
            file=path,
            hint="give each scan a unique name and its path",
        ) from None
    write_text(path, to_json(content))
    return Path(path)


def read_scan_list(path: str | Path) -> ScanList:
    """Read a scan list. Missing files are reported when they are read.

    Raises:
        StoreError: If the file is missing or damaged, of another version, or has invalid content.
    """
    file = Path(path).expanduser()
    values = read_json_of(SplitError, "the scan list", file, _HINT)
    if not isinstance(values, dict) or "scans" not in values:
        raise SplitError("this is not a scan list", file=file, hint=_HINT)
    if (version := version_of(values)) != SCHEMA_VERSION:
        raise SplitError(
            f"the scan list has schema version {version}, this program reads {SCHEMA_VERSION}",
            file=file,
            hint=_HINT,
        )
    try:
        document = _Document.model_validate(values)
    except ValidationError as error:
        raise SplitError(
            f"the scan list cannot be used: {first_wrong(error)}", file=file, hint=_HINT
        ) from None

    def place(value: str | None) -> Path | None:
        return None if value is None else Path(value)

    scans = tuple(
        ScanSource(
            entry.name, Path(entry.scan), place(entry.lesion_mask), place(entry.brain_mask), entry.healthy
        )
        for entry in document.scans
    )
    return ScanList(scans, document.sequence)


def laid_out(cohort: str | Path, layout: Layout, sequence: str = "flair") -> ScanList:
    """Return the scans of a data set, with their references and their parts of its fixed split.

    Args:
        cohort: Folder of the data set.
        layout: Its layout.
        sequence: The wanted sequence; patients without it are left out.

    Raises:
        ParameterError: If the data set cannot be used at all.
        PatientError: If there is no patient with that sequence.
    """
    found = layout.patients(cohort)
    scans = tuple(
        ScanSource(
            one.name,
            one.files.sequences[sequence],
            one.files.mask,
            sequence=sequence,
            laid_out=one.files,
            part=one.part,
        )
        for one in found
        if sequence in one.files.sequences
    )
    if not scans:
        raise MissingSequenceError(
            f"layout {layout.name} finds no {sequence} scan, only {', '.join(sorted(found[0].files.sequences))}",
            file=cohort,
            hint="choose another sequence",
        )
    return ScanList(scans, sequence)


def scans_of(
    cohort: str | Path | ScanList, sequence: str | None = None, layout: Layout | None = None
) -> ScanList:
    """Return the scans of a cohort: those of a list, of a layout, or all that are found in a folder.

    Args:
        cohort: Folder of patients, or a scan list or its file.
        sequence: The sequence; None: that of the list, or FLAIR.
        layout: Layout of the folder; None: names are read as they are.

    Raises:
        ParameterError: If there is no such sequence, or the list is of another one.
        PatientError: If the layout finds no such scan.
        StoreError: If there are no patients, or the file is not a scan list.
    """
    if layout is None:
        listing = listing_of(cohort)
    elif isinstance(cohort, ScanList):
        raise ParameterError("a layout is about a folder, not a scan list", hint="leave the layout out")
    else:
        listing = laid_out(cohort, layout, sequence or "flair")
    if listing is not None and sequence not in (None, listing.sequence):
        raise ParameterError(
            f"the scan list is of {listing.sequence}, not of {sequence}", hint="leave --sequence out"
        )
    wanted = sequence or (listing.sequence if listing is not None else "flair")
    if wanted not in SEQUENCES:
        raise ParameterError(f"unknown sequence {wanted!r}", hint=f"use one of {', '.join(SEQUENCES)}")
    if listing is not None:
        return listing
    assert not isinstance(cohort, ScanList)
    root = Path(cohort).expanduser().resolve()
    names = unique_names(root, patients_in(root, wanted), None)
    return ScanList(tuple(ScanSource(name, place, found=True) for name, place in names.items()), wanted)


def usual_sequence(cohort: str | Path | ScanList) -> str:
    """Return the sequence of a cohort for which none is named: that of the scan list, or FLAIR.

    Raises:
        StoreError: If the file is not a scan list.
    """
    listing = listing_of(cohort)
    return "flair" if listing is None else listing.sequence


def listing_of(cohort: str | Path | ScanList) -> ScanList | None:
    """Return the scan list that a cohort is given as, or None for a folder.

    Raises:
        StoreError: If the file is not a scan list.
    """
    if isinstance(cohort, ScanList):
        return cohort
    file = Path(cohort).expanduser()
    return read_scan_list(file) if file.is_file() and not is_zip(file) else None
