"""The fuzz job: spoils good inputs for some minutes, and says what broke. ``make fuzz FUZZ_MINUTES=5``."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Flaky

from . import trying
from .recipes import Recipe, spoil
from .spoiling import recipes
from .targets import TARGETS

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
BATCH = 60
"""Inputs of one target before the next has its turn."""

ROOM = 6 << 30
"""Bytes of address space that the job may take beyond what it starts with; what asks for more gets a MemoryError."""

PATIENTS = ("nifti", "nifti-gz", "nifti-2", "nifti-pair", "png")


class _Broken(AssertionError):
    """Makes Hypothesis shrink a recipe."""


def run(minutes: float, names: list[str], first_seed: int, home: Path) -> dict[str, Any]:
    """Fuzz for some minutes and return the figures."""
    tried: Counter[str] = Counter()
    used: Counter[str] = Counter()
    codes: dict[str, Counter[str]] = {name: Counter() for name in names}
    findings: dict[tuple[str, str, str], dict[str, Any]] = {}
    again: Counter[str] = Counter()

    def keep(name: str, recipe: Recipe, found: trying.Finding) -> None:
        findings[(name, found.what, found.place)] = {
            "target": name,
            "what": found.what,
            "place": found.place,
            "words": found.words[:400],
            "recipe": recipe,
        }
        print(f"FOUND {name}: {found.what} at {found.place}: {found.words[:200]}", flush=True)
        print(f"  {json.dumps(recipe)}", flush=True)

    started = time.monotonic()
    deadline, turn = started + 60 * minutes, 0
    while time.monotonic() < deadline:
        for name in names:
            if time.monotonic() >= deadline:
                break
            known: set[tuple[str, str]] = {
                (what, place) for target, what, place in findings if target == name
            }
            last: dict[str, Any] = {}

            @seed(first_seed + turn)
            @settings(
                max_examples=BATCH,
                database=None,
                deadline=None,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
                report_multiple_bugs=False,
            )
            @given(recipe=recipes(list(trying.seed(name))))
            def spoiling(recipe: Recipe) -> None:
                if time.monotonic() >= deadline:
                    return
                tried[name] += 1  # noqa: B023
                found = trying.attempt(name, recipe, home)  # noqa: B023
                if found is None:
                    used[name] += 1  # noqa: B023
                elif not isinstance(found, trying.Finding):
                    codes[name][found.code] += 1  # noqa: B023
                elif (found.what, found.place) in known:  # noqa: B023
                    again[f"{name}: {found.what} at {found.place}"] += 1  # noqa: B023
                elif found.what in ("hang", "memory"):  # not worth the time that shrinking takes
                    keep(name, recipe, found)  # noqa: B023
                    known.add((found.what, found.place))  # noqa: B023
                else:
                    last.update(recipe=recipe, finding=found)  # noqa: B023
                    raise _Broken(f"{found.what} at {found.place}")

            try:
                spoiling()
            except (_Broken, Flaky):  # flaky: it needs what was used before it
                keep(name, last["recipe"], last["finding"])
            turn += 1
    return {
        "schema_version": 1,
        "minutes": round((time.monotonic() - started) / 60, 2),
        "seed": first_seed,
        "tried": sum(tried.values()),
        "targets": {
            name: {"tried": tried[name], "used": used[name], "refused": dict(sorted(codes[name].items()))}
            for name in names
        },
        "findings": list(findings.values()),
        "found_again": dict(again),
    }


def in_a_process(target: str, recipe: Recipe, home: Path) -> tuple[bool, str]:
    """Give a spoilt patient to the command line, in a process of bounded memory and time.

    Returns:
        Whether it ended as it may, and what it said.
    """
    folder = Path(tempfile.mkdtemp(dir=home)) / "Mets_001"
    folder.mkdir()
    trying.write(spoil(trying.seed(target), recipe), folder)
    call = "import sys; from napari_cead.cli import main; main()"
    arguments = ["detect", str(folder), "--model", "ae", "--score", "intensity", "--device", "cpu",
                 "--out", str(folder.parent / "out")]  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-c", call, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            preexec_fn=lambda: _limit(8 << 30),
        )
    except subprocess.TimeoutExpired:
        return False, "still at work after 120 s"
    errors = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
    if done.returncode == 0:
        return not errors, done.stderr[-400:]
    good = done.returncode == 2 and len(errors) == 1 and errors[0].startswith("error: ")
    return good, done.stderr[-400:]


def _limit(room: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (room, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--targets", nargs="*", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--processes", type=int, default=3, help="spoilt patients given to the command line")
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    given_arguments = parser.parse_args()
    if hasattr(os, "nice"):
        os.nice(10)
    with tempfile.TemporaryDirectory(prefix="cead-fuzz-") as place:
        home = Path(place)
        trying.set_home(home)
        for name in given_arguments.targets:
            for _ in range(2):  # what is loaded on first use is loaded before anything is measured
                good = trying.attempt(name, [], home)
                if good is not None:
                    print(f"the unspoilt input of {name} is not used: {good}", flush=True)
                    return 1
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _limit(taken + ROOM)
        figures = run(given_arguments.minutes, given_arguments.targets, given_arguments.seed, home)
        processes = []
        for number in range(given_arguments.processes):
            target = PATIENTS[number % len(PATIENTS)]
            name = next(file for file in trying.seed(target) if "flair" in file or file.startswith("3/"))
            recipe = [["poke", name, 40 + 30 * number + given_arguments.seed % 30, "ff7f"]]
            good, said = in_a_process(target, recipe, home)
            processes.append({"target": target, "recipe": recipe, "as_it_may": good, "said": said})
            if not good:
                print(f"FOUND {target} in a process of its own: {said}\n  {json.dumps(recipe)}", flush=True)
    figures["processes"] = processes
    print(f"{'target':<12} {'tried':>7} {'used':>7} {'refused':>8}")
    for name, row in figures["targets"].items():
        print(f"{name:<12} {row['tried']:>7} {row['used']:>7} {sum(row['refused'].values()):>8}")
    print(f"{figures['tried']} inputs in {figures['minutes']} minutes, {len(figures['findings'])} findings")
    if given_arguments.out:
        given_arguments.out.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if figures["findings"] or not all(row["as_it_may"] for row in processes) else 0


if __name__ == "__main__":
    sys.exit(main())
