"""Relays the events of a session, which come in any thread, to the main thread."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject, Signal

from ..exploring import Session
from .jobs import on_main


class SessionRelay(QObject):
    """Repeats the events of a session as Qt signals, which arrive on the main thread.

    Signals:
        patient: The new patient.
        analysis: The new current analysis or None.
        analyses: All analyses of the patient.
        params: The new parameters.
        options: The new map options.
        mask: The analysis whose mask was updated.
        slices: The current run and the slices that have arrived.
    """

    patient = Signal(object)
    analysis = Signal(object)
    analyses = Signal(object)
    params = Signal(object)
    options = Signal(object)
    mask = Signal(object)
    slices = Signal(object, object)

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self._stopped = False
        self._connected = tuple(
            (event, on_main(repeat))
            for event, repeat in (
                (session.patient_changed, self._patient),
                (session.analysis_changed, self._analysis),
                (session.analyses_changed, self._analyses),
                (session.params_changed, self._params),
                (session.options_changed, self._options),
                (session.mask_changed, self._mask),
                (session.slices_arrived, self._slices),
            )
        )
        for event, callback in self._connected:
            event.connect(callback)

    def stop(self) -> None:
        """Stop relaying, pending events included: the session may live on with another dock."""
        self._stopped = True
        for event, callback in self._connected:
            event.disconnect(callback, missing_ok=True)

    def _patient(self, patient: Any) -> None:
        self._repeat(self.patient, patient)

    def _analysis(self, analysis: Any) -> None:
        self._repeat(self.analysis, analysis)

    def _analyses(self, analyses: Any) -> None:
        self._repeat(self.analyses, analyses)

    def _params(self, params: Any) -> None:
        self._repeat(self.params, params)

    def _options(self, options: Any) -> None:
        self._repeat(self.options, options)

    def _mask(self, analysis: Any) -> None:
        self._repeat(self.mask, analysis)

    def _slices(self, streaming: Any, indices: Any) -> None:
        self._repeat(self.slices, streaming, indices)

    def _repeat(self, signal: Any, *news: Any) -> None:
        if not self._stopped:
            signal.emit(*news)
