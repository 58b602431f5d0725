import os
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import napari_cead as cead
from napari_cead.errors import MaskError, PatientError
from napari_cead.patients import SeriesError, archives, disk_files, find_patients, is_patient, is_pictures
from scanners import write_dicom
from scans import make_brain, write_nifti


def zipped(folder: Path, target: Path, *, top=True) -> Path:
    root = folder.parent if top else folder
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(root))
    return target


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary files go, to see whether any stays."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    archives.forget()
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("top", [True, False])
def test_a_zipped_patient_is_the_patient(patient_folder, tmp_path, scratch, top):
    file = zipped(patient_folder, tmp_path / "anna.zip", top=top)
    plain, patient = cead.load_patient(patient_folder), cead.load_patient(file)
    assert patient.name == ("Mets_001" if top else "anna")
    assert set(patient.sequences) == {"flair", "t1_gd"}
    np.testing.assert_array_equal(patient.volume(), plain.volume())
    np.testing.assert_array_equal(patient.lesion_mask, plain.lesion_mask)
    np.testing.assert_array_equal(patient.grid.affine, plain.grid.affine)
    inside = "Mets_001/" if top else ""
    assert str(patient.files["flair"]) == f"{file}#{inside}flair.nii.gz"
    assert disk_files(patient.files["flair"]) == [file]
    one = cead.load_patient(patient.files["t1_gd"])
    assert (one.sequence, one.name) == ("t1_gd", patient.name)
    np.testing.assert_array_equal(one.lesion_mask, plain.lesion_mask)


def test_what_was_unpacked_goes_when_the_program_ends_and_before_when_there_is_much(
    patient_folder, tmp_path, scratch, monkeypatch
):
    files = [zipped(patient_folder, tmp_path / f"{name}.zip") for name in "abc"]
    script = "import sys; from napari_cead import load_patient; print(load_patient(sys.argv[1]).name)"
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", script, files[0]],
        env={**os.environ, "TMPDIR": str(scratch), "PYTHONWARNINGS": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, list(scratch.iterdir())) == ("Mets_001\n", [])
    kept = sum(file.stat().st_size for file in files[:2])
    monkeypatch.setattr(archives, "KEPT", kept)
    for file in files:
        assert cead.load_patient(file).name == "Mets_001"
    assert 1 <= len(list(scratch.iterdir())) < 3
    file = files[2]
    with zipfile.ZipFile(file, "a") as archive:  # it is another zip now
        archive.writestr("Mets_001/t2.nii.gz", (patient_folder / "flair.nii.gz").read_bytes())
    assert "t2" in cead.load_patient(file).sequences


def test_a_zip_of_several_patients_is_a_cohort(patient_folder, tmp_path, scratch):
    shutil.copytree(patient_folder, tmp_path / "all" / "Mets_002")
    shutil.copytree(patient_folder, tmp_path / "all" / "Mets_003")
    file = zipped(tmp_path / "all", tmp_path / "all.zip", top=False)
    places = list(find_patients(file))
    assert [str(place) for place in places] == [f"{file}#Mets_002", f"{file}#Mets_003"]
    assert cead.load_patient(places[1]).name == "Mets_003"
    with pytest.raises(
        PatientError, match=r"2 patients lie in this zip; name one, for instance .*all\.zip#Mets_002"
    ):
        cead.load_patient(file)


def test_zips_of_a_cohort_are_found_unless_their_folder_is_there(patient_folder, tmp_path):
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    zipped(patient_folder, cohort / "a.zip")
    zipped(patient_folder, cohort / "Mets_009.zip")
    shutil.copytree(patient_folder, cohort / "Mets_009")
    (cohort / "notes.zip").write_bytes(b"")
    assert [path.name for path in find_patients(cohort)] == ["a.zip", "Mets_009"]


def test_png_slices_dicom_and_a_pair_inside_a_zip(tmp_path, scratch):
    import nibabel as nib

    volume, _ = make_brain((5, 20, 16))
    data = np.round(volume).astype(np.uint8)
    for number, pixels in enumerate(data):
        target = tmp_path / "png" / "3" / f"{number:03d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(target)
    write_dicom(tmp_path / "dicom", data.T.astype(np.int16), np.diag([-1, -1, 2.0, 1]))
    (tmp_path / "pair").mkdir()
    nib.Nifti1Pair(data.T, np.diag([-1, -1, 2.0, 1])).to_filename(tmp_path / "pair" / "flair.hdr")
    for name in ("png", "dicom", "pair"):
        for top in (True, False):
            file = zipped(tmp_path / name, tmp_path / f"{name}{top}.zip", top=top)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                plain, patient = cead.load_patient(tmp_path / name), cead.load_patient(file)
            np.testing.assert_array_equal(patient.volume(), plain.volume())
            assert patient.name == (name if top else f"{name}{top}")
            assert is_pictures(patient.files["flair"]) == (name == "png")
            place = patient.files["flair"]
            if name == "dicom":  # one series is a place of its own
                np.testing.assert_array_equal(cead.load_patient(place).volume(), plain.volume())


