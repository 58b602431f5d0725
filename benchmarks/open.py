"""Opening a patient against reading the same NIfTI files with nibabel, one after the other.

The baseline is ``nibabel.load(file).get_fdata()`` for every file of the folder. The package opens the patient as the
dock does: all sequences and the lesion mask, checked and turned into canonical order. The files are in the page cache;
the two take turns in the same process, the best of several runs counts for both, and all voxels are compared after
turning the baseline's into canonical order with nibabel.

The patients: a real one (``patient26`` of the pack in NAPARI_CEAD_DATA, default ../shared/data beside the repository)
where it is there, and the synthetic sample patient.

    python benchmarks/open.py [FOLDER ...]

One JSON line per patient: seconds of the baseline, seconds of the package, ``share`` = package / baseline.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from pathlib import Path

import nibabel
import numpy as np

from napari_cead import load_patient
from napari_cead.errors import CeadWarning

ROOT = Path(__file__).resolve().parents[1]
TARGET = 0.7


def default_patients() -> list[Path]:
    pack = Path(os.environ.get("NAPARI_CEAD_DATA", ROOT.parent / "shared" / "data"))
    folders = [pack / "patient26", ROOT / "sample_data" / "Mets_001"]
    return [folder for folder in folders if (folder / "flair.nii.gz").is_file()]


def plain(files: list[Path]) -> list[np.ndarray]:
    return [nibabel.load(file).get_fdata() for file in files]


def canonical(file: Path) -> np.ndarray:
    """Return a file as (Z, Y, X), z upwards, y backwards, x to the patient's left, by nibabel alone."""
    volume = nibabel.as_closest_canonical(nibabel.load(file)).get_fdata()
    return volume[::-1, ::-1].transpose(2, 1, 0)


def measure(folder: Path, repeats: int) -> None:
    files = sorted(folder.glob("*.nii*"))
    if not files:
        raise SystemExit(f"error: {folder} holds no NIfTI files")
    slow, fast = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CeadWarning)
        load_patient(folder)  # the files are in the page cache from here on
        for _ in range(repeats):
            start = time.perf_counter()
            volumes = plain(files)
            slow.append(time.perf_counter() - start)
            start = time.perf_counter()
            patient = load_patient(folder)
            fast.append(time.perf_counter() - start)
    by_file = {file: name for name, file in patient.files.items()}
    if sorted(by_file) != files:
        raise SystemExit(f"error: the two read different files of {folder}")
    for file, volume in zip(files, volumes, strict=True):
        name, expected = by_file[file], canonical(file)
        if volume.size != expected.size:
            raise SystemExit(f"error: {file} was not read whole")
        if name == "seg":
            same = np.array_equal(patient.lesion_mask, expected > 0)
        else:
            same = np.array_equal(patient.sequences[name], expected.astype(np.float32))
        if not same:
            raise SystemExit(f"error: the voxels of {file} differ")
    line = {
        "what": "opening a NIfTI patient",
        "patient": folder.name,
        "files": len(files),
        "baseline_s": round(min(slow), 4),
        "ours_s": round(min(fast), 4),
        "share": round(min(fast) / min(slow), 3),
        "within_targets": min(fast) <= TARGET * min(slow),
        "cores": os.cpu_count(),
        "same_voxels": True,
    }
    print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("patients", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    for folder in arguments.patients or default_patients():
        measure(folder, arguments.repeats)


if __name__ == "__main__":
    main()
