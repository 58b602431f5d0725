"""Changing the settings and the mask of a session's current analysis. No Qt; events through psygnal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..detection import MapOptions, PostprocessParams
from ..detection.corrections import Corrections
from ..errors import Cancelled, NotReadyError
from ..progress import Stop
from .analysis import Analysis
from .analysis_state import AnalysisState, Settings
from .history import History
from .state import Mask, SessionState


class SessionSettings(SessionState):
    """Changes of the current analysis that need no network: settings, map options, undo, painting.

    Every method blocks and returns with the state up to date; events are emitted in the calling thread. One
    thread may change settings while another asks for single slices.
    """

    # -- settings ------------------------------------------------------------------------------------------

    def set(
        self, *, should_stop: Stop | None = None, gesture: object = None, **changes: Any
    ) -> PostprocessParams:
        """Change post-processing parameters; returns when the mask of the whole volume is up to date.

        Args:
            should_stop: Called now and then; a mask that is no longer wanted is dropped.
            gesture: Changes of one gesture, such as a drag of a slider, are undone in one step.
            **changes: Fields of ``PostprocessParams``.

        Raises:
            ParameterError: If a value is out of range; nothing changes then.
            Cancelled: If ``should_stop`` returned true. The parameters are set, but the mask is not up to date.
        """
        params = self.change(gesture=gesture, **changes)
        self.follow(should_stop)
        return params

    def change(self, *, gesture: object = None, **changes: Any) -> PostprocessParams:
        """Change post-processing parameters at once; `follow` brings the mask up to date.

        Args:
            gesture: As for `set`.
            **changes: Fields of ``PostprocessParams``.

        Raises:
            ParameterError: If a value is out of range; nothing changes then.
        """
        with self._lock:
            params = self._params.replace(**changes)
            self._take(params)
            opened = self._now()
            if opened is not None:
                now = replace(opened.history.now, params=params, options=opened.analysis.options)
                opened.history.record(now, gesture)
        self.params_changed.emit(params)
        return params

    def follow(self, should_stop: Stop | None = None) -> None:
        """Bring the mask of the whole volume up to date with the parameters.

        Args:
            should_stop: Called now and then; a mask that is no longer wanted is dropped.

        Raises:
            Cancelled: If ``should_stop`` returned true, or there are newer parameters or another map: the mask of
                these is due, or was made meanwhile.
        """
        with self._lock:
            opened, params, version = self._now(), self._params, self._version
            if opened is None:
                return
            stages = opened.stages
        automatic = stages.volume(params, should_stop=should_stop)
        with self._lock:
            # Another patient, analysis, map or setting may have come meanwhile: the newest wins.
            if self._now() is not opened or opened.stages is not stages or self._version != version:
                raise Cancelled
            opened.analysis = analysis = opened.analysis.change(params, automatic)
        self.mask_changed.emit(analysis)

    def set_options(self, **changes: Any) -> MapOptions:
        """Change the processing of the map before the threshold; returns when map and mask are up to date.

        Args:
            **changes: Fields of ``MapOptions``.

        Raises:
            ParameterError: If a value is out of range; nothing changes then.
            Cancelled: If something newer came meanwhile.
        """
        with self._lock:
            self._options = options = self._options.replace(**changes)
            opened = self._now()
        self.options_changed.emit(options)
        if opened is not None and options != opened.analysis.options:
            self._remake(opened, options)
        return options

    def reset(self) -> PostprocessParams:
        """Go back to the defaults, with the model's suggested threshold if there is a detection."""
        wanted = PostprocessParams() if self.analysis is None else self.analysis.start
        return self.set(**wanted.model_dump())

    def use_suggested(self) -> PostprocessParams:
        """Use all settings that the model suggests (before a detection: the defaults)."""
        wanted = PostprocessParams() if self.analysis is None else self.analysis.suggestion
        return self.set(**wanted.model_dump())

    def undo(self) -> PostprocessParams:
        """Go back to before the last change of settings or stroke of the brush, if there is any."""
        return self._step(History.undo)

    def redo(self) -> PostprocessParams:
        """Redo the last undone change, if there is one."""
        return self._step(History.redo)

    def _step(self, step: Callable[[History[Settings]], Settings]) -> PostprocessParams:
        with self._lock:
            opened = self._now()
            if opened is None:
                return self._params
            before, settings = opened.history.now, step(opened.history)
            params, painted = settings.params, settings.painted
            if painted != before.painted:
                corrections = None if painted is None else painted.corrections()
                opened.analysis = replace(opened.analysis, corrections=corrections)
            same_map = settings.options == opened.analysis.options
            stroke = same_map and params == self._params == opened.analysis.params
            if not same_map:
                self._take(params)
                self._options = settings.options
        # Recording the current state of the history changes nothing there.
        if stroke:
            self.mask_changed.emit(opened.analysis)
            return params
        if same_map:
            return self.set(**params.model_dump())
        self._tell_settings()
        self._remake(opened, settings.options)
        return params

    def _go_to(self, opened: AnalysisState, params: PostprocessParams, options: MapOptions) -> None:
        """Bring an analysis to settings, as one change."""
        if options == opened.analysis.options:
            self.set(**params.model_dump())
            return
        with self._lock:
            if self._now() is not opened:
                raise Cancelled
            self._take(params)
            self._options = options
        self._tell_settings()
        self._remake(opened, options)

    def _remake(self, opened: AnalysisState, options: MapOptions) -> None:
        """Compute the map of an analysis anew; other changes made meanwhile are kept."""
        fresh = opened.with_options(options, self._params)
        while True:
            with self._lock:
                if self._now() is not opened or self._options is not options:
                    raise Cancelled
                params, now = self._params, opened.analysis
                if params == fresh.analysis.params:
                    # A brush stroke or another reference may have come.
                    opened.analysis = replace(
                        fresh.analysis, reconstruction=now.reconstruction, corrections=now.corrections
                    )
                    opened.stages = fresh.stages
                    opened.history.record(replace(opened.history.now, params=params, options=options))
                    key = now.key
                    break
            fresh.analysis = fresh.analysis.change(params, fresh.stages.volume(params))
        self._show(key)

    def slice_mask(self, z: int, params: PostprocessParams | None = None) -> Mask | None:
        """Return the mask (Y, X) of one slice at once, without changing any state; None if there is none yet.

        Args:
            z: Index of the slice.
            params: Settings to use; the current ones if None.
        """
        wanted = self._params if params is None else params
        opened, streaming = self._now(), self._streaming
        if opened is None:
            return None if streaming is None else streaming.slice_mask(z, wanted)
        mask, corrections = opened.stages.slice(z, wanted), opened.analysis.corrections
        return mask if corrections is None else corrections.apply(mask, z)

    # -- corrections ---------------------------------------------------------------------------------------

    def correct(self, painted: NDArray[Any], *, gesture: object = None) -> None:
        """Use the mask as the user painted it; the differences stay corrected when sliders move.

        Args:
            painted: (Z, Y, X), above 0 is lesion.
            gesture: Pieces of one stroke have the same, and are undone in one step. What comes with the gesture of the
                last stroke, and equals what was there before it or after it, is that stroke undone or redone by
                napari, and no step of its own.
        """

        def record(history: History[Settings], state: Settings) -> None:
            known, self._stroke = gesture is not None and gesture is self._stroke, gesture
            if not (known and history.revisit(state)):
                history.record(state, gesture)

        self._paint(lambda analysis: analysis.paint(np.asarray(painted) > 0), record)

    def bring_back(self, corrections: Corrections) -> None:
        """Take corrections of the patient that were kept: now if there is a mask, else with the first detection.

        Args:
            corrections: On the patient's grid. What was painted since is replaced.
        """
        with self._lock:
            if self._now() is None:
                self._waiting = corrections
                return
        self._paint(lambda analysis: replace(analysis, corrections=corrections))

    def discard_corrections(self) -> None:
        """Go back to the mask that the settings give; `undo` brings the corrections back."""
        if self._now() is not None:
            self._paint(lambda analysis: replace(analysis, corrections=None))

    def _paint(
        self,
        change: Callable[[Analysis], Analysis],
        record: Callable[[History[Settings], Settings], object] = History.record,
    ) -> None:
        with self._lock:
            opened = self._now()
            if opened is None:
                raise NotReadyError("there is no detected mask yet", hint="run a model first")
            opened.analysis = analysis = change(opened.analysis)
            record(opened.history, replace(Settings.of(analysis), params=self._params))
        self.mask_changed.emit(analysis)
