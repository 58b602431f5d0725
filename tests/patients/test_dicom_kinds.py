"""DICOM folders as scanners and archives leave them, written by pydicom: what belongs together, and what is no MR."""

import shutil
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, SecondaryCaptureImageStorage

import napari_cead as cead
from enhanced import write_slices
from napari_cead.errors import CeadWarning, PatientError
from napari_cead.patients import SeriesError, disk_files, find_files, find_patients, place_below, place_of
from napari_cead.patients.integrity import check_cohort
from napari_cead.patients.reading import read_place
from scanners import rotation
from scans import make_brain

AFFINE = np.eye(4)
AFFINE[:3, :3] = rotation(6, -4, 9) @ np.diag([-0.7, -0.9, 3.0])
AFFINE[:3, 3] = (80, 95, -30)


@pytest.fixture
def scan():
    return np.round(make_brain((9, 24, 20))[0].T).astype(np.uint16)


def source(path):
    """Return the values of a scan in the order of the file's axes, and its affine."""
    volume = read_place(path)
    return volume.grid.to_source(volume.data), volume.grid.affine


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ({"SeriesNumber": 5}, {"SeriesNumber": 6, "SeriesDescription": "Ax T1"}, None),
        ({"SeriesDescription": "Ax T2 FLAIR"}, {"SeriesDescription": "Ax T1"}, None),
        (
            {"EchoNumbers": 1, "EchoTime": 20},
            {"EchoNumbers": 2, "EchoTime": 100},
            "echo 2, echo time 100, 9 slices",
        ),
        (
            {"ImageType": ["ORIGINAL", "PRIMARY", "M"]},
            {"ImageType": ["ORIGINAL", "PRIMARY", "P"]},
            r"image type ORIGINAL\\PRIMARY\\P",
        ),
        ({}, {"ContrastBolusAgent": "Gd"}, "contrast agent yes"),
        ({}, {"ScanningSequence": "IR"}, "sequence IR"),
        ({"InversionTime": 0}, {"InversionTime": 2500}, "inversion time 2500"),
    ],
)
@pytest.mark.parametrize("apart", [0, 0.5], ids=["at one place", "between"])
def test_contrasts_under_one_uid_are_series_of_their_own(tmp_path, scan, one, other, words, apart):
    write_slices(tmp_path / "x", scan, AFFINE, name="A{:03d}.dcm", **one)
    steps = np.arange(9) + apart
    write_slices(tmp_path / "x", scan + 1, AFFINE, positions=steps, name="B{:03d}.dcm", **other)
    if words is None:
        places = cead.load_patient(tmp_path / "x").files
        assert set(places) == {"flair", "t1_pre"}
        found = [places["flair"], places["t1_pre"]]
    else:
        with pytest.raises(SeriesError, match=f"2 series look like flair: .*{words}") as caught:
            cead.load_patient(tmp_path / "x")
        found = [place for place, _ in caught.value.choices]
        assert check_cohort(tmp_path / "x").findings[0].code == "unrecognised"
    for part, place in enumerate(found):
        data, affine = source(place)
        np.testing.assert_array_equal(data, scan + part)
        np.testing.assert_allclose(affine[:3, 3], (AFFINE @ [0, 0, part * apart, 1])[:3], atol=1e-4)
        assert len(disk_files(place)) == 9


def test_series_of_several_studies_are_told(tmp_path, scan):
    write_slices(tmp_path / "x", scan, AFFINE, name="A{}.dcm")
    other = {"SeriesInstanceUID": "1.9", "StudyInstanceUID": "1.8", "SeriesDescription": "T1"}
    write_slices(tmp_path / "x", scan, AFFINE, name="B{}.dcm", SeriesNumber=6, **other)
    with pytest.warns(CeadWarning, match="the series are of 2 studies"):
        cead.load_patient(tmp_path / "x")
    assert check_cohort(tmp_path / "x").findings[0].code == "series"


def test_directions_under_one_uid_are_series_of_their_own(tmp_path, scan):
    write_slices(tmp_path / "x", scan, AFFINE, name="A{}.dcm")
    turned = np.transpose(scan, (0, 2, 1)).copy()
    write_slices(tmp_path / "x", turned, AFFINE[:, [0, 2, 1, 3]], name="B{}.dcm")
    with pytest.raises(SeriesError, match=r"direction axial.*direction coronal"):
        cead.load_patient(tmp_path / "x")


