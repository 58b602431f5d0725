"""What is said about the files of a patient: one table of all kinds of notes, with who is told and what helps.

A note is made where something is assumed, repaired or left out. Loading warns of every note; `integrity` and the Train
dock choose from this table what they report.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

NoteCode = Literal[
    "orientation",
    "affine",
    "series",
    "slice-gap",
    "unrecognised",
    "mask-name",
    "result",
    "intensities",
    "voxel-for-voxel",
    "mask-place",
    "lesions-lost",
    "lesions-changed",
    "mask-covers",
]


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


KINDS: Mapping[NoteCode, Kind] = MappingProxyType(
    {
        "orientation": Kind(),
        "affine": Kind(),
        "series": Kind(),
        "slice-gap": Kind(),
        "unrecognised": Kind(hint="name slices 000.png, 001.png, …"),
        "mask-name": Kind(hint="name them 000.png, 001.png, …"),
        "result": Kind(hint="move it out of the patient's folder"),
        "intensities": Kind(train=True),
        "voxel-for-voxel": Kind(check=False, train=True),
        "mask-place": Kind(train=True, hint="check that the mask belongs to this scan"),
        "lesions-lost": Kind(train=True, hint="draw the mask on the voxels of the scan"),
        "lesions-changed": Kind(check=False, train=True),
        "mask-covers": Kind(),
    }
)
assert set(KINDS) == set(get_args(NoteCode))

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

    code: NoteCode
    said: str

    def __new__(cls, code: NoteCode, said: str, file: str = "") -> Note:
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
        return KINDS[self.code]

    @property
    def finding(self) -> str:
        """The clause with the fix, for a list of findings."""
        return f"{self.said}; {self.kind.hint}" if self.kind.hint else self.said


def no_orientation(file: str) -> Note:
    """Return the note on a header that does not say where left and right are."""
    return Note("orientation", NO_ORIENTATION, file)


def code_of(note: str) -> NoteCode | None:
    """Return the code of a note; None for a text of no kind."""
    return note.code if isinstance(note, Note) else None
