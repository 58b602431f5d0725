"""The parts of a queue: its patients, and the outcome of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..detection.run_settings import RunSettings
from ..wording import number

State = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class QueueItem:
    """One patient of a queue, at one moment.

    Attributes:
        path: Folder or file of the patient; identifies the item.
        name: Name of the patient.
        state: ``"waiting"``, ``"running"``, ``"done"``, ``"failed"`` or ``"cancelled"``.
        reason: Reason for the failure, in one sentence.
        dice: Dice over the volume; None without a lesion mask, or if both masks are empty.
        volume_ml: Detected volume in mL.
        seconds: Running time, without waiting for something more urgent.
        out: Folder of its results.
        settings: Settings of its last run.
        warnings: Assumptions made along the way.
    """

    path: Path
    name: str
    state: State = "waiting"
    reason: str | None = None
    dice: float | None = None
    volume_ml: float | None = None
    seconds: float | None = None
    out: Path | None = None
    settings: RunSettings | None = None
    warnings: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """State and result in one line, without repeating the patient."""
        if self.state == "failed":
            reason = self.reason or ""
            for place in (f"{self.path}{os.sep}", f"{self.path}: "):
                reason = reason.removeprefix(place)
            return f"failed: {reason}"
        if self.state != "done":
            return self.state
        return f"done: Dice {number(self.dice)}, {self.volume_ml:.2f} mL, {self.seconds:.1f} s; {self.out}"

    def again(self) -> QueueItem:
        """Return the item as it was when it was added."""
        return QueueItem(self.path, self.name)

    def described(self) -> dict[str, Any]:
        """Return the item as JSON values."""
        settings = None if self.settings is None else self.settings.described()
        return {**vars(self), "settings": settings}


@dataclass(frozen=True)
class QueueResult:
    """The outcome of a queue's run.

    Attributes:
        done: Patients with results.
        failed: Patients that could not be used.
        waiting: Patients left, if it was cancelled (including the running one).
        cancelled: Whether ``should_stop`` ended it.
        out: The output folder.
    """

    done: int
    failed: int
    waiting: int
    cancelled: bool
    out: Path
