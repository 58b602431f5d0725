"""Brighter sides, on brains whose field is known."""

import numpy as np
import pytest

from napari_cead.slices import side_ratios


def brain_of(shape=(20, 80, 70)):
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    inside = z**2 + y**2 + x**2 < 0.9
    rng = np.random.default_rng(1)
    volume = np.where(inside, 100 * rng.normal(1, 0.05, shape), 0)
    volume[inside & (np.hypot(y, x) < 0.2)] = 10  # liquid
    return volume.astype(np.float32), inside, y, x


def test_an_even_brain_has_ratios_of_1_whatever_lesion_and_liquid_it_has():
    volume, inside, y, x = brain_of()
    volume[inside & (x > 0.4) & (y > 0.2)] = 200  # a lesion of a few percent, on the left
    assert side_ratios(volume, inside) == pytest.approx((1, 1), abs=0.03)


def test_a_field_shows_in_the_ratio_of_its_axis_alone():
    volume, inside, y, x = brain_of()
    for field, expected in ((1 + 0.2 * x, "left"), (1 - 0.2 * y, "back")):
        ratios = side_ratios((volume * field).astype(np.float32), inside)
        tissue = inside & (volume > 50)
        place = np.nonzero(tissue)[2 if expected == "left" else 1]
        low, high = np.quantile(place, (1 / 3, 2 / 3))
        known = field[tissue]
        assert getattr(ratios, expected) == pytest.approx(
            np.median(known[place >= high]) / np.median(known[place <= low]), rel=0.02
        )
        other = "back" if expected == "left" else "left"
        assert getattr(ratios, other) == pytest.approx(1, abs=0.02)
        assert abs(getattr(ratios, expected) - 1) > 0.12


def test_a_few_slices_tell_nothing():
    volume, inside, _, x = brain_of()
    assert side_ratios((volume * (1 + 0.3 * x)).astype(np.float32)[8:12], inside[8:12]) is None
    assert side_ratios(np.zeros((20, 8, 8), np.float32), np.zeros((20, 8, 8), bool)) is None
