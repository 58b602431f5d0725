"""What opening a dock makes the window wait for."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from qtpy.QtCore import QTimer

import napari_cead as cead
from napari_cead.widgets.common import behind
from napari_cead.widgets.common.behind import import_behind
from patience import PATIENCE

SCRIPT = """
import sys
from napari_cead.widgets import EvaluateWidget, ExploreWidget, TrainWidget
print(sorted(name for name in ("torch", "sympy", "lightning", "matplotlib", "monai") if name in sys.modules))
"""


def test_no_dock_imports_what_takes_seconds():
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"PYTHONPATH": str(Path(cead.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120 * PATIENCE,
        check=True,
    )
    assert ended.stdout.strip() == "[]"


def test_modules_are_imported_in_a_thread_while_the_window_draws(qtbot, monkeypatch):
    seen, drawn = [], threading.Event()

    def slowly(name):
        seen.append((name, threading.current_thread() is threading.main_thread()))
        assert drawn.wait(10 * PATIENCE), "the event loop stood still"
        raise ImportError(name)  # told by whoever uses it

    monkeypatch.setattr(behind, "import_module", slowly)
    QTimer.singleShot(50, drawn.set)
    import_behind("napari_cead", "napari_cead.not_there")
    assert drawn.is_set()
    assert seen == [("napari_cead.not_there", False)]
