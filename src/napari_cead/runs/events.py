"""Events of a running training: dictionaries, for a progress bar, a file, or a window in another process.

``RUN/events.jsonl`` holds one JSON object per line, in the order of the events. Each has ``time`` (seconds
since 1970) and ``event``, and by its kind:

=============  ========================================================================================================
``preparing``  Slices are being prepared: ``done`` and ``total`` patients. About twice a second at most.
``start``      Training begins: ``model``, ``size``, ``family``, ``settings`` (as in ``run.json``), ``data``,
               ``slices``, ``validation_slices``, ``patients``, ``validation_patients``, ``steps_per_epoch``,
                ``epochs``, ``epoch`` (whole epochs done before), ``resumed``, ``device``, ``precision``, ``processes``,
               ``pid``, ``host``; of a resumed run ``train_loss``, ``validation_loss``, ``best_epoch``, ``best_loss``.
``step``       About once a second: ``epoch`` (the current one, from 1), ``step`` of ``steps``; ``train_loss`` and its
               parts ``train_reconstruction``, ``train_latent``, ``train_context``, each the mean of the epoch so far;
               ``learning_rate``, ``slices_per_second``, ``seconds_left``.
``epoch``      An epoch is done: ``epoch`` of ``epochs``, ``step``, ``learning_rate``, ``train_loss`` and its parts,
               ``validation_loss``, ``validation_reconstruction``, ``validation_latent``, ``seconds`` (since the first
               epoch), ``slices_per_second``, ``best_epoch``, ``best_loss``; of a VAE ``validation_kl`` (nats per slice)
               and ``kl_per_dimension``; of a VQ-VAE ``used_codes``; ``preview``: path of a picture inside the run, or
               null.
``checkpoint`` A checkpoint is complete: ``epoch``, ``step``.
``note``       ``message``: something was changed on the way.
``paused``     The process ends and can be resumed later: ``epoch``, ``step``, ``by`` (``request`` or ``interrupt``).
``discarded``  The process ends and its run will be removed.
``finish``     Training is over: ``epochs``, ``best_epoch``, ``early`` (patience), ``asked`` (on a request to stop and
               keep). Calibration follows.
``calibrating``  ``done`` and ``total`` steps.
``installed``  ``name`` of the model in the list of models, ``folder``.
``done``       The process ends with a finished model: ``folder``.
``error``      The process ends: ``message``, one sentence.
=============  ========================================================================================================

A killed run continues from its last checkpoint: later epochs are reported again, and the later line counts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ..atomic import strict
from ..errors import OutputError, disk_errors

Event = dict[str, Any]
"""See the table above."""

Listener = Callable[[Event], None]


class EventFile:
    """Appends events to a file, one line of JSON each, for other processes to follow.

    Args:
        path: The file; created if needed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._whole = False

    def __call__(self, event: Event) -> None:
        """Write an event with the time (seconds since 1970).

        Raises:
            OutputError: If the file cannot be written.
        """
        line = json.dumps(strict({"time": round(time.time(), 3), **event}), allow_nan=False)
        with self._opened() as stream:
            if not self._whole and _ends_within_a_line(stream):
                line = "\n" + line  # a process was killed while writing
            self._whole = True
            stream.write(line.encode() + b"\n")

    def check(self) -> None:
        """Check whether events can be written, before there are any.

        Raises:
            OutputError: If the file cannot be written.
        """
        with self._opened():
            pass

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        hint = "choose another --events"
        told = disk_errors(OutputError, "the events cannot be written", self.path, hint)
        with told, self.path.open("ab+") as stream:
            yield stream


def _ends_within_a_line(stream: Any) -> bool:
    end = stream.seek(0, 2)
    if not end:
        return False
    stream.seek(end - 1)
    return bool(stream.read(1) != b"\n")


def parse(line: bytes) -> Event | None:
    """Return the event in a line, None if there is none."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):  # half a line of a killed process
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


class EventTail:
    """Follows a file of events while another process writes it.

    The file may not exist yet, may end within a line, and may be cut or replaced: then it is read from its beginning.
    Polling an unchanged file costs one ``stat``, however large it is.

    Args:
        path: The file.
        last: Limit on the number of existing events returned by the first poll; None: all.
    """

    BLOCK = 1 << 20

    def __init__(self, path: str | Path, *, last: int | None = None) -> None:
        self.path = Path(path)
        self._last = last
        self._offset, self._seen = 0, -1
        self._head = b""
        self._identity: tuple[int, int] | None = None

    def poll(self) -> list[Event]:
        """Return the events since the last call; never raises for a missing or odd file."""
        try:
            stat = self.path.stat()
            identity = (stat.st_dev, stat.st_ino)
            if identity == self._identity and stat.st_size == self._seen:
                return []
            with self.path.open("rb") as stream:
                head = stream.read(len(self._head) or 64)
                if identity != self._identity or stat.st_size < self._offset or head != self._head:
                    self._offset = 0
                    self._head = head  # unchanged by later writing
                self._identity = identity
                found = self._read(stream)
        except OSError:
            return []
        if self._last is not None:
            found = found[max(0, len(found) - self._last) :]
            self._last = None
        return found

    def _read(self, stream: Any) -> list[Event]:
        found: list[Event] = []
        stream.seek(self._offset)
        rest = b""
        while block := stream.read(self.BLOCK):
            *lines, rest = (rest + block).split(b"\n")
            found += [event for line in lines if (event := parse(line)) is not None]
        end = stream.tell()
        self._offset, self._seen = end - len(rest), end
        return found
