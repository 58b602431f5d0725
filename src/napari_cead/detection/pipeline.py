"""Detection: from a patient and a trained autoencoder to an anomaly map, a mask and Dice."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..metrics import dice
from ..patients import Patient
from ..preparing import Preparation, prepare_patient
from ..progress import Progress, Stop
from ..slices import SliceStack, slice_stack
from ..slices.symmetry import midline
from ..zoo import Detector
from .cache import ReconstructionCache
from .choosing import Params, Settled, Whence, remarks, settle, threshold_doubt
from .evidence import REACH_MM
from .members import differs, median, members
from .options import MapOptions
from .params import PostprocessParams
from .postprocessing import postprocess
from .provenance import preparation, threads_on
from .reconstruct import GROUP, NetworkPasses, check_batch_size, reconstruct
from .scan_warnings import contrast_doubt, evenness_doubt
from .scores import anomaly_score, check_score, computed_for, looks_through, score_of

AS_IT_IS = MapOptions()
"""The unprocessed map of the score."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Made:
    """The origin of a result.

    Attributes:
        model: Name of the model.
        sha256: Checksum of the model's weights.
        device: Where it ran.
        warnings: Assumptions made along the way.
        calibration: Checksum of what else on the model's card decides the map.
        batch_size: Slices per batch.
        preparation: How the patient became the network's input, as JSON values.
        model_folder: Where the model was loaded from; None if no model made it.
        threads: Threads that computed on the CPU; None on another device.
    """

    model: str
    sha256: str
    device: str
    warnings: tuple[str, ...] = ()
    calibration: str = ""
    batch_size: int = GROUP
    preparation: Mapping[str, Any] = field(default_factory=dict, repr=False)
    model_folder: Path | None = None
    threads: int | None = None

    @property
    def origin(self) -> dict[str, Any]:
        """The fields of this class by name, for another result of the same origin."""
        return {each.name: getattr(self, each.name) for each in fields(Made)}


