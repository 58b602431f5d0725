"""A patient and its analysis as napari layers. Pure data: no viewer, no Qt.

Layers are found again by the entry that they carry in ``metadata``, never by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..patients import Patient

KEY = "napari_cead"
"""Entry of ``layer.metadata`` under which a ``Tag`` lies."""

Role = Literal[
    "sequence",
    "lesion mask",
    "reconstruction",
    "anomaly map",
    "detected mask",
    "corrections",
    "brain mask",
    "tile",
]
LayerData = tuple[NDArray[Any], dict[str, Any], Literal["image", "labels"]]

# Okabe and Ito's palette, and a dark red: clearly different on every grey, also for colour-blind readers
# (magenta looks like the blue of the outline to those who do not see green).
LESION_COLOR = "#56b4e9"
DETECTED_COLOR = "#e69f00"
BRAIN_COLOR = "#0072b2"
ANOMALY_RGB = (0.7, 0.0, 0.0)
OUTLINE_OPACITY, AREA_OPACITY, MAP_OPACITY = 0.9, 0.55, 0.8


@dataclass(frozen=True, eq=False)
class Tag:
    """What a layer shows.

    Attributes:
        role: Kind of the volume.
        patient: The patient; its grid is the way back to the source file.
        sequence: For sequences, which one.
        analysis: For results of a model, names of the model and of the score.
        session: The session of the layer, so that a reopened dock continues with it.
    """

    role: Role
    patient: Patient
    sequence: str | None = None
    analysis: tuple[str, str] | None = None
    session: Any = field(default=None, repr=False)


def tag_of(layer: Any) -> Tag | None:
    """Return what a layer shows, or None for a layer that is not ours."""
    found = layer.metadata.get(KEY)
    return found if isinstance(found, Tag) else None


def place(patient: Patient) -> dict[str, Any]:
    """Return the layer keywords that put a (Z, Y, X) volume of a patient in millimetres."""
    return {"scale": patient.spacing, "units": ("mm", "mm", "mm"), "axis_labels": ("z", "y", "x")}


def to_layer_data(patient: Patient) -> list[LayerData]:
    """Return a patient as napari layer data: every sequence as an image, the lesion mask as labels.

    Args:
        patient: The patient. Only its default sequence is visible.

    Returns:
        ``(data, keywords, type)`` per layer, bottom to top, arrays (Z, Y, X).
    """
    layers: list[LayerData] = []
    others = [name for name in patient.sequences if name != patient.sequence]
    for name in (*reversed(others), patient.sequence):
        data = patient.sequences[name]
        keywords = {
            "name": name,
            "colormap": "gray",
            "contrast_limits": contrast_limits(data),
            "visible": name == patient.sequence,
            "metadata": {KEY: Tag("sequence", patient, name)},
            **place(patient),
        }
        layers.append((data, keywords, "image"))
    if patient.lesion_mask is not None:
        keywords = {
            **labels_style("lesion mask"),
            "metadata": {KEY: Tag("lesion mask", patient)},
            **place(patient),
        }
        layers.append((patient.lesion_mask.astype(np.uint8), keywords, "labels"))
    return layers


def contrast_limits(data: NDArray[Any]) -> tuple[float, float]:
    """Return display limits from 0 to just above the brightest brain, given mostly empty background."""
    sample = data[::2, ::2, ::2]
    values = sample[sample > 0]
    high = float(np.percentile(values, 99.8)) if values.size else 1.0
    low = min(0.0, float(np.percentile(sample, 0.5)))
    return (low, high if high > low else low + 1.0)


def labels_style(role: Role) -> dict[str, Any]:
    """Return name, colour and opacity of a labels layer."""
    from napari.utils.colormaps import DirectLabelColormap

    color = {"lesion mask": LESION_COLOR, "brain mask": BRAIN_COLOR}.get(role, DETECTED_COLOR)
    style: dict[str, Any] = {
        "name": role,
        "colormap": DirectLabelColormap(color_dict={0: "transparent", None: color}),
        "opacity": OUTLINE_OPACITY if role in ("lesion mask", "brain mask") else AREA_OPACITY,
    }
    return style


def image_style(role: Role) -> Mapping[str, Any]:
    """Return name, colours and visibility of a derived image layer."""
    if role == "anomaly map":
        from napari.utils.colormaps import Colormap

        # Clear to opaque, not added to the scan: on a bright lesion, where it matters, a sum would be plain white.
        colormap = Colormap([(*ANOMALY_RGB, 0.0), (*ANOMALY_RGB, 1.0)], name="anomaly")
        return {"name": role, "colormap": colormap, "blending": "translucent", "opacity": MAP_OPACITY}
    return {"name": role, "colormap": "gray", "contrast_limits": (0.0, 1.0), "visible": False}
