"""The way of a newcomer: that the script gets to its end, on a small patient."""

import json
import os
import sys
from pathlib import Path

import pytest

from own_process import run_script

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(
    sys.platform == "linux" and not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")),
    reason="it drives a real window",
)


@pytest.mark.slow  # what it does to the window is tested by itself in tests/gui
def test_the_script_goes_the_whole_way(patient_folder, tmp_path):
    done = run_script(tmp_path, BENCHMARKS / "newcomer.py", "--patient", patient_folder)
    assert done.returncode == 0, done.stderr[-2000:]
    # Without a terminal napari prints its messages, too.
    *steps, whole = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert [step["step"] for step in steps] == [
        "open the dock",
        "drop the patient",
        "run",
        "drag the threshold",
        "correct",
        "export",
        "open the dock again",
        "drop the patient again",
        "restore",
    ]
    assert whole["same_mask"] is True
    assert whole["clicks"] == sum(step["clicks"] for step in steps)
    assert whole["drags"] == 4, "two drops, the slider, the brush"
