"""The Explore dock: open a patient, run a model, and cut the anomaly map live."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, FileEdit, Label, ProgressBar, PushButton, create_widget
from napari.layers import Image, Labels
from napari.utils.notifications import show_info, show_warning
from qtpy.QtCore import QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QApplication, QFileDialog, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget
from superqt import QCollapsible

from ..contributions.layers import tag_of
from ..detection import SCORES, PostprocessParams
from ..detection.params import PARAMETERS
from ..errors import Cancelled, CeadWarning
from ..exploring import DEFAULT_MODEL, Analysis, Session
from ..metrics import dice
from ..patients import Patient, preferred_sequence
from ..zoo import list_models
from .controls import SettingRow, row, section
from .jobs import Job, show_failure, spared_core, still_there
from .layer_view import DERIVED, LayerView, same

SLICE_EVERY_MS = 40
"""The visible slice follows a moving slider at most this often: about what a canvas can redraw."""

VOLUME_AFTER_MS = 100
"""The whole volume follows this long after a slider began to move, in a thread."""


class _Relay(QObject):
    """Carries session events, which come in any thread, to the main thread."""

    patient = Signal(object)
    analysis = Signal(object)
    params = Signal(object)
    mask = Signal(object)


class ExploreWidget(QWidget):
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
        self.layers = LayerView(napari_viewer, self._painted)
        self._job = Job(self)
        self._settling = Job(self)
        self._wanted = PostprocessParams()
        self._build()
        self._connect()
        self._refresh_layer_choices()
        self._adopt_open_patient()
        self._update_enabled()

    # -- building ------------------------------------------------------------------------------------------

    def _build(self) -> None:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(4, 4, 4, 4)
        self._build_patient(column)
        self._build_model(column)
        self._build_settings(column)
        self._build_result(column)
        column.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidget(inner)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)
        self.setMinimumWidth(300)

    def _build_patient(self, column: QVBoxLayout) -> None:
        grid = section("Patient", column)
        self.patient = FileEdit(mode="d")
        self.patient.line_edit.native.setPlaceholderText("folder, or a NIfTI file")
        self._choose_file = PushButton(text="File…")
        self.patient.native.layout().addWidget(self._choose_file.native)
        self.patient.choose_btn.text = "Folder…"
        self.sequence = ComboBox(choices=())
        self._about = QLabel("Open a folder or file, or drop one onto the viewer.")
        self._about.setWordWrap(True)
        row(
            grid,
            "Open",
            self.patient.native,
            "A patient folder (NIfTI or PNG release layout) or a NIfTI file",
        )
        row(grid, "Sequence", self.sequence.native, "The sequence that the model is run on")
        grid.addWidget(self._about, grid.rowCount(), 0, 1, 3)

        self.image_layer = create_widget(annotation=Image, options={"nullable": True})
        self.reference_layer = create_widget(annotation=Labels, options={"nullable": True})
        self.use_layers = PushButton(text="Use these layers")
        inside = QWidget()
        rows = QVBoxLayout(inside)
        rows.setContentsMargins(0, 0, 0, 0)
        layers = section("", rows)
        row(layers, "Image", self.image_layer.native, "Any grey (Z, Y, X) or (Y, X) image layer")
        row(
            layers,
            "Reference",
            self.reference_layer.native,
            "Any labels layer of the same shape; above 0 is lesion",
        )
        layers.addWidget(self.use_layers.native, layers.rowCount(), 0, 1, 3)
        folded = QCollapsible("Use layers that are open in napari")
        folded.addWidget(inside)
        grid.addWidget(folded, grid.rowCount(), 0, 1, 3)

    def _build_model(self, column: QVBoxLayout) -> None:
        grid = section("Model", column)
        names = [info.name for info in list_models()]
        self.model = ComboBox(choices=names)
        if DEFAULT_MODEL in names:
            self.model.value = DEFAULT_MODEL
        self.score = ComboBox(choices=list(SCORES))
        self.run = PushButton(text="Run")
        self.cancel = PushButton(text="Cancel", enabled=False)
        self.progress = ProgressBar(min=0, max=1, value=0)
        row(grid, "Model", self.model.native, "Autoencoders trained on healthy slices only")
        row(
            grid, "Score", self.score.native, "\n".join(f"{s.name}: {s.description}" for s in SCORES.values())
        )
        buttons = QHBoxLayout()
        buttons.addWidget(self.run.native, 2)
        buttons.addWidget(self.cancel.native, 1)
        grid.addLayout(buttons, grid.rowCount(), 0, 1, 3)
        grid.addWidget(self.progress.native, grid.rowCount(), 0, 1, 3)

    def _build_settings(self, column: QVBoxLayout) -> None:
        grid = section("Post-processing", column)
        self._rows: dict[str, SettingRow] = {}
        for parameter in PARAMETERS:
            if parameter.name == "min_area_mm2":
                continue  # a setting of the command line and of models; the paper has no such slider
            self._rows[parameter.name] = SettingRow(parameter, grid, grid.rowCount())
        self.threshold = self._rows["threshold"].slider
        self.closing_radius = self._rows["closing_radius"].slider
        self.area_fraction = self._rows["area_fraction"].slider
        self.dilation_radius = self._rows["dilation_radius"].slider
        self.reset = PushButton(text="Reset")
        self._rule = QLabel("")
        self._rule.setWordWrap(True)
        grid.addWidget(self._rule, grid.rowCount(), 0, 1, 2)
        grid.addWidget(self.reset.native, grid.rowCount() - 1, 2)

    def _build_result(self, column: QVBoxLayout) -> None:
        grid = section("Result", column)
        self.dice_label = Label(value="–")
        self.volume_label = Label(value="–")
        row(
            grid,
            "Dice",
            self.dice_label.native,
            "2TP / (2TP + FP + FN); – where there is nothing to compare with",
        )
        row(grid, "Detected", self.volume_label.native, "Volume of the detected mask")
        self.discard = PushButton(text="Discard corrections", enabled=False)
        self.discard.native.setToolTip("Go back to the mask that the sliders give")
        self.export = PushButton(text="Export…", enabled=False)
        self.export.native.setToolTip(
            "Save mask, anomaly map, reconstruction (NIfTI, source grid) and settings"
        )
        buttons = QHBoxLayout()
        buttons.addWidget(self.discard.native)
        buttons.addWidget(self.export.native)
        grid.addLayout(buttons, grid.rowCount(), 0, 1, 3)
        note = QLabel("For research only, not for clinical use.")
        note.setEnabled(False)
        grid.addWidget(note, grid.rowCount(), 0, 1, 3)

    def _connect(self) -> None:
        self._relay = _Relay(self)
        self._relay.patient.connect(self._patient_changed)
        self._relay.analysis.connect(self._analysis_changed)
        self._relay.params.connect(self._params_changed)
        self._relay.mask.connect(self._mask_changed)
        self.session.patient_changed.connect(self._relay_patient)
        self.session.analysis_changed.connect(self._relay_analysis)
        self.session.params_changed.connect(self._relay_params)
        self.session.mask_changed.connect(self._relay_mask)

        self.patient.changed.connect(self._path_chosen)
        self._choose_file.changed.connect(self._ask_for_file)
        self.sequence.changed.connect(self._sequence_chosen)
        self.use_layers.changed.connect(self._layers_chosen)
        self.model.changed.connect(self._model_chosen)
        self.score.changed.connect(self._score_chosen)
        self.run.changed.connect(self._run_clicked)
        self.cancel.changed.connect(self._cancel_clicked)
        self.reset.changed.connect(self._reset_clicked)
        self.discard.changed.connect(self.session.discard_corrections)
        self.export.changed.connect(self._ask_where_to_export)
        for setting in self._rows.values():
            setting.slider.changed.connect(self._slider_moved)
        self._job.progressed.connect(self._progressed)
        self._job.ended.connect(self._update_enabled)
        self._settling.ended.connect(self._settled)

        self._slice_timer = QTimer(self, singleShot=True, interval=SLICE_EVERY_MS)
        self._slice_timer.timeout.connect(self._slice_due)
        self._slice_pending = False
        self._volume_timer = QTimer(self, singleShot=True, interval=VOLUME_AFTER_MS)
        self._volume_timer.timeout.connect(self._settle)

        # The layers of a dropped patient arrive one by one: look when all are there.
        self._layers_timer = QTimer(self, singleShot=True, interval=0)
        self._layers_timer.timeout.connect(self._after_layers_changed)
        viewer_events = (
            (self.viewer.dims.events.current_step, self._scrolled),
            (self.viewer.dims.events.ndisplay, self._scrolled),
            (self.viewer.layers.events.inserted, self._layers_changed),
            (self.viewer.layers.events.removed, self._layers_changed),
        )
        for emitter, callback in viewer_events:
            emitter.connect(callback)
        jobs = (self._job, self._settling)

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

    def _relay_patient(self, patient: Patient) -> None:
        with still_there():
            self._relay.patient.emit(patient)

    def _relay_analysis(self, analysis: Analysis | None) -> None:
        with still_there():
            self._relay.analysis.emit(analysis)

    def _relay_params(self, params: PostprocessParams) -> None:
        with still_there():
            self._relay.params.emit(params)

    def _relay_mask(self, analysis: Analysis) -> None:
        with still_there():
            self._relay.mask.emit(analysis)

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
        self._about.setText(" · ".join(about))
        self._about.setToolTip("\n".join(patient.warnings))
        self._update_enabled()

    def _analysis_changed(self, analysis: Analysis | None) -> None:
        if analysis is not self.session.analysis:
            return
        if analysis is None:
            self._rule.setText("")
        else:
            with self.score.changed.blocked():
                self.score.value = analysis.score
            self._rule.setText(_rule_text(analysis.rule))
            self.layers.show_analysis(analysis)
        self._show_figures()
        self._update_enabled()

    def _params_changed(self, params: PostprocessParams) -> None:
        # While a slider moves, events of older settings still arrive: the hand on the slider is right.
        if params == self.session.params and not self._volume_timer.isActive():
            self._wanted = params
            for name, setting in self._rows.items():
                if setting.slider.value != getattr(params, name):
                    setting.set_quietly(getattr(params, name))

    def _mask_changed(self, analysis: Analysis) -> None:
        self.layers.flush_painting()
        if analysis is not self.session.analysis:
            return
        self.layers.write_volume(analysis)
        if self._wanted != analysis.params:
            self._show_slice()
        else:
            self._show_figures()
        self._update_enabled()

    # -- sliders -------------------------------------------------------------------------------------------

    def _slider_moved(self) -> None:
        values = {name: setting.slider.value for name, setting in self._rows.items()}
        self._wanted = self._wanted.replace(**values)
        if self.session.analysis is None:
            self.session.set(**values)
            return
        if self._slice_timer.isActive():
            self._slice_pending = True
        else:
            self._show_slice()
            self._slice_timer.start()
        if not self._volume_timer.isActive():
            self._volume_timer.start()

    def _slice_due(self) -> None:
        if self._slice_pending:
            self._slice_pending = False
            self._show_slice()
            self._slice_timer.start()

    def _show_slice(self) -> None:
        """Show the visible slice as the sliders now want it; the volume follows in a thread."""
        self.layers.flush_painting()
        analysis, z = self.session.analysis, self.layers.current_slice()
        if analysis is None:
            return
        if z is None:  # 3-D or another cut: nothing but the whole volume will do
            self._show_figures(settled=False)
            return
        mask = self.session.slice_mask(z, self._wanted)
        if mask is None:
            return
        self.layers.write_slice(analysis, z, mask)
        reference = analysis.reconstruction.patient.lesion_mask
        self._show_figures(None if reference is None else dice(mask, reference[z]), settled=False)

    def _settle(self) -> None:
        analysis, wanted = self.session.analysis, self._wanted
        if analysis is None or self._settling.running or analysis.params == wanted:
            return
        self._settling.start(lambda: self.session.set(**wanted.model_dump()))

    def _settled(self) -> None:
        analysis = self.session.analysis
        if analysis is not None and analysis.params != self._wanted:
            self._settle()

    def _scrolled(self) -> None:
        analysis = self.session.analysis
        if analysis is None:
            return
        if analysis.params != self._wanted:
            self._show_slice()
        else:
            self._show_figures()

    def _painted(self) -> None:
        painted, analysis = self.layers.painted(), self.session.analysis
        if painted is None or analysis is None:
            return
        if analysis.params != self._wanted:
            # The volume has not followed the sliders yet: only the painted slice is what the user saw.
            stroke, z = painted.copy(), self.layers.current_slice()
            self.session.set(**self._wanted.model_dump())
            if z is None or self.session.mask is None:
                return
            painted = self.session.mask.astype(stroke.dtype)
            painted[z] = stroke[z]
        self.session.correct(painted)

    def _reset_clicked(self) -> None:
        wanted = PostprocessParams() if self.session.analysis is None else self.session.analysis.suggestion
        for name, setting in self._rows.items():
            setting.set_quietly(getattr(wanted, name))
        self._wanted = wanted
        self._slider_moved()

    def _show_figures(self, slice_dice: float | None = None, settled: bool = True) -> None:
        session, z = self.session, self.layers.current_slice()
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
        fresh = [patient for patient in found if current is None or not same(patient, current)]
        if fresh and not self._job.running:
            self.session.use(fresh[-1])

    # -- model ---------------------------------------------------------------------------------------------

    def _model_chosen(self) -> None:
        suggestion = next((info.score for info in list_models() if info.name == self.model.value), None)
        if self.session.analysis is None and suggestion in SCORES:
            with self.score.changed.blocked():
                self.score.value = suggestion

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
        if not model:
            show_warning("There is no model to run: reinstall napari-cead or install a model.")
            return

        def work() -> Analysis:
            with spared_core():
                return self.session.detect(model, score, on_progress=job.report, should_stop=job.stopping)

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
        self._settling.stop()

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
        self._settle_now()
        self._start(
            lambda: self.session.export(folder),
            lambda _: show_info(f"Saved mask, map and settings in {folder}"),
        )

    def _settle_now(self) -> None:
        self.layers.flush_painting()
        analysis = self.session.analysis
        if analysis is not None and analysis.params != self._wanted:
            try:
                self.session.set(**self._wanted.model_dump())
            except Cancelled:
                return

    def closeEvent(self, event: Any) -> None:
        """Stop what runs when the dock closes."""
        self._stop_all()
        super().closeEvent(event)


def _figure(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def _rule_text(rule: str) -> str:
    return {
        "default": "The paper's settings",
        "validation": "Suggested: best on validation patients",
        "healthy-quantile": "Suggested: quantile of healthy slices",
    }.get(rule, f"Suggested: {rule}")
