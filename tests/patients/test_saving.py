import nibabel as nib
import numpy as np
import pytest

import napari_cead as cead
from napari_cead.errors import OutputError, ParameterError
from napari_cead.patients import Patient
from scans import make_brain


def test_a_mask_saved_and_read_lands_on_the_same_voxels(patient_folder, tmp_path):
    patient = cead.load_patient(patient_folder)
    path = cead.save_volume(patient.lesion_mask, patient, tmp_path / "mask.nii.gz")
    saved, source = nib.load(path), nib.load(patient_folder / "seg.nii.gz")
    np.testing.assert_array_equal(np.asarray(saved.dataobj), np.asarray(source.dataobj))
    np.testing.assert_allclose(saved.affine, source.affine)
    assert saved.get_data_dtype() == np.uint8


def test_the_header_keeps_its_codes_and_loses_its_scaling(tmp_path):
    volume, _ = make_brain()
    affine = np.array([[0, -1.2, 0, 30], [0, 0, 1.5, -20], [0.9, 0, 0, 5], [0, 0, 0, 1]])
    image = nib.Nifti1Image((volume * 4).astype(np.int16), affine)
    image.set_qform(affine, code=1)
    image.set_sform(None, code=0)
    image.header.set_slope_inter(0.25, 3)
    image.header["descrip"] = b"a scanner"
    nib.save(image, tmp_path / "flair.nii.gz")
    patient = cead.load_patient(tmp_path / "flair.nii.gz")
    values = np.random.default_rng(0).random(patient.shape).astype(np.float32)
    saved = nib.load(cead.save_volume(values, patient, tmp_path / "map.nii.gz"))
    assert (saved.header["qform_code"], saved.header["sform_code"]) == (1, 0)
    assert saved.header["descrip"].item() == b""
    np.testing.assert_allclose(saved.affine, affine, atol=1e-4)
    assert saved.get_data_dtype() == np.float32
    np.testing.assert_array_equal(cead.load_patient(tmp_path / "map.nii.gz").volume(), values)


def test_labels_keep_their_values(patient_folder, tmp_path):
    patient = cead.load_patient(patient_folder)
    labels = np.zeros(patient.shape, np.int64)
    labels[2, 3, 4], labels[5, 6, 7] = 2, 300
    saved = nib.load(cead.save_volume(labels, patient, tmp_path / "labels.nii"))
    assert sorted(np.unique(np.asarray(saved.dataobj))) == [0, 2, 300]
    assert saved.get_data_dtype() == np.int16


def test_a_patient_without_affine_gets_a_diagonal_one(tmp_path):
    volume, lesion = make_brain()
    patient = Patient.from_arrays({"flair": volume}, lesion_mask=lesion, spacing=(1.0, 0.94, 0.94))
    saved = nib.load(cead.save_volume(patient.lesion_mask, patient, tmp_path / "mask.nii.gz"))
    np.testing.assert_allclose(saved.affine, np.diag([0.94, 0.94, 1, 1]))
    # RAS+: x grows towards the patient's right, where the lesion is.
    x = np.argwhere(np.asarray(saved.dataobj))[:, 0].mean()
    assert x > saved.shape[0] / 2


@pytest.mark.parametrize("name", ["mask.png", "mask", "missing/mask.nii.gz"])
def test_a_file_that_cannot_be_written_leaves_nothing(patient_folder, tmp_path, name):
    patient = cead.load_patient(patient_folder)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(OutputError, match="mask"):
        cead.save_volume(patient.lesion_mask, patient, out / name)
    assert list(out.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(patient_folder, tmp_path, monkeypatch):
    patient = cead.load_patient(patient_folder)
    path = tmp_path / "mask.nii.gz"
    path.write_bytes(b"old")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib, "save", full)
    with pytest.raises(OutputError, match="No space left"):
        cead.save_volume(patient.lesion_mask, patient, path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".part")] == []


def test_a_volume_of_another_shape_is_refused(patient_folder, tmp_path):
    patient = cead.load_patient(patient_folder)
    with pytest.raises(ParameterError, match="does not fit"):
        cead.save_volume(np.zeros((1, 2, 3)), patient, tmp_path / "x.nii.gz")


def test_the_real_patient_keeps_its_grid(real_data, tmp_path):
    patient = cead.load_patient(real_data / "patient26", only=True)
    saved = nib.load(cead.save_volume(patient.lesion_mask, patient, tmp_path / "mask.nii.gz"))
    source = nib.load(real_data / "patient26" / "seg.nii.gz")
    assert nib.aff2axcodes(saved.affine) == ("L", "A", "S")
    assert (saved.header["qform_code"], saved.header["sform_code"]) == (1, 0)
    np.testing.assert_array_equal(np.asarray(saved.dataobj), np.asarray(source.dataobj))
    np.testing.assert_allclose(saved.affine, source.affine)


def test_the_bytes_of_a_volume_depend_on_nothing_but_the_volume(patient_folder, tmp_path, monkeypatch):
    """A replay is told from the original by its checksum, so neither a name nor a time may be in the file."""
    patient = cead.load_patient(patient_folder)
    one = cead.save_volume(patient.lesion_mask, patient, tmp_path / "mask.nii.gz").read_bytes()
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    other = cead.save_volume(patient.lesion_mask, patient, tmp_path / "another name.nii.gz").read_bytes()
    assert one == other
    # RFC 1952: no flags (so no name or comment) and no time.
    assert one[:8] == b"\x1f\x8b\x08" + bytes(5)
