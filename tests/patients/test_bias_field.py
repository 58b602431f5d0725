"""Bias fields taken out of volumes, against the scan that they were put on."""

import numpy as np
import pytest

import napari_cead as cead
from napari_cead.errors import GeometryError, MissingSequenceError
from napari_cead.patients import Patient


@pytest.fixture(scope="module")
def head():
    """A brain with tissue of two levels and a bright lesion."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (40, 72, 64)), indexing="ij")
    radius = np.sqrt(z**2 + y**2 + x**2)
    rng = np.random.default_rng(0)
    tissue = np.where(radius < 0.9, np.where(np.sin(9 * y) * np.cos(7 * x) > 0, 100, 75), 0)
    volume = (tissue * rng.normal(1, 0.03, tissue.shape)).clip(0).astype(np.float32)
    lesion = np.sqrt((z - 0.1) ** 2 + (y - 0.3) ** 2 + (x + 0.2) ** 2) < 0.2
    return np.where(lesion, 150, volume).astype(np.float32), lesion, x


def patient_of(volume, lesion):
    sequences = {"flair": volume, "t1_pre": np.ascontiguousarray(volume[::-1])}
    return Patient.from_arrays(sequences, lesion_mask=lesion, spacing=(3.0, 1.5, 1.5))


def unevenness(volume, even):
    ratio = volume[even > 0] / even[even > 0]
    return ratio.std() / ratio.mean()


def test_a_brighter_side_is_evened_out_and_the_lesion_stays_bright(head):
    volume, lesion, x = head
    given = patient_of(volume * (1 + 0.25 * x), lesion)
    before = given.volume().copy()
    found = cead.correct_bias_field(given)
    assert unevenness(given.volume(), volume) > 0.1
    assert unevenness(found.volume(), volume) < 0.3 * unevenness(given.volume(), volume)
    values = found.volume()
    assert values[lesion].mean() / values[(volume > 0) & ~lesion].mean() == pytest.approx(
        volume[lesion].mean() / volume[(volume > 0) & ~lesion].mean(), rel=0.05
    )
    assert ((values > 0) == (volume > 0)).all()
    np.testing.assert_array_equal(given.volume(), before)
    np.testing.assert_array_equal(found.volume("t1_pre"), given.volume("t1_pre"))
    assert found.warnings[-1] == "bias field of flair taken out by N4"


def test_an_even_scan_stays_as_it_is_nearly(head):
    volume, lesion, _ = head
    found = cead.correct_bias_field(patient_of(volume, lesion), "flair")
    assert unevenness(found.volume(), volume) < 0.03


def test_few_slices_and_unknown_sequences_are_refused_in_a_sentence(head):
    volume, lesion, _ = head
    with pytest.raises(
        GeometryError, match="cannot be told from a lesion in 1 slice; give a volume of at least 8"
    ):
        cead.correct_bias_field(patient_of(volume[20:21], lesion[20:21]))
    with pytest.raises(
        GeometryError, match=r"N4 cannot estimate a bias field on 40 x 1 x 64 voxels; use the scan"
    ):
        cead.correct_bias_field(patient_of(volume[:, 36:37], lesion[:, 36:37]))
    with pytest.raises(MissingSequenceError):
        cead.correct_bias_field(patient_of(volume, lesion), "bravo")
