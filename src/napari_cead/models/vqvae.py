"""The vector-quantised autoencoders (VQ-VAE, CE-VQ-VAE)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks import check_images
from .outputs import Output
from .precision import single, without_autocast
from .specs import ModelSpec
from .terms import mean_squared_error

if TYPE_CHECKING:
    from .losses import LossWeights


@dataclass(frozen=True)
class QuantisedOutput(Output):
    """Output of a vector-quantised autoencoder.

    Attributes:
        encoded: (N, D, H, W), the encoder's vectors.
        quantised: (N, D, H, W), the nearest code vectors, with a gradient to the codebook only.
        indices: (N, H, W) int64, which codes they are.
    """

    encoded: Tensor
    quantised: Tensor
    indices: Tensor

    def error(self, images: Tensor) -> Tensor:
        """Return the mean squared error."""
        return mean_squared_error(self.reconstruction, images)

    def latent_error(self, weights: LossWeights) -> Tensor:
        """Return the commitment term, and the codebook's unless moving averages stand in for it."""
        commitment = weights.commitment * mean_squared_error(self.encoded, self.quantised.detach())
        if weights.codebook == "ema":
            return commitment
        return commitment + mean_squared_error(self.quantised, self.encoded.detach())

    @property
    def kept(self) -> tuple[Tensor, ...]:
        """The vectors, and which codes they are."""
        return self.encoded.detach(), self.indices


class ResidualStack(nn.Module):
    """Residual layers of van den Oord et al. 2017, each ``relu(x) + block(x)``, then a ReLU.

    Args:
        channels: Channels in and out.
        hidden: Channels between the two convolutions of a layer.
        layers: How many.
    """

    def __init__(self, channels: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, hidden, 3, padding=1, bias=False),
                nn.ReLU(),
                nn.Conv2d(hidden, channels, 1, bias=False),
            )
            for _ in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        for block in self.blocks:
            x = functional.relu(x)
            x = x + block(x)
        return functional.relu(x)


class VectorQuantisedAutoencoder(nn.Module):
    """VQ-VAE (van den Oord, Vinyals, Kavukcuoglu 2017): each latent pixel is replaced by the nearest of K code vectors.

    How the codebook learns, by the codebook loss or by moving averages, is the business of training: all state that is
    needed to use the network is in the weights.

    Args:
        spec: The architecture (family ``vqvae``).
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        strided, wide = spec.feature_maps[:-1], spec.feature_maps[-1]
        channels = (1, *strided)
        encoder: list[nn.Module] = []
        for inner, outer in zip(channels, strided, strict=False):
            encoder += [nn.Conv2d(inner, outer, 4, 2, 1), nn.ReLU()]
        self.encoder = nn.Sequential(
            *encoder,
            nn.Conv2d(strided[-1], wide, 3, padding=1),
            ResidualStack(wide, spec.residual_maps, spec.residual_layers),
            nn.Conv2d(wide, spec.latent, 1),
        )
        self.codebook = nn.Embedding(spec.codes, spec.latent)
        nn.init.uniform_(self.codebook.weight, -1 / spec.codes, 1 / spec.codes)
        outward = (wide, *reversed(strided[:-1]), 1)
        sizes = tuple(reversed(spec.sizes))
        decoder: list[nn.Module] = []
        for i in range(spec.strides):
            odd = sizes[i + 1] - 2 * sizes[i]
            decoder += [
                nn.ConvTranspose2d(outward[i], outward[i + 1], 4, 2, 1, output_padding=odd),
                nn.ReLU(),
            ]
        self.decoder = nn.Sequential(
            nn.Conv2d(spec.latent, wide, 3, padding=1),
            ResidualStack(wide, spec.residual_maps, spec.residual_layers),
            *decoder[:-1],
        )

    def encode(self, x: Tensor) -> Tensor:
        """Map (N, 1, S, S) to the vectors (N, D, H, W) before quantisation."""
        check_images(x, self.spec.image_size)
        result: Tensor = self.encoder(x)
        return result

    def nearest(self, encoded: Tensor) -> Tensor:
        """Return which code is nearest to each vector: (N, D, H, W) to (N, H, W) int64."""
        vectors = single(encoded.detach()).movedim(1, -1)
        codes = single(self.codebook.weight.detach())
        # |z|^2 is the same for all codes: |e|^2 - 2 z.e has the same smallest one.
        with without_autocast(codes.device):  # neighbouring codes differ by less than half precision resolves
            distances = torch.addmm(
                (codes * codes).sum(1), vectors.reshape(-1, codes.shape[1]), codes.T, alpha=-2
            )
        return distances.argmin(1).view(vectors.shape[:-1])

    def decode(self, quantised: Tensor) -> Tensor:
        """Map (N, D, H, W) to (N, 1, S, S)."""
        result: Tensor = self.decoder(quantised)
        return result

    def forward(
        self, x: Tensor, *, sample: bool | None = None, generator: torch.Generator | None = None
    ) -> QuantisedOutput:
        """Reconstruct a batch.

        Args:
            x: (N, 1, S, S).
            sample: Ignored: nothing here is random (the families share one signature).
            generator: Ignored, likewise.

        Raises:
            ParameterError: If the images are not of the size the network was built for.
        """
        encoded = self.encode(x)
        indices = self.nearest(encoded)
        quantised = self.codebook(indices).movedim(-1, 1)
        straight_through = encoded + (quantised - encoded).detach()
        return QuantisedOutput(self.decode(straight_through), encoded, quantised, indices)
