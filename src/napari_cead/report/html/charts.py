"""Charts as SVG in data URIs: points with intervals, and curves over the threshold.

Every chart is narrow enough for a phone and fits beside others on a wide screen. They are drawn without pyplot, so that
the running program's figures, settings and display stay untouched.
"""

from __future__ import annotations

import base64
import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...detection.rules import RULES, is_optimistic
from ...metrics import Interval
from ...wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..results import Curve

# Okabe and Ito's palette, suitable for colour-blind readers.
MODEL_COLOR = "#0072b2"
BASELINE_COLOR = "#d55e00"
INK, FAINT, GRID = "#333333", "#777777", "#e4e4e4"

WIDTH = 400
"""Width of a chart with labels in CSS pixels."""

_SMALL = 300
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif"
_LETTER = 6.3  # width in pixels of a letter of a label, generous: the reader's font is unknown
_LONGEST = 24  # letters of a label


@dataclass(frozen=True)
class Chart:
    """A picture for an ``<img>``.

    Attributes:
        uri: Data URI.
        alt: Description for those who cannot see it.
        width: Natural width in CSS pixels.
        height: Natural height in CSS pixels.
    """

    uri: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class Line:
    """One line of a chart: a model with its value.

    Attributes:
        label: Name of the model.
        detail: Distinguishes it from other lines of the same name; may be empty.
        value: Its value; NaN is not drawn.
        interval: Interval of the value.
        baseline: Whether it is a baseline without a network.
    """

    label: str
    detail: str
    value: float
    interval: Interval | None = None
    baseline: bool = False


