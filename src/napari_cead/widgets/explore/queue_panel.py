"""The queue of patients, their progress and settings; the work runs in a thread behind the window."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_info
from qtpy.QtCore import QModelIndex, QPoint, Qt, Signal
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QGridLayout,
    QMenu,
    QSizePolicy,
    QWidget,
)
from superqt import QElidingLabel

from ...contributions.failures import show_failure
from ...exploring.queue import DetectionQueue, QueueItem, QueueResult, RunSettings
from ...patients.formats import dialog_filter
from ..common.controls import ElidedLines, keep_place, plain_button, stacked
from ..common.folder_dialog import ask_for_folder
from ..common.jobs import Job, on_main, spared_core
from ..common.run_progress import StepBar
from .queue_table import QueueTable

LOOK_EVERY_S = 0.05
"""How often a queue that lets the window's run go first looks whether it has ended."""


class QueuePanel(QWidget):
    """Runs a model over many patients while the window stays usable. A thin view over ``DetectionQueue``.

    Signals:
        open_requested: The patient (a ``Path``) whose row was double-clicked.

    Attributes:
        queue: The Qt-free state; its methods may be called directly.
        table: The list of patients.
        add_folder: Asks for a patient, or a folder of patients; ``add_files`` for files.
        remove: Removes the selected patients; the finished ones if none is selected.
        output: Asks for the output folder; ``output_label`` shows it.
        start: Starts the queue.
        cancel: Stops it after the current batch.
        progress: Progress of the whole queue.
        running_with: Its settings, in one line.
        status: Its current activity.

    Args:
        settings: Returns the settings; called on the main thread when the queue starts.
        busy: Whether something more urgent runs, which goes first. Called often, in any thread.
        parent: Owner.
    """

    open_requested = Signal(object)

    def __init__(
        self, settings: Callable[[], RunSettings], busy: Callable[[], bool], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.queue = DetectionQueue()
        self._settings, self._busy = settings, busy
        self._out: Path | None = None
        self._to_add: list[Path] = []
        self._job, self._adding = Job(self), Job(self)
        self._build()
        self._connect()
        self._update_enabled()

    @property
    def out(self) -> Path | None:
        """The output folder, if one was chosen."""
        return self._out

    @out.setter
    def out(self, folder: Path) -> None:
        self._out = folder
        self.output_label.setText(str(folder))
        self.output_label.setToolTip(str(folder))

    @property
    def running(self) -> bool:
        """Whether a thread of this panel is running."""
        return self._job.running or self._adding.running

    def stop(self) -> None:
        """Request a stop without waiting."""
        self._to_add.clear()
        self._adding.stop()
        self._job.stop()

    def add(self, paths: Sequence[Path]) -> None:
        """Add patients, or folders of patients, in a thread."""
        self._to_add.extend(paths)
        self._add_next()

    # -- building ------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.table = QueueTable()
        self.table.setMinimumHeight(90)
        self.add_folder = plain_button("Add folder…", "A patient's folder, or a folder that holds patients")
        self.add_files = plain_button("Add files…", "Scans: NIfTI, or PNG slices")
        self.remove = plain_button(
            "Remove", "Take the selected patients out of the list (Delete); without a selection, those done"
        )
        self.output = plain_button("Output folder…", "One folder per patient is made in it, and queue.json")
        self.output_label = QElidingLabel("not chosen yet")
        self.output_label.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.output_label.setMinimumWidth(40)
        self.output_label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.start = plain_button(
            "Start", "Run all that wait, or failed or were cancelled before, with the settings shown above"
        )
        self.cancel = plain_button("Cancel", "Stop after the slices under way; the patients left wait")
        self.progress = StepBar("Progress of the queue", "%p%")
        keep_place(self.progress).hide()  # until something has run
        self.running_with, self.status = ElidedLines(2), ElidedLines(1)

        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        for column, button in enumerate((self.add_folder, self.add_files, self.remove)):
            grid.addWidget(button, 0, column)
        grid.addWidget(self.output, 1, 0)
        grid.addWidget(self.output_label, 1, 1, 1, 2)
        grid.addWidget(self.start, 2, 0, 1, 2)
        grid.addWidget(self.cancel, 2, 2)
        column_layout = stacked(self, self.table, margin=4)
        column_layout.addLayout(grid)
        for widget in (self.progress, self.running_with, self.status):
            column_layout.addWidget(widget)

    def _connect(self) -> None:
        queue = self.queue
        # From any thread; a queue that goes on without its panel must not hold it.
        queue.item_changed.connect(on_main(self._item_changed))
        queue.items_changed.connect(on_main(self._items_changed))
        self._tell_paused = on_main(self._pause_changed)
        self.table.dropped.connect(self.add)
        self.table.remove_wanted.connect(self._remove_clicked)
        self.table.picked.connect(self._update_enabled)
        self.table.doubleClicked.connect(self._double_clicked)
        self.table.customContextMenuRequested.connect(self._show_menu)
        self.add_folder.clicked.connect(self._ask_for_folder)
        self.add_files.clicked.connect(self._ask_for_files)
        self.remove.clicked.connect(self._remove_clicked)
        self.output.clicked.connect(self._ask_for_output)
        self.start.clicked.connect(self._start_clicked)
        self.cancel.clicked.connect(self._cancel_clicked)
        self._job.progressed.connect(self._progressed)
        self._job.ended.connect(self._update_enabled)
        self._adding.ended.connect(self._added)
        jobs = (self._job, self._adding)

        def forget() -> None:
            """Stop everything: the panel is gone."""
            for job in jobs:
                job.stop()

        self.destroyed.connect(forget)
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.stop)

    # -- from the queue, on the main thread ----------------------------------------------------------------

    def _item_changed(self, item: QueueItem) -> None:
        self.table.show_item(item)
        if item.state == "running":
            self.table.follow(item)
        self._say_where()
        self._update_enabled()

    def _items_changed(self) -> None:
        self.table.show_items(self.queue.items)
        self._update_enabled()

    def _pause_changed(self, paused: bool) -> None:
        if self._job.running:
            self.status.setText("Waiting for the run in the window") if paused else self._say_where()

    def _progressed(self, done: int, total: int) -> None:
        if self._job.running:
            self.progress.count(done, total)

    # -- adding and removing -------------------------------------------------------------------------------

    def _ask_for_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Add a patient or a folder of patients")
        if folder:
            self.add([Path(folder)])

    def _ask_for_files(self) -> None:
        files, _ = QFileDialog.getOpenFileNames(self, "Add scans", "", dialog_filter())
        if files:
            self.add([Path(file) for file in files])

    def _add_next(self) -> None:
        if self._adding.running or not self._to_add:
            return
        paths, job, queue = list(self._to_add), self._adding, self.queue
        self._to_add.clear()
        job.start(lambda: queue.add(paths, should_stop=job.stopping), self._tell_if_none_is_new)
        self._update_enabled()

    def _tell_if_none_is_new(self, fresh: Sequence[QueueItem]) -> None:
        if not fresh and not self._adding.stopping():
            show_info("These patients are in the queue already.")

    def _added(self) -> None:
        self._update_enabled()
        self._add_next()

    def _remove_clicked(self) -> None:
        if chosen := self._chosen():
            self.queue.remove(chosen)
        else:
            self.queue.clear_done()

    def _chosen(self) -> list[Path]:
        return [item.path for item in self.table.selected_rows]

    def _double_clicked(self, index: QModelIndex) -> None:
        self.open_requested.emit(self.table.content.rows[index.row()].path)

    def _show_menu(self, where: QPoint) -> None:
        place = self.table.rowAt(where.y())
        if place < 0:
            return
        path = self.table.content.rows[place].path
        chosen = self._chosen() or [path]
        menu = QMenu(self)
        menu.addAction("Open", lambda: self.open_requested.emit(path))
        menu.addAction("Run again", lambda: self.queue.retry(chosen))
        menu.addAction("Remove", lambda: self.queue.remove(chosen))
        menu.addAction("Remove all that are done", self.queue.clear_done)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self.table.viewport().mapToGlobal(where))

    # -- running -------------------------------------------------------------------------------------------

    def _ask_for_output(self) -> None:
        ask_for_folder(self, "Folder for the results", "Choose", self._output_chosen, self._out)

    def _output_chosen(self, folder: Path | None) -> None:
        if folder is not None:
            self.out = folder

    def _start_clicked(self) -> None:
        if self._out is None:
            ask_for_folder(self, "Folder for the results", "Start", self._start_in)
        else:
            self._start_in(self._out)

    def _start_in(self, out: Path | None) -> None:
        if out is None or self._job.running:
            return
        self.out = out
        try:
            settings = self._settings()
        except Exception as error:
            show_failure(error)
            return
        self.queue.retry()
        job, queue = self._job, self.queue

        def work() -> QueueResult:
            with spared_core():
                return queue.run(
                    settings, out, should_stop=job.stopping, on_progress=job.report, wait=self._let_go_first
                )

        job.start(work, self._tell)
        self.running_with.setText(f"Runs with: {settings.line}")
        self.progress.show()
        self.progress.begin()  # busy until the first slices are done
        self.status.setText("Starting…")
        self._update_enabled()

    def _let_go_first(self) -> None:
        """Wait for the window's own run. Called in the queue's thread."""
        if not self._busy():
            return
        self._tell_paused(True)
        while self._busy() and not self._job.stopping():
            time.sleep(LOOK_EVERY_S)
        self._tell_paused(False)

    def _cancel_clicked(self) -> None:
        self._job.stop()
        self.cancel.setEnabled(False)
        self.status.setText("Stopping after the slices under way…")

    def _tell(self, result: QueueResult) -> None:
        left = f", {result.waiting} left" if result.cancelled else ""
        end = "cancelled" if result.cancelled else "finished"
        show_info(f"Queue {end}: {result.done} done, {result.failed} failed{left}; results in {result.out}")

    def _say_where(self) -> None:
        if self._job.running and not self._job.stopping():
            ended = sum(item.state in ("done", "failed") for item in self.queue.items)
            now = next((item.name for item in self.queue.items if item.state == "running"), None)
            if now is not None:
                self.status.setText(f"{now} ({ended + 1} of {len(self.queue.items)})")

    def _update_enabled(self) -> None:
        items, running = self.queue.items, self._job.running
        self.start.setEnabled(
            not running and any(item.state in ("waiting", "failed", "cancelled") for item in items)
        )
        self.cancel.setEnabled(running and not self._job.stopping())
        self.output.setEnabled(not running)
        self.remove.setEnabled(bool(self.table.places) or any(item.state == "done" for item in items))
        if not running:
            done = sum(item.state == "done" for item in items)
            failed = sum(item.state == "failed" for item in items)
            self.progress.begin()
            self.progress.count(done + failed, len(items))
            self.progress.setVisible(done + failed > 0)
            self.status.setText(
                f"{done} done, {failed} failed, {len(items) - done - failed} to do" if items else ""
            )
            if self._adding.running:
                self.status.setText("Looking for patients…")

    def closeEvent(self, event: Any) -> None:
        """Stop everything when the panel closes."""
        self.stop()
        super().closeEvent(event)
