import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage

from napari_cead.training import ContextEncoding, corrupt


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=1000, side=48, seed=1):
    return torch.rand(count, 1, side, side, generator=generator(seed)) * 0.8 + 0.1


def test_paper_masks_are_one_square_each_with_the_expected_area():
    x = images(2000)
    corrupted, mask = corrupt(x, generator=generator())
    areas = mask.flatten(1).sum(1).numpy()
    sides = np.sqrt(areas)
    assert np.array_equal(sides, sides.round())
    for one, side in zip(mask[:200, 0].numpy(), sides, strict=False):
        rows, columns = np.flatnonzero(one.any(1)), np.flatnonzero(one.any(0))
        assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == side
    # Each side from 1 to 24 is equally likely; none is 0, so no image stays whole.
    assert set(sides) == set(range(1, 25))
    expected, spread = np.mean(np.arange(1, 25) ** 2), np.std(np.arange(1, 25) ** 2)
    assert areas.mean() == pytest.approx(expected, abs=4 * spread / np.sqrt(2000))
    assert torch.equal(corrupted[~mask], x[~mask])


def test_squares_reach_every_edge_and_are_centred_on_average():
    _, mask = corrupt(images(3000), generator=generator())
    assert mask[:, 0, 0].any() and mask[:, 0, -1].any() and mask[:, 0, :, 0].any() and mask[:, 0, :, -1].any()
    heat = mask.float().mean(0)[0].numpy()
    np.testing.assert_allclose(ndimage.center_of_mass(heat), (23.5, 23.5), atol=0.7)


def test_each_number_of_squares_is_equally_likely():
    # A black batch with squares of value between the extremes: each square has a value of its own.
    x = images(3000, 64)
    settings = ContextEncoding(squares=(1, 3), largest_side=0.05)
    corrupted, mask = corrupt(x, settings, generator())
    numbers = [len(np.unique(one[where].numpy())) for one, where in zip(corrupted, mask, strict=True)]
    shares = np.bincount(numbers, minlength=4) / 3000
    # Squares of up to 3 pixels on 64x64 hide one another in about 0.1 % of the images.
    np.testing.assert_allclose(shares, [0, 1 / 3, 1 / 3, 1 / 3], atol=0.04)


def test_fill_is_between_the_extremes_of_the_batch_or_zero():
    x = images(2000)
    corrupted, mask = corrupt(x, generator=generator())
    values = torch.stack([one[where][0] for one, where in zip(corrupted, mask, strict=True)])
    low, high = x.min(), x.max()
    assert bool(((values >= low) & (values <= high)).all())
    assert values.mean().item() == pytest.approx(((low + high) / 2).item(), abs=0.03)
    assert values.std().item() == pytest.approx(((high - low) / np.sqrt(12)).item(), abs=0.02)
    blackened, mask = corrupt(x, ContextEncoding(fill="zero"), generator())
    assert torch.equal(blackened[mask], torch.zeros(int(mask.sum())))


def test_inside_brain_keeps_squares_in_the_box():
    x = torch.zeros(500, 1, 40, 40)
    x[:, :, 5:31, 12:29] = 0.5
    _, mask = corrupt(x, ContextEncoding(inside_brain=True, squares=(1, 3)), generator())
    outside = torch.ones(40, 40, dtype=torch.bool)
    outside[5:31, 12:29] = False
    assert not bool((mask & outside).any())
    assert bool(mask.flatten(1).any(1).all())
    assert (
        mask[:, 0, 5].any() and mask[:, 0, 30].any() and mask[:, 0, :, 12].any() and mask[:, 0, :, 28].any()
    )


def test_inside_brain_of_a_black_image_is_anywhere():
    _, mask = corrupt(torch.zeros(20, 1, 16, 16), ContextEncoding(inside_brain=True), generator())
    assert bool(mask.flatten(1).any(1).all())


def test_the_seed_decides():
    x, settings = images(50), ContextEncoding(squares=(1, 3))
    one, two, other = (corrupt(x, settings, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(one.images, two.images) and torch.equal(one.mask, two.mask)
    assert not torch.equal(one.mask, other.mask)


def test_the_originals_are_left_alone():
    x = images(10)
    before = x.clone()
    corrupt(x, generator=generator())
    assert torch.equal(x, before)


@pytest.mark.parametrize("squares", [(0, 1), (3, 2), (1, 17)])
def test_impossible_numbers_of_squares_are_refused(squares):
    with pytest.raises(ValidationError):
        ContextEncoding(squares=squares)
