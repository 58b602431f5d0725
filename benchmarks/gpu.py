"""Everything that only a GPU shows, in one command: whether it is right, how fast it is, what happens when memory ends.

    python benchmarks/gpu.py --minutes 8 --out DIR
    python benchmarks/gpu.py --device cpu --tiny --out DIR

writes ``DIR/gpu.json`` and ``DIR/gpu.md``, and prints what is wrong. Exit status 1: something is.

Each part runs in a process of its own and has a share of the time; what it leaves goes to those after it. A part that
fails, hangs or takes its process down is reported with the rows that it had, and the others go on. The second command
is a test of this script on a processor, with the smallest networks, in one process: its figures mean nothing.

The parts, in this order (``--parts`` chooses):

- ``about``: the device.
- ``agreement``: the eight at the paper's size and all bundled models, GPU and CPU: at most 1e-3 apart in single
  precision, as detection computes (cuDNN rounds to TF32) and without TF32; and what bf16 changes.
- ``lines``, ``memory``: every line of the package that names something of a GPU. The page lists which ran.
  ``memory`` takes away half of the memory, then all of it.
- ``patient``: the command ``detect``, from files to files, on both devices.
- ``two``: two of them at the same time, and one beside a training.
- ``detection``, ``speed``, ``compiled``: slices a second at the paper's size against a plain loop, in share of what a
  large product in bf16 reaches.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from harness import parser

STATES = {"ok": "as it should be", "wrong": "wrong", "failed": "failed", "late": "out of time"}
CLOSING = 3.0
"""Seconds kept for the report."""


def write(path: Path, value: Any) -> None:
    """Write JSON; whoever reads it meanwhile sees the old one or the new one."""
    from napari_cead.atomic import to_json, write_text

    write_text(path, to_json(value))


def work(name: str, arguments: argparse.Namespace, seconds: float, out: Path) -> None:
    """Do a part in this process; its rows are on disk as soon as they are there."""
    from gpu_parts import PARTS, Bench
    from napari_cead.devices import pick_device
    from napari_cead.errors import CeadWarning
    from napari_cead.models import MODEL_NAMES

    found: dict[str, Any] = {"rows": [], "hits": {}, "error": None}

    def save() -> None:
        hits = {} if bench is None else bench.hits
        write(out, found | {"hits": {file: sorted(lines) for file, lines in hits.items()}})

    def add(**row: Any) -> None:
        found["rows"].append(row)
        save()

    bench = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CeadWarning)
        try:
            device = pick_device(arguments.device)
            bench = Bench(device, arguments.tiny, tuple(arguments.models or MODEL_NAMES), seconds)
            PARTS[name].work(bench, add)
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            found["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    save()


def finished(
    name: str, found: dict[str, Any] | None, seconds: float, late: bool, said: str = ""
) -> dict[str, Any]:
    """Return a part's entry in the report."""
    found = found or {"rows": [], "hits": {}, "error": said or "it ended without a word"}
    error = found["error"] or (said if late else None)
    wrong = any(row.get("ok") is False for row in found["rows"])
    state = "late" if late else "failed" if error else "wrong" if wrong else "ok"
    return {
        "part": name,
        "state": state,
        "seconds": round(seconds, 1),
        "error": error,
        "rows": found["rows"],
        "hits": found["hits"],
    }


def apart(name: str, arguments: argparse.Namespace, seconds: float, folder: Path) -> dict[str, Any]:
    """Do a part in a process of its own."""
    out, start = folder / f"{name}.json", time.perf_counter()
    command = [sys.executable, __file__, "--device", arguments.device, "--part", name]
    command += ["--seconds", str(seconds), "--into", str(out)]
    command += ["--tiny"] if arguments.tiny else []
    command += ["--models", *arguments.models] if arguments.models else []
    late, said = False, ""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        errors = process.communicate(timeout=max(0.1, seconds))[1]
        if process.returncode:
            last = errors.strip().splitlines()[-1:] or [""]
            said = f"its process ended with {process.returncode}: {last[0][:300]}"
    except subprocess.TimeoutExpired:
        late, said = True, f"it was ended after {seconds:.0f} s"
        with suppress(psutil.Error):  # with what it started itself
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
        process.communicate()
    found = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else None
    if found is not None and said and not late:
        found["error"] = found["error"] or said
    return finished(name, found, time.perf_counter() - start, late, said)


def here(name: str, arguments: argparse.Namespace, seconds: float, folder: Path) -> dict[str, Any]:
    """Do a part in this process."""
    out, start = folder / f"{name}.json", time.perf_counter()
    work(name, arguments, seconds, out)
    return finished(name, json.loads(out.read_text(encoding="utf-8")), time.perf_counter() - start, False)


