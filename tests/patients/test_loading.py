import gzip
import shutil

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

import napari_cead as cead
from napari_cead.errors import CeadWarning, MaskError, ParameterError, PatientError
from napari_cead.patients import find_patients, is_patient
from scans import make_brain, write_nifti


def test_a_patient_folder_is_read_in_canonical_order(patient_folder):
    volume, lesion = make_brain()
    patient = cead.load_patient(patient_folder)
    assert (patient.name, patient.sequence) == ("Mets_001", "flair")
    assert set(patient.sequences) == {"flair", "t1_gd"}
    np.testing.assert_array_equal(patient.sequences["flair"], volume)
    np.testing.assert_array_equal(patient.lesion_mask, lesion)
    assert patient.lesion_mask.dtype == bool
    assert patient.sequences["flair"].dtype == np.float32
    assert patient.spacing == pytest.approx((1.5, 0.95, 0.9))
    assert patient.warnings == ()


def test_a_single_file_finds_the_mask_beside_it(patient_folder):
    patient = cead.load_patient(patient_folder / "t1_gd.nii.gz")
    assert patient.sequence == "t1_gd"
    assert patient.lesion_mask is not None
    assert patient.name == "Mets_001"


def test_only_a_mask_of_the_same_prefix_is_taken(tmp_path):
    volume, lesion = make_brain()
    write_nifti(tmp_path / "anna_flair.nii", volume)
    write_nifti(tmp_path / "bert_flair.nii", volume)
    write_nifti(tmp_path / "bert_seg.nii", lesion.astype(np.uint8))
    assert cead.load_patient(tmp_path / "anna_flair.nii").lesion_mask is None
    bert = cead.load_patient(tmp_path / "bert_flair.nii")
    assert bert.lesion_mask is not None
    assert bert.name == "bert"


def test_a_given_mask_overrides_the_one_found(patient_folder, tmp_path):
    other = np.zeros((50, 60, 12), np.uint8)
    other[20, 30, 6] = 3
    path = write_nifti(tmp_path / "mine.nii.gz", other, np.diag([0.9, 0.95, 1.5, 1]))
    patient = cead.load_patient(patient_folder, mask=path)
    assert patient.lesion_mask.sum() == 1


def test_no_mask_is_the_normal_case(patient_folder):
    (patient_folder / "seg.nii.gz").unlink()
    patient = cead.load_patient(patient_folder)
    assert patient.lesion_mask is None
    assert patient.warnings == ()


def test_an_empty_mask_is_legal(patient_folder):
    write_nifti(patient_folder / "seg.nii.gz", np.zeros((50, 60, 12), np.uint8), np.diag([0.9, 0.95, 1.5, 1]))
    assert not cead.load_patient(patient_folder).lesion_mask.any()


def test_only_the_asked_sequence_is_read_when_told_so(patient_folder):
    assert set(cead.load_patient(patient_folder, only=True).sequences) == {"flair"}


def test_a_damaged_other_sequence_is_left_out_and_said(patient_folder):
    (patient_folder / "t1_gd.nii.gz").write_bytes(b"nonsense")
    with pytest.warns(CeadWarning, match="left out.*t1_gd"):
        patient = cead.load_patient(patient_folder)
    assert set(patient.sequences) == {"flair"}


def test_a_sequence_on_another_grid_is_resampled_and_said(patient_folder):
    z = np.linspace(0, 1, 24)
    gradient = np.broadcast_to(1 + z, (25, 30, 24)).astype(np.float32)
    write_nifti(patient_folder / "t1_gd.nii.gz", gradient, np.diag([1.8, 1.9, 0.75, 1]))
    with pytest.warns(CeadWarning, match="another grid"):
        patient = cead.load_patient(patient_folder)
    moved = patient.sequences["t1_gd"]
    assert moved.shape == patient.sequences["flair"].shape
    # At canonical slice z (1.5 mm apart) the gradient has the value of source slice 2z.
    np.testing.assert_allclose(moved[3, 30, 25], 1 + z[6], atol=1e-5)


def test_a_mask_on_another_grid_is_resampled_nearest_and_said(patient_folder):
    fine = np.zeros((100, 60, 12), np.uint8)
    fine[40:44, 30, 6] = 1
    write_nifti(patient_folder / "seg.nii.gz", fine, np.diag([0.45, 0.95, 1.5, 1]))
    with pytest.warns(CeadWarning, match=r"seg\.nii\.gz: on another grid, resampled \(nearest\)"):
        patient = cead.load_patient(patient_folder)
    assert patient.lesion_mask.sum() == 2


