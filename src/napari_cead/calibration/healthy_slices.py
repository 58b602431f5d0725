"""Two models on the same healthy slices: figures per slice, paired, with intervals over patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..detection import SCORES, available_scores
from ..detection.members import members
from ..detection.scores import RECONSTRUCTION, Evidence
from ..detection.thresholds import ScoreHistograms
from ..metrics import ImageQuality, Interval, bootstrap_ratio
from ..progress import Progress, Stop, tell
from ..slices import brain_mask
from ..store.parts import Part
from ..store.store import SliceStore
from ..zoo import Detector
from .calibration import median_score, passed
from .cases import BINS

MEASURES: Mapping[str, bool] = {"residual": False, "psnr": True, "psnr_brain": True, "ssim": True}
"""Figures of a slice, and whether higher is better: the mean of |x - x̂| inside the brain, and those of
:class:`~napari_cead.metrics.ImageQuality`."""


def compared_scores() -> tuple[str, ...]:
    """Return the scores whose thresholds are compared, as far as both models can give them.

    They need no scaling, so that a threshold means the same for both.
    """
    return tuple(sorted(score.name for score in SCORES if score.compared))


@dataclass(frozen=True)
class Paired:
    """One figure of both models over the same slices.

    Slices on which it is not finite for one of them are left out.

    Attributes:
        before: Mean over the slices.
        after: The same of the other model.
        difference: Mean of after - before.
        interval: Percentile bootstrap interval of the difference at 95 %, drawing whole patients; None with fewer than
            two patients.
        more_is_better: Whether a positive difference is an improvement.
    """

    before: float
    after: float
    difference: float
    interval: Interval | None
    more_is_better: bool

    @property
    def verdict(self) -> str:
        """``"better"``, ``"worse"`` or ``"unclear"``: the interval contains 0, or there is none."""
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return "unclear"
        return "better" if (self.interval[0] > 0) == self.more_is_better else "worse"

    @classmethod
    def of(
        cls,
        before: NDArray[np.float64],
        after: NDArray[np.float64],
        patients: NDArray[np.integer],
        more_is_better: bool,
        resamples: int = 1000,
        seed: int = 0,
    ) -> Paired:
        """Compare a figure of two models over the same slices.

        Patients are drawn as by :func:`~napari_cead.metrics.bootstrap`, and a drawn patient contributes all its slices,
        which are not independent of each other.

        Args:
            before: Values of each slice (N,).
            after: The same of the other model.
            patients: The patient of each slice (N,).
            more_is_better: Whether a positive difference is an improvement.
            resamples: Number of resamples.
            seed: Seed of the draws.
        """
        good = np.isfinite(before) & np.isfinite(after)
        if not good.any():
            return cls(np.nan, np.nan, np.nan, None, more_is_better)
        before, after = before[good], after[good]
        _, place = np.unique(patients[good], return_inverse=True)
        change = np.bincount(place, after - before)
        interval = bootstrap_ratio(change.tolist(), np.bincount(place).tolist(), resamples, seed)
        return cls(
            float(before.mean()),
            float(after.mean()),
            float((after - before).mean()),
            interval,
            more_is_better,
        )


@dataclass(eq=False)
class Looked:
    """One model on healthy slices.

    Attributes:
        histograms: By score, the histogram of the anomaly over the brain voxels.
        above: By score, the brain voxels above the model's threshold.
        figures: By name of `MEASURES`, the values of the slices of each patient in turn.
    """

    histograms: dict[str, ScoreHistograms] = field(default_factory=dict)
    above: dict[str, int] = field(default_factory=dict)
    figures: dict[str, list[NDArray[np.float64]]] = field(
        default_factory=lambda: {name: [] for name in MEASURES}
    )

    def of(self, name: str) -> NDArray[np.float64]:
        """Return a figure of every slice (N,)."""
        return np.concatenate(self.figures[name] or [np.empty(0)])


@dataclass(eq=False)
class HealthySlices:
    """The results of two models on healthy slices.

    Attributes:
        places: Patient, and row among its slices, of every slice (N, 2).
        before: The model before.
        after: The model after.
        intensity: The histogram of the intensity itself.
        voxels: Number of brain voxels.
    """

    places: NDArray[np.int64]
    before: Looked = field(default_factory=Looked)
    after: Looked = field(default_factory=Looked)
    intensity: ScoreHistograms = field(default_factory=lambda: ScoreHistograms.empty(BINS))
    voxels: int = 0

    @property
    def patients(self) -> int:
        """Number of patients with these slices."""
        return len(np.unique(self.places[:, 0]))

    def paired(self, resamples: int = 1000, seed: int = 0) -> dict[str, Paired]:
        """Return the figures by name; empty without slices."""
        return {
            name: Paired.of(
                self.before.of(name), self.after.of(name), self.places[:, 0], more, resamples, seed
            )
            for name, more in MEASURES.items()
            if len(self.places)
        }


def look(
    before: Detector,
    after: Detector,
    store: SliceStore,
    part: Part,
    thresholds: Mapping[str, Mapping[str, float]],
    *,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> HealthySlices:
    """Reconstruct the healthy slices of a part of a store with two models.

    Memory: the slices of one patient.

    Args:
        before: The first model.
        after: The second model.
        store: The store.
        part: The part.
        thresholds: By model (``"before"``, ``"after"``) and score, the threshold for counting voxels above it.
        on_progress: Called with (patients done, total patients).
        should_stop: Called between batches of slices.

    Raises:
        StoreError: If the store is damaged.
        Cancelled: If ``should_stop`` returned true.
    """
    usable = store.healthy_rows(part)
    wanted = np.unique(usable[:, 0])
    found = HealthySlices(usable)
    possible = [available_scores(detector.card) for detector in (before, after)]
    scores = [score for score in compared_scores() if all(score in names for names in possible)]
    for done, index in enumerate(wanted, start=1):
        rows = usable[usable[:, 0] == index, 1]
        stored = store.slices(store.patients[index].name)
        images = stored.images[rows].astype(np.float32) / np.float32(255)
        # The brain of all slices, before dropping the others: it is one piece in 3-D.
        brain = brain_mask(stored.images)[rows]
        found.voxels += int(np.count_nonzero(brain))
        found.intensity += _histogram(images, brain)
        for name, detector, looked in (("before", before, found.before), ("after", after, found.after)):
            given = passed(images, detector, should_stop)
            made, spacing = given.pop(RECONSTRUCTION.name), stored.patient.spacing[1:]
            seen = [Evidence(images, own, more, spacing=spacing) for own, more in members(made, given)]
            for figure, values in _figures(images, made, brain).items():
                looked.figures[figure].append(values)
            for score in scores:
                anomaly = median_score(score, seen)
                histogram = looked.histograms.get(score, ScoreHistograms.empty(BINS))
                looked.histograms[score] = histogram + _histogram(anomaly, brain)
                if score in thresholds[name]:
                    above = int(np.count_nonzero(anomaly[brain] > thresholds[name][score]))
                    looked.above[score] = looked.above.get(score, 0) + above
        tell(on_progress, done, len(wanted))
    return found


def _figures(
    images: NDArray[np.float32], made: NDArray[np.float32], brain: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """Return the figures of slices (N, S, S), each (N,)."""
    voxels = np.count_nonzero(brain, axis=(1, 2))
    total = np.where(brain, np.abs(images - made), 0).sum(axis=(1, 2), dtype=np.float64)
    residual = np.divide(total, voxels, out=np.full(len(images), np.nan), where=voxels > 0)
    quality = ImageQuality.of(images, made, brain)
    return {"residual": residual} | {name: getattr(quality, name) for name in ("psnr", "psnr_brain", "ssim")}


def _histogram(values: NDArray[np.float32], brain: NDArray[np.bool_]) -> ScoreHistograms:
    return ScoreHistograms.of(values, np.zeros(values.shape, np.bool_), brain, BINS)
