"""The denoising U-Net (DAE, CE-UNet)."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks import check_images
from .outputs import LesionOutput, Output
from .resampling import resample
from .specs import ModelSpec, UNetOptions

RARE = -3.0
"""Log-odds of a lesion that the second head starts with: lesions are rare."""

GROUPS = 8
"""Groups of a group normalisation, fewer where the channels cannot be shared by so many."""


def convolutions(channels: int, maps: int) -> nn.Sequential:
    """Return two 3x3 convolutions, each with group normalisation and SiLU."""
    layers: list[nn.Module] = []
    for inner in (channels, maps):
        layers += [
            nn.Conv2d(inner, maps, 3, padding=1, bias=False),
            nn.GroupNorm(math.gcd(GROUPS, maps), maps),
            nn.SiLU(),
        ]
    return nn.Sequential(*layers)


class DenoisingUNet(nn.Module):
    """U-Net (Ronneberger, Fischer, Brox 2015) that repairs slices, after the one of Kascenas et al. 2022.

    Each level is halved by averaging.

    Larger images are reduced to the spec's working size. What the layers changed there is enlarged and added to the
    image: detail that the layers never saw stays in the reconstruction, and the residual is the change alone, without
    the edges that a blurred reconstruction would leave. Without a reduction the reconstruction is the layers' output.

    Args:
        spec: The architecture (family ``unet``).
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.options = spec.unet or UNetOptions()
        self.side, self.padded = spec.side, spec.sizes[0] * self.options.stem
        self._heads: tuple[Tensor, Tensor] | None = None  # weights and biases of both, once they are settled
        maps, pixels = spec.feature_maps, self.options.stem**2
        adding = self.options.joining == "add"
        first = pixels * (1 + self.options.mirror_input)
        self.encoder = nn.ModuleList(convolutions(inner, outer) for inner, outer in pairwise((first, *maps)))
        upwards = list(pairwise(reversed(maps)))
        self.narrow = nn.ModuleList(nn.Conv2d(deep, here, 1) for deep, here in upwards if adding)
        self.decoder = nn.ModuleList(
            convolutions(here if adding else deep + here, here) for deep, here in upwards
        )
        self.head = nn.Conv2d(maps[0], pixels, 3, padding=1)
        if self.options.adds_input:  # it starts as the identity
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]  # it has one
        if self.options.predicts_lesion:
            self.lesion_head = nn.Conv2d(maps[0], pixels, 3, padding=1)
            nn.init.zeros_(self.lesion_head.weight)
            nn.init.constant_(self.lesion_head.bias, RARE)  # type: ignore[arg-type]

    def settle(self) -> None:
        """Prepare for reconstructing alone, when the weights are there to stay: the same results in less time."""
        for module in self.modules():
            if isinstance(module, nn.SiLU):
                module.inplace = True
        if self.options.predicts_lesion:
            weights = torch.cat([self.head.weight, self.lesion_head.weight]).detach()
            biases = [head.bias for head in (self.head, self.lesion_head) if head.bias is not None]
            self._heads = weights.to(memory_format=torch.channels_last), torch.cat(biases).detach()

    def restore(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map (N, 1, W, W) of the working size to the restored images and the log-odds of lesions, the same shape."""
        side, wanted, stem = x.shape[-1], self.padded, self.options.stem
        before = (wanted - side) // 2
        after = wanted - side - before
        maps = torch.cat([x, x.flip(-1)], dim=1) if self.options.mirror_input else x
        maps = functional.pad(maps, (before, after, before, after))
        if stem > 1:
            maps = functional.pixel_unshuffle(maps, stem)
        skipped: list[Tensor] = []
        for level in self.encoder:
            maps = level(functional.avg_pool2d(maps, 2) if skipped else maps)
            skipped.append(maps)
        for number, level in enumerate(self.decoder):
            beside = skipped[-2 - number]
            if len(self.narrow):  # before it is enlarged: the same, at a quarter of the cost
                maps = self.narrow[number](maps)
            if self.options.enlarging == "nearest":
                maps = functional.interpolate(maps, scale_factor=2.0, mode="nearest")
            else:
                maps = functional.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)
            if not len(self.narrow):
                maps = torch.cat([maps, beside], dim=1)
            else:  # fresh memory for every layer costs time; only learning needs the old values again
                maps = maps + beside if torch.is_grad_enabled() else maps.add_(beside)
            maps = level(maps)

        def whole(result: Tensor) -> Tensor:
            if stem > 1:
                result = functional.pixel_shuffle(result, stem)
            return result[..., before : before + side, before : before + side]

        lesion = None
        if self._heads is not None:  # a convolution of few maps takes as long as one of twice as many
            both = whole(functional.conv2d(maps, *self._heads, padding=1).contiguous())
            result, lesion = both[:, :1], both[:, 1:]
        else:
            result = whole(self.head(maps))
            if self.options.predicts_lesion:
                lesion = whole(self.lesion_head(maps))
        return (x + result if self.options.adds_input else result), lesion

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
        check_images(x, self.spec.image_size)
        if self.side == self.spec.image_size:
            restored, lesion = self.restore(x)
        else:
            reduced = resample(x, self.side)
            small, lesion = self.restore(reduced)
            restored = x + resample(small - reduced, self.spec.image_size)
            lesion = None if lesion is None else resample(lesion, self.spec.image_size)
        return Output(restored) if lesion is None else LesionOutput(restored, lesion)
