"""The network as the engine trains it: images in, losses out, in one module that can be wrapped and compiled."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..models import build
from ..models.outputs import QuantisedOutput
from .losses import objective
from .settings import TrainingSettings

TERMS = ("total", "reconstruction", "latent", "context", "lesion")
"""The losses, in the order in which :class:`Objective` returns them."""


class Objective(nn.Module):
    """A network with its losses.

    Args:
        network: The network.
        settings: The weights of the losses.
    """

    def __init__(self, network: nn.Module, settings: TrainingSettings) -> None:
        super().__init__()
        self.network = network
        self.settings = settings

    def forward(
        self,
        images: Tensor,
        corrupted: Tensor | None = None,
        lesion: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Return the loss to minimise, all :data:`TERMS` (5,) without gradient, and a VQ-VAE's vectors and codes.

        Args:
            images: (N, 1, S, S), clean.
            corrupted: (N, 1, S, S), the same images corrupted; None: no context encoding.
            lesion: (N, 1, S, S) from 0 to 1, the simulated lesions in the corrupted images.
            generator: Source of a VAE's samples.
        """
        settings = self.settings
        losses = objective(
            self.network,
            images,
            corrupted,
            beta=settings.beta,
            commitment=settings.commitment,
            codebook="loss" if settings.codebook_decay is None else "ema",
            denoising=settings.loss if settings.spec.denoising else None,
            bright_limit=settings.bright_limit,
            emphasis=settings.emphasis,
            small_emphasis=settings.small_emphasis,
            lesion=lesion,
            lesion_weight=settings.lesion_weight,
            generator=generator,
        )
        terms = torch.stack([getattr(losses, name) for name in TERMS]).detach()
        codes = losses.codes
        if codes is None:
            return losses.total, terms, None, None, None
        return losses.total, terms, codes.encoded.detach(), codes.quantised.detach(), codes.indices


def initial_network(settings: TrainingSettings, weights: Mapping[str, Tensor] | None = None) -> nn.Module:
    """Return the network before training, on the CPU.

    Args:
        settings: Architecture and seed; a frozen encoder needs no gradients.
        weights: Weights to start from; None: random ones.

    Raises:
        ModelError: If the weights are those of another architecture.
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
                mend="start from a model of the same design and size",
            ) from None
    if settings.freeze_encoder:
        encoder: nn.Module = network.encoder  # type: ignore[assignment]
        encoder.requires_grad_(False)
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


def quantised(encoded: Tensor | None, codes: Tensor | None, indices: Tensor | None) -> QuantisedOutput | None:
    """Reassemble the parts returned by :class:`Objective`."""
    if encoded is None or codes is None or indices is None:
        return None
    return QuantisedOutput(encoded, encoded, codes, indices)
