"""Progress bars: what is being done, how far it is, and the time left."""

from __future__ import annotations

import time

from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QProgressBar

from ...progress import Pace
from ...wording import duration

TICK_MS = 500
"""Interval of the seconds shown for a stage without steps."""


class StepBar(QProgressBar):
    """A progress bar of counted steps that says how long the rest takes, in the same room.

    Args:
        name: What it shows the progress of.
        shown: What it says before the time left, as for ``QProgressBar.setFormat``.
    """

    def __init__(self, name: str, shown: str = "%v of %m") -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.setFormat(shown)
        self._shown, self._pace = shown, Pace()

    def begin(self) -> None:
        """Show that something is done, of unknown duration."""
        self._pace = Pace()
        self.setRange(0, 0)

    def count(self, done: int, total: int, shown: str | None = None) -> None:
        """Show the number of finished steps.

        Args:
            done: Steps done.
            total: All steps.
            shown: What to say before the time left from now on, if it is another stage.
        """
        if shown not in (None, self._shown):
            self._shown, self._pace = str(shown), Pace()
        self._pace.count(done, total)
        self.setRange(0, max(total, 1))
        self.setFormat(self._shown + _left(self._pace))
        self.setValue(done)


def _left(pace: Pace) -> str:
    return "" if pace.left is None else f" · {duration(max(1, pace.left))} left"


_Shown = tuple[int, int, str]  # value, maximum, text


class RunProgress(QObject):
    """Shows the progress of the current work in a progress bar.

    Args:
        bar: The bar.
        at_once: Whether every count is drawn at once: there are few.
    """

    def __init__(self, bar: QProgressBar, *, at_once: bool = False) -> None:
        super().__init__(bar)
        self.bar, self._at_once = bar, at_once
        bar.setTextVisible(True)
        self._stage, self._unit, self._began, self._pace = "", "", 0.0, Pace()
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
        self._pace.begin()
        self._counted = None
        self._tick()
        self._ticks.start()

    def count(self, done: int, total: int) -> None:
        """Show the number of finished steps, at most once a tick and at the end: the window is composed anew for it.

        Args:
            done: Steps done.
            total: All steps.
        """
        self._pace.count(done, total)
        self._counted = done, max(total, 1), f"{self._unit} {done} of {total}{_left(self._pace)}"
        if self._at_once or done == total or time.monotonic() - self._shown_at >= TICK_MS / 1000:
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
