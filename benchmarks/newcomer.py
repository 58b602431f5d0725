"""The way of a newcomer in a real window: from a scan on the desk to a mask that is corrected, saved and seen again.

Needs a display; without one: ``xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/newcomer.py``.

A window of napari is open. The script opens the dock, drops a patient, presses Run, drags the threshold, paints a
stroke with the brush, exports, and in a second window drops the patient again and restores what was exported: with
mouse events of Qt, each step until all that it starts has settled. One JSON line per step and one for the whole way:

* ``seconds`` on the clock and ``cpu_s`` of all threads of the process; the time of the events themselves is in them, a
  person's time to look and think is not.
* ``clicks``: mouse buttons pressed and let go in one place; ``drags``: with a way in between, a drop included. A menu
  entry counts as one click for each menu on the way, a file dialog as two (choose, accept).

At the end the restored mask has to equal the exported one, voxel for voxel.

The first steps as they were at first (by hand, another patient, a busy computer), and as this script has them (the
sample patient, a window of 1366 x 768 pixels, two cores that others use as well):

=====================  ======================================  ================================================
step                   at first                                now
=====================  ======================================  ================================================
open the dock          3 clicks, 4.9 CPU s                     3 clicks, 0.2 CPU s
drop a patient         1 drag, 2 clicks (reader, OK), 9.6 s    1 drag, 2.1 s
run to the first mask  1 click, 90 s, later runs 12 s          1 click, 0.7 s (slice on screen), 6.6 s (volume)
=====================  ======================================  ================================================
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import napari
import nibabel as nib
import numpy as np
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QApplication,
    QDialogButtonBox,
    QFileDialog,
    QLineEdit,
    QSlider,
    QStyle,
    QStyleOptionSlider,
    QWidget,
)

from harness import parser, say
from napari_cead import resources
from napari_cead.widgets.common.folder_dialog import FolderDialog
from napari_cead.widgets.explore.launch import wait_until

LEFT = Qt.MouseButton.LeftButton
PATIENCE_S = 300.0
EVENT_S = 0.012


class Newcomer:
    """Somebody with a mouse in a napari window, whose clicks and drags are counted."""

    def __init__(self, size: tuple[int, int], theme: str) -> None:
        self.viewer = napari.Viewer()
        self.viewer.theme = theme
        self.viewer.window.resize(*size)
        self.dock: Any = None
        self.clicks = self.drags = 0
        self.first = (0.0, 0.0)
        wait_until(lambda: False, 0.5)

    @property
    def window(self) -> Any:
        return self.viewer.window._qt_viewer

    def settle(self) -> None:
        """Wait until all that was started is done and on screen."""
        dock = self.dock
        if not wait_until(lambda: not dock.busy and "…" not in dock.dice_label.value, PATIENCE_S):
            raise SystemExit("error: the window did not get there in time")
        QApplication.processEvents()

    def click(self, button: QWidget) -> None:
        """Click a button that is on screen."""
        if not (button.isVisible() and button.isEnabled()):
            raise SystemExit(f"error: {button} cannot be clicked")
        self.clicks += 1
        QTest.mouseClick(button, LEFT)

    def drag(self, on: QWidget, start: QPoint, end: QPoint, steps: int = 40) -> None:
        """Drag from one point of a widget to another."""
        self.drags += 1
        QTest.mouseMove(on, start)
        QTest.mousePress(on, LEFT, pos=start)
        for step in range(1, steps + 1):
            QTest.mouseMove(on, start + (end - start) * (step / steps))
            wait_until(lambda: False, EVENT_S)
        QTest.mouseRelease(on, LEFT, pos=end)

    def drop(self, path: Path) -> None:
        """Drop a file or folder onto the canvas."""
        self.drags += 1
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path))])
        action, no_key, place = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier, QPoint(20, 20)
        target = self.window
        QApplication.sendEvent(target, QDragEnterEvent(place, action, data, LEFT, no_key))
        QApplication.sendEvent(target, QDropEvent(QPointF(place), action, data, LEFT, no_key))

    # -- the way -------------------------------------------------------------------------------------------

    def open_dock(self) -> None:
        self.clicks += 3  # Plugins ▸ napari-cead ▸ Explore anomalies
        _, self.dock = self.viewer.window.add_plugin_dock_widget("napari-cead", "Explore anomalies")
        self.settle()

    def open_patient(self, folder: Path) -> None:
        self.drop(folder)
        if not wait_until(lambda: self.dock.session.patient is not None, PATIENCE_S):
            raise SystemExit(f"error: {folder} did not open")
        self.settle()

    def run(self) -> None:
        self.click(self.dock.run.native)
        wait_until(lambda: self.dock.session.streaming is not None or not self.dock.running, PATIENCE_S)
        self.first = time.perf_counter(), time.process_time()
        self.settle()
        if self.dock.session.mask is None:
            raise SystemExit("error: there is no mask")

    def move_threshold(self) -> None:
        before, slider = self.dock.session.mask, self.dock.threshold.native.findChild(QSlider)
        option = QStyleOptionSlider()
        slider.initStyleOption(option)
        control, handle = QStyle.ComplexControl.CC_Slider, QStyle.SubControl.SC_SliderHandle
        start = slider.style().subControlRect(control, option, handle, slider).center()
        self.drag(slider, start, start + QPoint(slider.width() // 10, 0))
        self.settle()
        if np.array_equal(before, self.dock.session.mask):
            raise SystemExit("error: the slider moved nothing")

    def correct(self) -> None:
        """Press Paint, and paint a stroke."""
        self.show_result()
        self.click(self.dock.form.paint.native)
        canvas = self.window.canvas.native
        middle = QPoint(canvas.width() // 2, canvas.height() // 2)
        self.drag(canvas, middle, middle + QPoint(30, 0), steps=10)
        if not wait_until(lambda: self.dock.session.analysis.corrections is not None, PATIENCE_S):
            raise SystemExit("error: the stroke did not count")
        self.settle()

    def export(self, folder: Path) -> None:
        """Press Export, type a folder into the dialog, and press its button."""
        self.show_result()
        self.click(self.dock.form.export.native)
        (dialog,) = [one for one in self.dock.findChildren(FolderDialog) if one.isVisible()]
        name = dialog.findChild(QLineEdit, "fileNameEdit")
        dialog.activateWindow()
        name.setFocus()
        if not wait_until(name.hasFocus, PATIENCE_S):  # or Qt replaces the text by the row that it selects
            raise SystemExit("error: nothing can be typed into the dialog")
        self.clicks += 1
        name.setText(str(folder))
        self.click(dialog.findChild(QDialogButtonBox).buttons()[0])
        self.settle()

    def restore(self, folder: Path) -> None:
        self.show_result()
        (settings,) = folder.glob("*settings.json")
        self.clicks += 2
        with patch.object(QFileDialog, "getOpenFileName", lambda *_: (str(settings), "")):
            self.click(self.dock.form.restore.native)
        self.settle()

    def show_result(self) -> None:
        if self.dock.form.tabs.currentIndex() != 0:
            tabs = self.dock.form.tabs
            self.clicks += 1
            QTest.mouseClick(tabs.tabBar(), LEFT, pos=tabs.tabBar().tabRect(0).center())


class Stopwatch:
    """Times the steps, and takes a picture of the window after each if a folder is given for them."""

    def __init__(self, pictures: Path | None) -> None:
        self.pictures, self.number = pictures, 0
        self.total: dict[str, float] = {}

    def time(self, newcomer: Newcomer, name: str, work: Callable[[], None]) -> None:
        """Do a step, and say what it took."""
        self.number += 1
        before = newcomer.clicks, newcomer.drags
        start, cpu = time.perf_counter(), time.process_time()
        work()
        took = {
            "seconds": time.perf_counter() - start,
            "cpu_s": time.process_time() - cpu,
            "clicks": newcomer.clicks - before[0],
            "drags": newcomer.drags - before[1],
        }
        for key, value in took.items():
            self.total[key] = self.total.get(key, 0) + value
        if name == "run":
            took |= {"first_slice_s": newcomer.first[0] - start, "first_slice_cpu_s": newcomer.first[1] - cpu}
        say(step=name, **{key: round(value, 2) for key, value in took.items()})
        if self.pictures is not None:
            wait_until(lambda: False, 1.0)
            target = self.pictures / f"{self.number}_{name.replace(' ', '_')}.png"
            newcomer.viewer.window.screenshot(str(target), flash=False, canvas_only=False)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--patient", type=Path, default=resources.sample_patient())
    options.add_argument("--size", type=int, nargs=2, default=(1366, 768), metavar=("WIDTH", "HEIGHT"))
    options.add_argument("--theme", default="dark", choices=("dark", "light"))
    options.add_argument("--pictures", type=Path, help="folder for a picture of the window after each step")
    arguments = options.parse_args()
    if sys.platform == "linux" and not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        raise SystemExit("error: there is no display: run it under xvfb-run")
    if arguments.pictures is not None:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
    watch = Stopwatch(arguments.pictures)
    with (
        tempfile.TemporaryDirectory() as kept,
        tempfile.TemporaryDirectory() as out,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        os.environ["NAPARI_CEAD_HOME"] = kept  # neither models of the user's nor corrections that were kept
        folder = Path(out) / "results"
        one = Newcomer(arguments.size, arguments.theme)
        watch.time(one, "open the dock", one.open_dock)
        watch.time(one, "drop the patient", lambda: one.open_patient(arguments.patient))
        watch.time(one, "run", one.run)
        watch.time(one, "drag the threshold", one.move_threshold)
        watch.time(one, "correct", one.correct)
        watch.time(one, "export", lambda: one.export(folder))
        mask = np.array(one.dock.session.mask)
        one.viewer.close()
        two = Newcomer(arguments.size, arguments.theme)
        watch.time(two, "open the dock again", two.open_dock)
        watch.time(two, "drop the patient again", lambda: two.open_patient(arguments.patient))
        watch.time(two, "restore", lambda: two.restore(folder))
        (saved,) = folder.glob("*_mask.nii.gz")
        same = np.array_equal(two.dock.session.mask, mask)
        if not same or np.count_nonzero(nib.load(saved).dataobj) != np.count_nonzero(mask):
            raise SystemExit("error: the restored mask is not the exported one")
        two.viewer.close()
    say(
        what="the way of a newcomer",
        **{key: round(value, 2) for key, value in watch.total.items()},
        same_mask=same,
    )


if __name__ == "__main__":
    main()
