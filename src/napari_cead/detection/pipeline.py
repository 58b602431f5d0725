"""Detection: from a patient and a trained autoencoder to an anomaly map, a mask and Dice."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError
from ..metrics import dice
from ..patients import Patient
from ..slices import SliceStack, slice_stack
from ..zoo import Detector, ModelCard
from .params import PostprocessParams
from .postprocessing import postprocess
from .reconstruct import Progress, Stop, reconstruct
from .scores import SCORES, anomaly_score

DEFAULT_SCORE = "residual"


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What a network made of a patient, before any score is chosen.

    Attributes:
        patient: The patient.
        stack: The slices that went in, with the way back to the patient grid.
        slices: (Z, S, S) float32 reconstruction on the model grid.
        model: Name of the model.
        sha256: Checksum of the model's weights.
        device: Where it ran.
        score_scales: The model's constants by score name.
        warnings: What was assumed along the way.
    """

    patient: Patient
    stack: SliceStack
    slices: NDArray[np.float32] = field(repr=False)
    model: str
    sha256: str
    device: str
    score_scales: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def volume(self) -> NDArray[np.float32]:
        """Return the reconstruction inside the brain, (Z, Y, X) float32 on the patient grid."""
        return np.where(self.stack.brain, self.stack.geometry.to_patient(self.slices), np.float32(0))

    def anomaly_map(self, score: str) -> NDArray[np.float32]:
        """Return a score as (Z, Y, X) float32 in [0, 1] on the patient grid, 0 outside the brain.

        Raises:
            ParameterError: If the score is unknown.
        """
        values = anomaly_score(score, self.stack.images, self.slices, self.score_scales)
        # Scored on the model grid: resampling first would turn the blur of resampling into residual.
        return np.where(self.stack.brain, self.stack.geometry.to_patient(values), np.float32(0))


@dataclass(frozen=True, eq=False)
class Detection:
    """The result of ``detect``. Arrays are (Z, Y, X) on the patient's grid.

    Attributes:
        patient: The patient it was run on.
        input: float32 in [0, 1]: what the network saw, 0 outside the brain.
        reconstruction: float32: what the network made of it, 0 outside the brain.
        anomaly_map: float32 in [0, 1], 0 outside the brain.
        mask: bool, the post-processed map.
        params: Post-processing parameters used.
        score: Name of the anomaly score.
        rule: How the parameters came about: ``"given"``, ``"default"``, or the model's named rule.
        dice: Dice with the lesion mask over the volume; None without one, NaN if both are empty.
        model: Name of the model.
        sha256: Checksum of the model's weights.
        device: Where it ran.
        warnings: What was assumed along the way.
    """

    patient: Patient
    input: NDArray[np.float32] = field(repr=False)
    reconstruction: NDArray[np.float32] = field(repr=False)
    anomaly_map: NDArray[np.float32] = field(repr=False)
    mask: NDArray[np.bool_] = field(repr=False)
    params: PostprocessParams
    score: str
    rule: str
    dice: float | None
    model: str
    sha256: str
    device: str
    warnings: tuple[str, ...] = ()


def run(
    patient: Patient,
    detector: Detector,
    *,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> Reconstruction:
    """Prepare a patient's default sequence as the model wants it and reconstruct it.

    Raises:
        PatientError: If the patient holds no usable brain.
        Cancelled: If ``should_stop`` returned true.
    """
    wants = detector.card.preprocessing
    stack = slice_stack(
        patient,
        scaling=wants.intensity,
        model_spacing=wants.spacing,
        size=wants.image_size,
    )
    slices = reconstruct(stack, detector, on_progress=on_progress, should_stop=should_stop)
    notes = list(stack.warnings)
    if wants.sequence != patient.sequence:
        notes.append(f"{detector.name} was trained on {wants.sequence}, this is {patient.sequence}")
    return Reconstruction(
        patient=patient,
        stack=stack,
        slices=slices,
        model=detector.name,
        sha256=detector.sha256,
        device=str(detector.device),
        score_scales=dict(detector.card.score_scales),
        warnings=tuple(notes),
    )


def suggested(card: ModelCard, score: str | None = None) -> tuple[str, PostprocessParams, str]:
    """Return the model's suggested (score, parameters, rule), or the paper's defaults.

    Args:
        card: The model's card.
        score: Ask for this score; the model's preferred one if None.

    Raises:
        ParameterError: If the score is unknown.
    """
    if score is not None and score not in SCORES:
        raise ParameterError(f"unknown score {score!r}", mend=f"use one of {', '.join(SCORES)}")
    for suggestion in card.suggestions:
        if score in (None, suggestion.score):
            return suggestion.score, PostprocessParams().replace(**suggestion.params), suggestion.rule
    return score or DEFAULT_SCORE, PostprocessParams(), "default"


def detect(
    patient: Patient,
    detector: Detector,
    params: PostprocessParams | None = None,
    score: str | None = None,
    *,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> Detection:
    """Run a trained autoencoder over a patient and post-process its anomaly map.

    Args:
        patient: From ``load_patient``; its default sequence is used.
        detector: From ``load_model``.
        params: Post-processing; None takes the model's suggestion for the score, else the defaults.
        score: Anomaly score; None takes the model's suggestion, else ``"residual"``.
        on_progress: Called with (slices done, slices in all).
        should_stop: Asked between groups of slices.

    Raises:
        PatientError: If the patient holds no usable brain.
        ParameterError: If the score is unknown.
        Cancelled: If ``should_stop`` returned true.
    """
    score, suggestion, rule = suggested(detector.card, score)
    made = run(patient, detector, on_progress=on_progress, should_stop=should_stop)
    anomaly_map = made.anomaly_map(score)
    chosen = suggestion if params is None else params
    mask = postprocess(anomaly_map, chosen, patient.spacing)
    reference = patient.lesion_mask
    return Detection(
        patient=patient,
        input=made.stack.scaled,
        reconstruction=made.volume(),
        anomaly_map=anomaly_map,
        mask=mask,
        params=chosen,
        score=score,
        rule=rule if params is None else "given",
        dice=None if reference is None else dice(mask, reference),
        model=made.model,
        sha256=made.sha256,
        device=made.device,
        warnings=(*patient.warnings, *made.warnings),
    )