def point_chart(
    lines: Sequence[Line],
    title: str,
    *,
    limits: tuple[float, float] = (0.0, 1.0),
    reference: float | None = None,
    hollow: bool = False,
) -> Chart:
    """Draw one value with its interval for each line.

    Args:
        lines: From top to bottom.
        title: Title of the values.
        limits: Range of the axis.
        reference: Position of a line to compare with.
        hollow: Whether the points are open, which marks optimistic figures.
    """
    with _drawing():
        figure, axes = _lines(lines, title, limits)
        if reference is not None and math.isfinite(reference):
            axes.axvline(reference, color=BASELINE_COLOR, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        for place, line in enumerate(lines):
            color = BASELINE_COLOR if line.baseline else MODEL_COLOR
            if line.interval is not None:
                axes.plot(
                    line.interval,
                    [place, place],
                    color=color,
                    linewidth=2,
                    alpha=0.45,
                    solid_capstyle="round",
                )
            axes.plot(
                [line.value],
                [place],
                marker="D" if line.baseline else "o",
                markersize=6 if line.baseline else 7,
                color=color,
                markerfacecolor="white" if hollow else color,
                linestyle="none",
                clip_on=False,
            )
            if not math.isfinite(line.value):
                axes.text(limits[0], place, " –", color=FAINT, va="center")
        return _svg(figure, f"{title}: " + "; ".join(_spoken(line) for line in lines))


def curve_chart(curve: Curve, chosen: Mapping[str, float], top: float, detail: str = "") -> Chart:
    """Draw Dice over the threshold: raw and pooled as a solid line, post-processed as a dashed one.

    Args:
        curve: The curve.
        chosen: Threshold by the rule that chose it.
        top: Upper end of the Dice axis, the same in all charts side by side.
        detail: Distinguishes it from other curves of the same model.
    """
    with _drawing():
        figure, axes = _blank(_SMALL, 200, left=38, right=10, top=40 if detail else 26, bottom=36)
        axes.plot(curve.thresholds, curve.raw_dice_pooled, color=MODEL_COLOR, linewidth=1.4)
        if curve.processed_dice_patient:
            axes.plot(
                curve.processed_thresholds,
                curve.processed_dice_patient,
                color=BASELINE_COLOR,
                linewidth=1.6,
                linestyle=(0, (5, 2.5)),
            )
        right = _right_end(curve, chosen)
        for rule, threshold in chosen.items():
            axes.plot(
                [threshold],
                [0],
                marker=RULES.find(rule).marker if rule in RULES else "o",
                markersize=7,
                color=INK,
                markerfacecolor="white" if is_optimistic(rule) else INK,
                clip_on=False,
                zorder=5,
                linestyle="none",
            )
        axes.set(xlim=(0, right), ylim=(0, top), xlabel="threshold", ylabel="Dice")
        axes.grid(True, color=GRID, linewidth=0.8)
        axes.locator_params(nbins=5)
        _heading(axes, _short(curve.model), detail)
        best = np.nanmax([*curve.raw_dice_pooled, 0.0])
        marks = "; ".join(f"{rule} chose {value:.3g}" for rule, value in chosen.items())
        return _svg(
            figure,
            f"Dice over the threshold of {curve.model} {detail}: raw pooled Dice reaches {best:.3f}"
            + (f"; {marks}" if marks else ""),
        )


def _right_end(curve: Curve, chosen: Mapping[str, float]) -> float:
    """Return the threshold at which the curves have fallen to almost nothing: a residual seldom reaches far."""
    end = max(chosen.values(), default=0.0) * 1.15
    for places, values in (
        (curve.thresholds, curve.raw_dice_pooled),
        (curve.processed_thresholds, curve.processed_dice_patient),
    ):
        found = np.nan_to_num(np.array(values, dtype=np.float64))
        if found.any():
            end = max(end, float(np.array(places)[found > 0.04 * found.max()].max()))
    return min(max(math.ceil(end * 10) / 10, 0.2), 1.0)


@contextmanager
def _drawing() -> Iterator[None]:
    """Set options that only matplotlib's settings offer, while one chart is drawn."""
    from matplotlib import rc_context

    settings: dict[Any, Any] = {
        "svg.fonttype": "none",  # text stays text, in the reader's own font
        "svg.hashsalt": "napari-cead",
        "text.parse_math": False,  # a dollar sign in a name is a dollar sign
        "text.color": INK,
        "font.size": 11,
        "axes.edgecolor": "#bbbbbb",
        "axes.labelcolor": INK,
        "axes.labelsize": 10.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "xtick.color": "#bbbbbb",
        "ytick.color": "#bbbbbb",
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
    }
    with rc_context(settings), warnings.catch_warnings():
        # Names may be in any script: the reader's browser has the letters even if matplotlib's font does not.
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def _blank(
    width: int, height: int, *, left: float, right: float, top: float, bottom: float
) -> tuple[Figure, Axes]:
    """Return an empty figure of the given size with margins, in pixels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    figure.patch.set_visible(False)
    axes = figure.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    )
    axes.patch.set_visible(False)
    return figure, axes


def _lines(lines: Sequence[Line], title: str, limits: tuple[float, float]) -> tuple[Figure, Axes]:
    """Return axes with a labelled line for each model, the first on top."""
    detailed = any(line.detail for line in lines)
    step = 32 if detailed else 24
    longest = max(
        (max(len(_short(line.label)), 0.85 * len(_short(line.detail))) for line in lines), default=0
    )
    left = 14 + _LETTER * longest
    top, bottom = 30, 26
    figure, axes = _blank(
        WIDTH, top + bottom + step * max(len(lines), 1), left=left, right=14, top=top, bottom=bottom
    )
    axes.set(xlim=limits, ylim=(len(lines) - 0.5, -0.5), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.grid(True, axis="x", color=GRID, linewidth=0.8)
    axes.locator_params(axis="x", nbins=6)
    for place, line in enumerate(lines):
        place_of: dict[str, Any] = {
            "xycoords": ("axes fraction", "data"),
            "textcoords": "offset points",
            "ha": "right",
        }
        if place % 2:
            axes.axhspan(place - 0.5, place + 0.5, color="#000000", alpha=0.025, linewidth=0)
        offset = 5.5 if line.detail else 0
        color = BASELINE_COLOR if line.baseline else INK
        axes.annotate(_short(line.label), (0, place), (-9, offset), va="center", color=color, **place_of)
        if line.detail:
            axes.annotate(
                _short(line.detail), (0, place), (-9, -7), va="center", color=FAINT, fontsize=9, **place_of
            )
    axes.annotate(title, (0, 1), (0, 9), xycoords="axes fraction", textcoords="offset points", weight="bold")
    return figure, axes


def _heading(axes: Axes, name: str, detail: str) -> None:
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(name, (0, 1), (0, 23 if detail else 9), weight="bold", **place)
    if detail:
        axes.annotate(_short(detail, 40), (0, 1), (0, 8), color=FAINT, fontsize=9.5, **place)


def _short(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _spoken(line: Line) -> str:
    value = number(line.value) if math.isfinite(line.value) else "undefined"
    return " ".join(part for part in (line.label, line.detail, value) if part)


def _svg(figure: Figure, alt: str) -> Chart:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = stream.getvalue()
    text = text[text.index("<svg") :]  # without the declaration, which refers to an external document type
    text = re.sub(r"font-family: [^;\"]*", f"font-family: {_FONT}", text)
    text = re.sub(r"\n *", " ", text)
    width, height = (round(inches * 72) for inches in figure.get_size_inches())
    encoded = base64.b64encode(text.encode()).decode()
    return Chart(f"data:image/svg+xml;base64,{encoded}", alt, width, height)
