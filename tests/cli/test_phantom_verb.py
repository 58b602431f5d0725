"""The verb that makes synthetic patients."""

from functools import partial

import nibabel as nib
import pytest

from napari_cead import phantom
from napari_cead.phantom.metastases import METASTASES


@pytest.mark.parametrize("lesions", [0, 2])
def test_patients_have_as_many_metastases_as_asked_for(call, tmp_path, monkeypatch, lesions):
    monkeypatch.setattr(phantom, "write_cohort", partial(phantom.write_cohort, shape=(30, 48, 48)))
    status, out, _ = call("phantom", tmp_path / "out", "--patients", 2, "--lesions", lesions, "--seed", 3)
    assert (status, out.split()[0]) == (0, "2")
    for number in (1, 2):
        folder = tmp_path / "out" / "train" / f"Mets_00{number}"
        seg = nib.load(folder / "seg.nii.gz").get_fdata()
        assert (seg > 0).any() == (lesions > 0)
        assert nib.load(folder / "flair.nii.gz").get_fdata().max() > 100


def test_metastases_as_in_brainmetshare_can_be_asked_for(call, tmp_path, monkeypatch):
    monkeypatch.setattr(phantom, "write_cohort", partial(phantom.write_cohort, shape=(30, 48, 48)))
    masks = []
    for name in METASTASES:
        assert call("phantom", tmp_path / name, "--metastases", name, "--seed", 3)[0] == 0
        masks.append(nib.load(tmp_path / name / "train" / "Mets_001" / "seg.nii.gz").get_fdata())
    assert masks[0].any() and masks[1].any() and (masks[0] != masks[1]).any()


def test_more_metastases_than_there_can_be_are_refused(call, tmp_path):
    status, _, err = call("phantom", tmp_path / "out", "--lesions", 21)
    assert status == 2 and "lesions" in err and not (tmp_path / "out").exists()
