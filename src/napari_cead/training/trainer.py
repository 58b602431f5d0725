"""Training a network on slices that fit into memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..devices import pick_device
from ..errors import Cancelled, CeadError, ParameterError
from ..models import ModelSpec, build
from .augmentation import Augmentation, augment
from .corruption import ContextEncoding, corrupt
from .losses import objective

Schedule = Literal["constant", "one-cycle"]
Slices = np.ndarray[Any, Any] | Tensor
Epoch = dict[str, float | int]


@dataclass(frozen=True)
class TrainingResult:
    """What training gives.

    Attributes:
        module: The network with the weights of the best epoch, in evaluation mode, on the training device.
        history: By epoch: ``epoch`` (from 1), ``step``, ``train_loss``, ``validation_loss``, and ``seconds`` since
            the start.
        best_epoch: The epoch with the smallest validation loss.
        stopped: Whether ``should_stop`` ended it early.
    """

    module: nn.Module
    history: list[Epoch]
    best_epoch: int
    stopped: bool


def train(
    spec: ModelSpec,
    slices: Slices,
    validation: Slices,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 64,
    learning_rate: float = 1e-4,
    schedule: Schedule = "constant",
    seed: int = 0,
    device: str | torch.device = "auto",
    init_from: nn.Module | None = None,
    context_encoding: ContextEncoding | None = None,
    augmentation: Augmentation | None = None,
    beta: float = 1.0,
    commitment: float = 1.0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
    on_epoch: Callable[[Epoch], None] = lambda log: None,
) -> TrainingResult:
    """Train a network on healthy slices and keep its best epoch by the loss on the validation slices.

    All slices lie on the device; batches are drawn there. With the same seed on a CPU with the same number of threads
    the result is the same.

    Args:
        spec: The architecture; whether context encoding is used is part of it.
        slices: (N, S, S) float in [0, 1], or uint8 in [0, 255].
        validation: (M, S, S), likewise; healthy too.
        epochs: Passes over the slices; give this or ``steps``.
        steps: Weight updates; an epoch still is one pass.
        batch_size: Slices per update; all of them if there are fewer.
        learning_rate: Of Adam; with ``"one-cycle"`` its peak.
        schedule: ``"constant"`` (the paper), or ``"one-cycle"``: up during the first tenth, down to 0 along a cosine.
        seed: Of everything random.
        device: See :func:`~napari_cead.devices.pick_device`.
        init_from: A network of the same spec to start from (it is copied); None: random weights.
        context_encoding: How to corrupt the images if the spec says so; None: the paper's way.
        augmentation: How to vary the images; None: not at all.
        beta: Weight of a VAE's divergence.
        commitment: Weight of a VQ-VAE's commitment term.
        on_progress: Called with (done, total) after each update.
        should_stop: Asked before each update; when true, the best epoch so far is returned.
        on_epoch: Called with each entry of the history.

    Raises:
        ParameterError: If the slices do not fit the spec, or a setting is out of range.
        CeadError: If the loss is not a finite number.
        Cancelled: If ``should_stop`` was true before the first epoch's end.
    """
    place = pick_device(device)
    data = _on_device(slices, "training", spec.image_size, place)
    healthy = _on_device(validation, "validation", spec.image_size, place)
    batch = min(batch_size, len(data))
    per_epoch = len(data) // batch if batch > 0 else 0
    if (epochs is None) == (steps is None):
        raise ParameterError("the length of the training is ambiguous", mend="give either epochs or steps")
    total = steps if steps is not None else (epochs or 0) * per_epoch
    if total < 1 or batch < 1 or not learning_rate > 0:
        raise ParameterError("epochs, steps, batch size and learning rate must be above 0")

    generator = torch.Generator(place).manual_seed(seed)
    module = _initial(spec, init_from, seed).to(place)
    if place.type != "mps":
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate, fused=place.type == "cuda")

    start, history = time.perf_counter(), list[Epoch]()
    best_loss, best_epoch, best = math.inf, 0, dict[str, Tensor]()
    step, epoch, stopped = 0, 0, False
    while step < total:
        epoch += 1
        module.train()
        order = torch.randperm(len(data), device=place, generator=generator)
        running, count = torch.zeros((), device=place), min(per_epoch, total - step)
        for number in range(count):
            if stopped := should_stop():
                break
            images = _as_images(data[order[number * batch : (number + 1) * batch]])
            images = images if augmentation is None else augment(images, augmentation, generator)
            corrupted = corrupt(images, context_encoding, generator).images if spec.context_encoding else None
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * _rate(step, total, schedule)
            optimizer.zero_grad(set_to_none=True)
            losses = objective(
                module, images, corrupted, beta=beta, commitment=commitment, generator=generator
            )
            losses.total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            running += losses.total.detach()
            step += 1
            on_progress(step, total)
        if stopped:
            break
        train_loss = running.item() / count
        validation_loss = healthy_loss(module, healthy, batch, beta=beta, commitment=commitment)
        if not (math.isfinite(train_loss) and math.isfinite(validation_loss)):
            raise CeadError(
                f"the loss of {spec.name} is no longer a finite number (epoch {epoch}, step {step})",
                mend="use a lower learning rate",
            )
        history.append(
            {
                "epoch": epoch,
                "step": step,
                "train_loss": train_loss,
                "validation_loss": validation_loss,
                "seconds": time.perf_counter() - start,
            }
        )
        if validation_loss < best_loss:
            best_loss, best_epoch = validation_loss, epoch
            best = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
        on_epoch(history[-1])
    if not best:
        raise Cancelled
    module.load_state_dict(best)
    return TrainingResult(module.eval(), history, best_epoch, stopped)


@torch.no_grad()
def healthy_loss(
    module: nn.Module, slices: Tensor, batch_size: int = 64, *, beta: float = 1.0, commitment: float = 1.0
) -> float:
    """Return the loss on clean slices without randomness: the mean over slices; the network is left in evaluation mode.

    Args:
        module: The network.
        slices: (N, S, S) on its device.
        batch_size: Slices at a time.
        beta: Weight of a VAE's divergence.
        commitment: Weight of a VQ-VAE's commitment term.
    """
    module.eval()
    total = torch.zeros((), device=slices.device)
    for chunk in torch.split(slices, batch_size):
        total += objective(module, _as_images(chunk), beta=beta, commitment=commitment).total * len(chunk)
    return total.item() / len(slices)


def _initial(spec: ModelSpec, init_from: nn.Module | None, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(spec)
    if init_from is not None:
        try:
            module.load_state_dict(init_from.state_dict())
        except RuntimeError:
            raise ParameterError(
                f"the network to start from has other layers than {spec.name}",
                mend="start from one of the same spec",
            ) from None
    return module


def _on_device(slices: Slices, what: str, size: int, device: torch.device) -> Tensor:
    """Check slices and move them to the device in their own type."""
    data = torch.as_tensor(slices)
    if data.ndim != 3 or not len(data) or data.shape[1:] != (size, size):
        raise ParameterError(
            f"the {what} slices have shape {tuple(data.shape)}, the network takes (N, {size}, {size}) with N above 0"
        )
    if data.dtype not in (torch.uint8, torch.float16, torch.float32):
        raise ParameterError(f"the {what} slices are {data.dtype}", mend="use uint8, float16 or float32")
    low, high = (float(extreme) for extreme in torch.aminmax(data))
    if data.dtype != torch.uint8 and not (low >= 0 and high <= 1):  # false for NaN, too
        raise ParameterError(f"the {what} slices range from {low:g} to {high:g}", mend="scale them to [0, 1]")
    return data.to(device)


def _as_images(slices: Tensor) -> Tensor:
    """Return (N, S, S) of any type as (N, 1, S, S) float32 in [0, 1]."""
    images = slices.unsqueeze(1).float()
    return images / 255 if slices.dtype == torch.uint8 else images


def _rate(step: int, total: int, schedule: Schedule) -> float:
    """Return the factor on the learning rate at a step counted from 0."""
    if schedule == "constant":
        return 1.0
    warm = max(1, total // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))
