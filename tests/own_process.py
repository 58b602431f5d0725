"""A script in a process of its own, with settings of napari of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import napari_cead as cead
from patience import PATIENCE


def run_script(home: Path, script: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a Python script with this package and the helpers of the tests, and return what it printed and how it ended.

    Args:
        home: Folder for napari's settings.
        script: The script.
        *arguments: Its arguments.
    """
    return subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        env=os.environ
        | {
            "NAPARI_CONFIG": str(home / "napari.yaml"),
            "PYTHONPATH": os.pathsep.join(map(str, (Path(cead.__file__).parents[1], Path(__file__).parent))),
        },
        capture_output=True,
        text=True,
        timeout=200 * PATIENCE,
        check=False,
    )
