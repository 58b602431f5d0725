"""Bringing a session's events, which come in whatever thread changed it, to the main thread."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal

from ..detection import PostprocessParams
from ..exploring import Analysis, Session
from ..patients import Patient
from .jobs import still_there


class SessionRelay(QObject):
    """Repeats the events of a session as Qt signals, which arrive on the main thread.

    Signals:
        patient: The new patient.
        analysis: The new analysis or None.
        params: The new parameters.
        mask: The analysis whose mask has followed.
    """

    patient = Signal(object)
    analysis = Signal(object)
    params = Signal(object)
    mask = Signal(object)

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        session.patient_changed.connect(self._patient)
        session.analysis_changed.connect(self._analysis)
        session.params_changed.connect(self._params)
        session.mask_changed.connect(self._mask)

    def _patient(self, patient: Patient) -> None:
        with still_there():
            self.patient.emit(patient)

    def _analysis(self, analysis: Analysis | None) -> None:
        with still_there():
            self.analysis.emit(analysis)

    def _params(self, params: PostprocessParams) -> None:
        with still_there():
            self.params.emit(params)

    def _mask(self, analysis: Analysis) -> None:
        with still_there():
            self.mask.emit(analysis)
