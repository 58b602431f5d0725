"""The state of a session: the patient, its analyses, the current settings. No Qt; events through psygnal."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from ..detection import MapOptions, PostprocessParams
from ..detection.corrections import Corrections
from ..metrics import volume_ml
from ..patients import Patient
from .analysis import Analysis, Key
from .analysis_state import AnalysisState, Settings
from .streaming import Streaming

Mask = NDArray[np.bool_]


class SessionState:
    """The readable state behind the Explore widget; ``Session`` changes it.

    Attributes:
        patient_changed: Emitted with the new patient.
        analysis_changed: Emitted with the new current analysis after a detection, a change of score or of map
            options, and with None when a run or a new patient makes the old one void.
        analyses_changed: Emitted with all analyses of the patient when one is added or dropped.
        params_changed: Emitted with the parameters as soon as they are set, before the mask follows.
        options_changed: Emitted with the map options as soon as they are set.
        mask_changed: Emitted with the analysis when its mask is up to date.
        slices_arrived: Emitted during a run with (Streaming, indices of the new slices).
    """

    patient_changed = Signal(object)
    analysis_changed = Signal(object)
    analyses_changed = Signal(object)
    params_changed = Signal(object)
    options_changed = Signal(object)
    mask_changed = Signal(object)
    slices_arrived = Signal(object, object)

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._patient: Patient | None = None
        self._opened: dict[Key, AnalysisState] = {}
        self._current: Key | None = None
        self._params = PostprocessParams()
        self._version = 0
        self._options = MapOptions()
        self._streaming: Streaming | None = None
        self._waiting: Corrections | None = None  # for the first detection of the patient
        self._stroke: object = None  # gesture of the last one
        self._uses = 0

    # -- reading -------------------------------------------------------------------------------------------

    @property
    def patient(self) -> Patient | None:
        """The open patient."""
        return self._patient

    @property
    def analysis(self) -> Analysis | None:
        """The current analysis; None before a detection and during one."""
        opened = self._now()
        return None if opened is None else opened.analysis

    @property
    def analyses(self) -> tuple[Analysis, ...]:
        """All analyses of the patient, in the order in which they were made."""
        return tuple(opened.analysis for opened in list(self._opened.values()))

    @property
    def streaming(self) -> Streaming | None:
        """The run in progress, if slices have arrived."""
        return self._streaming

    @property
    def params(self) -> PostprocessParams:
        """The current post-processing parameters."""
        return self._params

    @property
    def version(self) -> int:
        """Counts the changes of ``params``: a mask of an older version is dropped."""
        return self._version

    @property
    def settled(self) -> bool:
        """Whether the mask of the volume is that of ``params``, or there is none."""
        analysis = self.analysis
        return analysis is None or analysis.params == self._params

    @property
    def options(self) -> MapOptions:
        """Processing of the map before the threshold."""
        return self._options

    @property
    def score(self) -> str | None:
        """Name of the current anomaly score."""
        return None if self.analysis is None else self.analysis.score

    @property
    def anomaly_map(self) -> NDArray[np.float32] | None:
        """(Z, Y, X) float32 in [0, 1]; None before a detection."""
        return None if self.analysis is None else self.analysis.anomaly_map

    @property
    def mask(self) -> Mask | None:
        """(Z, Y, X) bool, including the user's corrections; None before a detection."""
        return None if self.analysis is None else self.analysis.mask

    @property
    def dice(self) -> float | None:
        """Dice over the volume; None without a lesion mask or detection, NaN if both are empty."""
        return None if self.analysis is None else self.analysis.dice

    @property
    def volume_ml(self) -> float | None:
        """Volume of the mask in mL; None before a detection."""
        analysis = self.analysis
        return None if analysis is None else volume_ml(analysis.mask, analysis.reconstruction.patient.spacing)

    def slice_dice(self, z: int) -> float | None:
        """Dice of slice ``z``; None without a lesion mask or detection, NaN if both are empty there."""
        return None if self.analysis is None else self.analysis.slice_dice(z)

    @property
    def can_undo(self) -> bool:
        """Whether there are earlier settings or corrections of the current analysis."""
        opened = self._now()
        return opened is not None and opened.history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether there are undone changes of the current analysis."""
        opened = self._now()
        return opened is not None and opened.history.can_redo

    def _now(self) -> AnalysisState | None:
        return None if self._current is None else self._opened.get(self._current)

    def _corrections(self) -> Corrections | None:
        """Return what was painted, or waits for the first detection."""
        opened = self._now()
        return self._waiting if opened is None else opened.analysis.corrections

    def _is_current(self, patient: Patient) -> bool:
        now = self._patient
        return now is not None and now.grid is patient.grid and now.sequence == patient.sequence

    def _show(self, key: Key) -> Analysis:
        with self._lock:
            opened = self._opened[key]
            analysis = opened.analysis
            self._uses += 1
            opened.used = self._uses
            opened.history.record(Settings.of(analysis))  # what never got a mask is past
            self._current, self._options = key, analysis.options
            self._take(analysis.params)
        self._tell_settings()
        self.analysis_changed.emit(analysis)
        return analysis

    def _take(self, params: PostprocessParams) -> None:
        """Make these the current parameters; the lock is held."""
        if params != self._params:
            self._params, self._version = params, self._version + 1

    def _tell_settings(self) -> None:
        self.params_changed.emit(self._params)
        self.options_changed.emit(self._options)
