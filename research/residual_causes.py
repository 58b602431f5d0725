"""What is measured of a slice, its reconstruction and its lesion mask to say why a residual loses.

Pure functions on single slices (Y, X), and on histograms of scores. Everything that takes a lesion mask is a
diagnosis: no detector has it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]

BINS = 1000
"""Thresholds that are tried over the range of a map."""

REACH = 3
"""Pixels from an edge that count as near it."""

LIQUID = 0.5
"""What is darker than this share of the brain's median is liquid."""

DETAIL_MM = 4.0
"""Sigma of the Gaussian whose difference from an image is its local detail."""

WINDOW = 8.0
"""Sigma in pixels of the window of a smooth displacement."""

RIDGE = 0.2
"""Ridge of a smooth displacement, in mean squared gradients."""

SURROUNDINGS_MM = 10.0
"""Sigma of the Gaussian that fills a lesion with the tissue around it."""


def smoothed(image: Image, where: Mask, sigma: float) -> Image:
    """A Gaussian that sees only the pixels of `where`; defined on the whole slice, 0 where it sees none."""
    weight = cv2.GaussianBlur(where.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    total = cv2.GaussianBlur(np.where(where, image, 0), (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(np.where(weight > 1e-6, total / np.maximum(weight, 1e-6), 0), np.float32)


def detail(image: Image, brain: Mask, sigma: float) -> Image:
    """What a Gaussian takes away from an image, 0 outside the brain."""
    return np.where(brain, image - smoothed(image, brain, sigma), np.float32(0))


def edges(image: Image, brain: Mask, median: float, reach: float = REACH) -> tuple[Mask, Mask]:
    """Where the brain's rim is near, and where an edge between tissue and liquid is and not the rim.

    Args:
        image: Intensities (Y, X).
        brain: (Y, X).
        median: Of the whole brain.
        reach: Pixels.
    """
    rim = brain & (_distance(brain) <= reach)
    liquid = brain & (cv2.GaussianBlur(image, (0, 0), 0.7) < LIQUID * median)
    # From either side; liquid at the rim is taken by the rim.
    near = np.where(liquid, _distance(liquid), _distance(~liquid, beyond=True)) <= reach
    return rim, brain & near & ~rim


def gradient(image: Image) -> Image:
    """Size of the gradient of the slightly smoothed image, per pixel."""
    rows, columns = np.gradient(cv2.GaussianBlur(image, (0, 0), 1.0))
    return np.asarray(np.hypot(rows, columns), np.float32)


def share_explained(residual: Image, left: Image, where: Mask) -> float:
    """Share of a residual's variance over `where` that is gone in what is left of it."""
    before = float(residual[where].var())
    return 1 - float(left[where].var()) / before if before > 0 else float("nan")


def explained_by(residual: Image, cause: Image, where: Mask) -> tuple[float, float]:
    """Slope and R2 of the line from a cause to the residual, over `where`."""
    a, b = residual[where].astype(np.float64), cause[where].astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    if not (a @ a > 0 and b @ b > 0):
        return 0.0, float("nan")
    return float(a @ b / (b @ b)), float((a @ b) ** 2 / ((a @ a) * (b @ b)))


def displacement(
    image: Image, reconstruction: Image, where: Mask, window: float | None = None, steps: int = 5
) -> Image:
    """The displacement (2, Y, X) in pixels that brings a reconstruction closest to the image.

    Least squares after Lucas and Kanade (1981), repeated on the moved reconstruction. Without a window one
    translation of the whole slice, with one a translation of its own for every Gaussian neighbourhood.

    Args:
        image: (Y, X).
        reconstruction: (Y, X).
        where: Pixels that are looked at.
        window: Sigma of the neighbourhood in pixels; None takes the slice.
        steps: How often.
    """
    found = np.zeros((2, *image.shape), np.float32)
    weight = where.astype(np.float32)
    for _ in range(steps):
        current = moved(reconstruction, found)
        rows, columns = np.gradient(current)
        difference = image - current
        products = [rows * rows, rows * columns, columns * columns, rows * difference, columns * difference]
        if window is None:
            sums = [np.float64((product * weight).sum()) for product in products]
        else:
            sums = [cv2.GaussianBlur(product * weight, (0, 0), window) for product in products]
        # A flat neighbourhood says nothing about where it came from: the ridge leaves it where it is.
        ridge = RIDGE * float((rows * rows + columns * columns)[where].mean()) if window else 0.0
        yy, yx, xx, dy, dx = sums
        yy, xx = yy + ridge, xx + ridge
        determinant = yy * xx - yx * yx
        determinant = np.where(determinant > 1e-20, determinant, np.inf)
        found[0] += np.clip((xx * dy - yx * dx) / determinant, -1, 1)
        found[1] += np.clip((yy * dx - yx * dy) / determinant, -1, 1)
    return found


def moved(image: Image, displacement: Image) -> Image:
    """The image at the displaced places, cubic."""
    rows, columns = np.indices(image.shape, dtype=np.float32)
    return np.asarray(
        cv2.remap(
            np.ascontiguousarray(image, np.float32),
            columns + displacement[1],
            rows + displacement[0],
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )


def kept_contrast(
    image: Image, reconstruction: Image, lesion: Mask, healthy: Mask, least: float = 0.1
) -> float | None:
    """Share of a lesion's contrast that the reconstruction has too: 1 redraws it, 0 takes it out.

    The contrast is the mean of the lesion over the median of the healthy brain of the slice, in either.

    Args:
        image: (Y, X).
        reconstruction: (Y, X).
        lesion: (Y, X).
        healthy: (Y, X).
        least: Contrast that the image has to have, as a share of the healthy brain's median; None below it.
    """
    level = float(np.median(image[healthy]))
    contrast = float(image[lesion].mean()) - level
    if contrast <= least * level:
        return None
    return (float(reconstruction[lesion].mean()) - float(np.median(reconstruction[healthy]))) / contrast


def without_lesion(reconstruction: Image, lesion: Mask, healthy: Mask, sigma: float) -> Image:
    """The reconstruction with the level of the healthy tissue around in place of the lesion."""
    return np.where(lesion, smoothed(reconstruction, healthy, sigma), reconstruction)


def histogram(scores: Image, where: Mask, top: float = 1.0) -> Counts:
    """Counts (BINS,) of the scores over `where`, from 0 to `top`; what is beyond is in the last."""
    bins = np.clip(scores[where] * np.float32(BINS / top), 0, BINS - 1).astype(np.int64)
    return np.bincount(bins, minlength=BINS)


def like_the_rest(marked: Counts, rest: Counts) -> NDArray[np.float64]:
    """Counts of the marked pixels if their scores were those of the rest."""
    return rest * (marked.sum() / max(1, rest.sum()))


@dataclass(frozen=True)
class Best:
    """The best Dice over all thresholds.

    Attributes:
        dice: The Dice.
        threshold: Lower edge of the lowest bin that counts, in bins.
    """

    dice: float
    threshold: int


def best_dice(lesion: NDArray[np.float64] | Counts, healthy: NDArray[np.float64] | Counts) -> Best:
    """The best Dice from the histograms of the lesion's and of the healthy pixels."""
    curve = np.nan_to_num(dice_curve(lesion, healthy))
    at = int(curve.argmax())
    return Best(float(curve[at]), at)


def dice_curve(lesion: Counts, healthy: Counts) -> NDArray[np.float64]:
    """Dice (BINS,) of all thresholds; NaN where there is nothing to find and nothing is marked."""
    hits, false = lesion[::-1].cumsum()[::-1], healthy[::-1].cumsum()[::-1]
    marked = hits + false + lesion.sum()
    return np.divide(2 * hits, marked, out=np.full(len(hits), np.nan), where=marked > 0)


def dice_of_own_thresholds(pairs: list[tuple[Counts, Counts]]) -> float:
    """The best Dice over all pixels where every patient may have a threshold of its own.

    Not the thresholds that are best for each patient alone: a patient where nothing can be found would mark the
    whole brain. Dinkelbach's iteration (1967) finds the thresholds that are best for the ratio of the sums.

    Args:
        pairs: Histograms (lesion, healthy) of each patient.
    """
    total = float(sum(lesion.sum() for lesion, _ in pairs))
    curves = [_above(lesion, healthy) for lesion, healthy in pairs]
    dice, better = -1.0, 0.0
    while better > dice:
        dice, hits, marked = better, 0.0, 0.0
        for found, both in curves:
            at = int((2 * found - dice * both).argmax())
            hits, marked = hits + found[at], marked + both[at]
        better = float(2 * hits / max(marked + total, 1))
    return dice


def _above(lesion: Counts, healthy: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lesion pixels, and all pixels, that each threshold marks; the last one marks nothing."""
    found, both = (np.append(of[::-1].cumsum()[::-1], 0.0) for of in (lesion, lesion + healthy))
    return found, both


def variation(values: list[float]) -> float | None:
    """Standard deviation over mean; None of fewer than two."""
    return float(np.std(values) / np.mean(values)) if len(values) > 1 else None


def tissue_mode(values: NDArray[np.float32]) -> float:
    """The most frequent intensity of tissue: a level that neither scaling uses."""
    median = float(np.median(values))
    counts, places = np.histogram(values, bins=128, range=(0.6 * median, 1.8 * median))
    at = int(np.convolve(counts, np.hanning(11), "same").argmax())
    return float(places[at] + places[at + 1]) / 2


def _distance(mask: Mask, beyond: bool = False) -> Image:
    """Distance of the pixels of a mask to the nearest that is not in it.

    Args:
        mask: (Y, X).
        beyond: Whether what lies beyond the slice is in the mask.
    """
    if mask.all() and beyond:
        return np.full(mask.shape, np.inf, np.float32)  # there is no such pixel, and OpenCV gives any number
    padded = np.pad(mask, 1, constant_values=beyond).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))[1:-1, 1:-1]
