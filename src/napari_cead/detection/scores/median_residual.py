"""The residual under a median filter."""

from __future__ import annotations

import cv2
import numpy as np

from ._score import Evidence, Score, Values, residual

MEDIAN = 5
"""Side in pixels of the squares of the median filter and of the erosion of the brain."""


def _compute(of: Evidence) -> Values:
    values = residual(of)
    result = np.zeros_like(values)
    brain = np.broadcast_to(of.image > 0, values.shape).astype(np.uint8)
    square = np.ones((MEDIAN, MEDIAN), np.uint8)
    for index in np.ndindex(values.shape[:-2]):
        inside = cv2.erode(brain[index], square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        result[index] = cv2.medianBlur(values[index] * inside, MEDIAN) * inside
    return result


OFFERED = (
    Score(
        "median-residual",
        f"residual under a {MEDIAN} x {MEDIAN} median filter, without the brain's rim (Kascenas et al. 2022)",
        _compute,
        whole=True,
        place=4,
    ),
)
