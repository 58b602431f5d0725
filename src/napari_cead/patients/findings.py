"""What is said about the scans of a patient: one table of all codes, with who is told and what helps.

A `Note` is made where something is assumed, repaired or left out, and stays with the patient: loading warns of each. A
`Finding` is an entry of a report: `check` and the Train dock choose from the table which notes become findings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

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
    "lesions-changed",
    "voxel-for-voxel",
    "slice-gap",
    "series",
    "same-name",
    "preparation",
    "skull",
    "background",
    "uneven",
    "contrast",
    "duplicate",
    "lesion-mask",
    "lesion-mask-unusable",
    "brain-mask",
    "brain-mask-unusable",
    "few-slices",
    "no-slices",
]

CODES: tuple[Code, ...] = get_args(Code)

Severity = Literal["note", "warning", "error"]
"""``"note"``: it is used all the same; ``"warning"``: unless the user decides otherwise, it is not; ``"error"``: it
cannot be used."""


class Kind(NamedTuple):
    """A kind of note.

    Attributes:
        check: Whether `check` reports it as a finding of the note's code.
        train: Whether the Train dock tells it of a scan.
        hint: The fix, added where findings are listed.
    """

    check: bool = True
    train: bool = False
    hint: str = ""


KINDS: Mapping[Code, Kind] = MappingProxyType(
    {
        "unrecognised": Kind(hint="name slices 000.png, 001.png, …"),
        "mask-name": Kind(hint="name them 000.png, 001.png, …"),
        "result": Kind(hint="move it out of the patient's folder"),
        "intensities": Kind(train=True),
        "voxel-for-voxel": Kind(check=False, train=True),
        "mask-place": Kind(train=True, hint="check that the mask belongs to this scan"),
        "lesions-lost": Kind(train=True, hint="draw the mask on the voxels of the scan"),
        "lesions-changed": Kind(check=False, train=True),
    }
)
"""The kinds of notes; for a code that is not here, `check` alone reports them."""

NO_ORIENTATION = "the header states no orientation, so left and right are unknown"


class Note(str):
    """A clause about a file; a plain text to whoever shows it.

    Args:
        code: Its kind.
        said: The clause.
        file: Name of the file, if it is to be named.

    Attributes:
        code: Its kind.
        said: The clause without the file.
    """

    code: Code
    said: str

    def __new__(cls, code: Code, said: str, file: str = "") -> Note:
        """Make the text."""
        made = super().__new__(cls, f"{file}: {said}" if file else said)
        made.code, made.said, made._file = code, said, file
        return made

    _file: str

    def __reduce__(self) -> tuple[Any, ...]:
        return (Note, (self.code, self.said, self._file))

    @property
    def kind(self) -> Kind:
        """Who is told, and what helps."""
        return KINDS.get(self.code, Kind())

    @property
    def finding(self) -> str:
        """The clause with the fix, for a list of findings."""
        return f"{self.said}; {self.kind.hint}" if self.kind.hint else self.said


@dataclass(frozen=True)
class Finding:
    """Something that does not fit, or that speaks against using a scan.

    Attributes:
        patient: Name of the patient.
        code: What it is, one of `CODES`.
        file: Where it was found.
        sentence: The same for a reader, with what to do.
        severity: What follows from it.
        values: What was measured, by name.
    """

    patient: str
    code: Code
    file: Path
    sentence: str
    severity: Severity = "note"
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def blocking(self) -> bool:
        """Whether the scan is left out, at least unless the user decides otherwise."""
        return self.severity != "note"


def no_orientation(file: str) -> Note:
    """Return the note on a header that does not say where left and right are."""
    return Note("orientation", NO_ORIENTATION, file)


def code_of(note: str) -> Code | None:
    """Return the code of a note; None for a text of no kind."""
    return note.code if isinstance(note, Note) else None


def refused_mask(notes: Iterable[str]) -> str:
    """Return why a lesion mask that was found is not used, in one clause; empty if none was refused."""
    return next((note.split("; ")[0] for note in notes if code_of(note) == "mask-covers"), "")