def test_a_mask_elsewhere_is_an_error(patient_folder):
    far = np.diag([0.9, 0.95, 1.5, 1.0])
    far[:3, 3] = 500
    write_nifti(patient_folder / "seg.nii.gz", np.ones((50, 60, 12), np.uint8), far)
    with pytest.raises(MaskError, match=r"seg\.nii\.gz.*outside the scan"):
        cead.load_patient(patient_folder)


def test_a_mask_without_orientation_is_taken_voxel_for_voxel(patient_folder):
    _, lesion = make_brain()
    stored = np.transpose(lesion, (2, 1, 0))[::-1, ::-1].astype(np.uint8)
    write_nifti(patient_folder / "seg.nii.gz", stored, oriented=False)
    with pytest.warns(CeadWarning, match="voxel for voxel"):
        patient = cead.load_patient(patient_folder)
    np.testing.assert_array_equal(patient.lesion_mask, lesion)


def test_several_labels_all_count_and_are_listed(patient_folder):
    labels = np.zeros((50, 60, 12), np.uint8)
    labels[10, 10, 2], labels[20, 20, 3] = 1, 4
    write_nifti(patient_folder / "seg.nii.gz", labels, np.diag([0.9, 0.95, 1.5, 1]))
    with pytest.warns(CeadWarning, match="labels 1, 4"):
        assert cead.load_patient(patient_folder).lesion_mask.sum() == 2


@pytest.mark.parametrize("values", [np.linspace(0, 1, 50 * 60 * 12), np.arange(50 * 60 * 12) % 17])
def test_a_mask_that_is_an_image_is_an_error(patient_folder, values):
    data = values.reshape(50, 60, 12).astype(np.float32)
    write_nifti(patient_folder / "seg.nii.gz", data, np.diag([0.9, 0.95, 1.5, 1]))
    with pytest.raises(MaskError, match="this is an image"):
        cead.load_patient(patient_folder)


def test_some_nan_counts_as_background_with_its_share(patient_folder):
    volume, _ = make_brain()
    stored = np.transpose(volume, (2, 1, 0))[::-1, ::-1].copy()
    stored[:5] = np.nan  # 5 of 50 columns
    write_nifti(patient_folder / "flair.nii.gz", stored, np.diag([0.9, 0.95, 1.5, 1]))
    with pytest.warns(CeadWarning, match=r"10\.00% of the values are NaN"):
        patient = cead.load_patient(patient_folder)
    assert np.isfinite(patient.volume()).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: np.where(np.arange(d.size).reshape(d.shape) % 3, np.nan, d), "NaN or infinite"),
        (np.zeros_like, "zero everywhere"),
        (lambda d: np.stack([d, d], axis=-1), "4 dimensions"),
        (lambda d: d.astype(np.complex64), "complex"),
        (
            lambda d: np.zeros(d.shape, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])),
            "colour",
        ),
    ],
)
def test_a_scan_that_cannot_be_used_is_one_sentence_with_its_file(tmp_path, make, words):
    volume, _ = make_brain()
    path = write_nifti(tmp_path / "flair.nii.gz", make(volume))
    with pytest.raises(PatientError, match=words) as caught:
        cead.load_patient(path)
    assert "flair.nii.gz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_fourth_dimension_of_one_is_accepted(tmp_path):
    volume, _ = make_brain()
    path = write_nifti(tmp_path / "flair.nii", volume[..., None])
    assert cead.load_patient(path).shape == volume.shape[::-1]


