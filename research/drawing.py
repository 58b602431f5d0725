"""The two figures of ``docs/explanation/results.md``, from ``results.json``: curves, and no picture of a scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from page import EARLIER

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
"""Of Okabe and Ito's colours those that also differ in brightness; lines differ in their dashes too."""

PARTS = (
    ("test-strokes", "strokes", BLUE, "-"),
    ("ms", "multiple sclerosis", ORANGE, "--"),
    ("hyperintensities", "hyperintensities", GREEN, "-."),
)
Z95 = 1.96


def draw_thresholds(results: Mapping[str, Any], file: Path) -> None:
    """Draw the Dice of the model's map against the threshold, for three kinds of lesion."""
    figure, axes = _axes((7.0, 4.5))
    grid = np.array(results["thresholds"]["grid"])
    curves = results["thresholds"]["maps"]["model"]
    for part, label, colour, dashes in PARTS:
        if part not in curves:
            continue
        curve = np.array(curves[part])
        scans = results["parts"][part]["model"]["scans"]
        axes.plot(grid, curve, color=colour, linestyle=dashes, linewidth=2.2, label=f"{label} ({scans})")
        best = int(curve.argmax())
        axes.plot(grid[best], curve[best], "o", color=colour, markersize=7)
    settings = results["maps"]["model"]["settings"]
    come = settings["as it comes"]["threshold"]
    axes.axvline(come, color="black", linewidth=1.2)
    top = max(max(curves[part]) for part, *_ in PARTS if part in curves)
    axes.set_ylim(0, 1.18 * top)
    axes.annotate(
        f"as it comes: {come:.3g}", (come, 1.12 * top), xytext=(5, 0), textcoords="offset points", va="center"
    )
    last = max(float(grid[np.array(curves[part]) > 0.02].max()) for part, *_ in PARTS if part in curves)
    axes.set_xlim(0, min(1.0, 1.05 * last))
    axes.set_xlabel(f"threshold of the map, score {results['maps']['model']['score']} (circle: the best one)")
    axes.set_ylabel("Dice, mean over patients\n(map alone, no post-processing)")
    _legend(figure, 3)
    _save(figure, file)


def draw_sizes(results: Mapping[str, Any], file: Path) -> None:
    """Draw the share of phantom lesions found by size at 1 false detection per patient."""
    maps, mm = results["sizes"]["maps"], results["sizes"]["mm"]
    free = max(results["without a network"], key=lambda name: maps[name]["all"] if name in maps else -1.0)
    shown = [("model", results["maps"]["model"]["model"], BLUE, "o", "-")]
    if "earlier" in maps:
        shown.append(("earlier", EARLIER, ORANGE, "s", "--"))
    shown.append((free, f"{free}, no network", GREY, "^", "-."))
    counts = [each["lesions"] for each in maps["model"]["bins"]]
    kept = [number for number, count in enumerate(counts) if count]
    figure, axes = _axes((7.0, 4.5))
    places = np.arange(len(kept), dtype=float)
    for number, (name, label, colour, mark, dashes) in enumerate(shown):
        bins = [maps[name]["bins"][each] for each in kept]
        share = np.array([each["found"] / each["lesions"] for each in bins])
        ends = np.array([wilson(each["found"], each["lesions"]) for each in bins])
        where = places + 0.09 * (number - (len(shown) - 1) / 2)
        axes.errorbar(
            where,
            share,
            yerr=np.maximum(np.abs(ends.T - share), 0),
            color=colour,
            marker=mark,
            markersize=7,
            linestyle=dashes,
            linewidth=2,
            elinewidth=1,
            capsize=2.5,
            label=f"{label}: {maps[name]['all']:.0%} of all",
        )
    axes.set_xticks(places, [f"{_range(mm, each)}\nn = {counts[each]}" for each in kept])
    axes.set_ylim(0, 1.04)
    axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
    scans = results["parts"]["phantoms"]["model"]["scans"]
    axes.set_xlabel(f"diameter of the lesion, mm ({scans} synthetic patients; bars: 95 %)")
    axes.set_ylabel("lesions found at 1 false\ndetection per patient")
    _legend(figure, 1)
    _save(figure, file)


def wilson(found: int, of: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share."""
    share, more = found / of, Z95**2 / of
    middle = (share + more / 2) / (1 + more)
    half = Z95 / (1 + more) * np.sqrt(share * (1 - share) / of + more / (4 * of))
    return middle - half, middle + half


def _range(mm: Sequence[float | None], number: int) -> str:
    low, high = mm[number], mm[number + 1]
    if not low:
        return f"under {high:g}"
    return f"over {low:g}" if high is None else f"{low:g}–{high:g}"


def _axes(size: tuple[float, float]) -> tuple[Figure, Axes]:
    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(figsize=size, layout="constrained", facecolor="white")
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _legend(figure: Figure, columns: int) -> None:
    # Above the axes, where no curve can run into it.
    figure.legend(loc="outside upper left", ncols=columns, frameon=False, fontsize=10.5, columnspacing=1.4)


def _save(figure: Figure, file: Path) -> None:
    # No date in the file: the same figures give the same bytes.
    figure.savefig(file, dpi=150, metadata={"Software": None})
    plt.close(figure)
