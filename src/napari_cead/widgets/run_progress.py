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


_Shown = tuple[int, int, str]  # value, maximum, text


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
        self._counted: _Shown | None = None
        self._shown: _Shown | None = None
        self._shown_at = 0.0
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
        self._counted = None
        self._tick()
        self._ticks.start()

    def count(self, done: int, total: int) -> None:
        """Show the number of finished steps, at most once a tick and at the end: the window is composed anew for it.

        Args:
            done: Steps done.
            total: All steps.
        """
        now = time.monotonic()
        passed, left = now - self._began, ""
        if 0 < done < total and passed >= SURE_AFTER_S:
            left = f" · {duration(max(1, passed / done * (total - done)))} left"
        self._counted = done, max(total, 1), f"{self._unit} {done} of {total}{left}"
        if done == total or now - self._shown_at >= TICK_MS / 1000:
            self._tick()

    def rest(self, done: bool) -> None:
        """Show nothing: no work is running.

        Args:
            done: Whether there is a result.
        """
        self._ticks.stop()
        self._show(int(done), 1, "")

    def _tick(self) -> None:
        if self._counted is not None:
            self._show(*self._counted)
            return
        passed = int(time.monotonic() - self._began)
        self._show(0, 1, f"{self._stage}…" + (f" {duration(passed)}" if passed else ""))

    def _show(self, value: int, maximum: int, text: str) -> None:
        self._shown_at = time.monotonic()
        if (value, maximum, text) == self._shown:
            return
        self._shown = value, maximum, text
        self.bar.setUpdatesEnabled(False)  # or Qt draws a new value at once, and then its text
        self.bar.setRange(0, maximum)
        self.bar.setValue(value)
        self.bar.setFormat(text)
        self.bar.setAccessibleDescription(text)
        self.bar.setUpdatesEnabled(True)
