"""The network as the engine trains it: images in, losses out, in one module that can be wrapped and compiled."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..errors import ModelError, ParameterError
from ..models import build
from ..models.losses import LossWeights
from ..runs.training_settings import TrainingSettings

TERMS = ("total", "reconstruction", "latent", "context", "lesion")
"""The losses, in the order in which :class:`Objective` returns them."""

ALL = "leave out --freeze-encoder"


class Objective(nn.Module):
    """A network with its losses.

    Args:
        network: The network.
        settings: The weights of the losses.
    """

    def __init__(self, network: nn.Module, settings: TrainingSettings) -> None:
        super().__init__()
        self.network = network
        self.family, self.weights = settings.spec.network, weights_of(settings)

    def forward(
        self,
        images: Tensor,
        corrupted: Tensor | None = None,
        lesion: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, ...]:
        """Return what is minimised, all :data:`TERMS` (5,) without gradient, and what the family's tracker takes in.

        Args:
            images: (N, 1, S, S), clean.
            corrupted: (N, 1, S, S), the same images corrupted; None: no context encoding.
            lesion: (N, 1, S, S) from 0 to 1, the simulated lesions in the corrupted images.
            generator: Source of randomness.
        """
        losses = self.family.losses(self.network, images, corrupted, lesion, self.weights, generator)
        terms = torch.stack([getattr(losses, name) for name in TERMS]).detach()
        return losses.total, terms, *(() if losses.codes is None else losses.codes.kept)


def weights_of(settings: TrainingSettings) -> LossWeights:
    """Return what the settings say of the terms of the loss."""
    return LossWeights(
        beta=settings.beta,
        commitment=settings.commitment,
        codebook="loss" if settings.codebook_decay is None else "ema",
        error=settings.loss,
        bright_limit=settings.bright_limit,
        emphasis=settings.emphasis,
        small_emphasis=settings.small_emphasis,
        lesion=settings.lesion_weight,
    )


def initial_network(settings: TrainingSettings, weights: Mapping[str, Tensor] | None = None) -> nn.Module:
    """Return the network before training, on the CPU.

    Args:
        settings: Architecture and seed; a frozen encoder needs no gradients.
        weights: Weights to start from; None: random ones.

    Raises:
        ModelError: If the weights are those of another architecture.
        ParameterError: If an encoder should stay as it is and there is none.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = build(settings.spec)
    if weights is not None:
        try:
            network.load_state_dict(dict(weights))
        except RuntimeError:
            raise ModelError(
                f"the model to start from has other layers than {settings.spec.name} of size {settings.spec.size}",
                hint="start from a model of the same design and size",
            ) from None
    if settings.freeze_encoder:
        encoder = getattr(network, "encoder", None)
        if not isinstance(encoder, nn.Module):
            raise ParameterError(f"{settings.spec.name} has no encoder that could stay as it is", hint=ALL)
        encoder.requires_grad_(False)
    settings.spec.network.prepare(network, settings)
    return network


def optimizer_of(
    settings: TrainingSettings, network: nn.Module, device: torch.device
) -> torch.optim.Optimizer:
    """Return the optimiser named in the settings, for all parameters that are not frozen."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    rate, fused = settings.learning_rate, device.type == "cuda"
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(learning, lr=rate, weight_decay=settings.weight_decay, fused=fused)
    return torch.optim.Adam(learning, lr=rate, fused=fused)
