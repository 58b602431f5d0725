"""Warnings about the losses of a running training: plain sentences over its history."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..models.networks import NETWORKS

DIVERGED = 3.0
"""A loss this many times the best one counts as diverged."""

WINDOW = 5
"""Epochs without a smaller validation loss, while the training loss falls, that count as overfitting."""

RISE = 1.02
"""Overfitting also needs a validation loss at least this many times the best one: less is noise."""


def advice(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each apparent problem; none for a healthy training.

    Args:
        history: Epochs in order, each with ``epoch``, ``train_loss`` and ``validation_loss`` (None counts as NaN), and
            where the family has them figures of its own: lines of a run's log, or its ``epoch``
            events.
    """
    if not history:
        return []
    found = [_divergence(history), _over_fitting(history), *(family.advice(history) for family in NETWORKS)]
    return [sentence for sentence in found if sentence is not None]


def _divergence(history: Sequence[Mapping[str, Any]]) -> str | None:
    for name in ("train", "validation"):
        values = [_number(entry, f"{name}_loss") for entry in history]
        if not math.isfinite(values[-1]):
            return f"The {name} loss is no longer a number: start again with a lower learning rate."
        best = min(value for value in values if math.isfinite(value))
        if best > 0 and values[-1] > DIVERGED * best:
            return (
                f"The {name} loss is {values[-1] / best:.1f} times its best: the training diverges; a lower learning "
                "rate or clipped gradients (--clip 1) help."
            )
    return None


def _over_fitting(history: Sequence[Mapping[str, Any]]) -> str | None:
    if len(history) <= WINDOW:
        return None
    validation = [_number(entry, "validation_loss") for entry in history]
    train = [_number(entry, "train_loss") for entry in history[-WINDOW - 1 :]]
    if not all(math.isfinite(value) for value in (*validation, *train)):
        return None
    best = min(range(len(validation)), key=validation.__getitem__)
    waited = len(validation) - 1 - best
    recent = validation[-WINDOW - 1 :]
    if waited >= WINDOW and recent[-1] > RISE * validation[best] and _slope(recent) > 0 > _slope(train):
        return (
            f"The validation loss has not fallen for {waited} epochs while the training loss has: the model overfits; "
            f"stop and keep epoch {history[best]['epoch']:.0f}, or train on more scans."
        )
    return None


def _number(entry: Mapping[str, Any], name: str) -> float:
    value = entry.get(name)
    return math.nan if value is None else float(value)


def _slope(values: Sequence[float]) -> float:
    """Return the slope of the least-squares line through equally spaced values."""
    middle = (len(values) - 1) / 2
    return sum((number - middle) * value for number, value in enumerate(values))
