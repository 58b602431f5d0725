"""DICOM folders, written by SimpleITK's own writer and compared with a NIfTI of the same volume."""

import itertools
import shutil

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

import napari_cead as cead
from napari_cead.errors import CeadWarning, PatientError
from napari_cead.patients import (
    SeriesError,
    disk_files,
    find_files,
    find_patients,
    is_patient,
    preferred_sequence,
)
from napari_cead.patients.aliases import sequence_of_description
from napari_cead.patients.reading import read_place
from scanners import itk_affine, itk_image, rotation, write_dicom
from scans import make_brain, write_nifti

OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = rotation(6, -4, 9) @ np.diag([-0.7, -0.9, 3.0])
OBLIQUE[:3, 3] = (80, 95, -30)


@pytest.fixture
def scan():
    volume, _ = make_brain((7, 24, 20))
    return np.round(volume.T).astype(np.int16)


@pytest.mark.parametrize("plane", [(0, 1, 2), (1, 2, 0), (0, 2, 1)], ids=["axial", "sagittal", "coronal"])
def test_a_series_lies_where_the_nifti_of_the_same_volume_lies(tmp_path, scan, plane):
    affine = OBLIQUE[:, [*plane, 3]]
    data = np.transpose(scan, plane)
    if (
        np.linalg.det(affine[:3, :3]) < 0
    ):  # slices of DICOM go with a right-handed pair of axes, or against it
        affine = affine @ np.diag([1, 1, -1, 1.0])
        data = data[:, :, ::-1]
    write_dicom(tmp_path / "dicom", data, affine)
    nifti = write_nifti(tmp_path / "nifti" / "flair.nii.gz", data, affine)
    patient, other = cead.load_patient(tmp_path / "dicom"), cead.load_patient(nifti)
    assert (patient.name, patient.sequence, patient.warnings) == ("dicom", "flair", ())
    np.testing.assert_array_equal(patient.volume(), other.volume())
    np.testing.assert_allclose(patient.grid.canonical_affine, other.grid.canonical_affine, atol=1e-3)
    series = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "dicom"))
    sitk.WriteImage(sitk.ReadImage(series), str(tmp_path / "itk.nii.gz"))
    by_itk = cead.load_patient(tmp_path / "itk.nii.gz", "flair")
    np.testing.assert_array_equal(patient.volume(), by_itk.volume())

    saved = cead.save_volume(patient.volume(), patient, tmp_path / "map.nii.gz")
    np.testing.assert_allclose(itk_affine(saved), nib.load(saved).affine, atol=1e-3)
    again = cead.load_patient(saved)
    np.testing.assert_array_equal(again.volume(), other.volume())
    np.testing.assert_allclose(again.grid.canonical_affine, other.grid.canonical_affine, atol=1e-3)


def test_slices_are_put_in_order_by_where_they_lie(tmp_path, scan):
    files = write_dicom(tmp_path / "a", scan, OBLIQUE)
    expected = cead.load_patient(tmp_path / "a").volume()
    (tmp_path / "b").mkdir()
    for file, name in zip(files, "DAGCFBE", strict=True):  # as archives name them: without a suffix
        shutil.copy(file, tmp_path / "b" / name)
    (tmp_path / "b" / "DICOMDIR").write_bytes(b"index")
    (tmp_path / "b" / "report.pdf").write_bytes(b"%PDF")
    np.testing.assert_array_equal(cead.load_patient(tmp_path / "b").volume(), expected)
    np.testing.assert_array_equal(cead.load_patient(tmp_path / "b" / "C").volume(), expected)


def test_the_slope_of_each_slice_counts(tmp_path, scan):
    write_dicom(tmp_path / "a", scan, OBLIQUE, tags={"0028|1053": "2", "0028|1052": "5"})
    first = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a" / "IM0003.dcm")))[0]
    volume = read_place(cead.load_patient(tmp_path / "a").files["flair"])
    np.testing.assert_array_equal(volume.grid.to_source(volume.data)[:, :, 3], first.T)


def test_each_series_of_a_study_is_the_sequence_that_it_is_called(tmp_path, scan):
    study = tmp_path / "anna"
    for number, description in ((2, "AX T1 POST GD"), (5, "Ax T2 FLAIR"), (7, "t1_se_tra")):
        write_dicom(
            study,
            np.where(scan > 0, scan + number, 0).astype(scan.dtype),
            OBLIQUE,
            description=description,
            number=number,
            name=f"{number}-{{}}.dcm",
        )
    write_dicom(study, scan[:, :, :1], OBLIQUE, description="FLAIR", number=9, name="9-{}.dcm")
    write_dicom(study, scan, OBLIQUE, description="3-plane loc FLAIR", number=1, name="1-{}.dcm")
    write_dicom(
        study, scan, OBLIQUE, description="FLAIR", kind="DERIVED\\SECONDARY\\MIP", number=11, name="11-{}.dcm"
    )
    patient = cead.load_patient(study)
    assert {name: str(place) for name, place in patient.files.items()} == {
        "flair": f"{study}#5",
        "t1_gd": f"{study}#2",
        "t1_pre": f"{study}#7",
    }
    assert patient.warnings == ()
    one = cead.load_patient(f"{study}#2")
    assert (one.sequence, set(one.sequences), one.name) == ("t1_gd", {"t1_gd"}, "anna")
    assert len(disk_files(f"{study}#2")) == scan.shape[2]
    assert preferred_sequence(study) == "flair"


