"""Bringing a session's events, which come in whatever thread changed it, to the main thread."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject, Signal

from ..exploring import Session
from .jobs import still_there


class SessionRelay(QObject):
    """Repeats the events of a session as Qt signals, which arrive on the main thread.

    Signals:
        patient: The new patient.
        analysis: The new current analysis or None.
        analyses: All analyses of the patient.
        params: The new parameters.
        options: The new map options.
        mask: The analysis whose mask has followed.
        slices: The run under way and the slices that have arrived.
    """

    patient = Signal(object)
    analysis = Signal(object)
    analyses = Signal(object)
    params = Signal(object)
    options = Signal(object)
    mask = Signal(object)
    slices = Signal(object, object)

    _came = Signal(str, object)

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self._stopped = False
        self._came.connect(self._repeat)
        self._connected = (
            (session.patient_changed, self._patient),
            (session.analysis_changed, self._analysis),
            (session.analyses_changed, self._analyses),
            (session.params_changed, self._params),
            (session.options_changed, self._options),
            (session.mask_changed, self._mask),
            (session.slices_arrived, self._slices),
        )
        for event, callback in self._connected:
            event.connect(callback)

    def stop(self) -> None:
        """Repeat nothing any more, not even what is on its way: the session may live on with another dock."""
        self._stopped = True
        for event, callback in self._connected:
            event.disconnect(callback, missing_ok=True)

    def _patient(self, patient: Any) -> None:
        self._bring("patient", patient)

    def _analysis(self, analysis: Any) -> None:
        self._bring("analysis", analysis)

    def _analyses(self, analyses: Any) -> None:
        self._bring("analyses", analyses)

    def _params(self, params: Any) -> None:
        self._bring("params", params)

    def _options(self, options: Any) -> None:
        self._bring("options", options)

    def _mask(self, analysis: Any) -> None:
        self._bring("mask", analysis)

    def _slices(self, streaming: Any, indices: Any) -> None:
        self._bring("slices", streaming, indices)

    def _bring(self, name: str, *news: Any) -> None:
        with still_there():
            self._came.emit(name, news)

    def _repeat(self, name: str, news: tuple[Any, ...]) -> None:
        if not self._stopped:
            getattr(self, name).emit(*news)
