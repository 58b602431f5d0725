"""napari-cead: explore brain MRI anomalies found by autoencoders trained only on healthy slices.

The public names are imported when first used, so that ``import napari_cead`` stays fast and free of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import models
    from .detection import Detection, PostprocessParams, detect, postprocess
    from .metrics import dice
    from .patients import Patient, correct_bias_field, load_patient, save_volume
    from .preparing import Preparation, find_brain, prepare_patient
    from .zoo import Detector, load_model

__version__ = "0.2.0"

_HOMES = {
    "Detection": "detection",
    "Detector": "zoo",
    "Patient": "patients",
    "PostprocessParams": "detection",
    "Preparation": "preparing",
    "correct_bias_field": "patients",
    "detect": "detection",
    "dice": "metrics",
    "find_brain": "preparing",
    "load_model": "zoo",
    "load_patient": "patients",
    "postprocess": "detection",
    "prepare_patient": "preparing",
    "save_volume": "patients",
}

__all__ = [
    "Detection",
    "Detector",
    "Patient",
    "PostprocessParams",
    "Preparation",
    "__version__",
    "correct_bias_field",
    "detect",
    "dice",
    "find_brain",
    "load_model",
    "load_patient",
    "models",
    "postprocess",
    "prepare_patient",
    "save_volume",
]


def __getattr__(name: str) -> Any:
    if name == "models":
        return import_module(".models", __name__)
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
