"""Updating the detected mask from the sliders: the visible slice at once, the whole volume in a thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer

from ..detection import PostprocessParams
from ..errors import Cancelled
from ..exploring import Analysis, Session
from .controls import FINEST, SettingRow, SwitchRow
from .frames import Frames
from .jobs import Job
from .layer_view import LayerView

VOLUME_AFTER_MS = 60
"""Pause of the sliders after which the whole volume follows in a thread; releasing one starts it at once."""

GESTURE_ENDS_S = 0.8
"""Moves of a slider in faster succession are undone in one step; so is a whole drag."""

TRIES = 5
"""Number of tries: a thread with an older setting may come in between once or twice."""


class LiveMask(QObject):
    """Keeps sliders, session and the layer of the detected mask in step while settings change.

    Attributes:
        wanted: The settings of the sliders; the session follows.
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
        self.wanted = self._submitted = PostprocessParams()
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
        for setting in rows.values():
            setting.slider.changed.connect(self._slider_moved)
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
            or self._behind(self.session.analysis)
        )

    def _behind(self, analysis: Analysis | None) -> bool:
        # A dropped mask leaves its settings in the session.
        return analysis is not None and not analysis.params == self.wanted == self.session.params

    def stop(self) -> None:
        """Ask the thread to stop."""
        self._settling.stop()

    def leave(self) -> None:
        """Bring the session to the state of the sliders, then stop: the dock was closed."""
        if self._left:
            return
        self.settle_now()
        self._left = True
        self.stop()
        self._volume_timer.stop()
        self._slice_pending = False
        if self._paced is not None:
            self._paced.due.disconnect(self._slice_due)

    def params_changed(self, params: PostprocessParams) -> None:
        """Show settings on the sliders that were changed elsewhere."""
        # This dock's own request returns late: the slider may have moved on.
        if params == self._submitted or params != self.session.params:
            return
        self.take(params)

    def take(self, params: PostprocessParams) -> None:
        """Show the settings of a new current analysis on the sliders."""
        self.wanted = self._submitted = params
        for name, setting in self.rows.items():
            if setting.slider.value != getattr(params, name):
                setting.set_quietly(getattr(params, name))

    def mask_changed(self, analysis: Analysis) -> None:
        """Show an updated mask."""
        self.layers.flush_painting()
        if analysis is not self.session.analysis:
            return
        if self.wanted == analysis.params:
            self._slice_pending = False
            self.layers.write_volume(analysis)
            self._show_figures(None, True)
        else:  # the slider has moved on: the screen is newer, and the next volume is on its way
            self._show_soon()

    def _slider_moved(self) -> None:
        if self._left:
            return
        values = self.wanted.model_dump()
        for name, setting in self.rows.items():
            # A suggested threshold may be finer than the slider: only moved settings change.
            if abs(setting.slider.value - values[name]) > FINEST / 2:
                values[name] = setting.slider.value
        self.wanted = self.wanted.replace(**values)
        self.moved = True
        now = time.monotonic()
        if now - self._moved_at > GESTURE_ENDS_S and not any(setting.held for setting in self.rows.values()):
            self._gesture = object()
        self._moved_at = now
        if self.session.analysis is None:
            self.session.set(**values)
            return
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
        """Show the visible slice with the current sliders; the volume follows in a thread."""
        self._slice_pending = False
        self.layers.flush_painting()
        analysis, z = self.session.analysis, self.layers.current_slice()
        if analysis is None:
            return
        if analysis.params == self.wanted:  # the volume was faster, or the slider came back to where it was
            self.layers.write_volume(analysis)
            self._show_figures(None, True)
            return
        if z is None:  # 3-D or another cut needs the whole volume
            self._show_figures(None, False)
            return
        mask = self.session.slice_mask(z, self.wanted)
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
        analysis, wanted = self.session.analysis, self.wanted
        if self._settling.running or not self._behind(analysis):
            return
        if self.waits():
            self._volume_timer.start()
            return
        if self.layers.viewer.dims.ndisplay == 3 and any(setting.held for setting in self.rows.values()):
            self._volume_timer.start()  # the texture of a whole volume is too large to send during a movement
            return
        self._submitted = wanted
        stopping = self._settling.stopping

        def outdated() -> bool:
            return self.wanted is not wanted or stopping()

        gesture = self._gesture

        def work() -> None:
            if not outdated():  # or `settle_now` was faster, and somebody else may have gone on from there
                self.session.set(should_stop=outdated, gesture=gesture, **wanted.model_dump())

        self._settling.start(work)

    def _settled(self) -> None:
        if not self._volume_timer.isActive():
            self._settle()

    def look(self) -> None:
        """Show the newly visible slice."""
        analysis = self.session.analysis
        if analysis is None:
            return
        if analysis.params != self.wanted:
            self._show_slice()
        else:
            self._show_figures(None, True)

    def painted(self) -> None:
        """Take the user's strokes in the detected mask."""
        painted, analysis = self.layers.painted(), self.session.analysis
        if painted is None or analysis is None:
            return
        if analysis.params != self.wanted:
            # The volume has not followed the sliders yet: only the painted slice is what the user saw.
            stroke, z = painted.copy(), self.layers.current_slice()
            if not self._follow() or z is None or self.session.mask is None:
                return
            painted = self.session.mask.astype(stroke.dtype)
            painted[z] = stroke[z]
        self.session.correct(painted)

    def go_to(self, wanted: PostprocessParams) -> None:
        """Apply these settings, which the user did not choose, as if the sliders had been moved there."""
        for name, setting in self.rows.items():
            setting.set_quietly(getattr(wanted, name))
        self.wanted = wanted
        self._slider_moved()
        self._gesture = object()
        self.moved = False

    def settle_now(self) -> None:
        """Update the volume before anything else happens."""
        self.layers.flush_painting()
        if self._behind(self.session.analysis):
            self._follow()

    def _follow(self) -> bool:
        """Update the volume from the sliders before this returns; return false if that fails."""
        self._settling.stop()
        self._submitted = self.wanted
        for _ in range(TRIES):
            with suppress(Cancelled):  # the thread came in between with what it was asked for before
                self.session.set(gesture=self._gesture, **self.wanted.model_dump())
                return True
        return False
