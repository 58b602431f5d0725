"""From the patient grid to the model grid and back, exactly."""

from ..patients.brain import brain_mask
from .contrast import FAMILY, ContrastFigures, contrast_figures
from .evenness import side_ratios, unevenness
from .geometry import SliceGeometry
from .intensity import IntensityScaling, scale_intensity
from .marks import slice_marks
from .skull import fullest_slice, looks_skull_stripped
from .stack import SliceStack, slice_stack

__all__ = [
    "FAMILY",
    "ContrastFigures",
    "IntensityScaling",
    "SliceGeometry",
    "SliceStack",
    "brain_mask",
    "contrast_figures",
    "fullest_slice",
    "looks_skull_stripped",
    "scale_intensity",
    "side_ratios",
    "slice_marks",
    "slice_stack",
    "unevenness",
]
