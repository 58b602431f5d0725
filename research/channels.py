"""What a network and the scan itself say of every voxel, kept on disk so that scores can be tried without the network.

    python research/channels.py --data DATA --work WORK --model FOLDER --out CHANNELS [--parts strokes,ms,…]

``WORK`` holds the phantoms of the protocol (made if they are not there). A file per scan, arrays (Z, Y, X) float16 on
the scan's own grid: ``image`` (the median of the tissue at 0.5), ``lesion`` (the probability of the second head, 0
without one), ``brighter`` and ``darker`` (the two signs of the residual), and bool ``brain`` and ``reference``.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

import napari_cead as cead
from napari_cead.detection.pipeline import run
from napari_cead.errors import CeadWarning
from napari_cead.patients import Patient
from napari_cead.slices import brain_mask, scale_intensity
from protocol import CALIBRATING, HELD_BACK, SCALP_LEFT
from real_data.scans import validation_names

PARTS = ("strokes", "ms", "hyperintensities", "phantoms", "free", "healthy", "calm")


def scans(part: str, data: Path, work: Path) -> Iterator[Patient]:
    """Give the patients of a part of the protocol."""
    from napari_cead.phantom import write_cohort

    if part in ("strokes", "test-strokes"):
        files = sorted((data / "soop_axial" / "lesion" / "flair").glob("*.png"))
        wanted = set(validation_names([file.stem for file in files]))
        for file in files:
            if (file.stem in wanted) == (part == "strokes"):
                yield cead.load_patient(file)
    elif part == "ms":
        yield cead.load_patient(data / "patient26")
    elif part == "hyperintensities":
        for name in HELD_BACK:
            folder = data / "nichart" / name
            yield _volume(folder / "flair_brain.DERIVED.nii.gz", folder / "wmh_AUTOMATIC.nii.gz", name)
    elif part == "calm":
        for name in CALIBRATING:
            folder = data / "nichart" / name
            yield _volume(folder / "flair_brain.DERIVED.nii.gz", folder / "wmh_AUTOMATIC.nii.gz", name)
        split = json.loads((work / "split.json").read_text(encoding="utf-8"))
        for name in split["validation"]:
            if (work / "phantoms" / "train" / name).is_dir():
                yield replace(cead.load_patient(work / "phantoms" / "train" / name), lesion_mask=None)
            elif (file := work / "clean" / "soop" / "flair" / f"{name}.png").is_file():
                yield cead.load_patient(file)
    elif part == "healthy":
        yield _volume(data / "visits" / "long04" / "study1_flair_brain.DERIVED.nii.gz", None, "long04")
    else:
        lesions, count, seed = (12, 10, 4242) if part == "phantoms" else (0, 5, 4343)
        folder = work / ("criterion_lesions" if lesions else "criterion_free")
        if not folder.exists():
            write_cohort(folder, count, seed=seed, lesions=lesions, varied=True, shape=(75, 256, 256))
        for place in sorted((folder / "train").iterdir()):
            yield cead.load_patient(place)


def _volume(flair: Path, mask: Path | None, name: str) -> Patient:
    patient = cead.load_patient(flair, sequence="flair", mask=mask)
    if name in SCALP_LEFT:
        raise SystemExit(f"error: {name}: drop its top slices first")
    return replace(patient, name=name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", default=",".join(PARTS))
    options = parser.parse_args()
    warnings.simplefilter("ignore", CeadWarning)
    detector = cead.load_model(options.model, device="cpu")
    for part in options.parts.split(","):
        folder = options.out / part
        folder.mkdir(parents=True, exist_ok=True)
        for patient in scans(part, options.data, options.work):
            made = run(patient, detector)
            volume = patient.volume()
            brain = brain_mask(volume)
            image = scale_intensity(volume, brain, "volume-tissue")
            back, slices = made.stack.geometry, made.stack.images
            zero = np.zeros_like(slices)
            lesion = made.ingredients.get("lesion", zero)
            np.savez(
                folder / f"{patient.name}.npz",
                image=image.astype(np.float16),
                lesion=(back.to_patient(lesion) * brain).astype(np.float16),
                brighter=(back.to_patient(np.maximum(slices - made.slices, 0)) * brain).astype(np.float16),
                darker=(back.to_patient(np.maximum(made.slices - slices, 0)) * brain).astype(np.float16),
                brain=brain,
                reference=np.zeros_like(brain) if patient.lesion_mask is None else patient.lesion_mask,
                spacing=np.asarray(patient.spacing),
            )
        print(part, len(list(folder.glob("*.npz"))), flush=True)


if __name__ == "__main__":
    main()
