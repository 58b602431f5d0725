"""The source of the patient of the Explore dock: a path, a drop onto napari, or open layers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from napari.layers import Image, Labels
from napari.utils.notifications import show_info, show_warning
from qtpy.QtCore import QObject, QSignalBlocker, Qt, QTimer
from qtpy.QtWidgets import QFileDialog

from ...contributions.choosing import choose_series
from ...contributions.default_reader import ALWAYS, PLUGIN, become_reader, is_reader
from ...contributions.failures import show_failure
from ...contributions.layers import tag_of
from ...errors import Cancelled, CeadError, CeadWarning
from ...exploring import Session
from ...patients import (
    MASK,
    Patient,
    SeriesError,
    disk_files,
    find_files,
    is_patient,
    load_patient,
    place_of,
    preferred_sequence,
)
from ...patients.aliases import split_name
from ...patients.backgrounds import NOT_QUITE_ZERO
from ...patients.formats import dialog_filter, is_image
from ...patients.grid import Grid
from ...patients.marks import kind_of
from ..canvas.layer_view import DERIVED, LayerView, same
from ..common.texts import OPEN_FIRST, OPEN_FIRST_OR_LAYERS, title
from .explore_form import AS_NAMED, ExploreForm
from .preparing import Preparing
from .recent import recent, remember
from .work import Work

LINK = "#3d8fd1"
"""Colour of a link, legible in both themes; Qt's own is dark blue on any ground."""


