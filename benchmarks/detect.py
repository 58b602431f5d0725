"""Detection of a patient on the CPU against the plain loop: every slice, one at a time, in single precision.

The baseline prepares the patient with the package's own steps, sends each slice of the volume by itself through the
same network with the same weights (as PyTorch builds it: NCHW, ``torch.no_grad``), and makes the anomaly map of it with
the package's own steps. The package: ``run(...).anomaly_map(...)``. The two take turns in the same process, the best of
several runs counts for both, and the maps have to agree to 1e-4.

``ratio`` is against the loop over all slices of the volume, ``ratio_occupied`` against one that leaves out slices
without brain, as the package does. ``first_slices_share``: how much of a whole run has passed when the first slices
are there that the user looks at (streaming from the middle slice).

On one thread the seconds are those of the CPU, which other work on the computer hardly changes.

Sizes: ``paper`` is a network of the paper's size with random weights, ``small`` the bundled model; both are loaded from
a model folder.

    python benchmarks/detect.py
    python benchmarks/detect.py --models ce-vae1 ae ce-vq-vae --sizes paper
    python benchmarks/detect.py --models ce-unet --sizes small --threads 1

One JSON line per network.
"""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from harness import parser, say
from napari_cead import load_model, load_patient, resources
from napari_cead.detection import Reconstruction, run
from napari_cead.errors import CeadWarning
from napari_cead.models import build
from napari_cead.patients import Patient
from napari_cead.slices import slice_stack
from napari_cead.zoo import Detector, Preprocessing, save_model

AGREEMENT = 1e-4
TARGETS = {"paper": 3.0, "small": 1.5}
SCORE = "residual"
CLOCK = time.perf_counter


def load(model: str, size: str, folder: Path) -> Detector:
    """Load the bundled model, or one of the paper's size with random weights."""
    bundled = load_model(model, "cpu")
    if size == "small":
        return bundled
    torch.manual_seed(0)
    network = build(model, size=size)
    card = bundled.card.model_copy(
        update={"name": model, "spec": network.spec, "statistics": (), "suggestions": ()}
    )
    return load_model(str(save_model(network, card, folder / f"{model}-{size}")), "cpu")


def plain_copy(detector: Detector) -> torch.nn.Module:
    """Return the network as it is built, whatever the package did to its own."""
    network = build(detector.card.spec).eval()
    network.load_state_dict(detector.module.state_dict())
    return network.requires_grad_(False)


def streamed(
    patient: Patient, detector: Detector, first: int
) -> tuple[float, float, Reconstruction, NDArray[np.float32]]:
    """Return the seconds of a run and those until its first slices, what it made, and the map."""
    arrived: list[float] = []
    start = CLOCK()
    made = run(patient, detector, first=first, on_slices=lambda *_: arrived.append(CLOCK()))
    anomaly_map = made.anomaly_map(SCORE)
    return CLOCK() - start, arrived[0] - start, made, anomaly_map


def plain(
    patient: Patient, network: torch.nn.Module, wants: Preprocessing, like: Reconstruction
) -> tuple[float, float, NDArray[np.float32]]:
    """Return the seconds of the loop over all slices, those of the slices without brain in it, and the map."""
    start = CLOCK()
    stack = slice_stack(patient, scaling=wants.intensity, model_spacing=wants.spacing, size=wants.image_size)
    slices = np.zeros_like(stack.images)
    occupied, idle = set(stack.occupied.tolist()), 0.0
    denoising = network.spec.denoising
    with torch.no_grad():
        for z, image in enumerate(stack.images):
            begin = CLOCK()
            slices[z] = (
                network(torch.from_numpy(image)[None, None], sample=False).reconstruction[0, 0].numpy()
            )
            if denoising:  # it learnt inside the brain alone
                slices[z] *= image != 0
            idle += 0.0 if z in occupied else CLOCK() - begin
    anomaly_map = replace(like, stack=stack, slices=slices).anomaly_map(SCORE)
    return CLOCK() - start, idle, anomaly_map


def measure(model: str, size: str, patient: Patient, repeats: int, folder: Path) -> None:
    detector = load(model, size, folder)
    network, middle = plain_copy(detector), patient.shape[0] // 2
    warm = torch.zeros(1, 1, detector.card.spec.image_size, detector.card.spec.image_size)
    with torch.no_grad():
        network(warm, sample=False)
    detector.reconstruct(warm)
    slow, without_idle, fast, shares = [], [], [], []
    for _ in range(repeats):
        whole, first, made, ours = streamed(patient, detector, middle)
        fast.append(whole)
        shares.append(first / whole)
        seconds, idle, expected = plain(patient, network, detector.card.preprocessing, made)
        slow.append(seconds)
        without_idle.append(seconds - idle)
    far = float(np.abs(ours - expected).max())
    if not far <= AGREEMENT:
        raise SystemExit(f"error: the maps of {model} {size} differ by {far}")
    ratio = min(slow) / min(fast)
    line = {
        "what": f"detection on the CPU, {model} {size}",
        "baseline_s": round(min(slow), 3),
        "ours_s": round(min(fast), 3),
        "ratio": round(ratio, 2),
        "ratio_occupied": round(min(without_idle) / min(fast), 2),
        "within_targets": ratio >= TARGETS[size],
        "ratios": [round(one / other, 2) for one, other in zip(slow, fast, strict=True)],
        "first_slices_share": round(min(shares), 3),
        "first_slices_s": round(min(share * seconds for share, seconds in zip(shares, fast, strict=True)), 3),
        "largest_difference": float(f"{far:.1e}"),
        "largest_value": round(float(ours.max()), 3),
        "slices": len(made.stack.images),
        "with_brain": len(made.stack.occupied),
        "patient": patient.name,
        "threads": torch.get_num_threads(),
    }
    say(**line)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--patient", type=Path, default=resources.sample_patient())
    options.add_argument("--models", nargs="+", default=["ce-vae1"], metavar="MODEL")
    options.add_argument("--sizes", nargs="+", default=["paper", "small"], choices=("paper", "small"))
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch, for both")
    arguments = options.parse_args()
    global CLOCK
    torch.set_num_threads(arguments.threads)
    if arguments.threads == 1:
        CLOCK = time.process_time
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore", CeadWarning)
        patient = load_patient(arguments.patient)
        for model in arguments.models:
            for size in arguments.sizes:
                measure(model, size, patient, arguments.repeats, Path(folder))


if __name__ == "__main__":
    main()
