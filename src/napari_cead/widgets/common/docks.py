"""Finding open docks in a viewer, and the session that a closed one left."""

from __future__ import annotations

from typing import Any, TypeVar

from qtpy.QtWidgets import QApplication, QDockWidget, QMainWindow, QScrollArea, QWidget

from ...contributions.layers import tag_of
from ...exploring import Session

Dock = TypeVar("Dock", bound=QWidget)


def docks_in(viewer: Any, kind: type[Dock]) -> list[Dock]:
    """Return the open docks of a kind in a viewer; they have a ``viewer``."""
    windows = QApplication.topLevelWidgets()
    docks = [dock for window in windows for dock in window.findChildren(kind)]
    return [dock for dock in docks if bare(dock.viewer) is bare(viewer)]


def session_in(viewer: Any) -> Session | None:
    """Return the session that a dock of this viewer left in its layers, or None."""
    for layer in reversed(viewer.layers):
        tag = tag_of(layer)
        if tag is not None and isinstance(tag.session, Session):
            return tag.session
    return None


def tab_where_low(dock: QWidget, kind: type[QWidget]) -> None:
    """Put a dock behind a tab of another one on its side, in front, where the window is too low for both.

    Args:
        dock: The dock.
        kind: What the other one has in it.
    """
    frame = dock.parentWidget()
    while frame is not None and not isinstance(frame, QDockWidget):
        frame = frame.parentWidget()
    if frame is None:
        return
    window = frame.parentWidget()
    if not isinstance(window, QMainWindow) or frame.isFloating() or window.tabifiedDockWidgets(frame):
        return
    for other in window.findChildren(QDockWidget):
        inside = other.findChild(kind)
        if inside in (None, dock) or not other.isVisible() or other.isFloating():
            continue
        same_side = window.dockWidgetArea(other) == window.dockWidgetArea(frame)
        if same_side and _height_of(dock) + _height_of(inside) > window.height():
            window.tabifyDockWidget(other, frame)
            frame.raise_()
            return


def _height_of(dock: QWidget) -> int:
    """Return the height that shows all of a dock; one that scrolls asks for less."""
    inner = (area.widget() for area in dock.findChildren(QScrollArea))
    return max(part.sizeHint().height() for part in (dock, *inner) if part is not None)


def bare(viewer: Any) -> Any:
    """Return the viewer behind the proxy that napari gives to plugins."""
    return getattr(viewer, "__wrapped__", viewer)
