import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from scipy import ndimage

from napari_cead.corruption.kinds.bias_field import BiasField
from napari_cead.corruption.kinds.lesions import SimulatedLesions
from napari_cead.corruption.mixtures import (
    PAPER,
    ContextEncoding,
    Corruption,
    Mixture,
    Share,
    corrupt,
)
from napari_cead.training import CoarseNoise, GaussianNoise

KINDS = [
    ContextEncoding(squares=(1, 3)),
    GaussianNoise(),
    CoarseNoise(),
    SimulatedLesions(),
    BiasField(),
    Mixture(
        parts=(Share(share=0.5, corruption=SimulatedLesions()), Share(share=0.5, corruption=CoarseNoise()))
    ),
]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=1000, side=48, seed=1):
    return torch.rand(count, 1, side, side, generator=generator(seed)) * 0.8 + 0.1


def test_paper_masks_are_one_square_each_with_the_expected_area():
    x = images(2000)
    corrupted, mask, _ = corrupt(x, generator=generator())
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
    _, mask, _ = corrupt(images(3000), generator=generator())
    assert mask[:, 0, 0].any() and mask[:, 0, -1].any() and mask[:, 0, :, 0].any() and mask[:, 0, :, -1].any()
    heat = mask.float().mean(0)[0].numpy()
    np.testing.assert_allclose(ndimage.center_of_mass(heat), (23.5, 23.5), atol=0.7)


def test_each_number_of_squares_is_equally_likely():
    # A black batch with squares of value between the extremes: each square has a value of its own.
    x = images(3000, 64)
    settings = ContextEncoding(squares=(1, 3), largest_side=0.05)
    corrupted, mask, _ = corrupt(x, settings, generator())
    numbers = [len(np.unique(one[where].numpy())) for one, where in zip(corrupted, mask, strict=True)]
    shares = np.bincount(numbers, minlength=4) / 3000
    # Squares of up to 3 pixels on 64x64 hide one another in about 0.1 % of the images.
    np.testing.assert_allclose(shares, [0, 1 / 3, 1 / 3, 1 / 3], atol=0.04)


def test_fill_is_between_the_extremes_of_the_batch_or_zero():
    x = images(2000)
    corrupted, mask, _ = corrupt(x, generator=generator())
    values = torch.stack([one[where][0] for one, where in zip(corrupted, mask, strict=True)])
    low, high = x.min(), x.max()
    assert bool(((values >= low) & (values <= high)).all())
    assert values.mean().item() == pytest.approx(((low + high) / 2).item(), abs=0.03)
    assert values.std().item() == pytest.approx(((high - low) / np.sqrt(12)).item(), abs=0.02)
    blackened, mask, _ = corrupt(x, ContextEncoding(fill="zero"), generator())
    assert torch.equal(blackened[mask], torch.zeros(int(mask.sum())))


def test_inside_brain_keeps_squares_in_the_box():
    x = torch.zeros(500, 1, 40, 40)
    x[:, :, 5:31, 12:29] = 0.5
    _, mask, _ = corrupt(x, ContextEncoding(inside_brain=True, squares=(1, 3)), generator())
    outside = torch.ones(40, 40, dtype=torch.bool)
    outside[5:31, 12:29] = False
    assert not bool((mask & outside).any())
    assert bool(mask.flatten(1).any(1).all())
    assert (
        mask[:, 0, 5].any() and mask[:, 0, 30].any() and mask[:, 0, :, 12].any() and mask[:, 0, :, 28].any()
    )


def test_inside_brain_of_a_black_image_is_anywhere():
    _, mask, _ = corrupt(torch.zeros(20, 1, 16, 16), ContextEncoding(inside_brain=True), generator())
    assert bool(mask.flatten(1).any(1).all())


def test_the_whole_area_of_several_squares_is_covered():
    """No square replaces another: the chance that a pixel stays whole falls with each."""
    x = images(4000)
    for number in (2, 3):
        _, mask, _ = corrupt(x, ContextEncoding(squares=(number, number)), generator())
        covered = mask[:, 0].float().mean(0)
        # Of the 49 - s places along an axis, a square of side s covers the middle pixel in s.
        sides = np.arange(1, 25)
        one = np.mean((sides / (49 - sides)) ** 2)
        expected = 1 - (1 - one) ** number
        spread = np.sqrt(expected * (1 - expected) / len(x))
        assert covered[24, 24].item() == pytest.approx(expected, abs=4 * spread)


