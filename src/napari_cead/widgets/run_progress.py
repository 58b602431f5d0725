"""The progress bar of a run: stage, progress and time left."""

from __future__ import annotations

import time

from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QProgressBar

from ..wording import duration

TICK_MS = 500
"""Interval of the seconds shown for a stage without steps."""

SURE_AFTER_S = 1.0
"""Shortest time from which the time left is estimated."""


class RunProgress(QObject):
    """Shows the progress of the current work in a progress bar.

    Args:
        bar: The bar.
    """

    def __init__(self, bar: QProgressBar) -> None:
        super().__init__(bar)
        self.bar = bar
        bar.setTextVisible(True)
        self._stage, self._unit, self._began = "", "", 0.0
        self._ticks = QTimer(self, interval=TICK_MS)
        self._ticks.timeout.connect(self._tick)
        self.rest(done=False)

    def begin(self, stage: str, unit: str = "Step") -> None:
        """Show a new stage of unknown duration.

        Args:
            stage: A few words.
            unit: Name of its steps, if it has any.
        """
        self._stage, self._unit, self._began = stage, unit, time.monotonic()
        self.bar.setRange(0, 1)
        self.bar.setValue(0)
        self._tick()
        self._ticks.start()

    def count(self, done: int, total: int) -> None:
        """Show the number of finished steps.

        Args:
            done: Steps done.
            total: All steps.
        """
        self._ticks.stop()
        passed, left = time.monotonic() - self._began, ""
        if 0 < done < total and passed >= SURE_AFTER_S:
            left = f" · {duration(max(1, passed / done * (total - done)))} left"
        self.bar.setRange(0, max(total, 1))
        self.bar.setValue(done)
        self._say(f"{self._unit} {done} of {total}{left}")

    def rest(self, done: bool) -> None:
        """Show nothing: no work is running.

        Args:
            done: Whether there is a result.
        """
        self._ticks.stop()
        self.bar.setRange(0, 1)
        self.bar.setValue(int(done))
        self._say("")

    def _tick(self) -> None:
        passed = int(time.monotonic() - self._began)
        self._say(f"{self._stage}…" + (f" {duration(passed)}" if passed else ""))

    def _say(self, text: str) -> None:
        self.bar.setFormat(text)
        self.bar.setAccessibleDescription(text)
