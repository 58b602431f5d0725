"""A cohort on a cluster as a user starts one: scheduler and workers by their commands, which come and go.

Small scans (24 slices of the sample patient with noise of their own), so that two cores are enough. Prints a line of
JSON for each run of ``napari-cead detect COHORT``:

- ``baseline``: one process, no cluster.
- ``cluster``: two workers.
- ``workers come and go``: one worker is killed (SIGKILL, in the middle of a scan) when a quarter is done, another one
  is added at half.
- ``slow disk``: the same two workers; each file on the shared disk takes 20 ms to answer and moves at 20 MB/s. The
  workers wait as long (`cluster_worker.py`).

Each line has the scans per hour and worker (from a worker's first to its last result, so without its start), the scans
that were made twice, unfinished files that were left, and whether the masks are those of the baseline.

    python benchmarks/cluster.py --minutes 10
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from distributed import Client

from harness import SAMPLE, parser, say

SLICES = slice(60, 84)
FAST, SLOW = (0.0, 1.0), (0.02, 20e6)
"""Seconds until the disk answers, and bytes a second."""

QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def write_scans(folder: Path, count: int) -> None:
    """Write small scans that differ."""
    image = nib.load(SAMPLE / "flair.nii.gz")
    values = np.asarray(image.dataobj, np.float32)[:, :, SLICES]
    for number in range(count):
        noise = np.random.default_rng(number).normal(0, 0.01 * values.max(), values.shape)
        noisy = np.where(values > 0, np.maximum(values + noise, 1), 0).astype(np.float32)
        place = folder / f"scan-{number:04}"
        place.mkdir(parents=True)
        nib.save(nib.Nifti1Image(noisy, image.affine), place / "flair.nii.gz")


class Cluster:
    """A scheduler and workers, each started by its command; all end with the block.

    Args:
        shared: The folder that counts as the shared disk.
        folder: For the journals of the workers.
        disk: Seconds until the shared disk answers, and its bytes a second.
    """

    def __init__(self, shared: Path, folder: Path, disk: tuple[float, float]) -> None:
        self.journal = folder / "journal"
        self.journal.mkdir(parents=True)
        self._scheduler_file = folder / "scheduler.json"
        self._environment = os.environ | {
            "CLUSTER_SHARED": str(shared),
            "CLUSTER_JOURNAL": str(self.journal),
            "CLUSTER_ANSWER_S": str(disk[0]),
            "CLUSTER_BYTES_PER_S": str(disk[1]),
        }
        self.workers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Cluster:
        self._scheduler = self._start(
            "scheduler", "--port", "0", "--host", "127.0.0.1", "--scheduler-file", str(self._scheduler_file)
        )
        while not self._scheduler_file.exists():
            time.sleep(0.1)
        self.address = json.loads(self._scheduler_file.read_text())["address"]
        return self

    def __exit__(self, *error: object) -> None:
        for process in (*self.workers, self._scheduler):
            process.kill()
            process.wait()

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *command, "--no-dashboard"], env=self._environment, **QUIET
        )

    def add(self) -> None:
        """Start a worker; it has joined when it has answered the scheduler, some seconds later."""
        preload = Path(__file__).with_name("cluster_worker.py")
        # Without a nanny, which would start a killed worker again: a machine that is gone does not come back.
        options = ("--nthreads", "1", "--no-nanny", "--preload", str(preload))
        self.workers.append(self._start("worker", self.address, *options))

    def wait_for(self, workers: int) -> None:
        """Wait until so many workers have joined."""
        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=300)

    def kill(self) -> None:
        """Kill the first worker as a power cut does."""
        self.workers[0].send_signal(signal.SIGKILL)

    def made(self) -> dict[str, list[tuple[float, str]]]:
        """Return the results of each worker: when, and which scan."""
        lines = {file.stem: file.read_text().split() for file in self.journal.glob("*.txt")}
        return {
            name: list(zip(map(float, found[::2]), found[1::2], strict=True)) for name, found in lines.items()
        }


def finished(out: Path) -> int:
    """Return the number of scans with a result."""
    return sum(1 for _ in out.glob("*/detection.json"))


def detect(
    cohort: Path, out: Path, model: str, scheduler: Sequence[str] = ("--workers", "1")
) -> subprocess.Popen[bytes]:
    """Start the detection of a cohort."""
    command = ["-m", "napari_cead", "detect", str(cohort), "--model", model, "--out", str(out)]
    return subprocess.Popen([sys.executable, *command, "--device", "cpu", *scheduler], **QUIET)


def on_cluster(
    cohort: Path,
    out: Path,
    model: str,
    folder: Path,
    *,
    disk: tuple[float, float] = FAST,
    events: Mapping[float, str] | None = None,
) -> dict[str, object]:
    """Detect in a cohort on two workers, of which some may come and go; return the figures.

    Args:
        cohort: The scans.
        out: Folder of the results.
        model: The model.
        folder: An empty folder for the cluster.
        disk: Seconds until the shared disk answers, and its bytes a second.
        events: Share of the scans that are done when a worker is to ``kill`` or ``add``.
    """
    scans = len(list(cohort.iterdir()))
    to_come = sorted((events or {}).items())
    with Cluster(cohort.parent, folder, disk) as cluster:
        cluster.add()
        cluster.add()
        cluster.wait_for(2)
        began = time.time()
        run = detect(cohort, out, model, ("--scheduler", cluster.address))
        while run.poll() is None:
            if to_come and finished(out) >= to_come[0][0] * scans:
                getattr(cluster, to_come.pop(0)[1])()
            time.sleep(0.05)
        seconds, made = time.time() - began, cluster.made()
    every = [scan for results in made.values() for _, scan in results]
    rates = [
        3600 * (len(results) - 1) / (results[-1][0] - results[0][0])
        for results in made.values()
        if len(results) > 2
    ]
    return {
        "exit": run.returncode,
        "scans": scans,
        "done": finished(out),
        "seconds": round(seconds, 1),
        "by_worker": sorted(len(results) for results in made.values()),
        "scans_per_hour_and_worker": round(float(np.mean(rates))) if rates else None,
        "made_twice": len(every) - len(set(every)),
        "left_over": len(list(out.rglob(".part-*"))),
    }


def masks(out: Path) -> dict[str, bytes]:
    """Return the mask of each scan."""
    return {
        file.parent.name: np.asarray(nib.load(file).dataobj).tobytes() for file in out.glob("*/mask.nii.gz")
    }


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=10, help="about how long it may take")
    options.add_argument("--model", default="ce-vae1")
    arguments = options.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # workers and baseline alike: maps depend on it in their last bits
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        write_scans(top / "few", 6)
        began = time.time()
        detect(top / "few", top / "out-few", arguments.model).wait()
        each = (time.time() - began) / 6
        count = max(12, min(1000, int(60 * arguments.minutes / each / 5)))
        write_scans(top / "scans", count)
        began = time.time()
        detect(top / "scans", top / "out", arguments.model).wait()
        seconds, expected = time.time() - began, masks(top / "out")
        per_hour = round(3600 * count / seconds)
        say(
            benchmark="cluster",
            what="baseline",
            scans=count,
            seconds=round(seconds, 1),
            scans_per_hour=per_hour,
        )
        for what, how in {
            "cluster": {},
            "workers come and go": {"events": {0.25: "kill", 0.5: "add"}},
            "slow disk": {"disk": SLOW},
        }.items():
            found = on_cluster(top / "scans", top / "out-c", arguments.model, top / f"cluster-{what}", **how)
            say(benchmark="cluster", what=what, **found, same_masks=masks(top / "out-c") == expected)
            shutil.rmtree(top / "out-c")


if __name__ == "__main__":
    main()
