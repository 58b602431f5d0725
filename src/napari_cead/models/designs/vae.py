"""The variational autoencoders (VAE1, VAE2 and their context-encoding twins)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from ..family import Design, Figure, NetworkFamily
from .ae import needs_latent

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..specs import ModelSpec
    from ..vae import VariationalAutoencoder

COLLAPSED = 0.01
"""Nats per latent dimension (and slice) below which a posterior tells nothing about its image."""

SETTLED = 3
"""Epochs before a small divergence means something."""


class VariationalAutoencoders(NetworkFamily):
    """A diagonal Gaussian between encoder and decoder."""

    name = "vae"
    fields = frozenset({"coord_conv"})
    settings = frozenset({"beta"})
    divergent = True
    figures = (
        Figure("kl_per_dimension", "divergence (VAE)", "nats per dimension", "KL per latent dimension"),
    )
    designs = (
        Design(
            "vae1",
            paper={"feature_maps": (16, 64, 256, 512), "latent": 512, "coord_conv": True},
            small={"feature_maps": (8, 24, 48, 96, 128), "latent": 128, "coord_conv": True},
            twin=True,
            of_paper=True,
        ),
        # At both sizes it differs from VAE1 in the same way: one level less, half the latents, no coordinates.
        Design(
            "vae2",
            paper={"feature_maps": (64, 128, 256), "latent": 256},
            small={"feature_maps": (16, 32, 64, 64), "latent": 64},
            twin=True,
            of_paper=True,
        ),
    )

    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec without a latent vector."""
        needs_latent(spec)

    def build(self, spec: ModelSpec) -> nn.Module:
        """Return a :class:`~napari_cead.models.vae.VariationalAutoencoder`."""
        from ..vae import VariationalAutoencoder

        return VariationalAutoencoder(spec)

    def divergence(self, network: nn.Module, images: Tensor) -> Tensor:
        """Return the divergence of the posterior from the standard normal, summed over dimensions and images."""
        from ..terms import kl_divergence

        mu, log_std = cast("VariationalAutoencoder", network).encode(images)
        return kl_divergence(mu, log_std).sum()

    def epoch_figures(self, settings: Any, validation: Mapping[str, float]) -> dict[str, float]:
        """Return the divergence in nats per slice, and per dimension."""
        if not settings.beta:
            return {}
        divergence = validation["latent"] / settings.beta
        return {"validation_kl": divergence, "kl_per_dimension": divergence / settings.spec.latent}

    def advice(self, history: Sequence[Mapping[str, Any]]) -> str | None:
        """Say that the posterior has collapsed."""
        value = history[-1].get("kl_per_dimension")
        value = math.nan if value is None else float(value)
        if len(history) < SETTLED or not value < COLLAPSED:
            return None
        return (
            f"The posterior has collapsed ({value:.2g} nats per latent dimension): the latent code says nothing "
            "about the image; a smaller --beta helps."
        )


OFFERED = (VariationalAutoencoders(),)
