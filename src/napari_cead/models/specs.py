"""What a network looks like, as data: the named designs of the paper, two denoisers, and any variant of them.

The eight names are those of Paolini, Boracchi, Matteucci, *Unsupervised Detection of Lesion in Brain MRI using Context
Encoding AutoEncoders*. A name with ``ce-`` is the same network as the one without, trained with context encoding.

Beside them stand two U-Nets that learn to repair corrupted healthy slices: ``dae`` removes coarse noise (Kascenas et
al. 2022, *Denoising Autoencoders for Unsupervised Anomaly Detection in Brain MRI*), ``ce-unet`` takes out simulated
lesions and says where they were (a second head, after Zavrtanik et al. 2021, *DRAEM*).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from ..errors import ParameterError

Family = Literal["ae", "vae", "vqvae", "unet"]
Size = Literal["paper", "small", "custom"]
Count = Annotated[int, Field(ge=1, le=1 << 16)]

IMAGE_SIZE = 196
"""Side of the paper's crop in pixels."""
LARGEST_MAP = 1 << 28
"""Most numbers in a feature map of one slice, 1 GiB: two hundred times that of the paper's largest network."""

WORKING_SIZE = 128
"""Side of the images that the named U-Nets work on in pixels: that of Kascenas et al. 2022."""


FINE_SIZE = 192
"""The same of the small ``ce-unet``: a brain at 1 mm, so that small lesions are more than a pixel."""


