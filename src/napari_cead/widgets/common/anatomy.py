"""Where left, right, front, back, top and bottom of the patient lie on the screen. Pure rules: no viewer, no Qt.

Volumes are canonical LPS (Z, Y, X): z grows to superior, y to posterior, x to the patient's left. What the
screen shows of them is said in napari's words: the last three axes of ``dims.order`` are depth, vertical and
horizontal, and each grows ``"towards"`` the viewer or ``"away"``, ``"down"`` or ``"up"``, ``"right"`` or ``"left"``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Convention = Literal["radiological", "neurological"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)
"""Radiological: the patient's right is on the left of the picture, as if seen from the feet. Neurological: on
the right, as if seen from above."""

Cut = Literal["axial", "coronal", "sagittal"]
CUTS: tuple[Cut, ...] = get_args(Cut)
"""The cuts; each is named by where its slices lie, and its normal is z, y and x."""

Z, Y, X = range(3)
ENDS = (("I", "S"), ("A", "P"), ("R", "L"))
"""Letter at the low and the high end of z, y and x."""

_ORDERS: dict[Cut, tuple[int, int, int]] = {"axial": (Z, Y, X), "coronal": (Y, Z, X), "sagittal": (X, Z, Y)}
# Directions in which z, y and x grow, in the right-handed world of R, A and S.
_ANATOMY = np.array([(0, 0, 1), (0, -1, 0), (-1, 0, 0)])
# Directions on the screen: right, up, and towards the viewer are right-handed as well.
_SCREEN = {
    "towards": (0, 0, 1),
    "away": (0, 0, -1),
    "up": (0, 1, 0),
    "down": (0, -1, 0),
    "right": (1, 0, 0),
    "left": (-1, 0, 0),
}


@dataclass(frozen=True)
class Marks:
    """The letters at the four edges of the canvas."""

    top: str
    bottom: str
    left: str
    right: str


def marks(vertical: int, horizontal: int, vertical_grows: str, horizontal_grows: str) -> Marks:
    """Return the letters at the edges.

    Args:
        vertical: Axis shown from top to bottom: 0, 1 or 2 for z, y or x.
        horizontal: Axis shown from left to right.
        vertical_grows: ``"down"`` or ``"up"``.
        horizontal_grows: ``"right"`` or ``"left"``.
    """
    low, high = ENDS[vertical]
    top, bottom = (low, high) if vertical_grows == "down" else (high, low)
    low, high = ENDS[horizontal]
    left, right = (low, high) if horizontal_grows == "right" else (high, low)
    return Marks(top, bottom, left, right)


def order_of(cut: Cut) -> tuple[int, int, int]:
    """Return the axes as depth, vertical and horizontal that show a cut upright."""
    return _ORDERS[cut]


def orientation(order: Sequence[int], convention: Convention) -> tuple[str, str, str]:
    """Return how depth, vertical and horizontal should grow so that a patient stands as people expect.

    Superior and anterior are up, anterior is left in sagittal cuts, and left and right follow the convention.
    The depth is chosen such that the picture is never a mirror image: in 3-D that would be another anatomy.

    Args:
        order: The axes (0, 1, 2 for z, y, x) that are depth, vertical and horizontal.
        convention: Which side is which.
    """
    _, vertical, horizontal = order
    grows_vertical = "up" if vertical == Z else "down"
    grows_horizontal = "left" if horizontal == X and convention == "neurological" else "right"
    anatomy = np.linalg.det(_ANATOMY[list(order)])
    screen = np.linalg.det([_SCREEN[way] for way in ("towards", grows_vertical, grows_horizontal)])
    return ("towards" if anatomy * screen > 0 else "away", grows_vertical, grows_horizontal)
