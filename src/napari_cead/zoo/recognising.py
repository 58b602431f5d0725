"""Check whether a model was trained on a scan, from the marks on its card."""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence

from ..slices.marks import keyed
from .card import MARK, ModelCard, Recognised

LARGEST = 500_000
"""Largest number of marks on a card, some 4 MB; beyond it, every n-th slice of each patient is kept."""


def recognised(patients: Iterable[Sequence[str]]) -> Recognised:
    """Return the marks of a model's training patients for its card.

    The key is drawn anew for each model: cards do not show which models know the same scan.

    Args:
        patients: For each patient the marks of its slices, from :func:`~napari_cead.slices.marks.slice_marks`.
    """
    key = secrets.token_bytes(16)
    marks = [sorted({mark for mark in slices if mark}) for slices in patients]
    every = -(-sum(map(len, marks)) // LARGEST) or 1
    # Sorted by their hashes, which hides the order of the slices and of the patients.
    texts = ["".join(sorted(_text(mark, key) for mark in slices[::every])) for slices in marks]
    return Recognised(key=key.hex(), patients=tuple(sorted(texts)))


def was_trained_on(card: ModelCard, marks: Sequence[str]) -> bool | None:
    """Return whether a model, or one of its base models, was trained on any slice of a scan.

    Args:
        card: The model's card.
        marks: Marks of the slices of the scan.

    Returns:
        None if the card does not say, or cannot distinguish such small slices.
    """
    shown = {mark for mark in marks if mark}
    for training in card.trained_on:
        key = bytes.fromhex(training.key)
        looked_for = {_text(mark, key) for mark in shown}
        if any(not looked_for.isdisjoint(_split(patient)) for patient in training.patients):
            return True
    complete = len(card.trained_on) == 1 + len(card.parents)
    return False if complete and shown else None


def _text(mark: str, key: bytes) -> str:
    return urlsafe_b64encode(keyed(mark, key)).decode()


def _split(patient: str) -> list[str]:
    return [patient[start : start + MARK] for start in range(0, len(patient), MARK)]
