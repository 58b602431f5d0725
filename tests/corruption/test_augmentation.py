import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion, gaussian_filter

from napari_cead.training import Augmentation, augment


def generator():
    return torch.Generator().manual_seed(0)


def test_flips_half_of_the_images_from_side_to_side():
    x = torch.rand(400, 1, 4, 6, generator=generator())
    result = augment(x, Augmentation(intensity=0), generator())
    mirrored = torch.tensor([torch.equal(a, b.flip(-1)) for a, b in zip(result, x, strict=True)])
    same = torch.tensor([torch.equal(a, b) for a, b in zip(result, x, strict=True)])
    assert bool((mirrored ^ same).all())
    assert 160 < mirrored.sum() < 240


def test_brightness_stays_in_its_range():
    x = torch.full((500, 1, 2, 2), 0.5)
    x[:, :, 0, 0], x[:, :, 1, 1] = 0, 1
    result = augment(x, Augmentation(flip=False, intensity=0.2), generator())
    factors = result[:, 0, 0, 1] / 0.5
    assert 0.8 <= factors.min() < 0.83 and 1.17 < factors.max() <= 1.2
    assert torch.equal(result[:, 0, 1, 0], result[:, 0, 0, 1])
    assert bool((result[:, 0, 0, 0] == 0).all()) and result.max() == 1


def test_nothing_to_vary_changes_nothing():
    x = torch.rand(3, 1, 4, 4)
    assert torch.equal(augment(x, Augmentation(flip=False, intensity=0)), x)


def spot(y: int, x: int, side: int = 41) -> torch.Tensor:
    image = torch.zeros(200, 1, side, side)
    image[:, :, y - 1 : y + 2, x - 1 : x + 2] = 1
    return image


def centres(images: torch.Tensor) -> torch.Tensor:
    """Centre of mass (N, 2) from the middle of the image, in pixels."""
    side = images.shape[-1]
    at = torch.arange(side) - (side - 1) / 2
    mass = images.sum((1, 2, 3))
    return torch.stack(
        [(images.sum(3)[:, 0] * at).sum(1) / mass, (images.sum(2)[:, 0] * at).sum(1) / mass], 1
    )


def test_a_turn_keeps_the_distance_from_the_middle_and_its_range():
    result = augment(spot(20, 30), Augmentation(flip=False, intensity=0, rotation=20), generator())
    moved = centres(result)
    assert torch.allclose(moved.norm(dim=1), torch.tensor(10.0), atol=0.3)
    angles = torch.rad2deg(torch.atan2(moved[:, 0], moved[:, 1]))
    assert 17 < angles.max() <= 20.5 and -20.5 <= angles.min() < -17


def test_a_change_of_size_moves_a_spot_along_the_ray_within_its_range():
    result = augment(spot(20, 30), Augmentation(flip=False, intensity=0, scale=0.2), generator())
    moved = centres(result)
    assert torch.allclose(moved[:, 0], torch.tensor(0.0), atol=0.2)
    assert 11.5 < moved[:, 1].max() <= 12.3 and 7.7 <= moved[:, 1].min() < 8.5


def test_a_shift_stays_within_its_share_of_the_side():
    moved = centres(augment(spot(20, 20), Augmentation(flip=False, intensity=0, shift=0.1), generator()))
    assert 3.7 < moved.abs().max() <= 4.2


def test_contrast_keeps_nothing_and_the_tissues_level():
    x = torch.full((400, 1, 8, 8), 0.5)
    x[:, :, 0], x[:, :, 1, 0] = 0, 0.4
    result = augment(x, Augmentation(flip=False, intensity=0, contrast=0.3), generator())
    assert bool((result[:, :, 0] == 0).all())
    level = 0.5 - 0.1 / 56  # the mean of the tissue
    exponents = torch.log(result[:, 0, 1, 0] / level) / torch.log(torch.tensor(0.4 / level))
    assert torch.exp(torch.tensor(-0.3)) - 1e-3 <= exponents.min() < 0.8
    assert 1.25 < exponents.max() <= torch.exp(torch.tensor(0.3)) + 1e-3


def test_a_bias_is_a_smooth_factor():
    x = torch.full((300, 1, 32, 32), 0.5)
    factor = augment(x, Augmentation(flip=False, intensity=0, bias=0.1), generator()) / 0.5
    assert 0.04 < factor.std() < 0.1
    steps = (factor[..., 1:] - factor[..., :-1]).abs()
    assert steps.max() < 0.1 and abs(factor.mean().item() - 1) < 0.01


def disk(count: int = 60, side: int = 32) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    inside = (y - side / 2) ** 2 + (x - side / 2) ** 2 < (side / 2 - 4) ** 2
    return (0.5 * inside).repeat(count, 1, 1, 1)


def test_a_third_of_the_images_is_blurred_by_a_gaussian_of_its_own():
    torch.manual_seed(1)
    x = torch.rand(300, 1, 24, 24) + 0.1
    result = augment(x, Augmentation(flip=False, intensity=0, blur=1.0), generator())
    changed = torch.tensor([not torch.equal(a, b) for a, b in zip(result, x, strict=True)])
    assert 70 < changed.sum() < 130
    inner = (slice(6, -6), slice(6, -6))
    for before, after in zip(x[changed][:5, 0].numpy(), result[changed][:5, 0].numpy(), strict=True):
        sigmas = [(y, z) for y in np.linspace(0.05, 1, 20) for z in np.linspace(0.05, 1, 20)]
        errors = [np.abs(gaussian_filter(before, pair) - after)[inner].max() for pair in sigmas]
        assert min(errors) < max(0.02, 0.1 * np.abs(before - after)[inner].max())


def test_blur_leaves_the_background_at_zero():
    result = augment(disk(), Augmentation(flip=False, intensity=0, blur=2.0), generator())
    assert bool(((result == 0) == (disk() == 0)).all())


def test_only_the_outermost_pixels_of_the_brain_get_brighter():
    x = disk()
    result = augment(x, Augmentation(flip=False, intensity=0, rim=0.3), generator())
    rise = (result - x).numpy()[:, 0]
    brain = x[0, 0].numpy() > 0
    square = np.ones((3, 3), bool)
    inside = binary_erosion(brain, square, iterations=2)
    assert rise.min() >= 0 and (rise[:, ~brain] == 0).all() and (rise[:, inside] == 0).all()
    touched = (rise > 0).any((1, 2))
    assert 10 < touched.sum() < 32 and rise.max() > 0.1
    first = brain & ~binary_erosion(brain, square)
    assert any((one[first] > 0).mean() > 0.1 for one in rise)


@pytest.mark.parametrize("value", [-0.1, 4.0])
def test_a_blur_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match="blur"):
        Augmentation(blur=value)
