"""Skull strippers: one file each, behind one small protocol."""

from .extractor import COMMAND, BrainExtractor, HeadScan
from .registry import DEFAULT_STRIPPER, find_stripper, stripper_names

__all__ = [
    "COMMAND",
    "DEFAULT_STRIPPER",
    "BrainExtractor",
    "HeadScan",
    "find_stripper",
    "stripper_names",
]
