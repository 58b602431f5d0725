"""Architectures of networks as data: the named designs, and any variant of them.

The eight names of the paper are those of Paolini, Boracchi, Matteucci, *Unsupervised Detection of Lesion in Brain MRI
using Context Encoding AutoEncoders*. A name with ``ce-`` is the same network as the one without, trained with context
encoding.

Beside them stand two U-Nets that learn to repair corrupted healthy slices: ``dae`` removes coarse noise (Kascenas et
al. 2022, *Denoising Autoencoders for Unsupervised Anomaly Detection in Brain MRI*), ``ce-unet`` takes out simulated
lesions and says where they were (a second head, after Zavrtanik et al. 2021, *DRAEM*). Other packages may add more.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ..errors import ParameterError
from ..json_files import Saved, wrong_values
from .family import NetworkFamily
from .networks import NETWORKS, find_design, own_designs, package_of
from .unet_options import UNetOptions

__all__ = [
    "DENOISER_NAMES",
    "DESIGN_NAMES",
    "IMAGE_SIZE",
    "LARGEST_MAP",
    "MODEL_NAMES",
    "Family",
    "ModelSpec",
    "Size",
    "UNetOptions",
    "spec",
]


def _known(value: Any) -> Any:
    if isinstance(value, str):
        NETWORKS.find(value)
    return value


Family: TypeAlias = Annotated[str, Field(min_length=1, max_length=64), BeforeValidator(_known)]
"""Name of a family of networks, ours or that of another package."""

Size = Literal["paper", "small", "custom"]
Count = Annotated[int, Field(ge=1, le=1 << 16)]

IMAGE_SIZE = 196
"""Side of the paper's crop in pixels."""
LARGEST_MAP = 1 << 28
"""Most numbers in a feature map of one slice, 1 GiB: two hundred times that of the paper's largest network."""


class ModelSpec(Saved):
    """Architecture of one network, enough to build it and to know the shapes of all its weights.

    Attributes:
        name: Name of the design, for instance ``"ce-vae1"``.
        family: Kind of latent space: a vector (``ae``), a diagonal Gaussian (``vae``), a map of codes (``vqvae``), or
            none (``unet``: encoder and decoder are joined at every level); or a family of another package.
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
        options: More about a network of a family that has options of its own, else None.
        package: The other package that the family comes from; None: it is one of ours. Filled in.
    """

    UNWRITTEN: ClassVar[frozenset[str]] = frozenset({"unet", "options", "package"})

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
    # Also where a design gives none: the family's defaults then.
    options: SerializeAsAny[BaseModel] | None = Field(default=None, validate_default=True)
    package: str | None = Field(default=None, max_length=128)

    @field_validator("options", mode="before")
    @classmethod
    def _of_the_family(cls, value: Any, info: ValidationInfo) -> Any:
        kind = NETWORKS.find(info.data["family"]).options if "family" in info.data else None
        if kind is None:
            if value is not None:
                raise ValueError("this family has no options")
            return None
        return kind.model_validate({} if value is None else value)

    @field_validator("feature_maps", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _fits(self) -> ModelSpec:
        family = self.network
        family.check(self)
        for name in sorted(set().union(*(other.fields for other in NETWORKS.own.values())) - family.fields):
            if getattr(self, name) != type(self).model_fields[name].default:
                owners = [other.name for other in NETWORKS.own.values() if name in other.fields]
                raise ValueError(f"{name} belongs to {' and '.join(owners)}, not to {self.family}")
        if self.side >> self.strides < 1:
            raise ValueError(
                f"an image of {self.side} pixels is too small for {self.name}, which halves it {self.strides} "
                f"times; use at least {1 << self.strides} pixels"
            )
        largest = max((count * size * size for count, size in family.maps(self)), default=0)
        if largest > LARGEST_MAP:
            raise ValueError(
                f"a feature map of {largest:,} numbers is more than the {LARGEST_MAP:,} that are allowed"
            )
        object.__setattr__(self, "package", package_of(self.family))
        return self

    @property
    def network(self) -> NetworkFamily:
        """The family, which knows how to build and to train the network."""
        return NETWORKS.find(self.family)

    @property
    def strides(self) -> int:
        """How many times the encoder halves the image."""
        return self.network.strides(self)

    @property
    def side(self) -> int:
        """Side in pixels of the images inside the network: that of the image unless it is reduced."""
        return self.network.side(self)

    @property
    def denoising(self) -> bool:
        """Whether the network learns from corrupted images alone: one with skip connections could copy clean ones."""
        return self.network.denoising

    @property
    def predicts_lesion(self) -> bool:
        """Whether the network also predicts where lesions are."""
        return self.network.predicts_lesion(self)

    @property
    def voices(self) -> int:
        """How many networks give an anomaly map each, whose median is the model's: more than one in an ensemble."""
        return self.network.voices(self)

    @property
    def corrupts(self) -> bool:
        """Whether training corrupts images: beside the clean ones (context encoding), or in their place."""
        return self.context_encoding or self.denoising

    @property
    def sizes(self) -> tuple[int, ...]:
        """Side of the map before the encoder and after each halving, for instance (196, 98, 49, 24, 12).

        A U-Net pads the image before (and shrinks it by its stem), so that each side is half of the one before it.
        """
        return self.network.sizes(self)


DESIGN_NAMES: tuple[str, ...] = tuple(own_designs())
"""All named designs of this package; :func:`~napari_cead.models.design_names` has those of other packages, too."""

MODEL_NAMES: tuple[str, ...] = tuple(name for name, (_, design) in own_designs().items() if design.of_paper)
"""The eight designs of the paper, each with its context-encoding twin after it."""

DENOISER_NAMES: tuple[str, ...] = tuple(
    name for name, (family, _) in own_designs().items() if family.denoising
)
"""The designs beside the paper's, which learn to repair corrupted slices."""


def spec(name: str, size: str = "paper", image_size: int = IMAGE_SIZE) -> ModelSpec:
    """Return the spec of a named design.

    Args:
        name: One of :func:`~napari_cead.models.design_names`.
        size: ``"paper"`` (for the denoisers: full size) or ``"small"``.
        image_size: Side of the square image in pixels.

    Raises:
        ParameterError: If the name or size is unknown, or the image too small for the number of levels.

    Example:
        >>> spec("ce-vae1").sizes
        (196, 98, 49, 24, 12)
    """
    family, design = find_design(name)
    if size not in ("paper", "small"):
        raise ParameterError(f"there is no size called {size!r}", hint="use paper or small")
    values = {"family": family.name, **design.values(size, name)}
    with wrong_values(ParameterError):
        return ModelSpec(name=name, size=size, image_size=image_size, **values)
