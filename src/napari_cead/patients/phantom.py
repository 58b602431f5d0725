"""The former place of :mod:`napari_cead.phantom`."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    return getattr(import_module("napari_cead.phantom"), name)
