"""How the detected mask follows the sliders: the visible slice at once, the whole volume in a thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from qtpy.QtCore import QObject, QTimer

from ..detection import PostprocessParams
from ..errors import Cancelled
from ..exploring import Analysis, Session
from ..metrics import dice
from .controls import FINEST, SettingRow
from .jobs import Job
from .layer_view import LayerView

SLICE_EVERY_MS = 40
"""The visible slice follows a moving slider at most this often: about what a canvas can redraw."""

LONGEST_REST_MS = 300
"""The longest pause between two redraws while a slider moves on a slow display."""

VOLUME_AFTER_MS = 100
"""The whole volume follows this long after a slider began to move, in a thread."""


class LiveMask(QObject):
    """Keeps sliders, session and the detected mask's layer together while settings move.

    Attributes:
        wanted: The settings as the sliders have them; the session follows.
        moved: Whether the user has moved a slider since the model suggested settings.

    Args:
        session: What is explored.
        layers: The layers it is shown in.
        rows: The sliders by the name of their setting.
        show_figures: Shows the figures: of a slice that is ahead of the volume (Dice, False), or of the session
            (None, True).
        parent: Owner.
    """

    def __init__(
        self,
        session: Session,
        layers: LayerView,
        rows: Mapping[str, SettingRow],
        show_figures: Callable[[float | None, bool], None],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self.session, self.layers, self.rows = session, layers, rows
        self._show_figures = show_figures
        self.wanted = self._submitted = PostprocessParams()
        self.moved = False
        self._settling = Job(self)
        self._settling.ended.connect(self._settled)
        self._slice_timer = QTimer(self, singleShot=True)
        self._slice_timer.timeout.connect(self._slice_due)
        self._slice_pending = self._resting = False
        self._shown_at = 0.0
        self._volume_timer = QTimer(self, singleShot=True, interval=VOLUME_AFTER_MS)
        self._volume_timer.timeout.connect(self._settle)
        for setting in rows.values():
            setting.slider.changed.connect(self._slider_moved)

    @property
    def busy(self) -> bool:
        """Whether the mask has not followed the sliders yet, or may be redrawn any moment."""
        analysis = self.session.analysis
        return (
            self._settling.running
            or self._volume_timer.isActive()
            or self._slice_timer.isActive()
            or (analysis is not None and analysis.params != self.wanted)
        )

    def stop(self) -> None:
        """Ask the thread to stop."""
        self._settling.stop()

    def params_changed(self, params: PostprocessParams) -> None:
        """Let the sliders show settings that were changed elsewhere."""
        # What this dock asked for itself comes back late: the hand on the slider may be further on.
        if params == self._submitted or params != self.session.params:
            return
        self.wanted = self._submitted = params
        for name, setting in self.rows.items():
            if setting.slider.value != getattr(params, name):
                setting.set_quietly(getattr(params, name))

    def mask_changed(self, analysis: Analysis) -> None:
        """Show a mask that has followed."""
        self.layers.flush_painting()
        if analysis is not self.session.analysis:
            return
        self.layers.write_volume(analysis)
        if self.wanted != analysis.params:
            self._show_slice()
        else:
            self._show_figures(None, True)

    def _slider_moved(self) -> None:
        values = self.wanted.model_dump()
        for name, setting in self.rows.items():
            # A suggested threshold may be finer than the slider: only what was moved changes.
            if abs(setting.slider.value - values[name]) > FINEST / 2:
                values[name] = setting.slider.value
        self.wanted = self.wanted.replace(**values)
        self.moved = True
        if self.session.analysis is None:
            self.session.set(**values)
            return
        if self._slice_timer.isActive():
            self._slice_pending = True
        else:
            self._show_slice()
            self._slice_timer.start(SLICE_EVERY_MS)
        if not self._volume_timer.isActive():
            self._volume_timer.start()

    def _slice_due(self) -> None:
        if not self._slice_pending:
            return
        # A timer that comes late tells that drawing takes all the time: rest, so that the slider is heard.
        late_ms = round(1000 * (time.monotonic() - self._shown_at)) - SLICE_EVERY_MS
        if late_ms > SLICE_EVERY_MS // 2 and not self._resting:
            self._resting = True
            self._slice_timer.start(min(2 * late_ms, LONGEST_REST_MS))
            return
        self._slice_pending = False
        self._show_slice()
        self._slice_timer.start(SLICE_EVERY_MS)

    def _show_slice(self) -> None:
        """Show the visible slice as the sliders now want it; the volume follows in a thread."""
        self._shown_at, self._resting = time.monotonic(), False
        self.layers.flush_painting()
        analysis, z = self.session.analysis, self.layers.current_slice()
        if analysis is None:
            return
        if analysis.params == self.wanted:  # the volume was faster, or the slider came back to where it was
            self.layers.write_volume(analysis)
            self._show_figures(None, True)
            return
        if z is None:  # 3-D or another cut: nothing but the whole volume will do
            self._show_figures(None, False)
            return
        mask = self.session.slice_mask(z, self.wanted)
        if mask is None:
            return
        self.layers.write_slice(analysis, z, mask)
        reference = analysis.reconstruction.patient.lesion_mask
        self._show_figures(None if reference is None else dice(mask, reference[z]), False)

    def _settle(self) -> None:
        analysis, wanted = self.session.analysis, self.wanted
        if analysis is None or self._settling.running or analysis.params == wanted:
            return
        self._submitted = wanted
        self._settling.start(lambda: self.session.set(**wanted.model_dump()))

    def _settled(self) -> None:
        analysis = self.session.analysis
        if analysis is not None and analysis.params != self.wanted:
            self._settle()

    def look(self) -> None:
        """Show the slice that came into view."""
        analysis = self.session.analysis
        if analysis is None:
            return
        if analysis.params != self.wanted:
            self._show_slice()
        else:
            self._show_figures(None, True)

    def painted(self) -> None:
        """Take what the user painted into the detected mask."""
        painted, analysis = self.layers.painted(), self.session.analysis
        if painted is None or analysis is None:
            return
        if analysis.params != self.wanted:
            # The volume has not followed the sliders yet: only the painted slice is what the user saw.
            stroke, z = painted.copy(), self.layers.current_slice()
            self.session.set(**self.wanted.model_dump())
            if z is None or self.session.mask is None:
                return
            painted = self.session.mask.astype(stroke.dtype)
            painted[z] = stroke[z]
        self.session.correct(painted)

    def reset(self) -> None:
        """Go back to what the model suggests."""
        wanted = PostprocessParams() if self.session.analysis is None else self.session.analysis.suggestion
        for name, setting in self.rows.items():
            setting.set_quietly(getattr(wanted, name))
        self.wanted = wanted
        self._slider_moved()
        self.moved = False

    def settle_now(self) -> None:
        """Let the volume follow before anything else happens."""
        self.layers.flush_painting()
        analysis = self.session.analysis
        if analysis is not None and analysis.params != self.wanted:
            try:
                self.session.set(**self.wanted.model_dump())
            except Cancelled:
                return
