"""The Explore dock: open a patient, run a model, and cut the anomaly map live."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from napari.utils.notifications import show_info, show_warning
from qtpy.QtWidgets import QApplication, QFileDialog

from ..contributions.layers import tag_of
from ..detection import MapOptions, PostprocessParams
from ..exploring import Analysis, Figures, Session, Streaming
from ..patients import Patient
from .actions import actions
from .compare_panel import share
from .comparison import Comparison
from .explore_form import ExploreForm
from .gone import when_gone
from .help import HelpDialog
from .insight import Insight
from .jobs import Job, spared_core
from .layer_view import LayerView
from .live import LiveMask
from .model_runner import ModelRunner
from .orientation import Orientation
from .patient_source import PatientSource
from .preferences import preferences
from .queue_panel import QueuePanel
from .relay import SessionRelay
from .scale_bar import ScaleBar
from .shortcuts import Shortcuts
from .threshold_plot import is_dark
from .view_row import ViewRow


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
        self.session = session_in(napari_viewer) or Session()
        self.layers = LayerView(napari_viewer, self.session)
        self.live = LiveMask(self.session, self.layers, self.rows, self._show_figures, self)
        self.layers.on_painted = self.live.painted
        self.insight = Insight(self.session, self.plot, self.lesions, self)
        self.compare = Comparison(self.session, self.layers, self.live, self.comparison, self.insight, self)
        self.job = Job(self)
        self.source = PatientSource(self)
        self.runner = ModelRunner(self)
        self.queue = QueuePanel(self.runner.queue_settings, lambda: self.running, self)
        self.tabs.addTab(self.queue, "Queue")
        self.orientation = Orientation(napari_viewer, self, preferences().convention)
        self.scale_bar = ScaleBar(napari_viewer, self)
        self.shortcuts = Shortcuts(napari_viewer, self, actions(self))
        self.view_row.addWidget(ViewRow(self.orientation, self.show_help, self))
        self._connect()
        self._go_on()
        self.source.look()
        self._update_enabled()

    @property
    def running(self) -> bool:
        """Whether a run, or anything else that blocks the dock, is under way."""
        return self.job.running

    @property
    def busy(self) -> bool:
        """Whether anything is still to come: a run, a mask, a curve or a figure."""
        return self.running or self.live.busy or self.insight.busy

    # -- wiring --------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._relay = SessionRelay(self.session, self)
        self._relay.patient.connect(self._patient_changed)
        self._relay.analysis.connect(self._analysis_changed)
        self._relay.analyses.connect(self.compare.refresh)
        self._relay.params.connect(self._params_changed)
        self._relay.options.connect(self._options_changed)
        self._relay.mask.connect(self._mask_changed)
        self._relay.slices.connect(self._slices_arrived)

        self.cancel.changed.connect(self._cancel_clicked)
        self.reset.changed.connect(self.live.reset)
        self.undo.changed.connect(self._undo)
        self.redo.changed.connect(self._redo)
        self.discard.changed.connect(self.session.discard_corrections)
        self.export.changed.connect(self._ask_where_to_export)
        self.restore.changed.connect(self._ask_what_to_restore)
        self.plot.threshold_chosen.connect(self._threshold_chosen)
        self.lesions.jumped.connect(self.layers.go_to)
        self.queue.open_requested.connect(self.source.open)
        self.insight.figures_ready.connect(self._figures_ready)
        for setting in self.rows.values():
            setting.slider.changed.connect(self._setting_moved)
        self.job.progressed.connect(self._progressed)
        self.job.ended.connect(self._job_ended)
        viewer_events = (
            (self.viewer.dims.events.current_step, self.live.look),
            (self.viewer.dims.events.ndisplay, self.live.look),
            (self.viewer.dims.events.order, self.live.look),
            (self.viewer.layers.events.inserted, self.source.layers_changed),
            (self.viewer.layers.events.removed, self.source.layers_changed),
            (self.viewer.events.theme, self._theme_changed),
        )
        for emitter, callback in viewer_events:
            emitter.connect(callback)
        jobs = (self.job, self.live, self.insight, self.queue)
        relay = self._relay

        def forget() -> None:
            """The dock is gone: the viewer must not call into it, and what runs is wanted no more."""
            for emitter, callback in viewer_events:
                emitter.disconnect(callback)
            relay.stop()
            for job in jobs:
                job.stop()

        when_gone(self, forget)
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self._stop_all)
        self._theme_changed()
        self.runner.model_chosen()

    def _theme_changed(self, event: Any = None) -> None:
        self.plot.set_theme(is_dark(self.viewer.theme))

    def _go_on(self) -> None:
        """Show what a dock that was closed before has left in the layers."""
        session = self.session
        if session.patient is None:
            return
        self._patient_changed(session.patient)
        if session.analysis is not None:
            self._options_changed(session.options)
            self.live.take(session.params)
            self._analysis_changed(session.analysis)
            self.compare.refresh(session.analyses)

    # -- from the session, on the main thread --------------------------------------------------------------

    def _patient_changed(self, patient: Patient) -> None:
        if patient is not self.session.patient:
            return
        self.compare.leave()
        with self.sequence.changed.blocked():
            self.sequence.choices = list(patient.sequences)
            self.sequence.value = patient.sequence
        self.layers.show_patient(patient)
        self.orientation.refresh()
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
            self.runner.show(analysis)
            self.live.take(analysis.params)
            self.compare.show(analysis)
            self.notes.setText("\n".join(analysis.reconstruction.warnings))
        self.notes.setVisible(analysis is not None and bool(self.notes.text()))
        self.insight.follow(analysis)
        self._show_figures()
        self._update_enabled()

    def _params_changed(self, params: PostprocessParams) -> None:
        self.live.params_changed(params)
        self.insight.show_wanted(params)
        streaming, z = self.session.streaming, self.layers.current_slice()
        if streaming is not None and z is not None and streaming.arrived[z]:
            self.layers.show_arrived(streaming, np.array([z]), params)

    def _options_changed(self, options: MapOptions) -> None:
        if options == self.session.options:
            for name, setting in self.option_rows.items():
                setting.set_quietly(getattr(options, name))

    def _mask_changed(self, analysis: Analysis) -> None:
        if analysis is not self.session.analysis:
            return
        self.live.mask_changed(analysis)
        if not self.live.busy:
            self.insight.follow(analysis)
            self.compare.refresh()
        self._update_enabled()

    def _slices_arrived(self, streaming: Streaming, indices: Any) -> None:
        if streaming is self.session.streaming:
            self.compare.pause()
            self.layers.show_arrived(streaming, indices, self.session.params)

    def _setting_moved(self, value: Any = None) -> None:
        self.insight.hold()
        self.insight.show_wanted(self.live.wanted)

    def _show_figures(self, mask: Any = None, settled: bool = True) -> None:
        session, z = self.session, self.layers.current_slice()
        analysis = session.analysis
        if analysis is None:
            self.dice_label.value = self.volume_label.value = "–"
            self.figures.show_slice(None)
            self.figures.show_volume(None)
            return
        own = all(self.live.wanted != suggested.params for suggested in analysis.suggestions)
        self.rule.setText("Your settings" if own else _rule_text(analysis.rule))
        patient = analysis.reconstruction.patient
        reference = None if patient.lesion_mask is None or z is None else patient.lesion_mask[z]
        if settled and z is not None:
            mask = analysis.mask[z]
        here = None if mask is None else Figures.of_slice(mask, reference, patient.spacing)
        self.figures.show_slice(here)
        whole = self.insight.figures.get(analysis.key) if settled else None
        self.figures.show_volume(whole, pending=not settled or whole is None)
        dice_here = None if here is None else here.dice
        self.dice_label.value = (
            f"slice {share(dice_here)} · volume {_volume_dice(analysis) if settled else '…'}"
        )
        self.volume_label.value = f"{session.volume_ml:.2f} mL" if settled else "…"

    def _figures_ready(self, analysis: Analysis) -> None:
        if not self.live.busy:
            self._show_figures()
        self.compare.refresh()

    # -- working -------------------------------------------------------------------------------------------

    def use_patient(self, patient: Patient) -> None:
        """Explore a patient in memory."""
        self.source.use(patient)

    def use_layer(self, image: Any, reference: Any = None) -> None:
        """Explore an image layer that is open in napari, with a labels layer as the reference or none."""
        self.source.use_layer(image, reference)

    def start(self, work: Callable[[], Any], on_done: Callable[[Any], None] | None = None) -> None:
        """Run ``work`` in a thread, then ``on_done`` with its result; one at a time."""
        if not self.job.start(work, on_done):
            show_warning("Something is still running: wait for it or press Cancel.")
            return
        self.progress.value, self.progress.max = 0, 0  # busy until the first slices are done
        self._update_enabled()

    def stop_runs(self) -> None:
        """Stop what runs for the patient on show; the queue goes on."""
        self.job.stop()
        self.live.stop()
        self.insight.stop()

    def _stop_all(self) -> None:
        self.stop_runs()
        self.queue.stop()

    def _cancel_clicked(self) -> None:
        self.job.stop()
        self.cancel.enabled = False

    def _job_ended(self) -> None:
        self.runner.job_ended()
        self._update_enabled()

    def _progressed(self, done: int, total: int) -> None:
        if self.running:
            self.progress.max, self.progress.value = total, done

    def show_rule(self, rule: str) -> None:
        """Say where the settings come from."""
        self.rule.setText(_rule_text(rule))

    def _update_enabled(self) -> None:
        running, analysis = self.running, self.session.analysis
        self.undo.enabled = not running and self.session.can_undo
        self.redo.enabled = not running and self.session.can_redo
        self.restore.enabled = not running and self.session.patient is not None
        self.comparison.setEnabled(not running)
        self.run.enabled = not running
        self.cancel.enabled = running
        self.patient.enabled = self.sequence.enabled = not running
        self.use_layers.enabled = self.score.enabled = self.model.enabled = not running
        self.export.enabled = not running and analysis is not None
        self.discard.enabled = analysis is not None and analysis.corrections is not None
        if not running:
            self.progress.max, self.progress.value = 1, int(analysis is not None)

    # -- settings ------------------------------------------------------------------------------------------

    def _threshold_chosen(self, threshold: float) -> None:
        self.threshold.value = threshold

    def _undo(self) -> None:
        self._step(self.session.undo)

    def _redo(self) -> None:
        self._step(self.session.redo)

    def _step(self, step: Callable[[], Any]) -> None:
        if not self.running:
            self.live.settle_now()
            self.start(step)

    def show_help(self) -> None:
        """Show keys and terms."""
        HelpDialog(self, self.shortcuts.bound).show()

    # -- results -------------------------------------------------------------------------------------------

    def _ask_where_to_export(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Export to folder")
        if folder:
            self.export_to(Path(folder))

    def export_to(self, folder: Path) -> None:
        """Export the current analysis to a folder, in a thread; tells when done."""
        self.live.settle_now()
        self.start(
            lambda: self.session.export(folder),
            lambda _: show_info(f"Saved mask, map and settings in {folder}"),
        )

    def _ask_what_to_restore(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Restore settings", "", "Settings (*.json);;All files (*)"
        )
        if chosen:
            self.restore_from(Path(chosen))

    def restore_from(self, path: Path) -> None:
        """Take over the settings of an export, in a thread; tells what is not as it was."""
        job, liked = self.job, preferences()

        def work() -> tuple[str, ...]:
            with spared_core():
                return self.session.restore(
                    path, device=liked.device, on_progress=job.report, should_stop=job.stopping
                )

        self.start(work, self._restored)

    def _restored(self, notes: tuple[str, ...]) -> None:
        if notes:
            show_warning("; ".join(notes))
        else:
            show_info("The settings are as they were saved.")

    def closeEvent(self, event: Any) -> None:
        """Stop what runs when the dock closes."""
        self._stop_all()
        super().closeEvent(event)


def session_in(viewer: Any) -> Session | None:
    """Return the session that a dock of this viewer has left in its layers, or None."""
    for layer in reversed(viewer.layers):
        tag = tag_of(layer)
        if tag is not None and isinstance(tag.session, Session):
            return tag.session
    return None


def _volume_dice(analysis: Analysis) -> str:
    reference = analysis.reconstruction.patient.lesion_mask
    return share(analysis.dice if reference is not None and reference.any() else None)


def _rule_text(rule: str) -> str:
    return {
        "default": "Default settings",
        "validation": "Suggested: best on validation patients",
        "healthy-quantile": "Suggested: quantile of healthy slices",
    }.get(rule, f"Suggested: {rule}")