def test_damaged_files_are_one_sentence(tmp_path):
    volume, _ = make_brain()
    whole = write_nifti(tmp_path / "flair.nii.gz", volume)
    content = whole.read_bytes()
    for name, data in {
        "cut": content[: len(content) // 2],
        "empty": b"",
        "text": b"hello",
        "gz": gzip.compress(b"short"),
    }.items():
        path = tmp_path / f"{name}.nii.gz"
        path.write_bytes(data)
        with pytest.raises(PatientError, match=name):
            cead.load_patient(path)


def test_folders_that_are_no_patient_say_what_to_do(tmp_path, patient_folder):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(PatientError, match="the folder is empty"):
        cead.load_patient(empty)
    with pytest.raises(PatientError, match=r"choose one patient, for instance .*Mets_001"):
        cead.load_patient(tmp_path)
    with pytest.raises(PatientError, match="no such file or folder"):
        cead.load_patient(tmp_path / "nowhere")
    with pytest.raises(PatientError, match=r"no bravo scan, only flair, t1_gd.*--sequence"):
        cead.load_patient(patient_folder, sequence="bravo")
    (patient_folder / "x_flair.nii").write_bytes(b"")
    with pytest.raises(PatientError, match="look like flair"):
        cead.load_patient(patient_folder)


def png_folder(root, volume, lesion, first=0, mode="L"):
    low, high = volume.min(), volume.max()
    grey = np.rint((volume - low) / (high - low) * 255).astype(np.uint8)
    for name, data in (("3", grey), ("seg", lesion.astype(np.uint8) * 255)):
        (root / name).mkdir(parents=True)
        for number, pixels in enumerate(data):
            # The release shows the patient's left in column 0.
            Image.fromarray(pixels[:, ::-1]).convert(mode).save(root / name / f"{number + first:03d}.png")
    return root, grey


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_the_png_layout_gives_the_same_side_as_nifti(tmp_path, mode):
    volume, lesion = make_brain()
    folder, grey = png_folder(tmp_path / "Mets_009", volume, lesion, first=1, mode=mode)
    with pytest.warns(CeadWarning, match="patient's left"):
        patient = cead.load_patient(folder)
    np.testing.assert_array_equal(patient.lesion_mask, lesion)
    np.testing.assert_array_equal(patient.volume(), grey)
    assert patient.spacing == (1.0, 0.94, 0.94)
    with pytest.warns(CeadWarning, match="patient's right"):
        mirrored = cead.load_patient(folder, png_first_column="right")
    np.testing.assert_array_equal(mirrored.lesion_mask, lesion[..., ::-1])


def test_pngs_are_sorted_by_number_not_by_name(tmp_path, quiet):
    folder = tmp_path / "Mets_1" / "3"
    folder.mkdir(parents=True)
    for number in range(12):  # 10.png sorts before 2.png as text
        Image.fromarray(np.full((8, 8), number + 1, np.uint8)).save(folder / f"{number}.png")
    assert cead.load_patient(tmp_path / "Mets_1").volume()[:, 0, 0].tolist() == list(range(1, 13))


def test_png_slices_with_gaps_or_of_different_sizes_are_errors(tmp_path):
    volume, lesion = make_brain()
    folder, _ = png_folder(tmp_path / "Mets_009", volume, lesion)
    (folder / "3" / "005.png").unlink()
    with pytest.raises(PatientError, match="1 of 12 slices are missing, the first is number 5"):
        cead.load_patient(folder)
    Image.fromarray(np.zeros((60, 49), np.uint8)).save(folder / "3" / "005.png")
    with pytest.raises(PatientError, match=r"005\.png: the slice has 60x49 pixels"):
        cead.load_patient(folder)
    (folder / "3" / "005.png").write_bytes(b"no picture")
    with pytest.raises(PatientError, match="PNG cannot be read"):
        cead.load_patient(folder)


def test_a_coloured_png_is_an_error(tmp_path):
    folder = tmp_path / "Mets_1" / "3"
    folder.mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)).save(folder / "0.png")
    with pytest.raises(PatientError, match="in colour"):
        cead.load_patient(folder.parent)


def test_one_png_slice_is_a_patient_with_the_mask_beside(tmp_path, quiet):
    volume, lesion = make_brain()
    for name, pixels in (("flair", volume[6]), ("mask", lesion[6] * 255)):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name / "0007.png")
    patient = cead.load_patient(tmp_path / "flair" / "0007.png")
    assert patient.shape == (1, 60, 50)
    np.testing.assert_array_equal(patient.lesion_mask[0], lesion[6][:, ::-1])
    assert [path.name for path in find_patients(tmp_path)] == ["0007.png"]


