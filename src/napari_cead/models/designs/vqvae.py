"""The vector-quantised autoencoders (VQ-VAE, CE-VQ-VAE)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from ..family import Design, Figure, NetworkFamily, Tracker
from .ae import needs_latent

if TYPE_CHECKING:
    from torch import nn

    from ..specs import ModelSpec
    from ..vqvae import VectorQuantisedAutoencoder

FEW_CODES = 8
"""A VQ-VAE with at most this many used codes has lost most of its codebook."""

SETTLED = 3
"""Epochs before few codes mean something."""


class VectorQuantisedAutoencoders(NetworkFamily):
    """A map of code vectors between encoder and decoder."""

    name = "vqvae"
    fields = frozenset({"codes", "residual_maps", "residual_layers"})
    settings = frozenset({"commitment", "codebook_decay", "reset_dead_codes"})
    # With the codebook loss alone the small one soon uses 3 of its 128 codes (measured), so there the codebook follows
    # moving averages and dead codes move.
    presets = MappingProxyType(
        {"paper": {"commitment": 1.0}, "small": {"codebook_decay": 0.99, "reset_dead_codes": True}}
    )
    figures = (Figure("used_codes", "used codes (VQ-VAE)", "codes", "used codes", "{} codes used"),)
    designs = (
        Design(
            "vq-vae",
            paper={
                "feature_maps": (128, 256, 256),
                "latent": 256,
                "codes": 512,
                "residual_maps": 32,
                "residual_layers": 2,
            },
            small={
                "feature_maps": (16, 32, 32),
                "latent": 32,
                "codes": 128,
                "residual_maps": 8,
                "residual_layers": 2,
            },
            twin=True,
            of_paper=True,
        ),
    )

    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec without codes, or without a convolution that does not halve the image."""
        needs_latent(spec)
        if len(spec.feature_maps) < 2 or spec.codes < 2 or (spec.residual_layers and not spec.residual_maps):
            raise ValueError("a vqvae needs at least two feature_maps, two codes, and residual_maps above 0")

    def strides(self, spec: ModelSpec) -> int:
        """All but the last convolution halve the image."""
        return len(spec.feature_maps) - 1

    def maps(self, spec: ModelSpec) -> list[tuple[int, int]]:
        """Add the distances to all codes, and what is inside a residual layer."""
        return [*super().maps(spec), (max(spec.codes, spec.residual_maps), spec.sizes[-1])]

    def build(self, spec: ModelSpec) -> nn.Module:
        """Return a :class:`~napari_cead.models.vqvae.VectorQuantisedAutoencoder`."""
        from ..vqvae import VectorQuantisedAutoencoder

        return VectorQuantisedAutoencoder(spec)

    def prepare(self, network: nn.Module, settings: Any) -> None:
        """Leave a codebook that follows moving averages out of the optimizer."""
        codebook = cast("VectorQuantisedAutoencoder", network).codebook
        codebook.requires_grad_(settings.codebook_decay is None)

    def tracker(self, network: nn.Module, settings: Any) -> Tracker:
        """Return the tracker that counts the used codes and moves them."""
        from ..codebook import CodebookTracker

        quantised = cast("VectorQuantisedAutoencoder", network)
        return CodebookTracker(quantised, decay=settings.codebook_decay, reset_dead=settings.reset_dead_codes)

    def advice(self, history: Sequence[Mapping[str, Any]]) -> str | None:
        """Say that most of the codebook is lost."""
        value = history[-1].get("used_codes")
        value = math.nan if value is None else float(value)
        if len(history) < SETTLED or not value <= FEW_CODES:
            return None
        return f"Only {value:.0f} codes of the codebook are in use: --codebook ema with --reset-dead-codes helps."


OFFERED = (VectorQuantisedAutoencoders(),)