def all_parts(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from gpu_parts import PARTS

    end = time.perf_counter() + 60 * arguments.minutes - CLOSING
    names = [name for name in PARTS if name in arguments.parts] if arguments.parts else list(PARTS)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(names):
            shares = [PARTS[other].share for other in names[number:]]
            seconds = max(0.0, end - time.perf_counter()) * shares[0] / sum(shares)
            do = here if arguments.tiny and not arguments.apart else apart
            entry = do(name, arguments, seconds, Path(folder)) | {"title": PARTS[name].title}
            print(f"{name}: {STATES[entry['state']]} ({entry['seconds']} s)", file=sys.stderr, flush=True)
            found.append(entry)
    if any(PARTS[name].recorded for name in names):
        # Without a GPU, or without some of the parts, not all of them can.
        whole = all(name in names for name in PARTS if PARTS[name].recorded)
        found.append(ran(found, whole and arguments.device != "cpu"))
    return found


def ran(parts: list[dict[str, Any]], required: bool) -> dict[str, Any]:
    """Return an entry on the lines that ran in any part."""
    from gpu_lines import Hits, table

    hits: Hits = {}
    for part in parts:
        for file, lines in part.pop("hits").items():
            hits.setdefault(file, set()).update(lines)
    rows = table(hits, required)
    return finished("ran", {"rows": rows, "hits": {}, "error": None}, 0.0, False) | {
        "title": "Lines that only a GPU runs: which ran"
    }


def shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return str(value).replace("|", "\\|")


def page(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    parts = report["parts"]
    good = sum(part["state"] == "ok" for part in parts)
    lines = [
        "# On a GPU"
        if not report["tiny"]
        else "# A test of the script, on a processor: its figures mean nothing"
    ]
    lines += [
        "",
        f"{report['device']}, {report['date']}: {good} of {len(parts)} parts are as they should be.",
        "",
    ]
    lines += ["| part | | seconds | |", "| --- | --- | ---: | --- |"]
    for part in parts:
        wrong = sum(row.get("ok") is False for row in part["rows"])
        said = part["error"] or (f"{wrong} of {len(part['rows'])} rows" if wrong else "")
        lines.append(f"| {part['title']} | {STATES[part['state']]} | {part['seconds']} | {shown(said)} |")
    for part in parts:
        if not part["rows"]:
            continue
        columns = list(dict.fromkeys(key for row in part["rows"] for key in row))
        lines += [
            "",
            f"## {part['title']}",
            "",
            "| " + " | ".join(name.replace("_", " ") for name in columns) + " |",
        ]
        lines.append("| " + " | ".join("---" for _ in columns) + " |")
        lines += ["| " + " | ".join(shown(row.get(name)) for name in columns) + " |" for row in part["rows"]]
    return "\n".join(lines) + "\n"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=8, help="for everything")
    options.add_argument("--out", type=Path, default=Path("gpu"), help="folder of the report")
    options.add_argument("--device", default="cuda")
    options.add_argument(
        "--tiny", action="store_true", help="smallest sizes, in one process: tests this script"
    )
    options.add_argument(
        "--apart", action="store_true", help="with --tiny: processes of their own all the same"
    )
    options.add_argument("--parts", nargs="+", metavar="PART")
    options.add_argument("--models", nargs="+", metavar="MODEL", help="default: the eight")
    for hidden, kind in (("--part", str), ("--seconds", float), ("--into", Path)):
        options.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.part:
        return work(arguments.part, arguments, arguments.seconds, arguments.into)
    from gpu_parts import PARTS
    from napari_cead.detection.provenance import device_name
    from napari_cead.devices import pick_device
    from napari_cead.errors import CeadError

    if unknown := sorted(set(arguments.parts or ()) - set(PARTS)):
        options.error(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}")
    try:
        device = str(pick_device(arguments.device))
    except CeadError as error:
        options.error(str(error))
    report = {
        "schema_version": 1,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "device": device_name(device),
        "minutes": arguments.minutes,
        "tiny": arguments.tiny,
        "parts": all_parts(arguments),
    }
    for part in report["parts"]:
        part.pop("hits", None)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write(arguments.out / "gpu.json", report)
    (arguments.out / "gpu.md").write_text(page(report), encoding="utf-8")
    for part in report["parts"]:
        for row in part["rows"]:
            if row.get("ok") is False:
                print(f"{part['part']}: {', '.join(f'{key} {shown(value)}' for key, value in row.items())}")
        if part["error"]:
            print(f"{part['part']}: {part['error']}")
    sys.exit(any(part["state"] != "ok" for part in report["parts"]))


if __name__ == "__main__":
    main()
