"""One Explore dock for many tests: each gets it as it was after its runs.

To open a patient and to run a model costs a window some seconds, nearly all of them spent by napari on six new layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from qtpy.QtWidgets import QScrollArea

from napari_cead.contributions.layers import tag_of
from napari_cead.exploring.analysis_state import AnalysisState, Settings
from napari_cead.exploring.history import History
from napari_cead.widgets.common.docks import docks_in
from napari_cead.widgets.explore.dock import ExploreWidget
from napari_cead.widgets.explore.live import VOLUME_AFTER_MS

WIDEST = 16_777_215
"""Qt's limit: no limit."""
LOOKS = (
    "visible", "opacity", "blending", "gamma", "mode", "name", "editable",
    "brush_size", "selected_label", "contour", "translate", "scale",
)  # fmt: skip


class SharedDock:
    """The dock of a file, with the states of its session that tests start with.

    A dock that was closed, or whose viewer has other layers than before, is not handed out again.
    """

    def __init__(self) -> None:
        self._dock: ExploreWidget | None = None
        self._states: dict[str, tuple[AnalysisState, ...]] = {}

    def at(self, name: str, dock: Callable[[], ExploreWidget]) -> ExploreWidget:
        """Return the dock in a state, which ``dock()`` makes the first time; also from an earlier state."""
        if self.usable and name in self._states:
            self._go_to(self._states[name])
        else:
            made = dock()
            if made is not self._dock:
                self._start(made)
            session = made.session
            session._opened[session._current] = session._opened.pop(session._current)  # the current one last
            self._states[name] = tuple(map(_fresh, session._opened.values()))
        return self._dock

    @property
    def dock(self) -> ExploreWidget | None:
        """The dock, if it is still there as Qt's object in the viewer."""
        try:
            there = self._dock is not None and docks_in(self._dock.viewer, ExploreWidget) == [self._dock]
        except RuntimeError:  # its part in C++ is gone
            there = False
        return self._dock if there else None

    @property
    def usable(self) -> bool:
        """Whether the dock can be handed out again."""
        dock = self.dock
        return (
            dock is not None
            and dock.isEnabled()
            and not dock.busy
            and dock.session.patient is self._patient
            and dock.session._left is None
            and list(dock.viewer.layers) == self._layers
        )

    def rest(self, qtbot: Any) -> None:
        """End what a test has left: side by side, three cuts, a stroke of the brush, a moved slider."""
        dock = self.dock
        if dock is not None:
            dock.form.three_views.setChecked(False)
            dock.compare.leave()
            dock.runner._options_timer.stop()
            dock.layers.flush_painting()
            dock.insight.stop()
            qtbot.waitUntil(lambda: not dock.busy)

    def let_go(self) -> None:
        """Forget the dock; the viewer is cleared."""
        self._dock, self._states = None, {}

    def _start(self, dock: ExploreWidget) -> None:
        self._dock, self._states = dock, {}
        viewer = dock.viewer
        self._patient, self._layers = dock.session.patient, list(viewer.layers)
        self._looks = [_looks(layer) for layer in self._layers]
        self._active = viewer.layers.selection.active
        self._point, self._order = viewer.dims.point, viewer.dims.order
        camera = viewer.scene.camera
        self._camera = camera.center, camera.zoom, camera.angles
        self._size = dock.minimumSize()
        self._cache = dict(dock.session._cache._entries)

    def _go_to(self, states: tuple[AnalysisState, ...]) -> None:
        dock = self._dock
        session, viewer = dock.session, dock.viewer
        dock.setMinimumSize(self._size)
        dock.setMaximumSize(WIDEST, WIDEST)
        for box in (dock.form.three_views, dock.form.open_more, dock.form.keep):
            box.setChecked(False)
        dock.form.figure_width.setValue(170)
        dock.form.figure_dpi.setCurrentIndex(dock.form.figure_dpi.findData(300))
        dock.form.tabs.setCurrentIndex(0)
        dock.findChild(QScrollArea).verticalScrollBar().setValue(0)
        dock.form.messages.clear()
        dock.form.comparison.table._left_out.clear()
        dock.form._models.look()
        # Rows of the table, figures and curves go with the analyses, and come back with them.
        session._opened, session._current, session._waiting = {}, None, None
        session.analyses_changed.emit(())
        session._cache.clear()
        for key, entry in self._cache.items():
            session._cache.put(key, entry)
        opened = [_fresh(state) for state in states]
        session._opened = {state.analysis.key: state for state in opened}
        session._show(opened[-1].analysis.key)
        session.analyses_changed.emit(session.analyses)
        dock.live.moved = False
        dock.live._volume_timer.setInterval(VOLUME_AFTER_MS)
        viewer.dims.ndisplay, viewer.dims.order = 2, self._order
        viewer.dims.set_point(range(viewer.dims.ndim), self._point)
        for layer, looks in zip(self._layers, self._looks, strict=True):
            for name, value in looks.items():
                if not np.array_equal(getattr(layer, name), value):
                    setattr(layer, name, value)
            if hasattr(layer, "_reset_history"):
                layer._reset_history()
        viewer.layers.selection.active = self._active
        camera = viewer.scene.camera
        camera.center, camera.zoom, camera.angles = self._camera
        dock.keeping._seen = dock.keeping._due = None


def _looks(layer: Any) -> dict[str, Any]:
    names = [
        *LOOKS,
        *(["contrast_limits"] if tag_of(layer).role == "sequence" else []),
    ]  # others come with the map
    return {name: getattr(layer, name) for name in names if hasattr(layer, name)}


def _fresh(state: AnalysisState) -> AnalysisState:
    """Return an analysis as it is after a run: nothing to undo."""
    now = state.analysis
    return AnalysisState(now, state.stages, History(Settings.of(now)))
