"""The parts of a queue: its settings, its patients, and the outcome of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..detection.choosing import Params, Settled
from ..detection.options import MAP_OPTIONS, MapOptions
from ..detection.params import PostprocessParams
from ..detection.reconstruct import GROUP
from ..detection.settings import Parameter
from ..wording import number

State = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class QueueSettings:
    """Settings of a queue, the same for all its patients.

    Attributes:
        model: Name or folder of the model.
        score: Anomaly score; the model's suggestion if None.
        params: Settings of the post-processing, as `napari_cead.detect` takes them.
        sequence: Sequence to use; a single file is taken as the sequence its name says.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.
        options: Options of the anomaly map.
        batch_size: Slices per forward pass.
    """

    model: str
    score: str | None = None
    params: Params = None
    sequence: str = "flair"
    device: str = "auto"
    options: MapOptions = field(default_factory=MapOptions)
    batch_size: int = GROUP

    @property
    def line(self) -> str:
        """The settings in one line: ``"ce-vae1 · residual · threshold 0.123 · …"``."""
        parts = [Path(self.model).name, self.score or "suggested score"]
        params = self.params.params if isinstance(self.params, Settled) else self.params
        if params is None or isinstance(params, str):
            parts.append(f"{params or 'default'} settings")
        else:
            # Always the threshold; of the rest only what is not switched off.
            parts += [
                _said(row, value)
                for row in PostprocessParams.parameters()
                if _worth_saying(row, value := getattr(params, row.name))
            ]
        parts += [_said(row, value) for row in MAP_OPTIONS if (value := getattr(self.options, row.name))]
        parts.append(self.sequence)
        if self.device != "auto":
            parts.append(self.device)
        if self.batch_size != GROUP:
            parts.append(f"batches of {self.batch_size}")
        return " · ".join(parts)

    def described(self) -> dict[str, Any]:
        """Return the settings as JSON values; a score of None stands for the model's suggestion."""
        params: Any = self.params.params if isinstance(self.params, Settled) else self.params
        params = params or "default"
        if not isinstance(params, str):
            params = params.model_dump(mode="json")
        return {**vars(self), "params": params, "options": self.options.model_dump(mode="json")}


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
    settings: QueueSettings | None = None
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


def _worth_saying(row: Parameter, value: float) -> bool:
    return value != row.default if row.kind is bool else bool(value) or row.name == "threshold"


def _said(row: Parameter, value: float) -> str:
    if row.kind is bool:
        return f"{row.title.lower()}: {'yes' if value else 'no'}"
    shown = f"{100 * value:g}" if row.percent else f"{value:g}"
    return f"{row.title.lower()} {shown} {row.unit}".rstrip()
