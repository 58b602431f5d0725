"""What the networks return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from .terms import squared_error

if TYPE_CHECKING:
    from .losses import LossWeights


@dataclass(frozen=True)
class Output:
    """Output of an autoencoder.

    Attributes:
        reconstruction: (N, 1, S, S), same scale as the input.
    """

    reconstruction: Tensor

    def error(self, images: Tensor) -> Tensor:
        """Return how far the reconstruction is from images (N, 1, S, S): a scalar."""
        return squared_error(self.reconstruction, images)

    def latent_error(self, weights: LossWeights) -> Tensor | None:
        """Return what an autoencoder's loss has beside the error of reconstructions: a scalar; None: nothing."""
        return None

    @property
    def kept(self) -> tuple[Tensor, ...]:
        """What the family's tracker takes in after an update, without gradient."""
        return ()


@dataclass(frozen=True)
class LesionOutput(Output):
    """Output of a network that also says where it sees a lesion.

    Attributes:
        lesion_logit: (N, 1, S, S), log-odds that a pixel belongs to a lesion.
    """

    lesion_logit: Tensor
