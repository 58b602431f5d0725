"""What training minimises.

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
from torch.nn import functional

from ..models.outputs import LesionOutput, Output, QuantisedOutput, VariationalOutput
from ..models.precision import single
from .blobs import tissue_level

Error = Literal["squared", "absolute"]
"""What a denoiser's error is."""

CodebookLearning = Literal["loss", "ema"]
"""How a VQ-VAE's codebook learns: by a loss term (the paper), or by moving averages (van den Oord et al. 2017, A.1)."""


FEW = 10.0
"""Pixels that are added above and below in the soft Dice of an image."""

VISIBLE = 0.02
"""Change of the mean of 3 x 3 pixels above which they count as corrupted: more than grain."""

LARGE = 0.015
"""Share of the image from which a corruption is no longer small: a lesion of 27 mm in a field of 192 mm."""


@dataclass(frozen=True)
class Losses:
    """The terms of one batch, each a scalar.

    Attributes:
        total: What is minimised: the sum of the other four.
        reconstruction: Squared error of the reconstruction; of a denoiser, the error of the restored image.
        latent: The divergence times beta (VAE), codebook and commitment (VQ-VAE), 0 (AE).
        context: Squared error of the restored image, 0 without context encoding.
        lesion: Error of the second head of a network that says where a lesion is, times its weight; else 0.
        codes: The network's output for the clean images if it is a VQ-VAE, for the codebook's tracker; else None.
    """

    total: Tensor
    reconstruction: Tensor
    latent: Tensor
    context: Tensor
    lesion: Tensor
    codes: QuantisedOutput | None = None


def squared_error(reconstruction: Tensor, images: Tensor) -> Tensor:
    """Return the squared error summed over pixels, mean over the batch: two (N, 1, S, S) to a scalar."""
    return (single(reconstruction) - single(images)).square().sum() / len(images)


def kl_divergence(mu: Tensor, log_std: Tensor) -> Tensor:
    """Return the divergence of N(mu, exp(log_std)²) from N(0, 1) for each dimension (Kingma & Welling 2014).

    Args:
        mu: (N, latent).
        log_std: (N, latent).

    Returns:
        (N, latent), each 0.5 (mu² + s² - log s² - 1) with s = exp(log_std).
    """
    mu, log_std = single(mu), single(log_std)
    return 0.5 * (mu.square() + torch.exp(2 * log_std) - 2 * log_std - 1)


