"""Warnings about rows with patients that the model was trained on: their figures are too good."""

from __future__ import annotations

from collections.abc import Sequence

from .results import Row

_NAMED = 3
"""Number of patients that are named; beyond it the number is enough."""


def mark_of(row: Row) -> str:
    """Return the mark of a row with patients that its model was trained on; empty without."""
    return f"trained on {len(row.trained_on)} of {len(row.patients)}" if row.trained_on else ""


def trained_on_warnings(rows: Sequence[Row]) -> list[str]:
    """Return a warning for each model that was trained on reported patients."""
    found = {}
    for row in rows:
        if row.trained_on:
            names, more = row.trained_on[:_NAMED], len(row.trained_on) - _NAMED
            listed = ", ".join(names) + (f" and {more} more" if more > 0 else "")
            found[row.model] = (
                f"{row.model} was trained on {len(row.trained_on)} of the {len(row.patients)} reported patients "
                f"({listed}): its figures are too good"
            )
    return list(found.values())


def not_known(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the models that may or may not have been trained on the reported patients."""
    return tuple(dict.fromkeys(row.model for row in rows if row.patients and row.trained_on is None))
