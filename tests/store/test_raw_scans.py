"""What lies beside a scan to train on."""

import numpy as np
import pytest

from napari_cead.store.raw_scans import beside
from napari_cead.store.scans import find_scans
from scans import write_nifti

AFFINE = np.diag([-1.0, -1.0, 3.0, 1.0])
SHIFTED = AFFINE + np.array([[0, 0, 0, 0], [0, 0, 0, 5], [0, 0, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("other", "mask", "one"),
    [(AFFINE, AFFINE, True), (SHIFTED, AFFINE, False), (AFFINE, SHIFTED, False)],
    ids=["registered", "another sequence elsewhere", "the mask elsewhere"],
)
def test_a_patient_on_one_grid_is_not_said_to_need_registration(tmp_path, other, mask, one):
    patient = tmp_path / "Mets_001"
    write_nifti(patient / "flair.nii.gz", np.ones((8, 9, 4), np.float32), AFFINE)
    write_nifti(patient / "t1_gd.nii.gz", np.ones((8, 9, 4), np.float32), other)
    write_nifti(patient / "seg.nii.gz", np.ones((8, 9, 4), np.uint8), mask)
    (source,) = find_scans([tmp_path], "flair")
    assert beside(source, "flair") == (("t1_gd",), one)


@pytest.mark.parametrize(
    "left", [0, 20, 200], ids=["nothing", "a piece of the packed header", "half a packed header"]
)
def test_a_damaged_file_beside_a_scan_is_no_traceback(tmp_path, left):
    patient = tmp_path / "Mets_001"
    write_nifti(patient / "flair.nii.gz", np.ones((8, 9, 4), np.float32), AFFINE)
    other = write_nifti(patient / "t1_gd.nii.gz", np.random.default_rng(0).random((8, 9, 4)), AFFINE)
    (source,) = find_scans([tmp_path], "flair")
    other.write_bytes(other.read_bytes()[:left])
    assert beside(source, "flair").one_grid is False
