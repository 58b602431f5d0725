"""Exploring a patient: open, detect, move settings, correct, export. No Qt; events through psygnal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..detection import (
    MapOptions,
    Reconstruction,
    ReconstructionCache,
    check_score,
    run,
)
from ..detection.choosing import Params, settle, suggestions_for, whence_score
from ..detection.reconstruct import GROUP
from ..detection.scores import looks_through, score_of
from ..errors import Cancelled, NotReadyError
from ..patients import Patient, load_patient
from ..preparing import GIVEN, N4, NEVER, RAW, RIGID, SAME, Preparation, prepare_patient
from ..progress import Progress, Stop, check_stop
from ..zoo import DEFAULT_MODEL, LoadedModels
from .analysis import Analysis, Key
from .analysis_state import AnalysisState, Settings, carried_over
from .history import History
from .session_settings import SessionSettings
from .settings_file import (
    SavedSettings,
    check_same_patient,
    export_analysis,
    load_brain,
    load_corrections,
    read_settings,
)
from .streaming import Streaming

MOST_ANALYSES = 12
"""Analyses kept, those of the patient before included; each takes some 100 MB. Beyond that, the least recently used
one is dropped."""

OnStage = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class _Left:
    """The patient before the current one, with its analyses."""

    patient: Patient
    analyses: dict[Key, AnalysisState]


class Session(SessionSettings):
    """The state behind the Explore widget and everything that changes it: one patient, analyses by model and score.

    Every method blocks and returns with the state up to date; events are emitted in the calling thread. One
    thread may change settings while another asks for single slices.
    """

    def __init__(self) -> None:
        super().__init__()
        self._loaded = LoadedModels()
        self._cache = ReconstructionCache()
        self._left: _Left | None = None

    # -- patient -------------------------------------------------------------------------------------------

    def open(self, path: str | Path, sequence: str = "flair", mask: str | Path | None = None) -> Patient:
        """Load a patient from disk and make it the current one.

        Raises:
            PatientError: As ``load_patient``.
        """
        return self.use(load_patient(path, sequence, mask))

    def use(self, patient: Patient) -> Patient:
        """Make a patient in memory the current one. The analyses of the previous one become void.

        The patient before this one comes back with its analyses, settings and corrections. The same patient prepared
        in another way takes the place of itself: its corrections wait for its next detection.
        """
        with self._lock:
            before, left = self._patient, self._left
            if before is not None and before.grid is not patient.grid:
                self._left = _Left(before, self._opened)
            prepared = before is not None and before.sequences is not patient.sequences
            self._waiting = self._corrections() if prepared and self._is_current(patient) else None
            self._patient = patient
            self._opened, self._current, self._streaming = {}, None, None
            if (
                left is not None
                and left.patient.sequences is patient.sequences
                and (left.patient.sequence == patient.sequence)
            ):
                self._opened = left.analyses
                self._set_patient_of_analyses(patient)
            last = max(self._opened, key=lambda key: self._opened[key].used, default=None)
            if last is not None:  # before anybody is told: an analysis has settings of its own
                self._current, self._options = last, self._opened[last].analysis.options
                self._take(self._opened[last].analysis.params)
        self.patient_changed.emit(patient)
        if last is None:
            self.analysis_changed.emit(None)
        else:
            self._show(last)
        self.analyses_changed.emit(self.analyses)
        return patient

    def set_reference(self, mask: NDArray[Any] | None) -> None:
        """Use another lesion mask (Z, Y, X) as the reference, or none; the analyses continue with it.

        Raises:
            MaskError: If it does not fit the patient.
        """
        with self._lock:
            if self._patient is None:
                raise NotReadyError("there is no patient yet", hint="open a patient first")
            self._patient = self._patient.with_lesion_mask(mask)
            self._set_patient_of_analyses(self._patient)
            analysis = self.analysis
        if analysis is not None:
            self.mask_changed.emit(analysis)
        self.analyses_changed.emit(self.analyses)

    def _set_patient_of_analyses(self, patient: Patient) -> None:
        """Let the analyses go on with the same patient that has another lesion mask."""
        for opened in self._opened.values():
            made = replace(opened.analysis.reconstruction, patient=patient)
            opened.analysis = replace(opened.analysis, reconstruction=made)

    # -- preparation ---------------------------------------------------------------------------------------

    def prepare(
        self,
        preparation: Preparation | None = None,
        *,
        brain: NDArray[Any] | None = None,
        device: str = "auto",
        on_progress: Progress | None = None,
        should_stop: Stop | None = None,
    ) -> Patient:
        """Prepare the current patient from its scans as they were read; of its analyses the corrections stay.

        Args:
            preparation: The preparation, as `napari_cead.prepare_patient` takes it.
            brain: (Z, Y, X) labels: a brain mask that was drawn or corrected by hand.
            device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
            on_progress: Called with (steps done, total steps).
            should_stop: Called several times a second.

        Raises:
            CeadError: If there is no patient, or it cannot be prepared this way.
            Cancelled: If ``should_stop`` returned true, or another patient was opened meanwhile.
        """
        patient = self._patient
        if patient is None:
            raise NotReadyError("there is no patient yet", hint="open a patient first")
        made = prepare_patient(
            patient,
            preparation,
            brain=brain,
            device=device,
            on_progress=on_progress,
            should_stop=lambda: self._patient is not patient or (should_stop is not None and should_stop()),
        )
        if self._patient is not patient:
            raise Cancelled
        return self.use(made)

    def strip(self, stripper: str, sequence: str = SAME, **how: Any) -> Patient:
        """Strip the skull of the current patient; what else was done to it is done again.

        Args:
            stripper: As ``Preparation.strip``.
            sequence: As ``Preparation.strip_from``.
            **how: As for `prepare`.
        """
        return self.prepare(_done_to(self._patient).replace(strip=stripper, strip_from=sequence), **how)

    def use_brain(self, brain: NDArray[Any], **how: Any) -> Patient:
        """Use a hand-drawn or hand-corrected brain mask (Z, Y, X) for the current patient.

        Args:
            brain: Above 0 is brain.
            **how: As for `prepare`.
        """
        return self.prepare(_done_to(self._patient), brain=brain, **how)

    def even_out(self, **how: Any) -> Patient:
        """Correct the bias field of the current patient's scan; a stripped skull stays stripped.

        Args:
            **how: As for `prepare`.
        """
        return self._stripped_as_now(_done_to(self._patient).replace(bias_field=N4), **how)

    def register(self, **how: Any) -> Patient:
        """Move the current patient's other sequences onto the one that detection uses; all else is done again.

        Args:
            **how: As for `prepare`.
        """
        return self._stripped_as_now(_done_to(self._patient).replace(register=RIGID), **how)

    def _stripped_as_now(self, wanted: Preparation, **how: Any) -> Patient:
        done = None if self._patient is None else self._patient.prepared
        if done is None or done.brain_mask is None:
            return self.prepare(wanted, **how)
        if done.stripper == GIVEN:
            return self.prepare(wanted, brain=done.brain_mask, **how)
        asked = Preparation.from_saved(done.asked)
        return self.prepare(wanted.replace(strip=asked.strip, strip_from=asked.strip_from), **how)

    # -- detection -----------------------------------------------------------------------------------------

    def detect(
        self,
        model: str | Path = DEFAULT_MODEL,
        score: str | None = None,
        params: Params = None,
        *,
        options: MapOptions | None = None,
        device: str = "auto",
        batch_size: int = GROUP,
        first: int | None = None,
        on_stage: OnStage | None = None,
        on_progress: Progress | None = None,
        should_stop: Stop | None = None,
    ) -> Analysis:
        """Run a model on the current patient. Painted corrections stay.

        A model that already ran on this patient is not computed again. Settings changed while the network runs are
        applied.

        Args:
            model: Name or folder of the model.
            score: Anomaly score; the model's suggestion if None.
            params: Settings to start with, as `napari_cead.detect` takes them.
            options: Processing of the map; the current one if None.
            device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
            batch_size: Slices per batch.
            first: Slice to start with, for instance the visible one; then outwards.
            on_stage: Called with a few words as each stage begins: loading the model, preparing the slices….
            on_progress: Called with (slices done, total slices).
            should_stop: Called between batches of slices.

        Raises:
            CeadError: If there is no patient, or the model or patient cannot be used.
            Cancelled: If ``should_stop`` returned true, or another patient was opened meanwhile. The previous
                result is then restored.
        """
        patient = self._patient
        if patient is None:
            raise NotReadyError("there is no patient yet", hint="open a patient first")
        tell = on_stage or _nobody
        tell("Loading the model")
        detector = self._loaded.get(model, device)
        settled = settle(detector.card, params, score)
        score = settled.score
        suggestions = suggestions_for(detector.card, score)
        with self._lock:
            before = self._current
            self._waiting = self._corrections()
            self._current = None
            self._take(settled.params)
            self._options = options or self._options
            streaming = Streaming(patient, detector.name, score, self._options)
        self._tell_settings()
        self.analysis_changed.emit(None)

        def arrived(made: Reconstruction, indices: NDArray[np.int64]) -> None:
            streaming.take(made, indices, self._params)
            with self._lock:
                if not self._is_current(patient):
                    return
                self._streaming = streaming
            self.slices_arrived.emit(streaming, indices)

        tell("Preparing the slices")
        try:
            made = run(
                patient,
                detector,
                score=score,
                first=first,
                batch_size=batch_size,
                cache=self._cache,
                on_progress=on_progress,
                should_stop=lambda: (
                    not self._is_current(patient) or (should_stop is not None and should_stop())
                ),
                on_slices=arrived,
            )
            check_stop(should_stop)  # called during the last batch
            tell("Making the mask")
            opened = AnalysisState.of(
                made,
                score,
                streaming.options,
                self._params,
                suggestions,
                reconstructed=streaming.reconstruction,
                # It is complete only now that all slices have arrived.
                anomaly_map=None if looks_through(score) else streaming.anomaly_map,
                score_from=whence_score(detector.card, score),
            )
            return self._install(opened, follow=True)
        except BaseException:
            with self._lock:
                self._streaming = None
            if self._current is None and before in self._opened:
                self._show(before)
            elif self._is_current(patient):
                self.analysis_changed.emit(None)  # the slices that had arrived are void
            raise

    def set_score(
        self, score: str, *, on_progress: Progress | None = None, should_stop: Stop | None = None
    ) -> Analysis:
        """Show another score of the same model; painted corrections stay, and so do settings that still make sense.

        A score that was shown before returns with its own settings. A score that needs more output of the network runs
        it again.

        Args:
            score: The anomaly score.
            on_progress: Called with (slices done, total slices).
            should_stop: Called between batches of slices.

        Raises:
            ParameterError: If the score is unknown or the model does not support it.
            CeadError: Before a detection.
            Cancelled: If ``should_stop`` returned true.
        """
        analysis = self.analysis
        if analysis is None:
            raise NotReadyError("there is no anomaly map yet", hint="run a model first")
        old = analysis.reconstruction
        if (old.model, score) in self._opened:
            return self._show((old.model, score))
        detector = self._loaded.get(old.model_folder or old.model, old.device)
        check_score(score, detector.card)
        made = old
        if any(one.name not in old.ingredients for one in score_of(score).computed):
            made = run(
                old.patient,
                detector,
                score=score,
                batch_size=old.batch_size,
                cache=self._cache,
                on_progress=on_progress,
                should_stop=should_stop,
            )
        suggestions = suggestions_for(detector.card, score)
        opened = AnalysisState.of(
            made if made.patient is old.patient else replace(made, patient=old.patient),
            score,
            analysis.options,
            carried_over(analysis, score, suggestions),
            suggestions,
            reconstructed=analysis.reconstructed,
            corrections=analysis.corrections,
            score_from=whence_score(detector.card, score),
        )
        return self._install(opened, follow=False)

    def select(self, key: Key) -> Analysis:
        """Make an existing analysis the current one; it returns with its own settings.

        Raises:
            CeadError: If there is no such analysis.
        """
        if key not in self._opened:
            raise NotReadyError(
                f"there is no analysis by {key[0]} with {key[1]}", hint="run this model first"
            )
        return self._show(key)

    def forget(self, key: Key) -> None:
        """Drop an analysis that is not the current one."""
        with self._lock:
            if key == self._current or self._opened.pop(key, None) is None:
                return
        self.analyses_changed.emit(self.analyses)

    def _install(self, opened: AnalysisState, *, follow: bool) -> Analysis:
        """Make a new analysis the current one; with ``follow``, with the settings changed meanwhile."""
        while True:
            analysis = opened.analysis
            made, key = analysis.reconstruction, analysis.key
            with self._lock:
                patient = self._patient
                if patient is None or not self._is_current(made.patient):
                    raise Cancelled  # a new patient voids it
                params, options = analysis.params, analysis.options
                if follow:
                    params, options = self._params, self._options
                if (params, options) == (analysis.params, analysis.options):
                    # A new reference, a brush stroke or kept corrections may have come while the network ran.
                    opened.analysis = replace(
                        analysis,
                        reconstruction=made if made.patient is patient else replace(made, patient=patient),
                        corrections=self._corrections(),
                    )
                    self._waiting = None
                    opened.history = History(Settings.of(opened.analysis))
                    if key in self._opened:
                        past = self._opened.pop(key).history
                        past.record(opened.history.now)
                        opened.history = past
                    self._opened[key] = opened
                    self._streaming = None
                    break
            if options != analysis.options:
                opened = opened.with_options(options, params)
            else:
                opened.analysis = analysis.change(params, opened.stages.volume(params))
        self._show(key)
        self._forget_oldest()
        self.analyses_changed.emit(self.analyses)
        return opened.analysis

    def _forget_oldest(self) -> None:
        with self._lock:
            groups = (self._opened, {} if self._left is None else self._left.analyses)
            found = [(one.used, key, group) for group in groups for key, one in group.items()]
            found.sort(key=lambda one: one[0])
            for _, key, group in found[: max(0, len(found) - MOST_ANALYSES)]:
                del group[key]

    # -- results -------------------------------------------------------------------------------------------

    def export(
        self, folder: str | Path, *, prefix: str = "", should_stop: Stop | None = None
    ) -> Mapping[str, Any]:
        """Write mask, anomaly map and reconstruction (NIfTI, source grid) and ``settings.json``.

        With corrections, ``mask`` is the corrected one; ``mask_automatic`` and ``corrections`` (1 painted,
        2 erased) are written beside it. ``settings.json`` holds the command that reproduces the mask.

        Args:
            folder: Output folder, made if it does not exist.
            prefix: What the names of all files begin with; the dock takes patient and model.
            should_stop: Called between the volumes.

        Returns:
            The content of ``settings.json``.

        Raises:
            CeadError: Before a detection, or if the folder cannot be written.
            Cancelled: If ``should_stop`` returned true. The folder is then as it was.
        """
        analysis = self.analysis
        if analysis is None:
            raise NotReadyError("there is nothing to export yet", hint="run a model first")
        return export_analysis(
            analysis.detection(),
            folder,
            corrections=analysis.corrections,
            automatic=analysis.automatic,
            prefix=prefix,
            should_stop=should_stop,
        )

    def _return_to(self, settings: SavedSettings, device: str, should_stop: Stop | None) -> Analysis | None:
        """Bring the analysis that was saved to the saved settings; None if it is not there any more."""
        saved = (settings.sha256, settings.calibration, settings.batch_size, settings.score)
        for opened in list(self._opened.values()):
            made, score = opened.analysis.reconstruction, opened.analysis.score
            on_device = device in ("auto", made.device, made.device.partition(":")[0])
            if on_device and saved == (made.sha256, made.calibration, made.batch_size, score):
                check_stop(should_stop)
                self._show(opened.analysis.key)
                self._go_to(opened, settings.params, settings.options)
                return self.analysis
        return None

    def restore(
        self,
        path: str | Path,
        *,
        device: str = "auto",
        on_stage: OnStage | None = None,
        on_progress: Progress | None = None,
        should_stop: Stop | None = None,
    ) -> tuple[str, ...]:
        """Apply the settings of an export: model, score, parameters, map options and corrections.

        An analysis of this model and score that is still there is used; the network does not run again.

        Args:
            path: ``settings.json``, ``detection.json``, or the folder that holds it.
            device: Where to run the model, if necessary.
            on_stage: As for `detect`.
            on_progress: Called with (slices done, total slices).
            should_stop: Called between batches of slices.

        Returns:
            The differences from when the settings were saved: another scan, another model.

        Raises:
            CeadError: If the file, the model or the corrections cannot be used, or there is no patient.
            Cancelled: If ``should_stop`` returned true.
        """
        settings = read_settings(path)
        patient = self._patient
        if patient is None:
            raise NotReadyError("there is no patient yet", hint="open a patient first")
        notes = [*settings.notes, *check_same_patient(settings, patient)]
        brain = load_brain(settings, patient)
        wanted = RAW.replace(
            bias_field=N4 if settings.evened else NEVER, register=RIGID if settings.registered else NEVER
        )
        if not _prepared_so(patient, wanted, brain):
            patient = self.prepare(wanted, brain=brain, should_stop=should_stop)
        corrections = load_corrections(settings, patient)
        analysis = self._return_to(settings, device, should_stop) or self.detect(
            self._loaded.folder_of(settings.sha256) or settings.model,
            settings.score,
            settings.params,
            options=settings.options,
            device=device,
            batch_size=settings.batch_size,
            on_stage=on_stage,
            on_progress=on_progress,
            should_stop=should_stop,
        )
        self._paint(lambda analysis: replace(analysis, corrections=corrections), History.amend)
        made = analysis.reconstruction
        if made.sha256 != settings.sha256:
            notes.append(f"{settings.model} has other weights than when the settings were saved")
        elif settings.calibration not in (None, made.calibration):
            notes.append(
                f"{settings.model} was calibrated anew since the settings were saved: the map differs"
            )
        return tuple(notes)


def _done_to(patient: Patient | None) -> Preparation:
    """What was done to a patient, but for its skull."""
    done = None if patient is None else patient.prepared
    if done is None:
        return RAW
    return RAW.replace(bias_field=N4 if done.corrected else NEVER, register=RIGID if done.moves else NEVER)


def _prepared_so(patient: Patient, wanted: Preparation, brain: NDArray[Any] | None) -> bool:
    """Whether a patient is prepared in this way already, within this brain."""
    mask = None if patient.prepared is None else patient.prepared.brain_mask
    if brain is None or mask is None:
        return brain is mask and _done_to(patient) == wanted
    return _done_to(patient) == wanted and np.array_equal(np.asarray(brain) > 0, mask)


def _nobody(stage: str) -> None:
    """Tell nobody."""
