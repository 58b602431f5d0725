"""Marks of slices: the same scan is recognised however it is stored, and no other one is."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from napari_cead import load_patient
from napari_cead.phantom import write_cohort
from napari_cead.slices import slice_marks
from napari_cead.slices.marks import keyed
from scans import make_brain, write_nifti


def common(first, second):
    return len({mark for mark in first if mark} & {mark for mark in second if mark})


@pytest.fixture(scope="module")
def brain():
    volume, _ = make_brain((9, 90, 80), seed=3)
    z, y, x = np.indices(volume.shape)
    return np.where(volume > 0, volume + 8 * z + 20 * np.sin(y / 9) + 15 * np.cos(x / 7), 0).astype(
        np.float32
    )


@pytest.fixture(scope="module")
def known(brain):
    return slice_marks(brain)


def test_every_slice_has_a_mark_of_its_own(known):
    shown = [mark for mark in known if mark]
    assert len(shown) == len(set(shown)) >= 7


@pytest.mark.parametrize(
    "change",
    [
        lambda volume: volume * 3.7,
        lambda volume: (volume - volume.mean()) / volume.std(),
        lambda volume: np.rint(volume * 100),
        lambda volume: volume[:, :, ::-1],
        lambda volume: np.pad(volume, ((0, 0), (3, 20), (11, 1))),
        lambda volume: np.where(volume == 0, np.nan, volume),
        lambda volume: volume * (1 + 1e-7 * np.random.default_rng(0).standard_normal(volume.shape)),
    ],
    ids=["scaled", "z-scored", "integers", "mirrored", "padded", "NaN outside", "rounding"],
)
def test_what_does_not_change_the_scan_does_not_change_the_marks(brain, known, change):
    assert slice_marks(change(brain).astype(np.float32)) == known


def test_eight_bits_leave_marks_enough_to_recognise_it_by(brain, known):
    rounded = np.rint(brain / brain.max() * 255).astype(np.float32)
    assert common(slice_marks(rounded), known) >= 3


def test_every_format_gives_the_same_marks(brain, known, tmp_path):
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    write_nifti(tmp_path / "a" / "flair.nii.gz", brain.T, affine)
    turned = nib.as_closest_canonical(nib.Nifti1Image(brain.T, affine)).slicer[::-1]
    scaled = nib.Nifti1Image(np.asarray(turned.dataobj), turned.affine)
    scaled.header.set_data_dtype(np.float64)
    nib.save(scaled, tmp_path / "turned_flair.nii")
    for place in (tmp_path / "a", tmp_path / "turned_flair.nii"):
        assert slice_marks(load_patient(place, "flair").volume()) == known
    Image.fromarray(np.rint(brain[4] / brain.max() * 255).astype(np.uint8)).save(tmp_path / "slice.png")
    (picture,) = slice_marks(np.asarray(Image.open(tmp_path / "slice.png"), np.float32)[None])
    assert bool(picture)


def test_other_brains_of_the_same_shape_are_not_recognised(known):
    marks = [slice_marks(make_brain((9, 90, 80), seed=seed)[0]) for seed in range(20)]
    for number, one in enumerate(marks):
        assert not common(one, known)
        assert not any(common(one, other) for other in marks[number + 1 :])


@pytest.mark.slow
def test_synthetic_patients_on_the_same_anatomy_are_told_apart(tmp_path):
    places = write_cohort(tmp_path, 2, seed=0)
    first, second = (slice_marks(load_patient(place).volume()) for place in places)
    assert sum(map(bool, first)) > 50 and not common(first, second)


def test_a_scan_moved_by_half_a_voxel_is_another_one(brain, known):
    assert not common(slice_marks((brain[:, :, 1:] + brain[:, :, :-1]) / 2), known)


@pytest.mark.parametrize("image", [np.zeros((40, 40)), np.full((40, 40), 7.0), np.full((40, 40), np.nan)])
def test_what_shows_nothing_has_no_mark(image):
    assert slice_marks(image[None].astype(np.float32)) == ("",)


def test_what_is_too_small_has_no_mark():
    image = np.zeros((40, 40), np.float32)
    image[10:20, 10:20] = np.random.default_rng(0).random((10, 10)) + 1
    assert slice_marks(image[None]) == ("",)


def test_a_key_hides_that_two_marks_are_the_same(known):
    assert keyed(known[4], b"a" * 16) != keyed(known[4], b"b" * 16)


def test_a_real_patient_is_recognised_as_pictures(real_data):
    nifti = load_patient(real_data / "patient26").volume("flair")
    pictures = load_patient(real_data / "layouts" / "brainmetshare_png" / "Mets_026").volume("flair")
    marks = slice_marks(nifti)
    assert common(marks, slice_marks(pictures)) > 50
