"""What the tests of the measurements share: modules of the folder above, tiny data in the layout of the pack.

They use the small scans and stores of the package's own tests.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from model_folders import save
from scans import make_brain, write_nifti


@pytest.fixture(autouse=True)
def _own_models(tmp_path_factory, monkeypatch):
    """No test sees, or changes, what the user has installed."""
    monkeypatch.setenv("NAPARI_CEAD_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """An untrained model."""
    return save(tmp_path_factory.mktemp("models") / "tiny")


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
