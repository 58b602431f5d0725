"""The Explore dock: open a patient, run a model, and cut the anomaly map live."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

from napari.layers import Image, Labels
from napari.utils.notifications import show_info, show_warning
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QFileDialog

from ..contributions.layers import tag_of
from ..detection import suggested
from ..errors import CeadError, CeadWarning
from ..exploring import Analysis, Session
from ..patients import Patient, preferred_sequence
from ..zoo import find_model, load_card
from .explore_form import ExploreForm
from .jobs import Job, show_failure, spared_core
from .layer_view import DERIVED, LayerView, same
from .live import LiveMask
from .relay import SessionRelay


class ExploreWidget(ExploreForm):
    """Explore where a model fails to reconstruct a patient.

    A thin view over ``exploring.Session``: state lives in ``session``, pixels in the viewer's layers.

    Attributes:
        session: The Qt-free state; its methods may be called directly.
        patient: Folder or file of the patient.
        sequence: Sequence to look at.
        model: Name of the model.
        score: Anomaly score.
        run: Starts detection.
        cancel: Stops it after the group of slices under way.
        threshold: Slider; so are ``closing_radius``, ``area_fraction`` (0–1) and ``dilation_radius``.
        dice_label: Dice of the slice and of the volume, as text.
        volume_label: Detected volume, as text.

    Args:
        napari_viewer: The viewer to work in.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.session = Session()
        self.layers = LayerView(napari_viewer)
        self.live = LiveMask(self.session, self.layers, self.rows, self._show_figures, self)
        self.layers.on_painted = self.live.painted
        self._seen: list[Patient] = []
        self._job = Job(self)
        self._connect()
        self._refresh_layer_choices()
        self._adopt_open_patient()
        self._update_enabled()

    # -- wiring --------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._relay = SessionRelay(self.session, self)
        self._relay.patient.connect(self._patient_changed)
        self._relay.analysis.connect(self._analysis_changed)
        self._relay.params.connect(self.live.params_changed)
        self._relay.mask.connect(self._mask_changed)

        self.patient.changed.connect(self._path_chosen)
        self.choose_file.changed.connect(self._ask_for_file)
        self.sequence.changed.connect(self._sequence_chosen)
        self.use_layers.changed.connect(self._layers_chosen)
        self.model.changed.connect(self._model_chosen)
        self.score.changed.connect(self._score_chosen)
        self.run.changed.connect(self._run_clicked)
        self.cancel.changed.connect(self._cancel_clicked)
        self.reset.changed.connect(self.live.reset)
        self.discard.changed.connect(self.session.discard_corrections)
        self.export.changed.connect(self._ask_where_to_export)
        self._job.progressed.connect(self._progressed)
        self._job.ended.connect(self._update_enabled)
        # The layers of a dropped patient arrive one by one: look when all are there.
        self._layers_timer = QTimer(self, singleShot=True, interval=0)
        self._layers_timer.timeout.connect(self._after_layers_changed)
        viewer_events = (
            (self.viewer.dims.events.current_step, self.live.look),
            (self.viewer.dims.events.ndisplay, self.live.look),
            (self.viewer.layers.events.inserted, self._layers_changed),
            (self.viewer.layers.events.removed, self._layers_changed),
        )
        for emitter, callback in viewer_events:
            emitter.connect(callback)
        jobs = (self._job, self.live)

        def forget() -> None:
            """The dock is gone: the viewer must not call into it, and what runs is wanted no more."""
            for emitter, callback in viewer_events:
                emitter.disconnect(callback)
            for job in jobs:
                job.stop()

        self.destroyed.connect(forget)
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self._stop_all)
        self._model_chosen()

    # -- from the session, on the main thread --------------------------------------------------------------

    def _patient_changed(self, patient: Patient) -> None:
        if patient is not self.session.patient:
            return
        with self.sequence.changed.blocked():
            self.sequence.choices = list(patient.sequences)
            self.sequence.value = patient.sequence
        self.layers.show_patient(patient)
        z, y, x = patient.shape
        about = [
            patient.name,
            f"{x} × {y} × {z} voxels",
            " × ".join(f"{size:.3g}" for size in reversed(patient.spacing)) + " mm",
            "with lesion mask" if patient.lesion_mask is not None else "no lesion mask",
        ]
        self.about.setText(" · ".join(about))
        self.about.setToolTip("\n".join(patient.warnings))
        self._update_enabled()

    def _analysis_changed(self, analysis: Analysis | None) -> None:
        if analysis is not self.session.analysis:
            return
        if analysis is not None:
            with self.score.changed.blocked():
                self.score.value = analysis.score
            self.layers.show_analysis(analysis)
            self.notes.setText("\n".join(analysis.reconstruction.warnings))
        self.notes.setVisible(analysis is not None and bool(self.notes.text()))
        self._show_figures()
        self._update_enabled()

    def _mask_changed(self, analysis: Analysis) -> None:
        self.live.mask_changed(analysis)
        self._update_enabled()

    def _show_figures(self, slice_dice: float | None = None, settled: bool = True) -> None:
        session, z = self.session, self.layers.current_slice()
        if session.analysis is not None:
            own = self.live.wanted != session.analysis.suggestion
            self.rule.setText("Your settings" if own else _rule_text(session.analysis.rule))
        if session.analysis is None:
            self.dice_label.value = self.volume_label.value = "–"
            return
        if settled and z is not None:
            slice_dice = session.slice_dice(z)
        whole = _figure(session.dice) if settled else "…"
        self.dice_label.value = f"slice {_figure(slice_dice)} · volume {whole}"
        self.volume_label.value = f"{session.volume_ml:.2f} mL" if settled else "…"

    # -- patient -------------------------------------------------------------------------------------------

    def _path_chosen(self, path: Path) -> None:
        if path == Path() or not str(path).strip():
            return
        self._open(path)

    def _open(self, path: Path) -> None:
        self._start(lambda: self._load(path), self._tell_warnings)

    def _load(self, path: Path) -> Patient:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CeadWarning)
            # There was nothing to choose from before: a folder without FLAIR opens with what it has.
            return self.session.open(path, preferred_sequence(path))

    def use_patient(self, patient: Patient) -> None:
        """Explore a patient in memory."""
        self.session.use(patient)
        self._tell_warnings(patient)

    def _tell_warnings(self, patient: Patient) -> None:
        notes = list(patient.warnings)
        if patient.sequence != "flair" and "flair" not in patient.sequences:
            notes.append(f"there is no flair scan, showing {patient.sequence}")
        if notes:
            show_warning(f"{patient.name}: {'; '.join(notes)}")

    def _ask_for_file(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Open a scan", "", "Brain MRI (*.nii *.nii.gz *.hdr *.img *.png);;All files (*)"
        )
        if chosen:
            self.patient.value = chosen

    def _sequence_chosen(self, name: str | None) -> None:
        patient = self.session.patient
        if patient is not None and name and name != patient.sequence:
            self._stop_all()
            self.session.use(patient.select(name))

    def use_layer(self, image: Any, reference: Any = None) -> None:
        """Explore an image layer that is open in napari, with a labels layer as the reference or none."""
        self._stop_all()
        try:
            patient = self.layers.adopt(image, reference)
        except Exception as error:
            show_failure(error)
            return
        self.session.use(patient)

    def _layers_chosen(self) -> None:
        if self.image_layer.value is None:
            show_warning("Choose an image layer first.")
            return
        self.use_layer(self.image_layer.value, self.reference_layer.value)

    def _layers_changed(self, event: Any = None) -> None:
        self._layers_timer.start()

    def _after_layers_changed(self) -> None:
        self._refresh_layer_choices()
        self._adopt_open_patient()

    def _refresh_layer_choices(self) -> None:
        for chooser in (self.image_layer, self.reference_layer):
            kind = Image if chooser is self.image_layer else Labels
            choices = [
                layer
                for layer in self.viewer.layers
                if isinstance(layer, kind) and not ((tag := tag_of(layer)) and tag.role in DERIVED)
            ]
            chooser.choices = choices

    def _adopt_open_patient(self) -> None:
        """Take a patient that was dropped onto napari or opened from its menus."""
        current = self.session.patient
        found = self.layers.patients()
        fresh = [patient for patient in found if not any(same(patient, old) for old in self._seen)]
        self._seen = found
        if fresh and not self._job.running and (current is None or not same(fresh[-1], current)):
            self.session.use(fresh[-1])

    # -- model ---------------------------------------------------------------------------------------------

    def _model_chosen(self) -> None:
        """Show what the model suggests, as far as there is nothing to lose yet."""
        self.live.moved = False
        if self.session.analysis is not None or not self.model.value:
            return
        try:
            score, params, rule = suggested(load_card(find_model(self.model.value)))
        except CeadError as error:
            show_failure(error)
            return
        with self.score.changed.blocked():
            self.score.value = score
        self.session.set(**params.model_dump())
        self.rule.setText(_rule_text(rule))

    def _score_chosen(self, score: str) -> None:
        if self.session.analysis is not None and score != self.session.score:
            self._start(lambda: self.session.set_score(score))

    def _run_clicked(self) -> None:
        if self._job.running:
            return
        if self.session.patient is None:
            show_warning("Open a patient first: choose a folder or file, or drop one onto the viewer.")
            return
        model, score, job = self.model.value, self.score.value, self._job
        params = self.live.wanted if self.live.moved else None  # what the user chose stays chosen
        if not model:
            show_warning("There is no model to run: reinstall napari-cead or install a model.")
            return

        def work() -> Analysis:
            with spared_core():
                return self.session.detect(
                    model, score, params, on_progress=job.report, should_stop=job.stopping
                )

        self._start(work, self._detected)

    def _detected(self, analysis: Analysis) -> None:
        notes = analysis.reconstruction.warnings
        if notes:
            show_warning("; ".join(notes))

    def _cancel_clicked(self) -> None:
        self._job.stop()
        self.cancel.enabled = False

    def _progressed(self, done: int, total: int) -> None:
        if self._job.running:
            self.progress.max, self.progress.value = total, done

    def _start(self, work: Any, on_done: Any = None) -> None:
        if not self._job.start(work, on_done):
            show_warning("Something is still running: wait for it or press Cancel.")
            return
        self.progress.value, self.progress.max = 0, 0  # busy until the first slices are done
        self._update_enabled()

    def _stop_all(self) -> None:
        self._job.stop()
        self.live.stop()

    def _update_enabled(self) -> None:
        running, analysis = self._job.running, self.session.analysis
        self.run.enabled = not running
        self.cancel.enabled = running
        self.patient.enabled = self.sequence.enabled = not running
        self.use_layers.enabled = self.score.enabled = self.model.enabled = not running
        self.export.enabled = not running and analysis is not None
        self.discard.enabled = analysis is not None and analysis.corrections is not None
        if not running:
            self.progress.max, self.progress.value = 1, int(analysis is not None)

    # -- results -------------------------------------------------------------------------------------------

    def _ask_where_to_export(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Export to folder")
        if folder:
            self.export_to(Path(folder))

    def export_to(self, folder: Path) -> None:
        """Export the current analysis to a folder, in a thread; tells when done."""
        self.live.settle_now()
        self._start(
            lambda: self.session.export(folder),
            lambda _: show_info(f"Saved mask, map and settings in {folder}"),
        )

    def closeEvent(self, event: Any) -> None:
        """Stop what runs when the dock closes."""
        self._stop_all()
        super().closeEvent(event)


def _figure(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def _rule_text(rule: str) -> str:
    return {
        "default": "Default settings",
        "validation": "Suggested: best on validation patients",
        "healthy-quantile": "Suggested: quantile of healthy slices",
    }.get(rule, f"Suggested: {rule}")
