"""A comparison of a model before and after fine-tuning as tables of text, for a terminal or a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .before_after import BeforeAfter, LocalThreshold
    from .lesion_rows import LesionRow

_LABELS = {
    "residual": "residual in the brain",
    "psnr": "PSNR (dB)",
    "psnr_brain": "PSNR in the brain (dB)",
    "ssim": "SSIM",
}


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: Its title.
        headers: Titles of the columns.
        rows: The cells, row by row.
        groups: Number of leading columns that identify a group of rows; in a narrow layout, a line above the group
            can show them once.
    """

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    groups: int = 0


_OF_DENOISERS = {"better": "closer", "worse": "further", "unclear": "unclear"}
"""Words for a model that may change a slice without being worse."""


def tables(found: BeforeAfter) -> tuple[Table, ...]:
    """Return the tables of a comparison: healthy slices, thresholds and a patient, if there are any."""
    made = (_healthy(found), _thresholds(found.thresholds), _patient(found.patient, found.rows))
    return tuple(table for table in made if table.rows)


def _healthy(found: BeforeAfter) -> Table:
    rows = []
    for name, figure in found.figures.items():
        low_high = figure.interval
        interval = "–" if low_high is None else f"{low_high[0]:+.4f} to {low_high[1]:+.4f}"
        values = _number(figure.before), _number(figure.after), f"{figure.difference:+.4f}"
        verdict = _OF_DENOISERS[figure.verdict] if found.denoising else figure.verdict
        rows.append((_LABELS[name], *values, interval, verdict))
    title = f"{found.slices} healthy {found.part} slices of {found.patients} patients"
    headers = "figure", "before", "after", "change", "95 % interval", "verdict"
    return Table(title, headers, tuple(rows), groups=1)


def _thresholds(thresholds: Sequence[LocalThreshold]) -> Table:
    rows = tuple(
        (
            item.score,
            _number(item.before),
            _share(item.above_before),
            _number(item.after),
            _share(item.above_after),
            _number(item.before_local),
        )
        for item in thresholds
        if item.before is not None or item.after is not None
    )
    title = "Thresholds by healthy quantile, each with the share of the healthy local brain above it"
    return Table(title, ("score", "before", "above", "after", "above", "before, on local scans"), rows)


def _patient(name: str | None, rows: Sequence[LesionRow]) -> Table:
    cells = tuple(
        (
            row.model,
            row.score or "–",
            f"{row.rule}{' *' if row.default else ''}{' (optimistic)' if row.optimistic else ''}",
            row.chosen_on or "–",
            _number(None if row.params is None else row.params.threshold),
            _number(row.dice),
            _number(row.figures.detected_ml),
        )
        for row in rows
    )
    title = f"Patient {name} (* the model's default settings)"
    headers = "model", "score", "rule", "chosen on", "threshold", "Dice (volume)", "found (mL)"
    return Table(title, headers, cells, groups=2)


def _number(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