@dataclass(frozen=True, eq=False)
class Reconstruction(Made):
    """A network's output for a patient, before any score is chosen.

    Attributes:
        patient: The patient.
        stack: The input slices, with the way back to the patient grid.
        slices: (Z, S, S) float32 reconstruction on the model grid.
        score_scales: The model's constants by score name.
        ingredients: What else scores are made from, by name (``"gradient"``, ``"lesion"``), (Z, S, S) float32 on the
            model grid: what the network says beside the reconstruction, what the members of an ensemble say
            (:mod:`~napari_cead.detection.members`), and what a score needed.
        statistics: The model's maps (S, S) float32 of healthy statistics by name.
        tails: By kind of evidence, the values of healthy tissue.
        from_cache: Whether it came from the cache, without a run of the network.
    """

    patient: Patient
    stack: SliceStack
    slices: NDArray[np.float32] = field(repr=False)
    score_scales: dict[str, float] = field(default_factory=dict)
    ingredients: Mapping[str, NDArray[np.float32]] = field(default_factory=dict, repr=False)
    statistics: Mapping[str, NDArray[np.float32]] = field(default_factory=dict, repr=False)
    tails: Mapping[str, Sequence[float]] = field(default_factory=dict, repr=False)
    from_cache: bool = False

    def volume(self) -> NDArray[np.float32]:
        """Return the reconstruction inside the brain, (Z, Y, X) float32 on the patient grid."""
        return self._volume(slice(None))

    def volume_slices(self, indices: ArrayLike) -> NDArray[np.float32]:
        """Return some slices of `volume`, (n, Y, X).

        Args:
            indices: Which slices (n,).
        """
        return self._volume(np.asarray(indices, dtype=np.int64))

    def anomaly_map(self, score: str, options: MapOptions = AS_IT_IS) -> NDArray[np.float32]:
        """Return a score as (Z, Y, X) float32 in [0, 1] on the patient grid, 0 outside the brain.

        Args:
            score: Name of the score.
            options: Smoothing and erosion.

        Raises:
            ParameterError: If the score is unknown, or what it needs was not computed.
        """
        return self._map(score, slice(None), options)

    def anomaly_slices(
        self,
        score: str,
        indices: ArrayLike,
        options: MapOptions = AS_IT_IS,
        *,
        alone: bool = False,
    ) -> NDArray[np.float32]:
        """Return some slices of `anomaly_map`, (n, Y, X), at the cost of these alone.

        Of a score that looks through slices this is a preview, made from what lies within its reach: how even a coil
        is, and how rare the bulk of a volume is, only the whole volume tells.

        Args:
            score: Name of the score.
            indices: Which slices (n,).
            options: Smoothing and erosion.
            alone: Whether a score that looks through slices ignores everything beyond the first and the last of
                these, as if there were no more: half the cost, for slices whose neighbours are still to come.

        Raises:
            ParameterError: If the score is unknown, or what it needs was not computed.
        """
        return self._map(score, np.asarray(indices, dtype=np.int64), options, alone)

    def _volume(self, chosen: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        volume = self.stack.geometry.to_patient(self.slices[chosen])
        return np.where(self.stack.brain[chosen], volume, np.float32(0))

    def _map(
        self, score: str, chosen: slice | NDArray[np.int64], options: MapOptions, alone: bool = False
    ) -> NDArray[np.float32]:
        parts = self._members if differs(score) else (self,)
        found = median([one._raw_map(score, chosen, alone) for one in parts])
        return options.apply(found, self.stack.brain[chosen], self.patient.spacing)

    @cached_property
    def _members(self) -> tuple[Reconstruction, ...]:
        """The members of an ensemble, each as if it were alone; else this. They share its arrays."""
        found = members(self.slices, self.ingredients)
        if len(found) == 1:
            return (self,)
        return tuple(replace(self, slices=made, ingredients=rest) for made, rest in found)

    def _raw_map(self, score: str, chosen: slice | NDArray[np.int64], alone: bool) -> NDArray[np.float32]:
        if looks_through(score):
            return self._volume_map(score, chosen, alone)
        values = anomaly_score(
            score,
            self.stack.images[chosen],
            self.slices[chosen],
            self.score_scales,
            ingredients={name: values[chosen] for name, values in self.ingredients.items()},
            statistics=self.statistics,
            spacing=self.stack.geometry.pixel(self.patient.spacing),
            model=self.model,
        )
        # Scored on the model grid: resampling first would turn its blur into residual.
        anomaly_map = self.stack.geometry.to_patient(values)
        np.copyto(anomaly_map, 0, where=~self.stack.brain[chosen])
        return anomaly_map

    @cached_property
    def _midline(self) -> int:
        return midline(self.stack.brain)

    def _volume_map(self, score: str, chosen: slice | NDArray[np.int64], alone: bool) -> NDArray[np.float32]:
        """Return slices of a score that looks through slices, from these and those within its reach."""
        depth, height, width = self.patient.spacing
        wanted = np.arange(len(self.slices))[chosen]
        if not len(wanted):
            return np.zeros((0, *self.stack.brain.shape[1:]), np.float32)
        reach = 0 if alone else math.ceil(REACH_MM / depth)
        near = slice(max(0, int(wanted.min()) - reach), int(wanted.max()) + reach + 1)
        back, image = self.stack.geometry, self.stack.scaled[near]
        # The residual is resampled, not the reconstruction: the blur of resampling is no residual.
        residual = back.to_patient(self.stack.images[near] - self.slices[near])
        values = anomaly_score(
            score,
            image,
            image - residual,
            self.score_scales,
            ingredients={name: back.to_patient(values[near]) for name, values in self.ingredients.items()},
            statistics=self.statistics,
            spacing=(height, width),
            depth=depth,
            midline=self._midline,
            tails=self.tails,
            model=self.model,
        )
        np.copyto(values, 0, where=~self.stack.brain[near])
        return values[wanted - near.start]


@dataclass(frozen=True, eq=False)
class Detection(Made):
    """The result of ``detect``. Arrays are (Z, Y, X) on the patient's grid.

    Attributes:
        patient: The patient it was run on.
        input: float32 in [0, 1]: the network's input, 0 outside the brain.
        reconstruction: float32: the network's output, 0 outside the brain.
        anomaly_map: float32 in [0, 1], 0 outside the brain.
        mask: bool, the post-processed map.
        params: Post-processing parameters used.
        score: Name of the anomaly score.
        rule: Where the threshold comes from: ``"given"``, ``"default"``, or the rule on the model's card.
        origins: By name, where the score and each setting come from: given, suggested by the model, or a default.
        brain: bool: the region that limits the mask; None: not known.
        dice: Dice with the lesion mask over the volume; None without one, NaN if both are empty.
        options: Processing of the map before the threshold.
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
    origins: Mapping[str, Whence] = field(default_factory=dict)
    brain: NDArray[np.bool_] | None = field(default=None, repr=False)
    options: MapOptions = AS_IT_IS

    @classmethod
    def of(
        cls,
        made: Reconstruction,
        settled: Settled,
        reconstruction: NDArray[np.float32],
        anomaly_map: NDArray[np.float32],
        mask: NDArray[np.bool_],
    ) -> Self:
        """Return the result of a reconstruction with settings, its volumes (Z, Y, X) as they were made from it."""
        patient, doubts = made.patient, threshold_doubt(settled.origins, settled.options)
        return cls(
            patient=patient,
            input=made.stack.scaled,
            reconstruction=reconstruction,
            anomaly_map=anomaly_map,
            mask=mask,
            params=settled.params,
            score=settled.score,
            rule=settled.rule,
            dice=None if patient.lesion_mask is None else dice(mask, patient.lesion_mask),
            origins=settled.origins,
            brain=made.stack.brain,
            options=settled.options,
            **{**made.origin, "warnings": (*patient.warnings, *made.warnings, *doubts)},
        )


OnSlices = Callable[[Reconstruction, NDArray[np.int64]], None]


def run(
    patient: Patient,
    detector: Detector,
    *,
    score: str | Iterable[str] | None = None,
    first: int | None = None,
    batch_size: int = GROUP,
    cache: ReconstructionCache | None = None,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
    on_slices: OnSlices | None = None,
    stack: SliceStack | None = None,
    only: Collection[int] | None = None,
) -> Reconstruction:
    """Prepare a patient's default sequence as the model wants it and reconstruct it.

    The result does not depend on the order in which slices are computed, nor on a cache. If the memory of the
    device is too small, fewer slices are taken at a time, then the CPU; the result's ``warnings`` say so.

    Args:
        patient: The patient.
        detector: A loaded model.
        score: Score, or scores, whose ingredients are computed beside the reconstruction: some take a
            pass of their own, such as the KL gradient. None: the reconstruction alone.
        first: Index of the slice to start with, then outwards to both sides. None: from the lowest to the highest.
        batch_size: Slices per batch.
        cache: Cache of reconstructions of the same slices by the same model.
        on_progress: Called with (slices done, total slices) after every group of slices.
        should_stop: Called before every group.
        on_slices: Called with the result so far, whose arrays are filled in place, and the indices of the slices
            that are new in it, after every group, and once with all of them if they come from the cache. After a
            lack of memory it starts again with another result.
        stack: The patient's slices as the model wants them, if another run has made them; None makes them.
        only: Indices of the slices that are wanted; a group without any of them is left out and stays 0. None: all.

    Raises:
        PatientError: If the patient has no usable brain.
        ParameterError: If the model cannot give a score, or the batch size is out of range.
        ModelError: If not even a single slice fits into the memory of the CPU.
        Cancelled: If ``should_stop`` returned true.
    """
    scores = (score,) if isinstance(score, str) else tuple(score or ())
    for name in scores:
        check_score(name, detector.card)
    check_batch_size(batch_size)
    wants = detector.card.preprocessing
    if stack is None:
        stack = slice_stack(
            patient, scaling=wants.intensity, model_spacing=wants.spacing, size=wants.image_size
        )
    notes = [*remarks(detector.card), *stack.warnings]
    if doubt := contrast_doubt(patient, stack, detector.card):
        notes.append(doubt)
    if doubt := evenness_doubt(stack):
        notes.append(doubt)
    statistics = {name: values.cpu().numpy() for name, values in detector.statistics.items()}
    prepared = preparation(wants, stack)
    if detector.card.mirror_average:
        prepared["mirror_average"] = True
    current: tuple[NetworkPasses, Reconstruction] | None = None

    def result(passes: NetworkPasses) -> Reconstruction:
        nonlocal current
        if current is None or current[0] is not passes:
            made = Reconstruction(
                patient=patient,
                stack=stack,
                slices=passes.slices,
                model=detector.name,
                sha256=detector.sha256,
                device=passes.device,
                score_scales=dict(detector.card.score_scales),
                warnings=(*notes, *passes.warnings),
                ingredients=passes.ingredients,
                statistics=statistics,
                tails=detector.card.tails,
                batch_size=passes.batch_size,
                from_cache=passes.from_cache,
                model_folder=detector.folder,
                threads=threads_on(passes.device),
                preparation=prepared,
                calibration=detector.card.calibration,
            )
            current = passes, made
        return current[1]

    return result(
        reconstruct(
            stack,
            detector,
            ingredients=computed_for(map(score_of, scores)),
            batch_size=batch_size,
            first=first,
            only=only,
            cache=cache,
            on_progress=on_progress,
            should_stop=should_stop,
            on_group=None
            if on_slices is None
            else lambda passes, indices: on_slices(result(passes), indices),
        )
    )


def detect(
    patient: Patient,
    detector: Detector,
    params: Params = None,
    score: str | None = None,
    *,
    options: MapOptions | None = None,
    preparation: Preparation | None = None,
    batch_size: int = GROUP,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> Detection:
    """Run a trained autoencoder over a patient and post-process its anomaly map.

    Args:
        patient: From ``load_patient``; its default sequence is used.
        detector: From ``load_model``.
        params: Post-processing. None takes the threshold that the model suggests for the score, and the defaults for
            all else; ``"suggested"`` takes all that it suggests.
        score: Anomaly score; None takes the model's suggestion, else ``"residual"``.
        options: Smoothing and erosion of the map; None leaves it unchanged.
        preparation: Preparation of the scan, from the files' own voxels on; None takes the patient as it is.
        batch_size: Slices per batch. A replay with the same one on the same device gives the identical result.
        on_progress: Called with (slices done, total slices).
        should_stop: Called between batches of slices.

    Raises:
        PatientError: If the patient holds no usable brain, or cannot be prepared as asked.
        MissingExtraError: If the skull has to be stripped, and what strips it is not installed.
        ParameterError: If the score is unknown or the model cannot give it, or the batch size is out of range.
        ModelError: If not even a single slice fits into the memory of the CPU.
        Cancelled: If ``should_stop`` returned true.
    """
    if preparation is not None:
        patient = prepare_patient(patient, preparation, device=str(detector.device), should_stop=should_stop)
    chosen = settle(detector.card, params, score, options)
    made = run(
        patient,
        detector,
        score=chosen.score,
        batch_size=batch_size,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    anomaly_map = made.anomaly_map(chosen.score, chosen.options)
    mask = postprocess(anomaly_map, chosen.params, patient.spacing, made.stack.brain)
    return Detection.of(made, chosen, made.volume(), anomaly_map, mask)
