"""What a freshly trained model still lacks: scales of its scores, healthy statistics, and settings to suggest.

Everything is measured on the validation slices of the store that the model was trained on, that is on the model
grid, and never on its test slices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..atomic import strict
from ..detection import SCORES, anomaly_score
from ..detection.reconstruct import GROUP, Progress, Stop
from ..errors import Cancelled
from ..metrics import ImageQuality
from ..slices import brain_mask
from ..zoo import Detector, Suggestion
from .cases import Case
from .rules import QUANTILE, Choice, healthy_settings, search
from .statistics import HealthyStatistics

if TYPE_CHECKING:
    from torch import Tensor

    from ..training.store import PatientSlices, SliceStore

SUGGESTED_SCORES = ("residual", "positive-residual")
"""Scores that settings are chosen for."""

HEALTHY_DEFAULT = "positive-residual"
"""Score of the default where no lesion masks can say which score is better: lesions are bright on FLAIR."""

HEADROOM = 4.0
"""A score that needs scaling is divided by this many times its healthy quantile, which leaves room above it."""

_SAMPLE = 16  # of the healthy brain pixels, every so manieth is looked at for the scale of a score


@dataclass(frozen=True)
class Calibration:
    """What a model's card and weights file take over.

    Attributes:
        score_scales: By name, the constant that a score is divided by; only scores that need one.
        statistics: Maps (S, S) float32 ``residual_mean`` and ``residual_std`` of |x - x̂| over healthy validation
            slices; none without such slices.
        suggestions: Settings to start from, the default first: by rule ``validation`` the score with the highest
            Dice, then the other, then those by rule ``healthy-quantile``.
        figures: What was found, as strict JSON values: ``grid`` (always ``"model"``), numbers of patients and
            slices, ``validation_dice_patient`` by score (optimistic: settings and Dice from the same patients), and
            the means over healthy validation slices ``psnr``, ``psnr_brain`` and ``ssim``.
    """

    score_scales: Mapping[str, float] = field(default_factory=dict)
    statistics: Mapping[str, Tensor] = field(default_factory=dict)
    suggestions: tuple[Suggestion, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


def calibrate(
    detector: Detector,
    store: SliceStore,
    *,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> Calibration:
    """Measure a trained model on the validation slices of its store.

    Memory: the slices of one patient, and one byte for each brain voxel of the validation patients and each of
    `SUGGESTED_SCORES` (about 9 MB for a patient of 150 slices).

    Args:
        detector: The model, as it will be used.
        store: The store that it was trained on.
        on_progress: Called with (steps done, steps in all); a patient is one step, and one more for each score.
        should_stop: Asked between groups of slices and between patients of a search.

    Returns:
        The calibration; without validation slices an empty one.

    Raises:
        StoreError: If the store is damaged.
        Cancelled: If ``should_stop`` returned true.
    """
    import torch

    names = [patient.name for patient in store.patients_of("validation")]
    total = len(names) * (1 + len(SUGGESTED_SCORES))
    index = {patient.name: number for number, patient in enumerate(store.patients)}
    usable = store.healthy_rows("validation")

    statistics = HealthyStatistics(store.settings.image_size)
    quality = ImageQuality.empty()
    cases: dict[str, list[Case]] = {score: [] for score in SUGGESTED_SCORES}
    samples: dict[str, list[NDArray[np.float32]]] = {name: [] for name in SCORES if SCORES[name].scaled}
    for done, name in enumerate(names, start=1):
        found = store.slices(name)
        images = found.images.astype(np.float32) / np.float32(255)
        made = _reconstruct(images, detector, should_stop)
        # The brain of all slices, before those of other parts are left out: it is one piece in 3-D.
        brain = brain_mask(found.images)
        part = np.array([where == "validation" for where in found.patient.parts])
        healthy = np.zeros(len(images), dtype=np.bool_)
        healthy[usable[usable[:, 0] == index[name], 1]] = True

        statistics.add(images[healthy], made[healthy], brain[healthy])
        quality += ImageQuality.of(images[healthy], made[healthy], brain[healthy])
        for score, values in samples.items():
            raw = SCORES[score].compute(images[healthy], made[healthy])[brain[healthy]]
            values.append(raw[::_SAMPLE])
        for score in SUGGESTED_SCORES:
            cases[score].append(_case(found, score, images, made, brain, part, healthy))
        if on_progress is not None:
            on_progress(done, total)

    chosen: dict[str, Choice | None] = {}
    for number, score in enumerate(SUGGESTED_SCORES, start=1):
        chosen[score] = search(
            cases[score],
            on_progress=_shifted(on_progress, number * len(names), total),
            should_stop=should_stop,
        )
    return Calibration(
        score_scales=_scales(samples),
        statistics={name: torch.from_numpy(values) for name, values in statistics.maps().items()},
        suggestions=_suggestions(chosen, cases),
        figures=strict(
            {
                "grid": "model",
                "validation_patients": len(names),
                "validation_lesion_patients": sum(case.has_lesion for case in cases[HEALTHY_DEFAULT]),
                "healthy_quantile": QUANTILE,
                "validation_dice_patient": {
                    score: choice.dice_patient for score, choice in chosen.items() if choice is not None
                },
                **{f"healthy_{name}": value for name, value in quality.means().items()},
            }
        ),
    )


def _reconstruct(
    images: NDArray[np.float32], detector: Detector, should_stop: Stop | None
) -> NDArray[np.float32]:
    """Reconstruct (N, S, S) slices in the groups of a detection."""
    import torch

    made = np.empty_like(images)
    for start in range(0, len(images), GROUP):
        if should_stop is not None and should_stop():
            raise Cancelled
        batch = torch.from_numpy(images[start : start + GROUP])[:, None]
        made[start : start + GROUP] = detector.reconstruct(batch)[:, 0].float().cpu().numpy()
    return made


def _case(
    found: PatientSlices,
    score: str,
    images: NDArray[np.float32],
    made: NDArray[np.float32],
    brain: NDArray[np.bool_],
    part: NDArray[np.bool_],
    healthy: NDArray[np.bool_],
) -> Case:
    values = np.where(brain, anomaly_score(score, images, made), np.float32(0))
    reference = None if found.masks is None else found.masks[part]
    patient = found.patient
    return Case.of(patient.name, values[part], reference, brain[part], patient.spacing, healthy[part])


def _suggestions(
    chosen: Mapping[str, Choice | None], cases: Mapping[str, list[Case]]
) -> tuple[Suggestion, ...]:
    """Order the settings by rule, then by Dice or by what a lesion on FLAIR looks like."""
    validated = [(score, choice) for score, choice in chosen.items() if choice is not None]
    validated.sort(key=lambda item: item[1].dice_patient, reverse=True)
    suggestions = [
        Suggestion(score=score, rule="validation", params=choice.params.model_dump())
        for score, choice in validated
    ]
    for score in sorted(cases, key=lambda name: name != HEALTHY_DEFAULT):
        params = healthy_settings(cases[score])
        if params is not None:
            suggestions.append(Suggestion(score=score, rule="healthy-quantile", params=params.model_dump()))
    return tuple(suggestions)


def _scales(samples: Mapping[str, list[NDArray[np.float32]]]) -> dict[str, float]:
    """Return the constant of each score that needs one."""
    scales = {}
    for score, values in samples.items():
        pooled = np.concatenate(values) if values else np.zeros(0, np.float32)
        quantile = float(np.quantile(pooled, QUANTILE)) if pooled.size else 0.0
        if quantile > 0:
            scales[score] = HEADROOM * quantile
    return scales


def _shifted(on_progress: Progress | None, before: int, total: int) -> Progress | None:
    """Return a callback for a part of the work that starts after ``before`` steps."""
    if on_progress is None:
        return None
    return lambda done, _: on_progress(before + done, total)
