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
from ..common.controls import stacked
from ..common.dock_lifetime import let_go, when_gone
from ..common.docks import bare, docks_in, session_in
from ..common.jobs import all_of
from ..common.keyboard import KeyboardDock
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


class ExploreWidget(KeyboardDock):
    """Explore where a model fails to reconstruct a patient.

    A thin view over ``exploring.Session``: state lives in ``session``, pixels in the viewer's layers.

    Attributes:
        form: All controls; those named here are also attributes of the dock.
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
        self.form = form = ExploreForm()
        self.patient, self.sequence = form.patient, form.sequence
        self.model, self.score = form.model, form.score
        self.run, self.cancel = form.run, form.cancel
        self.threshold, self.closing_radius = form.threshold, form.closing_radius
        self.area_fraction, self.dilation_radius = form.area_fraction, form.dilation_radius
        self.dice_label, self.volume_label = form.dice_label, form.volume_label
        stacked(self, form)
        self.setMinimumWidth(300)
        older = docks_in(napari_viewer, ExploreWidget)
        for dock in older:
            dock.retire()
        found = older[-1].session if older else session_in(napari_viewer)
        self.session: Session = found or Session()
        self.layers = LayerView(napari_viewer, self.session)
        self.on_canvas = CanvasNotes(napari_viewer, self)
        self.live = LiveMask(
            self.session, self.layers, {**form.rows, **form.switches}, self._show_figures, self
        )
        self.layers.on_painted = self.live.painted
        self.insight = Insight(self.session, form.plot, form.lesions, self)
        self.compare = Comparison(self.session, self.layers, self.live, form.comparison, self.insight, self)
        self.result = ResultView(form, self.on_canvas, self.session, self.layers, self.insight, self.compare)
        self.work = Work(self)
        self.job = self.work.job
        self.live.waits = lambda: self.work.changes_session
        self.run_progress = RunProgress(form.progress.native)
        self._shown: Key | None = None
        self._patient_shown: Patient | None = None
        self._settings_due = False
        self.preparing = Preparing(form.banner, self.session, self.layers, self.work, self._stop_computing)
        self.source = PatientSource(
            form, self.session, self.layers, self.preparing, self.work, self.stop_runs
        )
        Drops(napari_viewer, self, self.source.take)
        self.runner = ModelRunner(
            form, self.session, self.layers, self.live, self.compare, self.work, self.source.untold
        )
        self.keeping = Keeping(self.session, self)
        self.saving = Saving(form, self.session, self.layers, self.live, self.work, self.runner, self.keeping)
        self.compare.settle = self._settle_now
        form.comparison.side_by_side.toggled.connect(lambda: self._show_figures())
        self.queue = QueuePanel(self.runner.queue_settings, lambda: self.running, self)
        form.add_tab("queue", self.queue, form.tabs.indexOf(form.more))
        self.orientation = Orientation(napari_viewer, self, preferences().convention)
        self.scale_bar = ScaleBar(napari_viewer, self)
        self.cuts = ThreeViews(form.three_views, self.layers, self.orientation, self)
        self.tools = Tools({"paint": form.paint, "erase": form.erase}, napari_viewer, self.layers)
        self.shortcuts = Shortcuts(
            napari_viewer,
            self,
            actions(form, self.layers, self.compare, self.go_to_and_fro, self.show_help),
        )
        view_row = ViewRow(self.orientation, self.show_help, self)
        form.view_row.addWidget(view_row)
        self._connect()
        form.three_views.toggled.connect(self.cuts.toggle)
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
        return working or self.form.comparison.laying_out

    # -- wiring --------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        session, form = self.session, self.form
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
        for choice in (form.model, form.score):
            choice.changed.connect(self._say_what_is_shown)
        form.cancel.changed.connect(self._cancel_clicked)
        form.reset.changed.connect(self.runner.reset)
        form.use_suggested.changed.connect(self.runner.use_suggested)
        form.undo.changed.connect(self._undo)
        form.redo.changed.connect(self._redo)
        form.discard.changed.connect(self.session.discard_corrections)
        form.plot.threshold_chosen.connect(self._threshold_chosen)
        form.lesions.jumped.connect(self.layers.go_to)
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
        self.form.plot.set_theme(is_dark(self.viewer.theme))

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
        form = self.form
        self.runner.withdraw_notes()
        with form.sequence.changed.blocked():
            form.sequence.choices = list(patient.sequences)
            form.sequence.value = patient.sequence
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
        form.about.setText(" · ".join(about))
        form.about.setToolTip("\n".join([form.about.text(), *patient.warnings]))
        form.open_more.setChecked(False)
        form.plot.show()
        if self._patient_shown is not None and not same(self._patient_shown, patient):
            self._settings_due = not form.keep.isChecked()
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
            partial(self.form.notes.setText, "\n".join(notes)),
            partial(self.form.notes.setVisible, bool(notes)),
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
            for name, setting in self.form.option_rows.items():
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
            self.form.notes.setText("\n".join(filter(None, (*analysis.reconstruction.warnings, remark))))
            self.form.notes.setVisible(bool(self.form.notes.text()))

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
        self.form.cancel.enabled = False

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
        form, analysis = self.form, self.session.analysis
        chosen = (form.model.value, form.score.value)
        stale = analysis is not None and analysis.key != chosen
        if analysis is None:
            text = ""
        elif stale:
            text = f"Shown: {analysis.key[0]}, not {chosen[0]}"
        else:
            text = f"Shown: {' · '.join(analysis.key)}"
        form.state.setText(text)
        form.state.setToolTip(f"{text}. Press Run for {' · '.join(map(str, chosen))}" if stale else text)
        form.state.setStyleSheet(f"color: {STALE}" if stale else "")
        for label in (form.dice_label.native, form.volume_label.native, form.figures):
            label.setEnabled(not stale)

    def _update_enabled(self) -> None:
        form, running, analysis = self.form, self.running, self.session.analysis
        self._update_undo()
        form.restore.enabled = not running and self.session.patient is not None
        form.comparison.setEnabled(not running)
        if running:
            form.state_or_progress.setCurrentWidget(form.under_way)
        if running and self.work.can_cancel:  # before Run goes, so that its keyboard focus finds Cancel
            form.cancel.native.show()
            form.cancel.enabled = not self.job.stopping()
        form.run.enabled = not running
        if not running:
            form.cancel.enabled = False
            form.cancel.native.hide()
            form.state_or_progress.setCurrentWidget(form.state)
        self._say_what_is_shown()
        form.patient.enabled = form.sequence.enabled = not running
        form.use_layers.enabled = form.score.enabled = form.model.enabled = not running
        form.export.enabled = not running and analysis is not None
        form.paint.enabled = form.erase.enabled = form.export.enabled
        corrected = analysis is not None and analysis.corrections is not None
        self.tools.show()
        form.discard.enabled = not running and corrected
        form.show_usable(
            patient=self.session.patient is not None, result=analysis is not None, corrected=corrected
        )
        self.preparing.update_enabled()
        if not running:
            self.run_progress.rest(analysis is not None)
            self.give_focus_back(form.run.native)

    def _update_undo(self) -> None:
        form = self.form
        form.undo.enabled = not self.running and self.session.can_undo
        form.redo.enabled = not self.running and self.session.can_redo
        form.redo.native.setVisible(self.session.can_redo)

    # -- settings ------------------------------------------------------------------------------------------

    def _threshold_chosen(self, threshold: float) -> None:
        self.form.threshold.value = threshold

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
            first = self.form.run if self.session.patient is not None else self.form.patient.line_edit
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
        self.form.about.setText("This dock was closed, or a newer one has taken over.")

    def event(self, event: QEvent) -> bool:
        """Delete the widget when it leaves its dock: napari only releases it, and Qt would keep it for ever."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.deleteLater()
        return bool(super().event(event))

    def closeEvent(self, event: Any) -> None:
        """Stop everything when the dock closes."""
        self._stop_all()
        super().closeEvent(event)
