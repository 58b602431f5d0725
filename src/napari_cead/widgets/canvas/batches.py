"""Adding and removing layers without what napari does for each of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..common.docks import bare

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


@contextmanager
def active_kept(viewer: Any) -> Iterator[None]:
    """Keep the active layer while layers are added.

    napari makes each of them the active one. Showing its controls, and then those of the layer before again, costs a
    third of adding it.

    Args:
        viewer: The napari viewer.
    """
    layers = bare(viewer).layers
    active = layers.selection.active
    if active is None:
        yield
        return
    # napari's own switch. If it goes, only time is lost: the layer before is chosen again below.
    layers._activate_on_insert = False
    try:
        yield
    finally:
        layers._activate_on_insert = True
        if active in layers:
            layers.selection.active = active
