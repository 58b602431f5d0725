"""Scores that are tried: each makes an anomaly map of what is known of a scan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from napari_cead.detection.baselines import BASELINES
from napari_cead.detection.smoothing import smoothed_in_brain


@dataclass(frozen=True, eq=False)
class Scan:
    """What is known of a scan; arrays (Z, Y, X)."""

    name: str
    spacing: tuple[float, float, float]
    brain: np.ndarray
    reference: np.ndarray
    image: np.ndarray
    lesion: np.ndarray
    brighter: np.ndarray
    darker: np.ndarray

    def smooth(self, values: np.ndarray, mm: float, through: bool = True) -> np.ndarray:
        return smoothed_in_brain(values.astype(np.float32), self.brain, self.spacing, mm, through=through)


@dataclass(frozen=True)
class Tried:
    compute: Callable[[Scan], np.ndarray]
    network_free: bool = False


def _baseline(name: str, which: str) -> Tried:
    maps = BASELINES[name].maps[which]
    return Tried(lambda scan: maps(scan.image, scan.brain, scan.spacing), network_free=True)


def _bright_and_changed(scan: Scan, dark: float) -> np.ndarray:
    change, excess = (
        scan.smooth(scan.brighter, 3.75, False),
        scan.smooth(np.maximum(scan.image - 0.5, 0), 1.5, False),
    )
    both = 2 * change * excess / np.maximum(change + excess, 1e-4)
    return both + dark * scan.smooth(scan.darker, 3.0, False)


def tissue(scan: Scan, mm: float = 1.0) -> np.ndarray:
    return scan.smooth(np.maximum(scan.image - 0.5, 0), mm)


SCORES: dict[str, Tried] = {
    "flair-tissue": _baseline("tissue", "intensity"),
    "flair-tissue-1mm-2d": _baseline("tissue-smooth", "1mm-2d"),
    "flair-tissue-1mm-3d": _baseline("tissue-smooth", "1mm-3d"),
    "flair-tissue-3mm-3d": _baseline("tissue-smooth", "3mm-3d"),
    "flair-asymmetry": _baseline("asymmetry", "asymmetry"),
    "bright-and-changed": Tried(lambda scan: _bright_and_changed(scan, 0.5)),
    "bright-and-changed, no dark": Tried(lambda scan: _bright_and_changed(scan, 0.0)),
    "lesion": Tried(lambda scan: scan.lesion),
    "lesion 1mm": Tried(lambda scan: scan.smooth(scan.lesion, 1.0)),
    "lesion 2mm": Tried(lambda scan: scan.smooth(scan.lesion, 2.0)),
    "sqrt(lesion*tissue1)": Tried(lambda scan: np.sqrt(scan.smooth(scan.lesion, 1.0) * 2 * tissue(scan))),
    "mean(lesion, tissue1)": Tried(lambda scan: 0.5 * scan.smooth(scan.lesion, 1.0) + tissue(scan)),
}


def channels(scan: Scan, through: bool = True) -> dict[str, np.ndarray]:
    """Return the kinds of evidence that are weighed by what healthy tissue gives."""
    return {
        "lesion": scan.smooth(scan.lesion, 1.0, through),
        "change": scan.smooth(scan.brighter, 3.75, through),
        "tissue": scan.smooth(np.maximum(scan.image - 0.5, 0), 1.0, through),
        "tissue3": scan.smooth(np.maximum(scan.image - 0.5, 0), 3.0, through),
        "asymmetry": BASELINES["asymmetry"].maps["asymmetry"](scan.image, scan.brain, scan.spacing),
    }


SHARES = 10.0 ** -np.linspace(0, 4.5, 46)
"""Shares of healthy voxels at which a channel's tail is measured."""


def tails(calm: list[Scan]) -> dict[str, np.ndarray]:
    """Return, by channel, the value that each share of healthy voxels exceeds: the mean over scans of the logarithm."""
    from scipy import ndimage

    values: dict[str, list[np.ndarray]] = {}
    kinds: list[int] = []
    for scan in calm:
        healthy = scan.brain & ~ndimage.binary_dilation(scan.reference, iterations=2)
        for name, channel in channels(scan).items():
            values.setdefault(name, []).append(channel[healthy])
        kinds.append(0 if scan.reference.any() else 1 if scan.brain.shape[0] == 1 else 2)
    found = {}
    for name, parts in values.items():
        # Each source weighs the same, however many voxels it has.
        groups = [
            np.concatenate([part for part, kind in zip(parts, kinds, strict=True) if kind == which])
            for which in sorted(set(kinds))
        ]
        grid = np.quantile(
            np.concatenate([np.random.default_rng(0).choice(group, 200_000) for group in groups]), 1 - SHARES
        )
        found[name] = np.maximum.accumulate(grid)
    return found


def rarity(value: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return -log10 of the share of healthy voxels above a value; beyond the table it goes on along its last slope."""
    steps = np.maximum.accumulate(table + 1e-7 * np.arange(table.size))
    result = np.interp(value, steps, -np.log10(SHARES))
    slope = 1.5 / max(float(steps[-1] - steps[-16]), 1e-3)
    return result + np.maximum(value - steps[-1], 0) * slope


def fused(scan: Scan, tables: dict[str, np.ndarray], weights: dict[str, float]) -> np.ndarray:
    """Return the weighted mean of the rarities, 8 (one voxel in a hundred million) at 1."""
    every = channels(scan)
    total = sum(weight * rarity(every[name], tables[name]) for name, weight in weights.items())
    return np.clip(total / sum(weights.values()) / 8, 0, 1) * scan.brain
