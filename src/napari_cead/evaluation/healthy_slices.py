"""Two models on the same healthy slices: figures per slice, paired, with intervals over patients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..detection import SCORES, anomaly_score, available_scores
from ..detection.reconstruct import GROUP
from ..detection.thresholds import ScoreHistograms
from ..errors import Cancelled
from ..metrics import ImageQuality, Interval
from ..progress import Progress, Stop
from ..slices import brain_mask
from ..training.splits import Part
from ..training.store import SliceStore
from ..zoo import Detector
from .cases import BINS

MEASURES: Mapping[str, bool] = {"residual": False, "psnr": True, "psnr_brain": True, "ssim": True}
"""Figures of a slice, and whether higher is better: the mean of |x - x̂| inside the brain, and those of
:class:`~napari_cead.metrics.ImageQuality`."""

LEVEL = 0.95


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


@dataclass(frozen=True)
class SliceFigures:
    """Both models on one slice.

    Attributes:
        patient: Index of the patient in the store.
        row: Row among its slices.
        before: Figures by the names of `MEASURES`.
        after: The same of the other model.
    """

    patient: int
    row: int
    before: Mapping[str, float]
    after: Mapping[str, float]


@dataclass
class HealthySlices:
    """The results of two models on healthy slices.

    Attributes:
        slices: Figures per slice.
        before: By score, the histogram of the anomaly over the brain voxels.
        after: The same of the other model.
        intensity: The histogram of the intensity itself.
        above: By score and model (``"before"``, ``"after"``), brain voxels above the threshold on its card.
        voxels: Number of brain voxels.
    """

    slices: list[SliceFigures] = field(default_factory=list)
    before: dict[str, ScoreHistograms] = field(default_factory=dict)
    after: dict[str, ScoreHistograms] = field(default_factory=dict)
    intensity: ScoreHistograms = field(default_factory=lambda: ScoreHistograms.empty(BINS))
    above: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    voxels: int = 0

    @property
    def patients(self) -> int:
        """Number of patients with these slices."""
        return len({item.patient for item in self.slices})

    def paired(self, resamples: int = 1000, seed: int = 0) -> dict[str, Paired]:
        """Return the figures by name; empty without slices.

        Args:
            resamples: Number of resamples.
            seed: Seed of the draws.
        """
        if not self.slices:
            return {}
        patients = np.array([item.patient for item in self.slices])
        return {
            name: paired(
                [item.before[name] for item in self.slices],
                [item.after[name] for item in self.slices],
                patients,
                more,
                resamples,
                seed,
            )
            for name, more in MEASURES.items()
        }


def look(
    before: Detector,
    after: Detector,
    store: SliceStore,
    part: Part,
    thresholds: Mapping[tuple[str, str], float],
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
        thresholds: By score and model (``"before"``, ``"after"``), the threshold for counting voxels above it.
        on_progress: Called with (patients done, total patients).
        should_stop: Called between batches of slices.

    Raises:
        StoreError: If the store is damaged.
        Cancelled: If ``should_stop`` returned true.
    """
    usable = store.healthy_rows(part)
    wanted = np.unique(usable[:, 0])
    found = HealthySlices()
    possible = [available_scores(detector.card) for detector in (before, after)]
    scores = [score for score in compared_scores() if all(score in names for names in possible)]
    for done, index in enumerate(wanted, start=1):
        rows = usable[usable[:, 0] == index, 1]
        stored = store.slices(store.patients[index].name)
        images = stored.images[rows].astype(np.float32) / np.float32(255)
        # The brain of all slices, before dropping the others: it is one piece in 3-D.
        brain = brain_mask(stored.images)[rows]
        found.voxels += int(np.count_nonzero(brain))
        spacing = stored.patient.spacing[1:]
        found.intensity += _histogram(images, brain)
        figures = []
        for name, detector, histograms in (
            ("before", before, found.before),
            ("after", after, found.after),
        ):
            made = reconstructions(detector, images, should_stop)
            figures.append(_figures(images, made, brain))
            for score in scores:
                values = anomaly_score(score, images, made, spacing=spacing)
                histograms[score] = histograms.get(score, ScoreHistograms.empty(BINS)) + _histogram(
                    values, brain
                )
                if (score, name) in thresholds:
                    above = values[brain] > thresholds[score, name]
                    found.above[score, name] += int(np.count_nonzero(above))
        found.slices += [
            SliceFigures(int(index), int(row), *(_at(values, place) for values in figures))
            for place, row in enumerate(rows)
        ]
        if on_progress is not None:
            on_progress(done, len(wanted))
    return found


def reconstructions(
    detector: Detector, images: NDArray[np.float32], should_stop: Stop | None = None
) -> NDArray[np.float32]:
    """Return a model's reconstructions of slices (N, S, S), in the batches of a detection.

    Raises:
        Cancelled: If ``should_stop`` returned true.
    """
    import torch

    made = np.empty_like(images)
    for start in range(0, len(images), GROUP):
        if should_stop is not None and should_stop():
            raise Cancelled
        batch = torch.from_numpy(images[start : start + GROUP])[:, None]
        made[start : start + GROUP] = detector.reconstruct(batch)[:, 0].float().cpu().numpy()
    return made


def paired(
    before: Sequence[float],
    after: Sequence[float],
    patients: NDArray[np.integer],
    more_is_better: bool,
    resamples: int = 1000,
    seed: int = 0,
) -> Paired:
    """Compare a figure of two models over the same slices.

    Patients are drawn as in :func:`~napari_cead.metrics.bootstrap`: ``default_rng(seed).integers(n, size=(resamples,
    n))``, and a drawn patient contributes all its slices, which are not independent of each other.

    Args:
        before: Values of each slice (N,).
        after: The same of the other model.
        patients: The patient of each slice (N,).
        more_is_better: Whether a positive difference is an improvement.
        resamples: Number of resamples.
        seed: Seed of the draws.
    """
    first, second = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    good = np.isfinite(first) & np.isfinite(second)
    if not good.any():
        return Paired(float("nan"), float("nan"), float("nan"), None, more_is_better)
    first, second = first[good], second[good]
    _, place = np.unique(np.asarray(patients)[good], return_inverse=True)
    count = np.bincount(place).astype(np.float64)
    change = np.bincount(place, second - first)
    interval = None
    if len(count) >= 2:
        draws = np.random.default_rng(seed).integers(len(count), size=(resamples, len(count)))
        means = change[draws].sum(axis=1) / count[draws].sum(axis=1)
        low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        interval = float(low), float(high)
    return Paired(
        float(first.mean()), float(second.mean()), float((second - first).mean()), interval, more_is_better
    )


def _figures(
    images: NDArray[np.float32], made: NDArray[np.float32], brain: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """Return the figures of slices (N, S, S), each (N,)."""
    voxels = np.count_nonzero(brain, axis=(1, 2))
    total = np.where(brain, np.abs(images - made), 0).sum(axis=(1, 2), dtype=np.float64)
    residual = np.divide(total, voxels, out=np.full(len(images), np.nan), where=voxels > 0)
    quality = ImageQuality.of(images, made, brain)
    return {
        "residual": residual,
        "psnr": quality.psnr,
        "psnr_brain": quality.psnr_brain,
        "ssim": quality.ssim,
    }


def _at(values: Mapping[str, NDArray[np.float64]], place: int) -> dict[str, float]:
    return {name: float(column[place]) for name, column in values.items()}


def _histogram(values: NDArray[np.float32], brain: NDArray[np.bool_]) -> ScoreHistograms:
    return ScoreHistograms.of(values, np.zeros(values.shape, np.bool_), brain, BINS)
