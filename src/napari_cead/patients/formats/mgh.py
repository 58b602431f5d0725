"""MGH, the format of FreeSurfer. Read by nibabel."""

from __future__ import annotations

from ._format import Format
from .nifti import read_volume


class Mgh(Format):
    """MGH, and MGZ, which is the same compressed."""

    name = "mgh"
    title = "MGH"
    endings = (".mgz", ".mgh")
    rank = 2
    read = staticmethod(read_volume)


OFFERED = (Mgh(),)
