"""The networks: specs of the eight designs of the paper, and the modules they build.

Importing this does not import torch; building a network does.
"""

from .building import build, parameter_count
from .specs import IMAGE_SIZE, MODEL_NAMES, Family, ModelSpec, Size, spec

__all__ = ["IMAGE_SIZE", "MODEL_NAMES", "Family", "ModelSpec", "Size", "build", "parameter_count", "spec"]
