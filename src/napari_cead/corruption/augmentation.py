"""What of healthy slices is varied at random, so that a network does not learn it by heart."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Augmentation(BaseModel):
    """What to vary.

    Attributes:
        flip: Whether to mirror left and right, half of the time.
        intensity: Largest relative change of brightness, 0.1 for ±10 %.
        contrast: Largest change of the exponent of a power curve, as a logarithm: 0.25 for exponents of 0.78 to
            1.28. It keeps 0 and the tissue's level.
        tissue_contrast: Largest change, as a logarithm, of how far the brain's intensities lie from the tissue's
            level: 0.7 for half to double. Scanners differ in how far grey matter, white matter and liquid lie apart.
        bias: Standard deviation of a smooth factor over the image, as a bright or dark side of a coil makes it.
        scale: Largest relative change of size along each axis, 0.05 for ±5 %.
        rotation: Largest turn in the plane, in degrees.
        shift: Largest move along each axis, as a share of the image's side.
        blur: Largest standard deviation of a Gaussian along each axis, in pixels, on a third of the images: scans
            are not equally sharp.
        rim: Largest brightening of the brain's outermost pixels, in patches, on a third of the images: skull stripping
            leaves such remains, and they are no lesions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flip: bool = True
    intensity: float = Field(default=0.1, ge=0, lt=1)
    contrast: float = Field(default=0.0, ge=0, le=1)
    tissue_contrast: float = Field(default=0.0, ge=0, le=1)
    bias: float = Field(default=0.0, ge=0, le=0.3)
    scale: float = Field(default=0.0, ge=0, lt=1)
    rotation: float = Field(default=0.0, ge=0, le=180)
    shift: float = Field(default=0.0, ge=0, lt=1)
    blur: float = Field(default=0.0, ge=0, le=3)
    rim: float = Field(default=0.0, ge=0, le=1)

    @property
    def changes_intensity(self) -> bool:
        """Whether intensities may leave [0, 1], so that they have to be clipped."""
        return bool(self.intensity or self.contrast or self.tissue_contrast or self.bias or self.rim)
