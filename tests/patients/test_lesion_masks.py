"""Masks that are no lesion masks, that lose lesions, or that do not say where they lie: nothing in silence."""

import warnings

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

import napari_cead as cead
from napari_cead.errors import CeadWarning, MaskError
from napari_cead.evaluation.measuring import load_member
from napari_cead.patients import Patient
from napari_cead.patients.integrity import check_cohort
from napari_cead.patients.lesion_masks import unlike_lesions
from napari_cead.store.cohort_split import Member
from napari_cead.training import prepare
from scans import make_brain

VOLUME, LESION = make_brain((20, 60, 50))
BRAIN = VOLUME != 0
SIZE, ORIGIN = (3.0, 2.5, 4.0), (-70.0, -60.0, -30.0)


def write(path, data, size=SIZE, origin=ORIGIN):
    """Write (Z, Y, X) with SimpleITK, which nibabel then reads."""
    image = sitk.GetImageFromArray(data)
    image.SetSpacing(size)
    image.SetOrigin(origin)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, path)
    return path


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "cohort" / "anna" / "flair.nii.gz", VOLUME)
    return tmp_path / "cohort" / "anna"


def opened(path, **options):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        patient = cead.load_patient(path, **options)
    assert [str(warning.message) for warning in told] == list(patient.warnings)
    return patient


def found(folder):
    return {finding.code: finding.sentence for finding in check_cohort(folder).findings}


def share(part: float) -> np.ndarray:
    """The lower slices of the brain: that share of it."""
    sizes = np.cumsum(BRAIN.sum(axis=(1, 2))) / BRAIN.sum()
    return BRAIN & (sizes <= part)[:, None, None]


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (BRAIN, "follows the outline of the brain (Dice 1.00)"),
        (ndimage.binary_erosion(BRAIN), "follows the outline of the brain (Dice 0."),
        (ndimage.binary_dilation(BRAIN, iterations=2), "follows the outline of the brain (Dice 0."),
        (BRAIN & (VOLUME > 100) & ~LESION, "covers "),
        (share(0.5), "covers "),
        (~LESION, "covers 9"),
        (~BRAIN, "lies outside the brain (100% of it)"),
        (ndimage.binary_dilation(BRAIN, iterations=3) & ~BRAIN, "lies outside the brain (100% of it)"),
    ],
    ids=["brain", "smaller", "larger", "a tissue", "half", "inverted", "background", "skull"],
)
def test_a_mask_of_something_else_is_not_used_and_the_patient_is_unlabelled(folder, mask, words):
    write(folder / "seg.nii.gz", mask.astype(np.uint8))
    patient = opened(folder)
    assert patient.lesion_mask is None and "seg" not in patient.files
    (note,) = patient.warnings
    assert note.startswith(f"seg.nii.gz {words}") and "name it with --mask" in note
    assert words in found(folder)["mask-covers"]
    report = check_cohort(folder).patients[0]
    assert not report.labelled and report.lesion_ml is None

    named = opened(folder, mask=folder / "seg.nii.gz")
    np.testing.assert_array_equal(named.lesion_mask, mask)
    assert "because it was named" in named.warnings[-1]


@pytest.mark.parametrize("part", [0.02, 0.2, 0.3])
def test_large_lesions_are_lesions(folder, part):
    mask = share(part)
    write(folder / "seg.nii.gz", mask.astype(np.uint8))
    patient = opened(folder)
    np.testing.assert_array_equal(patient.lesion_mask, mask)
    assert patient.warnings == () and found(folder) == {}


def test_a_stroke_may_cover_half_a_slice_and_a_brain_mask_all_of_it():
    slab, brain = VOLUME[9:10], BRAIN[9:10]
    half = brain & (np.arange(50) < 25)
    assert unlike_lesions(half, slab) == ""
    assert unlike_lesions(brain, slab).startswith("follows the outline")


def test_a_brain_mask_beside_a_head_in_noise():
    rng = np.random.default_rng(0)
    wide, inside = (np.pad(each, ((2, 2), (20, 20), (20, 20))) for each in (VOLUME, BRAIN))
    noisy = np.hypot(wide + rng.normal(0, 5, wide.shape), rng.normal(0, 5, wide.shape)).astype(np.float32)
    patient = Patient.from_arrays({"flair": noisy}, lesion_mask=inside)
    assert patient.warnings[-1].startswith("the lesion mask follows the outline of the brain")
    assert np.array_equal(patient.lesion_mask, inside)  # who gives an array means it


