"""A comparison of a model before and after fine-tuning, as lines of a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .console import number

if TYPE_CHECKING:
    from ..evaluation.before_after import BeforeAfter

_LABELS = {
    "residual": "residual in the brain",
    "psnr": "PSNR (dB)",
    "psnr_brain": "PSNR in the brain (dB)",
    "ssim": "SSIM",
}


def described(found: BeforeAfter) -> Iterator[str]:
    """Give the lines of a comparison for a reader."""
    if found.figures:
        yield f"{found.slices} healthy {found.part} slices of {found.patients} patients"
        table = [("", "before", "after", "difference", "95 % interval", "")]
        for name, figure in found.figures.items():
            interval = (
                "–" if figure.interval is None else f"{figure.interval[0]:+.3f} to {figure.interval[1]:+.3f}"
            )
            values = number(figure.before), number(figure.after), f"{figure.difference:+.3f}"
            table.append((_LABELS[name], *values, interval, figure.verdict))
        yield from _aligned(table)
    thresholds = [item for item in found.thresholds if item.before is not None or item.after is not None]
    if thresholds:
        yield ""
        yield "Thresholds by healthy quantile, with the share of the healthy local brain above"
        table = [("", "before", "", "after", "", "before, on local scans")]
        table += [
            (
                item.score,
                number(item.before),
                _share(item.above_before),
                number(item.after),
                _share(item.above_after),
                number(item.before_local),
            )
            for item in thresholds
        ]
        yield from _aligned(table)
    if found.rows:
        yield ""
        yield f"Patient {found.patient} (* the settings that the model is used with)"
        rows = [("model", "score", "rule", "chosen on", "threshold", "Dice (volume)", "detected mL")]
        for row in found.rows:
            rows.append(
                (
                    row.model,
                    row.score or "–",
                    f"{row.rule}{' *' if row.default else ''}{' (optimistic)' if row.optimistic else ''}",
                    row.chosen_on or "–",
                    number(None if row.params is None else row.params.threshold),
                    number(row.dice),
                    number(row.figures.detected_ml),
                )
            )
        yield from _aligned(rows)
    yield ""
    yield found.verdict
    for note in found.notes:
        yield f"note: {note}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
