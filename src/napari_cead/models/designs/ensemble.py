"""Ensembles: several networks for the same slices, whose anomaly maps are joined by their median."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from ..family import NetworkFamily

if TYPE_CHECKING:
    from torch import nn

    from ..specs import ModelSpec


class Ensembles(NetworkFamily):
    """Trained networks side by side; see :class:`~napari_cead.models.ensemble.Ensemble`.

    Args:
        name: Name of the family.
        denoising: Whether its members are denoisers.
    """

    trainable = False

    def __init__(self, name: str, *, denoising: bool) -> None:
        self.name, self.denoising = name, denoising

    @cached_property
    def options(self) -> type[BaseModel]:  # type: ignore[override]
        """The specs of the members."""
        from ..ensemble import EnsembleOptions

        return EnsembleOptions

    def check(self, spec: ModelSpec) -> None:
        """Refuse members that do not take the same slices or do not return the same."""
        for member in self.members(spec):
            if not member.network.trainable:
                raise ValueError("a member of an ensemble cannot be an ensemble")
            if member.image_size != spec.image_size:
                raise ValueError(f"{member.name} takes {member.image_size} pixels, not {spec.image_size}")
            if member.denoising != self.denoising:
                raise ValueError("denoisers and autoencoders cannot form an ensemble")
        if len({member.predicts_lesion for member in self.members(spec)}) > 1:
            raise ValueError("only some of the members predict where a lesion is")

    def members(self, spec: ModelSpec) -> tuple[ModelSpec, ...]:
        """Return the specs of the members."""
        members: tuple[ModelSpec, ...] = getattr(spec.options, "members", ())
        return members

    def strides(self, spec: ModelSpec) -> int:
        """Each member halves the image as it does alone; what counts here is the whole image."""
        return 0

    def maps(self, spec: ModelSpec) -> list[tuple[int, int]]:
        """The members run one after the other: the largest maps are those of any of them."""
        return [found for member in self.members(spec) for found in member.network.maps(member)]

    def predicts_lesion(self, spec: ModelSpec) -> bool:
        """As its members do."""
        return any(member.predicts_lesion for member in self.members(spec))

    def voices(self, spec: ModelSpec) -> int:
        """All members, but in an ensemble of their outputs."""
        return len(self.members(spec)) if getattr(spec.options, "median", "") == "maps" else 1

    def build(self, spec: ModelSpec) -> nn.Module:
        """Return an :class:`~napari_cead.models.ensemble.Ensemble`."""
        from ..ensemble import Ensemble

        return Ensemble(spec)

    def spec_of(self, members: tuple[ModelSpec, ...]) -> dict[str, Any]:
        """Return the fields of the spec of an ensemble."""
        first = members[0]
        return {
            "name": f"{self.name}-of-{first.name}",
            "family": self.name,
            "feature_maps": first.feature_maps,
            "latent": 0,
            "image_size": first.image_size,
            "options": {"members": members, "median": "maps"},
        }


OFFERED = (
    Ensembles("ensemble", denoising=False),
    Ensembles("denoiser-ensemble", denoising=True),
)
