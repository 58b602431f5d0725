"""Draw the pictures of why-residuals-lose.md: one synthetic patient, two models, one picture per cause.

    python research/why_pictures.py docs/images

Nothing of a real scan is drawn. The measurements are those of research/why_residuals.py.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image as Pictures

import residual_causes as causes
from napari_cead import load_model
from napari_cead.atomic import atomic_path
from napari_cead.detection import run
from napari_cead.errors import CeadWarning
from napari_cead.patients import Patient, load_patient
from napari_cead.phantom import make_patient
from napari_cead.slices import brain_mask
from napari_cead.slices.intensity import scale_intensity
from residual_measures import Prepared, prepare

MODELS = ("ce-vae1", "ce-unet")
SEED, NUMBER = 4711, 2
MANY = 20
"""Lesions of the phantom that shows what they do to the scale."""

LARGEST = 200_000
"""Most bytes of a picture."""

BRIGHTEST = 0.3
"""Residual that has the strongest colour, of both models."""

LESION, MARK, OTHER = "#f0e442", "#56b4e9", "#e69f00"  # Okabe and Ito: told apart by everybody
SIGNED, SIZE = "PuOr_r", "magma"
STYLE: dict[Any, Any] = {"font.family": "DejaVu Sans", "font.size": 10, "axes.titlesize": 10}


@dataclass(frozen=True, eq=False)
class View:
    """A slice under one model."""

    model: str
    ground: Prepared
    reconstruction: causes.Image

    @property
    def signed(self) -> causes.Image:
        return np.where(self.ground.brain, self.ground.image - self.reconstruction, np.float32(0))

    @property
    def healthy(self) -> causes.Mask:
        return self.ground.brain & ~self.ground.lesion


Panel = Callable[[Axes, View], None]


def show(axes: Axes, image: np.ndarray, colours: str = "gray", low: float = 0.0, high: float = 1.0) -> Any:
    drawn = axes.imshow(image, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
    return drawn


def outline(axes: Axes, where: np.ndarray, colour: str = LESION, width: float = 1.2) -> None:
    if where.any():
        axes.contour(where.astype(float), levels=[0.5], colors=[colour], linewidths=width)


def scan(axes: Axes, view: View) -> None:
    show(axes, view.ground.image, high=white(view))
    outline(axes, view.ground.lesion)


def reconstruction(axes: Axes, view: View) -> None:
    show(axes, np.where(view.ground.brain, view.reconstruction, 0), high=white(view))
    outline(axes, view.ground.lesion)


def signed(axes: Axes, view: View) -> None:
    show(axes, view.signed, SIGNED, -BRIGHTEST, BRIGHTEST)
    outline(axes, view.ground.lesion, "black", 1.0)


def size(axes: Axes, view: View) -> None:
    show(axes, np.abs(view.signed), SIZE, 0, BRIGHTEST)
    outline(axes, view.ground.lesion, "white", 1.0)


def white(view: View) -> float:
    """The intensity that is drawn white: the same greys under either scaling."""
    return 1.9 * float(np.median(view.ground.image[view.healthy]))


def near_edges(axes: Axes, view: View) -> None:
    show(axes, np.abs(view.signed), SIZE, 0, BRIGHTEST)
    tint(axes, view.ground.rim, OTHER)
    tint(axes, view.ground.liquid, MARK)


def tint(axes: Axes, where: np.ndarray, colour: str, strength: float = 0.55) -> None:
    layer = np.zeros((*where.shape, 4))
    layer[where] = (*mpl.colors.to_rgb(colour), strength)
    axes.imshow(layer, interpolation="nearest")


def local_detail(axes: Axes, view: View) -> None:
    show(axes, view.ground.detail, SIGNED, -BRIGHTEST, BRIGHTEST)


def arrows(axes: Axes, view: View) -> None:
    field = causes.displacement(view.ground.image, view.reconstruction, view.healthy, causes.WINDOW)
    show(axes, view.ground.image, high=1.6 * white(view))
    step = 8
    rows, columns = (index[::step, ::step] for index in np.indices(view.ground.brain.shape))
    inside = view.ground.brain[::step, ::step]
    rows, columns = rows[inside], columns[inside]
    axes.quiver(
        columns,
        rows,
        field[1][rows, columns],
        field[0][rows, columns],
        color=LESION,
        angles="xy",
        scale_units="xy",
        scale=0.5,
        width=0.007,
        headwidth=4,
    )


def left_after_moving(axes: Axes, view: View) -> None:
    field = causes.displacement(view.ground.image, view.reconstruction, view.healthy, causes.WINDOW)
    left = view.ground.image - causes.moved(view.reconstruction, field)
    show(axes, np.where(view.ground.brain, left, 0), SIGNED, -BRIGHTEST, BRIGHTEST)


def brightest(axes: Axes, view: View) -> None:
    scan(axes, view)
    tint(axes, view.ground.bright, OTHER, 0.75)


def positive(axes: Axes, view: View) -> None:
    show(axes, np.maximum(view.signed, 0), SIZE, 0, BRIGHTEST)
    outline(axes, view.ground.lesion, "white", 1.0)


def picture(
    views: list[View], panels: list[tuple[str, Panel]], notes: Callable[[View], str], colours: tuple[str, str]
) -> Figure:
    """A row per model, a column per panel, a line of figures under each row, one colour bar.

    Args:
        views: The rows.
        panels: Title and drawing of each column.
        notes: The figures of a row.
        colours: Colour map and label of the bar.
    """
    rows, columns = views[0].ground.image.shape
    wide, right = 2.25, 0.95
    width = wide * len(panels) + right + 0.3
    figure = Figure(figsize=(width, len(views) * (wide * rows / columns + 0.32) + 0.35))
    grid = figure.subplots(len(views), len(panels), squeeze=False)
    for row, view in zip(grid, views, strict=True):
        for axes, (title, draw) in zip(row, panels, strict=True):
            draw(axes, view)
            if view is views[0]:
                axes.set_title(title)
        row[0].set_ylabel(view.model, fontsize=12, family="DejaVu Sans Mono")
        row[0].text(0, -0.03, notes(view), transform=row[0].transAxes, va="top", fontsize=10)
    figure.subplots_adjust(
        left=0.3 / width, right=1 - right / width, top=0.93, bottom=0.06, wspace=0.03, hspace=0.13
    )
    low = -BRIGHTEST if colours[0] == SIGNED else 0.0
    bar = figure.colorbar(
        mpl.cm.ScalarMappable(mpl.colors.Normalize(low, BRIGHTEST), colours[0]),
        cax=figure.add_axes((1 - (right - 0.12) / width, 0.25, 0.12 / width, 0.5)),
        ticks=np.linspace(low, BRIGHTEST, 4 if low == 0 else 5),
    )
    bar.set_label(colours[1], fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return figure


def edge_notes(view: View) -> str:
    ground, residual = view.ground, np.abs(view.signed)
    near = ground.rim | ground.liquid
    share = residual[view.healthy & near].sum() / residual[view.healthy].sum()
    area = (view.healthy & near).sum() / view.healthy.sum()
    return f"Near the rim (orange) and edges of liquid (blue): {share:.0%} of the residual on {area:.0%} of the area"


def blur_notes(view: View) -> str:
    _, share = causes.explained_by(view.signed, view.ground.detail, view.healthy)
    return f"Local detail of the scan is {share:.0%} of the variance of the residual"


def displacement_notes(view: View) -> str:
    field = causes.displacement(view.ground.image, view.reconstruction, view.healthy, causes.WINDOW)
    left = view.ground.image - causes.moved(view.reconstruction, field)
    share = causes.share_explained(view.ground.image - view.reconstruction, left, view.healthy)
    length = float(np.median(np.hypot(*field)[view.ground.brain]))
    return f"Median displacement {length:.1f} pixels (arrows: twice that); it takes away {share:.0%} of the variance"


def bright_notes(view: View) -> str:
    above = np.maximum(view.signed, 0)
    share = above[view.ground.bright].sum() / above[view.healthy].sum()
    area = view.ground.bright.sum() / view.healthy.sum()
    return f"The brightest tissue (orange, {area:.0%} of the slice) has {share:.0%} of the false-positive residual"


def lesion_notes(view: View) -> str:
    kept = causes.kept_contrast(view.ground.image, view.reconstruction, view.ground.lesion, view.healthy)
    return "" if kept is None else f"Of the lesion's contrast the reconstruction keeps {kept:.0%}"


def profile(views: list[View]) -> Figure:
    """Intensities along a line through the largest lesion, of the scan and of each reconstruction."""
    figure = Figure(figsize=(9.6, 3.6))
    plots = figure.subplots(1, len(views), sharey=True)
    for axes, view in zip(plots, views, strict=True):
        ground = view.ground
        row = int(ground.lesion.sum(axis=1).argmax())
        inside = np.flatnonzero(ground.lesion[row])
        first, last = max(0, inside[0] - 25), min(ground.image.shape[1], inside[-1] + 26)
        place = (np.arange(first, last) - inside.mean()) * ground.pixel
        level = float(np.median(ground.image[view.healthy]))
        axes.axvspan(place[inside[0] - first], place[inside[-1] - first], color=LESION, alpha=0.35, lw=0)
        axes.plot(place, ground.image[row, first:last] / level, color="black", lw=1.8, label="scan")
        axes.plot(
            place,
            view.reconstruction[row, first:last] / level,
            color="#d55e00",
            lw=1.8,
            label="reconstruction",
        )
        axes.set_title(f"{view.model}", family="DejaVu Sans Mono", fontsize=11)
        axes.set_xlabel("mm from the lesion's middle")
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    plots[0].set_ylabel("intensity / median of the healthy brain")
    plots[0].legend(frameon=False, loc="lower left")
    figure.tight_layout()
    return figure


def scales() -> Figure:
    """Intensities of the healthy brain of one phantom without and with lesions, under both scalings."""
    figure = Figure(figsize=(9.6, 3.3))
    plots = figure.subplots(1, 2, sharey=True)
    bins = np.linspace(0, 1, 51)
    middles = (bins[1:] + bins[:-1]) / 2
    for lesions, colour, label in (
        (0, "black", "without lesions"),
        (MANY, "#d55e00", f"with {MANY} lesions"),
    ):
        made = make_patient(SEED, NUMBER, lesions)
        volume = made.sequences["flair"]
        brain = brain_mask(volume)
        for axes, kind in zip(plots, ("volume-percentile", "volume-tissue"), strict=True):
            values = scale_intensity(volume, brain, kind)[brain & ~made.lesion_mask]
            counts = np.histogram(values, bins, density=True)[0]
            median = float(np.median(values))
            axes.plot(middles, counts, color=colour, lw=1.8, label=f"{label}: median {median:.2f}")
            axes.axvline(median, color=colour, lw=1, ls=":")
            axes.set_title(kind, family="DejaVu Sans Mono", fontsize=11)
    for axes in plots:
        axes.set_xlim(0, 1.35 if axes is plots[1] else 1)  # room for the legend
        axes.set_xticks(np.linspace(0, 1, 6))
        axes.legend(frameon=False, loc="upper right" if axes is plots[1] else "upper left", fontsize=9)
        axes.set_xlabel("scaled intensity of the healthy brain")
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)
    plots[0].set_ylabel("share of voxels")
    figure.tight_layout()
    return figure


def save(figure: Figure, file: Path) -> None:
    """Write a PNG of at most `LARGEST` bytes: smaller, and then with fewer colours, if it has to be.

    Raises:
        SystemExit: If even that is larger.
    """
    for dpi, fewer in ((110, False), (100, False), (90, False), (100, True), (90, True)):
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
        small = BytesIO()
        image = Pictures.open(buffer).convert("RGB")
        if fewer:
            # Refined by k-means: without it the greys are tinted, or the outline loses its colour.
            image = image.quantize(256, Pictures.Quantize.MEDIANCUT, kmeans=1, dither=Pictures.Dither.NONE)
        image.save(small, format="png", optimize=True)
        if small.tell() <= LARGEST:
            with atomic_path(file) as temporary:
                temporary.write_bytes(small.getvalue())
            return
    raise SystemExit(f"error: {file}: the picture is larger than {LARGEST} bytes")


def fullest(patient: Patient) -> int:
    """The slice with most lesion."""
    assert patient.lesion_mask is not None
    return int(patient.lesion_mask.sum(axis=(1, 2)).argmax())


def phantom() -> Patient:
    made = make_patient(SEED, NUMBER)
    return Patient.from_arrays(
        {"flair": made.sequences["flair"]}, lesion_mask=made.lesion_mask, spacing=made.spacing, name=made.name
    )


def draw(patient: Patient, folder: Path, models: tuple[str, ...], z: int | None) -> None:
    """Draw all pictures of one slice of a patient."""
    z = fullest(patient) if z is None else z
    views = []
    for name in models:
        made = run(patient, load_model(name, "cpu"))
        ground = next(one for one in prepare(patient, made) if one.z == z)
        volume = made.stack.geometry.to_patient(made.slices)
        views.append(View(name, ground, np.ascontiguousarray(volume[z][ground.box])))
    bars = {SIGNED: (SIGNED, "scan − reconstruction"), SIZE: (SIZE, "|scan − reconstruction|")}
    pictures: dict[str, tuple[list[tuple[str, Panel]], Callable[[View], str], str]] = {
        "why-edges": ([("scan", scan), ("residual", size), ("near edges", near_edges)], edge_notes, SIZE),
        "why-blur": (
            [
                ("scan", scan),
                ("reconstruction", reconstruction),
                ("scan − reconstruction", signed),
                ("scan − its own blur (4 mm)", local_detail),
            ],
            blur_notes,
            SIGNED,
        ),
        "why-misregistration": (
            [
                ("scan − reconstruction", signed),
                ("displacement", arrows),
                ("what is left when moved", left_after_moving),
            ],
            displacement_notes,
            SIGNED,
        ),
        "why-bright": (
            [("scan", scan), ("brighter than reconstruction", positive), ("brightest tenth", brightest)],
            bright_notes,
            SIZE,
        ),
        "why-lesions": (
            [("scan", scan), ("reconstruction", reconstruction), ("scan − reconstruction", signed)],
            lesion_notes,
            SIGNED,
        ),
    }
    with mpl.rc_context(STYLE):
        for name, (panels, notes, colours) in pictures.items():
            save(picture(views, panels, notes, bars[colours]), folder / f"{name}.png")
        save(profile(views), folder / "why-profile.png")


def draw_scales(folder: Path) -> None:
    with mpl.rc_context(STYLE):
        save(scales(), folder / "why-scale.png")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--patient", type=Path, help="another patient with a mask; its pictures are yours to keep"
    )
    parser.add_argument("--slice", type=int, help="of the patient; without it that with most lesion")
    parser.add_argument("--models", nargs="+", default=list(MODELS), metavar="MODEL")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", CeadWarning)
    patient = phantom() if arguments.patient is None else load_patient(arguments.patient)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    draw(patient, arguments.folder, tuple(arguments.models), arguments.slice)
    if arguments.patient is None:
        draw_scales(arguments.folder)


if __name__ == "__main__":
    main()
