"""What a network looks like, as data: the named designs of the paper and any variant of them.

The eight names are those of Paolini, Boracchi, Matteucci, *Unsupervised Detection of Lesion in Brain MRI using Context
Encoding AutoEncoders*. A name with ``ce-`` is the same network as the one without, trained with context encoding.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..errors import ParameterError

Family = Literal["ae", "vae", "vqvae"]
Size = Literal["paper", "small", "custom"]
Count = Annotated[int, Field(ge=1, le=1 << 16)]

IMAGE_SIZE = 196
"""Side of the paper's crop in pixels."""
LARGEST_MAP = 1 << 28
"""Most numbers in a feature map of one slice, 1 GiB: two hundred times that of the paper's largest network."""


class ModelSpec(BaseModel):
    """Architecture of one network, enough to build it and to know the shapes of all its weights.

    Attributes:
        name: Name of the design, for instance ``"ce-vae1"``.
        family: Kind of latent space: a vector (``ae``), a diagonal Gaussian (``vae``), a map of codes (``vqvae``).
        feature_maps: Channels after each convolution of the encoder; the decoder mirrors them. In the ``ae`` and
            ``vae`` families each of them halves the image, in ``vqvae`` all but the last do.
        latent: Length of the latent vector; of a code vector in the ``vqvae`` family.
        coord_conv: Whether each convolution also sees its pixels' coordinates (Liu et al. 2018).
        context_encoding: Whether the network is meant to be trained with context encoding (same layers either way).
        codes: Number of code vectors (``vqvae`` only, 0 otherwise).
        residual_maps: Hidden channels of a residual layer (``vqvae`` only, 0 otherwise).
        residual_layers: Residual layers in the encoder, and in the decoder (``vqvae`` only, 0 otherwise).
        size: ``"paper"``, ``"small"`` (at most 2.4 million parameters) or ``"custom"``.
        image_size: Side of the square image in pixels, going in and coming out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    family: Family
    feature_maps: tuple[Count, ...] = Field(min_length=1, max_length=12)
    latent: Count
    coord_conv: bool = False
    context_encoding: bool = False
    codes: int = Field(default=0, ge=0, le=1 << 16)
    residual_maps: int = Field(default=0, ge=0, le=1 << 16)
    residual_layers: int = Field(default=0, ge=0, le=64)
    size: Size = "custom"
    image_size: int = Field(default=IMAGE_SIZE, ge=1, le=4096)

    @field_validator("feature_maps", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _fits(self) -> ModelSpec:
        if self.family == "vqvae":
            if (
                len(self.feature_maps) < 2
                or self.codes < 2
                or (self.residual_layers and not self.residual_maps)
            ):
                raise ValueError(
                    "a vqvae needs at least two feature_maps, two codes, and residual_maps above 0"
                )
            if self.coord_conv:
                raise ValueError("CoordConv belongs to the ae and vae families, not to vqvae")
        elif self.codes or self.residual_maps or self.residual_layers:
            raise ValueError(f"codes and residual layers belong to the vqvae family, not to {self.family}")
        if self.image_size >> self.strides < 1:
            raise ValueError(
                f"an image of {self.image_size} pixels is too small for {self.name}, which halves it {self.strides} "
                f"times; use at least {1 << self.strides} pixels"
            )
        maps = [
            (count, self.sizes[min(level, self.strides)])
            for level, count in enumerate(self.feature_maps, start=1)
        ]
        maps.append((max(self.codes, self.residual_maps), self.sizes[-1]))
        largest = max(count * size * size for count, size in maps)
        if largest > LARGEST_MAP:
            raise ValueError(
                f"a feature map of {largest:,} numbers is more than the {LARGEST_MAP:,} that are allowed"
            )
        return self

    @property
    def strides(self) -> int:
        """How many times the encoder halves the image."""
        return len(self.feature_maps) - (self.family == "vqvae")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Side of the map before the encoder and after each halving, for instance (196, 98, 49, 24, 12)."""
        return tuple(self.image_size >> level for level in range(self.strides + 1))


_DESIGNS: dict[str, dict[Size, dict[str, Any]]] = {
    "ae": {
        "paper": {"family": "ae", "feature_maps": (16, 64, 256, 512), "latent": 512, "coord_conv": True},
        "small": {"family": "ae", "feature_maps": (8, 24, 48, 96, 128), "latent": 128, "coord_conv": True},
    },
    "vae1": {
        "paper": {"family": "vae", "feature_maps": (16, 64, 256, 512), "latent": 512, "coord_conv": True},
        "small": {"family": "vae", "feature_maps": (8, 24, 48, 96, 128), "latent": 128, "coord_conv": True},
    },
    # VAE2 keeps at both sizes what sets it apart from VAE1: a level less, half the latents, no coordinates.
    "vae2": {
        "paper": {"family": "vae", "feature_maps": (64, 128, 256), "latent": 256},
        "small": {"family": "vae", "feature_maps": (16, 32, 64, 64), "latent": 64},
    },
    "vq-vae": {
        "paper": {
            "family": "vqvae",
            "feature_maps": (128, 256, 256),
            "latent": 256,
            "codes": 512,
            "residual_maps": 32,
            "residual_layers": 2,
        },
        "small": {
            "family": "vqvae",
            "feature_maps": (16, 32, 32),
            "latent": 32,
            "codes": 128,
            "residual_maps": 8,
            "residual_layers": 2,
        },
    },
}

MODEL_NAMES: tuple[str, ...] = tuple(name for base in _DESIGNS for name in (base, f"ce-{base}"))
"""The named designs, each with its context-encoding twin after it."""


def spec(name: str, size: str = "paper", image_size: int = IMAGE_SIZE) -> ModelSpec:
    """Return the spec of a named design.

    Args:
        name: One of :data:`MODEL_NAMES`.
        size: ``"paper"`` or ``"small"``.
        image_size: Side of the square image in pixels.

    Raises:
        ParameterError: If the name or size is unknown, or the image too small for the number of levels.

    Example:
        >>> spec("ce-vae1").sizes
        (196, 98, 49, 24, 12)
    """
    design = _DESIGNS.get(name.removeprefix("ce-"))
    if design is None:
        raise ParameterError(
            f"there is no design called {name!r}", mend=f"use one of {', '.join(MODEL_NAMES)}"
        )
    if size not in ("paper", "small"):
        raise ParameterError(f"there is no size called {size!r}", mend="use paper or small")
    values = design["paper" if size == "paper" else "small"]
    try:
        return ModelSpec(
            name=name, size=size, image_size=image_size, context_encoding=name.startswith("ce-"), **values
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        cause = first.get("ctx", {}).get("error")
        reason = str(cause) if cause else f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise ParameterError(reason) from None
