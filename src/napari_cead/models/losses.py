"""What training minimises, of autoencoders and of denoisers; a family may have a loss of its own.

For AE and VAE: sums over pixels and latent dimensions, mean over the batch. The squared error has no factor of ½,
so that ``beta`` 1 is the ELBO of a Gaussian with the variance ½. For VQ-VAE all terms are means. Context encoding adds
the reconstruction of the corrupted image, compared with the clean one; a VAE decodes its posterior's mean there. A
denoiser sees the corrupted image alone, and its error is the mean over the pixels of the brain. All terms are computed
in single precision, also under autocast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from .outputs import LesionOutput, Output
from .terms import Error, brain_error, corruption_weights, lesion_error

CodebookLearning = Literal["loss", "ema"]
"""How a VQ-VAE's codebook learns: by a loss term (the paper), or by moving averages (van den Oord et al. 2017, A.1)."""


@dataclass(frozen=True)
class LossWeights:
    """Weights and kinds of the terms; each family uses some of them.

    Attributes:
        beta: Weight of the divergence (VAE).
        commitment: Weight of the commitment term (VQ-VAE): 1 in the paper, 0.25 in van den Oord et al. 2017.
        codebook: ``"loss"`` for the codebook term (VQ-VAE); ``"ema"`` leaves it out, for then a
            :class:`~napari_cead.models.codebook.CodebookTracker` with a decay moves the codebook.
        error: The error of a network that restores corrupted images.
        bright_limit: See :func:`~napari_cead.models.terms.brain_error`.
        emphasis: Weight of the corrupted pixels of a denoiser's images, beside 1 of the others.
        small_emphasis: Largest further factor for small corruptions, see
            :func:`~napari_cead.models.terms.corruption_weights`.
        lesion: Weight of :func:`~napari_cead.models.terms.lesion_error` for a network that says where a lesion is.
    """

    beta: float = 1.0
    commitment: float = 1.0
    codebook: CodebookLearning = "loss"
    error: Error = "squared"
    bright_limit: float | None = None
    emphasis: float = 1.0
    small_emphasis: float = 1.0
    lesion: float = 1.0


@dataclass(frozen=True)
class Losses:
    """The terms of one batch, each a scalar. A family may use any of them for what it likes; the log shows all.

    Attributes:
        total: What is minimised: the sum of the other four.
        reconstruction: Squared error of the reconstruction; of a denoiser, the error of the restored image.
        latent: The divergence times beta (VAE), codebook and commitment (VQ-VAE), 0 (AE).
        context: Squared error of the restored image, 0 without context encoding.
        lesion: Error of the second head of a network that says where a lesion is, times its weight; else 0.
        codes: The network's output for the clean images if the family's tracker takes in what it keeps; else None.
    """

    total: Tensor
    reconstruction: Tensor
    latent: Tensor
    context: Tensor
    lesion: Tensor
    codes: Output | None = None

    @classmethod
    def of(
        cls,
        reconstruction: Tensor,
        latent: Tensor | None = None,
        context: Tensor | None = None,
        lesion: Tensor | None = None,
        codes: Output | None = None,
    ) -> Losses:
        """Return the losses with these terms and their sum; a term that is left out is 0."""
        nothing = reconstruction.new_zeros(())
        latent, context, lesion = (nothing if term is None else term for term in (latent, context, lesion))
        return cls(reconstruction + latent + context + lesion, reconstruction, latent, context, lesion, codes)


def autoencoder_losses(
    network: nn.Module,
    images: Tensor,
    corrupted: Tensor | None,
    weights: LossWeights,
    generator: torch.Generator | None = None,
) -> Losses:
    """Return the losses of an autoencoder, whose output knows what it has beside the error of reconstructions.

    Args:
        network: The network.
        images: (N, 1, S, S), clean.
        corrupted: (N, 1, S, S), the same images corrupted; None: no context encoding.
        weights: Weights of the terms.
        generator: Source of the posterior's samples.
    """
    output: Output = network(images, generator=generator)
    context = None
    if corrupted is not None:
        restored: Output = network(corrupted, sample=False)
        context = restored.error(images)
    codes = output if output.kept else None
    return Losses.of(output.error(images), output.latent_error(weights), context, codes=codes)


def denoiser_losses(
    network: nn.Module,
    images: Tensor,
    corrupted: Tensor | None,
    lesion: Tensor | None,
    weights: LossWeights,
) -> Losses:
    """Return the losses of a network that restores corrupted images.

    Args:
        network: The network.
        images: (N, 1, S, S), clean.
        corrupted: (N, 1, S, S), the same images corrupted; None: it sees the clean ones.
        lesion: (N, 1, S, S) from 0 to 1, how far a pixel belongs to a simulated lesion; None: there is none.
        weights: Weights of the terms.
    """
    made: Output = network(images if corrupted is None else corrupted, sample=False)
    pixels = None
    if (weights.emphasis != 1 or weights.small_emphasis != 1) and corrupted is not None:
        pixels = corruption_weights(corrupted, images, weights.emphasis, weights.small_emphasis)
    error = brain_error(made.reconstruction, images, weights.error, weights.bright_limit, pixels)
    where = None
    if isinstance(made, LesionOutput):
        there = torch.zeros_like(images) if lesion is None else lesion
        where = weights.lesion * lesion_error(made.lesion_logit, there, images)
    return Losses.of(error, lesion=where)
