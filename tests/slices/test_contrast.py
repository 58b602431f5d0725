import numpy as np
import pytest

from heads import make_stripped
from napari_cead.patients import load_patient
from napari_cead.slices import FAMILY, brain_mask, contrast_figures


def guess_contrast(*scan):
    figures = contrast_figures(*scan)
    return None if figures is None else figures.guess


@pytest.mark.parametrize("contrast", ["flair", "t1", "t2"])
@pytest.mark.parametrize("gain", [0.01, 1, 300])
def test_contrasts_are_told_apart_at_any_gain(contrast, gain):
    volume = make_stripped(contrast=contrast) * gain
    assert guess_contrast(volume, brain_mask(volume)) == contrast


def test_one_slice_does_not_tell_t1_from_flair():
    for contrast, expected in (("flair", None), ("t1", None), ("t2", "t2")):
        volume = make_stripped(contrast=contrast)[8:9]
        assert guess_contrast(volume, brain_mask(volume)) == expected


def test_nothing_to_tell():
    empty = np.zeros((4, 8, 8))
    assert guess_contrast(empty, empty > 0) is None
    flat = np.ones((4, 80, 80))
    assert guess_contrast(flat, flat > 0) is None


@pytest.mark.parametrize("name", ["flair", "t1_pre", "t1_gd", "t2"])
def test_a_real_patient(real_data, name, quiet):
    patient = load_patient(real_data / "patient26", name, only=True)
    volume = patient.volume()
    assert guess_contrast(volume, brain_mask(volume), patient.spacing) == FAMILY[name]