def test_of_several_alike_it_has_to_be_said_which(tmp_path, scan):
    for number in (3, 8):
        write_dicom(tmp_path / "anna", scan, OBLIQUE, number=number, name=f"{number}-{{}}.dcm")
    write_dicom(tmp_path / "anna", scan, OBLIQUE, description="T2", number=4, name="4-{}.dcm")
    with pytest.raises(
        SeriesError, match=r"2 series look like flair: 3 \(Ax T2 FLAIR, 7 slices\), 8 "
    ) as caught:
        cead.load_patient(tmp_path / "anna")
    assert "\n" not in str(caught.value)
    assert [str(path) for path, _ in caught.value.choices] == [f"{tmp_path}/anna#3", f"{tmp_path}/anna#8"]
    assert is_patient(tmp_path / "anna")
    assert cead.load_patient(caught.value.choices[1][0]).sequence == "flair"
    with pytest.warns(CeadWarning, match="2 series look like flair, none of them is taken"):
        assert cead.load_patient(tmp_path / "anna", "t2").sequence == "t2"
    with pytest.raises(
        SeriesError, match=r"3 series and no number 99: 3 .*; name one, for instance .*anna#3"
    ):
        cead.load_patient(f"{tmp_path}/anna#99")


def test_two_series_of_one_number_have_names_of_their_own(tmp_path, scan):
    for letter in "ab":
        write_dicom(
            tmp_path / "x", scan + ord(letter), OBLIQUE, uid=f"1.2.{ord(letter)}", name=f"{letter}{{}}.dcm"
        )
    with pytest.raises(SeriesError) as caught:
        find_files(tmp_path / "x")
    volumes = [cead.load_patient(path).volume().max() for path, _ in caught.value.choices]
    assert volumes[0] + 1 == volumes[1]


def test_a_series_that_is_called_nothing_known_is_taken_if_it_is_alone(tmp_path, scan):
    write_dicom(tmp_path / "x", scan, OBLIQUE, description="routine")
    with pytest.warns(CeadWarning, match="the name tells no sequence, taken as flair"):
        cead.load_patient(tmp_path / "x")
    write_dicom(tmp_path / "x", scan, OBLIQUE, description="other", number=6, name="b{}.dcm")
    with pytest.raises(SeriesError, match=r"2 series lie in this folder.*routine.*other"):
        cead.load_patient(tmp_path / "x")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"description": "Scout"}, "a localiser"),
        ({"kind": "ORIGINAL\\PRIMARY\\LOCALIZER"}, "a localiser"),
        ({"kind": "DERIVED\\PRIMARY\\PROJECTION IMAGE\\MIP"}, "a projection"),
        ({"positions": np.array([0])}, "a single slice"),
    ],
)
def test_what_is_no_scan_of_a_brain_is_passed_over_with_a_reason(tmp_path, scan, change, words):
    write_dicom(tmp_path / "x", scan, OBLIQUE, **change)
    with pytest.raises(PatientError, match=f"no series in this folder is a scan of a brain .*{words}"):
        cead.load_patient(tmp_path / "x")


def test_three_planes_in_one_series_are_a_localiser_whatever_it_is_called(tmp_path, scan):
    for index, plane in enumerate(itertools.islice(itertools.permutations(range(3)), 3)):
        write_dicom(
            tmp_path / "x",
            np.transpose(scan, plane)[:20, :20, :2],
            OBLIQUE[:, [*plane, 3]],
            name=f"{index}-{{}}.dcm",
        )
    with pytest.raises(PatientError, match="do not lie parallel"):
        cead.load_patient(tmp_path / "x")


def test_colour_is_passed_over(tmp_path):
    image = sitk.JoinSeries(sitk.Image([8, 8], sitk.sitkVectorUInt8, 3))
    image.SetMetaData("0020|000e", "1.2.3")
    (tmp_path / "x").mkdir()
    for index in range(3):
        sitk.WriteImage(image, str(tmp_path / "x" / f"{index}.dcm"))
    with pytest.raises(PatientError, match="in colour"):
        cead.load_patient(tmp_path / "x")


