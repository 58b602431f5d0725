"""The brain of a scan whose background is not exactly 0: the same as that of the scan it was made from."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

import napari_cead as cead
from heads import add_head
from napari_cead.patients import Patient
from napari_cead.slices import brain_mask, looks_skull_stripped
from scans import write_nifti

SHAPE = (20, 72, 60)
HALF = (0.5, 0.5, 0.5)


def anatomy() -> np.ndarray:
    """A brain of a level of about 500, with dark liquid in the middle and along a fissure, a few values below 0."""
    rng = np.random.default_rng(3)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, size) for size in SHAPE], indexing="ij")
    brain = (z / 0.7) ** 2 + (y / 0.8) ** 2 + (x / 0.75) ** 2 < 1
    volume = 500 + ndimage.gaussian_filter(rng.standard_normal(SHAPE), 1) * 200
    volume[(np.abs(x) < 0.06) & (y < -0.2)] = 40
    volume[(z / 0.3) ** 2 + (y / 0.3) ** 2 + (x / 0.2) ** 2 < 1] = 30
    volume = np.where(brain, np.maximum(volume, 20), 0)
    volume[brain & (rng.random(SHAPE) < 0.005)] = -12.5
    return volume.astype(np.float32)


SCAN = anatomy()
BRAIN = SCAN != 0


def itk(volume, interpolator) -> np.ndarray:
    image = sitk.GetImageFromArray(volume)
    return sitk.GetArrayFromImage(
        sitk.Resample(image, image, sitk.TranslationTransform(3, (-0.5, -0.5, -0.5)), interpolator, 0.0)
    )


def shifted(order: int) -> np.ndarray:
    return ndimage.shift(SCAN, HALF, order=order)


LINEAR = shifted(1) != 0
CUBIC = shifted(3)


def found(volume) -> tuple[np.ndarray, str]:
    patient = Patient.from_arrays({"flair": volume})
    return brain_mask(patient.volume()), "; ".join(patient.warnings)


def dice(one, other) -> float:
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


@pytest.mark.parametrize(
    "volume",
    [
        CUBIC,
        np.maximum(CUBIC, 0),
        np.rint(CUBIC).astype(np.int16),
        np.clip(np.rint(CUBIC / 3), 0, 255).astype(np.uint8),
        shifted(5),
        itk(SCAN, sitk.sitkBSpline),
        itk(SCAN, sitk.sitkLanczosWindowedSinc),
    ],
    ids=["cubic", "clipped at 0", "int16", "uint8", "fifth order", "ITK, B-spline", "ITK, sinc"],
)
def test_splines_ring_and_the_brain_is_that_of_the_linear_copy(volume):
    before = np.count_nonzero(brain_mask(volume))
    brain, said = found(volume)
    assert before > 1.05 * np.count_nonzero(LINEAR)
    assert abs(np.count_nonzero(brain) / np.count_nonzero(LINEAR) - 1) < 0.04
    assert dice(brain, LINEAR) > 0.96
    again = Patient.from_arrays({"flair": volume}).volume()
    written = Patient.from_arrays({"flair": again})
    assert written.warnings == ()
    np.testing.assert_array_equal(written.volume(), again)
    assert "the background is not exactly 0: " in said and said.endswith(", which count as 0")


@pytest.mark.parametrize(
    "part",
    [np.s_[:, :36], np.s_[:, :, 30:], np.s_[:, :36, 30:], np.s_[4:17, 14:58, 12:48]],
    ids=["front", "left", "a quarter", "a field of view smaller than the brain"],
)
def test_a_brain_that_the_field_of_view_cuts_is_no_noise(part):
    brain, said = found(CUBIC[part])
    linear = brain_mask(shifted(1)[part])
    assert np.count_nonzero(CUBIC[part]) > 1.1 * np.count_nonzero(linear)
    assert dice(brain, linear) > 0.96
    assert "the background is not exactly 0: " in said
    rng = np.random.default_rng(0)
    real, imaginary = (rng.normal(0, 15, SCAN[part].shape) for _ in range(2))
    noisy = np.hypot(SCAN[part] + real, imaginary).astype(np.float32)
    np.testing.assert_array_equal(Patient.from_arrays({"flair": noisy}).volume(), noisy)


@pytest.mark.parametrize("low", [0, -1])
@pytest.mark.parametrize("darkest", [60, 200])
def test_a_copy_brought_to_a_range_was_shifted_and_keeps_its_contrast(low, darkest):
    """The undershoots of the ripples become the lower end, so that the background is a broken number above it."""
    bright = np.where(BRAIN, np.maximum(SCAN, darkest), 0)
    volume = ndimage.shift(bright, HALF, order=3)
    span = volume.max() - volume.min()
    scaled = (volume - volume.min()) / span * (1 if low == 0 else 2) + low
    patient = Patient.from_arrays({"flair": scaled.astype(np.float32)})
    assert "was subtracted from all voxels" in patient.warnings[0]
    brain = brain_mask(patient.volume())
    assert dice(brain, LINEAR) > 0.96
    core = ndimage.binary_erosion(brain, iterations=3)
    gain = 1 if low == 0 else 2
    same = np.isclose(patient.volume()[core] * span / gain, volume[core], rtol=0.01, atol=1)
    assert same.mean() > 0.99  # all but ripples in the fissure


def test_linear_copies_and_values_below_0_in_the_brain_stay_bit_for_bit():
    for volume in (SCAN, shifted(1)):
        patient = Patient.from_arrays({"flair": volume})
        np.testing.assert_array_equal(patient.volume(), volume)
        assert patient.warnings == ()
    assert found(SCAN)[0][SCAN < 0].all()


def test_dark_liquid_and_holes_in_the_brain_are_not_lost():
    volume = CUBIC.copy()
    volume[8:12, 34:38, 28:32] = 0.5  # far below what counts as faint
    patient = Patient.from_arrays({"flair": volume})
    inside = patient.volume()[8:12, 34:38, 28:32]
    np.testing.assert_array_equal(inside, volume[8:12, 34:38, 28:32])
    assert brain_mask(patient.volume())[8:12, 34:38, 28:32].all()


def test_what_is_background_is_exactly_0_and_the_brain_keeps_its_values():
    clean = Patient.from_arrays({"flair": CUBIC}).volume()
    brain = brain_mask(clean)
    np.testing.assert_array_equal(clean[brain], CUBIC[brain])
    assert np.count_nonzero(clean[~brain]) < 0.01 * np.count_nonzero(brain)
    assert not clean[:, 0].any() and not clean[..., -1].any()


@pytest.mark.parametrize("gain", [1e-4, 1, 1e4])
@pytest.mark.parametrize("offset", [-80.5, 100.0, -1024.0])
def test_a_constant_background_that_rings(gain, offset):
    """All values were shifted, then the scan was resampled; beyond its field of view 0 was filled in, or the edge."""
    offset = offset * gain
    for mode in ("constant", "nearest"):
        volume = ndimage.shift((SCAN * gain + offset).astype(np.float32), HALF, order=3, mode=mode)
        brain, said = found(volume)
        assert dice(brain, LINEAR) > 0.96, mode
        assert f"{offset:g} was subtracted from all voxels" in said


def test_z_scores_within_the_brain_stay_as_they_are():
    inside = SCAN[BRAIN]
    scores = np.where(BRAIN, (SCAN - inside.mean()) / inside.std(), 0).astype(np.float32)
    patient = Patient.from_arrays({"flair": scores})
    np.testing.assert_array_equal(patient.volume(), scores)
    assert patient.warnings == ()
    resampled, said = found(ndimage.shift(scores, HALF, order=3))
    assert np.count_nonzero(resampled) < 1.3 * np.count_nonzero(LINEAR)
    assert "background is not exactly 0" in said


@pytest.mark.parametrize("noise", [0.002, 0.005])
def test_faint_noise_in_the_air_is_background(noise):
    rng = np.random.default_rng(0)
    real, imaginary = (rng.normal(0, noise * 500, SHAPE) for _ in range(2))
    brain, said = found(np.hypot(SCAN + real, imaginary).astype(np.float32))
    assert dice(brain, BRAIN) > 0.97
    assert "background is not exactly 0" in said


def test_louder_noise_is_no_background_and_told_as_before():
    rng = np.random.default_rng(0)
    for noise in (0.01, 0.03):
        real, imaginary = (rng.normal(0, noise * 500, SHAPE) for _ in range(2))
        volume = np.hypot(SCAN + real, imaginary).astype(np.float32)
        patient = Patient.from_arrays({"flair": volume})
        np.testing.assert_array_equal(patient.volume(), volume)
        assert not looks_skull_stripped(patient.volume()).zero_background


@pytest.mark.parametrize("noise", [0, 0.003, 0.03])
def test_a_head_with_its_skull_is_still_one(noise):
    rng = np.random.default_rng(0)
    head = add_head(np.abs(SCAN))
    real, imaginary = (rng.normal(0, noise * 500, head.shape) for _ in range(2))
    head = np.hypot(head + real, imaginary).astype(np.float32)
    clean = Patient.from_arrays({"flair": head}).volume()
    assert not looks_skull_stripped(clean).stripped
    assert np.count_nonzero(clean) > 1.3 * np.count_nonzero(BRAIN)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_holes_around_the_brain_are_background(tmp_path, value):
    wide = np.pad(SCAN, ((0, 0), (12, 12), (12, 12)))
    padded = np.where(wide != 0, wide, value).astype(np.float32)
    assert np.mean(~np.isfinite(padded)) > 0.6
    for name, volume in (("flair", padded), ("plain", wide)):
        image = sitk.GetImageFromArray(volume)
        image.SetOrigin((-30.0, -40.0, 5.0))
        sitk.WriteImage(image, tmp_path / f"{name}.nii.gz")
    with pytest.warns(UserWarning, match=r"% of the values are NaN or infinite and joined to the border"):
        patient = cead.load_patient(tmp_path / "flair.nii.gz")
    with pytest.warns(UserWarning, match="tells no sequence"):
        plain = cead.load_patient(tmp_path / "plain.nii.gz")
    np.testing.assert_array_equal(patient.volume(), plain.volume())


def test_holes_within_the_brain_are_told_by_their_share_of_it():
    scattered = BRAIN & (np.random.default_rng(0).random(SHAPE) < 0.02)
    volume = np.where(scattered | ~BRAIN, np.nan, SCAN)
    patient = Patient.from_arrays({"flair": volume})
    around, within = patient.warnings
    assert "joined to the border" in around
    share = float(within.split("% of the values in the brain")[0].split()[-1])
    assert 1 < share <= 2
    assert not patient.volume()[scattered].any()


def test_holes_of_another_sequence_are_not_smeared_by_resampling(tmp_path):
    affine = np.diag([-1.0, -1, 3, 1])
    affine[:3, 3] = 40, 50, -20
    write_nifti(tmp_path / "flair.nii", SCAN.T, affine)
    other = np.where(BRAIN, SCAN, np.nan)
    write_nifti(tmp_path / "t1.nii", other.T, affine)
    moved = affine.copy()
    moved[:3, 3] -= 0.5, 0.5, 0
    write_nifti(tmp_path / "t2.nii", other.T, moved)
    with pytest.warns(UserWarning, match="t2.nii: on another grid"):
        patient = cead.load_patient(tmp_path)
    np.testing.assert_array_equal(patient.volume("t1_pre"), SCAN)
    expected = ndimage.shift(SCAN, (0, 0.5, 0.5), order=1, mode="grid-constant")
    np.testing.assert_allclose(patient.volume("t2"), expected, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "scan", ["patient26/flair.nii.gz", "patient26/t2.nii.gz", "nichart/Subj04/flair_brain.DERIVED.nii.gz"]
)
def test_real_scans_stay_bit_for_bit_and_their_copies_have_the_same_brain(real_data, scan):
    volume = nib.load(real_data / scan).get_fdata(dtype=np.float32).T
    patient = Patient.from_arrays({"flair": volume})
    np.testing.assert_array_equal(patient.volume(), volume)
    assert patient.warnings == ()
    linear = brain_mask(ndimage.shift(volume, HALF, order=1))
    for change in (np.asarray, np.rint, lambda data: np.maximum(data, 0)):
        brain, _ = found(change(ndimage.shift(volume, HALF, order=3)))
        assert abs(np.count_nonzero(brain) / np.count_nonzero(linear) - 1) < 0.025  # of 2 mm voxels
        assert dice(brain, linear) > 0.97
