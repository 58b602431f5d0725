"""Taking many layers out of a viewer at once."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected_later() -> Iterator[None]:
    """Leave what is there now to a later garbage collection.

    napari collects garbage after every layer that is removed, which takes half a second with the million objects
    that it and PyTorch have: a dozen layers would be a window that stands still.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
