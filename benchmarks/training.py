"""Slices per second of training: the engine against the loop that people write, in the same process.

The plain loop: a ``Dataset`` of 8-bit PNG slices that varies each slice on its own, a ``DataLoader`` (with each of
``--workers``; the better one counts), single precision, NCHW memory, a Python loop over the images for the squares of
context encoding, Adam, ``loss.item()`` after each step. The engine: ``train()`` as users call it, with the precision
it chooses itself; its speed is what its history says. Both train the same network from the same weights on the same
slices with the same kinds of augmentation and corruption; they take turns, an epoch each, the first does not count,
and the ratio is the median of those of the other epochs. Setting up, validation and checkpoints count for neither.

Before that both are checked to do the same work. On one batch, with the same corruption and noise, the two objectives
have to agree to 1e-3 in single precision; ``agreement_chosen`` is the difference at the precision that the engine
chose. And at the initial weights the mean loss, and the share of pixels that are overwritten, have to be the same
within four standard errors, each loop varying and corrupting the slices in its own way.

    python benchmarks/training.py
    python benchmarks/training.py --device cuda --compile

A JSON line per model: slices per second of both and their ratio; the losses of both, baseline first; what share of the
device's bfloat16 matrix peak (a large product, timed between the epochs) the convolutions and products of an
update make up; and how many minutes the paper's schedule, 200 epochs of 5,450 slices, would take.

The slices are those of the synthetic sample patient, moved and mirrored into as many as ``--steps`` batches.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from harness import SAMPLE, parser, say
from napari_cead.corruption.augmenting import augment
from napari_cead.corruption.mixtures import corrupt
from napari_cead.devices import pick_device
from napari_cead.models import MODEL_NAMES, build
from napari_cead.models.outputs import Output
from napari_cead.models.vae import VariationalOutput
from napari_cead.models.vqvae import QuantisedOutput
from napari_cead.patients import load_patient
from napari_cead.slices import slice_stack
from napari_cead.store.index import HEALTHY, Split, StoreIndex, StoreSettings, write_index
from napari_cead.store.store import StoredPatient, write_patient
from napari_cead.training import Augmentation, ContextEncoding, Hardware, SliceStore, TrainingSettings, train
from napari_cead.training.batches import as_images
from napari_cead.training.engine import precision_of
from napari_cead.training.network import Objective, initial_network
from napari_cead.training.presets import training_settings

PAPER_SLICES, PAPER_EPOCHS = 5450, 200
VALIDATION = 8
AGREEMENT = 1e-3
MOST = 512  # slices that are looked at before training


# The slices: a store for the engine, PNG files for the plain loop.


def make_slices(count: int) -> NDArray[np.uint8]:
    """Return (count, S, S): slices of the sample patient, each copy moved, mirrored and dimmed in its own way."""
    stack = slice_stack(load_patient(SAMPLE))
    images = stack.images[(stack.images > 0).mean(axis=(1, 2)) > 0.15]
    rng = np.random.default_rng(0)
    result = np.empty((count, *images.shape[1:]), dtype=np.uint8)
    for number in range(count):
        image = np.roll(images[number % len(images)], tuple(rng.integers(-4, 5, 2)), axis=(0, 1))
        image = image[:, :: rng.choice((-1, 1))] * rng.uniform(0.8, 1.0)
        result[number] = np.rint(255 * image)
    return result


def write_store(folder: Path, slices: NDArray[np.uint8]) -> SliceStore:
    """Write a store that holds the slices for training, and the first few once more for validation."""
    settings = StoreSettings(image_size=slices.shape[-1], min_brain=0.0)
    patients = []
    for part, images in (("train", slices), ("validation", slices[:VALIDATION])):
        count = len(images)
        patient = StoredPatient(
            name=part,
            source=part,
            fingerprint=part,
            labelled=True,
            spacing=(1.0, 0.94, 0.94),
            numbers=tuple(range(count)),
            labels=(HEALTHY,) * count,
            brain=(0.5,) * count,
            parts=(part,) * count,  # type: ignore[arg-type]
        )
        write_patient(folder, settings, patient, images, np.zeros(images.shape, dtype=bool))
        patients.append(patient)
    write_index(folder, StoreIndex(settings=settings, split=Split(), patients=tuple(patients)))
    return SliceStore.open(folder)


def write_pngs(folder: Path, slices: NDArray[np.uint8]) -> list[Path]:
    folder.mkdir()
    files = [folder / f"{number:05d}.png" for number in range(len(slices))]
    for file, image in zip(files, slices, strict=True):
        Image.fromarray(image).save(file)
    return files


# The plain loop.


class PngSlices(Dataset[Tensor]):
    """One PNG file per item, read and varied on its own."""

    def __init__(self, files: list[Path], augmentation: Augmentation | None) -> None:
        self.files, self.augmentation = files, augmentation

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> Tensor:
        image = torch.from_numpy(np.array(Image.open(self.files[number]), dtype=np.float32) / 255)[None]
        return image if self.augmentation is None else vary(image, self.augmentation)


def vary(image: Tensor, how: Augmentation) -> Tensor:
    """Return a varied copy of one image (1, S, S)."""
    if how.flip and random.random() < 0.5:
        image = image.flip(-1)
    if how.scale or how.rotation or how.shift:
        angle = np.deg2rad(random.uniform(-how.rotation, how.rotation))
        wide = 1 + random.uniform(-how.scale, how.scale)
        high = 1 + random.uniform(-how.scale, how.scale)
        aside, along = (2 * random.uniform(-how.shift, how.shift) for _ in range(2))
        move = [
            [np.cos(angle) / wide, -np.sin(angle) / high, aside],
            [np.sin(angle) / wide, np.cos(angle) / high, along],
        ]
        theta = torch.tensor([move], dtype=torch.float32)
        grid = functional.affine_grid(theta, [1, *image.shape], align_corners=False)
        image = functional.grid_sample(image[None], grid, align_corners=False)[0]
    if how.intensity:
        image = (image * (1 + random.uniform(-how.intensity, how.intensity))).clamp(0, 1)
    return image


def put_squares(images: Tensor, how: ContextEncoding) -> Tensor:
    """Return a copy of a batch with squares, one image after the other."""
    low, high = images.min().item(), images.max().item()
    result, size = images.clone(), images.shape[-1]
    for image in result:
        for _ in range(random.randint(*how.squares)):
            side = random.randint(1, int(size * how.largest_side))
            y, x = random.randint(0, size - side), random.randint(0, size - side)
            image[:, y : y + side, x : x + side] = random.uniform(low, high)
    return result


def plain_loss(
    network: nn.Module,
    images: Tensor,
    corrupted: Tensor | None,
    settings: TrainingSettings,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the objective, term by term as it is written down."""
    output: Output = network(images, generator=generator)
    if isinstance(output, QuantisedOutput):
        loss = functional.mse_loss(output.reconstruction, images)
        loss = loss + functional.mse_loss(output.quantised, output.encoded.detach())
        loss = loss + settings.commitment * functional.mse_loss(output.encoded, output.quantised.detach())
    else:
        loss = ((output.reconstruction - images) ** 2).sum() / len(images)
    if isinstance(output, VariationalOutput):
        std = output.log_std.exp()
        divergence = 0.5 * (output.mu**2 + std**2 - (std**2).log() - 1)
        loss = loss + settings.beta * divergence.sum() / len(images)
    if corrupted is not None:
        restored = network(corrupted, sample=False).reconstruction
        error = (restored - images) ** 2
        loss = loss + (error.mean() if isinstance(output, QuantisedOutput) else error.sum() / len(images))
    return loss


