"""Why the residual of an autoencoder finds less than a threshold on the image: each cause measured, and what it costs.

For each model, on patients with lesion masks. One JSON line per measurement:

- ``scaling``: how much the level of the tissue differs between scans after either intensity scaling. No model.
- ``without a network``: Dice of the image itself, and of the image minus its own Gaussian ("unsharp mask").
- ``edges``: share of the false-positive residual near the brain's rim and near edges of liquid, beside their share of
  the area; correlation of the residual with the image's gradient.
- ``misregistration``: share of the residual's variance that goes when the reconstruction is moved: by one translation
  per slice, by a smooth displacement; ``control``: by the same of a residual that is upside down.
- ``blur``: share of the variance of the signed residual that is local detail of the image.
- ``bright normal tissue``: share of the positive false-positive residual in the brightest tenth of the brain.
- ``scale``: how much the mean residual and the best threshold differ between patients.
- ``lesions reconstructed``: share of a lesion's contrast that the reconstruction has too.
- ``costs``: ``dice_pooled`` at the best threshold (``oracle``) of ``residual`` as it is and with each cause taken away
  alone. **They use the lesion mask: diagnoses, no detectors.** Only ``residual_smoothed``, ``positive_residual`` and
  ``own_scale`` could be had without it. Of a cause about healthy pixels only these change:
  near edges (in the brightest tenth) they get the distribution of residuals that the other healthy pixels have; the
  residual loses what is local detail; the reconstruction is moved. ``lesions_taken_out``: inside lesions the
  reconstruction is the level of the healthy tissue around.

Maps are on the patient's grid, without post-processing, over the voxels of the brain.

    python research/why_residuals.py                                     # 8 phantoms that it makes itself
    python research/why_residuals.py --data COHORT --models ae ce-unet
"""

from __future__ import annotations

import argparse
import json
import math
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import residual_causes as causes
from napari_cead import load_model, load_patient
from napari_cead.detection import run
from napari_cead.errors import CeadWarning
from napari_cead.patients import Patient, find_patients
from napari_cead.phantom import make_patient
from napari_cead.slices import brain_mask
from napari_cead.slices.intensity import scale_intensity
from residual_measures import Prepared, Tally, prepare

MODELS = ("ae", "ce-ae", "vae1", "ce-vae1", "vae2", "ce-vae2", "vq-vae", "ce-vq-vae", "ce-unet")
UNSHARP_MM = (2.0, 4.0, 8.0)
SEED = 4711


def phantoms(number: int) -> Iterator[Patient]:
    """Synthetic patients that no bundled model has seen."""
    for index in range(1, number + 1):
        made = make_patient(SEED, index)
        yield Patient.from_arrays(
            {"flair": made.sequences["flair"]},
            lesion_mask=made.lesion_mask,
            spacing=made.spacing,
            name=made.name,
        )


def cohort(folder: Path, every: int) -> Iterator[Patient]:
    """Every n-th patient with a lesion mask."""
    for place in sorted(find_patients(folder))[::every]:
        patient = load_patient(place)
        if patient.lesion_mask is not None and patient.lesion_mask.any():
            yield patient


class Scaling:
    """The level of the tissue of scan after scan under either scaling."""

    def __init__(self) -> None:
        self.levels: dict[str, list[float]] = {}

    def add(self, patient: Patient) -> None:
        volume = patient.volume()
        brain = brain_mask(volume)
        # A lesion would shift the levels that are compared.
        healthy = brain if patient.lesion_mask is None else brain & ~patient.lesion_mask
        for kind in ("volume-percentile", "volume-tissue"):
            values = scale_intensity(volume, brain, kind)[healthy]
            self.levels.setdefault(f"{kind}: median", []).append(float(np.median(values)))
            self.levels.setdefault(f"{kind}: mode of tissue", []).append(causes.tissue_mode(values))
            self.levels.setdefault(f"{kind}: 99th percentile", []).append(float(np.percentile(values, 99)))

    def line(self) -> dict[str, Any]:
        return {"coefficient_of_variation": {name: causes.variation(of) for name, of in self.levels.items()}}