def test_the_paper_has_one_square_anywhere():
    x = images(20)
    assert PAPER.squares == (1, 1) and not PAPER.inside_brain
    assert torch.equal(corrupt(x, None, generator()).images, corrupt(x, PAPER, generator()).images)


@pytest.mark.parametrize("settings", KINDS, ids=lambda one: one.kind)
class TestEveryKind:
    def test_the_seed_decides(self, settings):
        x = images(50)
        one, two, other = (corrupt(x, settings, generator(seed)) for seed in (3, 3, 4))
        assert torch.equal(one.images, two.images) and torch.equal(one.mask, two.mask)
        assert not torch.equal(one.images, other.images)

    def test_each_image_is_corrupted_in_its_own_way(self, settings):
        x = images(1).expand(20, -1, -1, -1)
        changes = (corrupt(x, settings, generator()).images - x).flatten(1)
        distances = torch.cdist(changes, changes) + torch.eye(20)
        assert distances.min() > 0.01

    def test_only_the_mask_changes_and_no_image_stays_whole(self, settings):
        x = images(50)
        x[:, :, :10] = 0
        before = x.clone()
        corrupted, mask, _ = corrupt(x, settings, generator())
        assert torch.equal(x, before)
        assert torch.equal(corrupted[~mask], x[~mask])
        assert bool((corrupted != x).flatten(1).any(1).all())
        assert bool(((corrupted != x) <= mask).all())

    @pytest.mark.parametrize("device", ["cpu", "meta"])
    @pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
    def test_shape_type_and_device_are_kept(self, settings, device, dtype):
        x = torch.ones(3, 1, 33, 33, device=device, dtype=dtype)
        x = x / 255 if dtype == torch.uint8 else x  # as stored slices become images
        corrupted, mask, _ = corrupt(x, settings)
        assert (corrupted.shape, corrupted.dtype, corrupted.device) == (x.shape, x.dtype, x.device)
        assert (mask.shape, mask.dtype, mask.device) == (x.shape, torch.bool, x.device)

    def test_autocast_changes_nothing(self, settings):
        x = images(4)
        with torch.autocast("cpu", torch.bfloat16):
            inside = corrupt(x, settings, generator()).images
        assert torch.equal(inside, corrupt(x, settings, generator()).images)

    def test_survives_json_and_is_frozen(self, settings):
        adapter = TypeAdapter(Corruption)
        assert adapter.validate_json(adapter.dump_json(settings)) == settings
        with pytest.raises(ValidationError):
            settings.kind = "squares"
        with pytest.raises(ValidationError):
            adapter.validate_python({"kind": settings.kind, "strength": 1})
        with pytest.raises(ValidationError):
            adapter.validate_python({"kind": "salt"})


def test_gaussian_noise_has_the_deviation_asked_for_and_is_not_clipped():
    x = images(400, 32)
    noise = corrupt(x, GaussianNoise(sigma=(0.2, 0.2)), generator()).images - x
    count = noise.numel()
    assert noise.mean().item() == pytest.approx(0, abs=4 * 0.2 / np.sqrt(count))
    assert noise.std().item() == pytest.approx(0.2, abs=4 * 0.2 / np.sqrt(2 * count))
    across = (noise[..., 1:] * noise[..., :-1]).mean().item() / 0.2**2
    assert across == pytest.approx(0, abs=4 / np.sqrt(count))  # white: neighbours are independent
    assert (x + noise).min() < 0 and (x + noise).max() > 1


def test_each_deviation_in_the_range_is_equally_likely():
    x = images(1000, 32)
    sigmas = (corrupt(x, GaussianNoise(sigma=(0.1, 0.3)), generator()).images - x).flatten(1).std(1).numpy()
    error = 4 * 0.3 / np.sqrt(2 * 32 * 32)
    assert 0.1 - error < sigmas.min() < 0.11 and 0.29 < sigmas.max() < 0.3 + error
    assert sigmas.mean() == pytest.approx(0.2, abs=4 * 0.2 / np.sqrt(12 * 1000))
    assert sigmas.std() == pytest.approx(0.2 / np.sqrt(12), rel=0.1)


