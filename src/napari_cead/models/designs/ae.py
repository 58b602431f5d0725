"""The plain autoencoder (AE, CE-AE)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..family import Design, NetworkFamily

if TYPE_CHECKING:
    from torch import nn

    from ..specs import ModelSpec


def needs_latent(spec: ModelSpec) -> None:
    """Refuse a spec without a latent vector.

    Raises:
        ValueError: If its length is 0.
    """
    if not spec.latent:
        raise ValueError(f"{spec.family} needs a latent of at least 1")


class Autoencoders(NetworkFamily):
    """A vector between encoder and decoder."""

    name = "ae"
    fields = frozenset({"coord_conv"})
    designs = (
        Design(
            "ae",
            paper={"feature_maps": (16, 64, 256, 512), "latent": 512, "coord_conv": True},
            small={"feature_maps": (8, 24, 48, 96, 128), "latent": 128, "coord_conv": True},
            twin=True,
            of_paper=True,
        ),
    )

    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec without a latent vector."""
        needs_latent(spec)

    def build(self, spec: ModelSpec) -> nn.Module:
        """Return an :class:`~napari_cead.models.autoencoder.Autoencoder`."""
        from ..autoencoder import Autoencoder

        return Autoencoder(spec)


OFFERED = (Autoencoders(),)
