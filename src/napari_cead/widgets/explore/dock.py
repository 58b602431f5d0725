"""The Explore dock: open a patient, run a model, and threshold the anomaly map live."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

from ...detection import MapOptions, PostprocessParams
from ...exploring import Analysis, Key, Session, Streaming
from ...patients import Patient
from ..canvas.canvas_notes import CanvasNotes
from ..canvas.layer_view import LayerView, same
from ..canvas.orientation import Orientation
from ..canvas.scale_bar import ScaleBar
from ..canvas.view_row import ViewRow
from ..common.dock_lifetime import let_go, when_gone
from ..common.docks import bare, docks_in, session_in
from ..common.jobs import all_of
from ..common.preferences import preferences
from ..common.run_progress import RunProgress
from ..common.thread_relay import Relay
from ..common.warming import warm_up
from ..common.wheel import scroll_with_wheel
from .actions import actions
from .comparison import Comparison
from .curve_and_figures import Insight
from .dropping import Drops
from .explore_form import ExploreForm
from .help import HelpDialog
from .keeping import Keeping
from .live import LiveMask
from .model_runner import ModelRunner
from .patient_source import PatientSource
from .preparing import Preparing
from .queue_panel import QueuePanel
from .result_view import ResultView
from .saving import Saving
from .shortcuts import Shortcuts
from .three_views import ThreeViews
from .threshold_plot import is_dark
from .tools import Tools
from .work import Work

STALE = "#e69f00"
"""Colour of the note that the selected model or score is not the displayed one."""


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
        cancel: Stops it after the current batch.
        threshold: Slider; so are ``closing_radius``, ``area_fraction`` (0–1) and ``dilation_radius``.
        dice_label: Dice of the slice and of the volume, as text.
        volume_label: Detected volume, as text.

    Args:
        napari_viewer: The viewer to work in.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.viewer = napari_viewer
        older = docks_in(napari_viewer, ExploreWidget)
        for dock in older:
            dock.retire()
        found = older[-1].session if older else session_in(napari_viewer)
        self.session: Session = found or Session()
        self.layers = LayerView(napari_viewer, self.session)
        self.on_canvas = CanvasNotes(napari_viewer, self)
        self.live = LiveMask(
            self.session, self.layers, {**self.rows, **self.switches}, self._show_figures, self
        )
        self.layers.on_painted = self.live.painted
        self.insight = Insight(self.session, self.plot, self.lesions, self)
        self.compare = Comparison(self.session, self.layers, self.live, self.comparison, self.insight, self)
        self.result = ResultView(self, self.on_canvas, self.session, self.layers, self.insight, self.compare)
        self.work = Work(self)
        self.job = self.work.job
        self.live.waits = lambda: self.work.changes_session
        self.run_progress = RunProgress(self.progress.native)
        self._shown: Key | None = None
        self._patient_shown: Patient | None = None
        self._settings_due = False
        self.preparing = Preparing(self.banner, self.session, self.layers, self.work, self._stop_computing)
        self.source = PatientSource(
            self, self.session, self.layers, self.preparing, self.work, self.stop_runs
        )
        Drops(napari_viewer, self, self.source.take)
        self.runner = ModelRunner(
            self, self.session, self.layers, self.live, self.compare, self.work, self.source.untold
        )
        self.keeping = Keeping(self.session, self)
        self.saving = Saving(self, self.session, self.layers, self.live, self.work, self.runner, self.keeping)
        self.compare.settle = self._settle_now
        self.comparison.side_by_side.toggled.connect(lambda: self._show_figures())
        self.queue = QueuePanel(self.runner.queue_settings, lambda: self.running, self)
        self.add_tab("queue", self.queue, self.tabs.indexOf(self.more))
        self.orientation = Orientation(napari_viewer, self, preferences().convention)
        self.scale_bar = ScaleBar(napari_viewer, self)
        self.cuts = ThreeViews(self, self.layers, self.orientation)
        self.tools = Tools(self, napari_viewer, self.layers)
        self.shortcuts = Shortcuts(
            napari_viewer,
            self,
            actions(self, self.layers, self.compare, self.go_to_and_fro, self.show_help),
        )
        view_row = ViewRow(self.orientation, self.show_help, self)
        self.view_row.addWidget(view_row)
        self._connect()
        self.three_views.toggled.connect(self.cuts.toggle)
        if found is None:
            self.runner.model_chosen()
        else:
            self._go_on()
        self.source.look()
        self._update_enabled()
        scroll_with_wheel(self)
        self.warming = warm_up(self)

    @property
    def running(self) -> bool:
        """Whether a run, or anything else that blocks the dock, is in progress."""
        return self.work.running

    @property
    def busy(self) -> bool:
        """Whether anything is pending: a run, a mask, a curve, a figure or layers."""
        working = self.running or self.live.busy or self.insight.busy or self.preparing.busy
        return working or self.comparison.laying_out

    # -- wiring --------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        session = self.session
        relay = Relay(
            (session.patient_changed, self._patient_changed),
            (session.patient_changed, self.keeping.patient_changed),
            (session.analysis_changed, self._analysis_changed),
            (session.analyses_changed, self.compare.refresh),
            (session.params_changed, self._params_changed),
            (session.options_changed, self._options_changed),
            (session.mask_changed, self._mask_changed),
            (session.mask_changed, self.keeping.mask_changed),
            (session.slices_arrived, self._slices_arrived),
        )
        for choice in (self.model, self.score):
            choice.changed.connect(self._say_what_is_shown)
        self.cancel.changed.connect(self._cancel_clicked)
        self.reset.changed.connect(self.runner.reset)
        self.use_suggested.changed.connect(self.runner.use_suggested)
        self.undo.changed.connect(self._undo)
        self.redo.changed.connect(self._redo)
        self.discard.changed.connect(self.session.discard_corrections)
        self.plot.threshold_chosen.connect(self._threshold_chosen)
        self.lesions.jumped.connect(self.layers.go_to)
        self.queue.open_requested.connect(self.source.open)
        self.insight.figures_ready.connect(self._figures_ready)
        self.insight.remark_ready.connect(self._remark_ready)
        self.work.began.connect(self._work_began)
        self.job.progressed.connect(self._progressed)
        self.job.staged.connect(self._staged)
        self.job.ended.connect(self._job_ended)
        viewer_events = (
            (self.viewer.dims.events.current_step, self._look),
            (self.viewer.dims.events.ndisplay, self._look),
            (self.viewer.dims.events.order, self._look),
            (self.viewer.layers.events.inserted, self.source.layers_changed),
            (self.viewer.layers.events.removed, self.source.layers_changed),
            (self.viewer.events.theme, self._theme_changed),
        )
        for emitter, callback in viewer_events:
            emitter.connect(callback)
        jobs = (self.job, self.live, self.insight, self.queue, self.preparing, self.keeping)

        def forget() -> None:
            """Stop everything that runs."""
            relay.stop()
            for job in jobs:
                job.stop()

        def leave() -> None:
            """Disconnect the dock from the viewer, which keeps its layers."""
            for emitter, callback in viewer_events:
                emitter.disconnect(callback)
            self._leave()

        when_gone(self, forget, with_window=True)
        when_gone(self, leave)
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self._stop_all)
        self._theme_changed()

    def _theme_changed(self, event: Any = None) -> None:
        self.plot.set_theme(is_dark(self.viewer.theme))

    def _go_on(self) -> None:
        """Show the session that another dock left."""
        session = self.session
        painted, mask = self.layers.painted_meanwhile(), session.mask
        if painted is not None and mask is not None and not np.array_equal(painted > 0, mask):
            session.correct(painted)
        self._patient_shown = session.patient  # its settings stay
        if session.patient is not None:
            self._patient_changed(session.patient)
        self._options_changed(session.options)
        self.live.show()
        if session.analysis is None:
            self.live.moved = True  # the user chose these settings: a run keeps them
        else:
            self._analysis_changed(session.analysis)
            self.compare.refresh(session.analyses)

    # -- from the session, on the main thread --------------------------------------------------------------

    def _patient_changed(self, patient: Patient) -> None:
        if patient is not self.session.patient:
            return
        # The dock names the patient of the session even if its picture fails.
        all_of(self.compare.leave, partial(self.layers.show_patient, patient), partial(self._name, patient))

    def _name(self, patient: Patient) -> None:
        """Say in the dock which patient it is, and begin with it."""
        self.runner.withdraw_notes()
        with self.sequence.changed.blocked():
            self.sequence.choices = list(patient.sequences)
            self.sequence.value = patient.sequence
        self.source.patient_changed(patient)
        self.preparing.patient_changed(patient)
        self.orientation.refresh()
        z, y, x = patient.shape
        about = [
            patient.name,
            patient.sequence,
            "with lesion mask" if patient.lesion_mask is not None else "no lesion mask",
            f"{x} × {y} × {z} voxels",
            " × ".join(f"{size:.3g}" for size in reversed(patient.spacing)) + " mm",
        ]
        self.about.setText(" · ".join(about))
        self.about.setToolTip("\n".join([self.about.text(), *patient.warnings]))
        self.open_more.setChecked(False)
        self.plot.show()
        if self._patient_shown is not None and not same(self._patient_shown, patient):
            self._settings_due = not self.keep.isChecked()
        self._patient_shown = patient
        self._settle_new_patient()
        self._update_enabled()

    def _settle_new_patient(self) -> None:
        """Start a new patient with the model's suggestions: settings changed for another patient stay with it."""
        if self._settings_due and not self.running:
            self._settings_due = False
            if self.session.analysis is None:
                self.runner.reset()
                self.session.set_options(**MapOptions().model_dump())

    def _analysis_changed(self, analysis: Analysis | None) -> None:
        if analysis is not self.session.analysis:
            return
        self._shown = None if analysis is None else analysis.key
        notes = () if analysis is None else analysis.reconstruction.warnings
        show: tuple[Callable[[], None], ...] = ()
        if analysis is not None:
            show = partial(self.runner.show, analysis), partial(self.compare.show, analysis)
        all_of(
            self.live.show,
            *show,
            partial(self.notes.setText, "\n".join(notes)),
            partial(self.notes.setVisible, bool(notes)),
            partial(self.insight.follow, analysis),
            self.compare.refresh,
            self._show_figures,
            self._update_enabled,
        )

    def _params_changed(self, params: PostprocessParams) -> None:
        self.live.show()
        if self.session.analysis is None or not self.session.settled:
            self.insight.hold()
        self.insight.show_wanted(self.session.params)
        if self.session.analysis is None:
            self.runner.say_origin()
        self._cut_arrived()
        self._update_undo()

    def _options_changed(self, options: MapOptions) -> None:
        if options == self.session.options and not self.runner.options_waiting:
            for name, setting in self.option_rows.items():
                setting.set_quietly(getattr(options, name))

    def _mask_changed(self, analysis: Analysis) -> None:
        if analysis is not self.session.analysis:
            return
        self.live.mask_changed(analysis)
        if self.session.settled:
            self.insight.follow(analysis)
            self.compare.refresh()
        self._update_enabled()

    def _look(self, event: Any = None) -> None:
        """Show the newly visible slice."""
        if self.layers.layer("detected mask") is None:
            # Never create a layer here: the view also moves while layers are being deleted.
            self._show_figures()
            return
        self.live.look()
        self._cut_arrived()

    def _cut_arrived(self) -> None:
        """During a run, threshold the visible slice with the current settings."""
        streaming, z = self.session.streaming, self.layers.current_slice()
        if streaming is not None and z is not None and streaming.arrived[z]:
            self.layers.show_arrived(streaming, np.array([z]), self.session.params)

    def _slices_arrived(self, streaming: Streaming, indices: Any) -> None:
        if streaming is self.session.streaming:
            self.compare.pause()
            self.layers.show_arrived(streaming, indices, self.session.params)

    def _show_figures(self, mask: Any = None, settled: bool = True) -> None:
        self.result.show(mask, settled)
        self.cuts.refresh()

    def _remark_ready(self, analysis: Analysis, remark: str) -> None:
        if analysis.key == self._shown:
            self.notes.setText("\n".join(filter(None, (*analysis.reconstruction.warnings, remark))))
            self.notes.setVisible(bool(self.notes.text()))

    def _figures_ready(self, analysis: Analysis) -> None:
        if self.session.settled:
            self._show_figures()
        self.compare.refresh()

    # -- working -------------------------------------------------------------------------------------------

    def use_patient(self, patient: Patient) -> None:
        """Explore a patient in memory."""
        self.source.use(patient)

    def use_layer(self, image: Any, reference: Any = None, sequence: str | None = None) -> None:
        """Explore an open image layer of napari, with a labels layer as the reference or none.

        Args:
            image: The layer.
            reference: The labels.
            sequence: The sequence of the image, for instance ``"flair"``; None: as its name says.
        """
        self.source.use_layer(image, reference, sequence)

    def stop_runs(self) -> None:
        """Stop everything that runs for the current patient; the queue continues."""
        self.job.stop()
        self._stop_computing()

    def _stop_computing(self) -> None:
        self.live.stop()
        self.insight.stop()

    def _work_began(self, stage: str) -> None:
        self.run_progress.begin(stage)
        self._update_enabled()

    def _stop_all(self) -> None:
        self.stop_runs()
        self.queue.stop()

    def _cancel_clicked(self) -> None:
        self.work.cancel()
        self.cancel.enabled = False

    def _job_ended(self) -> None:
        self.runner.job_ended()
        if self.session.analysis is None:
            self.layers.drop_derived()  # the slices of a run that ended without a result
        self._settle_new_patient()
        self.source.job_ended()
        self._update_enabled()

    def _progressed(self, done: int, total: int) -> None:
        if self.running:
            self.run_progress.count(done, total)

    def _staged(self, stage: str) -> None:
        if self.running:
            self.run_progress.begin(stage, "Slice")

    def _say_what_is_shown(self, *_: Any) -> None:
        """Name the displayed analysis, and note if it is not the selected one."""
        analysis = self.session.analysis
        chosen = (self.model.value, self.score.value)
        stale = analysis is not None and analysis.key != chosen
        if analysis is None:
            text = ""
        elif stale:
            text = f"Shown: {analysis.key[0]}, not {chosen[0]}"
        else:
            text = f"Shown: {' · '.join(analysis.key)}"
        self.state.setText(text)
        self.state.setToolTip(f"{text}. Press Run for {' · '.join(map(str, chosen))}" if stale else text)
        self.state.setStyleSheet(f"color: {STALE}" if stale else "")
        for label in (self.dice_label.native, self.volume_label.native, self.figures):
            label.setEnabled(not stale)

    def _update_enabled(self) -> None:
        running, analysis = self.running, self.session.analysis
        self._update_undo()
        self.restore.enabled = not running and self.session.patient is not None
        self.comparison.setEnabled(not running)
        if running:
            self.state_or_progress.setCurrentWidget(self.under_way)
        if running and self.work.can_cancel:  # before Run goes, so that its keyboard focus finds Cancel
            self.cancel.native.show()
            self.cancel.enabled = not self.job.stopping()
        self.run.enabled = not running
        if not running:
            self.cancel.enabled = False
            self.cancel.native.hide()
            self.state_or_progress.setCurrentWidget(self.state)
        self._say_what_is_shown()
        self.patient.enabled = self.sequence.enabled = not running
        self.use_layers.enabled = self.score.enabled = self.model.enabled = not running
        self.export.enabled = not running and analysis is not None
        self.paint.enabled = self.erase.enabled = self.export.enabled
        corrected = analysis is not None and analysis.corrections is not None
        self.tools.show()
        self.discard.enabled = not running and corrected
        self.show_usable(
            patient=self.session.patient is not None, result=analysis is not None, corrected=corrected
        )
        self.preparing.update_enabled()
        if not running:
            self.run_progress.rest(analysis is not None)
            self.give_focus_back(self.run.native)

    def _update_undo(self) -> None:
        self.undo.enabled = not self.running and self.session.can_undo
        self.redo.enabled = not self.running and self.session.can_redo
        self.redo.native.setVisible(self.session.can_redo)

    # -- settings ------------------------------------------------------------------------------------------

    def _threshold_chosen(self, threshold: float) -> None:
        self.threshold.value = threshold

    def _undo(self) -> None:
        self._step(self.session.undo, "Undoing")

    def _redo(self) -> None:
        self._step(self.session.redo, "Redoing")

    def _step(self, step: Callable[[], Any], stage: str) -> None:
        if not self.running:
            self.live.settle_now()
            self.work.start(step, stage=stage, can_cancel=False)

    def _settle_now(self) -> None:
        self.live.settle_now()
        self.runner.settle_options()

    def go_to_and_fro(self) -> None:
        """Move the keyboard's focus from the canvas, or wherever it is, to this dock; from here to the canvas."""
        if self.isAncestorOf(QApplication.focusWidget()):
            bare(self.viewer).window._qt_viewer.canvas.native.setFocus()
        else:
            first = self.run if self.session.patient is not None else self.patient.line_edit
            self.go_here(first.native)

    def show_help(self) -> None:
        """Show keys and terms."""
        HelpDialog(self, self.shortcuts.bound).show()

    # -- results -------------------------------------------------------------------------------------------

    def export_to(self, folder: Path) -> None:
        """Export the current analysis to a folder, in a thread, with a message at the end."""
        self.saving.export_to(folder)

    def restore_from(self, path: Path) -> None:
        """Restore the settings of an export, in a thread, with a message about differences."""
        self.saving.restore_from(path)

    def retire(self) -> None:
        """Release viewer and session to a newer dock."""
        let_go(self)

    def _leave(self) -> None:
        # In this order: pending changes reach the session, then the layers stay as they are.
        self.runner.settle_options()
        self.live.leave()
        self.tools.stop()
        self.layers.leave()
        self.source.stop()
        self.setEnabled(False)
        self.about.setText("This dock was closed, or a newer one has taken over.")

    def event(self, event: QEvent) -> bool:
        """Delete the widget when it leaves its dock: napari only releases it, and Qt would keep it for ever."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.deleteLater()
        return bool(super().event(event))

    def closeEvent(self, event: Any) -> None:
        """Stop everything when the dock closes."""
        self._stop_all()
        super().closeEvent(event)
