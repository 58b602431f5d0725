"""Simulated lesions: where they lie, how large they are, and what they do."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage
from skimage.measure import label, regionprops

from napari_cead.corruption.blobs import blob
from napari_cead.corruption.kinds.lesions import SimulatedLesions
from napari_cead.corruption.mixtures import Mixture, Share, corrupt
from napari_cead.models.tissue import tissue_level
from napari_cead.training import CoarseNoise, GaussianNoise


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def slices(count=200, side=96, seed=1):
    """Tissue around 0.6 in a round brain with a dark middle."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    radius = np.hypot(y, x)
    level = np.where(radius < 8, 0.1, 0.6) * (radius < 0.42 * side)
    noise = 1 + 0.05 * torch.randn(count, 1, side, side, generator=generator(seed))
    return torch.from_numpy(level).float() * noise


def test_blobs_have_the_area_of_their_diameter_and_centres_anywhere_in_the_brain():
    whole = torch.ones(300, 128, 128, dtype=torch.bool)
    weight = blob(whole, (20.0, 20.0), (1.0, 1.0), 0.0, (1.0, 1.0), generator())
    inside = [one for one in weight.numpy() if not (one[0].any() or one[-1].any() or one[:, (0, -1)].any())]
    areas = [one.sum() for one in inside]
    assert np.mean(areas) == pytest.approx(np.pi * 10**2, rel=0.02)
    assert all(ndimage.label(one > 0)[1] == 1 for one in inside)
    brain = torch.zeros(3000, 32, 32, dtype=torch.bool)
    brain[:, 4:20, 10:30] = True
    small = blob(brain, (1.0, 1.0), (0.1, 0.1), 0.0, (1.0, 1.0), generator())
    assert not bool((small.bool() & ~brain).any())
    hits = small.sum(0)[4:20, 10:30]
    # As even as 3000 throws at 320 pixels.
    assert (hits.std() / hits.mean()).item() == pytest.approx(np.sqrt(320 / 3000), rel=0.25)


def test_diameters_are_in_mm_and_each_order_of_size_is_equally_likely():
    whole = torch.ones(600, 128, 128, dtype=torch.bool)
    fine = blob(whole, (10.0, 10.0), (0.5, 0.5), 0.0, (0.5, 0.5), generator())
    coarse = blob(whole, (10.0, 10.0), (0.5, 0.5), 0.0, (1.0, 1.0), generator())
    assert (fine.sum((1, 2)).median() / coarse.sum((1, 2)).median()).item() == pytest.approx(4, rel=0.1)
    sizes = blob(whole, (5.0, 20.0), (0.5, 0.5), 0.0, (1.0, 1.0), generator()).sum((1, 2))
    diameters = 2 * (sizes / np.pi).sqrt()
    assert (diameters > 10).float().mean().item() == pytest.approx(0.5, abs=0.1)  # some are cut by the edge


def test_rims_fade_over_their_width_and_outlines_are_irregular():
    whole = torch.ones(200, 96, 96, dtype=torch.bool)
    shares = [
        blob(whole, (30.0, 30.0), (rim, rim), 0.0, (1.0, 1.0), generator()).unique(sorted=False).numel()
        for rim in (0.1, 8.0)
    ]
    assert shares[1] > 3 * shares[0]

    def solidity(irregularity):
        weight = blob(whole, (30.0, 30.0), (0.5, 0.5), irregularity, (1.0, 1.0), generator()) > 0.5
        return np.mean([regionprops(one.astype(np.uint8))[0].solidity for one in weight.numpy()])

    assert solidity(0.4) < solidity(0.0) - 0.02


@pytest.mark.parametrize("diameter", [12.0, 60.0])
def test_blobs_of_any_size_are_of_few_pieces(diameter):
    whole = torch.ones(100, 128, 128, dtype=torch.bool)
    weight = blob(whole, (diameter, diameter), (1.0, 1.0), 0.4, (1.5, 1.5), generator()) > 0.5
    largest = [np.bincount(label(one).ravel())[1:].max() / one.sum() for one in weight.numpy()]
    assert np.mean(largest) > 0.97


def test_every_blob_changes_something_and_an_image_without_brain_nothing():
    brain = slices(100)[:, 0] != 0
    brain[3] = False
    weight = blob(brain, (1.0, 60.0), (0.1, 20.0), 1.0, (0.94, 0.94), generator())
    touched = (weight > 0).flatten(1).any(1)
    assert bool(touched[torch.arange(100) != 3].all()) and not bool(touched[3])
    assert weight.min() >= 0 and weight.max() <= 1


