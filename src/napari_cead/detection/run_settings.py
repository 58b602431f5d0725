"""What a detection in many patients is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .choosing import Params, Settled
from .options import MAP_OPTIONS, MapOptions
from .params import PostprocessParams
from .reconstruct import GROUP
from .settings import Parameter


@dataclass(frozen=True)
class RunSettings:
    """Settings of a detection in many patients, the same for all.

    Attributes:
        model: Name or folder of the model.
        score: Anomaly score; the model's suggestion if None.
        params: Settings of the post-processing, as `napari_cead.detect` takes them.
        sequence: Sequence to use; a single file is taken as the sequence its name says.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.
        options: Options of the anomaly map; None leaves it unchanged.
        batch_size: Slices per forward pass.
    """

    model: str
    score: str | None = None
    params: Params = None
    sequence: str = "flair"
    device: str = "auto"
    options: MapOptions | None = None
    batch_size: int = GROUP

    @property
    def line(self) -> str:
        """The settings in one line: ``"ce-vae1 · residual · threshold 0.123 · …"``."""
        options = self.options or MapOptions()
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
        parts += [_said(row, value) for row in MAP_OPTIONS if (value := getattr(options, row.name))]
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
        return {
            **vars(self),
            "params": params,
            "options": (self.options or MapOptions()).model_dump(mode="json"),
        }


def _worth_saying(row: Parameter, value: float) -> bool:
    return value != row.default if row.kind is bool else bool(value) or row.name == "threshold"


def _said(row: Parameter, value: float) -> str:
    if row.kind is bool:
        return f"{row.title.lower()}: {'yes' if value else 'no'}"
    shown = f"{100 * value:g}" if row.percent else f"{value:g}"
    return f"{row.title.lower()} {shown} {row.unit}".rstrip()