class UNetOptions(BaseModel):
    """What a U-Net has that the other families have not.

    Attributes:
        working_size: Side in pixels to which larger images are reduced inside the network; 0: never.
        joining: ``"concat"`` puts the encoder's maps beside the decoder's, ``"add"`` adds them, which is cheaper.
        adds_input: Whether the output is added to the input, so that the layers learn the change alone.
        mirror_input: Whether the layers also see the mirrored image: left and right of a healthy brain are alike.
        stem: The layers work on an image so many times smaller, whose pixels are put side by side as channels.
        enlarging: How the decoder enlarges maps.
        predicts_lesion: Whether a second head says where a lesion is. It learns from the places of the simulated ones
            (after DRAEM, Zavrtanik et al. 2021): no real lesion is needed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    UNWRITTEN: ClassVar[frozenset[str]] = frozenset({"predicts_lesion"})

    working_size: int = Field(default=WORKING_SIZE, ge=0, le=4096)
    joining: Literal["concat", "add"] = "concat"
    adds_input: bool = False
    mirror_input: bool = False
    stem: Literal[1, 2, 4] = 1
    enlarging: Literal["bilinear", "nearest"] = "bilinear"
    predicts_lesion: bool = False

    @model_serializer(mode="wrap")
    def _without_what_is_not_used(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialize(self)
        for name in self.UNWRITTEN:  # versions that know no second head can read the spec
            if not values.get(name):
                values.pop(name, None)
        return values


class ModelSpec(BaseModel):
    """Architecture of one network, enough to build it and to know the shapes of all its weights.

    Attributes:
        name: Name of the design, for instance ``"ce-vae1"``.
        family: Kind of latent space: a vector (``ae``), a diagonal Gaussian (``vae``), a map of codes (``vqvae``), or
            none (``unet``: encoder and decoder are joined at every level).
        feature_maps: Channels after each convolution of the encoder; the decoder mirrors them. In the ``ae`` and
            ``vae`` families each of them halves the image, in ``vqvae`` all but the last do. In ``unet`` they are the
            channels of each level, and there is one level more than the image is halved.
        latent: Length of the latent vector; of a code vector in the ``vqvae`` family; 0 in the ``unet`` family.
        coord_conv: Whether each convolution also sees its pixels' coordinates (Liu et al. 2018).
        context_encoding: Whether the network is meant to be trained with context encoding (same layers either way).
        codes: Number of code vectors (``vqvae`` only, 0 otherwise).
        residual_maps: Hidden channels of a residual layer (``vqvae`` only, 0 otherwise).
        residual_layers: Residual layers in the encoder, and in the decoder (``vqvae`` only, 0 otherwise).
        size: ``"paper"``, ``"small"`` (at most 2.4 million parameters) or ``"custom"``.
        image_size: Side of the square image in pixels, going in and coming out.
        unet: More about a U-Net (``unet`` only, None otherwise).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    family: Family
    feature_maps: tuple[Count, ...] = Field(min_length=1, max_length=12)
    latent: int = Field(ge=0, le=1 << 16)
    coord_conv: bool = False
    context_encoding: bool = False
    codes: int = Field(default=0, ge=0, le=1 << 16)
    residual_maps: int = Field(default=0, ge=0, le=1 << 16)
    residual_layers: int = Field(default=0, ge=0, le=64)
    size: Size = "custom"
    image_size: int = Field(default=IMAGE_SIZE, ge=1, le=4096)
    unet: UNetOptions | None = None

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
        if self.family == "unet":
            if self.latent or self.coord_conv or self.unet is None:
                raise ValueError(
                    "a unet has options of its own, no latent vector (latent 0) and no CoordConv"
                )
        elif not self.latent or self.unet is not None:
            raise ValueError(f"{self.family} needs a latent of at least 1, and no options of a unet")
        if self.side >> self.strides < 1:
            raise ValueError(
                f"an image of {self.side} pixels is too small for {self.name}, which halves it {self.strides} "
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

    @model_serializer(mode="wrap")
    def _without_what_is_not_used(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialize(self)
        if self.unet is None:  # versions that know no U-Net can read the spec
            values.pop("unet", None)
        return values

    @property
    def strides(self) -> int:
        """How many times the encoder halves the image."""
        return len(self.feature_maps) - (self.family in ("vqvae", "unet"))

    @property
    def side(self) -> int:
        """Side in pixels of the images that the network works on: that of the image unless it is reduced."""
        wanted = 0 if self.unet is None else self.unet.working_size
        return min(self.image_size, wanted or self.image_size)

    @property
    def denoising(self) -> bool:
        """Whether the network learns from corrupted images alone: one with skip connections could copy clean ones."""
        return self.family == "unet"

    @property
    def predicts_lesion(self) -> bool:
        """Whether the network also says where it sees a lesion."""
        return self.unet is not None and self.unet.predicts_lesion

    @property
    def corrupts(self) -> bool:
        """Whether training corrupts images: beside the clean ones (context encoding), or in their place."""
        return self.context_encoding or self.denoising

    @property
    def sizes(self) -> tuple[int, ...]:
        """Side of the map before the encoder and after each halving, for instance (196, 98, 49, 24, 12).

        A U-Net pads the image before (and shrinks it by its stem), so that each side is half of the one before it.
        """
        side, steps = self.side, self.strides
        if self.unet is not None:
            side = -(-side // (self.unet.stem << steps)) << steps
        return tuple(side >> level for level in range(steps + 1))


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

_UNET: dict[Size, dict[str, Any]] = {
    "paper": {"family": "unet", "feature_maps": (64, 128, 256, 512), "latent": 0, "unet": UNetOptions()},
    "small": {"family": "unet", "feature_maps": (16, 32, 64, 96), "latent": 0, "unet": UNetOptions()},
}

_CE_UNET: dict[Size, dict[str, Any]] = {
    "paper": {**_UNET["paper"], "unet": UNetOptions(predicts_lesion=True)},
    # Half the side, four channels: the layers see a slice in a fraction of the time, and as much of it.
    "small": {
        "family": "unet",
        "feature_maps": (24, 48, 96, 128, 128),
        "latent": 0,
        "unet": UNetOptions(
            working_size=FINE_SIZE,
            joining="add",
            adds_input=True,
            mirror_input=True,
            stem=2,
            enlarging="nearest",
            predicts_lesion=True,
        ),
    },
}

MODEL_NAMES: tuple[str, ...] = tuple(name for base in _DESIGNS for name in (base, f"ce-{base}"))
"""The eight designs of the paper, each with its context-encoding twin after it."""

DENOISER_NAMES: tuple[str, ...] = ("dae", "ce-unet")
"""The designs beside the paper's, which learn to repair corrupted slices."""

DESIGN_NAMES: tuple[str, ...] = (*MODEL_NAMES, *DENOISER_NAMES)
"""All named designs."""


def spec(name: str, size: str = "paper", image_size: int = IMAGE_SIZE) -> ModelSpec:
    """Return the spec of a named design.

    Args:
        name: One of :data:`DESIGN_NAMES`.
        size: ``"paper"`` (for the denoisers: full size) or ``"small"``.
        image_size: Side of the square image in pixels.

    Raises:
        ParameterError: If the name or size is unknown, or the image too small for the number of levels.

    Example:
        >>> spec("ce-vae1").sizes
        (196, 98, 49, 24, 12)
    """
    if name not in DESIGN_NAMES:
        raise ParameterError(
            f"there is no design called {name!r}", mend=f"use one of {', '.join(DESIGN_NAMES)}"
        )
    if size not in ("paper", "small"):
        raise ParameterError(f"there is no size called {size!r}", mend="use paper or small")
    denoisers = {"dae": _UNET, "ce-unet": _CE_UNET}
    design = denoisers.get(name) or _DESIGNS[name.removeprefix("ce-")]
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
