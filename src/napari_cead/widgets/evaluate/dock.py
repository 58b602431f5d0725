"""The Evaluate dock: measure models on a cohort, in a separate process, without leaving napari."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_warning
from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QFileDialog, QListWidgetItem, QTabWidget

from ...exploring import DEFAULT_MODEL
from ...training.launching import words_of
from ...zoo import list_models
from ..common.controls import list_height, scrolled, stacked
from ..common.dock_lifetime import when_gone
from ..common.folder_dialog import ask_for_folder
from ..common.keyboard import KeyboardDock
from ..common.messages import Messages
from ..common.model_watch import ModelWatch
from ..common.preferences import preferences
from ..common.wheel import scroll_with_wheel
from .cohort_check import CheckPart
from .evaluate_form import AUTOMATIC, MODELS_HEIGHT, EvaluateForm
from .evaluation_process import EvaluationProcess, Outcome
from .results_tab import ResultsTab

OUT_SUFFIX = "_evaluation"
"""Ending of the results folder beside the cohort."""

ALL = "all"
"""The command's name for all models."""

GOES_ON = "Start goes on where it stopped."

STATES = {
    "finished": "Finished: the results are in the tab Results.",
    "refused": "The evaluation cannot be done:",
    "stopped": f"Stopped. {GOES_ON}",
    "crashed": f"The evaluation broke off. {GOES_ON}",
}


