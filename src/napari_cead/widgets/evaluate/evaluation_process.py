"""An evaluation in a process of its own: started, followed and ended by the dock that shows it."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import psutil
from qtpy.QtCore import QCoreApplication, QObject, QProcess, QProcessEnvironment, QTimer, Signal

GRACE_MS = 10_000
"""How long a process that was asked to end may take to finish what it is writing."""

WRONG_USE = 2
"""Exit status of ``napari-cead`` when the input is at fault; one line on stderr says what."""

INTERRUPTED = 130
"""Exit status after Ctrl-C."""

WORDS_KEPT = 30
"""Last lines that are remembered for the case that the process fails."""

State = Literal["finished", "refused", "stopped", "crashed"]


@dataclass(frozen=True)
class Outcome:
    """How a process ended.

    Attributes:
        state: ``"finished"``; ``"refused"``: it said what is wrong; ``"stopped"`` by the user; ``"crashed"``.
        words: What it said about it; empty if there is nothing to say.
    """

    state: State
    words: str = ""


def program() -> list[str]:
    """Return the words that run ``napari-cead`` with the interpreter that runs napari."""
    return [sys.executable, "-m", "napari_cead"]


class EvaluationProcess(QObject):
    """One process at a time that runs ``napari-cead evaluate``.

    It belongs to the application, not to the dock: when the dock goes, the process is given time to end by itself.

    Signals:
        progressed: (done, total).
        said: A warning, or another line that is no progress.
        ended: The ``Outcome``.
    """

    progressed = Signal(int, int)
    said = Signal(str)
    ended = Signal(object)

    def __init__(self) -> None:
        application = QCoreApplication.instance()
        super().__init__(application)
        self._process: QProcess | None = None
        self._stopping = self._alone = False
        self._rest = b""
        self._error = ""
        self._last: deque[str] = deque(maxlen=WORDS_KEPT)
        self._grace = QTimer(self, singleShot=True, interval=GRACE_MS)
        self._grace.timeout.connect(self._kill)
        application.aboutToQuit.connect(self._quit)

    @property
    def running(self) -> bool:
        """Whether a process is at work."""
        return self._process is not None

    @property
    def stopping(self) -> bool:
        """Whether the process at work was asked to end."""
        return self.running and self._stopping

    @property
    def pid(self) -> int:
        """Number of the process at work, 0 without one."""
        return 0 if self._process is None else int(self._process.processId())

    def start(self, arguments: Sequence[str]) -> bool:
        """Start ``napari-cead`` with these arguments.

        Returns:
            False, and nothing is started, if a process is at work.
        """
        if self.running:
            return False
        self._stopping, self._rest, self._error = False, b"", ""
        self._last.clear()
        words = program()
        environment = QProcessEnvironment()
        for name, value in {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}.items():
            environment.insert(name, value)
        self._process = process = QProcess(self)
        process.setProcessEnvironment(environment)
        process.setProcessChannelMode(QProcess.ProcessChannelMode.SeparateChannels)
        process.setStandardInputFile(QProcess.nullDevice())
        process.setStandardOutputFile(QProcess.nullDevice())  # its table is read from the results
        process.readyReadStandardError.connect(self._read)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._failed)
        process.start(words[0], [*words[1:], *arguments])
        return True

    def stop(self) -> None:
        """Ask the process to end; after ``GRACE_MS`` it is made to."""
        if self._process is None or self._stopping:
            return
        self._stopping = True
        self._grace.start()
        if sys.platform == "win32":
            self._kill()  # a process without a console or a window cannot be asked
            return
        with suppress(psutil.Error):
            psutil.Process(self.pid).send_signal(signal.SIGINT)  # as Ctrl-C: Python tidies up

    def let_go(self) -> None:
        """The dock is gone: end the process, tell nobody, and go when it has ended."""
        if self._alone:
            return
        self._alone = True
        self.stop()
        if not self.running:
            self.deleteLater()

    def _kill(self) -> None:
        if self._process is None:
            return
        workers: list[psutil.Process] = []
        with suppress(psutil.Error):
            workers = psutil.Process(self.pid).children(recursive=True)
        self._process.kill()
        for worker in workers:
            with suppress(psutil.Error):
                worker.kill()

    def _quit(self) -> None:
        """The application ends: no events from now on."""
        process = self._process
        if process is None:
            return
        self._alone = True
        self.stop()
        if not process.waitForFinished(GRACE_MS):
            self._kill()
            process.waitForFinished(GRACE_MS)

    def _read(self) -> None:
        if self._process is None:
            return
        *lines, self._rest = (self._rest + bytes(self._process.readAllStandardError().data())).split(b"\n")
        for line in lines:
            self._take(line.decode("utf-8", "replace").rstrip())

    def _take(self, line: str) -> None:
        if not line:
            return
        progress = _progress(line)
        if progress is not None:
            if not self._alone:
                self.progressed.emit(*progress)
            return
        self._last.append(line)
        if line.startswith("error: "):
            self._error = line.removeprefix("error: ")
        elif not (self._stopping or self._alone):
            self.said.emit(line)

    def _finished(self, status: int, how: QProcess.ExitStatus) -> None:
        self._read()
        self._take(self._rest.decode("utf-8", "replace").rstrip())
        crashed = how == QProcess.ExitStatus.CrashExit
        if not crashed and status == 0:
            outcome = Outcome("finished")
        elif self._stopping or (status == INTERRUPTED and not crashed):
            outcome = Outcome("stopped")
        elif status == WRONG_USE and self._error and not crashed:
            outcome = Outcome("refused", self._error)
        elif crashed:
            outcome = Outcome("crashed", "The process was killed, perhaps because memory ran out.")
        else:
            last = self._error or (self._last[-1] if self._last else "")
            outcome = Outcome("crashed", f"The process ended with status {status}. {last}".strip())
        self._end(outcome)

    def _failed(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            why = self._process.errorString()
            self._end(Outcome("crashed", f"The process cannot be started: {why}"))

    def _end(self, outcome: Outcome) -> None:
        process, self._process = self._process, None
        self._grace.stop()
        if process is not None:
            process.deleteLater()
        if self._alone:
            self.deleteLater()
        else:
            self.ended.emit(outcome)


def _progress(line: str) -> tuple[int, int] | None:
    """Return (done, total) if a line tells it."""
    if not line.startswith("{"):
        return None
    try:
        values = json.loads(line)
        return int(values["done"]), int(values["total"])
    except (ValueError, KeyError, TypeError):
        return None
