"""Where the patient of the Explore dock comes from: a path, a drop onto napari, or layers that are open."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QFileDialog

from ..contributions.choosing import choose_series
from ..contributions.layers import tag_of
from ..errors import CeadWarning
from ..patients import Patient, SeriesError, preferred_sequence
from ..patients.formats import dialog_filter
from ..patients.grid import Grid
from .failures import show_failure
from .layer_view import DERIVED, same

if TYPE_CHECKING:
    from .explore import ExploreWidget


class PatientSource(QObject):
    """Brings patients into the session of a dock.

    Args:
        dock: The dock.
    """

    def __init__(self, dock: ExploreWidget) -> None:
        super().__init__(dock)
        self.dock, self.session, self.layers = dock, dock.session, dock.layers
        self._seen: list[Patient] = [] if dock.session.patient is None else [dock.session.patient]
        self._next: Path | None = None
        self._told: set[str] = set()
        self._told_about: Grid | None = None
        # The layers of a dropped patient arrive one by one: look when all are there.
        self._timer = QTimer(self, singleShot=True, interval=0)
        self._timer.timeout.connect(self.look)
        dock.patient.changed.connect(self._path_chosen)
        dock.patient.line_edit.native.editingFinished.connect(self._path_typed)
        dock.choose_file.changed.connect(self._ask_for_file)
        dock.sequence.changed.connect(self._sequence_chosen)
        dock.use_layers.changed.connect(self._layers_chosen)

    def open(self, path: Path) -> None:
        """Open a patient in a thread. A run for the one on show is stopped, and waited for without blocking."""
        if self.dock.running:
            self._next = path
            self.dock.job.stop()
            return
        self.dock.start(lambda: self._load(path), self._loaded)

    def job_ended(self) -> None:
        """Open what could not be opened while something ran, or look what was dropped meanwhile."""
        path, self._next = self._next, None
        if path is not None:
            self.open(path)

    def stop(self) -> None:
        """Look no more: the dock has been closed."""
        self._next = None
        self._timer.stop()

    def use(self, patient: Patient) -> None:
        """Explore a patient in memory."""
        self.session.use(patient)
        self._tell_warnings(patient)

    def use_layer(self, image: Any, reference: Any = None) -> None:
        """Explore an image layer that is open in napari, with a labels layer as the reference or none."""
        self.dock.stop_runs()
        try:
            patient = self.layers.adopt(image, reference)
        except Exception as error:
            show_failure(error)
            return
        self.session.use(patient)

    def layers_changed(self, event: Any = None) -> None:
        """Look soon at what layers there are."""
        self._timer.start()

    def look(self) -> None:
        """Offer the layers that are there, and take a patient that was dropped onto napari."""
        for chooser, kind in ((self.dock.image_layer, Image), (self.dock.reference_layer, Labels)):
            chooser.choices = [
                layer
                for layer in self.dock.viewer.layers
                if isinstance(layer, kind)
                and not ((tag := tag_of(layer)) and tag.role in (*DERIVED, "brain mask"))
            ]
        current = self.session.patient
        found = self.layers.patients()
        fresh = [patient for patient in found if not any(same(patient, old) for old in self._seen)]
        self._seen = found
        if fresh and (current is None or not same(fresh[-1], current)):
            if self.dock.running:
                self._next = None
                self.dock.stop_runs()
            self.session.use(fresh[-1])

    def _path_typed(self) -> None:
        if self.dock.patient.line_edit.native.isModified():
            self.dock.patient.line_edit.native.setModified(False)
            self._path_chosen(self.dock.patient.value)

    def _path_chosen(self, path: Path) -> None:
        if self.dock.patient.line_edit.native.isModified():
            return  # Half of a path may be a folder, "/" for instance: what is typed counts when it is complete.
        if path != Path() and str(path).strip():
            self.open(path)

    def _loaded(self, loaded: Patient | SeriesError) -> None:
        if not isinstance(loaded, SeriesError):
            self._tell_warnings(loaded)
            return
        chosen = choose_series(loaded)
        if chosen is not None:
            self._next = chosen  # the job that asked has to end first

    def _load(self, path: Path) -> Patient | SeriesError:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CeadWarning)
            # There was nothing to choose from before: a folder without FLAIR opens with what it has.
            try:
                patient = self.session.open(path, preferred_sequence(path))
            except SeriesError as error:
                if not error.choices:
                    raise
                return error
        return patient

    def untold(self, notes: Sequence[str]) -> list[str]:
        """Return which of these the user has not been told about the patient yet; from now on they are."""
        patient = self.session.patient
        if patient is not None and self._told_about is not patient.grid:
            self._told_about, self._told = patient.grid, set()
        fresh = [note for note in notes if note not in self._told]
        self._told.update(fresh)
        return fresh

    def _tell_warnings(self, patient: Patient) -> None:
        notes = self.untold(patient.warnings)
        if patient.sequence != "flair" and "flair" not in patient.sequences:
            notes.append(f"there is no flair scan, showing {patient.sequence}")
        if notes:
            show_warning(f"{patient.name}: {'; '.join(notes)}")

    def _ask_for_file(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self.dock, "Open a scan", "", dialog_filter())
        if chosen:
            self.dock.patient.value = chosen

    def _sequence_chosen(self, name: str | None) -> None:
        patient = self.session.patient
        if patient is not None and name and name != patient.sequence:
            self.dock.stop_runs()
            self.session.use(patient.select(name))

    def _layers_chosen(self) -> None:
        if self.dock.image_layer.value is None:
            show_warning("Choose an image layer first.")
            return
        self.use_layer(self.dock.image_layer.value, self.dock.reference_layer.value)
