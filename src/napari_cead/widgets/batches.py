"""Adding and removing many layers at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_open: set[int] = set()  # napari's own batches cannot be nested


@contextmanager
def batched(viewer: Any) -> Iterator[None]:
    """Let napari rebuild its scene once, at the end, and not after every layer.

    For every layer that goes it also collects garbage, which takes half a second with the million objects that it
    and PyTorch have. Batches may be nested: the outermost counts.

    Args:
        viewer: The napari viewer.
    """
    layers = viewer.layers
    key = id(getattr(layers, "__wrapped__", layers))  # plugins get proxies, a new one each time
    if key in _open:
        yield
        return
    _open.add(key)
    try:
        with layers.batched_update():
            yield
    finally:
        _open.discard(key)
