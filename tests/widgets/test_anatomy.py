"""The rules of which side is which, against nibabel's orientations."""

from __future__ import annotations

from itertools import permutations

import nibabel as nib
import numpy as np
import pytest

from napari_cead.widgets.common.anatomy import CONVENTIONS, CUTS, marks, order_of, orientation

TOWARDS_VIEWER = {"towards": 1, "away": -1}
UP = {"up": 1, "down": -1}
RIGHT = {"right": 1, "left": -1}


def screen_codes(order, ways):
    """Letters towards which the screen's right, up and viewer lie, worked out by nibabel from an affine."""
    # World (R, A, S) of a canonical LPS (z, y, x) index, and the screen (right, up, viewer) of the same index.
    world = np.zeros((3, 3))
    for axis, column in enumerate([(0, 0, 1), (0, -1, 0), (-1, 0, 0)]):
        world[:, axis] = column
    screen = np.zeros((3, 3))
    depth, vertical, horizontal = order
    screen[2, depth] = TOWARDS_VIEWER[ways[0]]
    screen[1, vertical] = UP[ways[1]]
    screen[0, horizontal] = RIGHT[ways[2]]
    affine = np.eye(4)
    affine[:3, :3] = world @ np.linalg.inv(screen)
    return nib.aff2axcodes(affine), np.linalg.det(affine[:3, :3])


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_marks_say_what_nibabel_says_and_nothing_is_a_mirror_image(order, convention):
    ways = orientation(order, convention)
    (right, up, _), determinant = screen_codes(order, ways)
    assert determinant == pytest.approx(1)
    shown = marks(order[1], order[2], ways[1], ways[2])
    assert (shown.right, shown.top) == (right, up)
    opposite = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S"}
    assert (shown.left, shown.bottom) == (opposite[right], opposite[up])


@pytest.mark.parametrize("vertical", ["up", "down"])
@pytest.mark.parametrize("horizontal", ["right", "left"])
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_marks_follow_every_flip(order, vertical, horizontal):
    (right, up, _), _ = screen_codes(order, ("away", vertical, horizontal))
    shown = marks(order[1], order[2], vertical, horizontal)
    assert (shown.right, shown.top) == (right, up)


@pytest.mark.parametrize(
    ("cut", "convention", "top", "left"),
    [
        ("axial", "radiological", "A", "R"),
        ("coronal", "radiological", "S", "R"),
        ("sagittal", "radiological", "S", "A"),
        ("axial", "neurological", "A", "L"),
        ("coronal", "neurological", "S", "L"),
        ("sagittal", "neurological", "S", "A"),
    ],
)
def test_patients_stand_as_the_textbooks_show_them(cut, convention, top, left):
    order = order_of(cut)
    _, vertical, horizontal = orientation(order, convention)
    shown = marks(order[1], order[2], vertical, horizontal)
    assert (shown.top, shown.left) == (top, left)
    assert cut in CUTS
