"""A step of the post-processing: a binary opening, which drops thin threads."""

import numpy as np
from scipy import ndimage

from napari_cead.detection.settings import Parameter
from napari_cead.detection.steps import MaskStep, Slice


class Opening(MaskStep):
    """Opening with a digital disk after the area opening."""

    name = "example-opening"
    after = "area_fraction"
    settings = (
        Parameter(
            name="example_opening",
            title="Opening radius",
            unit="px",
            description="Radius of the disk of a binary opening, which drops what is thinner.",
            kind=int,
            default=0,
            minimum=0,
            maximum=10,
            step=1,
        ),
    )

    def apply(self, mask, params, place: Slice):
        """Return what of the mask disks fit into."""
        radius = params.example_opening
        y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        return ndimage.binary_opening(mask, x**2 + y**2 <= radius**2)
