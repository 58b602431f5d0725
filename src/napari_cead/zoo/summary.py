"""The fields of a training summary on a model's card, and their privacy.

The fields describe the output of `evaluation.finishing` and `evaluation.calibration`. A card keeps its summary as it
was read; these classes define which parts an export may hold: see `privacy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from ..json_files import Saved

PACKAGES = (
    *("napari-cead", "torch", "numpy", "scipy", "opencv-python-headless", "nibabel", "SimpleITK"),
    *("pydicom", "pynrrd"),
)
"""Packages whose versions influence a result."""


@dataclass(frozen=True)
class Privacy:
    """A field's declaration whether it may name people, places or machines."""

    private: bool


PUBLIC, PRIVATE = Privacy(False), Privacy(True)


class Versions(Saved):
    """Versions of the packages, of Python and of the system. A Linux kernel may be named after its site."""

    napari_cead: Annotated[str, PUBLIC] = Field("", alias="napari-cead")
    torch: Annotated[str, PUBLIC] = ""
    numpy: Annotated[str, PUBLIC] = ""
    scipy: Annotated[str, PUBLIC] = ""
    opencv_python_headless: Annotated[str, PUBLIC] = Field("", alias="opencv-python-headless")
    nibabel: Annotated[str, PUBLIC] = ""
    SimpleITK: Annotated[str, PUBLIC] = ""
    pydicom: Annotated[str, PUBLIC] = ""
    pynrrd: Annotated[str, PUBLIC] = ""
    python: Annotated[str, PUBLIC] = ""
    platform: Annotated[str, PRIVATE] = ""


class Curve(Saved):
    """Losses by epoch."""

    train_loss: list[float | None] = Field(default_factory=list)
    validation_loss: list[float | None] = Field(default_factory=list)


class CalibrationFigures(Saved):
    """The results of a calibration. The names of scores are those on the card."""

    grid: Annotated[str, PUBLIC] = ""
    validation_patients: int = 0
    validation_lesion_patients: int = 0
    healthy_quantile: float = 0.0
    validation_dice_patient: Annotated[dict[str, float | None], PUBLIC] = Field(default_factory=dict)
    validation_edges: Annotated[dict[str, str], PUBLIC] = Field(default_factory=dict)
    healthy_psnr: float | None = None
    healthy_psnr_brain: float | None = None
    healthy_ssim: float | None = None
    healthy_slices: int = 0


class Summary(Saved):
    """A card's summary of a training, apart from the settings."""

    patients: int = 0
    slices: int = 0
    validation_patients: int = 0
    validation_slices: int = 0
    assume_healthy: bool = False
    data_fingerprint: Annotated[str, PUBLIC] = ""
    planned_epochs: int = 0
    epochs: int = 0
    steps: int = 0
    best_epoch: int = 0
    train_loss: float | None = None
    validation_loss: float | None = None
    minutes: float = 0.0
    versions: Versions = Versions()
    curve: Curve = Curve()
    calibration: CalibrationFigures = CalibrationFigures()


def privacy_of(field: Any) -> Privacy | None:
    """Return the privacy that a field of a pydantic model declares; None if it declares nothing."""
    return next((mark for mark in field.metadata if isinstance(mark, Privacy)), None)
