"""What is written says where voxels lie, and nothing that a scan's header says about a person."""

import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from nibabel.nifti1 import Nifti1Extension

import napari_cead as cead
from napari_cead.contributions.reader import get_reader
from napari_cead.contributions.writer import write_image, write_labels
from napari_cead.detection import save_detection
from napari_cead.detection.corrections import Corrections
from napari_cead.store.scans import save_scan
from scanners import itk_affine, itk_image, rotation, write_dicom
from scans import make_brain

PERSONAL = (b"Doe^John", b"19700101", b"St. Elsewhere", b"/home/john")
AFFINE = nib.affines.from_matvec(rotation(5, -7, 11) @ np.diag([-1.9, 2.1, 3]), (30, -20, 5))


def told(header):
    """Put something personal into every field of a header that holds text."""
    for field in ("descrip", "aux_file", "db_name", "intent_name"):
        if field in header.structarr.dtype.names:
            header[field] = b"Doe^John"
    return header


def source(folder, form):
    """A scan of a format, with personal text wherever the format has a place for it."""
    volume, _ = make_brain((6, 20, 16))
    folder.mkdir(parents=True, exist_ok=True)
    data = volume.T.astype(np.float32)
    if form in ("nifti-1", "nifti-2", "big-endian", "pair"):
        kind = {"nifti-2": nib.Nifti2Image, "pair": nib.Nifti1Pair}.get(form, nib.Nifti1Image)
        header = kind.header_class(endianness=">" if form == "big-endian" else "<")
        image = kind(data, AFFINE, told(header))
        image.header.extensions.append(Nifti1Extension(6, b"Doe^John, St. Elsewhere"))
        image.header.extensions.append(Nifti1Extension(44, b"Doe^John"))
        path = folder / ("flair.hdr" if form == "pair" else "flair.nii.gz")
        nib.save(image, path)
    elif form == "analyze":
        image = nib.Spm99AnalyzeImage(data, AFFINE)
        for field in ("descrip", "aux_file", "db_name", "patient_id", "originator", "hist_un0"):
            if field in image.header.structarr.dtype.names:
                image.header.structarr[field] = b"Doe^John"
        path = folder / "flair.hdr"
        nib.save(image, path)
    elif form == "mgh":
        path = folder / "flair.mgh"
        nib.save(nib.MGHImage(data, AFFINE), path)
        with path.open("ab") as stream:  # FreeSurfer appends the commands that made the file
            stream.write(b"mri_convert /home/john/Doe^John.mgh")
    elif form == "nrrd":
        image = itk_image(data, nib.affines.from_matvec(np.diag([2, 2, 3])))
        image.SetMetaData("PatientName", "Doe^John")
        path = folder / "flair.nrrd"
        sitk.WriteImage(image, str(path))
    else:
        tags = {"0010|0010": "Doe^John", "0010|0030": "19700101", "0008|0080": "St. Elsewhere"}
        write_dicom(folder, data.astype(np.int16), nib.affines.from_matvec(np.diag([2.0, 2, 3])), tags=tags)
        path = folder
    return path


def content(path):
    data = path.read_bytes()
    return gzip.decompress(data) if path.name.endswith(".gz") else data


def clean(path):
    data = content(path)
    return not [word for word in PERSONAL if word in data or word.decode().encode("utf-16-le") in data]


FORMS = ("nifti-1", "nifti-2", "big-endian", "pair", "analyze", "mgh", "nrrd", "dicom")


@pytest.mark.parametrize("form", FORMS)
def test_masks_and_maps_carry_geometry_alone(tmp_path, form, quiet):
    path = source(tmp_path / "in", form)
    assert any(not clean(file) for file in (tmp_path / "in").iterdir())
    patient = cead.load_patient(path)
    lesion = patient.volume() > 140
    written = [
        cead.save_volume(lesion, patient, tmp_path / "mask.nii.gz", kind="mask"),
        cead.save_volume(patient.volume(), patient, tmp_path / "plain.nii"),
        save_scan(patient.with_lesion_mask(lesion), tmp_path).scan,
    ]
    for file in written:
        image = nib.load(file)
        assert clean(file)
        fields = image.header.structarr.dtype.names
        texts = {name: image.header[name].item() for name in fields if image.header[name].dtype.kind == "S"}
        mark = b"napari-cead mask" if "mask" in file.name else b""
        assert {**texts, "magic": b""} == {**dict.fromkeys(texts, b""), "intent_name": mark, "magic": b""}
        assert len(image.header.extensions) == bool(mark)
        np.testing.assert_allclose(image.affine, patient.grid.affine, atol=1e-4)
        again = cead.load_patient(file) if not mark else None
        if again is not None:
            np.testing.assert_array_equal(again.volume(), patient.volume())
            assert again.grid.has_orientation == (form != "analyze" or patient.grid.has_orientation)
    if form in ("nifti-1", "big-endian"):  # ITK does not read NIfTI-2
        np.testing.assert_allclose(itk_affine(written[0]), itk_affine(path), atol=1e-3)
    assert isinstance(nib.load(written[0]), nib.Nifti2Image) == (form == "nifti-2")


def test_a_detection_and_the_layers_of_a_viewer_carry_geometry_alone(tmp_path, model_folder, quiet):
    path = source(tmp_path / "in", "nifti-1")
    patient = cead.load_patient(path)
    result = cead.detect(patient, cead.load_model(model_folder, device="cpu"))
    painted = Corrections.between(result.mask, ~result.mask)
    save_detection(result, tmp_path / "out", corrections=painted, automatic=result.mask)
    for index, (data, keywords, kind) in enumerate(get_reader(str(path))(str(path))):
        write = write_labels if kind == "labels" else write_image
        write(str(tmp_path / "out" / f"layer{index}.nii.gz"), data, keywords)
    files = sorted((tmp_path / "out").glob("*.nii.gz"))
    assert [file.name.split(".")[0] for file in files] == [
        *("anomaly_map", "corrections", "layer0", "mask", "mask_automatic", "reconstruction"),
    ]
    assert all(map(clean, files))


def test_the_report_of_a_header_with_text(real_data, tmp_path, quiet):
    path = real_data / "reports" / "hdr_ext" / "flair.nii.gz"
    patient = cead.load_patient(path)
    saved = nib.load(cead.save_volume(patient.volume() > 0, patient, tmp_path / "mask.nii.gz"))
    assert not saved.header.extensions
    assert saved.header["descrip"].item() == saved.header["aux_file"].item() == b""
    np.testing.assert_allclose(saved.affine, nib.load(path).affine, atol=1e-4)
