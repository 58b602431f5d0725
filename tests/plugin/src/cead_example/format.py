"""A file format: one scan in a NumPy archive, with the size of its voxels."""

from pathlib import Path

import numpy as np

from napari_cead.patients.formats import Format, Volume


class NumpyScan(Format):
    """``NAME.scan.npz``: ``values`` in axes to the left, to the back and to the head, and ``voxel_mm`` along these."""

    name = "numpy-scan"
    title = "NumPy scan"
    endings = (".scan.npz",)

    def read(self, path: Path) -> Volume:
        with np.load(path, allow_pickle=False) as archive:
            values, voxel = archive["values"], archive["voxel_mm"]
        return Volume.of(values, np.diag([-voxel[0], -voxel[1], voxel[2], 1]))
