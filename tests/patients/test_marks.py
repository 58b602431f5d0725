"""Results of ours are known again, wherever they lie and whatever they are called now."""

import gzip
import json
import shutil
import zipfile

import nibabel as nib
import numpy as np
import pytest

import napari_cead as cead
from enhanced import write_slices
from napari_cead.errors import CeadWarning, PatientError
from napari_cead.patients import find_files, find_patients
from napari_cead.patients.integrity import check_cohort
from napari_cead.patients.marks import kind_of
from napari_cead.store.scans import find_scans
from scans import make_brain, write_nifti

INTENTS = {
    "mask": b"napari-cead mask",
    "anomaly map": b"napari-cead map",
    "reconstruction": b"napari-cead rec",
    "corrections": b"napari-cead fix",
}


@pytest.fixture
def patient(tmp_path):
    """A patient without a mask, whose files are beside nothing else."""
    volume, _ = make_brain((6, 20, 16))
    write_nifti(tmp_path / "anna" / "flair.nii.gz", volume.T, np.diag([2, 2, 3, 1]))
    return cead.load_patient(tmp_path / "anna")


def write(patient, path, kind=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = make_brain((6, 20, 16))[1] if kind in ("mask", None) else patient.volume() / 200
    return cead.save_volume(volume, patient, path, kind=kind)


@pytest.mark.parametrize("kind", INTENTS)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nibabel_reads_what_a_result_is(patient, tmp_path, kind, name):
    image = nib.load(write(patient, tmp_path / name, kind))
    assert image.header["intent_name"].item() == INTENTS[kind]
    (extension,) = image.header.extensions
    assert extension.get_code() == 6  # a comment
    content = extension.get_content()
    assert json.loads(content) == {"napari-cead": {"kind": kind, "version": 1}}
    assert kind_of(tmp_path / name) == kind


def test_either_mark_will_do_and_only_ours(patient, tmp_path):
    image = nib.load(write(patient, tmp_path / "a.nii.gz", "mask"))
    data = np.asarray(image.dataobj)
    without = nib.Nifti2Image(data, image.affine)  # as a program that drops extensions
    without.header["intent_name"] = b"napari-cead mask"
    nib.save(without, tmp_path / "intent.nii")
    other = nib.Nifti1Image(data, image.affine)
    other.header.extensions.append(image.header.extensions[0])
    nib.save(other, tmp_path / "extension.nii.gz")
    foreign = nib.Nifti1Image(data, image.affine)
    foreign.header["intent_name"] = b"napari"
    for text in (b'{"napari-cead": 1}', b'{"napari-cead": {"kind": "scan"}}', b"[" * 9999, b"mask", b"\xff"):
        foreign.header.extensions.append(nib.nifti1.Nifti1Extension(6, text))
    nib.save(foreign, tmp_path / "foreign.nii.gz")
    assert kind_of(tmp_path / "intent.nii") == kind_of(tmp_path / "extension.nii.gz") == "mask"
    assert kind_of(tmp_path / "foreign.nii.gz") is None
    for content in (b"", b"no scan", gzip.compress(b"x"), bytes(400)):
        (tmp_path / "bad.nii.gz").write_bytes(content)
        assert kind_of(tmp_path / "bad.nii.gz") is None
    assert kind_of(tmp_path / "gone.nii.gz") is None


@pytest.mark.parametrize("name", ["mask", "seg", "lesion_mask"])
def test_a_detected_mask_never_becomes_the_reference(patient, tmp_path, name):
    folder = tmp_path / "anna"
    write(patient, folder / f"{name}.nii.gz", "mask")
    note = f"{name}.nii.gz is a mask that napari-cead detected, so it is not taken as the lesion mask"
    for place in (folder, folder / "flair.nii.gz"):
        with pytest.warns(CeadWarning, match=note):
            assert cead.load_patient(place).lesion_mask is None
    assert check_cohort(folder).labelled == 0
    (scan,) = find_scans(folder)
    assert (scan.scan.name, scan.lesion_mask) == ("flair.nii.gz", None)
    write(patient, folder / "drawn_seg.nii.gz")
    assert find_files(folder).mask == folder / "drawn_seg.nii.gz"


def test_a_detected_mask_can_be_named_as_the_reference_and_it_is_said(patient, tmp_path):
    mask = write(patient, tmp_path / "out" / "mask.nii.gz", "mask")
    with pytest.warns(
        CeadWarning, match=r"mask\.nii\.gz is a mask that napari-cead detected, not a reference"
    ):
        assert cead.load_patient(tmp_path / "anna", mask=mask).lesion_mask.any()


@pytest.mark.parametrize(
    ("kind", "name"),
    [("anomaly map", "flair"), ("reconstruction", "anna_FLAIR"), ("anomaly map", "x"), ("mask", "x")],
)
def test_a_result_never_becomes_a_scan(patient, tmp_path, kind, name):
    alone = write(patient, tmp_path / "alone" / f"{name}.nii.gz", kind)
    with pytest.raises(PatientError, match=r"that napari-cead (made|detected), not a scan; give the scan"):
        cead.load_patient(alone)
    with pytest.raises(PatientError):
        cead.load_patient(tmp_path / "alone")
    assert list(find_patients(tmp_path / "alone")) == []
    assert find_scans(tmp_path / "alone") == []


def test_the_scan_is_found_beside_a_result_of_the_same_name(patient, tmp_path):
    write(patient, tmp_path / "anna" / "FLAIR_map.nii", "anomaly map")
    write(patient, tmp_path / "anna" / "T1.nii", "reconstruction")
    files = find_files(tmp_path / "anna")
    assert files.sequences == {"flair": tmp_path / "anna" / "flair.nii.gz"}
    assert files.notes == ("T1.nii is a reconstruction that napari-cead made, so it is not taken as a scan",)


def test_results_in_a_zip_in_a_flat_folder_and_in_bids(patient, tmp_path):
    mask = write(patient, tmp_path / "made" / "seg.nii.gz", "mask")
    with zipfile.ZipFile(tmp_path / "anna.zip", "w") as archive:
        archive.write(tmp_path / "anna" / "flair.nii.gz", "anna/flair.nii.gz")
        archive.write(mask, "anna/seg.nii.gz")
    assert find_files(tmp_path / "anna.zip").mask is None
    flat, bids, derived = tmp_path / "flat", tmp_path / "b" / "sub-1" / "anat", tmp_path / "b" / "derivatives"
    for name in ("a", "b"):
        (flat / name).parent.mkdir(exist_ok=True)
        shutil.copy(tmp_path / "anna" / "flair.nii.gz", flat / f"{name}_flair.nii.gz")
        shutil.copy(mask, flat / f"{name}_seg.nii.gz")
    assert [find_files(place).mask for place in find_patients(flat)] == [None, None]
    for folder, name, source in (
        (bids, "sub-1_FLAIR", tmp_path / "anna" / "flair.nii.gz"),
        (derived / "cead" / "sub-1" / "anat", "sub-1_label-lesion_mask", mask),
    ):
        folder.mkdir(parents=True)
        shutil.copy(source, folder / f"{name}.nii.gz")
    files = find_files(tmp_path / "b" / "sub-1")
    assert files.mask is None
    assert "sub-1_label-lesion_mask.nii.gz is a mask that napari-cead detected" in files.notes[0]


def older(folder, patient, names=("anomaly_map", "mask", "reconstruction")):
    """Results as they were written before they were marked."""
    for name in names:
        write(patient, folder / f"{name}.nii.gz")
    return folder


@pytest.mark.parametrize("beside", ["detection.json", "settings.json", None])
def test_results_of_older_versions_are_told_by_what_lies_beside(patient, tmp_path, beside):
    out = older(
        tmp_path / "anna" / "out", patient, ("mask",) if beside else ("anomaly_map", "mask", "reconstruction")
    )
    if beside:
        summary = {"schema_version": 1, "model": "m", "score": "residual", "params": {}, "sources": {}}
        (out / beside).write_text(json.dumps(summary))
    assert kind_of(out / "mask.nii.gz") == "mask"
    shutil.copy(tmp_path / "anna" / "flair.nii.gz", out / "flair.nii.gz")
    with pytest.warns(CeadWarning, match="that napari-cead detected, so it is not taken"):
        assert cead.load_patient(out).lesion_mask is None


def test_a_mask_that_somebody_drew_stays_a_reference(patient, tmp_path):
    write(patient, tmp_path / "anna" / "mask.nii.gz")
    (tmp_path / "anna" / "settings.json").write_text('{"schema_version": 1, "colour": "blue"}')
    assert find_files(tmp_path / "anna").mask == tmp_path / "anna" / "mask.nii.gz"


def test_a_folder_of_results_is_no_stray_of_a_cohort(patient, tmp_path):
    for name, kind in (
        ("anomaly_map", "anomaly map"),
        ("mask", "mask"),
        ("reconstruction", "reconstruction"),
    ):
        write(patient, tmp_path / "results" / "anna" / f"{name}.nii.gz", kind)
    write(patient, tmp_path / "anna" / "out" / "mask.nii.gz", "mask")
    report = check_cohort(tmp_path)
    assert report.clean
    assert [each.name for each in report.patients] == ["anna"]


@pytest.mark.parametrize(
    "name", ["anna/seg", "flat/c_seg", "Dataset001/labelsTr/a", "sub-01/anat/sub-01_label-lesion_mask"]
)
def test_check_finds_a_result_in_the_place_of_a_reference(patient, tmp_path, name):
    cohort = tmp_path / "cohort"
    for scan in (
        *("anna/flair", "flat/c_flair", "flat/d_flair", "sub-01/anat/sub-01_FLAIR"),
        *(f"Dataset001/imagesTr/{case}_0000" for case in "ab"),
    ):
        (cohort / scan).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "anna" / "flair.nii.gz", cohort / f"{scan}.nii.gz")
    (cohort / "Dataset001" / "dataset.json").write_text('{"channel_names": {"0": "FLAIR"}}')
    write(patient, cohort / f"{name}.nii.gz", "mask")
    report = check_cohort(cohort)
    (finding,) = report.findings
    assert finding.code == "result"
    assert "is a mask that napari-cead detected, so it is not taken as the lesion mask" in finding.sentence
    assert report.labelled == 0