def test_tissue_level_leaves_liquid_and_background_out():
    level = tissue_level(slices(20))
    assert level.shape == (20, 1, 1, 1)
    np.testing.assert_allclose(level.flatten(), 0.6, atol=0.01)
    assert tissue_level(torch.zeros(2, 1, 8, 8)).tolist() == [[[[0.0]]]] * 2


@pytest.mark.parametrize("darker", [0.0, 0.5, 1.0])
def test_lesions_shift_the_intensity_by_what_is_asked_for(darker):
    x = slices(300)
    settings = SimulatedLesions(
        lesions=(1, 1), shift=(0.2, 0.3), darker=darker, diameter_mm=(10, 30), rim_mm=(0.1, 0.1)
    )
    changed, mask, _ = corrupt(x, settings, generator())
    middles = torch.stack([one[where].median() for one, where in zip(changed - x, mask, strict=True)])
    assert bool(((middles.abs() > 0.19) & (middles.abs() < 0.31)).float().mean() > 0.9)
    assert (middles < 0).float().mean().item() == pytest.approx(darker, abs=0.12)
    assert changed.min() >= 0 and changed.max() <= 1


def test_blended_lesions_lose_the_texture_and_spared_liquid_stays():
    x = slices(200)
    large = {"lesions": (1, 1), "shift": (0.2, 0.2), "diameter_mm": (30.0, 40.0), "rim_mm": (0.1, 0.1)}
    tissue = (x > 0.3).squeeze(1)
    left = []
    for blending in (0.0, 1.0):
        changed, mask, _ = corrupt(x, SimulatedLesions(blending=blending, **large), generator())
        core = [ndimage.binary_erosion(one, iterations=2) for one in mask[:, 0].numpy()]
        spots = torch.from_numpy(np.stack(core)) & tissue
        left.append(
            [
                (after[spot].std() / before[spot].std()).item()
                for after, before, spot in zip(changed[:, 0], x[:, 0], spots, strict=True)
                if spot.sum() > 50
            ]
        )
    assert np.allclose(left[0], 1, atol=0.05)
    # Between 40 and 100 % of the texture is gone.
    assert max(left[1]) < 0.65 and min(left[1]) < 0.05 and np.mean(left[1]) == pytest.approx(0.3, abs=0.05)
    liquid = (x > 0) & (x < 0.3)
    changed, _, _ = corrupt(x, SimulatedLesions(sparing=1.0, **large), generator())
    assert torch.equal(changed[liquid], x[liquid]) and not torch.equal(changed, x)


def white(sigma):
    return GaussianNoise(sigma=(sigma, sigma))


def test_a_mixture_gives_each_image_one_of_its_parts():
    x = torch.ones(2000, 1, 16, 16)
    parts = (Share(share=0.6, corruption=white(0.01)), Share(share=0.2, corruption=white(1.0)))
    spread = (corrupt(x, Mixture(parts=parts), generator()).images - x).flatten(1).std(1)
    assert bool(((spread < 0.02) | (spread > 0.5)).all())
    assert (spread < 0.02).float().mean().item() == pytest.approx(0.75, abs=0.04)


def test_parts_together_are_independent_and_may_leave_an_image_whole():
    x = torch.ones(3000, 1, 16, 16)
    parts = (Share(share=0.5, corruption=white(0.01)), Share(share=0.2, corruption=white(1.0)))
    changed, mask, _ = corrupt(x, Mixture(parts=parts, together=True), generator())
    spread = (changed - x).flatten(1).std(1)
    whole = ~mask.flatten(1).any(1)
    assert bool((spread[whole] == 0).all()) and bool((spread[~whole] > 0).all())
    assert whole.float().mean().item() == pytest.approx(0.4, abs=0.04)
    assert (spread > 0.5).float().mean().item() == pytest.approx(0.2, abs=0.03)


def test_a_mixture_is_never_made_of_mixtures():
    inner = Mixture(parts=(Share(share=1, corruption=CoarseNoise()),))
    with pytest.raises(ValidationError):
        Share(share=1, corruption=inner)
    with pytest.raises(ValidationError):
        Mixture(parts=())


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (SimulatedLesions, {"lesions": (0, 1)}),
        (SimulatedLesions, {"diameter_mm": (5, 2)}),
        (SimulatedLesions, {"shift": (0.0, 0.2)}),
        (SimulatedLesions, {"darker": 1.5}),
        (SimulatedLesions, {"rim_mm": (0.0, 1.0)}),
        (SimulatedLesions, {"irregularity": -1}),
        (GaussianNoise, {"sigma": (0.1, float("nan"))}),
    ],
)
def test_impossible_values_are_refused(kind, change):
    with pytest.raises(ValidationError):
        kind(**change)
