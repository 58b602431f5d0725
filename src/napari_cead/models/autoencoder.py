"""The plain autoencoder (AE, CE-AE)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import Decoder, Encoder
from .outputs import Output
from .specs import ModelSpec


class Autoencoder(nn.Module):
    """Dense convolutional autoencoder, as in Zimmerer et al. 2018 with a plain latent vector.

    Args:
        spec: The architecture (family ``ae``).
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = Encoder(spec, spec.latent)
        self.decoder = Decoder(spec)

    def encode(self, x: Tensor) -> Tensor:
        """Map (N, 1, S, S) to the latent vectors (N, latent)."""
        result: Tensor = self.encoder(x)
        return result

    def decode(self, latent: Tensor) -> Tensor:
        """Map (N, latent) to (N, 1, S, S)."""
        result: Tensor = self.decoder(latent)
        return result

    def forward(
        self, x: Tensor, *, sample: bool | None = None, generator: torch.Generator | None = None
    ) -> Output:
        """Reconstruct a batch.

        Args:
            x: (N, 1, S, S).
            sample: Ignored: nothing here is random (the families share one signature).
            generator: Ignored, likewise.

        Raises:
            ParameterError: If the images are not of the size the network was built for.
        """
        return Output(self.decode(self.encode(x)))
