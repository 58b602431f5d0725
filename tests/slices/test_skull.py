import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from heads import add_head, make_stripped
from napari_cead.patients import Patient, load_patient
from napari_cead.patients.volumes import read_volume
from napari_cead.slices import fullest_slice, looks_skull_stripped, slice_stack
from scans import make_brain


@pytest.mark.parametrize("contrast", ["flair", "t1", "t2"])
@pytest.mark.parametrize("scalp", [0.5, 1.0, 2.5])
def test_a_head_is_told_from_a_brain(contrast, scalp):
    brain = make_stripped(contrast=contrast)
    assert looks_skull_stripped(brain).stripped
    verdict = looks_skull_stripped(add_head(brain, scalp))
    assert not verdict.stripped
    assert verdict.sentence.startswith("not skull-stripped")


def test_one_slice_is_enough():
    brain = make_stripped()
    assert looks_skull_stripped(brain[8:9]).stripped
    assert not looks_skull_stripped(add_head(brain)[8:9]).stripped


def test_the_voxel_size_does_not_matter_but_its_ratio_does():
    head = add_head(make_stripped())
    scores = {looks_skull_stripped(head, (3, size, size)).score for size in (0.3, 1.0, 5.0)}
    assert len(scores) == 1
    narrow = np.repeat(head, 2, axis=1)
    assert not looks_skull_stripped(narrow, (1, 0.5, 1)).stripped


@pytest.mark.parametrize("level", [100, -1000])
def test_a_background_that_is_not_0_is_no_skull(level):
    brain = make_stripped()
    verdict = looks_skull_stripped(brain + level)
    assert verdict.stripped
    assert not verdict.zero_background
    assert not verdict.brain_only
    assert "100%" in verdict.sentence
    assert not looks_skull_stripped(add_head(brain) + level).stripped


@pytest.mark.parametrize("level", [0, 100])
def test_of_a_head_with_neck_and_shoulders_in_noise_the_fullest_slice_is_in_the_brain(level):
    rng, head = np.random.default_rng(0), add_head(make_stripped())
    body = np.zeros((26, *head.shape[1:]), np.float32)
    body[:8, 5:-5, 5:-5] = body[8:10, 30:-30, 30:-30] = 90  # shoulders are wider than the head
    body[10:] = head
    scan = np.where(body == 0, np.abs(rng.normal(0, 3, body.shape)), body) + level
    assert 10 < fullest_slice(scan, (8, 1.5, 1.5)) < 26


@pytest.mark.parametrize("margin", [0, 3])
def test_of_a_stripped_brain_the_fullest_slice_is_that_with_most_of_it(margin):
    brain = np.pad(make_stripped(), ((margin, margin), (0, 0), (0, 0)))
    counts = (brain > 0).sum(axis=(1, 2))
    assert counts[fullest_slice(brain)] >= 0.97 * counts.max()
    assert fullest_slice(np.zeros((4, 9, 9))) in range(4)


def test_noise_around_a_brain_is_no_skull():
    rng, brain = np.random.default_rng(0), make_stripped()
    noisy = np.where(brain == 0, np.abs(rng.normal(0, 3, brain.shape)), brain)
    verdict = looks_skull_stripped(noisy)
    assert verdict.stripped
    assert not verdict.zero_background


@pytest.mark.parametrize("volume", [np.zeros((4, 9, 9)), np.ones((1, 3, 3)), make_brain((4, 12, 12))[0]])
def test_what_is_too_small_or_empty_counts_as_stripped(volume):
    assert looks_skull_stripped(volume).stripped


def test_the_stack_says_it():
    head = add_head(make_stripped())
    stack = slice_stack(Patient.from_arrays({"flair": head}))
    assert any("not skull-stripped" in note for note in stack.warnings)
    assert not stack.skull.brain_only
    assert slice_stack(Patient.from_arrays({"flair": make_stripped()})).skull.brain_only


def test_brain_shares_count_the_pixels_of_the_models_image():
    volume, _ = make_brain()
    stack = slice_stack(Patient.from_arrays({"flair": volume}, spacing=(1, 0.94, 0.94)), size=64)
    expected = [(stack.images[index] != 0).sum() / 64**2 for index in stack.occupied]
    np.testing.assert_allclose(stack.brain_shares, expected, atol=1e-9)


@pytest.mark.parametrize("name", ["flair", "t1_pre", "t2"])
def test_real_heads(real_data, name):
    volume = read_volume(real_data / "raw" / "long04" / f"study1_{name}.nii.gz")
    assert not looks_skull_stripped(volume.data, volume.grid.spacing).stripped


@pytest.mark.parametrize("name", ["flair", "t1_pre", "t1_gd", "t2"])
def test_a_real_brain(real_data, name, quiet):
    patient = load_patient(real_data / "patient26", name, only=True)
    assert looks_skull_stripped(patient.volume(), patient.spacing).brain_only
    head = add_head(patient.volume()[50:130:20], margin=30, bone_width=7, scalp_width=6)
    assert not looks_skull_stripped(head).stripped


def test_real_slices_of_many(real_data):
    files = sorted((real_data / "soop_axial").glob("*/flair/*.png"))[::20]
    images = [np.asarray(Image.open(file))[None] for file in files]
    assert all(looks_skull_stripped(image).brain_only for image in images)
    heads = [add_head(image.astype(np.float32), margin=30, bone_width=6) for image in images[::4]]
    assert not any(looks_skull_stripped(head).stripped for head in heads)


def test_a_template_head_that_fills_its_field_of_view(real_data):
    image = nib.load(real_data / "odd" / "someones_anatomy.nii.gz")
    assert not looks_skull_stripped(np.transpose(image.get_fdata(), (2, 1, 0))).stripped


@pytest.mark.parametrize(("name", "brain"), [("Subj01/t1_pre", (60, 90)), ("sample1/flair", (13, 24))])
def test_a_real_head_with_its_neck_has_its_fullest_slice_in_the_brain(real_data, name, brain):
    volume = read_volume(real_data / "nichart" / f"{name}.nii.gz")
    assert fullest_slice(volume.data, volume.grid.spacing) in range(*brain)
