"""Relays the events of a session, which come in any thread, to the main thread."""

from __future__ import annotations

from collections.abc import Callable

from psygnal import SignalInstance

from .jobs import on_main


class Relay:
    """Calls methods of Qt objects on the main thread when a session tells something, until it is stopped.

    psygnal's own ``connect(..., thread="main")`` needs a timer that looks for news all the time: as often as it looks
    the window wakes up, and a slider's mask waits for it. Qt's own queue wakes the window when there is something.

    Args:
        *connections: Events of the session, and the method to call.
    """

    def __init__(self, *connections: tuple[SignalInstance, Callable[..., None]]) -> None:
        self._stopped = False
        self._connected = tuple(
            (event, on_main(method, unless=lambda: self._stopped)) for event, method in connections
        )
        for event, callback in self._connected:
            event.connect(callback)

    def stop(self) -> None:
        """Stop relaying, pending events included: the session may live on with another dock."""
        self._stopped = True
        for event, callback in self._connected:
            event.disconnect(callback, missing_ok=True)
