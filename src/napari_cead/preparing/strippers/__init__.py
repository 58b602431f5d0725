"""Skull strippers: one file each, behind one small protocol."""

from .extractor import HeadScan
from .registry import DEFAULT_STRIPPER, find_stripper, stripper_names

__all__ = [
    "DEFAULT_STRIPPER",
    "HeadScan",
    "find_stripper",
    "stripper_names",
]
