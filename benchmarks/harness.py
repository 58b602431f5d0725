"""What the benchmarks share: which scans, whose turn it is, a JSON line per measurement."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "sample_data" / "Mets_001"


def patients() -> list[Path]:
    """A real scan where NAPARI_CEAD_DATA names DATA (docs/explanation/data.md), and the synthetic sample."""
    real = [Path(data) / "patient26"] if (data := os.environ.get("NAPARI_CEAD_DATA")) else []
    return [folder for folder in (*real, SAMPLE) if (folder / "flair.nii.gz").is_file()]


def parser(text: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the module's docstring as it stands."""
    return argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)


def say(**values: Any) -> None:
    """Print a measurement as a line of JSON."""
    print(json.dumps(values), flush=True)


def take_turns(
    repeats: int,
    baseline: Callable[[], Any],
    ours: Callable[[], Any],
    before: Callable[[], Any] | None = None,
) -> tuple[float, float, Any, Any]:
    """Return the best seconds of both and their last results; ``before`` prepares each of our runs, untimed."""
    seconds: tuple[list[float], list[float]] = ([], [])
    results: list[Any] = [None, None]
    for _ in range(repeats):
        for which, function in enumerate((baseline, ours)):
            if which and before is not None:
                before()
            start = time.perf_counter()
            results[which] = function()
            seconds[which].append(time.perf_counter() - start)
    return min(seconds[0]), min(seconds[1]), results[0], results[1]
