"""The variational autoencoders (VAE1, VAE2 and their context-encoding twins)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .blocks import Decoder, Encoder
from .outputs import Output
from .specs import ModelSpec
from .terms import kl_divergence

if TYPE_CHECKING:
    from .losses import LossWeights


@dataclass(frozen=True)
class VariationalOutput(Output):
    """Output of a variational autoencoder.

    Attributes:
        mu: (N, latent), mean of the posterior.
        log_std: (N, latent), logarithm of its standard deviation.
        latent: (N, latent), the vector that was decoded: a sample, or ``mu``.
    """

    mu: Tensor
    log_std: Tensor
    latent: Tensor

    def latent_error(self, weights: LossWeights) -> Tensor:
        """Return the divergence times beta, summed over dimensions, mean over the batch."""
        return weights.beta * kl_divergence(self.mu, self.log_std).sum() / len(self.mu)


class VariationalAutoencoder(nn.Module):
    """Dense convolutional VAE of Zimmerer et al. 2018 (Kingma & Welling 2014), with a diagonal Gaussian posterior.

    Args:
        spec: The architecture (family ``vae``).
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = Encoder(spec, 2 * spec.latent)
        self.decoder = Decoder(spec)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, 1, S, S) to the posterior's mean and logarithm of its standard deviation, each (N, latent)."""
        mu, log_std = self.encoder(x).chunk(2, dim=1)
        return mu, log_std

    def decode(self, latent: Tensor) -> Tensor:
        """Map (N, latent) to (N, 1, S, S)."""
        result: Tensor = self.decoder(latent)
        return result

    def forward(
        self, x: Tensor, *, sample: bool | None = None, generator: torch.Generator | None = None
    ) -> VariationalOutput:
        """Reconstruct a batch.

        Args:
            x: (N, 1, S, S).
            sample: Whether to decode a sample of the posterior rather than its mean; None: only in training mode.
            generator: Where the sample's noise comes from; it lives on the device of ``x``.

        Raises:
            ParameterError: If the images are not of the size the network was built for.
        """
        mu, log_std = self.encode(x)
        latent = mu
        if self.training if sample is None else sample:
            noise = torch.empty_like(mu).normal_(generator=generator)
            latent = mu + noise * log_std.exp()
        return VariationalOutput(self.decode(latent), mu, log_std, latent)