def without_network(prepared: Iterable[tuple[Prepared, ...]]) -> dict[str, Any]:
    """Dice of maps that need no network, from slices of one preprocessing."""
    counts: dict[str, list[tuple[Any, Any]]] = {}
    for patient in prepared:
        maps: dict[str, list[Any]] = {}
        for one in patient:
            maps.setdefault("image", []).append(one.image)
            for sigma in UNSHARP_MM:
                difference = causes.detail(one.image, one.brain, sigma / one.pixel)
                maps.setdefault(f"absolute difference from its Gaussian of {sigma:g} mm", []).append(
                    np.abs(difference)
                )
                maps.setdefault(f"brighter than its Gaussian of {sigma:g} mm", []).append(
                    np.maximum(difference, 0)
                )
        for name, images in maps.items():
            pairs = [
                (
                    causes.histogram(image, one.brain & one.lesion),
                    causes.histogram(image, one.brain & ~one.lesion),
                )
                for image, one in zip(images, patient, strict=True)
            ]
            counts.setdefault(name, []).append(
                tuple(np.sum(pair, axis=0) for pair in zip(*pairs, strict=True))
            )
    dice = {
        name: causes.best_dice(*(np.sum(side, axis=0) for side in zip(*pairs, strict=True))).dice
        for name, pairs in counts.items()
    }
    lesion, healthy = (sum(float(pair[side].sum()) for pair in counts["image"]) for side in (0, 1))
    dice["whole brain"] = 2 * lesion / (2 * lesion + healthy)
    dice["image, own thresholds"] = causes.dice_of_own_thresholds(counts["image"])
    return {"dice_pooled_oracle": dice}


def finite(value: Any) -> Any:
    """Round for JSON, which has no NaN."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="a cohort with lesion masks; without it phantoms are made")
    parser.add_argument("--every", type=int, default=1, help="take every n-th patient of the cohort")
    parser.add_argument("--phantoms", type=int, default=8)
    parser.add_argument("--apart", type=int, default=1, help="measure every so many slices of a volume")
    parser.add_argument("--models", nargs="+", default=list(MODELS), metavar="MODEL")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore", CeadWarning)
    detectors = [load_model(name, "cpu") for name in arguments.models]
    tallies = [Tally() for _ in detectors]
    scaling, grounds, names = Scaling(), {}, 0
    data = arguments.data
    patients = phantoms(arguments.phantoms) if data is None else cohort(data, arguments.every)
    for patient in patients:
        names += 1
        scaling.add(patient)
        prepared: dict[Any, tuple[Prepared, ...]] = {}
        for detector, tally in zip(detectors, tallies, strict=True):
            made = run(patient, detector)
            kind = detector.card.preprocessing.model_dump_json()
            if kind not in prepared:
                prepared[kind] = prepare(patient, made, arguments.apart)
                grounds.setdefault(kind, []).append(tuple(one.bare() for one in prepared[kind]))
            tally.add(prepared[kind], made)
    if not names:
        raise SystemExit(f"error: {data}: there is no patient with a lesion mask; give a cohort with masks")
    about = {
        "data": "phantoms" if data is None else data.name,
        "patients": names,
        "lesion_voxels": sum(tallies[0].lesion_sizes),
    }

    def say(what: str, figures: dict[str, Any], **more: Any) -> None:
        print(json.dumps({"what": what, **about, **more, **finite(figures)}, allow_nan=False), flush=True)

    say("scaling", scaling.line())
    for kind, of in grounds.items():
        wants = json.loads(kind)
        say("without a network", without_network(of), scaling=wants["intensity"], spacing=wants["spacing"])
    for detector, tally in zip(detectors, tallies, strict=True):
        for what, figures in tally.lines():
            say(what, figures, model=detector.name)


if __name__ == "__main__":
    main()
