"""Pairs of a header and an image: Analyze 7.5, and NIfTI in two files. Read by nibabel."""

from __future__ import annotations

from pathlib import Path

from ..places import Place
from ._format import Format
from .nifti import read_volume

_PAIRS = ((".hdr", ".img"), (".hdr.gz", ".img.gz"))


class Pair(Format):
    """A header, which stands for both, and the file of its voxels."""

    name = "analyze"
    title = "Analyze"
    endings = tuple(ending for pair in _PAIRS for ending in pair)
    behind = tuple(voxels for _, voxels in _PAIRS)
    rank = 1
    read = staticmethod(read_volume)

    def files(self, place: Place) -> list[Path]:
        """Return the file, and the one that belongs to it."""
        file = place.file
        lower = file.name.lower()
        for pair in _PAIRS:
            for one, other in (pair, pair[::-1]):
                if lower.endswith(one):
                    wanted = lower[: -len(one)] + other
                    entries = sorted(file.parent.iterdir())
                    return [file, *(entry for entry in entries if entry.name.lower() == wanted)]
        return [file]


OFFERED = (Pair(),)
