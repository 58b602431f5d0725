"""The networks: specs of the eight designs of the paper and of two denoisers, and the modules they build.

Importing this does not import torch; building a network does.
"""

from .building import build, parameter_count
from .specs import (
    DENOISER_NAMES,
    DESIGN_NAMES,
    IMAGE_SIZE,
    MODEL_NAMES,
    Family,
    ModelSpec,
    Size,
    UNetOptions,
    spec,
)

__all__ = [
    "DENOISER_NAMES",
    "DESIGN_NAMES",
    "IMAGE_SIZE",
    "MODEL_NAMES",
    "Family",
    "ModelSpec",
    "Size",
    "UNetOptions",
    "build",
    "parameter_count",
    "spec",
]