@pytest.mark.parametrize("settings", [GaussianNoise(inside_brain=True), CoarseNoise()])
def test_noise_stays_inside_the_brain(settings):
    x = torch.zeros(20, 1, 48, 48)
    x[:, :, 8:40, 12:30] = 0.5
    corrupted, mask, _ = corrupt(x, settings, generator())
    assert torch.equal(mask, x != 0)
    assert torch.equal(corrupted[~mask], x[~mask])
    assert ((corrupted != x) == mask).float().mean() > 0.999


def enlarged(cells: int, side: int) -> torch.Tensor:
    """Weights (side, cells) of the bilinear enlargement of a line, from PyTorch's own."""
    eye = torch.eye(cells, dtype=torch.float64)[None]
    return torch.nn.functional.interpolate(eye, size=side, mode="linear", align_corners=False)[0].T


@pytest.mark.parametrize("cells", [4, 8, 16, 32])
def test_coarse_noise_has_the_deviation_of_enlarged_white_noise(cells):
    x = torch.ones(600, 1, 64, 64)
    noise = corrupt(x, CoarseNoise(sigma=0.5, cells=(cells,)), generator()).images - 1
    # A pixel is a weighted mean of grid points: its variance is sigma² times the sum of the squared weights.
    per_axis = enlarged(cells, 64).square().sum(1).mean().item()
    power = noise.square().flatten(1).mean(1)
    error = power.std().item() / np.sqrt(len(x))
    assert power.mean().item() == pytest.approx((0.5 * per_axis) ** 2, abs=4 * error)
    assert noise.mean().item() == pytest.approx(0, abs=4 * 0.5 / cells / np.sqrt(600))


@pytest.mark.parametrize("cells", [8, 32])
def test_coarse_noise_is_a_rolled_bilinear_enlargement(cells):
    x = torch.ones(8, 1, 60, 60, dtype=torch.float64)
    noise = (corrupt(x, CoarseNoise(cells=(cells,)), generator()).images - 1)[:, 0]
    weights = enlarged(cells, 60)
    rest = torch.eye(60, dtype=torch.float64) - weights @ torch.linalg.pinv(weights)
    for axis in (1, 2):
        lines = noise if axis == 1 else noise.mT
        left = torch.stack([(rest @ lines.roll(-shift, 1)).norm(dim=(1, 2)) for shift in range(60)])
        best, shifts = left.min(0)
        assert best.max() < 1e-4  # drawn in single precision
        assert (left > 0.1).sum(0).min() >= 40  # and most other ways to roll it back do not fit
        assert len(shifts.unique()) > 2


def test_each_grid_is_equally_likely():
    x = torch.ones(900, 1, 64, 64)
    noise = (corrupt(x, CoarseNoise(), generator()).images - 1)[:, 0]
    values = torch.linalg.svdvals(noise)
    small = values < 1e-5 * values[:, :1]  # an enlarged grid of n x n has rank n
    assert bool(small[:, 32:].all())
    finest = [~small[:, 16], small[:, 16] & ~small[:, 8], small[:, 8]]
    shares = [one.float().mean().item() for one in finest]
    np.testing.assert_allclose(shares, 1 / 3, atol=4 * np.sqrt(2 / 9 / 900))


@pytest.mark.parametrize("squares", [(0, 1), (3, 2), (1, 17)])
def test_impossible_numbers_of_squares_are_refused(squares):
    with pytest.raises(ValidationError):
        ContextEncoding(squares=squares)


@pytest.mark.parametrize("sigma", [(0.0, 0.1), (0.2, 0.1), (0.1, float("nan")), (0.1, 11)])
def test_impossible_deviations_are_refused(sigma):
    with pytest.raises(ValidationError):
        GaussianNoise(sigma=sigma)