def test_uneven_gaps_and_missing_slices_are_told(tmp_path, scan):
    write_dicom(tmp_path / "even", scan, OBLIQUE)
    assert cead.load_patient(tmp_path / "even").warnings == ()
    write_dicom(tmp_path / "gap", scan[:, :, :6], OBLIQUE, positions=np.array([0, 1, 2, 4, 5, 6]))
    with pytest.warns(CeadWarning, match=r"3 to 6 mm apart; slices seem to be missing; they are laid where"):
        cead.load_patient(tmp_path / "gap")
    write_dicom(tmp_path / "uneven", scan[:, :, :4], OBLIQUE, positions=np.array([0, 1, 2.1, 3]))
    with pytest.warns(CeadWarning, match=r"2\.7 to 3\.3 mm apart; an even 3 mm .* up to 0\.3 mm off"):
        cead.load_patient(tmp_path / "uneven")


def test_several_images_at_one_place_are_no_volume(tmp_path, scan):
    write_dicom(tmp_path / "x", scan[:, :, :4], OBLIQUE, positions=np.array([0, 0, 1, 1]))
    with pytest.raises(PatientError, match="several slices lie at the same place"):
        cead.load_patient(tmp_path / "x")


def test_a_damaged_file_costs_its_slice_and_it_is_told(tmp_path, scan):
    files = write_dicom(tmp_path / "x", scan, OBLIQUE)
    files[3].write_bytes(files[3].read_bytes()[:200])
    with pytest.warns(CeadWarning, match="slices seem to be missing"):
        cead.load_patient(tmp_path / "x")
    for file in files:
        file.write_bytes(b"junk")
    with pytest.raises(PatientError, match=r"no DICOM file in this folder can be read"):
        cead.load_patient(tmp_path / "x")


def test_a_file_that_only_says_it_is_dicom_is_one_sentence(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"junk")
    with pytest.raises(PatientError, match="DICOM"):
        cead.load_patient(tmp_path / "a.dcm")


def test_a_study_with_a_folder_for_each_series_is_one_patient_and_a_cohort_is_not(tmp_path, scan):
    for patient, study in (("anna", "1.1"), ("bert", "1.2")):
        for number, description in ((1, "FLAIR"), (2, "T1")):
            write_dicom(
                tmp_path / patient / description,
                scan,
                OBLIQUE,
                description=description,
                number=number,
                study=study,
            )
    assert list(find_patients(tmp_path)) == [tmp_path / "anna", tmp_path / "bert"]
    assert set(cead.load_patient(tmp_path / "anna").sequences) == {"flair", "t1_pre"}
    flat = tmp_path / "flat"
    for patient, study in (("carl", "1.3"), ("dora", "1.4")):
        write_dicom(flat / patient, scan, OBLIQUE, study=study)
    assert list(find_patients(flat)) == [flat / "carl", flat / "dora"]


def test_a_mask_in_the_folder_is_the_lesion_mask(tmp_path, scan):
    write_dicom(tmp_path / "x", scan, OBLIQUE)
    lesion = np.zeros(scan.shape, np.uint8)
    lesion[5, 6, 3] = 1
    write_nifti(tmp_path / "x" / "lesion_mask.nii.gz", lesion, OBLIQUE)
    patient = cead.load_patient(tmp_path / "x")
    np.testing.assert_array_equal(patient.grid.to_source(patient.lesion_mask), lesion)
    assert patient.warnings == ()


def test_an_enhanced_file_of_many_slices_is_read(tmp_path, scan):
    """SimpleITK writes a volume as one multi-frame file, of no modality; geometry then is what ITK reads back."""
    file = tmp_path / "x" / "one.dcm"
    file.parent.mkdir()
    image = itk_image(scan.astype(np.uint16), np.diag([-0.7, -0.9, 3.0, 1.0]))
    image.SetMetaData("0008|103e", "FLAIR")
    image.SetMetaData("0020|000e", "1.2.3")
    sitk.WriteImage(image, str(file))
    with pytest.warns(CeadWarning, match=r"the header does not say that this is MR \(but OT\)"):
        np.testing.assert_allclose(cead.load_patient(file).grid.affine, itk_affine(file), atol=1e-4)


@pytest.mark.parametrize(
    ("text", "contrast", "sequence"),
    [
        ("Ax T2 FLAIR", False, "flair"),
        ("t2_tirm_tra_dark-fluid", False, "flair"),
        ("T2_SPACE_FLAIR_SAG_p2", False, "flair"),
        ("AX T1 FLAIR", False, "t1_pre"),
        ("T1 AX POST", False, "t1_gd"),
        ("T1 SE TRA", True, "t1_gd"),
        ("AX T1 +C", False, "t1_gd"),
        ("t1_mprage_sag_p2_iso", False, "t1_pre"),
        ("t1_mprage_sag_p2_iso", True, "bravo"),
        ("Ax BRAVO +C", False, "bravo"),
        ("T2W_TSE", False, "t2"),
        ("ep2d_diff_ADC", False, None),
        ("", False, None),
    ],
)
def test_what_scanners_call_sequences(text, contrast, sequence):
    assert sequence_of_description(text, contrast=contrast) == sequence
