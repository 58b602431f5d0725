"""Tiny data in the layout that the benchmarks on real scans read."""

import numpy as np
import pytest
from PIL import Image

from scans import make_brain, write_nifti


def write_slice(folder, number, lesion):
    volume, mask = make_brain((12, 110, 100), seed=number)
    for part, image in (("flair", np.clip(volume[6], 0, 255)), ("mask", 255 * mask[6])):
        if part == "flair" or lesion:
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.astype(np.uint8)).save(folder / part / f"{number:04d}.png")


@pytest.fixture
def data(tmp_path):
    """A pack of tiny real-like data: ten slices with a lesion, twelve without, one volume with a lesion."""
    folder = tmp_path / "data"
    for number in range(10):
        write_slice(folder / "soop_axial" / "lesion", number, True)
    for number in range(10, 22):
        write_slice(folder / "soop_axial" / "lesion_free", number, False)
    volume, lesion = make_brain((12, 110, 100), seed=99)
    write_nifti(folder / "patient26" / "flair.nii.gz", volume.T)
    write_nifti(folder / "patient26" / "seg.nii.gz", lesion.T.astype(np.uint8))
    return folder
