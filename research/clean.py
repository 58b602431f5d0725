"""Healthy slices without the bright spots that nobody outlined: they are painted over with the tissue around.

Elderly people have white-matter hyperintensities. A network that is shown them in "healthy" slices learns that they
are normal. This writes copies of ``nichart`` and of the lesion-free slices of ``soop_axial`` in which they are gone:

* ``nichart``: what the automatic masks mark, and 2 mm around it, and spots by the rule below;
* ``soop_axial``: spots by the rule alone, in the slices that are not ``cleaner``.

The rule: brighter than 1.35 times the median of the tissue over 3 x 3 pixels, and 8 mm or more inside the brain.

    python research/clean.py --data DATA --out FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from protocol import HELD_BACK, SCALP_LEFT

LIMIT, DEEP_MM, AROUND_MM = 1.35, 8.0, 4.0


def paint_over(volume: NDArray[np.float32], marked: NDArray[np.bool_], spacing: tuple[float, ...], seed: int):
    """Replace marked voxels by the smoothed tissue around them, with its grain.

    Args:
        volume: Any number of axes, 0 outside the brain.
        marked: The same shape.
        spacing: In mm.
        seed: Of the grain.
    """
    brain = volume > 0
    tissue = brain & ~marked & (volume > 0.6 * np.median(volume[brain]))
    sigma = [AROUND_MM / mm for mm in spacing]
    weight = ndimage.gaussian_filter(tissue.astype(np.float32), sigma)
    level = ndimage.gaussian_filter(np.where(tissue, volume, 0), sigma) / np.maximum(weight, 1e-4)
    rest = np.where(tissue, volume - level, 0)
    spread = np.sqrt(ndimage.gaussian_filter(rest**2, sigma) / np.maximum(weight, 1e-4))
    grain = np.random.default_rng(seed).standard_normal(volume.shape).astype(np.float32)
    grain = ndimage.gaussian_filter(grain, 0.7)
    grain /= grain.std()
    soft = ndimage.gaussian_filter(marked.astype(np.float32), [0.5 / mm for mm in spacing])
    soft = np.maximum(soft, marked) * brain
    return volume + soft * (level + 0.6 * spread * grain - volume)


def bright_spots(volume: NDArray[np.float32], pixel: tuple[float, float]) -> NDArray[np.bool_]:
    """Return bright spots deep in the brain, slice by slice: (Z, Y, X) bool."""
    brain = volume > 0
    values = volume[brain]
    level = np.median(values[values > 0.6 * np.median(values)])
    found = np.zeros_like(brain)
    for z in np.flatnonzero(brain.any(axis=(1, 2))):
        whole = ndimage.binary_fill_holes(brain[z])
        deep = ndimage.distance_transform_edt(whole, sampling=pixel) >= DEEP_MM
        bright = (ndimage.uniform_filter(volume[z], 3) > LIMIT * level) & deep
        found[z] = ndimage.binary_dilation(bright, iterations=1) & brain[z]
    return found


def clean_nichart(data: Path, out: Path) -> None:
    for folder in sorted((data / "nichart").iterdir()):
        if not folder.is_dir() or folder.name in HELD_BACK:
            continue
        image = nib.load(folder / "flair_brain.DERIVED.nii.gz")
        # (X, Y, Z) on disk: slices first.
        volume = np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0).copy()
        mask = np.asarray(nib.load(folder / "wmh_AUTOMATIC.nii.gz").dataobj).transpose(2, 1, 0) > 0
        if folder.name in SCALP_LEFT:
            upper = np.flatnonzero((volume > 0).any(axis=(1, 2)))
            top = upper[-3:] if image.affine[2, 2] > 0 else upper[:3]
            volume[top] = 0
        size = [float(value) for value in image.header.get_zooms()[:3]][::-1]
        marked = ndimage.binary_dilation(mask, iterations=1) | bright_spots(volume, (size[1], size[2]))
        marked &= volume > 0
        painted = np.clip(paint_over(volume, marked, tuple(size), 1), 0, None) * (volume > 0)
        target = out / "nichart" / folder.name
        target.mkdir(parents=True, exist_ok=True)
        saved = nib.Nifti1Image(painted.transpose(2, 1, 0).astype(np.float32), image.affine)
        nib.save(saved, target / "flair.nii.gz")
        print(
            folder.name,
            volume.shape,
            size,
            f"{marked.mean() / (volume > 0).mean():.3f} painted over",
            flush=True,
        )


def clean_soop(data: Path, out: Path) -> None:
    import csv

    with (data / "soop_axial" / "index.csv").open(encoding="utf-8") as stream:
        cleaner = {
            f"{int(row['soop_subject']):04d}" for row in csv.DictReader(stream) if row["cleaner"] == "1"
        }
    target = out / "soop" / "flair"
    target.mkdir(parents=True, exist_ok=True)
    shares = []
    for number, file in enumerate(sorted((data / "soop_axial" / "lesion_free" / "flair").glob("*.png"))):
        slice_ = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE).astype(np.float32)
        if file.stem not in cleaner:
            marked = bright_spots(slice_[None], (1.0, 1.0))[0]
            shares.append(marked.sum() / (slice_ > 0).sum())
            slice_ = np.clip(paint_over(slice_, marked, (1.0, 1.0), number), 0, 255) * (slice_ > 0)
        cv2.imwrite(str(target / file.name), np.rint(slice_).astype(np.uint8))
    print("soop", len(shares), "painted, mean share", np.mean(shares))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    clean_nichart(options.data, options.out)
    clean_soop(options.data, options.out)