def test_negative_values_are_refused_and_the_patient_is_never_healthy(folder, quiet):
    """255 that was stored as a signed 8-bit number."""
    write(folder / "seg.nii.gz", (LESION.astype(np.uint8) * 255).astype(np.int8))
    count = f"{LESION.sum():,} voxels of the mask are negative (down to -1)"
    for mask in (None, folder / "seg.nii.gz"):
        with pytest.raises(MaskError, match=r"seg\.nii\.gz: .*save it with 0") as caught:
            cead.load_patient(folder, mask=mask)
        assert count in str(caught.value)
    assert count in found(folder)["mask-values"]
    healthy(folder.parent)
    for assume in (True, False):
        store = prepare(folder.parent, folder.parents[1] / f"store{assume}", assume_healthy=assume)
        assert {patient.name for patient in store.patients} == {"well0", "well1"}
        assert count in next(skipped.reason for skipped in store.skipped)


@pytest.mark.parametrize(
    ("mask", "words"),
    [(share(0.5), "covers "), (~BRAIN, "lies outside the brain")],
    ids=["half of the brain", "background"],
)
def test_a_patient_whose_mask_is_not_used_is_not_assumed_to_be_healthy(folder, quiet, mask, words):
    write(folder / "lesion_mask.nii.gz", mask.astype(np.uint8))
    healthy(folder.parent)
    write(folder.parent / "stripped" / "flair.nii.gz", VOLUME + 3 * BRAIN)
    write(folder.parent / "stripped" / "mask.nii.gz", BRAIN.astype(np.uint8))
    store = prepare(folder.parent, folder.parents[1] / "store", assume_healthy=True)
    assert {patient.name for patient in store.patients} == {"well0", "well1", "stripped"}
    (skipped,) = store.skipped
    assert words in skipped.reason and "rename or move that mask" in skipped.reason


def healthy(cohort):
    for number in range(2):
        write(cohort / f"well{number}" / "flair.nii.gz", VOLUME + number * BRAIN)
        write(cohort / f"well{number}" / "seg.nii.gz", np.zeros(VOLUME.shape, np.uint8))


def test_a_patient_with_a_brain_mask_is_not_trained_on_and_not_tested(folder, quiet):
    write(folder / "mask.nii.gz", BRAIN.astype(np.uint8))
    healthy(folder.parent)
    store = prepare(folder.parent, folder.parents[1] / "store")
    assert {patient.name for patient in store.patients} == {"well0", "well1"}
    assert "is no lesion mask" in store.skipped[0].reason
    with pytest.raises(cead.errors.PatientError, match="is no lesion mask"):
        load_member(Member("anna", folder, "test"), "flair")
    with pytest.warns(CeadWarning, match="is no lesion mask"):
        told = prepare(folder.parent, folder.parents[1] / "assumed", assume_healthy=True)
    assert [patient.labelled for patient in told.patients if patient.name == "anna"] == [False]


@pytest.mark.parametrize("values", [np.arange(20), np.linspace(0, 1, 20)], ids=["20 values", "fractions"])
def test_images_are_refused(folder, values):
    write(folder / "seg.nii.gz", np.broadcast_to(values[:, None, None], VOLUME.shape).astype(np.float32))
    with pytest.raises(MaskError, match="this is an image, not a mask"):
        cead.load_patient(folder)
    assert "an image, not a mask" in found(folder)["mask-values"]


def fine_mask() -> tuple[np.ndarray, int]:
    """Three lesions on a grid three times as fine: two that a coarse voxel shows, one between their middles."""
    fine = np.zeros(tuple(3 * size for size in VOLUME.shape), np.uint8)
    fine[30:36, 90:96, 75:81] = 1
    fine[31, 60:63, 60:63] = 1
    fine[30, 120, 60] = 1
    return fine, int(fine.sum())


FINE = tuple(size / 3 for size in SIZE)
FINE_ORIGIN = tuple(origin - size / 3 for origin, size in zip(ORIGIN, SIZE, strict=True))


