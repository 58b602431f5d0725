"""Exploring a patient: open, detect, move settings, correct, export. No Qt; events through psygnal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from ..detection import PostprocessParams, Reconstruction, run, save_detection, suggested
from ..detection.postprocessing import StagedPostprocessor
from ..errors import Cancelled, CeadError
from ..metrics import volume_ml
from ..patients import Patient, load_patient
from ..zoo import Detector, ModelCard, find_model, load_card, load_model, pick_device
from .analysis import Analysis

DEFAULT_MODEL = "ce-vae1"

Mask = NDArray[np.bool_]


class Session:
    """The state behind the Explore widget: one patient, one analysis of it, and how to change them.

    Every method blocks and returns with the state up to date; events are emitted in the calling thread. One
    thread may change settings while another asks for single slices.

    Attributes:
        patient_changed: Emitted with the new patient.
        analysis_changed: Emitted with the new analysis after a detection or a change of score, and with
            None when a new patient makes the old one void.
        params_changed: Emitted with the parameters as soon as they are set, before the mask follows.
        mask_changed: Emitted with the analysis when its mask has followed.
    """

    patient_changed = Signal(object)
    analysis_changed = Signal(object)
    params_changed = Signal(object)
    mask_changed = Signal(object)

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._patient: Patient | None = None
        self._analysis: Analysis | None = None
        self._stages: StagedPostprocessor | None = None
        self._params = PostprocessParams()
        self._detector: Detector | None = None

    # -- what is there -------------------------------------------------------------------------------------

    @property
    def patient(self) -> Patient | None:
        """The open patient."""
        return self._patient

    @property
    def analysis(self) -> Analysis | None:
        """The current analysis; None before a detection."""
        return self._analysis

    @property
    def params(self) -> PostprocessParams:
        """The current post-processing parameters."""
        return self._params

    @property
    def score(self) -> str | None:
        """Name of the current anomaly score."""
        return None if self._analysis is None else self._analysis.score

    @property
    def anomaly_map(self) -> NDArray[np.float32] | None:
        """(Z, Y, X) float32 in [0, 1]; None before a detection."""
        return None if self._analysis is None else self._analysis.anomaly_map

    @property
    def mask(self) -> Mask | None:
        """(Z, Y, X) bool, the user's corrections included; None before a detection."""
        return None if self._analysis is None else self._analysis.mask

    @property
    def dice(self) -> float | None:
        """Dice over the volume; None without a lesion mask or detection, NaN if both are empty."""
        return None if self._analysis is None else self._analysis.dice

    @property
    def volume_ml(self) -> float | None:
        """Volume of the mask in mL; None before a detection."""
        analysis = self._analysis
        return None if analysis is None else volume_ml(analysis.mask, analysis.reconstruction.patient.spacing)

    def slice_dice(self, z: int) -> float | None:
        """Dice of slice ``z``; None without a lesion mask or detection, NaN if both are empty there."""
        return None if self._analysis is None else self._analysis.slice_dice(z)

    # -- patient and model ---------------------------------------------------------------------------------

    def open(self, path: str | Path, sequence: str = "flair", mask: str | Path | None = None) -> Patient:
        """Load a patient from disk and make it the current one.

        Raises:
            PatientError: As ``load_patient``.
        """
        return self.use(load_patient(path, sequence, mask))

    def use(self, patient: Patient) -> Patient:
        """Make a patient in memory the current one. The old analysis becomes void."""
        with self._lock:
            self._patient = patient
            self._analysis = None
            self._stages = None
        self.patient_changed.emit(patient)
        self.analysis_changed.emit(None)
        return patient

    def set_reference(self, mask: NDArray[Any] | None) -> None:
        """Take another lesion mask (Z, Y, X) as the reference, or none; the analysis goes on with it.

        Raises:
            MaskError: If it does not fit the patient.
        """
        with self._lock:
            if self._patient is None:
                raise CeadError("there is no patient yet", mend="open a patient first")
            self._patient = self._patient.with_lesion_mask(mask)
            if self._analysis is None:
                return
            made = replace(self._analysis.reconstruction, patient=self._patient)
            self._analysis = analysis = replace(self._analysis, reconstruction=made)
        self.mask_changed.emit(analysis)

    def detect(
        self,
        model: str | Path = DEFAULT_MODEL,
        score: str | None = None,
        params: PostprocessParams | None = None,
        *,
        device: str = "auto",
        on_progress: Callable[[int, int], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Analysis:
        """Run a model on the current patient. What the user painted before stays.

        Args:
            model: Name or folder of the model.
            score: Anomaly score; the model's suggestion if None.
            params: Settings to start with; the model's suggestion if None.
            device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
            on_progress: Called with (slices done, slices in all).
            should_stop: Asked between groups of slices.

        Raises:
            CeadError: If there is no patient, or the model or patient cannot be used.
            Cancelled: If ``should_stop`` returned true, or another patient was opened meanwhile.
        """
        patient = self._patient
        if patient is None:
            raise CeadError("there is no patient yet", mend="open a patient first")
        detector = self._load(model, device)

        def stop() -> bool:
            now = self._patient
            other = now is None or now.grid is not patient.grid or now.sequence != patient.sequence
            return other or (should_stop is not None and should_stop())

        made = run(patient, detector, on_progress=on_progress, should_stop=stop)
        return self._analyse(made, detector.card, score, params)

    def set_score(self, score: str) -> Analysis:
        """Show another score of the same reconstruction, with the settings suggested for it; painting stays.

        Raises:
            ParameterError: If the score is unknown.
            CeadError: Before a detection.
        """
        analysis, detector = self._analysis, self._detector
        if analysis is None or detector is None:
            raise CeadError("there is no anomaly map yet", mend="run a model first")
        return self._analyse(analysis.reconstruction, detector.card, score)

    def _load(self, model: str | Path, device: str) -> Detector:
        # Weights stay loaded between runs; the checksum tells a folder that was replaced meanwhile.
        wanted = (find_model(model), load_card(find_model(model)).sha256, pick_device(device))
        old = self._detector
        if old is None or (old.folder, old.sha256, old.device) != wanted:
            self._detector = load_model(model, device)
        assert self._detector is not None
        return self._detector

    def _analyse(
        self,
        made: Reconstruction,
        card: ModelCard,
        score: str | None,
        wanted: PostprocessParams | None = None,
    ) -> Analysis:
        score, suggestion, rule = suggested(card, score)
        params = suggestion if wanted is None else wanted
        anomaly_map = made.anomaly_map(score)
        stages = StagedPostprocessor(anomaly_map, made.patient.spacing)
        automatic = stages.volume(params)
        analysis = Analysis(made, score, anomaly_map, params, suggestion, rule, automatic)
        with self._lock:
            # A new reference (or a corrected one) may have come while the network ran; a new patient voids it.
            now = self._patient
            if now is None or now.grid is not made.patient.grid or now.sequence != made.patient.sequence:
                raise Cancelled
            if now is not made.patient:
                analysis = replace(analysis, reconstruction=replace(made, patient=now))
            if self._analysis is not None:
                analysis = replace(analysis, corrections=self._analysis.corrections)
            self._analysis, self._stages, self._params = analysis, stages, params
        self.params_changed.emit(params)
        self.analysis_changed.emit(analysis)
        return analysis

    # -- settings ------------------------------------------------------------------------------------------

    def set(self, *, should_stop: Callable[[], bool] | None = None, **changes: Any) -> PostprocessParams:
        """Change post-processing parameters; returns when the mask of the whole volume has followed.

        Args:
            should_stop: Asked now and then; a mask that is no longer wanted is dropped.
            **changes: Fields of ``PostprocessParams``.

        Raises:
            ParameterError: If a value is out of range; nothing changes then.
            Cancelled: If ``should_stop`` returned true. The parameters are set, the mask has not followed.
        """
        with self._lock:
            params = self._params.replace(**changes)
            self._params = params
            stages = self._stages
        self.params_changed.emit(params)
        if stages is not None:
            automatic = stages.volume(params, should_stop=should_stop)
            with self._lock:
                # Another patient, score or setting may have come meanwhile: newest wins.
                if self._stages is not stages or self._params is not params or self._analysis is None:
                    raise Cancelled
                self._analysis = analysis = self._analysis.change(params, automatic)
            self.mask_changed.emit(analysis)
        return params

    def reset(self) -> PostprocessParams:
        """Go back to the settings that the model suggests (before a detection: the paper's defaults)."""
        wanted = PostprocessParams() if self._analysis is None else self._analysis.suggestion
        return self.set(**wanted.model_dump())

    def slice_mask(self, z: int, params: PostprocessParams | None = None) -> Mask | None:
        """Return the mask (Y, X) of one slice at once, without changing any state.

        Args:
            z: Index of the slice.
            params: Settings to look at; the current ones if None.
        """
        stages, analysis = self._stages, self._analysis
        if stages is None or analysis is None:
            return None
        mask = stages.slice(z, self._params if params is None else params)
        return mask if analysis.corrections is None else analysis.corrections.apply(mask, z)

    # -- corrections ---------------------------------------------------------------------------------------

    def correct(self, painted: NDArray[Any]) -> None:
        """Take the mask as the user painted it; what differs stays corrected when sliders move.

        Args:
            painted: (Z, Y, X), above 0 is lesion.
        """
        with self._lock:
            if self._analysis is None:
                raise CeadError("there is no detected mask yet", mend="run a model first")
            self._analysis = analysis = self._analysis.paint(np.asarray(painted) > 0)
        self.mask_changed.emit(analysis)

    def discard_corrections(self) -> None:
        """Go back to the mask that the settings give."""
        with self._lock:
            if self._analysis is None:
                return
            self._analysis = analysis = replace(self._analysis, corrections=None)
        self.mask_changed.emit(analysis)

    # -- results -------------------------------------------------------------------------------------------

    def export(self, folder: str | Path) -> Mapping[str, Any]:
        """Write mask, anomaly map and reconstruction (NIfTI, source grid) and ``settings.json``.

        With corrections, ``mask`` is the corrected one; ``mask_automatic`` and ``corrections`` (1 painted
        in, 2 erased) stand beside it.

        Returns:
            What ``settings.json`` holds.

        Raises:
            CeadError: Before a detection, or if the folder cannot be written.
        """
        analysis = self._analysis
        if analysis is None:
            raise CeadError("there is nothing to export yet", mend="run a model first")
        volumes: dict[str, NDArray[Any]] = {}
        facts: dict[str, Any] = {"corrections": None}
        if analysis.corrections is not None:
            volumes = {"mask_automatic": analysis.automatic, "corrections": analysis.corrections.volume()}
            facts["corrections"] = {
                "file": "corrections.nii.gz",
                "added_voxels": int(analysis.corrections.added.sum()),
                "removed_voxels": int(analysis.corrections.removed.sum()),
            }
        return save_detection(
            analysis.detection(), folder, json_name="settings.json", more_volumes=volumes, more_facts=facts
        )
