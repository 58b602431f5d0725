"""Opening a patient against reading the same NIfTI files with nibabel, one after the other.

The baseline is ``nibabel.load(file).get_fdata()`` for every file of the folder. The package opens the patient as the
dock does: all sequences and the lesion mask, checked and turned into canonical order. The files are in the page cache;
the two take turns in the same process, the best of several runs counts for both, and all voxels are compared after
turning the baseline's into canonical order with nibabel.

The patients: a real one (``patient26`` of DATA, the folder in NAPARI_CEAD_DATA) where it is there, and the synthetic
sample patient.

    python benchmarks/open.py [FOLDER ...]

One JSON line per patient: seconds of the baseline, seconds of the package, ``share`` = package / baseline.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import nibabel
import numpy as np

from harness import parser, patients, say, take_turns
from napari_cead import load_patient
from napari_cead.errors import CeadWarning

TARGET = 0.7


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CeadWarning)
        load_patient(folder)  # the files are in the page cache from here on
        slow, fast, volumes, patient = take_turns(repeats, lambda: plain(files), lambda: load_patient(folder))
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
    say(
        what="opening a NIfTI patient",
        patient=folder.name,
        files=len(files),
        baseline_s=round(slow, 4),
        ours_s=round(fast, 4),
        share=round(fast / slow, 3),
        within_targets=fast <= TARGET * slow,
        cores=os.cpu_count(),
        same_voxels=True,
    )


def main() -> None:
    options = parser(__doc__)
    options.add_argument("patients", nargs="*", type=Path, metavar="FOLDER")
    options.add_argument("--repeats", type=int, default=7)
    arguments = options.parse_args()
    for folder in arguments.patients or patients():
        measure(folder, arguments.repeats)


if __name__ == "__main__":
    main()
