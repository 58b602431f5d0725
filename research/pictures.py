"""The pictures of a model's card. The same figures give the same files, byte by byte, with the same matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray
from PIL import Image

from napari_cead.atomic import atomic_path
from napari_cead.detection.pipeline import run
from napari_cead.patients import Patient
from napari_cead.slices import brain_mask
from napari_cead.zoo import Detector

Images = NDArray[np.float32]

LARGEST_CURVE, LARGEST_EXAMPLES = 40_000, 150_000
"""Most bytes of a picture."""

HEALTHY, LESION = 4, 2
"""Slices of an example picture."""

APART = 8
"""Slices between two lesion slices, and from a healthy slice to the next lesion, where there are enough."""

QUALITIES = (82, 76, 70, 64, 58)
"""JPEG qualities for examples: the first that is small enough is taken."""

BRIGHTEST = 0.4
"""Residual that has the brightest colour, for all models alike."""

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.4",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
TRAINING, VALIDATION, CODES, CONTOUR = "#9aa5b1", "#1f5fa8", "#3a8f5c", "#35e0ff"


def loss_curve(
    log: Sequence[Mapping[str, float]], best_epoch: int, context: bool, codes: int, file: Path
) -> None:
    """Draw the losses by epoch, and the used codes where there is a codebook.

    Args:
        log: Lines of the log, in order.
        best_epoch: The epoch that was kept.
        context: Whether the training loss holds the term of context encoding.
        codes: Number of code vectors; 0 without a codebook.
        file: PNG to write.
    """
    epochs = [int(line["epoch"]) for line in log]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 2.7) if codes else (5.4, 2.7), dpi=110, layout="constrained")
        panels = figure.subplots(1, 2 if codes else 1, squeeze=False, width_ratios=[3, 2] if codes else None)[
            0
        ]
        losses = panels[0]
        label = "training, with the context-encoding term" if context else "training"
        losses.plot(epochs, [line["train_loss"] for line in log], color=TRAINING, marker=".", label=label)
        losses.plot(
            epochs,
            [line["validation_loss"] for line in log],
            color=VALIDATION,
            marker=".",
            label="validation",
        )
        best = next(line for line in log if int(line["epoch"]) == best_epoch)
        losses.plot(
            [best_epoch],
            [best["validation_loss"]],
            color=VALIDATION,
            marker="o",
            markersize=8,
            markerfacecolor="none",
            linestyle="none",
            label=f"kept: epoch {best_epoch}",
        )
        losses.set_yscale("log")
        losses.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        losses.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        losses.yaxis.set_minor_locator(NullLocator())
        losses.set_ylabel("loss")
        losses.legend(loc="upper right")
        if codes:
            used = panels[1]
            used.plot(epochs, [line["used_codes"] for line in log], color=CODES, marker=".")
            used.axhline(codes, color="0.5", linewidth=0.8, linestyle="--")
            used.set_ylim(0, codes * 1.12)
            used.set_ylabel(f"codes used, of {codes}")
        for panel in panels:
            panel.set_xlabel("epoch")
            panel.set_xlim(0.5, max(epochs) + 0.5)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        _write_png(figure, file)


@dataclass(frozen=True, eq=False)
class Examples:
    """Slices of one patient, the same for all models.

    Attributes:
        patient: The patient.
        numbers: Index in the patient of each slice.
        brain: (N, Y, X) bool; row 0 is anterior, column 0 the patient's right.
        lesion: (N, Y, X) bool.
    """

    patient: Patient
    numbers: tuple[int, ...]
    brain: NDArray[np.bool_]
    lesion: NDArray[np.bool_]


def examples(patient: Patient) -> Examples:
    """Choose slices by a rule that knows no model.

    The healthy slices are spread evenly over those that are `APART` from any lesion; the lesion slices are the one
    with most lesion and, `APART` from it, the one with most of the rest.
    """
    volume = patient.volume()
    brain = brain_mask(volume)
    lesion = np.zeros_like(brain) if patient.lesion_mask is None else patient.lesion_mask
    area = lesion.sum(axis=(1, 2))
    usable = np.flatnonzero(brain.mean(axis=(1, 2)) >= 0.15)
    # Oedema reaches beyond the lesion mask.
    near = np.convolve(area > 0, np.ones(2 * APART - 1), "same") > 0
    usable = usable[~near[usable]] if (~near[usable]).sum() >= HEALTHY else usable
    chosen = [int(usable[round(place)]) for place in np.linspace(0, len(usable) - 1, HEALTHY + 2)[1:-1]]
    first = int(area.argmax())
    far = np.where(np.abs(np.arange(len(area)) - first) >= APART, area, 0)
    second = int((far if far.any() else np.where(np.arange(len(area)) == first, 0, area)).argmax())
    rows = [*chosen, *sorted((first, second))]
    return Examples(patient, tuple(rows), brain[rows], lesion[rows])


def draw_examples(detector: Detector, chosen: Examples, file: Path) -> None:
    """Draw slices, what the model makes of them, and the absolute residual in the brain.

    Args:
        detector: The model.
        chosen: The slices.
        file: JPEG to write.
    """
    found = run(chosen.patient, detector)
    numbers, back = list(chosen.numbers), found.stack.geometry
    images, made = (back.to_patient(stack)[numbers] for stack in (found.stack.images, found.slices))
    residual = np.where(chosen.brain, np.abs(images - made), 0)
    rows, columns = _box(np.asarray(chosen.brain.any(axis=0)))
    height, width = rows.stop - rows.start, columns.stop - columns.start
    count = len(chosen.numbers)
    # Tiles in whole pixels, one for each of the slice's, beside margins for the labels.
    dpi, gap, left, top, right, bottom = 100, 4, 22, 20, 52, 4
    size = (left + count * (width + gap) + right, top + 3 * (height + gap) + bottom)
    with mpl.rc_context({**STYLE, "axes.grid": False, "font.size": 7.5}):
        figure = Figure(figsize=(size[0] / dpi, size[1] / dpi), dpi=dpi)
        kinds = (("input", images), ("reconstruction", made), ("absolute residual", residual))
        for row, (kind, stack) in enumerate(kinds):
            for column in range(count):
                x, y = left + column * (width + gap), top + row * (height + gap)
                axes = figure.add_axes(
                    (x / size[0], 1 - (y + height) / size[1], width / size[0], height / size[1])
                )
                tile, lesion = stack[column, rows, columns], chosen.lesion[column, rows, columns]
                _tile(axes, tile, lesion, residual=stack is residual)
                if column == 0:
                    axes.set_ylabel(kind, labelpad=4)
                if row == 0:
                    axes.set_title(
                        f"slice {chosen.numbers[column]}, {'lesion' if lesion.any() else 'healthy'}", pad=4
                    )
        x, y = left + count * (width + gap) + 4, top + 2 * (height + gap)
        bar = figure.add_axes((x / size[0], 1 - (y + height) / size[1], 9 / size[0], height / size[1]))
        bar.imshow(np.linspace(1, 0, 128)[:, None], cmap="magma", aspect="auto", extent=(0, 1, 0, BRIGHTEST))
        bar.set_xticks([])
        bar.set_yticks([0, BRIGHTEST / 2, BRIGHTEST], ["0", f"{BRIGHTEST / 2:g}", f"≥ {BRIGHTEST:g}"])
        bar.yaxis.tick_right()
        bar.tick_params(length=2, pad=2)
        _write_jpeg(figure, file)


def _tile(axes: Axes, image: Images, lesion: NDArray[np.bool_], *, residual: bool) -> None:
    axes.imshow(
        image,
        cmap="magma" if residual else "gray",
        vmin=0,
        vmax=BRIGHTEST if residual else 1,
        interpolation="none",
    )
    if lesion.any():
        axes.contour(lesion, levels=[0.5], colors=CONTOUR, linewidths=0.8)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _box(inside: NDArray[np.bool_], margin: int = 2) -> tuple[slice, slice]:
    """Return the rows and columns that hold what is inside, and a margin."""
    found = []
    for axis in (1, 0):
        where = np.flatnonzero(inside.any(axis=axis))
        found.append(
            slice(max(int(where[0]) - margin, 0), min(int(where[-1]) + margin + 1, inside.shape[1 - axis]))
        )
    return found[0], found[1]


def _drawn(figure: Figure) -> Image.Image:
    stream = BytesIO()
    figure.savefig(stream, format="png", facecolor="white")
    return Image.open(stream).convert("RGB")


def _write_png(figure: Figure, file: Path) -> None:
    picture = _drawn(figure).quantize(128, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    stream = BytesIO()
    picture.save(stream, format="png", optimize=True)
    _keep(stream, file, LARGEST_CURVE)


def _write_jpeg(figure: Figure, file: Path) -> None:
    picture = _drawn(figure)
    for quality in QUALITIES:
        stream = BytesIO()
        picture.save(stream, format="jpeg", quality=quality, subsampling=2, optimize=True, progressive=True)
        if stream.tell() <= LARGEST_EXAMPLES:
            break
    _keep(stream, file, LARGEST_EXAMPLES)


def _keep(stream: BytesIO, file: Path, largest: int) -> None:
    if stream.tell() > largest:
        raise ValueError(f"{file.name} has {stream.tell()} bytes, more than {largest}")
    with atomic_path(file) as temporary:
        temporary.write_bytes(stream.getvalue())
