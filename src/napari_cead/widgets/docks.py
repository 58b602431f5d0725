"""Finding open docks in a viewer, and the session that a closed one left."""

from __future__ import annotations

from typing import Any, TypeVar

from qtpy.QtWidgets import QApplication, QWidget

from ..contributions.layers import tag_of
from ..exploring import Session

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


def bare(viewer: Any) -> Any:
    """Return the viewer behind the proxy that napari gives to plugins."""
    return getattr(viewer, "__wrapped__", viewer)
