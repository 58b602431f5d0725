"""Anomaly scores: what turns an image and its reconstruction into an anomaly map in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Score:
    """An anomaly score.

    Attributes:
        name: Name on the command line and in files.
        description: One line for menus and help.
        compute: ``(image, reconstruction) -> score``, arrays of one shape; image is in [0, 1].
        scaled: Whether the score is divided by a constant that the model carries. Scores of images in
            [0, 1] that stay in [0, 1] need none, so that a threshold means the same for every patient.
    """

    name: str
    description: str
    compute: Callable[[Values, Values], Values]
    scaled: bool = False


def _residual(image: Values, reconstruction: Values) -> Values:
    return np.asarray(np.abs(image - reconstruction))


def _positive_residual(image: Values, reconstruction: Values) -> Values:
    return np.asarray(np.maximum(image - reconstruction, np.float32(0)))


def _squared(image: Values, reconstruction: Values) -> Values:
    return np.asarray(np.square(image - reconstruction))


def _intensity(image: Values, reconstruction: Values) -> Values:
    return image.copy()


SCORES: Mapping[str, Score] = {
    score.name: score
    for score in (
        Score("residual", "absolute difference between image and reconstruction (the paper)", _residual),
        Score("positive-residual", "brighter than its reconstruction", _positive_residual),
        Score("squared", "squared difference between image and reconstruction", _squared),
        Score("intensity", "the image itself: a baseline that uses no network", _intensity),
    )
}
"""All scores by name."""


def anomaly_score(
    name: str, image: Values, reconstruction: Values, scales: Mapping[str, float] | None = None
) -> Values:
    """Return the anomaly score of every pixel, in [0, 1].

    Never scaled by the map's own minimum or maximum: a threshold means the same on every slice and patient.

    Args:
        name: One of ``SCORES``.
        image: Intensities in [0, 1], any shape.
        reconstruction: What the network made of it, same shape.
        scales: The model's constants by score name.

    Raises:
        ParameterError: If the score is unknown.
    """
    score = SCORES.get(name)
    if score is None:
        raise ParameterError(f"unknown score {name!r}", mend=f"use one of {', '.join(SCORES)}")
    values = score.compute(image, reconstruction)
    if score.scaled:
        values = values / np.float32((scales or {}).get(name, 1.0))
    return np.asarray(np.clip(values, 0, 1), dtype=np.float32)
