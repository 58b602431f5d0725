"""What a volume tells is found out once, and again when the volume has changed."""

import numpy as np
import pytest

from napari_cead.patients import once as module
from napari_cead.patients.once import once


@pytest.fixture
def counted():
    """A function that counts its calls."""

    def compute(volume, factor):
        compute.calls += 1
        return float(volume.sum()) * factor

    compute.calls = 0
    return compute


def test_the_same_volume_is_asked_once(counted):
    volume = np.ones((3, 4, 5), np.float32)
    assert [once(counted, volume, 2) for _ in range(3)] == [120.0] * 3
    assert counted.calls == 1
    assert once(counted, volume, 3) == 180.0, "of other arguments it is known nothing"
    assert once(counted, volume.copy(), 2) == 120.0
    assert counted.calls == 3


def test_a_volume_that_was_changed_in_place_is_asked_again(counted):
    volume = np.ones((3, 4, 5), np.float32)
    assert once(counted, volume, 1) == 60.0
    volume[1, 2, 3] = 2
    assert once(counted, volume, 1) == 61.0
    assert once(counted, np.asfortranarray(volume)[::-1], 1) == 61.0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_that_was_turned_in_place_is_asked_again(axis):
    volume = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    assert once(np.ndarray.item, volume, 0) == 0
    turned = np.flip(volume, axis).copy()
    volume[:] = turned
    assert once(np.ndarray.item, volume, 0) == turned[0, 0, 0] > 0


def test_nothing_is_kept_of_a_volume_that_has_gone(counted):
    before = len(module._known)
    volume = np.ones((3, 4, 5), np.float32)
    once(counted, volume, 1)
    volume[0, 0, 0] = 5
    once(counted, volume, 1)
    del volume
    assert len(module._known) == before
