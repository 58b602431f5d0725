"""Families of networks: architectures, module, loss, training recipes and capabilities.

A family is one object of a subclass of :class:`NetworkFamily`, in a file of the folder ``designs`` or in another
package. Nothing here and in those files imports torch before a network is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import BaseModel

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from .losses import Losses, LossWeights
    from .specs import ModelSpec

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Design:
    """A named design of a family, as a user trains it.

    Attributes:
        name: Its name, for instance ``"vae1"``.
        paper: Fields of its :class:`~napari_cead.models.ModelSpec` at full size.
        small: The same at a size that trains in minutes (at most 2.4 million weights); None: there is one size.
        twin: Whether there is also ``ce-NAME``: the same layers, trained with context encoding.
        of_paper: Whether it is one of the paper's: ``train all`` trains these.
        recipe: The training settings that differ from the defaults. A design with a recipe takes only the size and the
            number of epochs from a preset. A corruption is given by its name.
        preprocessing: Preparation of its slices, if it differs from the paper's: fields of
            :class:`~napari_cead.zoo.card.Preprocessing`.
    """

    name: str
    paper: Mapping[str, Any]
    small: Mapping[str, Any] | None = None
    twin: bool = False
    of_paper: bool = False
    recipe: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Its name, and that of its twin."""
        return (self.name, f"ce-{self.name}") if self.twin else (self.name,)

    def values(self, size: str, name: str) -> dict[str, Any]:
        """Return the fields of the spec of a size (``"paper"`` or ``"small"``), for one of its :attr:`names`."""
        values = self.small if size == "small" and self.small is not None else self.paper
        return {"context_encoding": name != self.name, **values}


@dataclass(frozen=True)
class Figure:
    """A figure of each epoch that only one family has, for the log and its plot.

    Attributes:
        name: Its name in the log.
        plot: Name of its plot in the menu.
        axis: Title of the vertical axis.
        label: Name in the legend.
        brief: Its text in a line of progress, for instance ``"{} codes used"``; empty: none.
    """

    name: str
    plot: str
    axis: str
    label: str
    brief: str = ""