def test_copies_of_an_instance_are_left_out_and_told(tmp_path, scan):
    files = write_slices(tmp_path / "x", scan, AFFINE)
    for file in files:
        shutil.copy(file, file.with_name(f"{file.stem} (1).dcm"))
    with pytest.warns(CeadWarning, match="9 files hold the same images again and are left out"):
        patient = cead.load_patient(tmp_path / "x")
    np.testing.assert_array_equal(patient.grid.to_source(patient.volume()), scan)
    (finding,) = check_cohort(tmp_path / "x").findings
    assert (finding.code, "9 files hold the same images" in finding.sentence) == ("series", True)


def test_one_instance_name_for_all_slices_makes_no_copies(tmp_path, scan):
    write_slices(tmp_path / "x", scan, AFFINE, SOPInstanceUID="1.2.3.4")
    patient = cead.load_patient(tmp_path / "x")
    assert patient.warnings == ()
    np.testing.assert_array_equal(patient.grid.to_source(patient.volume()), scan)


@pytest.mark.parametrize("name", ["{}.dicom", "{}.MR", "{}.IMA", "{}.img0", "IM{}", "1.2.{}", "slice {}.v2"])
def test_the_mark_in_the_file_tells_and_not_its_ending(tmp_path, scan, name):
    files = write_slices(tmp_path / "anna", scan, AFFINE, name=name)
    for other in ("a.txt", "a.json", "README", "b.pdf", "Thumbs.db"):
        (tmp_path / "anna" / other).write_text("{}")
    for place in (tmp_path / "anna", files[4]):
        patient = cead.load_patient(place)
        np.testing.assert_array_equal(patient.grid.to_source(patient.volume()), scan)
    assert list(find_patients(tmp_path)) == [tmp_path / "anna"]
    assert len(disk_files(files[0])) == 9


@pytest.mark.parametrize("name", ["{}.dcm", "{}.MR", "IM{}"])
def test_files_without_a_preamble_are_read(tmp_path, scan, name):
    write_slices(tmp_path / "x", scan, AFFINE, name=name, preamble=False)
    patient = cead.load_patient(tmp_path / "x")
    np.testing.assert_array_equal(patient.grid.to_source(patient.volume()), scan)


@pytest.mark.parametrize("modality", ["CT", "PT", "US", "NM", "CR", "SR", "SEG"])
def test_what_is_no_mr_is_refused_however_it_is_named(tmp_path, scan, modality):
    kind = CTImageStorage if modality == "CT" else SecondaryCaptureImageStorage
    files = write_slices(tmp_path / "x", scan, AFFINE, kind=kind, Modality=modality)
    for place in (tmp_path / "x", f"{tmp_path}/x#5", files[0]):
        with pytest.raises(PatientError, match=f"it is of the kind {modality}, not MR"):
            cead.load_patient(place)
    assert check_cohort(tmp_path / "x").findings[0].code == "unrecognised"


@pytest.mark.parametrize("modality", ["", "MR"])
def test_the_kind_of_object_tells_where_the_modality_does_not(tmp_path, scan, modality):
    write_slices(tmp_path / "x", scan, AFFINE, kind=CTImageStorage, Modality=modality)
    with pytest.raises(PatientError, match="it is of the kind CT Image, not MR"):
        cead.load_patient(tmp_path / "x")
    assert check_cohort(tmp_path / "x").findings


def test_a_ct_beside_the_flair_is_passed_over(tmp_path, scan):
    write_slices(tmp_path / "x", scan, AFFINE, name="A{}.dcm")
    write_slices(
        tmp_path / "x", scan, AFFINE, name="B{}.dcm", Modality="CT", SeriesInstanceUID="1.9", SeriesNumber=6
    )
    assert set(cead.load_patient(tmp_path / "x").files) == {"flair"}


def test_a_header_that_does_not_say_what_it_is_is_told(tmp_path, scan):
    write_slices(tmp_path / "x", scan, AFFINE, Modality="OT")
    write_slices(tmp_path / "y", scan, AFFINE, kind=SecondaryCaptureImageStorage, StudyInstanceUID="1.4")
    with pytest.warns(CeadWarning, match="does not say that this is MR"):
        cead.load_patient(tmp_path / "x")
    with pytest.warns(CeadWarning, match="a secondary capture"):
        cead.load_patient(tmp_path / "y")
    assert [finding.code for finding in check_cohort(tmp_path).findings] == ["series", "series"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "a mosaic of slices"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localiser"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "its values are not intensities"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "in colour"),
    ],
)
def test_what_is_no_volume_of_intensities_is_refused(tmp_path, scan, said, words):
    write_slices(tmp_path / "x", scan, AFFINE, **said)
    with pytest.raises(PatientError, match=words):
        cead.load_patient(f"{tmp_path}/x#5")


