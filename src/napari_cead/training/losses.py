"""What training minimises: see :mod:`~napari_cead.models.losses` and :mod:`~napari_cead.models.terms`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..models.losses import CodebookLearning, Losses, LossWeights, autoencoder_losses, denoiser_losses
from ..models.terms import Error, kl_divergence, squared_error

__all__ = ["Losses", "kl_divergence", "objective", "squared_error"]


def objective(
    module: nn.Module,
    images: Tensor,
    corrupted: Tensor | None = None,
    *,
    beta: float = 1.0,
    commitment: float = 1.0,
    codebook: CodebookLearning = "loss",
    denoising: Error | None = None,
    bright_limit: float | None = None,
    emphasis: float = 1.0,
    small_emphasis: float = 1.0,
    lesion: Tensor | None = None,
    lesion_weight: float = 1.0,
    generator: torch.Generator | None = None,
) -> Losses:
    """Run a network on a batch and return its losses.

    Args:
        module: A network of this package or of another one, by the loss of its family.
        images: (N, 1, S, S), the clean images.
        corrupted: (N, 1, S, S), the same images corrupted; None: no context encoding, and a denoiser sees the clean
            images.
        beta: Weight of the divergence (VAE).
        commitment: Weight of the commitment term (VQ-VAE): 1 in the paper, 0.25 in van den Oord et al. 2017.
        codebook: ``"loss"`` for the codebook term (VQ-VAE); ``"ema"`` leaves it out, for then a
            :class:`~napari_cead.models.codebook.CodebookTracker` with a decay moves the codebook.
        denoising: The error of a network that restores corrupted images; None for the families of the paper.
        bright_limit: See :func:`~napari_cead.models.terms.brain_error`.
        emphasis: Weight of the corrupted pixels of a denoiser's images, beside 1 of the others.
        small_emphasis: Largest further factor for small corruptions, see
            :func:`~napari_cead.models.terms.corruption_weights`.
        lesion: (N, 1, S, S) from 0 to 1, how far a pixel belongs to a simulated lesion; None: there is none.
        lesion_weight: Weight of the error of where a network says that a lesion is.
        generator: Source of the posterior's samples, on the device of the images.
    """
    weights = LossWeights(
        beta,
        commitment,
        codebook,
        denoising or "squared",
        bright_limit,
        emphasis,
        small_emphasis,
        lesion_weight,
    )
    spec = getattr(module, "spec", None)
    if spec is not None and spec.denoising == (denoising is not None):
        found: Losses = spec.network.losses(module, images, corrupted, lesion, weights, generator)
        return found
    if denoising is not None:
        return denoiser_losses(module, images, corrupted, lesion, weights)
    return autoencoder_losses(module, images, corrupted, weights, generator)
