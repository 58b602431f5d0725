"""Peak memory of a detection and of exploring, on the largest scan that is promised to work.

The scan: the synthetic sample patient's FLAIR and lesion mask enlarged to 512 x 512 x 400 voxels, 0.47 x 0.47 x 0.375
mm, as float32 and as int16, compressed NIfTI. Each job is a process of its own, on the CPU, with a bundled model; the
figure is the peak of its resident memory as the system counts it, PyTorch and all other libraries included:

- ``detect``: ``napari-cead detect``, from the files to the files;
- ``explore``: what the Explore dock does without its pictures: ``session.open``, ``detect``, moves of a slider, export.

    python benchmarks/memory.py
    python benchmarks/memory.py --model ae --kinds int16

One JSON line per job and type of voxel: ``peak_gib``, ``bound_gib``, ``base_gib`` (a process that imports the same
libraries and loads the model), ``scan_gib`` (the scan alone as float32). Not for Windows, which counts otherwise.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from harness import SAMPLE, parser, say

SHAPE = (512, 512, 400)
BOUND_GIB = 6.0
KINDS = ("float32", "int16")

LOAD = """
import sys, napari_cead
napari_cead.load_model(sys.argv[1], "cpu")
import napari_cead.cli, napari_cead.exploring
"""

EXPLORE = """
import sys
from napari_cead.exploring import Session
folder, model, out = sys.argv[1:]
session = Session()
session.open(folder)
session.detect(model, device="cpu")
for step in range(20):
    session.set(threshold=0.05 + 0.02 * step)
session.set(closing_radius=4, dilation_radius=3)
session.export(out)
"""


def enlarge(volume: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Return a volume at another size, nearest neighbour."""
    for axis, (old, new) in enumerate(zip(volume.shape, shape, strict=True)):
        volume = np.take(volume, np.arange(new) * old // new, axis=axis)
    return volume


def write_patient(folder: Path, kind: str, shape: tuple[int, int, int] = SHAPE) -> Path:
    """Write the sample patient's FLAIR and lesion mask at a size, and return its folder."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("flair", "seg"):
        source = nib.load(SAMPLE / f"{name}.nii.gz")
        data = enlarge(np.asarray(source.dataobj), shape)
        if name == "flair":
            data = data.astype(np.float32)
            noise = rng.standard_normal(shape, np.float32) * (0.02 * data.max())
            data = np.where(data > 0, np.maximum(data + noise, 1), 0).astype(kind)
            del noise
        factors = np.array(source.shape) / shape
        affine = source.affine @ np.diag([*factors, 1])
        image = nib.Nifti1Image(data, affine)
        image.header.set_data_dtype(data.dtype)
        nib.openers.Opener.default_compresslevel = 1
        nib.save(image, folder / f"{name}.nii.gz")
    return folder


def peak(command: list[str], log: Path) -> tuple[float, float]:
    """Run a command and return the peak of its memory in GiB, and how many seconds it took."""
    start = time.perf_counter()
    with log.open("wb") as stream:
        actions = [(os.POSIX_SPAWN_DUP2, stream.fileno(), 1), (os.POSIX_SPAWN_DUP2, stream.fileno(), 2)]
        child = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
        _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"error: {' '.join(command[:4])} failed: {log.read_text()[-2000:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * unit / 2**30, time.perf_counter() - start


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--model", default="ce-vae1")
    options.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options.add_argument("--shape", nargs=3, type=int, default=SHAPE, metavar=("X", "Y", "Z"))
    options.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    shape = (arguments.shape[0], arguments.shape[1], arguments.shape[2])
    if arguments.write is not None:
        write_patient(arguments.write, arguments.kinds[0], shape)
        return
    python = sys.executable
    with tempfile.TemporaryDirectory() as place:
        top = Path(place)
        base, _ = peak([python, "-c", LOAD, arguments.model], top / "log")
        for kind in arguments.kinds:
            # In a process of its own: a child's peak is counted from that of the parent on.
            folder = top / kind
            sizes = ["--shape", *map(str, shape)]
            peak([python, __file__, "--write", str(folder), "--kinds", kind, *sizes], top / "log")
            jobs = {
                "detect": [
                    *[python, "-m", "napari_cead", "detect", str(folder), "--model", arguments.model],
                    *["--device", "cpu", "--out", str(top / f"{kind}-out")],
                ],
                "explore": [python, "-c", EXPLORE, str(folder), arguments.model, str(top / f"{kind}-export")],
            }
            for job, command in jobs.items():
                used, seconds = peak(command, top / "log")
                line = {
                    "benchmark": "memory",
                    "job": job,
                    "model": arguments.model,
                    "voxels": kind,
                    "shape": shape,
                    "peak_gib": round(used, 2),
                    "bound_gib": BOUND_GIB,
                    "base_gib": round(base, 2),
                    "scan_gib": round(np.prod(shape) * 4 / 2**30, 2),
                    "seconds": round(seconds, 1),
                    "met": bool(used <= BOUND_GIB),
                }
                say(**line)


if __name__ == "__main__":
    main()
