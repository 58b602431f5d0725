"""A background that is not 0: what was shifted is shifted back, what is padding becomes 0, and either is said."""

import numpy as np
import pytest

from napari_cead.errors import PatientError
from napari_cead.patients import Patient, load_patient
from napari_cead.patients.backgrounds import zero_background
from scans import make_brain, write_nifti

VOLUME, LESION = make_brain()
BRAIN = VOLUME != 0


def wide() -> np.ndarray:
    """A brain of 10 to 1000."""
    return np.where(BRAIN, np.random.default_rng(0).uniform(10, 1000, VOLUME.shape), 0).astype(np.float32)


@pytest.mark.parametrize("level", [-1024, -0.75, 5, 100, 4096])
def test_what_was_shifted_is_shifted_back(level):
    volume, note = zero_background(wide() + np.float32(level))
    np.testing.assert_allclose(volume, wide(), atol=1e-3)
    assert np.array_equal(volume == 0, ~BRAIN)
    assert note == f"the background is {level:g}, not 0: {level:g} was subtracted from all voxels"


@pytest.mark.parametrize("level", [-1024, -2000, -32768, 500, 2000, 65535])
def test_padding_becomes_0_and_the_brain_stays(level):
    volume, note = zero_background(np.where(BRAIN, wide(), np.float32(level)))
    np.testing.assert_array_equal(volume, wide())
    assert note == f"the background is {level:g}, not 0: these voxels count as 0"


def test_padding_of_a_wide_range_is_known_by_its_value():
    volume, _ = zero_background(np.where(BRAIN, 8 * wide(), np.float32(-1024)))
    np.testing.assert_array_equal(volume, 8 * wide())


def test_air_far_darker_than_a_brain_without_liquid_is_not_subtracted():
    volume, note = zero_background(np.where(BRAIN, VOLUME, np.float32(20)))
    np.testing.assert_array_equal(volume, VOLUME)
    assert "count as 0" in note


def test_z_scores_of_the_whole_volume_are_the_volume_again():
    scores = (wide() - wide().mean()) / wide().std()
    volume, _ = zero_background(scores)
    np.testing.assert_allclose(volume / volume.max(), wide() / wide().max(), atol=1e-5)


@pytest.mark.parametrize(
    "volume",
    [
        wide(),
        np.zeros((3, 4, 5)),
        np.full((3, 4, 5), 7.0),  # not a background: there is nothing else
        np.random.default_rng(0).uniform(1, 2, (4, 8, 8)),
        np.pad(np.ones((2, 2, 2)), 1, constant_values=0),
    ],
)
def test_nothing_is_touched_without_a_constant_background(volume):
    assert zero_background(volume) == (None, "")


def test_a_constant_in_the_corners_alone_is_no_background():
    head = np.random.default_rng(0).uniform(1, 2, (6, 20, 20))
    head[:, :2, :2] = head[:, :2, -2:] = head[:, -2:, :2] = head[:, -2:, -2:] = 0.5
    assert zero_background(head) == (None, "")


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_a_file_is_told_once_and_the_same_as_without(tmp_path, dtype):
    for name, volume in (("plain", wide()), ("shifted", wide().round() - 1024)):
        write_nifti(tmp_path / name / "flair.nii.gz", volume.round().astype(dtype).T)
    with pytest.warns(UserWarning, match="background is -1024, not 0"):
        shifted = load_patient(tmp_path / "shifted")
    np.testing.assert_array_equal(shifted.volume(), load_patient(tmp_path / "plain").volume())
    assert sum("background" in note for note in shifted.warnings) == 1


def test_holes_in_a_shifted_scan_are_background():
    volume = wide() + 100
    volume[6, 30, 25:28] = np.nan, np.inf, -np.inf
    patient = Patient.from_arrays({"flair": volume})
    assert not patient.volume()[6, 30, 25:28].any()
    shifted, holes = patient.warnings
    assert "the background is 100, not 0" in shifted
    assert f": {3 / BRAIN.sum():.2%} of the values in the brain are NaN" in holes


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_more_holes_than_values_are_an_error(value):
    scattered = np.random.default_rng(0).random(VOLUME.shape) < 0.6
    with pytest.raises(PatientError, match="60% of the values in the brain are NaN or infinite; export"):
        Patient.from_arrays({"flair": np.where(scattered & BRAIN, value, VOLUME)})
    with pytest.raises(PatientError, match="in the brain are NaN or infinite"):
        Patient.from_arrays({"flair": np.where(scattered, value, VOLUME + 1)})


def test_values_too_large_for_a_float_are_told_as_infinite():
    volume = VOLUME.astype(np.float64)
    volume[6, 30, 25] = 1e300
    patient = Patient.from_arrays({"flair": volume})
    assert "NaN or infinite" in patient.warnings[0]
    assert patient.volume()[6, 30, 25] == 0
