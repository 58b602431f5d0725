"""File > Open Sample: the synthetic patient."""

from __future__ import annotations

from .. import resources
from ..patients import load_patient
from .layers import LayerData, to_layer_data


def sample_patient() -> list[LayerData]:
    """Return the synthetic sample patient as napari layers."""
    return to_layer_data(load_patient(resources.sample_patient()))
