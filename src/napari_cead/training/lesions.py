"""Simulated lesions: smooth blobs that are brighter (or darker) than what lies under them, which the network takes out.

They say where the network may change a slice and by how much, not what a lesion of some disease looks like.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from .blobs import Irregularity, Spacing, between, blob, numbers, ordered, tissue_level

Probability = Annotated[float, Field(ge=0, le=1)]


LEAST = 0.4
"""How far a blending lesion replaces what lies under it, at least."""


class SimulatedLesions(BaseModel):
    """Blobs of random place, size, outline and rim that shift the intensity, inside the brain.

    Attributes:
        kind: Which corruption this is.
        lesions: Smallest and largest number in an image, each number equally likely.
        diameter_mm: Smallest and largest mean diameter in mm; each order of size is equally likely.
        shift: Smallest and largest change of the intensity, which lies in [0, 1]; the result is clipped to that.
        darker: Share of the lesions that darken; 0: all brighten, as on FLAIR, 0.5: either is equally likely.
        blending: Share of the lesions that replace what lies under them by a level beside that of the tissue, by 40 to
            100 %; the others are added to it, so that all its texture shows through.
        sparing: Share of the lesions that leave liquid (less than half the tissue's level) as it is.
        rim_mm: Narrowest and widest rim in which a lesion fades, in mm.
        irregularity: How far an outline is from an ellipse, in radii.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["lesions"] = "lesions"
    lesions: tuple[int, int] = (1, 5)
    diameter_mm: tuple[float, float] = (3.0, 50.0)
    shift: tuple[float, float] = (0.08, 0.6)
    darker: Probability = 0.0
    blending: Probability = 0.0
    sparing: Probability = 0.0
    rim_mm: tuple[float, float] = (1.0, 6.0)
    irregularity: Irregularity = Field(default=0.3)

    @model_validator(mode="after")
    def _ordered(self) -> SimulatedLesions:
        ordered(self.lesions, 1, 16, "lesions")
        ordered(self.diameter_mm, 1, 200, "diameter_mm")
        ordered(self.shift, 0.01, 1, "shift")
        ordered(self.rim_mm, 0.1, 50, "rim_mm")
        return self


def add_lesions(
    images: Tensor, settings: SimulatedLesions, spacing: Spacing, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Add simulated lesions to each image.

    Args:
        images: (N, 1, S, S) float in [0, 1].
        settings: What they are like.
        spacing: Size of a pixel (y, x) in mm.
        generator: Source of randomness, on the device of the images.

    Returns:
        The images and where the lesions are, (N, 1, S, S) and (N, 1, S, S) bool.
    """
    brain, count = images != 0, len(images)
    how_many, every = numbers(*settings.lesions, count, images, generator)
    level = tissue_level(images)
    tissue = images > 0.5 * level

    def happens(probability: float) -> Tensor:
        return between(0, 1, count, images, generator)[..., None] < probability

    result, touched = images, torch.zeros_like(brain)
    for number in every:
        weight = blob(
            brain[:, 0], settings.diameter_mm, settings.rim_mm, settings.irregularity, spacing, generator
        )
        weight = (weight * (number < how_many)).unsqueeze(1).to(images.dtype)
        if settings.sparing:
            weight = weight * (tissue | ~happens(settings.sparing))
        shift = between(*settings.shift, count, images, generator)[..., None].to(images.dtype)
        if settings.darker:
            shift = torch.where(happens(settings.darker), -shift, shift)
        if settings.blending:
            how_far = between(LEAST, 1, count, images, generator)[..., None].to(images.dtype)
            shift = torch.where(happens(settings.blending), how_far * (level + shift - images), shift)
        touched = touched | (weight > 0)
        result = result + weight * shift
    return torch.where(touched, result.clamp(0, 1), images), touched
