"""Layers shared by the autoencoder and the variational autoencoder.

The design is that of Zimmerer et al. 2018, *Context-encoding Variational Autoencoder for Unsupervised Anomaly
Detection*: strided 4x4 convolutions without bias or normalisation, LeakyReLU, a dense layer to the latent vector, and
the mirror image of it all.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import ParameterError
from .specs import ModelSpec

SLOPE = 0.01
"""Negative slope of the LeakyReLUs."""


def activate(x: Tensor) -> Tensor:
    """Apply a LeakyReLU to what the layer before just made; in place unless gradients are asked for."""
    return functional.leaky_relu(x, SLOPE, inplace=not torch.is_grad_enabled())


def coordinate_map(height: int, width: int, like: Tensor) -> Tensor:
    """Return the two coordinate channels of CoordConv: y, then x, each from -1 to 1.

    A map of one pixel has the coordinates (-1, -1), so that the weights on them act as a bias and can learn.

    Args:
        height: Rows of the map.
        width: Columns of the map.
        like: A tensor with the device and type wanted.

    Returns:
        (1, 2, height, width).
    """
    y = torch.linspace(-1, 1, height, device=like.device, dtype=like.dtype)
    x = torch.linspace(-1, 1, width, device=like.device, dtype=like.dtype)
    return torch.stack(torch.meshgrid(y, x, indexing="ij")).unsqueeze(0)


class CoordConv(nn.Module):
    """A convolution, transposed or not, that may also see the coordinates of its pixels (Liu et al. 2018).

    The convolution of a concatenation is the sum of two convolutions, and the one of the coordinates is the same for
    all images: it runs once per batch, and no image is ever copied to have two channels added. The number of weights
    and the function are those of the concatenation.

    Args:
        convolution: What sees the image.
        coordinates: What sees the coordinates (same geometry, 2 channels in), or None.
    """

    def __init__(self, convolution: nn.Module, coordinates: nn.Module | None) -> None:
        super().__init__()
        self.convolution = convolution
        self.coordinates = coordinates

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H', W')."""
        result: Tensor = self.convolution(x)
        if self.coordinates is not None:
            position: Tensor = self.coordinates(coordinate_map(x.shape[-2], x.shape[-1], x))
            # Fresh memory for every layer is a tenth of a run on CPUs; only learning needs the old values again.
            result = result + position if torch.is_grad_enabled() else result.add_(position)
        return result


def down(channels: int, maps: int, coord_conv: bool) -> CoordConv:
    """Return a convolution that halves a map, rounding down."""
    convolution = nn.Conv2d(channels, maps, 4, 2, 1, bias=False)
    if not coord_conv:
        return CoordConv(convolution, None)
    coordinates = nn.Conv2d(2, maps, 4, 2, 1, bias=False)
    bound = 1 / math.sqrt((channels + 2) * 16)  # PyTorch's default for the concatenation of both
    nn.init.uniform_(convolution.weight, -bound, bound)
    nn.init.uniform_(coordinates.weight, -bound, bound)
    return CoordConv(convolution, coordinates)


def up(channels: int, maps: int, coord_conv: bool, source: int, target: int) -> CoordConv:
    """Return a transposed convolution from a map of side ``source`` to exactly ``target``: twice that, or 1 more."""
    odd = target - 2 * source
    convolution = nn.ConvTranspose2d(channels, maps, 4, 2, 1, output_padding=odd, bias=False)
    coordinates = nn.ConvTranspose2d(2, maps, 4, 2, 1, output_padding=odd, bias=False) if coord_conv else None
    return CoordConv(convolution, coordinates)


class Encoder(nn.Module):
    """Image to vector.

    The last convolution has a kernel as large as its map, which makes it a plain matrix product: it is stored and
    computed as one.

    Args:
        spec: The architecture.
        outputs: Length of the vector.
    """

    def __init__(self, spec: ModelSpec, outputs: int) -> None:
        super().__init__()
        self.image_size = spec.image_size
        self.coord_conv = spec.coord_conv
        channels = (1, *spec.feature_maps)
        self.down = nn.ModuleList(down(inner, outer, spec.coord_conv) for inner, outer in pairwise(channels))
        maps = channels[-1] + 2 * spec.coord_conv
        self.dense = nn.Linear(maps * spec.sizes[-1] ** 2, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 1, S, S) to (N, outputs).

        Raises:
            ParameterError: If the images are not of the size the network was built for.
        """
        check_images(x, self.image_size)
        for convolution in self.down:
            x = activate(convolution(x))
        if self.coord_conv:
            coordinates = coordinate_map(x.shape[-2], x.shape[-1], x).expand(len(x), -1, -1, -1)
            x = torch.cat([x, coordinates], dim=1)
        result: Tensor = self.dense(x.flatten(1))
        return result


class Decoder(nn.Module):
    """Vector to image, the mirror of :class:`Encoder`; the last layer is linear.

    Args:
        spec: The architecture.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.coord_conv = spec.coord_conv
        self.shape = (spec.feature_maps[-1], spec.sizes[-1], spec.sizes[-1])
        self.dense = nn.Linear(spec.latent + 2 * spec.coord_conv, math.prod(self.shape), bias=False)
        bound = 1 / math.sqrt(
            math.prod(self.shape)
        )  # PyTorch's default for the transposed convolution that it is
        nn.init.uniform_(self.dense.weight, -bound, bound)
        channels = (*reversed(spec.feature_maps), 1)
        sizes = tuple(reversed(spec.sizes))
        self.up = nn.ModuleList(
            up(channels[i], channels[i + 1], spec.coord_conv, sizes[i], sizes[i + 1])
            for i in range(spec.strides)
        )

    def forward(self, latent: Tensor) -> Tensor:
        """Map (N, latent) to (N, 1, S, S)."""
        if self.coord_conv:  # a 1x1 map: both its coordinates are -1
            latent = functional.pad(latent, (0, 2), value=-1.0)
        x: Tensor = self.dense(latent).unflatten(1, self.shape)
        for convolution in self.up:
            x = convolution(activate(x))
        return x


def check_images(x: Tensor, size: int) -> None:
    """Check the shape of a batch.

    Raises:
        ParameterError: If it is not (N, 1, size, size).
    """
    if x.ndim != 4 or x.shape[1:] != (1, size, size):
        raise ParameterError(
            f"the network takes images of shape (N, 1, {size}, {size}), not {tuple(x.shape)}",
            hint="crop or pad the slices, or build the network for their size",
        )