def test_a_missing_slice_leaves_the_others_where_they_belong(tmp_path, scan):
    kept = np.array([0, 1, 2, 3, 5, 6, 8])
    write_slices(tmp_path / "x", scan[:, :, kept], AFFINE, positions=kept)
    volume = read_place(find_files(tmp_path / "x").sequences["flair"])
    data = volume.grid.to_source(volume.data)
    np.testing.assert_allclose(volume.grid.affine, AFFINE, atol=1e-4)
    np.testing.assert_array_equal(data[:, :, kept], scan[:, :, kept])
    for gap in (4, 7):
        between = (scan[:, :, gap - 1].astype(float) + scan[:, :, gap + 1]) / 2
        np.testing.assert_allclose(data[:, :, gap], between, atol=1e-3)
    assert "3 to 6 mm apart" in volume.warnings[0]
    assert "2 of 9 slices are interpolated" in volume.warnings[0]
    assert "slice-gap" in {finding.code for finding in check_cohort(tmp_path / "x").findings}


def test_two_spacings_in_one_stack_keep_every_slice_in_place(tmp_path):
    """A value that grows by 10 a millimetre: linear interpolation gives it back anywhere."""
    steps = np.concatenate([np.arange(6), 5 + 1.2 * np.arange(1, 6)])
    ramp = np.broadcast_to(30 * steps + 100, (8, 6, 11)).astype(np.uint16)
    write_slices(tmp_path / "x", ramp, AFFINE, positions=steps)
    data, affine = source(find_files(tmp_path / "x").sequences["flair"])
    places = np.arange(data.shape[2]) * np.linalg.norm(affine[:3, 2])
    np.testing.assert_allclose(data[0, 0, :-1], 100 + 10 * places[:-1], atol=0.5)
    assert places[-1] >= 3 * steps[-1] - 1e-6  # no slice is cut off


def test_more_missing_than_there_is_refused(tmp_path, scan):
    write_slices(tmp_path / "x", scan[:, :, :6], AFFINE, positions=np.array([0, 1, 2, 30, 31, 32]))
    with pytest.raises(
        PatientError, match="3 to 84 mm apart, so that more slices are missing than are there"
    ):
        cead.load_patient(tmp_path / "x")


def test_slices_that_are_shifted_sideways_are_told(tmp_path, scan):
    files = write_slices(tmp_path / "x", scan, AFFINE)
    moved = dcmread(files[4])
    along = np.array(moved.ImageOrientationPatient[:3], dtype=float)
    moved.ImagePositionPatient = [
        f"{value:.8g}" for value in np.array(moved.ImagePositionPatient, float) + 2 * along
    ]
    moved.save_as(files[4])
    with pytest.warns(CeadWarning, match="shifted sideways, by up to 2 mm"):
        cead.load_patient(tmp_path / "x")


def test_a_folder_with_the_separator_in_its_name_is_that_folder(tmp_path, scan):
    write = partial(write_slices, affine=AFFINE)
    write(tmp_path / "anna", scan)
    write(tmp_path / "anna#2", scan * 2, StudyInstanceUID="1.4")
    write(tmp_path / "anna#2#5", scan * 3, StudyInstanceUID="1.5")
    for name, value in (
        ("anna", 0),
        ("anna#5", 0),
        ("anna#2", 1),
        ("anna#2/#5", 1),
        ("anna#2#5", 2),
        ("anna#2#5#5", 2),
    ):
        patient = cead.load_patient(tmp_path / name)
        np.testing.assert_array_equal(patient.grid.to_source(patient.volume()), scan * (value + 1))
        assert len(disk_files(patient.files["flair"])) == 9
    assert place_of(tmp_path / "anna#2#7").file == tmp_path / "anna#2"
    found = list(find_patients(tmp_path))
    assert [place.name for place in found] == ["anna", "anna#2", "anna#2#5"]
    assert [str(place_below(place, tmp_path)) for place in found] == ["anna", "anna#2", "anna#2#5"]


def test_a_shared_uid_is_told(tmp_path, scan):
    write_slices(tmp_path / "x", scan, AFFINE, name="A{}.dcm")
    write_slices(tmp_path / "x", scan, AFFINE, name="B{}.dcm", SeriesNumber=6, SeriesDescription="T1")
    with pytest.warns(CeadWarning, match=r"x#5: 2 series have its SeriesInstanceUID"):
        cead.load_patient(tmp_path / "x")
    assert [finding.code for finding in check_cohort(tmp_path / "x").findings] == ["series", "series"]


