"""Cells and lines of Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from napari_cead.detection.baselines import BASELINES

from .figures import NOTHING
from .scans import FREE, MS, STROKE

Figures = Mapping[str, Any]


def marked(figures: Figures | None, intervals: bool) -> tuple[str, str]:
    if figures is None:
        return "–", "–"
    values = [figures[name] for name in ("share_of_brain", "share_of_slices")]
    return percent(values[0], intervals, 2), percent(values[1], intervals, 0)


def percent(figure: Figures, intervals: bool, digits: int) -> str:
    text = f"{100 * figure['value']:.{digits}f} %"
    if intervals and figure["interval"] is not None:
        low, high = figure["interval"]
        text += f" [{100 * low:.{digits}f}, {100 * high:.{digits}f}]"
    return text


def threshold(thresholds: Figures) -> str:
    if STROKE not in thresholds:
        value = thresholds.get(MS)
        return "–" if value is None else f"{value:.3f}"
    stroke, elsewhere = thresholds[STROKE], thresholds.get(FREE)
    if isinstance(stroke, list):
        return f"{min(stroke):.3f}–{max(stroke):.3f}, {elsewhere:.3f}"
    return f"{stroke:.3f}" if elsewhere == stroke or elsewhere is None else f"{stroke:.3f}, {elsewhere:.3f}"


def model_cell(name: str) -> str:
    free = {NOTHING, *(baseline.title("flair") for baseline in BASELINES.values())}
    return f"baseline `{name}`" if name in free else f"`{name}`"


def score_cell(name: str) -> str:
    return name if name == "–" else f"`{name}`"


def rule_cell(row: Figures) -> str:
    if row["model"] == NOTHING:
        return "–"
    return f"`{row['rule']}`" + (" (optimistic)" if row["optimistic"] else "")


def number(figure: Figures | None, digits: int = 3, signed: bool = False) -> str:
    if figure is None or figure["value"] is None or figure["value"] != figure["value"]:
        return "–"
    sign = "+" if signed else ""
    text = f"{figure['value']:{sign}.{digits}f}"
    if figure["interval"] is not None:
        low, high = figure["interval"]
        text += f" [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
    return text


def lines_of(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]