class EvaluateWidget(KeyboardDock):
    """Choose a cohort and models, start an evaluation, watch it, and view its results.

    An evaluation is the command ``napari-cead evaluate`` in another process. It ends with the dock; all measurements
    are kept, and the same command continues from there.

    Attributes:
        form: What is asked for.
        check: Checks the cohort.
        results: The results.
        process: The evaluation.
        notice: Shows napari's notifications.

    Args:
        napari_viewer: The viewer to work in.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.process = EvaluationProcess()
        self._suggested_out = ""
        self._out_now: Path | None = None
        self._unusable = False
        self.form, self.results, self.notice = EvaluateForm(), ResultsTab(), Messages()
        self.tabs = QTabWidget()
        self.tabs.addTab(scrolled(self.form), "Evaluation")
        self.check = CheckPart(self._to_check, self.tabs)
        self.form.cohort_grid.addWidget(self.check, self.form.cohort_grid.rowCount(), 0, 1, 3)
        self.tabs.addTab(self.results, "Results")
        stacked(self, self.tabs, self.notice)
        self.setMinimumWidth(400)
        self.setAcceptDrops(True)
        self.refresh_models()
        self._connect()
        self.update_enabled()
        scroll_with_wheel(self)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give the list of models its share of the dock's height."""
        super().resizeEvent(event)
        self.form.models.setFixedHeight(list_height(MODELS_HEIGHT, self))

    def _connect(self) -> None:
        form = self.form
        form.choose_cohort.changed.connect(lambda: self._ask_folder(form.cohort, "Folder of the patients"))
        form.choose_maps.changed.connect(lambda: self._ask_folder(form.maps, "Folder of the score maps"))
        form.choose_split.changed.connect(self._ask_split)
        form.choose_store.changed.connect(lambda: self._ask_folder(form.split, "Slice store"))
        form.choose_out.changed.connect(self._ask_for_output)
        form.cohort.changed.connect(self._cohort_chosen)
        for control in (
            form.sequence,
            form.maps,
            form.maps_pattern,
            form.split,
            form.folds,
            form.out,
            form.device,
            form.workers,
            form.scheduler,
        ):
            control.changed.connect(lambda *_: self.update_enabled())
        form.models.itemChanged.connect(lambda *_: self.update_enabled())
        form.tick_all.changed.connect(lambda: self._tick(True))
        form.tick_none.changed.connect(lambda: self._tick(False))
        form.start.changed.connect(self.start_evaluation)
        form.stop.changed.connect(self.stop_evaluation)
        self.process.progressed.connect(self._progressed)
        self.process.said.connect(self._say)
        self.process.ended.connect(self._ended)
        ModelWatch(self).changed.connect(self.refresh_models)
        process, job = self.process, self.check.job

        def forget() -> None:
            """End the evaluation: the dock is gone."""
            job.stop()
            process.let_go()

        when_gone(self, forget, with_window=True)

    # -- what is asked for ---------------------------------------------------------------------------------

    @property
    def _pattern(self) -> str:
        return str(self.form.maps_pattern.value).strip()

    def arguments(self) -> list[str]:
        """Return the arguments of ``napari-cead``."""
        form = self.form
        chosen = form.chosen_models
        everything = len(chosen) == form.models.count() and not self._unusable
        cohort, out = _absolute(form.cohort.value), _absolute(form.out.value)
        words = ["evaluate", str(cohort or "COHORT")]
        options = {
            "models": ALL if everything else ",".join(chosen),
            "out": str(out or "DIR"),
            "maps": _absolute(form.maps.value),
            "maps_pattern": (self._pattern or None) if form.maps.value.strip() else None,
            "split": _absolute(form.split.value),
            "folds": form.folds.value if form.folds.value and not form.split.value.strip() else None,
            "sequence": None if form.sequence.value == AUTOMATIC else form.sequence.value,
            "device": form.device.value,
            "scheduler": form.scheduler.value.strip() or None,
            "workers": form.workers.value
            if form.workers.value and not form.scheduler.value.strip()
            else None,
        }
        return words + words_of(options)

    def problem_now(self) -> str:
        """Return the reason why an evaluation cannot start yet; empty if it can."""
        form = self.form
        cohort, out = _absolute(form.cohort.value), _absolute(form.out.value)
        maps, split, scheduler = (
            _absolute(form.maps.value),
            _absolute(form.split.value),
            form.scheduler.value.strip(),
        )
        if cohort is None:
            return "Choose a folder of patients with lesion masks, or drop it here."
        if not cohort.is_dir():
            return "The folder of the patients is not there."
        if maps is None and not form.chosen_models:
            return "Tick at least one model, or choose a folder of score maps."
        if maps is not None and not maps.is_dir():
            return "The folder of the score maps is not there."
        if maps is not None and self._pattern and "{patient}" not in self._pattern:
            return "The names of the score maps need {patient}: {patient}_anomaly.nii.gz, say."
        if split is not None and not split.exists():
            return "The split is not there: choose a split file or a slice store, or leave it empty."
        if split is None and form.folds.value == 1:
            return "Folds are at least two: with one, nobody would be left to choose."
        if out is None:
            return "Choose a folder for the results."
        if out.resolve().is_relative_to(cohort.resolve()):
            return "The results cannot lie in the cohort: choose another folder."
        if out.exists() and not out.is_dir():
            return "The results need a folder: there is a file of this name."
        if scheduler and "://" not in scheduler:
            return "The address of a scheduler looks like tcp://host:8786."
        return ""

    def update_enabled(self) -> None:
        """Enable what is possible now."""
        form = self.form
        running, problem = self.process.running, self.problem_now()
        form.problem.setText("" if running else problem)
        form.problem.setToolTip(form.problem.text())
        buttons = {
            form.start: not problem and not running,
            form.stop: running and not self.process.stopping,
        }
        for button, on in sorted(buttons.items(), key=lambda item: not item[1]):
            if (
                not on and self.window().focusWidget() is button.native
            ):  # Qt scrolls to what it gives the focus to
                next((other.native for other, use in buttons.items() if use), self).setFocus()
            button.enabled = on
        self.check.update_enabled()
        form.maps_pattern.enabled = bool(form.maps.value.strip())
        form.workers.enabled = not form.scheduler.value.strip()
        form.no_split.setVisible(not form.split.value.strip())
        form.folds.enabled = not form.split.value.strip()
        for edit in (form.cohort, form.maps, form.split, form.out):
            edit.native.setToolTip(edit.value)
        form.command.show_words(self.arguments())

    def refresh_models(self) -> None:
        """List the current models; ticks are kept, and new models are ticked. At first the default model is alone."""
        form = self.form
        listed = {form.models.item(row).text() for row in range(form.models.count())}
        unticked = listed - set(form.chosen_models)
        form.models.blockSignals(True)
        form.models.clear()
        every = list_models()
        self._unusable = any(info.problem is not None for info in every)
        usable = [info.name for info in every if info.problem is None]
        if not listed and usable:
            wanted = (preferences().default_model, DEFAULT_MODEL, usable[0])
            unticked = set(usable) - {next(name for name in wanted if name in usable)}
        for info in every:
            if info.problem is not None:
                continue
            item = QListWidgetItem(info.name)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Unchecked if info.name in unticked else Qt.CheckState.Checked)
            item.setToolTip(f"{info.where}: {info.description}")
            form.models.addItem(item)
        form.models.blockSignals(False)
        self.update_enabled()

    def _tick(self, on: bool) -> None:
        form = self.form
        form.models.blockSignals(True)
        for row in range(form.models.count()):
            form.models.item(row).setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
        form.models.blockSignals(False)
        self.update_enabled()

    def _cohort_chosen(self) -> None:
        """Suggest a folder for the results, unless the user has named one."""
        self.check.forget()
        cohort = _absolute(self.form.cohort.value)
        suggested = "" if cohort is None else str(cohort.with_name(f"{cohort.name}{OUT_SUFFIX}"))
        if self.form.out.value == self._suggested_out:
            self.form.out.value = suggested
            self._suggested_out = suggested
        self.update_enabled()

    def _ask_folder(self, edit: Any, title: str) -> None:
        folder = QFileDialog.getExistingDirectory(self, title, edit.value)
        if folder:
            edit.value = str(Path(folder))

    def _ask_for_output(self) -> None:
        def chosen(folder: Path | None) -> None:
            if folder is not None:
                self.form.out.value = str(folder)

        ask_for_folder(self, "Folder of the results", "Choose", chosen, _absolute(self.form.out.value))

    def _ask_split(self) -> None:
        file, _ = QFileDialog.getOpenFileName(
            self, "Split file", self.form.split.value, "Split files (*.json)"
        )
        if file:
            self.form.split.value = str(Path(file))

    def dragEnterEvent(self, event: Any) -> None:
        """Take a folder of patients, or a split file, from a file manager."""
        if _dropped(event):
            event.acceptProposedAction()

    dragMoveEvent = dragEnterEvent

    def dropEvent(self, event: Any) -> None:
        """Choose what was dropped: a folder is the cohort, a JSON file the split."""
        event.acceptProposedAction()
        for path in _dropped(event):
            if path.is_dir():
                self.form.cohort.value = str(path)
            elif path.suffix.lower() == ".json":
                self.form.split.value = str(path)
            else:
                show_warning(f"{path.name}: drop a folder of patients, or a split file (.json).")

    def _to_check(self) -> tuple[Path | None, str | None]:
        sequence = self.form.sequence.value
        return _absolute(self.form.cohort.value), None if sequence == AUTOMATIC else sequence

    # -- running -------------------------------------------------------------------------------------------

    def start_evaluation(self) -> None:
        """Start the command that is shown."""
        form = self.form
        if self.problem_now():
            return
        # Not part of the displayed command: in a terminal its user wants the progress bar.
        if not self.process.start([*self.arguments(), "--progress", "json"]):
            return
        self._out_now = _absolute(form.out.value)
        form.messages.clear()
        form.messages.hide()
        form.run_progress.begin("Starting the program")
        form.progress.show()
        form.state.setText("Running…")
        self.update_enabled()

    def stop_evaluation(self) -> None:
        """Ask the process to end."""
        self.process.stop()
        if self.process.running:
            self.form.state.setText("Stopping…")
        self.update_enabled()

    def _progressed(self, done: int, total: int) -> None:
        progress = self.form.run_progress
        if done:
            progress.count(done, total)
        else:
            progress.begin(f"Step 0 of {total}: loading models, preparing the first patient", "Step")

    def _say(self, line: str) -> None:
        self.form.messages.appendPlainText(line)
        self.form.messages.show()

    def _ended(self, outcome: Outcome) -> None:
        self.form.run_progress.rest(done=outcome.state == "finished")
        self.form.progress.hide()
        self.form.state.setText(STATES[outcome.state])
        if outcome.words:
            self._say(outcome.words)
        self.update_enabled()
        if outcome.state == "finished" and self._out_now is not None:
            self.results.show_folder(self._out_now)
            self.notice.show_message(
                "The evaluation has finished.",
                "info",
                ("Show the results", lambda: self.tabs.setCurrentWidget(self.results)),
            )


def _absolute(typed: str) -> Path | None:
    """Return what was typed as an absolute path; None if nothing was."""
    return Path(typed.strip()).expanduser().absolute() if typed.strip() else None


def _dropped(event: Any) -> Sequence[Path]:
    return [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
