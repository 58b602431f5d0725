"""The terms of losses: functions of tensors. All are computed in single precision, also under autocast."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from .precision import single
from .tissue import tissue_level

Error = Literal["squared", "absolute"]
"""What a denoiser's error is."""

FEW = 10.0
"""Pixels that are added above and below in the soft Dice of an image."""

VISIBLE = 0.02
"""Change of the mean of 3 x 3 pixels above which they count as corrupted: more than grain."""

LARGE = 0.015
"""Share of the image from which a corruption is no longer small: a lesion of 27 mm in a field of 192 mm."""


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
