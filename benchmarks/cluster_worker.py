"""What `dask worker --preload` loads before a worker of `cluster.py`: a journal of its scans, and a slow disk.

Python announces each file that it opens or puts in place. Below the shared folder this waits as long as a file server
would take to answer and to send or receive the bytes.
"""

import os
import sys
import time
from pathlib import Path

SHARED, JOURNAL = os.environ["CLUSTER_SHARED"], Path(os.environ["CLUSTER_JOURNAL"])
ANSWER_S, BYTES_PER_S = float(os.environ["CLUSTER_ANSWER_S"]), float(os.environ["CLUSTER_BYTES_PER_S"])


def wait(event, arguments):
    """Wait for the disk, and write down a scan whose result is in place."""
    if event not in ("open", "os.rename", "os.scandir", "os.listdir", "os.mkdir"):
        return
    path = arguments[0]
    shared = isinstance(path, str | os.PathLike) and str(path).startswith(SHARED)
    if not shared or str(path).startswith(str(JOURNAL)):
        return
    if ANSWER_S:
        moved = event == "os.rename" or (event == "open" and arguments[1] in ("r", "rb"))
        size = Path(path).stat().st_size if moved and Path(path).is_file() else 0
        time.sleep(ANSWER_S + size / BYTES_PER_S)
    if event == "os.rename" and (made := Path(str(arguments[1]))).name == "detection.json":
        scan = made.parent.name
        if not scan.startswith("."):  # written to a hidden folder first
            with (JOURNAL / f"{os.getpid()}.txt").open("a") as stream:
                stream.write(f"{time.time()} {scan}\n")


if not hasattr(sys, "waits_for_disk"):  # Dask loads it more than once
    sys.waits_for_disk = True
    sys.addaudithook(wait)