class PatientSource(QObject):
    """Opens patients in the session of a form.

    Args:
        form: The controls.
        session: The session.
        layers: Its layers.
        preparing: Judges a scan while it is opened.
        work: Opens in a thread.
        stop_runs: Stops everything that runs for the current patient.
    """

    def __init__(
        self,
        form: ExploreForm,
        session: Session,
        layers: LayerView,
        preparing: Preparing,
        work: Work,
        stop_runs: Callable[[], None],
    ) -> None:
        super().__init__(form)
        self.form, self.session, self.layers = form, session, layers
        self.preparing, self.work, self._stop_runs = preparing, work, stop_runs
        self._seen: list[Patient] = [] if session.patient is None else [session.patient]
        self._next: _Place | None = None
        self._opening: Path | None = None
        self._before: Patient | None = session.patient
        self._told: set[str] = set()
        self._told_about: Grid | None = None
        # The layers of a dropped patient arrive one by one: look when all are there.
        self._timer = QTimer(self, singleShot=True, interval=0)
        self._timer.timeout.connect(self.look)
        form.patient.changed.connect(self._path_chosen)
        form.patient.line_edit.native.editingFinished.connect(self._path_typed)
        form.choose_file.changed.connect(self._ask_for_file)
        form.sequence.changed.connect(self._sequence_chosen)
        form.use_layers.changed.connect(self._layers_chosen)
        form.recent.activated.connect(self._recent_chosen)
        form.hint.linkActivated.connect(self._become_reader)
        self._show_recent()
        self._show_hint()

    def open(self, path: Path, mask: Path | None = None, others: Sequence[Path] = ()) -> None:
        """Open a patient in a thread. A run on the current one is stopped first, without blocking.

        Args:
            path: The patient.
            mask: Its lesion mask; None: the one found beside it.
            others: Paths dropped with it. Those of other patients go to the list of recent patients.
        """
        place = _Place(path, mask, tuple(others))
        if self.work.running:
            self._next = place
            self.work.job.stop()
            return
        self._opening = path
        self.work.start(
            lambda: self._load(place),
            lambda loaded: self._loaded(loaded, place),
            stage=f"Loading {path.name}",
        )

    def take(self, paths: Sequence[Path]) -> None:
        """Open dropped paths: one patient in one or several files, the first of many patients; results as layers."""
        masks = [path for path in paths if is_image(path) and split_name(path)[1] == MASK]
        scans = [path for path in paths if path not in masks]
        if not scans or any(kind_of(path) is not None for path in paths):
            self.layers.viewer.open([str(path) for path in paths], plugin=PLUGIN)
            return
        folder = scans[0].parent
        if len(paths) > 1 and _is_whole(folder, paths):
            self.open(folder)
        else:
            self.open(scans[0], masks[0] if len(scans) == len(masks) == 1 else None, scans[1:])

    def job_ended(self) -> None:
        """Open a patient that had to wait for a run, or handle drops from meanwhile."""
        place, self._next, self._opening = self._next, None, None
        if place is not None:
            self.open(*place)

    def stop(self) -> None:
        """Stop watching: the dock was closed."""
        self._next = None
        self._timer.stop()

    def use(self, patient: Patient) -> None:
        """Explore a patient in memory."""
        self.session.use(patient)
        self._tell_warnings(patient)

    def use_layer(self, image: Any, reference: Any = None, sequence: str | None = None) -> None:
        """Explore an image layer that is open in napari.

        Args:
            image: The layer.
            reference: A labels layer as the reference, or None.
            sequence: The sequence of the image; None: as its name says.
        """
        self._stop_runs()
        try:
            patient = self.layers.adopt(image, reference, sequence)
        except Exception as error:
            show_failure(error)
            return
        self.session.use(patient)
        self._tell_warnings(patient)

    def patient_changed(self, patient: Patient) -> None:
        """Keep the previous patient within reach: in the list of recent ones, and in a message."""
        for message in (OPEN_FIRST, OPEN_FIRST_OR_LAYERS):
            self.form.messages.withdraw(message)
        before, self._before = self._before, patient
        if (place := self._opening or _whence(patient)) is not None:
            remember(place)
            self._show_recent()
        if before is None or same(before, patient):
            return
        self.form.messages.show_message(
            f"{patient.name} has taken the place of {before.name}.",
            "info",
            (f"Back to {before.name}", lambda: self._go_back(before)),
            lasting=True,
        )

    def _go_back(self, patient: Patient) -> None:
        self._stop_runs()
        self.session.use(patient)

    def layers_changed(self, event: Any = None) -> None:
        """Check the open layers soon."""
        self._timer.start()

    def look(self) -> None:
        """Offer the open layers, and take a patient that was dropped onto napari."""
        for chooser, kind in ((self.form.image_layer, Image), (self.form.reference_layer, Labels)):
            chooser.choices = [
                layer
                for layer in self.layers.viewer.layers
                if isinstance(layer, kind)
                and not ((tag := tag_of(layer)) and tag.role in (*DERIVED, "brain mask"))
            ]
        foreign = [
            layer
            for layer in self.form.image_layer.choices
            if layer is not None and ((tag := tag_of(layer)) is None or not tag.patient.files)
        ]
        self.form.layers_open.setVisible(bool(foreign))
        if len(foreign) == 1 and self.form.image_layer.value is None:
            self.form.image_layer.value = foreign[0]
        current = self.session.patient
        found = self.layers.patients()
        fresh = [patient for patient in found if not any(same(patient, old) for old in self._seen)]
        self._seen = found
        if fresh and (current is None or not same(fresh[-1], current)):
            if self.work.running:
                self._next = None
                self._stop_runs()
            self.session.use(fresh[-1])

    def _path_typed(self) -> None:
        if self.form.patient.line_edit.native.isModified():
            self.form.patient.line_edit.native.setModified(False)
            self._path_chosen(self.form.patient.value)

    def _path_chosen(self, path: Path) -> None:
        if self.form.patient.line_edit.native.isModified():
            return  # A partly typed path may be a folder, "/" for instance: only complete input counts.
        if path != Path() and str(path).strip():
            self.open(path)

    def _loaded(self, loaded: Patient | SeriesError, place: _Place) -> None:
        if isinstance(loaded, SeriesError):
            chosen = choose_series(loaded)
            if chosen is not None:
                self._next = place._replace(path=chosen)  # the job that asked has to end first
            return
        with QSignalBlocker(self.form.patient.line_edit.native):
            self.form.patient.line_edit.native.setText(str(place.path))
        self._tell_warnings(loaded)
        own = {file.absolute() for source in loaded.files.values() for file in disk_files(source)}
        others = [path for path in place.others if path.absolute() not in own]
        if others:
            remember(place.path, *others)
            self._show_recent()
            show_info(
                f"{loaded.name} is shown; what was dropped with it ({len(others)}) is in the list Recent under "
                f"“{title('open_more')}”. The tab Queue runs a model on many."
            )

    def _load(self, place: _Place) -> Patient | SeriesError:
        path = place.path
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CeadWarning)
            # There was nothing to choose from before: a folder without FLAIR opens with what it has.
            try:
                patient = load_patient(path, preferred_sequence(path), place.mask)
            except SeriesError as error:
                if not error.choices:
                    raise
                return error
            self.preparing.judge(patient)
        if self.work.job.stopping():
            raise Cancelled
        return self.session.use(patient)

    def untold(self, notes: Sequence[str]) -> list[str]:
        """Return which of these notes on the patient are new to the user, and mark them as shown."""
        patient = self.session.patient
        if patient is not None and self._told_about is not patient.grid:
            self._told_about, self._told = patient.grid, set()
        fresh = [note for note in notes if note not in self._told]
        if self.preparing.needs.strip or (patient and patient.prepared and patient.prepared.stripper):
            # The banner offers to strip the skull, and then nothing is left beside the brain.
            fresh = [note for note in fresh if NOT_QUITE_ZERO not in note]
        self._told.update(fresh)
        return fresh

    def _tell_warnings(self, patient: Patient) -> None:
        notes = self.untold(patient.warnings)
        if patient.sequence != "flair" and "flair" not in patient.sequences:
            notes.append(f"there is no flair scan, showing {patient.sequence}")
        if notes:
            show_warning(f"{patient.name}: {'; '.join(notes)}")

    def _ask_for_file(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self.form, "Open a scan", "", dialog_filter())
        if chosen:
            self.form.patient.value = chosen

    def _sequence_chosen(self, name: str | None) -> None:
        patient = self.session.patient
        if patient is not None and name and name != patient.sequence:
            self._stop_runs()
            self.session.use(patient.select(name))

    def _layers_chosen(self) -> None:
        if self.form.image_layer.value is None:
            show_warning("Choose an image layer first.")
            return
        declared = self.form.declared.value
        self.use_layer(
            self.form.image_layer.value,
            self.form.reference_layer.value,
            None if declared == AS_NAMED else declared,
        )

    def _show_recent(self) -> None:
        box = self.form.recent
        box.clear()
        box.addItem("–")
        for path in recent():
            box.addItem(f"{path.parent.name}/{path.name}", path)
            box.setItemData(box.count() - 1, str(path), Qt.ItemDataRole.ToolTipRole)
        for part in (box, self.form.recent_label):
            part.setVisible(box.count() > 1)

    def _recent_chosen(self, index: int) -> None:
        path = self.form.recent.itemData(index)
        if path is not None:
            self.open(path)

    def _show_hint(self) -> None:
        """Say what else there is; the offer to become napari's reader stands until it is taken."""
        offer = (
            "While this dock is closed, napari asks which reader to use. "
            f'<a style="color:{LINK}" href="reader">{ALWAYS}</a>'
        )
        self.form.hint.setText("" if is_reader() else offer)
        self.form.hint.setVisible(not is_reader())

    def _become_reader(self, *_: Any) -> None:
        become_reader()
        self._show_hint()
        show_info(
            "napari opens scans with napari-cead from now on: File ▸ Preferences, page Plugins, has it."
        )


class _Place(NamedTuple):
    """A request to open a patient: see `PatientSource.open`."""

    path: Path
    mask: Path | None
    others: tuple[Path, ...]


def _is_whole(folder: Path, paths: Sequence[Path]) -> bool:
    """Whether files are scans and mask of the one patient in a folder."""
    if not is_patient(folder):
        return False
    try:
        files = find_files(folder, preferred_sequence(folder))
        parts = [*files.sequences.values(), *([] if files.mask is None else [files.mask])]
        return {path.absolute() for path in paths} <= {
            file.absolute() for part in parts for file in disk_files(part)
        }
    except (CeadError, OSError):
        return False


def _whence(patient: Patient) -> Path | None:
    """Return the place from which to open a patient again; None if it has no files."""
    places = [place_of(path) for name, path in patient.files.items() if name in patient.sequences]
    files, folders = {place.file for place in places}, {place.file.parent for place in places}
    if len(places) > 1 and len(files) == 1:
        return files.pop()  # a zip, or a folder with several series
    if len(places) > 1 and len(folders) == 1 and is_patient(folder := folders.pop()):
        return folder
    return patient.files.get(patient.sequence)
