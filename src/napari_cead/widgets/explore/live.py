"""Updating the detected mask from the sliders: the visible slice at once, the whole volume in a thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer

from ...detection import PostprocessParams
from ...errors import Cancelled
from ...exploring import Analysis, Session
from ..canvas.frames import Frames
from ..canvas.layer_view import LayerView
from ..common.controls import SettingRow, SwitchRow
from ..common.jobs import Job

VOLUME_AFTER_MS = 60
"""Pause of the sliders after which the whole volume follows in a thread; releasing one starts it at once."""

GESTURE_ENDS_S = 0.8
"""Moves of a slider in faster succession are undone in one step; so is a whole drag."""

TRIES = 5
"""Number of tries: a thread that changes the session may come in between once or twice."""


class LiveMask(QObject):
    """Sets the session's parameters from the sliders, and lets the mask in the viewer follow.

    The parameters have one owner, the session: a moved slider changes them at once, and the sliders show them
    whoever changed them.

    Attributes:
        waits: Tells whether something else changes the session: then the volume does not follow yet, for what comes
            of that is not known here before it is done.
        moved: Whether the user has moved a slider since the settings were the model's and the defaults.

    Args:
        session: The session.
        layers: Its layers.
        rows: The sliders by the name of their setting.
        show_figures: Shows the figures of a slice that is ahead of the volume (its mask, False), or of the session
            (None, True).
        parent: Owner.
    """

    def __init__(
        self,
        session: Session,
        layers: LayerView,
        rows: Mapping[str, SettingRow | SwitchRow],
        show_figures: Callable[[NDArray[np.bool_] | None, bool], None],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self.session, self.layers, self.rows = session, layers, rows
        self._show_figures = show_figures
        self.moved = False
        self.waits: Callable[[], bool] = lambda: False
        self._gesture = object()
        self._moved_at = 0.0
        self._settling = Job(self)
        self._settling.ended.connect(self._settled)
        self._slice_pending = False
        self._paced: Frames | None = None
        self._left = False
        self._volume_timer = QTimer(self, singleShot=True, interval=VOLUME_AFTER_MS)
        self._volume_timer.timeout.connect(self._settle)
        for name, setting in rows.items():
            setting.slider.changed.connect(partial(self._slider_moved, name))
            if isinstance(setting, SettingRow):
                setting.handle.sliderPressed.connect(self._pressed)
                setting.handle.sliderReleased.connect(self._released)

    @property
    def busy(self) -> bool:
        """Whether the mask does not match the sliders yet, or may be redrawn at any moment."""
        return not self._left and (
            self._settling.running
            or self._volume_timer.isActive()
            or self._slice_pending
            or not self.session.settled
        )

    def stop(self) -> None:
        """Ask the thread to stop."""
        self._settling.stop()

    def leave(self) -> None:
        """Let the mask follow the sliders, then stop: the dock was closed."""
        if self._left:
            return
        self.settle_now()
        self._left = True
        self.stop()
        self._volume_timer.stop()
        self._slice_pending = False
        if self._paced is not None:
            self._paced.due.disconnect(self._slice_due)

    def show(self) -> None:
        """Show the session's parameters on the sliders."""
        params = self.session.params
        for name, setting in self.rows.items():
            if setting.slider.value != getattr(params, name):
                setting.set_quietly(getattr(params, name))

    def mask_changed(self, analysis: Analysis) -> None:
        """Show an updated mask."""
        self.layers.flush_painting()
        if analysis is not self.session.analysis:
            return
        if self.session.settled:
            self._slice_pending = False
            self.layers.write_volume(analysis)
            self._show_figures(None, True)
        else:  # the slider has moved on: the screen is newer, and the next volume is on its way
            self._show_soon()

    def _slider_moved(self, name: str, value: float) -> None:
        if self._left:
            return
        self.moved = True
        now = time.monotonic()
        if now - self._moved_at > GESTURE_ENDS_S and not any(setting.held for setting in self.rows.values()):
            self._gesture = object()
        self._moved_at = now
        self.session.change(gesture=self._gesture, **{name: value})
        if self.session.analysis is not None:
            self._show_soon()

    def _show_soon(self) -> None:
        """Show the visible slice with the next frame of the window, and the volume when the sliders rest."""
        frames = self._frames()
        frames.pace()
        self._slice_pending = True
        if frames.ask():
            self._slice_due()
        self._volume_timer.start()

    def _slice_due(self) -> None:
        if self._slice_pending:
            self._show_slice()

    def _frames(self) -> Frames:
        # The dock may be part of the main window now and float in its own later.
        frames = Frames.of(next(iter(self.rows.values())).slider.native.window())
        if frames is not self._paced:
            frames.due.connect(self._slice_due)
            self._paced = frames
        return frames

    def _show_slice(self) -> None:
        """Show the visible slice with the current parameters; the volume follows in a thread."""
        self._slice_pending = False
        self.layers.flush_painting()
        analysis, z = self.session.analysis, self.layers.current_slice()
        if analysis is None:
            return
        if self.session.settled:  # the volume was faster, or the slider came back to where it was
            self.layers.write_volume(analysis)
            self._show_figures(None, True)
            return
        if z is None:  # 3-D or another cut needs the whole volume
            self._show_figures(None, False)
            return
        mask = self.session.slice_mask(z)
        if mask is None:
            return
        self.layers.write_slice(analysis, z, mask)
        self._show_figures(mask, False)

    def _pressed(self) -> None:
        self._gesture = object()

    def _released(self) -> None:
        if self._volume_timer.isActive():
            self._volume_timer.stop()
            self._settle()

    def _settle(self) -> None:
        if self._settling.running or self.session.settled:
            return
        if self.waits():
            self._volume_timer.start()
            return
        if self.layers.viewer.dims.ndisplay == 3 and any(setting.held for setting in self.rows.values()):
            self._volume_timer.start()  # the texture of a whole volume is too large to send during a movement
            return
        session, version, stopping = self.session, self.session.version, self._settling.stopping

        def outdated() -> bool:
            return session.version != version or stopping()

        def work() -> None:
            if not outdated():  # or `settle_now` was faster, and somebody else may have gone on from there
                session.follow(outdated)

        self._settling.start(work)

    def _settled(self) -> None:
        if not self._volume_timer.isActive():
            self._settle()

    def look(self) -> None:
        """Show the newly visible slice."""
        if self.session.analysis is None:
            return
        if self.session.settled:
            self._show_figures(None, True)
        else:
            self._show_slice()

    def painted(self) -> None:
        """Take the user's strokes in the detected mask."""
        painted = self.layers.painted()
        if painted is None or self.session.analysis is None:
            return
        if not self.session.settled:
            # The volume has not followed the sliders yet: only the painted slice is what the user saw.
            stroke, z = painted.copy(), self.layers.current_slice()
            if not self._follow() or z is None or self.session.mask is None:
                return
            painted = self.session.mask.astype(stroke.dtype)
            painted[z] = stroke[z]
        self.session.correct(painted, gesture=self.layers.gesture)

    def go_to(self, wanted: PostprocessParams) -> None:
        """Apply these settings, which the user did not choose, as a step of their own."""
        self.session.change(**wanted.model_dump())
        self._gesture = object()
        self.moved = False
        self._show_soon()

    def settle_now(self) -> None:
        """Update the volume before anything else happens."""
        self.layers.flush_painting()
        if not self.session.settled:
            self._follow()

    def _follow(self) -> bool:
        """Update the volume from the sliders before this returns; return false if that fails."""
        self._settling.stop()
        for _ in range(TRIES):
            with suppress(Cancelled):  # a thread came in between
                self.session.follow()
                return True
        return False