def test_check_finds_a_result_that_bears_the_name_of_a_scan(patient, tmp_path):
    shutil.copytree(tmp_path / "anna", tmp_path / "cohort" / "anna")
    write(patient, tmp_path / "cohort" / "bert" / "flair.nii.gz", "anomaly map")
    (finding,) = check_cohort(tmp_path / "cohort").findings
    assert (finding.code, finding.file) == ("unrecognised", tmp_path / "cohort" / "bert")
    assert "but an anomaly map that napari-cead made" in finding.sentence
    with pytest.raises(PatientError, match="no scan lies in this folder, but an anomaly map"):
        cead.load_patient(tmp_path / "cohort" / "bert")
    shutil.copy(tmp_path / "anna" / "flair.nii.gz", tmp_path / "cohort" / "bert" / "scan.nii.gz")
    with pytest.raises(PatientError, match="no name in this folder tells which scan is which"):
        cead.load_patient(tmp_path / "cohort" / "bert")


@pytest.mark.parametrize("name", ["flair.img", "flair.hdr", "FLAIR.IMG"])
def test_the_mark_of_a_pair_holds_for_both_its_files(patient, tmp_path, name):
    image = nib.load(write(patient, tmp_path / "a.nii", "anomaly map"))
    nib.save(nib.Nifti1Pair(np.asarray(image.dataobj), image.affine, image.header), tmp_path / "flair.img")
    if name.isupper():
        for file in ("flair.img", "flair.hdr"):
            (tmp_path / file).rename(tmp_path / file.upper())
    assert kind_of(tmp_path / name) == "anomaly map"
    with pytest.raises(PatientError, match="this is an anomaly map that napari-cead made"):
        cead.load_patient(tmp_path / name)


def test_a_result_in_a_dicom_folder_is_said(patient, tmp_path):
    volume, affine = patient.grid.to_source(patient.volume()), patient.grid.affine
    write_slices(tmp_path / "x", volume.astype(np.uint16), affine)
    write(patient, tmp_path / "x" / "seg.nii.gz", "mask")
    files = find_files(tmp_path / "x")
    assert files.mask is None
    assert files.notes == (
        "seg.nii.gz is a mask that napari-cead detected, so it is not taken as the lesion mask",
    )
    for rater in (2, 1):
        write(patient, tmp_path / "x" / f"lesion_mask_{rater}.nii.gz")
    files = find_files(tmp_path / "x")
    assert files.mask == tmp_path / "x" / "lesion_mask_1.nii.gz"
    assert "lesion_mask_1.nii.gz is taken as the lesion mask, not lesion_mask_2.nii.gz" in files.notes