def test_patients_of_a_cohort_are_found_once_each(patient_folder, tmp_path):
    volume, lesion = make_brain()
    png_folder(tmp_path / "png" / "Mets_002", volume, lesion)
    shutil.copytree(patient_folder, tmp_path / "more" / "Mets_003")
    (tmp_path / "notes").mkdir()
    assert [path.name for path in find_patients(tmp_path)] == ["Mets_001", "Mets_003", "Mets_002"]
    assert not is_patient(tmp_path)
    assert not is_patient(tmp_path / "notes")


def test_hidden_folders_are_passed_over_and_links_followed_once(patient_folder, tmp_path):
    shutil.copytree(patient_folder, tmp_path / "in" / ".part-Mets_002")  # being written
    (tmp_path / "in" / "Mets_003").symlink_to(patient_folder)
    (tmp_path / "in" / "again").symlink_to(patient_folder)
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    assert list(find_patients(tmp_path / "in")) == [tmp_path / "in" / "Mets_003"]


def test_pictures_directly_in_the_folder_given_are_patients_if_there_is_nothing_else(
    tmp_path, patient_folder
):
    for place in ("slices", "mask", "3", "with"):
        (tmp_path / place).mkdir()
        for name in ("b.png", "a.PNG", ".hidden.png", "notes.txt"):
            (tmp_path / place / name).touch()
    assert [path.name for path in find_patients(tmp_path / "slices")] == ["a.PNG", "b.png"]
    assert list(find_patients(tmp_path / "mask")) == []
    assert list(find_patients(tmp_path / "3")) == []  # one sequence of a patient
    shutil.copytree(patient_folder, tmp_path / "with" / "Mets_002")
    assert [path.name for path in find_patients(tmp_path / "with")] == ["Mets_002"]


@pytest.mark.parametrize("bad", [{"png_first_column": "up"}, {"png_spacing": (1, 0, 1)}])
def test_wrong_options_are_refused(patient_folder, bad):
    with pytest.raises(ParameterError):
        cead.load_patient(patient_folder, **bad)


def test_the_real_patient_is_the_same_in_both_layouts(real_data, quiet):
    """The PNG copy was padded from 182x218 to 256x256: 19 rows above, 37 columns on each side."""
    nifti = cead.load_patient(real_data / "patient26", only=True)
    png = cead.load_patient(real_data / "layouts" / "brainmetshare_png" / "Mets_026")
    assert nifti.lesion_mask.sum() == png.lesion_mask.sum() == 8227
    inside = (slice(None), slice(19, 19 + 218), slice(37, 37 + 182))
    np.testing.assert_array_equal(png.lesion_mask[inside], nifti.lesion_mask)
    brain = nifti.volume() > 0
    correlation = np.corrcoef(nifti.volume()[brain], png.volume()[inside][brain])[0, 1]
    mirrored = np.corrcoef(nifti.volume()[brain], png.volume()[inside][..., ::-1][brain])[0, 1]
    assert correlation > 0.97 > mirrored


def test_real_orientations_of_one_brain_agree(real_data):
    folder = real_data / "odd" / "orient"
    volumes = {path.name: cead.load_patient(path) for path in sorted(folder.glob("*.nii.gz"))}
    assert len(volumes) == 6
    reference = volumes["RAS.nii.gz"].volume()
    for name, patient in volumes.items():
        if patient.shape == reference.shape:
            assert np.corrcoef(patient.volume().ravel(), reference.ravel())[0, 1] > 0.9, name


def test_real_sequences_on_three_grids_land_on_one(real_data):
    with pytest.warns(CeadWarning, match="another grid"):
        patient = cead.load_patient(real_data / "raw" / "long04")
    source = nib.load(real_data / "raw" / "long04" / "study1_flair.nii.gz")
    assert patient.shape == source.shape[::-1]
    assert patient.lesion_mask is None  # the change mask is no lesion mask
    flair, t1 = patient.sequences["flair"] > 150, patient.sequences["t1_pre"] > 150
    assert (flair & t1).sum() / (flair | t1).sum() > 0.7


def test_a_name_that_tells_no_sequence_is_a_guess_that_is_said(tmp_path):
    volume, _ = make_brain()
    write_nifti(tmp_path / "scan.nii.gz", volume)
    with pytest.warns(CeadWarning, match=r"scan\.nii\.gz: the name tells no sequence, taken as flair"):
        assert cead.load_patient(tmp_path / "scan.nii.gz").sequence == "flair"
    with pytest.raises(PatientError, match="no name in this folder tells which scan is which"):
        cead.load_patient(tmp_path)
