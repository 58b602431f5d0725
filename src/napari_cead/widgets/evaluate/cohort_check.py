"""Checking a cohort from the Evaluate dock: a button, what it found in a line, and the findings as a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtWidgets import QTabWidget, QWidget

from ...patients.integrity import CohortCheck, check_cohort
from ...wording import counted
from ..common.controls import Lines, keep_place, push_button, stacked
from ..common.jobs import Job
from ..common.run_progress import StepBar
from .findings_table import FindingsTable


class CheckPart(QWidget):
    """Checks a cohort in a thread.

    Attributes:
        button: Starts the check.
        bar: Its progress.
        summary: What was found, in a line.
        findings: What was found, in a tab of its own.
        job: The running check.

    Args:
        asked: Returns the cohort, and the sequence to check or None; called when a check starts and ends.
        tabs: Gets a tab for the findings.
    """

    def __init__(self, asked: Callable[[], tuple[Path | None, str | None]], tabs: QTabWidget) -> None:
        super().__init__()
        self._asked, self._tabs = asked, tabs
        self.job, self.findings = Job(self), FindingsTable()
        tabs.addTab(self.findings, "Findings")
        self.button = push_button(
            "Check the cohort", "Read every file and list what is missing, broken or does not fit together"
        )
        self.bar, self.summary = StepBar("Patients checked"), Lines(2)
        keep_place(self.bar).hide()
        stacked(self, self.button.native, self.bar, self.summary)
        self.button.changed.connect(lambda: self.start())
        self.job.progressed.connect(self.bar.count)
        self.job.ended.connect(self._ended)
        self.forget()

    def start(self) -> None:
        """Check the cohort."""
        cohort, sequence = self._asked()
        if cohort is None:
            return
        job = self.job
        if job.start(
            lambda: check_cohort(cohort, sequence, on_progress=job.report, should_stop=job.stopping),
            self._show,
        ):
            self.forget()
            self.bar.begin()
            self.bar.show()
            self.update_enabled()

    def forget(self) -> None:
        """Show nothing: another cohort was chosen."""
        self._say("", 0)
        self.findings.show_rows(())

    def update_enabled(self) -> None:
        """Enable the button if there is a cohort to check."""
        cohort, _ = self._asked()
        self.button.enabled = cohort is not None and cohort.is_dir() and not self.job.running

    def _show(self, check: CohortCheck) -> None:
        if check.cohort != self._asked()[0]:
            return  # another cohort was chosen meanwhile
        found = len(check.findings)
        said = f"{counted(found, 'finding')}: see the tab." if found else "Nothing to mend."
        self._say(
            f"{counted(len(check.patients), 'patient')}, {check.labelled} with a lesion mask. {said}", found
        )
        self.findings.show_rows(check.findings)

    def _say(self, text: str, found: int) -> None:
        self.summary.setText(text)
        tab = self._tabs.indexOf(self.findings)
        self._tabs.setTabText(tab, f"Findings {found}" if found else "Findings")
        self._tabs.setTabEnabled(tab, found > 0)

    def _ended(self) -> None:
        self.bar.hide()
        self.update_enabled()
