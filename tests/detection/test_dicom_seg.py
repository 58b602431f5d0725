"""A mask as DICOM SEG: each frame names the slice it lies on, and has its voxels."""

import numpy as np
import pytest

pytest.importorskip("highdicom")
import pydicom

from enhanced import write_enhanced, write_slices
from napari_cead.detection.dicom_seg import check_dicom, save_dicom
from napari_cead.errors import UnsupportedError
from napari_cead.patients import Patient, load_patient
from scans import make_brain

AFFINE = np.array([[-1.2, 0, 0, 40], [0, -1.1, 0.2, 60], [0, 0.18, 3, -20], [0, 0, 0, 1.0]])
SAID = {
    "FrameOfReferenceUID": "1.2.3.9",
    "PatientID": "p",
    "PatientBirthDate": "",
    "PatientSex": "",
    "StudyDate": "20260101",
    "StudyTime": "120000",
    "AccessionNumber": "",
    "StudyID": "1",
    "ReferringPhysicianName": "",
}


def scan():
    volume, lesion = make_brain()
    return np.round(volume.transpose(2, 1, 0)).astype(np.uint16), lesion.transpose(2, 1, 0) > 0


@pytest.fixture(params=["slices", "enhanced"])
def source(request, tmp_path):
    """A patient in DICOM, and the lesion mask as (i, j, k) of the slices that were written."""
    data, lesion = scan()
    lesion[3:7, 4:9, 2] = True  # off centre in every direction
    if request.param == "slices":
        write_slices(tmp_path / "dicom", data, AFFINE, **SAID)
    else:
        (tmp_path / "dicom").mkdir()
        write_enhanced(
            tmp_path / "dicom" / "IM1.dcm", data, AFFINE, order=np.arange(data.shape[2])[::-1], **SAID
        )
    return load_patient(tmp_path / "dicom"), lesion


def on_grid(patient, voxels):
    """Return a mask of (i, j, k) of the slices on the patient's grid."""
    inverse = np.linalg.inv(patient.grid.canonical_affine)
    found = np.zeros(patient.shape, bool)
    for index in np.argwhere(voxels):
        x, y, z = np.rint(inverse @ AFFINE @ (*index, 1)).astype(int)[:3]
        found[z, y, x] = True
    return found


def test_each_frame_names_its_slice_and_has_its_voxels(source, tmp_path, quiet):
    patient, lesion = source
    mask = on_grid(patient, lesion)
    assert mask.sum() == lesion.sum()
    file = save_dicom(
        {"lesion": mask, "brain": patient.volume() > 0}, patient, tmp_path / "mask.dcm", model="tiny"
    )
    made = pydicom.dcmread(file)
    assert made.Modality == "SEG"
    assert made.PatientID == "p"
    assert [item.SegmentLabel for item in made.SegmentSequence] == ["lesion", "brain"]
    places = np.linalg.inv(np.diag([-1.0, -1, 1, 1]) @ AFFINE)
    found = np.zeros_like(lesion)
    for frame, groups in zip(made.pixel_array, made.PerFrameFunctionalGroupsSequence, strict=True):
        if groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber != 1:
            continue
        where = (*map(float, groups.PlanePositionSequence[0].ImagePositionPatient), 1)
        k = round((places @ where)[2])
        found[:, :, k] = frame.T > 0
        (referred,) = groups.DerivationImageSequence[0].SourceImageSequence
        assert referred.ReferencedSOPInstanceUID
    assert np.array_equal(found, lesion)


def test_what_has_no_slices_is_refused(source, patient_folder, tmp_path, quiet):
    patient = source[0]
    with pytest.raises(UnsupportedError, match="refers to DICOM slices"):
        check_dicom(load_patient(patient_folder))
    with pytest.raises(UnsupportedError, match="refers to DICOM slices"):
        check_dicom(Patient.from_arrays({"flair": np.ones((3, 9, 9)) * 5}))
    with pytest.raises(UnsupportedError, match="nothing to write"):
        save_dicom({"lesion": np.zeros(patient.shape, bool)}, patient, tmp_path / "mask.dcm", model="tiny")
    assert not (tmp_path / "mask.dcm").exists()