def test_series_in_a_zip_are_named_by_paths_that_work(tmp_path, scratch):
    scan = np.round(make_brain((5, 20, 16))[0].T).astype(np.int16)
    for number in (3, 8):
        write_dicom(
            tmp_path / "anna", scan, np.diag([-1, -1, 2.0, 1]), number=number, name=f"{number}-{{}}.dcm"
        )
    file = zipped(tmp_path / "anna", tmp_path / "anna.zip")
    with pytest.raises(SeriesError, match="2 series look like flair") as caught:
        cead.load_patient(file)
    assert str(scratch) not in str(caught.value)
    assert cead.load_patient(caught.value.choices[1][0]).shape == (5, 20, 16)


@pytest.mark.parametrize(
    "name", ["../flair.nii", "/etc/flair.nii", "a/../../flair.nii", "C:\\flair.nii", "..\\flair.nii"]
)
def test_names_that_lead_out_are_refused(patient_folder, tmp_path, scratch, name):
    file = zipped(patient_folder, tmp_path / "x.zip")
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(PatientError, match=r"x\.zip: the zip holds a file that would lie elsewhere"):
        cead.load_patient(file)
    assert not is_patient(file)
    assert {path.name for path in tmp_path.iterdir()} == {"x.zip", "scratch", "Mets_001"}


def test_links_are_refused(patient_folder, tmp_path, scratch):
    file = zipped(patient_folder, tmp_path / "x.zip")
    with zipfile.ZipFile(file, "a") as archive:
        link = zipfile.ZipInfo("Mets_001/bravo.nii")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(PatientError, match="the zip holds a link"):
        cead.load_patient(file)


def test_number_size_and_ratio_are_bounded(patient_folder, tmp_path, scratch, monkeypatch):
    file = zipped(patient_folder, tmp_path / "x.zip")
    for limit, value, words in (
        ("MAX_MEMBERS", 2, "holds 3 files, more than 2"),
        ("MAX_BYTES", 1000, "the zip unpacks to"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(archives, limit, value)
            archives._listed.cache_clear()
            with pytest.raises(PatientError, match=words):
                cead.load_patient(file)
    archives._listed.cache_clear()
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("flair.nii", bytes(1 << 22))
    monkeypatch.setattr(archives, "MUCH", 1 << 20)
    with pytest.raises(PatientError, match=r"unpacks to \d+ times its size"):
        cead.load_patient(bomb)


def test_archives_inside_hidden_files_and_what_a_mac_adds_are_passed_over(patient_folder, tmp_path, scratch):
    inner = zipped(patient_folder, tmp_path / "inner.zip")
    shutil.copy(inner, patient_folder / "more.zip")
    (patient_folder / ".flair.nii.gz").write_bytes(b"x")
    file = zipped(patient_folder, tmp_path / "x.zip")
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("__MACOSX/Mets_001/._flair.nii.gz", b"x")
    assert cead.load_patient(file).name == "Mets_001"
    assert list(find_patients(file)) == [file]


def test_damaged_encrypted_and_empty_zips_are_one_sentence(patient_folder, tmp_path, scratch):
    file = zipped(patient_folder, tmp_path / "x.zip")
    whole = file.read_bytes()
    start = whole.index(b"flair.nii.gz") + 200
    for name, content in {
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:start] + bytes(50) + whole[start + 50 :],
        "nothing": b"",
    }.items():
        broken = tmp_path / f"{name}.zip"
        broken.write_bytes(content)
        with pytest.raises(PatientError, match=rf"{name}\.zip") as caught:
            cead.load_patient(broken)
        assert "\n" not in str(caught.value)
        assert str(scratch) not in str(caught.value)
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("notes.txt", "x")
    with pytest.raises(PatientError, match="no scan of a patient lies in this zip"):
        cead.load_patient(tmp_path / "none.zip")


def test_an_error_about_a_file_inside_names_the_zip(patient_folder, tmp_path, scratch):
    write_nifti(
        patient_folder / "seg.nii.gz",
        np.linspace(0, 1, 36000).reshape(50, 60, 12),
        np.diag([0.9, 0.95, 1.5, 1]),
    )
    (patient_folder / "flair.nii.gz").write_bytes(b"junk")
    file = zipped(patient_folder, tmp_path / "x.zip")
    with pytest.raises(PatientError, match=r"x\.zip#Mets_001/flair\.nii\.gz: ") as caught:
        cead.load_patient(file)
    assert str(scratch) not in str(caught.value)
    with pytest.raises(MaskError, match=r"x\.zip#Mets_001/seg\.nii\.gz: .*not a mask"):
        cead.load_patient(file, "t1_gd")
