"""What is in sight after a run, on screens of three sizes."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import QScrollArea

from dock_driving import settle

SIZES = [(1366, 768), (1600, 1000), (2560, 1440)]


def whole(part):
    """Whether nothing cuts a part: no edge of the window, nor what would have to be scrolled."""
    part = getattr(part, "native", part)
    return part.isVisible() and part.visibleRegion().boundingRect() == part.rect()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "{}x{}".format(*size))
def test_after_a_run_all_that_is_needed_is_whole_beside_a_large_picture(detected, qtbot, size):
    window = detected.window()
    before = window.size()
    window.resize(*size)
    qtbot.waitUntil(lambda: (window.width(), window.height()) == size)
    settle(qtbot, detected)
    detected.findChild(QScrollArea).verticalScrollBar().setValue(0)
    needed = {
        "patient": detected.about,
        "model": detected.model,
        "run": detected.run,
        **{name: setting.handle for name, setting in detected.rows.items()},
        "plot": detected.plot,
        "dice": detected.dice_label,
        "volume": detected.volume_label,
        "undo": detected.undo,
    }
    qtbot.waitUntil(lambda: all(map(whole, needed.values())))
    canvas = detected.viewer.window._qt_viewer.canvas.native
    assert canvas.width() >= 0.3 * size[0] and canvas.height() >= 0.6 * size[1], canvas.size()
    window.resize(before)
