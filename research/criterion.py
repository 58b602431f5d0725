"""The criterion of the protocol for scores tried on channels that ``channels.py`` kept.

    python research/criterion.py CHANNELS [--scores "a;b"]

A score is a name of ``fusing.SCORES``, or channels to fuse by healthy tails, as ``lesion+tissue+asymmetry*0.5``.

Prints a row per score: the five figures, the mL marked in healthy scans, and the criterion.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from fusing import SCORES, Scan, fused, tails
from napari_cead.metrics import average_precision
from napari_cead.metrics.froc import candidates, froc

SMALL_MM = 5.0
SHARE = 0.02
"""Share of the brain whose voxels can be candidates: one false detection per patient is reached long before."""


def load(folder: Path) -> Iterator[Scan]:
    for file in sorted(folder.glob("*.npz")):
        with np.load(file) as arrays:
            yield Scan(
                name=file.stem,
                spacing=tuple(float(value) for value in arrays["spacing"]),
                brain=arrays["brain"],
                reference=arrays["reference"],
                **{
                    name: arrays[name].astype(np.float32)
                    for name in ("image", "lesion", "brighter", "darker")
                },
            )


def dice_curve(value: np.ndarray, scan: Scan, grid: np.ndarray) -> np.ndarray:
    """Return the Dice of ``value > t`` for each t of a rising grid."""
    lesion = np.sort(value[scan.reference & scan.brain])
    other = np.sort(value[scan.brain & ~scan.reference])
    tp = lesion.size - np.searchsorted(lesion, grid, side="right")
    fp = other.size - np.searchsorted(other, grid, side="right")
    return 2 * tp / np.maximum(tp + fp + scan.reference.sum(), 1)


def figures(
    channels: Path, score: Callable[[Scan], np.ndarray], own: dict[str, Any] | None = None
) -> dict[str, float]:
    """Return the figures of the protocol for one score."""
    found: dict[str, float] = {}
    grid = np.unique(
        np.concatenate([np.linspace(0, 1, 201), np.linspace(0, 0.1, 101), 1 - np.linspace(0, 0.05, 51)])
    )
    curves = [dice_curve(score(scan), scan, grid) for scan in load(channels / "strokes")]
    mean = np.mean(curves, axis=0)
    best = int(mean.argmax())
    found["strokes"], threshold = float(mean[best]), float(grid[best])
    found["threshold"] = threshold
    for scan in load(channels / "ms"):
        value = score(scan)
        found["ms_ap"] = average_precision(value, scan.reference, scan.brain)
        curve = dice_curve(value, scan, grid)
        found["ms_dice"] = float(curve.max())
        cut = value > grid[int(curve.argmax())]
        labels, count = ndimage.label(scan.reference, np.ones((3, 3, 3)))
        found["ms_lesions"] = len(set(np.unique(labels[cut])) - {0}) / count
        found["ms_at_strokes"] = float(curve[best])
    silver = [(score(scan), scan) for scan in load(channels / "hyperintensities")]
    found["wmh_ap"] = float(np.mean([average_precision(v, s.reference, s.brain) for v, s in silver]))
    found["wmh_dice"] = float(np.mean([dice_curve(v, s, grid).max() for v, s in silver]))
    found["wmh_at_strokes"] = float(np.mean([dice_curve(v, s, grid)[best] for v, s in silver]))
    small = []
    for scan in load(channels / "phantoms"):
        value = score(scan)
        labels, count = ndimage.label(scan.reference, np.ones((3, 3, 3)))
        sizes = ndimage.sum_labels(scan.reference, labels, range(1, count + 1)) * np.prod(scan.spacing)
        tiny = np.flatnonzero((6 * sizes / np.pi) ** (1 / 3) < SMALL_MM) + 1
        # Larger lesions are neither looked for nor false.
        large = ~np.isin(labels, tiny) & (labels > 0)
        small.append(candidates(np.where(large, 0, value), np.isin(labels, tiny), scan.brain, share=SHARE))
    found["small"] = float(froc(small, (1.0,))[0])
    marked = [
        float((score(scan) > threshold)[scan.brain].sum() * np.prod(scan.spacing) / 1000)
        for part in ("free", "healthy")
        for scan in load(channels / part)
    ]
    found["healthy_ml"] = float(np.median(marked))
    found["long04_ml"] = marked[-1]
    return found


RATIOS = ("strokes", "ms_ap", "ms_lesions", "wmh_ap", "small")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("channels", type=Path)
    parser.add_argument("--scores", default=";".join(SCORES))
    options = parser.parse_args()
    names = options.scores.split(";")
    baselines = [name for name in SCORES if SCORES[name].network_free]
    tables = tails(list(load(options.channels / "calm")))
    found = {}
    for name in dict.fromkeys(baselines + names):
        if name in SCORES:
            compute = SCORES[name].compute
        else:  # channels to fuse: lesion+tissue, or with weights lesion*2+tissue
            weights = {part.split("*")[0]: float([*part.split("*"), "1"][1]) for part in name.split("+")}
            compute = partial(fused, tables=tables, weights=weights)
        found[name] = figures(options.channels, compute)
    strongest = {key: max(found[name][key] for name in baselines) for key in RATIOS}
    keys = list(next(iter(found.values())))
    print(f"{'score':34s}" + "".join(f"{key[:11]:>12s}" for key in keys) + "   criterion")
    for name, row in found.items():
        criterion = np.mean([min(2.0, row[key] / max(strongest[key], 1e-3)) for key in RATIOS])
        print(f"{name:34s}" + "".join(f"{row[key]:12.3f}" for key in keys) + f"{criterion:12.3f}", flush=True)


if __name__ == "__main__":
    main()
