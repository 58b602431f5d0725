"""The colours of the layers can be told apart, also by readers who do not see red or green."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from napari_cead.contributions.layers import (
    ANOMALY_RGB,
    AREA_OPACITY,
    BRAIN_COLOR,
    DETECTED_COLOR,
    LESION_COLOR,
    MAP_OPACITY,
    OUTLINE_OPACITY,
)

SEEN = {
    "all": np.eye(3),
    # Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
    "no green": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "no red": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
}
CLEAR = 10.0
"""CIEDE2000: 1 is just noticeable side by side, 10 is seen at a glance."""

GREYS = (0.0, 0.25, 0.55, 0.9)
"""Background, cerebrospinal fluid, tissue, and a bright lesion of a scan."""


def rgb(name):
    return np.array([int(name[place : place + 2], 16) for place in (1, 3, 5)]) / 255


def over(ground, color, opacity):
    return (1 - opacity) * np.asarray(ground) + opacity * np.asarray(color)


def seen_by(color, matrix):
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    linear = np.clip(matrix @ linear, 0, 1)
    color = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return rgb2lab(color[None, None])[0, 0]


def difference(one, other, matrix):
    return float(deltaE_ciede2000(seen_by(one, matrix), seen_by(other, matrix)))


@pytest.mark.parametrize("matrix", SEEN.values(), ids=SEEN)
def test_mask_reference_map_and_brain_are_clearly_different_on_every_grey(matrix):
    detected, lesion, brain = (rgb(name) for name in (DETECTED_COLOR, LESION_COLOR, BRAIN_COLOR))
    too_near = {}
    for grey, strength in product(GREYS, (0.0, 0.5, 1.0)):
        scan = np.full(3, grey)
        ground = over(scan, ANOMALY_RGB, MAP_OPACITY * strength)
        area = over(ground, detected, AREA_OPACITY)
        pairs = {
            "area, ground": (area, ground),
            "outline, ground": (over(ground, lesion, OUTLINE_OPACITY), ground),
            "outline, area": (over(area, lesion, OUTLINE_OPACITY), area),
            "brain, ground": (over(ground, brain, OUTLINE_OPACITY), ground),
            "brain, outline": (over(ground, brain, OUTLINE_OPACITY), over(ground, lesion, OUTLINE_OPACITY)),
        }
        if strength == 1.0:
            pairs["map, scan"] = ground, scan
        for name, (one, other) in pairs.items():
            if (found := difference(one, other, matrix)) < CLEAR:
                too_near[name, grey, strength] = round(found, 1)
    assert too_near == {}


def test_the_simulation_knows_what_readers_without_green_mix_up():
    """Red and the green of the same lightness; and that the outline was lost on the magenta map of before."""
    red, green, magenta = np.array([0.8, 0.2, 0.2]), np.array([0.42, 0.42, 0.0]), np.array([1.0, 0.0, 1.0])
    assert difference(red, green, SEEN["all"]) > 30
    assert difference(red, green, SEEN["no green"]) < CLEAR
    assert difference(magenta, rgb(LESION_COLOR), SEEN["no green"]) < CLEAR