def test_files_that_cannot_be_read_are_told_wherever_they_lie(tmp_path, scan):
    files = write_slices(tmp_path / "x", scan, AFFINE)
    files[-1].write_bytes(files[-1].read_bytes()[:150])
    with pytest.warns(CeadWarning, match="1 DICOM files of the folder cannot be read and are left out"):
        assert cead.load_patient(tmp_path / "x").shape[0] == 8
    assert "series" in {finding.code for finding in check_cohort(tmp_path / "x").findings}


def test_an_element_that_is_nonsense_costs_itself_alone(tmp_path, scan):
    for file in write_slices(tmp_path / "x", scan, AFFINE, RepetitionTime=1234.5):
        content = file.read_bytes()
        assert content.count(b"1234.5") == 1
        file.write_bytes(content.replace(b"1234.5", b"12x4.5"))
    np.testing.assert_array_equal(source(f"{tmp_path}/x#5")[0], scan)


@pytest.mark.parametrize("slope", [b"0.0000", b"12x4.5"])
def test_a_slope_that_is_nonsense_is_refused(tmp_path, scan, slope):
    for file in write_slices(tmp_path / "x", scan, AFFINE, RescaleSlope=1234.5, RescaleIntercept=0):
        file.write_bytes(file.read_bytes().replace(b"1234.5", slope))
    with pytest.raises(PatientError, match="the rescale slope of a slice is no slope"):
        cead.load_patient(tmp_path / "x")


def test_the_separator_in_names_inside_a_zip(tmp_path, scan):
    with zipfile.ZipFile(tmp_path / "all#1.zip", "w") as archive:
        for number, name in enumerate(("anna", "anna#2"), start=1):
            for file in write_slices(tmp_path / name, scan * number, AFFINE, StudyInstanceUID=f"1.{number}"):
                archive.write(file, f"{name}/{file.name}")
    places = list(find_patients(tmp_path / "all#1.zip"))
    assert [str(place) for place in places] == [f"{tmp_path}/all#1.zip#{name}" for name in ("anna", "anna#2")]
    for number, place in enumerate(places, start=1):
        patient = cead.load_patient(place)
        np.testing.assert_array_equal(patient.grid.to_source(patient.volume()), scan * number)
        again = cead.load_patient(patient.files["flair"])
        np.testing.assert_array_equal(again.volume(), patient.volume())
        assert place_below(place, tmp_path) == Path("all#1") / place.name.rpartition(".zip#")[2]


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "PatientID", "FrameOfReferenceUID"])
@pytest.mark.parametrize("apart", [0, 0.5], ids=["at one place", "between"])
def test_two_sessions_under_one_uid_are_two_series(tmp_path, scan, keyword, apart):
    write_slices(tmp_path / "x", scan, AFFINE, name="A{:03d}.dcm", **{keyword: "1.2.3.1"})
    steps = np.arange(9) + apart
    write_slices(
        tmp_path / "x", scan + 1, AFFINE, positions=steps, name="B{:03d}.dcm", **{keyword: "1.2.3.2"}
    )
    with pytest.raises(SeriesError, match=r"2 series look like flair: .*session 2, 9 slices") as caught:
        cead.load_patient(tmp_path / "x")
    for part, (place, _) in enumerate(caught.value.choices):
        np.testing.assert_array_equal(source(place)[0], scan + part)


def test_a_place_of_its_own_for_every_slice_says_nothing(tmp_path, scan):
    each = [{"FrameOfReferenceUID": f"1.2.3.{index}"} for index in range(9)]
    write_slices(tmp_path / "x", scan, AFFINE, each=each)
    np.testing.assert_array_equal(source(cead.load_patient(tmp_path / "x").files["flair"])[0], scan)


def test_volumes_that_may_lie_in_one_another_are_told(tmp_path, scan):
    write_slices(tmp_path / "x", scan, AFFINE, name="A{:03d}.dcm", RepetitionTime=9000)
    write_slices(
        tmp_path / "x", scan, AFFINE, positions=np.arange(9) + 0.5, name="B{:03d}.dcm", RepetitionTime=500
    )
    with pytest.warns(
        CeadWarning, match=r"slices differ in repetition time \(500, 9000\), so this may be 2 volumes"
    ):
        cead.load_patient(tmp_path / "x")
    assert "series" in check_cohort(tmp_path / "x").counts()
