"""The progress bar of a run: what is being done, how far it is, and how long it will take."""

from __future__ import annotations

import time

from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QProgressBar

TICK_MS = 500
"""How often the seconds of a stage without steps go on."""

SURE_AFTER_S = 1.0
"""The time left is not guessed from less than this."""


class RunProgress(QObject):
    """Says in a progress bar how far the work under way is.

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

    def begin(self, stage: str = "Working", unit: str = "Step") -> None:
        """Say what begins; how long it takes is not known.

        Args:
            stage: A few words.
            unit: What its steps are, if it comes to steps.
        """
        self._stage, self._unit, self._began = stage, unit, time.monotonic()
        self.bar.setRange(0, 1)
        self.bar.setValue(0)
        self._tick()
        self._ticks.start()

    def count(self, done: int, total: int) -> None:
        """Say how many steps are done.

        Args:
            done: Steps done.
            total: Steps in all.
        """
        self._ticks.stop()
        passed, left = time.monotonic() - self._began, ""
        if 0 < done < total and passed >= SURE_AFTER_S:
            left = f" · {_duration(passed / done * (total - done))} left"
        self.bar.setRange(0, max(total, 1))
        self.bar.setValue(done)
        self._say(f"{self._unit} {done} of {total}{left}")

    def rest(self, done: bool) -> None:
        """Say nothing: no work is under way.

        Args:
            done: Whether there is a result.
        """
        self._ticks.stop()
        self.bar.setRange(0, 1)
        self.bar.setValue(int(done))
        self._say("")

    def _tick(self) -> None:
        passed = int(time.monotonic() - self._began)
        self._say(f"{self._stage}…" + (f" {_duration(passed)}" if passed else ""))

    def _say(self, text: str) -> None:
        self.bar.setFormat(text)
        self.bar.setAccessibleDescription(text)


def _duration(seconds: float) -> str:
    whole = max(1, round(seconds))
    return f"{whole} s" if whole < 90 else f"{round(whole / 60)} min"