def mean_squared_error(result: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error over everything: two tensors of one shape to a scalar."""
    return functional.mse_loss(single(result), single(target))


def bright_spots(images: Tensor, limit: float) -> Tensor:
    """Return where images are brighter than their tissue, over a few pixels: (N, 1, S, S) to the same, bool.

    Args:
        images: 0 outside the brain.
        limit: In levels of the tissue.
    """
    smooth = functional.avg_pool2d(images, 3, 1, 1)
    bright = (smooth > limit * tissue_level(images)).to(images.dtype)
    return functional.max_pool2d(bright, 3, 1, 1) > 0


def brain_error(
    restored: Tensor,
    images: Tensor,
    kind: Error,
    bright_limit: float | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the mean error over the brain's pixels of a batch: two (N, 1, S, S) to a scalar.

    Args:
        restored: What the network made of the corrupted images.
        images: The clean images, 0 outside the brain.
        kind: ``"absolute"`` or ``"squared"``.
        bright_limit: Leave out spots brighter than so many times the tissue of their slice; None: none.
        weights: (N, 1, S, S), how much each pixel counts; None: all alike.
    """
    brain = images != 0
    if bright_limit is not None:
        brain = brain & ~bright_spots(images, bright_limit)
    difference = single(restored) - single(images)
    error = difference.abs() if kind == "absolute" else difference.square()
    share = brain.to(error.dtype) if weights is None else brain * weights
    return (error * share).sum() / share.sum().clamp(min=1)


def corruption_weights(
    corrupted: Tensor, images: Tensor, emphasis: float = 1.0, small_emphasis: float = 1.0
) -> Tensor:
    """Return how much each pixel counts in a denoiser's loss: two (N, 1, S, S) to the same.

    Args:
        corrupted: What the network sees.
        images: What it should give.
        emphasis: Weight of visibly corrupted pixels, beside 1 of the others.
        small_emphasis: Largest further factor, where little is corrupted around a pixel: it is the root of
            :data:`LARGE` over the share of the image that is corrupted around it, so that a lesion of a few pixels
            counts beside one of thousands.
    """
    change = functional.avg_pool2d(single(corrupted) - single(images), 3, 1, 1)  # grain averages out
    changed = change.abs() > VISIBLE
    weights = 1 + (emphasis - 1) * changed.to(torch.float32)
    if small_emphasis == 1:
        return weights
    side = images.shape[-1]
    window = 2 * (side // 10) + 1
    # One axis after the other: the mean over a square window, at a fraction of the cost.
    around = functional.avg_pool2d(changed.to(torch.float32), (window, 1), 1, (window // 2, 0))
    around = functional.avg_pool2d(around, (1, window), 1, (0, window // 2))
    share = around * (window / side) ** 2
    further = (LARGE / share.clamp(min=1e-9)).sqrt().clamp(1, small_emphasis)
    return torch.where(changed, weights * further, weights)


def lesion_error(logit: Tensor, lesion: Tensor, images: Tensor) -> Tensor:
    """Return cross-entropy over the brain plus 1 - Dice, the mean over images of each: to a scalar.

    The Dice of an image is soft, with :data:`FEW` pixels added above and below, so that one without lesion counts too.

    Args:
        logit: (N, 1, S, S), the network's log-odds.
        lesion: (N, 1, S, S) from 0 to 1, how far a pixel belongs to a simulated lesion.
        images: (N, 1, S, S), 0 outside the brain.
    """
    brain, logit, lesion = (images != 0).to(torch.float32), single(logit), single(lesion)
    axes = (1, 2, 3)
    entropy = functional.binary_cross_entropy_with_logits(logit, lesion, reduction="none")
    entropy = (entropy * brain).sum(axes) / brain.sum(axes).clamp(min=1)
    found = logit.sigmoid() * brain
    both, either = (found * lesion).sum(axes), (found.square() + lesion.square()).sum(axes)
    return (entropy + 1 - (2 * both + FEW) / (either + FEW)).mean()


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
        module: A network of this package.
        images: (N, 1, S, S), the clean images.
        corrupted: (N, 1, S, S), the same images corrupted; None: no context encoding, and a denoiser sees the clean
            images.
        beta: Weight of the divergence (VAE).
        commitment: Weight of the commitment term (VQ-VAE): 1 in the paper, 0.25 in van den Oord et al. 2017.
        codebook: ``"loss"`` for the codebook term (VQ-VAE); ``"ema"`` leaves it out, for then a
            :class:`~napari_cead.training.codebook.CodebookTracker` with a decay moves the codebook.
        denoising: The error of a network that restores corrupted images; None for the families of the paper.
        bright_limit: See :func:`brain_error`.
        emphasis: Weight of the corrupted pixels of a denoiser's images, beside 1 of the others.
        small_emphasis: Largest further factor for small corruptions, see :func:`corruption_weights`.
        lesion: (N, 1, S, S) from 0 to 1, how far a pixel belongs to a simulated lesion; None: there is none.
        lesion_weight: Weight of :func:`lesion_error` for a network that says where a lesion is.
        generator: Source of the posterior's samples, on the device of the images.
    """
    if denoising is not None:
        made: Output = module(images if corrupted is None else corrupted, sample=False)
        weights = None
        if (emphasis != 1 or small_emphasis != 1) and corrupted is not None:
            weights = corruption_weights(corrupted, images, emphasis, small_emphasis)
        error = brain_error(made.reconstruction, images, denoising, bright_limit, weights)
        nothing = error.new_zeros(())
        where = nothing
        if isinstance(made, LesionOutput):
            there = torch.zeros_like(images) if lesion is None else lesion
            where = lesion_weight * lesion_error(made.lesion_logit, there, images)
        return Losses(error + where, error, nothing, nothing, where)
    output: Output = module(images, generator=generator)
    measure = mean_squared_error if isinstance(output, QuantisedOutput) else squared_error
    reconstruction = measure(output.reconstruction, images)
    latent = reconstruction.new_zeros(())
    if isinstance(output, VariationalOutput):
        latent = beta * kl_divergence(output.mu, output.log_std).sum() / len(images)
    elif isinstance(output, QuantisedOutput):
        latent = commitment * mean_squared_error(output.encoded, output.quantised.detach())
        if codebook == "loss":
            latent = latent + mean_squared_error(output.quantised, output.encoded.detach())
    context = reconstruction.new_zeros(())
    if corrupted is not None:
        context = measure(module(corrupted, sample=False).reconstruction, images)
    codes = output if isinstance(output, QuantisedOutput) else None
    nothing = reconstruction.new_zeros(())
    return Losses(reconstruction + latent + context, reconstruction, latent, context, nothing, codes)
