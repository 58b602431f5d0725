"""From the patient grid to the model grid and back, exactly."""

from ..patients.brain import brain_mask
from .contrast import FAMILY, Contrast, ContrastFigures, contrast_figures, guess_contrast
from .evenness import SideRatios, side_ratios, unevenness
from .geometry import SliceGeometry
from .intensity import IntensityScaling, scale_intensity
from .marks import slice_marks
from .skull import SkullVerdict, looks_skull_stripped
from .stack import SliceStack, slice_stack

__all__ = [
    "FAMILY",
    "Contrast",
    "ContrastFigures",
    "IntensityScaling",
    "SideRatios",
    "SkullVerdict",
    "SliceGeometry",
    "SliceStack",
    "brain_mask",
    "contrast_figures",
    "guess_contrast",
    "looks_skull_stripped",
    "scale_intensity",
    "side_ratios",
    "slice_marks",
    "slice_stack",
    "unevenness",
]
