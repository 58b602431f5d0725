"""The Evaluate dock: measure models on a cohort, in a separate process, without leaving napari."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_warning
from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication, QFileDialog, QListWidgetItem

from ..contributions.failures import show_failure
from ..errors import CeadError
from ..patients.integrity import CohortCheck, Finding, check_cohort
from ..training.launching import command_line, words_of
from ..wording import counted
from ..zoo import list_models
from .dock_lifetime import when_gone
from .evaluate_form import AUTOMATIC, EvaluateForm
from .evaluation_process import EvaluationProcess, Outcome
from .evaluation_table import REPORT, RESULTS, read_results
from .folder_dialog import ask_for_folder
from .jobs import Job
from .model_watch import ModelWatch
from .wheel import scroll_with_wheel

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


class EvaluateWidget(EvaluateForm):
    """Choose a cohort and models, start an evaluation, watch it, and view its results.

    An evaluation is the command ``napari-cead evaluate`` in another process. It ends with the dock; all measurements
    are kept, and the same command continues from there.

    Attributes:
        process: The evaluation.
        job: The running check of the cohort.
        results_in: The folder of the displayed results, None without any.
        open_url: Opens an address in the desktop's application for it, and returns whether there is one.

    Args:
        napari_viewer: The viewer to work in.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.process = EvaluationProcess()
        self.job = Job(self)
        self.results_in: Path | None = None
        self.open_url: Callable[[QUrl], bool] = QDesktopServices.openUrl
        self._suggested_out = ""
        self._out_now: Path | None = None
        self._unusable = False
        self.refresh_models()
        self._connect()
        self._forget_check()
        self.update_enabled()
        scroll_with_wheel(self)

    def _connect(self) -> None:
        self.choose_cohort.changed.connect(lambda: self._ask_folder(self.cohort, "Folder of the patients"))
        self.choose_maps.changed.connect(lambda: self._ask_folder(self.maps, "Folder of the score maps"))
        self.choose_split.changed.connect(self._ask_split)
        self.choose_store.changed.connect(lambda: self._ask_folder(self.split, "Slice store"))
        self.choose_out.changed.connect(self._ask_for_output)
        self.cohort.changed.connect(self._cohort_chosen)
        for control in (
            self.sequence,
            self.maps,
            self.maps_pattern,
            self.split,
            self.folds,
            self.out,
            self.device,
            self.workers,
            self.scheduler,
        ):
            control.changed.connect(lambda *_: self.update_enabled())
        self.models.itemChanged.connect(lambda *_: self.update_enabled())
        self.tick_all.changed.connect(lambda: self._tick(True))
        self.tick_none.changed.connect(lambda: self._tick(False))
        self.check.changed.connect(self.check_now)
        self.job.progressed.connect(self.checking.count)
        self.job.ended.connect(self._check_ended)
        self.start.changed.connect(self.start_evaluation)
        self.stop.changed.connect(self.stop_evaluation)
        self.copy.changed.connect(self._copy)
        self.process.progressed.connect(self.progress.count)
        self.process.said.connect(self._say)
        self.process.ended.connect(self._ended)
        self.open_report.changed.connect(lambda: self._open(REPORT))
        self.open_folder.changed.connect(lambda: self._open(""))
        ModelWatch(self).changed.connect(self.refresh_models)
        process, job = self.process, self.job

        def forget() -> None:
            """End the evaluation: the dock is gone."""
            job.stop()
            process.let_go()

        when_gone(self, forget, with_window=True)

    # -- what is asked for ---------------------------------------------------------------------------------

    @property
    def chosen_models(self) -> list[str]:
        """Names of the ticked models."""
        items = (self.models.item(row) for row in range(self.models.count()))
        return [item.text() for item in items if item.checkState() == Qt.CheckState.Checked]

    @property
    def _pattern(self) -> str:
        return str(self.maps_pattern.value).strip()

    def arguments(self) -> list[str]:
        """Return the arguments of ``napari-cead``."""
        chosen = self.chosen_models
        everything = len(chosen) == self.models.count() and not self._unusable
        cohort, out = _absolute(self.cohort.value), _absolute(self.out.value)
        words = ["evaluate", str(cohort or "COHORT")]
        options = {
            "models": ALL if everything else ",".join(chosen),
            "out": str(out or "DIR"),
            "maps": _absolute(self.maps.value),
            "maps_pattern": (self._pattern or None) if self.maps.value.strip() else None,
            "split": _absolute(self.split.value),
            "folds": self.folds.value if self.folds.value and not self.split.value.strip() else None,
            "sequence": None if self.sequence.value == AUTOMATIC else self.sequence.value,
            "device": self.device.value,
            "scheduler": self.scheduler.value.strip() or None,
            "workers": self.workers.value
            if self.workers.value and not self.scheduler.value.strip()
            else None,
        }
        return words + words_of(options)

    def problem_now(self) -> str:
        """Return the reason why an evaluation cannot start yet; empty if it can."""
        cohort, out = _absolute(self.cohort.value), _absolute(self.out.value)
        maps, split, scheduler = (
            _absolute(self.maps.value),
            _absolute(self.split.value),
            self.scheduler.value.strip(),
        )
        if cohort is None:
            return "Choose a folder of patients with lesion masks, or drop it here."
        if not cohort.is_dir():
            return "The folder of the patients is not there."
        if maps is None and not self.chosen_models:
            return "Tick at least one model, or choose a folder of score maps."
        if maps is not None and not maps.is_dir():
            return "The folder of the score maps is not there."
        if maps is not None and self._pattern and "{patient}" not in self._pattern:
            return "The names of the score maps need {patient}: {patient}_anomaly.nii.gz, say."
        if split is not None and not split.exists():
            return "The split is not there: choose a split file or a slice store, or leave it empty."
        if split is None and self.folds.value == 1:
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
        running, problem = self.process.running, self.problem_now()
        self.problem.setText("" if running else problem)
        self.problem.setToolTip(self.problem.text())
        buttons = {self.start: not problem and not running, self.stop: running and not self.process.stopping}
        for button, on in sorted(buttons.items(), key=lambda item: not item[1]):
            if (
                not on and self.window().focusWidget() is button.native
            ):  # Qt scrolls to what it gives the focus to
                next((other.native for other, use in buttons.items() if use), self).setFocus()
            button.enabled = on
        cohort = _absolute(self.cohort.value)
        self.check.enabled = cohort is not None and cohort.is_dir() and not self.job.running
        self.maps_pattern.enabled = bool(self.maps.value.strip())
        self.workers.enabled = not self.scheduler.value.strip()
        self.no_split.setVisible(not self.split.value.strip())
        self.folds.enabled = not self.split.value.strip()
        for edit in (self.cohort, self.maps, self.split, self.out):
            edit.native.setToolTip(edit.value)
        self.command.setPlainText(command_line(self.arguments()))

    def refresh_models(self) -> None:
        """List the current models; ticks are kept, and new models are ticked."""
        unticked = {self.models.item(row).text() for row in range(self.models.count())}
        unticked -= set(self.chosen_models)
        self.models.blockSignals(True)
        self.models.clear()
        every = list_models()
        self._unusable = any(info.problem is not None for info in every)
        for info in every:
            if info.problem is not None:
                continue
            item = QListWidgetItem(info.name)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Unchecked if info.name in unticked else Qt.CheckState.Checked)
            item.setToolTip(f"{info.where}: {info.description}")
            self.models.addItem(item)
        self.models.blockSignals(False)
        self.update_enabled()

    def _tick(self, on: bool) -> None:
        self.models.blockSignals(True)
        for row in range(self.models.count()):
            self.models.item(row).setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
        self.models.blockSignals(False)
        self.update_enabled()

    def _cohort_chosen(self) -> None:
        """Suggest a folder for the results, unless the user has named one."""
        self._forget_check()
        cohort = _absolute(self.cohort.value)
        suggested = "" if cohort is None else str(cohort.with_name(f"{cohort.name}{OUT_SUFFIX}"))
        if self.out.value == self._suggested_out:
            self.out.value = suggested
            self._suggested_out = suggested
        self.update_enabled()

    def _ask_folder(self, edit: Any, title: str) -> None:
        folder = QFileDialog.getExistingDirectory(self, title, edit.value)
        if folder:
            edit.value = str(Path(folder))

    def _ask_for_output(self) -> None:
        def chosen(folder: Path | None) -> None:
            if folder is not None:
                self.out.value = str(folder)

        ask_for_folder(self, "Folder of the results", "Choose", chosen, _absolute(self.out.value))

    def _ask_split(self) -> None:
        file, _ = QFileDialog.getOpenFileName(self, "Split file", self.split.value, "Split files (*.json)")
        if file:
            self.split.value = str(Path(file))

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
                self.cohort.value = str(path)
            elif path.suffix.lower() == ".json":
                self.split.value = str(path)
            else:
                show_warning(f"{path.name}: drop a folder of patients, or a split file (.json).")

    # -- checking the cohort -------------------------------------------------------------------------------

    def check_now(self) -> None:
        """Check the cohort, in a thread."""
        cohort, sequence = _absolute(self.cohort.value), self.sequence.value
        if cohort is None:
            return
        job = self.job

        def work() -> CohortCheck:
            return check_cohort(
                cohort,
                None if sequence == AUTOMATIC else sequence,
                on_progress=job.report,
                should_stop=job.stopping,
            )

        if job.start(work, self._show_check):
            self._forget_check()
            self.checking.begin()
            self.checking.show()
            self.update_enabled()

    def _show_check(self, check: CohortCheck) -> None:
        if check.cohort != _absolute(self.cohort.value):
            return  # another cohort was chosen meanwhile
        number, labelled, findings = len(check.patients), check.labelled, check.findings
        said = f"{counted(len(findings), 'finding')}: see the tab." if findings else "Nothing to mend."
        self.checked.setText(f"{counted(number, 'patient')}, {labelled} with a lesion mask. {said}")
        self._list_findings(findings)

    def _forget_check(self) -> None:
        self.checked.setText("")
        self._list_findings(())

    def _list_findings(self, findings: Sequence[Finding]) -> None:
        self.findings.show_rows(findings)
        tab = self.tabs.indexOf(self.findings)
        self.tabs.setTabText(tab, f"Findings {len(findings)}" if findings else "Findings")
        self.tabs.setTabEnabled(tab, bool(findings))

    def _check_ended(self) -> None:
        self.checking.hide()
        self.update_enabled()

    # -- running -------------------------------------------------------------------------------------------

    def start_evaluation(self) -> None:
        """Start the command that is shown."""
        if self.problem_now():
            return
        # Not part of the displayed command: in a terminal its user wants the progress bar.
        if not self.process.start([*self.arguments(), "--progress", "json"]):
            return
        self._out_now = _absolute(self.out.value)
        self.messages.clear()
        self.messages.hide()
        self.progress.begin()
        self.progress.show()
        self.state.setText("Running…")
        self.update_enabled()

    def stop_evaluation(self) -> None:
        """Ask the process to end."""
        self.process.stop()
        if self.process.running:
            self.state.setText("Stopping…")
        self.update_enabled()

    def _say(self, line: str) -> None:
        self.messages.appendPlainText(line)
        self.messages.show()

    def _ended(self, outcome: Outcome) -> None:
        self.progress.hide()
        self.state.setText(STATES[outcome.state])
        if outcome.words:
            self._say(outcome.words)
        self.update_enabled()
        if outcome.state == "finished" and self._out_now is not None:
            self.show_results(self._out_now)
            self.notice.show_message(
                "The evaluation has finished.",
                "info",
                ("Show the results", lambda: self.tabs.setCurrentWidget(self.results)),
            )

    # -- results -------------------------------------------------------------------------------------------

    def show_results(self, folder: Path) -> None:
        """Show the results in a folder."""
        try:
            results = read_results(folder / RESULTS)
        except CeadError as error:
            show_failure(error)
            return
        self.results_in = folder
        self.table.show_results(results)
        self.summary.setText(results.summary)
        self.summary.setToolTip(results.details)
        self.details.setPlainText(results.details)
        self.details.setVisible(bool(results.details))
        self.open_folder.enabled = True
        self.open_report.enabled = (folder / REPORT).is_file()

    def _open(self, name: str) -> None:
        if self.results_in is None:
            return
        place = self.results_in / name
        if not self.open_url(QUrl.fromLocalFile(str(place))):
            show_warning(f"Nothing on this desktop opens {place}.")

    def _copy(self) -> None:
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(self.command.toPlainText())


def _absolute(typed: str) -> Path | None:
    """Return what was typed as an absolute path; None if nothing was."""
    return Path(typed.strip()).expanduser().absolute() if typed.strip() else None


def _dropped(event: Any) -> Sequence[Path]:
    return [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
