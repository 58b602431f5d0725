import math

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from napari_cead.metrics import ImageQuality


@pytest.fixture
def slices():
    rng = np.random.default_rng(0)
    brain = np.zeros((3, 16, 16), dtype=bool)
    brain[:2, 4:12, 3:13] = True
    images = np.where(brain, rng.random(brain.shape), 0).astype(np.float32)
    return images, (images + 0.1 * rng.standard_normal(brain.shape)).astype(np.float32), brain


def test_each_slice_by_the_definition(slices):
    images, made, brain = slices
    quality = ImageQuality.of(images, made, brain)
    for z in range(3):
        squared = (images[z].astype(float) - made[z].astype(float)) ** 2
        assert quality.psnr[z] == pytest.approx(-10 * math.log10(squared.mean()), abs=1e-9)
        if brain[z].any():
            inside = -10 * math.log10(squared[brain[z]].mean())
            assert quality.psnr_brain[z] == pytest.approx(inside, abs=1e-9)
            residual = np.abs(images[z].astype(float) - made[z])[brain[z]].mean()
            assert quality.residual[z] == pytest.approx(residual, abs=1e-9)
        expected = structural_similarity(images[z].astype(float), made[z].astype(float), data_range=1.0)
        assert quality.ssim[z] == pytest.approx(expected, abs=1e-12)
    assert math.isnan(quality.psnr_brain[2]) and math.isnan(quality.residual[2])  # no brain there


def test_slices_smaller_than_a_window_are_refused():
    small = np.zeros((1, 6, 20), np.float32)
    with pytest.raises(ValueError, match="7x7"):
        ImageQuality.of(small, small, small > 0)


def test_the_figures_of_a_set_are_means_over_slices_whatever_the_patients(slices):
    images, made, brain = slices
    whole = ImageQuality.of(images, made, brain)
    parts = [
        ImageQuality.of(images[part], made[part], brain[part]) for part in (slice(1), slice(1, 3), slice(0))
    ]
    assert sum(parts, start=ImageQuality.empty()).means() == whole.means()
    means = whole.means()
    assert means["slices"] == 3
    assert means["psnr"] == pytest.approx(np.mean(whole.psnr))
    assert means["psnr_brain"] == pytest.approx(np.mean(whole.psnr_brain[:2]))
    assert means["ssim"] == pytest.approx(np.mean(whole.ssim))


def test_an_exact_reconstruction_has_infinite_psnr_and_ssim_one(slices):
    images, _, brain = slices
    quality = ImageQuality.of(images, images, brain)
    assert np.isinf(quality.psnr).all()
    assert quality.means()["ssim"] == pytest.approx(1)


def test_no_slices_have_no_figures():
    means = ImageQuality.empty().means()
    assert means["slices"] == 0
    assert all(math.isnan(means[name]) for name in ("psnr", "psnr_brain", "ssim"))


def test_shapes_must_agree(slices):
    images, made, brain = slices
    with pytest.raises(ValueError, match="shape"):
        ImageQuality.of(images, made[:2], brain)
    with pytest.raises(ValueError, match="shape"):
        ImageQuality.of(images[0], made[0], brain[0])
