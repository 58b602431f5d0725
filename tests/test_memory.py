"""How much memory the largest scan takes that is promised to work."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform == "win32", reason="counts memory as Unix does")
@pytest.mark.parametrize("kind", ["float32", "int16"])
def test_a_scan_of_512_512_400_stays_within_6_gib(kind):
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "memory.py", "--kinds", kind], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["job"] for line in found] == ["detect", "explore"]
    for line in found:
        assert line["shape"] == [512, 512, 400]
        assert line["scan_gib"] < line["peak_gib"] < 6