class PlainLoop:
    """What people write. ``epoch`` returns its slices per second and mean loss."""

    def __init__(
        self, settings: TrainingSettings, files: list[Path], device: torch.device, workers: int
    ) -> None:
        self.settings, self.device = settings, device
        cuda = device.type == "cuda"
        self.loader = DataLoader(
            PngSlices(files, settings.augmentation),
            batch_size=settings.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            pin_memory=cuda,
            persistent_workers=workers > 0,
        )
        self.network = initial_network(settings).to(device).train()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate)

    def epoch(self) -> tuple[float, float]:
        settings, device = self.settings, self.device
        total, count = 0.0, 0
        start = time.perf_counter()
        for images in self.loader:
            corrupted = None
            if settings.spec.context_encoding:
                assert isinstance(settings.corruption, ContextEncoding)
                corrupted = put_squares(images, settings.corruption).to(device)
            loss = plain_loss(self.network, images.to(device), corrupted, settings)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            total += loss.item()
            count += len(images)
        speed = count / (time.perf_counter() - start)
        return speed, total * settings.batch_size / count


# What both are held against.


def agreement(
    settings: TrainingSettings, slices: NDArray[np.uint8], device: torch.device
) -> tuple[float, float]:
    """Return how far the engine's objective is from the plain one on one batch, relatively.

    Raises:
        SystemExit: If they do not agree in single precision: then the two loops do not do the same work.
    """
    network = initial_network(settings).to(device).train()
    images = as_images(torch.from_numpy(slices[: settings.batch_size]).to(device))
    corrupted = None
    if settings.spec.context_encoding:
        corrupted = corrupt(images, settings.corruption, torch.Generator(device).manual_seed(0)).images

    def noise() -> torch.Generator:
        return torch.Generator(device).manual_seed(1)

    half = precision_of(device, settings.precision) == "bf16-mixed"
    with torch.no_grad():
        plain = plain_loss(network, images, corrupted, settings, noise()).item()
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        ours = Objective(network, settings)
        full = ours(images, corrupted, noise())[0].item()
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            chosen = ours(images, corrupted, noise())[0].item()
    far = abs(full - plain) / abs(plain)
    if not far <= AGREEMENT:
        raise SystemExit(f"error: the objectives of {settings.spec.name} differ: {plain} and {full}")
    return far, abs(chosen - plain) / abs(plain)


