"""Post-processing and Dice of a whole volume, and what a moved slider costs, against the definition in SciPy.

The volume is 160 x 256 x 256: a FLAIR scan of a real patient (``patient26`` of DATA, the folder in NAPARI_CEAD_DATA;
without it the synthetic sample patient) at 0.94 mm, and of it |x - gaussian(x)|, scaled into
[0, 1]: a residual of real anatomy. Baseline and package run alternately in the same process, their masks are
compared voxel by voxel, and the best of several runs counts for both.

    python benchmarks/postprocess.py

One JSON line per measurement: seconds of the baseline, seconds of the package, their ratio.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from scipy import ndimage
from skimage.morphology import disk

from harness import parser, patients, say, take_turns
from napari_cead.detection.params import PostprocessParams
from napari_cead.detection.postprocessing import StagedPostprocessor, postprocess
from napari_cead.metrics import dice, slice_dice

SHAPE = (160, 256, 256)
PIXEL_MM = 0.94


def definition(pixels: np.ndarray, params: PostprocessParams, brain: np.ndarray) -> np.ndarray:
    """One slice, call by call as the design defines it."""
    mask = pixels > params.threshold
    radius = params.closing_radius
    if radius:
        mask = ndimage.binary_closing(np.pad(mask, radius), disk(radius))[radius:-radius, radius:-radius]
    mask = ndimage.binary_fill_holes(mask)
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    if count:
        areas = np.bincount(labels.ravel())
        areas[0] = 0
        keep = areas >= params.area_fraction * areas.max()
        keep[0] = False
        mask = keep[labels]
    if params.dilation_radius:
        mask = ndimage.binary_dilation(mask, disk(params.dilation_radius))
    return mask & brain if params.inside_brain else mask


def definition_of_volume(volume: np.ndarray, params: PostprocessParams, brain: np.ndarray) -> np.ndarray:
    return np.stack(
        [definition(pixels, params, inside) for pixels, inside in zip(volume, brain, strict=True)]
    )


def on_grid(path: Path, order: int) -> np.ndarray:
    """Read a volume as (Z, Y, X), resample its planes to PIXEL_MM, cut or pad it to SHAPE around the centre."""
    image = nibabel.as_closest_canonical(nibabel.load(path))
    volume = np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0)[:, ::-1, ::-1]
    _, y, x = image.header.get_zooms()[2::-1]
    if abs(y - PIXEL_MM) > 0.01 or abs(x - PIXEL_MM) > 0.01:
        volume = ndimage.zoom(volume, (1, y / PIXEL_MM, x / PIXEL_MM), order=order)
    result = np.zeros(SHAPE, dtype=np.float32)
    source, target = [], []
    for have, want in zip(volume.shape, SHAPE, strict=True):
        size = min(have, want)
        source.append(slice((have - size) // 2, (have - size) // 2 + size))
        target.append(slice((want - size) // 2, (want - size) // 2 + size))
    result[tuple(target)] = volume[tuple(source)]
    return result


def residual_reference_and_brain(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    flair = on_grid(folder / "flair.nii.gz", order=1)
    brain = flair > 0
    flair = np.clip(flair / np.percentile(flair[brain], 99.5), 0, 1)
    residual = np.abs(flair - ndimage.gaussian_filter(flair, 4.0))
    residual[~brain] = 0
    return residual / residual.max(), on_grid(folder / "seg.nii.gz", order=0) > 0, brain


def report(what: str, baseline: float, ours: float, **more: Any) -> None:
    line = {
        "what": what,
        "baseline_s": round(baseline, 6),
        "ours_s": round(ours, 6),
        "ratio": round(baseline / ours, 1),
    }
    say(**line, **more)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--repeats", type=int, default=5)
    repeats = options.parse_args().repeats
    folder = patients()[0]
    residual, reference, brain = residual_reference_and_brain(folder)
    setting = {
        "patient": folder.name,
        "shape": SHAPE,
        "cores": os.cpu_count(),
        "same_voxels": True,
    }

    def check(expected: np.ndarray, mask: np.ndarray) -> None:
        if not np.array_equal(expected, mask):
            raise SystemExit("error: the masks of the definition and of the package differ")

    # The whole volume: default settings; thresholds that change what the slices look like; a large disk.
    for changes in ({}, {"threshold": 0.1}, {"threshold": 0.5}, {"closing_radius": 12}):
        params = PostprocessParams(**changes)

        def baseline(params: PostprocessParams = params) -> tuple[np.ndarray, float]:
            mask = definition_of_volume(residual, params, brain)
            return mask, dice(mask, reference)

        def ours(params: PostprocessParams = params) -> tuple[np.ndarray, float]:
            mask = postprocess(residual, params, brain=brain)
            return mask, dice(mask, reference)

        slow, fast, (expected, score), (mask, ours_score) = take_turns(repeats, baseline, ours)
        check(expected, mask)
        if score != ours_score:
            raise SystemExit("error: Dice differs")
        report(
            "post-processing + Dice, volume",
            slow,
            fast,
            params=params.model_dump(),
            dice=round(score, 4),
            **setting,
        )

    # A slider moved from the defaults: the whole volume again, and the slice on screen.
    start = PostprocessParams()
    moves = {
        "dilation radius 1 to 2": start.replace(dilation_radius=2),
        "area fraction 0.6 to 0.3": start.replace(area_fraction=0.3),
        "threshold 0.2 to 0.21": start.replace(threshold=0.21),
        "closing radius 2 to 3": start.replace(closing_radius=3),
    }
    staged = StagedPostprocessor(residual, brain=brain)
    z = int(np.argmax(reference.sum(axis=(1, 2))))
    for name, params in moves.items():

        def whole(params: PostprocessParams = params) -> np.ndarray:
            return definition_of_volume(residual, params, brain)

        def moved(params: PostprocessParams = params) -> np.ndarray:
            return staged.volume(params)

        def one(params: PostprocessParams = params) -> tuple[np.ndarray, float]:
            mask = definition(residual[z], params, brain[z])
            return mask, dice(mask, reference[z])

        def moved_one(params: PostprocessParams = params) -> tuple[np.ndarray, float]:
            mask = staged.slice(z, params)
            return mask, float(slice_dice(mask[None], reference[z][None])[0])

        slow, fast, expected, mask = take_turns(repeats, whole, moved, before=lambda: staged.volume(start))
        check(expected, mask)
        report(f"slider moved, volume: {name}", slow, fast, **setting)
        slow, fast, (expected, _), (mask, _) = take_turns(
            10 * repeats, one, moved_one, before=lambda: staged.slice(z, start)
        )
        check(expected, mask)
        report(f"slider moved, one slice + Dice: {name}", slow, fast, **setting)


if __name__ == "__main__":
    main()