def test_how_many_lesions_resampling_loses(folder):
    fine, count = fine_mask()
    write(folder / "seg.nii.gz", fine, FINE, FINE_ORIGIN)
    patient = opened(folder)
    image, grid = (sitk.ReadImage(folder / name) for name in ("seg.nii.gz", "flair.nii.gz"))
    nearest = sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor))
    np.testing.assert_array_equal(patient.lesion_mask, nearest > 0)
    before, after = count * np.prod(FINE) / 1000, nearest.sum() * np.prod(SIZE) / 1000
    sentence = f"resampling keeps 2 of 3 lesions: 1 is lost; {before:.3g} mL become {after:.3g} mL"
    assert f"seg.nii.gz: {sentence}" in patient.warnings
    assert sentence in found(folder)["lesions-lost"]
    assert check_cohort(folder).patients[0].lesion_ml == pytest.approx(before)


def test_lesions_that_are_all_lost_are_an_error_and_not_an_empty_mask(folder):
    fine = np.zeros(tuple(3 * size for size in VOLUME.shape), np.uint8)
    fine[30, 120, 60] = 1
    write(folder / "seg.nii.gz", fine, FINE, FINE_ORIGIN)
    with pytest.raises(
        MaskError, match=r"all 1 lesions .* are lost in resampling; draw the mask on the voxels"
    ):
        cead.load_patient(folder)
    assert "lost in resampling" in found(folder)["mask-place"]


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((1.0, 1.0, 1.0), "its affine is the identity"),
        (SIZE, "its affine has neither a position nor a direction"),
    ],
)
def test_a_mask_that_does_not_say_where_it_lies_is_taken_voxel_for_voxel(folder, size, words):
    write(folder / "seg.nii.gz", LESION.astype(np.uint8), size, (0.0, 0.0, 0.0))
    patient = opened(folder)
    np.testing.assert_array_equal(patient.lesion_mask, LESION)
    (note,) = patient.warnings
    assert f"seg.nii.gz: {words}" in note and "taken voxel for voxel" in note and "the scan's affine" in note
    assert words in found(folder)["affine"]
    expected = LESION.sum() * np.prod(SIZE) / 1000
    assert check_cohort(folder).patients[0].lesion_ml == pytest.approx(expected)


@pytest.mark.parametrize(
    "cut",
    [np.s_[:], np.s_[5:15, 10:30, 8:25]],
    ids=["turned by a quarter", "a part of the scan"],
)
def test_a_mask_of_another_shape_that_does_not_say_where_it_lies_is_refused(folder, cut):
    other = np.rot90(LESION, axes=(1, 2)) if cut == np.s_[:] else LESION[cut]
    write(folder / "seg.nii.gz", np.ascontiguousarray(other, np.uint8), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    with pytest.raises(MaskError, match=r"affine is the identity.* voxels where the scan has 50 x 60 x 20"):
        cead.load_patient(folder)
    assert "affine is the identity" in found(folder)["mask-place"]


def test_lesions_outside_the_brain_are_told_when_the_patient_is_opened(folder):
    write(folder / "seg.nii.gz", np.roll(LESION, -14, axis=2).astype(np.uint8))
    (note,) = opened(folder).warnings
    assert note.startswith("seg.nii.gz: ") and note.endswith("% of the lesion lies outside the brain")


def test_one_that_does_not_fit_so_either_is_refused(folder):
    write(
        folder / "seg.nii.gz", np.roll(LESION, -14, axis=2).astype(np.uint8), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)
    )
    with pytest.raises(
        MaskError, match=r"affine is the identity.*outside the brain; save the mask with the affine"
    ):
        cead.load_patient(folder)
    assert "outside the brain" in found(folder)["mask-place"]


def test_a_scan_with_a_background_that_rings_is_judged_by_its_brain(folder):
    """Everything but the brain was not 0, so that no mask lay outside of it."""
    write(folder / "flair.nii.gz", ndimage.shift(np.where(BRAIN, VOLUME, 0), 0.5, order=3).astype(np.float32))
    write(folder / "seg.nii.gz", np.roll(LESION, -14, axis=2).astype(np.uint8))
    codes = found(folder)
    assert "the background is not exactly 0" in codes["intensities"]
    assert "outside the brain" in codes["mask-place"]


def test_a_lesion_that_skull_stripping_cut_in_half_is_one_all_the_same():
    """On a single slice it is over a hundredth of the picture, and half of it lies where the scan is 0."""
    scan = np.zeros((1, 100, 100), np.float32)
    scan[0, 20:80, 20:80] = 100
    lesion = np.zeros(scan.shape, bool)
    lesion[0, 75:85, 40:55] = True
    assert unlike_lesions(lesion, scan) == ""
    lesion[0, 80:99] = True
    assert unlike_lesions(lesion, scan).startswith("lies outside the brain")