class Tracker(Protocol):
    """Something that learns or counts beside the optimizer; its state is part of the checkpoint."""

    figure: ClassVar[str]
    """Name of the :class:`Figure` that :meth:`end_epoch` returns."""

    def take(self, *kept: Tensor, generator: torch.Generator | None = None) -> None:
        """Take in what the network's output keeps (:attr:`~napari_cead.models.outputs.Output.kept`), each update."""

    def end_epoch(self, generator: torch.Generator | None = None) -> float:
        """Return the figure of the epoch and reset."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state."""

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a state."""


class NetworkFamily:
    """A family of networks.

    A subclass sets the attributes and overrides whatever differs from a plain autoencoder. Only ``build`` is required.

    Attributes:
        name: Its name in files, unique among all families: the ``family`` of a spec.
        designs: Its named designs.
        fields: Fields of ``ModelSpec`` that not every family has and that this one uses.
        options: A frozen pydantic model with additional fields of its specs; None: none.
        settings: Training settings that not every family has and that this one uses.
        presets: By name of a preset, training settings that this family adds to it.
        denoising: Whether it learns from corrupted images alone: one with skip connections could copy clean ones.
        divergent: Whether :meth:`divergence` can be computed, for scores that need its gradient.
        trainable: Whether its networks can be trained; an ensemble is made of trained ones.
        figures: Figures of each epoch that only this family has.
    """

    name: str
    designs: tuple[Design, ...] = ()
    fields: frozenset[str] = frozenset()
    options: type[BaseModel] | None = None
    settings: frozenset[str] = frozenset()
    presets: Mapping[str, Mapping[str, Any]] = NOTHING
    denoising: bool = False
    divergent: bool = False
    trainable: bool = True
    figures: tuple[Figure, ...] = ()

    # -- the architecture ----------------------------------------------------------------------------------

    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec from which no network can be built.

        Raises:
            ValueError: With the reason.
        """

    def strides(self, spec: ModelSpec) -> int:
        """Return how many times the encoder halves the image."""
        return len(spec.feature_maps)

    def side(self, spec: ModelSpec) -> int:
        """Return the side in pixels of the images that the layers see."""
        return spec.image_size

    def sizes(self, spec: ModelSpec) -> tuple[int, ...]:
        """Return the side of the map before the encoder and after each halving."""
        side = self.side(spec)
        return tuple(side >> level for level in range(self.strides(spec) + 1))

    def maps(self, spec: ModelSpec) -> list[tuple[int, int]]:
        """Return channels and side of the largest feature maps, which must not be larger than memory."""
        sizes, strides = self.sizes(spec), self.strides(spec)
        return [(count, sizes[min(level, strides)]) for level, count in enumerate(spec.feature_maps, start=1)]

    def reshaped(
        self, spec: ModelSpec, feature_maps: tuple[int, ...] | None, working_size: int | None
    ) -> dict[str, Any]:
        """Return the fields of a spec with another shape; asked only if ``settings`` names what is given."""
        return {} if feature_maps is None else {"feature_maps": feature_maps}

    def predicts_lesion(self, spec: ModelSpec) -> bool:
        """Whether a network also predicts where lesions are: its output is a ``LesionOutput``."""
        return False

    def voices(self, spec: ModelSpec) -> int:
        """Return how many networks give an anomaly map each, whose median is the model's: its ``members`` then."""
        return 1

    def mirrors(self, spec: ModelSpec) -> bool:
        """Whether the mean with the reconstruction of the mirror image is better than the reconstruction alone."""
        return False

    # -- the network ---------------------------------------------------------------------------------------

    def build(self, spec: ModelSpec) -> nn.Module:
        """Return an untrained network on PyTorch's default device.

        Its ``forward(x, *, sample=None, generator=None)`` maps (N, 1, S, S) to an
        :class:`~napari_cead.models.outputs.Output`, and its ``spec`` is the spec.
        """
        raise NotImplementedError

    def divergence(self, network: nn.Module, images: Tensor) -> Tensor:
        """Return how far images (N, 1, S, S) are from the network's expectation: a scalar, by its encoder alone."""
        raise NotImplementedError

    # -- training ------------------------------------------------------------------------------------------

    def uses(self, setting: str, spec: ModelSpec) -> bool:
        """Whether an optional training setting applies to a network."""
        return setting in self.settings

    def losses(
        self,
        network: nn.Module,
        images: Tensor,
        corrupted: Tensor | None,
        lesion: Tensor | None,
        weights: LossWeights,
        generator: torch.Generator | None = None,
    ) -> Losses:
        """Run a network on a batch and return its losses.

        Args:
            network: The network.
            images: (N, 1, S, S), clean.
            corrupted: (N, 1, S, S), the same images corrupted; None: none.
            lesion: (N, 1, S, S) from 0 to 1, where simulated lesions are in the corrupted images; None: not known.
            weights: Weights and kinds of the terms, from the training settings.
            generator: Source of randomness, on the device of the images.
        """
        from .losses import autoencoder_losses, denoiser_losses

        if self.denoising:
            return denoiser_losses(network, images, corrupted, lesion, weights)
        return autoencoder_losses(network, images, corrupted, weights, generator)

    def prepare(self, network: nn.Module, settings: Any) -> None:
        """Set up a network for training, before the optimizer sees it."""

    def tracker(self, network: nn.Module, settings: Any) -> Tracker | None:
        """Return the tracker beside the optimizer; the network is on its device."""
        return None

    def epoch_figures(self, settings: Any, validation: Mapping[str, float]) -> dict[str, float]:
        """Return figures of an epoch, given the terms of its loss on validation slices by name."""
        return {}

    def advice(self, history: Sequence[Mapping[str, Any]]) -> str | None:
        """Return a sentence about a problem in the :attr:`figures` of the epochs so far; None if there is none."""
        return None
