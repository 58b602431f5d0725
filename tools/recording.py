"""Record drop, run and drag in the running program, on the synthetic sample patient, as an animated WebP.

xvfb-run -a -s "-screen 0 1600x1000x24" python tools/recording.py docs/images/drop-run-drag.webp

The mouse events are those of benchmarks/newcomer.py. The pointer and the folder that it carries are drawn, because no
pointer is in a picture of a window. A second of the recording is not a second of the program: waits are cut.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QImage
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QSlider, QStyle, QStyleOptionSlider, QWidget

from napari_cead import resources
from napari_cead.atomic import atomic_path
from napari_cead.widgets.explore.launch import wait_until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from newcomer import PATIENCE_S, Newcomer

WINDOW, WIDTH = (1366, 768), 1000
FRAME_S = 0.1
ARROW = [(0, 0), (0, 17), (4, 13), (7, 20), (10, 19), (7, 12), (12, 12)]
LARGEST = 2_000_000


class Recorder(Newcomer):
    """A newcomer whose window is filmed."""

    def __init__(self) -> None:
        super().__init__(WINDOW, "dark")
        self.frames: list[Image.Image] = []
        self.seconds: list[float] = []
        self.pointer, self.carries = QPoint(760, 560), ""

    def film(self, seconds: float = FRAME_S) -> None:
        """Take a frame that is shown for so long."""
        wait_until(lambda: False, 0.03)
        grabbed = self.viewer.window._qt_window.grab().toImage()
        grabbed = grabbed.convertToFormat(QImage.Format.Format_RGBA8888)
        size, stride = (grabbed.width(), grabbed.height()), grabbed.bytesPerLine()
        frame = Image.frombuffer("RGBA", size, bytes(grabbed.constBits()), "raw", "RGBA", stride, 1)
        frame = frame.convert("RGB")
        self._draw_pointer(ImageDraw.Draw(frame))
        height = round(frame.height * WIDTH / frame.width)
        self.frames.append(frame.resize((WIDTH, height), Image.Resampling.LANCZOS))
        self.seconds.append(seconds)

    def _draw_pointer(self, draw: ImageDraw.ImageDraw) -> None:
        x, y = self.pointer.x(), self.pointer.y()
        if self.carries:
            draw.rounded_rectangle((x + 8, y + 12, x + 150, y + 46), 6, fill="#3b82c4", outline="white")
            draw.text((x + 22, y + 19), self.carries, fill="white", font=ImageFont.load_default(16))
        draw.polygon([(x + dx, y + dy) for dx, dy in ARROW], fill="white", outline="black")

    def glide(self, on: QWidget, place: QPoint, steps: int = 6) -> None:
        """Move the pointer to a point of a widget."""
        start, end = self.pointer, on.mapTo(self.viewer.window._qt_window, place)
        for step in range(1, steps + 1):
            self.pointer = start + (end - start) * (step / steps)
            self.film(0.06)

    # -- what is filmed ------------------------------------------------------------------------------------

    def drop_it(self, folder: Path) -> None:
        self.carries = folder.name
        self.film(0.8)
        self.glide(self.window.canvas.native, self.window.canvas.native.rect().center(), steps=10)
        self.open_patient(folder)
        self.carries = ""
        self.viewer.scene.camera.zoom *= 1.25
        self.film(1.0)

    def run_it(self) -> None:
        button = self.dock.run.native
        self.glide(button, button.rect().center())
        self.film(0.3)
        self.click(button)
        first = len(self.frames)
        if not wait_until(lambda: self.dock.running, PATIENCE_S):
            raise SystemExit("error: the run did not start")
        while self.dock.busy:
            self.film()
            wait_until(lambda: not self.dock.busy, 0.25)
        self.settle()
        wait_until(lambda: False, 1.0)
        taken = self.frames[first:]
        kept = taken[:: max(1, len(taken) // 12)]
        self.frames[first:], self.seconds[first:] = kept, [0.15] * len(kept)
        self.film(1.2)

    def drag_it(self) -> None:
        slider: Any = self.dock.threshold.native.findChild(QSlider)
        option = QStyleOptionSlider()
        slider.initStyleOption(option)
        control, handle = QStyle.ComplexControl.CC_Slider, QStyle.SubControl.SC_SliderHandle
        start = slider.style().subControlRect(control, option, handle, slider).center()
        self.glide(slider, start)
        QTest.mousePress(slider, Qt.MouseButton.LeftButton, pos=start)
        here = 0
        for end, pause in ((slider.width() // 8, 0.8), (-slider.width() // 6, 0.8), (0, 0.0)):
            step = 4 if end > here else -4
            for here in range(here, end + step, step):  # noqa: B020 - it goes on from where it was
                place = start + QPoint(here, 0)
                QTest.mouseMove(slider, place)
                self.pointer = slider.mapTo(self.viewer.window._qt_window, place)
                wait_until(lambda: False, 0.1)
                self.film(0.08)
            if pause:
                self.settle()
                self.film(pause)
        QTest.mouseRelease(slider, Qt.MouseButton.LeftButton, pos=start + QPoint(here, 0))
        self.settle()
        self.film(2.5)

    def save(self, target: Path) -> None:
        """Write the film."""
        with atomic_path(target) as temporary:
            self.frames[0].save(
                temporary,
                format="WEBP",
                save_all=True,
                append_images=self.frames[1:],
                duration=[round(1000 * seconds) for seconds in self.seconds],
                loop=0,
                quality=55,
                method=6,
            )
            size = temporary.stat().st_size
            if size > LARGEST:
                raise SystemExit(f"error: {size} bytes are too many for the top of a page")
        print(f"{target}: {len(self.frames)} frames, {sum(self.seconds):.0f} s, {size / 1e6:.2f} MB")


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ["NAPARI_CEAD_HOME"] = home  # neither models nor choices of the user's
        film = Recorder()
        film.open_dock()
        film.drop_it(resources.sample_patient())
        film.run_it()
        film.drag_it()
        film.save(target)
        film.viewer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
