"""From a spec, or the name of a design, to a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .specs import IMAGE_SIZE, ModelSpec, spec

if TYPE_CHECKING:
    from torch import nn


def build(model: str | ModelSpec, size: str = "paper", image_size: int = IMAGE_SIZE) -> nn.Module:
    """Return an untrained network.

    It is built on PyTorch's default device, so ``with torch.device("meta"): build(...)`` costs no memory.

    Args:
        model: One of the named designs, or a spec of one's own.
        size: ``"paper"`` (of ``dae`` and ``ce-unet``: full size) or ``"small"``; with a spec it is that which counts.
        image_size: Side of the square image in pixels; likewise.

    Returns:
        A module whose ``forward(x: (N, 1, S, S))`` returns an :class:`~napari_cead.models.outputs.Output` with
        ``reconstruction`` (N, 1, S, S).

    Raises:
        ParameterError: If the name or size is unknown, or the image too small for the number of levels.

    Example:
        >>> parameter_count(build("vae1", size="small")) < 2_400_000
        True
    """
    architecture = model if isinstance(model, ModelSpec) else spec(model, size, image_size)
    return architecture.network.build(architecture)


def parameter_count(module: nn.Module) -> int:
    """Return the number of trainable weights."""
    return sum(parameter.numel() for parameter in module.parameters())
