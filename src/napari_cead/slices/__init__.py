"""From the patient grid to the model grid and back, exactly."""

from .brain import brain_mask
from .geometry import SliceGeometry
from .intensity import IntensityScaling, scale_intensity
from .stack import SliceStack, slice_stack

__all__ = [
    "IntensityScaling",
    "SliceGeometry",
    "SliceStack",
    "brain_mask",
    "scale_intensity",
    "slice_stack",
]
