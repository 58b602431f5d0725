"""Slices as pictures: the images as PNG in data URIs, masks as outlines that stay sharp at every size."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import find_contours

from ...metrics.overlap import bounding_box
from ..results import SlicePicture

# The colours of the layers in napari: Okabe and Ito's, suitable for colour-blind readers.
REFERENCE_COLOR = "#56b4e9"
DETECTED_COLOR = "#e69f00"

_COLORMAP = "inferno"
_MARGIN = 6  # pixels around the brain


@dataclass(frozen=True)
class Panels:
    """The content of the panels of one slice, cropped to the brain.

    Attributes:
        width: Pixels along x.
        height: Pixels along y.
        input: Data URI.
        reconstruction: Data URI.
        anomaly_map: Data URI.
        mask: Outline of the detected mask as the path of an SVG.
        reference: Outline of the lesion mask as the path of an SVG.
    """

    width: int
    height: int
    input: str
    reconstruction: str
    anomaly_map: str
    mask: str
    reference: str


def panels(picture: SlicePicture) -> Panels:
    """Return the panels of a slice; grey levels and the anomaly map range from 0 to 1, never stretched."""
    box = _brain_box([picture.input, picture.reference, picture.mask])
    height, width = (side.stop - side.start for side in box)
    return Panels(
        width,
        height,
        _png(_levels(picture.input[box])),
        _png(_levels(picture.reconstruction[box])),
        _png(_levels(picture.anomaly_map[box]), _palette()),
        outline(picture.mask[box]),
        outline(picture.reference[box]),
    )


def outline(mask: NDArray[np.bool_]) -> str:
    """Return the outline of a mask (Y, X) as the path of an SVG, one unit for each pixel; holes are left out."""
    paths = []
    # With a margin, so that outlines at the edge are closed as well; a pixel's centre is at half a unit.
    for points in find_contours(np.pad(mask, 1).astype(np.float32), 0.5):
        corners = (f"{x - 0.5:.4g} {y - 0.5:.4g}" for y, x in points[:-1])
        paths.append("M" + "L".join(corners) + "Z")
    return "".join(paths)


def color_stops(number: int = 9) -> tuple[str, ...]:
    """Return colours of the anomaly map from 0 to 1, for a colour bar."""
    palette = _palette()
    levels = np.linspace(0, 255, number).astype(int)
    return tuple("#" + bytes(palette[3 * level : 3 * level + 3]).hex() for level in levels)


def _brain_box(images: Sequence[NDArray[np.float32] | NDArray[np.bool_]]) -> tuple[slice, slice]:
    shown = np.any([image > 0 for image in images], axis=0)
    box = bounding_box(shown if shown.any() else np.ones_like(shown))
    rows, columns = (
        slice(max(side.start - _MARGIN, 0), min(side.stop + _MARGIN, length))
        for side, length in zip(box, shown.shape, strict=True)
    )
    return rows, columns


def _levels(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8)


def _palette() -> list[int]:
    """Return red, green and blue of 256 levels, one after the other."""
    from matplotlib import colormaps

    colors = colormaps[_COLORMAP](np.arange(256))[:, :3]
    return [int(value) for value in np.rint(colors * 255).astype(int).ravel()]


def _png(levels: NDArray[np.uint8], palette: Sequence[int] | None = None) -> str:
    image = Image.fromarray(levels)
    if palette is not None:
        image.putpalette(list(palette))
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
