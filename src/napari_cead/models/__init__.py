"""The networks: specs of the paper's eight designs, two denoisers and those of other packages, and their modules.

Importing this does not import torch; building a network does.
"""

from .building import build, parameter_count
from .family import Design, NetworkFamily
from .networks import NETWORKS, design_names
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
    "NETWORKS",
    "Design",
    "Family",
    "ModelSpec",
    "NetworkFamily",
    "Size",
    "UNetOptions",
    "build",
    "design_names",
    "parameter_count",
    "spec",
]
