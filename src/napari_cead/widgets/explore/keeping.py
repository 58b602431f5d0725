"""Keeping painted corrections on disk while a patient is open, and offering them when it is opened again."""

from __future__ import annotations

import time
from contextlib import suppress

from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtWidgets import QMessageBox, QWidget

from ...detection.corrections import Corrections
from ...exploring import Analysis, Session
from ...exploring.kept import Kept, KeptCorrections
from ...patients import Patient
from ...progress import Stop
from ..common.jobs import Job
from ..common.latest import Latest

AFTER_MS = 1000
"""Delay after the last stroke before corrections are written."""


class Keeping(QObject):
    """Writes corrections behind the window, and asks whether to bring back those that were never exported.

    Attributes:
        question: The open question, if any.

    Args:
        session: The session.
        parent: Owner, above whose window the question stands.
    """

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self.session = session
        self.question: QMessageBox | None = None
        self._kept = KeptCorrections()
        self._looking, self._writing = Latest(self, pause_ms=0), Job(self)
        self._writing.ended.connect(self._written)
        self._timer = QTimer(self, singleShot=True, interval=AFTER_MS)
        self._timer.timeout.connect(self._write)
        self._patient: Patient | None = None
        self._seen: Corrections | None = None
        self._due: tuple[Patient, Corrections | None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a search or a write is pending."""
        return self._looking.busy or self._writing.running or self._due is not None

    def patient_changed(self, patient: Patient) -> None:
        """Search in a thread for kept corrections of a newly opened patient."""
        before, self._patient = self._patient, patient
        if before is not None and before.grid is patient.grid:
            return  # another sequence of it, or another reference
        self._write_now()
        self._seen = None
        if self.question is not None:
            self.question.close()

        def look(should_stop: Stop) -> Kept | None:
            return self._kept.find(patient)

        def found(kept: Kept | None) -> None:
            now = self.session.patient
            if kept is not None and now is not None and now.grid is patient.grid and not self._painted():
                self._offer(patient, kept)

        self._looking.ask(look, found)

    def _painted(self) -> bool:
        """Whether there are corrections: the patient came back with them, or they are newer than what was kept."""
        analysis = self.session.analysis
        return analysis is not None and analysis.corrections is not None

    def mask_changed(self, analysis: Analysis) -> None:
        """Write new corrections soon."""
        if analysis is self.session.analysis and analysis.corrections is not self._seen:
            self._seen = analysis.corrections
            self._due = analysis.reconstruction.patient, analysis.corrections
            self._timer.start()

    def exported(self) -> None:
        """The corrections were exported, or restored from an export: nothing needs to be kept."""
        analysis = self.session.analysis
        self._seen = (
            None if analysis is None else analysis.corrections
        )  # they are not written when they are shown
        if self.session.patient is not None:
            self._due = self.session.patient, None
            self._write_now()

    def stop(self) -> None:
        """Write pending corrections before this returns: the dock is gone, and Qt's objects with it."""
        if self._due is not None:
            due, self._due = self._due, None
            with suppress(OSError):
                self._kept.keep(*due)

    def _write_now(self) -> None:
        if self._due is not None:
            self._timer.stop()
            self._write()

    def _write(self) -> None:
        if self._due is None or self._writing.running:
            return
        (patient, corrections), self._due = self._due, None
        self._writing.start(lambda: self._kept.keep(patient, corrections))

    def _written(self) -> None:
        if not self._timer.isActive():
            self._write()

    def _offer(self, patient: Patient, kept: Kept) -> None:
        """Ask, without blocking the window, whether to bring corrections back."""
        when = time.strftime("%d %b %H:%M", time.localtime(kept.saved_at))
        yes, delete, later = (
            QMessageBox.StandardButton.Yes,
            QMessageBox.StandardButton.Discard,
            QMessageBox.StandardButton.Cancel,
        )
        box = QMessageBox(
            QMessageBox.Icon.Question,
            "Corrections that were not exported",
            f"Corrections of {patient.name} were painted on {when} and never exported. Bring them back?",
            yes | delete | later,
            self.parent(),
        )
        for button, text in ((yes, "Bring back"), (delete, "Delete"), (later, "Ask again later")):
            box.button(button).setText(text)
        box.setEscapeButton(later)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setWindowModality(Qt.WindowModality.NonModal)
        self.question = box

        def answered(button: int) -> None:
            self.question = None
            now = self.session.patient
            if now is None or now.grid is not patient.grid:
                return
            if button == yes.value:
                self.session.bring_back(kept.corrections)
            elif button == delete.value:
                self._due = patient, None
                self._write_now()

        box.finished.connect(answered)
        box.show()