@torch.no_grad()
def expectation(
    settings: TrainingSettings, slices: NDArray[np.uint8], device: torch.device
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the mean loss before training and the share of overwritten pixels, each of the plain loop, then of ours.

    Raises:
        SystemExit: If they differ by more than chance: then the two loops vary or corrupt images in different ways.
    """
    network = initial_network(settings).to(device).train()
    source, random_state = torch.Generator(device).manual_seed(2), random.getstate()
    random.seed(2)
    losses: list[list[float]] = []
    shares: list[list[float]] = []
    for start in range(0, min(len(slices), MOST), settings.batch_size):
        whole = as_images(torch.from_numpy(slices[start : start + settings.batch_size]))
        pairs: list[tuple[Tensor, Tensor | None]] = []
        how = settings.augmentation
        one_by_one = whole if how is None else torch.stack([vary(image, how) for image in whole])
        together = whole.to(device) if how is None else augment(whole.to(device), how, source)
        if settings.spec.context_encoding:
            assert isinstance(settings.corruption, ContextEncoding)
            pairs.append((one_by_one, put_squares(one_by_one, settings.corruption)))
            pairs.append((together, corrupt(together, settings.corruption, source).images))
        else:
            pairs += [(one_by_one, None), (together, None)]
        losses.append([])
        shares.append([])
        for images, corrupted in pairs:
            images, corrupted = images.to(device), None if corrupted is None else corrupted.to(device)
            losses[-1].append(plain_loss(network, images, corrupted, settings, source).item())
            changed = 0.0 if corrupted is None else (corrupted != images).float().mean().item()
            shares[-1].append(changed)
    random.setstate(random_state)
    plain, ours = np.mean(losses, axis=0).tolist()
    plain_share, ours_share = np.mean(shares, axis=0).tolist()
    # Four standard errors: the brightness, squared, of an image varies by 12 %, the area of a square by 0.075.
    error = 4 * (2 / min(len(slices), MOST)) ** 0.5
    if abs(plain - ours) > 0.12 * error * plain or abs(plain_share - ours_share) > 0.075 * error:
        raise SystemExit(
            f"error: the images of {settings.spec.name} differ: loss {plain} and {ours}, "
            f"overwritten {plain_share} and {ours_share}"
        )
    return (plain, ours), (plain_share, ours_share)


def flops_of_update(settings: TrainingSettings) -> int:
    """Count the operations of the products and convolutions of an update, forwards and backwards."""
    with torch.device("meta"):
        ours = Objective(build(settings.spec), settings)
        images = torch.zeros(settings.batch_size, 1, settings.spec.image_size, settings.spec.image_size)
    with FlopCounterMode(display=False) as counter:
        ours(images, images if settings.spec.context_encoding else None)[0].backward()
    return int(counter.get_total_flops())


def product_timer(device: torch.device, size: int) -> Callable[[], float]:
    """Return a function that times a large product in bfloat16 and returns operations per second."""
    left, right = torch.randn(2, size, size, device=device, dtype=torch.bfloat16)

    def timed() -> float:
        done, start = 0, time.perf_counter()
        while (seconds := time.perf_counter() - start) < 0.3:
            for _ in range(5):
                left @ right
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            done += 5
        return 2 * size**3 * done / seconds

    return timed


# The comparison.


def compare(
    model: str, arguments: argparse.Namespace, folder: Path, slices: NDArray[np.uint8]
) -> dict[str, Any]:
    """Return the figures of a model; ``folder`` holds the slices as a store and as PNG files."""
    device = pick_device(arguments.device)
    settings = training_settings(
        model,
        preset=arguments.size,
        epochs=1 + arguments.repeats,
        batch_size=arguments.batch_size,
        schedule="constant",
    )
    augmentation = (
        None if arguments.no_augmentation else TrainingSettings.model_fields["augmentation"].default
    )
    # Whatever the preset says, a VQ-VAE's codebook learns by its loss, as in the paper.
    settings = settings.model_copy(
        update={"augmentation": augmentation, "codebook_decay": None, "reset_dead_codes": False}
    )
    full, chosen = agreement(settings, slices, device)
    before, overwritten = expectation(settings, slices, device)
    loops = [
        PlainLoop(settings, sorted((folder / "png").glob("*.png")), device, workers)
        for workers in arguments.workers
    ]
    plain: list[list[tuple[float, float]]] = [[] for _ in loops]
    peak: list[float] = []
    product = product_timer(device, arguments.product)

    def turn(event: dict[str, Any]) -> None:
        """After each epoch of the engine: an epoch of each plain loop, and a look at the peak."""
        if event["event"] == "epoch":
            for loop, found in zip(loops, plain, strict=True):
                found.append(loop.epoch())
            peak.append(product())

    with tempfile.TemporaryDirectory(dir=folder) as run:
        result = train(
            settings,
            folder / "store",
            run,
            hardware=Hardware(
                device=arguments.device, compile=arguments.compile, data="device", checkpoint_minutes=1e9
            ),
            on_event=turn,
        )
    ours = [entry["slices_per_second"] for entry in result.history]
    best = max(plain, key=lambda found: statistics.median(speed for speed, _ in found[1:]))
    ratios = [fast / slow for fast, (slow, _) in zip(ours[1:], best[1:], strict=True)]
    speed, plain_speed = statistics.median(ours[1:]), statistics.median(speed for speed, _ in best[1:])
    flops = flops_of_update(settings)
    highest = statistics.median(peak)
    minutes = PAPER_SLICES * PAPER_EPOCHS / 60
    return {
        "what": f"training, {model} {arguments.size}",
        "baseline_slices_per_second": round(plain_speed, 1),
        "ours_slices_per_second": round(speed, 1),
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        "baseline_workers": arguments.workers[plain.index(best)],
        "agreement": float(f"{full:.1e}"),
        "agreement_chosen": float(f"{chosen:.1e}"),
        "loss_before": [round(value, 4) for value in before],
        "overwritten": [round(value, 3) for value in overwritten],
        "loss_of_last_epoch": [round(best[-1][1], 4), round(result.history[-1]["train_loss"], 4)],
        "gflop_per_slice": round(flops / settings.batch_size / 1e9, 3),
        "peak_tflops": round(highest / 1e12, 3),
        "share_of_peak": round(flops * speed / settings.batch_size / highest, 3),
        "minutes_of_paper_schedule": round(minutes / speed, 1),
        "baseline_minutes_of_paper_schedule": round(minutes / plain_speed, 1),
        "precision": precision_of(device, settings.precision),
        "batch_size": settings.batch_size,
        "steps": arguments.steps,
        "augmentation": settings.augmentation is not None,
        "compile": arguments.compile,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--models", nargs="+", choices=MODEL_NAMES, metavar="MODEL")
    options.add_argument("--size", choices=("paper", "small"), help="default: paper on a GPU, else small")
    options.add_argument("--device", default="auto")
    options.add_argument(
        "--steps", type=int, help="updates per epoch; default: 85 on a GPU (the paper's), else 6"
    )
    options.add_argument("--repeats", type=int, default=5, help="epochs that count")
    options.add_argument("--batch-size", type=int, help="default: 64 for paper, 32 for small")
    options.add_argument(
        "--workers", type=int, nargs="+", default=[0, 2], help="of the plain loop's DataLoader"
    )
    options.add_argument("--threads", type=int, help="of PyTorch, for both")
    options.add_argument(
        "--product", type=int, help="side of the large product; default: 8192 on a GPU, else 1024"
    )
    options.add_argument("--compile", action="store_true", help="compile the network (ours)")
    options.add_argument("--no-augmentation", action="store_true", help="as in the paper, for both")
    arguments = options.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = pick_device(arguments.device)
    cuda = device.type == "cuda"
    arguments.size = arguments.size or ("paper" if cuda else "small")
    arguments.batch_size = arguments.batch_size or (64 if arguments.size == "paper" else 32)
    arguments.steps = arguments.steps or (85 if cuda else 6)
    arguments.product = arguments.product or (8192 if cuda else 1024)
    models = arguments.models or (MODEL_NAMES if cuda else ("ce-vae1", "ae", "ce-vq-vae"))
    slices = make_slices(arguments.steps * arguments.batch_size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_store(folder / "store", slices)
        write_pngs(folder / "png", slices)
        for model in models:
            say(**compare(model, arguments, folder, slices))
            gc.collect()
            if cuda:
                torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