@pytest.mark.parametrize("change", [{"sigma": 0}, {"cells": ()}, {"cells": (1,)}, {"cells": (8, 257)}])
def test_impossible_grids_are_refused(change):
    with pytest.raises(ValidationError):
        CoarseNoise(**change)


def brains(count=4, side=96, level=0.5):
    """Round brains with liquid in the middle and grain."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    radius = ((y - side / 2) ** 2 + (x - side / 2) ** 2).sqrt()
    plane = torch.where(radius < 40, level, 0.0)
    plane = torch.where(radius < 8, 0.1, plane)
    return plane.repeat(count, 1, 1, 1)


def test_the_lesion_is_where_it_was_made_brighter():
    x = brains(40)
    found = corrupt(x, SimulatedLesions(lesions=(1, 3), shift=(0.2, 0.3), rim_mm=(0.5, 1)), generator(1))
    brighter = found.images - x
    assert (found.lesion[brighter == 0] == 0).all()
    assert (brighter[found.lesion == 1] > 0.19).all()
    assert ((found.lesion > 0) == (found.mask & (brighter > 0))).all()


def test_what_darkens_or_cannot_be_seen_is_no_lesion():
    x = brains(20)
    assert corrupt(x, SimulatedLesions(darker=1.0), generator(2)).lesion.max() == 0
    faint = SimulatedLesions(shift=(0.01, 0.02))
    assert corrupt(x, faint, generator(2)).lesion.max() == 0
    noise = Mixture(parts=(Share(share=1, corruption=GaussianNoise()),), together=True)
    assert corrupt(x, noise, generator(2)).lesion.max() == 0


def test_periventricular_lesions_lie_beside_the_liquid_and_leave_it():
    x = brains(60)
    small = {"lesions": (1, 1), "diameter_mm": (3.0, 5.0), "sparing": 1.0, "rim_mm": (0.5, 1.0)}
    y, across = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
    radius = ((y - 48) ** 2 + (across - 48) ** 2).sqrt()

    def distances(**more):
        lesion = corrupt(x, SimulatedLesions(**small, **more), generator(3), spacing=(1.0, 1.0)).lesion
        return [radius[one[0] > 0.5].mean() for one in lesion if (one > 0.5).any()]

    near, anywhere = distances(periventricular=1.0), distances()
    assert max(near) < 18 < np.median(anywhere)
    assert min(near) > 8


def test_a_bias_field_is_smooth_and_keeps_the_mean_of_the_logarithm():
    x = brains(50, level=0.4)
    found = corrupt(x, BiasField(strength=(0.3, 0.3)), generator(4))
    brain = x > 0
    assert (found.images[~brain] == 0).all() and (found.mask == brain).all() and found.lesion.max() == 0
    field = torch.where(brain, found.images / x.clamp(min=1e-6), 1).log()
    assert field.abs().amax(dim=(1, 2, 3)).numpy() == pytest.approx(np.log(1.3), abs=1e-3)
    mean = field.sum(dim=(1, 2, 3)) / brain.sum(dim=(1, 2, 3))
    assert mean.abs().max() < 1e-3
    steps = field.diff(dim=-1)[(brain[..., 1:] & brain[..., :-1])].abs()
    assert steps.max() < 0.04  # per pixel, of a field that spans 0.5
    assert (corrupt(x, BiasField(strength=(0.0, 0.0)), generator(4)).images - x).abs().max() < 1e-6


def test_a_mixture_keeps_the_lesions_of_all_its_parts():
    x = brains(30)
    part = SimulatedLesions(lesions=(1, 1), shift=(0.2, 0.2), rim_mm=(0.5, 1))
    both = Mixture(
        parts=(Share(share=1, corruption=part), Share(share=1, corruption=BiasField())), together=True
    )
    lesion = corrupt(x, both, generator(5)).lesion
    assert (lesion.amax(dim=(1, 2, 3)) > 0.9).all()
    one_of = Mixture(parts=(Share(share=0.5, corruption=part), Share(share=0.5, corruption=BiasField())))
    some = corrupt(x, one_of, generator(5)).lesion.amax(dim=(1, 2, 3)) > 0.9
    assert 5 < some.sum() < 25
