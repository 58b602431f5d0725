"""The patients of a running evaluation: the usable ones, their warnings, and the progress."""

from __future__ import annotations

from collections import defaultdict

from ..errors import CeadError
from ..patients import find_files
from ..progress import Progress, tell
from ..report.results import SkippedPatient
from ..store.cohort_split import Member, Split
from ..store.parts import Part
from .measuring import UNLABELLED


class Cohort:
    """The usable patients of an evaluation; broken ones are removed when they are found.

    Args:
        split: The patients by part.
    """

    def __init__(self, split: Split) -> None:
        self.skipped: list[SkippedPatient] = []
        self._members: list[Member] = []
        self._notes: dict[str, set[str]] = defaultdict(set)
        for name, path in split.unassigned:
            self.skipped.append(SkippedPatient(name, path, "", "the split does not name it"))
        for member in split.members:
            reason = None if member.part == "train" else self._unusable(member, split.assume_healthy)
            if reason is None:
                self._members.append(member)
            else:
                self.skip(member, reason)

    @staticmethod
    def _unusable(member: Member, assume_healthy: bool) -> str | None:
        """Return why a patient cannot be used, judging by the names of its files."""
        try:
            labelled = find_files(member.source).mask is not None
        except CeadError as error:
            return str(error)
        return None if labelled or (assume_healthy and member.part == "validation") else UNLABELLED

    @property
    def usable(self) -> tuple[Member, ...]:
        """Validation and test patients."""
        return (*self.part("validation"), *self.part("test"))

    def part(self, part: Part) -> tuple[Member, ...]:
        """Return the patients of one part."""
        return tuple(member for member in self._members if member.part == part)

    def skip(self, member: Member, reason: str) -> None:
        """Leave a patient out from now on."""
        if member in self._members:
            self._members.remove(member)
        self.skipped.append(SkippedPatient(member.name, member.path, member.part, reason))

    def note(self, member: Member, text: str) -> None:
        """Remember a warning about a patient."""
        self._notes[text].add(member.name)

    def notes(self) -> tuple[str, ...]:
        """Return the warnings, each once with its patient or number of patients."""
        return tuple(
            f"{text} ({next(iter(names)) if len(names) == 1 else f'{len(names)} patients'})"
            for text, names in self._notes.items()
        )


class Steps:
    """Progress of an evaluation.

    Each patient is one step under each model, and under each of its scores one in each of the two passes of a search
    and one for the figures that are counted afterwards.

    Args:
        total: Total steps.
        on_progress: Called with (steps done, total steps).
    """

    def __init__(self, total: int, on_progress: Progress | None) -> None:
        self._total, self._on_progress, self._done = total, on_progress, 0

    def begin(self) -> None:
        """Tell the total before the first step, which includes the loading of models and may take a while."""
        tell(self._on_progress, self._done, self._total)

    def advance(self, steps: int = 1) -> None:
        """Advance by some steps."""
        self._done = min(self._done + steps, self._total)
        tell(self._on_progress, self._done, self._total)

    def each(self) -> Progress:
        """Return a callback that advances by one step per call."""
        return lambda done, total: self.advance()

    def finish(self) -> None:
        """Advance to the end: unnecessary searches count as done."""
        self.advance(self._total - self._done)
