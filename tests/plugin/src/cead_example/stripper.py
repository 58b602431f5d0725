"""A skull stripper: dark bone parts the brain from the scalp."""

import numpy as np
from scipy import ndimage


class LargestPiece:
    """The largest bright piece of the head. Real heads need more than that."""

    name = "example-largest"  # as the entry point is called
    title = "the largest bright piece"

    def missing(self) -> str | None:
        """Return what has to be installed first, one clause; None if nothing."""
        return None

    def version(self):
        """Return the version: cached masks of another one are not used."""
        return "1.0"

    def extract(self, scan, *, device="auto", on_progress=None, should_stop=None):
        """Return the brain (Z, Y, X) as bool, on the grid of the scan; empty if there is none."""
        pieces, number = ndimage.label(scan.volume > 0.2 * np.percentile(scan.volume, 99))
        if number == 0:
            return np.zeros(pieces.shape, bool)
        return ndimage.binary_fill_holes(pieces == np.bincount(pieces.flat)[1:].argmax() + 1)
