"""The same picture gives the same result, however its numbers are stored; what makes a map doubtful is said once."""

import numpy as np
import pytest
from PIL import Image

import napari_cead as cead
from heads import add_head, make_stripped
from napari_cead.detection import PostprocessParams, detect
from napari_cead.detection.scan_warnings import contrast_doubt
from napari_cead.patients import Patient
from napari_cead.slices import slice_stack
from napari_cead.zoo import load_card
from napari_cead.zoo.card import ContrastRange
from scans import write_nifti

PARAMS = PostprocessParams(threshold=0.1)


@pytest.fixture(scope="module")
def detector(model_folder):
    return cead.load_model(str(model_folder), "cpu")


def found(volume, detector, **options):
    options = {"spacing": (3, 0.94, 0.94), **options}
    return detect(Patient.from_arrays({"flair": volume}, **options), detector, PARAMS)


PICTURE = np.rint(np.clip(make_stripped(), 0, 255))
"""A brain of whole grey values up to 255, with dark liquid."""


@pytest.mark.parametrize(
    "stored",
    [
        PICTURE.astype(np.uint8),
        PICTURE.astype(np.int16),
        (PICTURE * 257).astype(np.uint16),
        (PICTURE / 255).astype(np.float32),
        (PICTURE / 255).astype(np.float16),
        PICTURE * 1e-20,
        PICTURE * 1e20,
        PICTURE - 1024,
        PICTURE + 50.0,
        np.where(PICTURE == 0, -1024, PICTURE),
        np.where(PICTURE == 0, 1e5, PICTURE),
        (PICTURE - PICTURE.mean()) / PICTURE.std(),
    ],
    ids=["uint8", "int16", "uint16", "float", "half", "tiny", "huge", "-1024", "+50", "padded", "white", "z"],
)
def test_however_the_numbers_are_stored(stored, detector):
    plain, other = found(PICTURE, detector), found(stored, detector)
    tolerance = 5e-3 if stored.dtype == np.float16 else 1e-4
    np.testing.assert_allclose(other.input, plain.input, atol=tolerance)
    np.testing.assert_allclose(other.anomaly_map, plain.anomaly_map, atol=tolerance)
    assert cead.dice(other.mask, plain.mask) > 0.99
    assert plain.mask.any()


def test_pictures_of_8_and_16_bits_and_floats_in_nifti_agree(tmp_path, detector, quiet):
    (tmp_path / "eight").mkdir()
    (tmp_path / "sixteen").mkdir()
    image = PICTURE[8]
    Image.fromarray(image.astype(np.uint8)).save(tmp_path / "eight" / "a.png")
    Image.fromarray((image * 257).astype(np.uint16)).save(tmp_path / "sixteen" / "a.png")
    canonical = (image / 255)[:, ::-1]  # column 0 of a picture is the patient's left
    stored = canonical[::-1, ::-1].T[..., None]  # RAS
    write_nifti(tmp_path / "flair.nii.gz", stored, np.diag([0.94, 0.94, 1, 1]))
    maps = []
    for place in ("eight/a.png", "sixteen/a.png", "flair.nii.gz"):
        patient = cead.load_patient(tmp_path / place)
        maps.append(detect(patient, detector, PARAMS).anomaly_map)
    assert maps[0].any()
    for other in maps[1:]:
        np.testing.assert_allclose(other, maps[0], atol=1e-5)


@pytest.mark.parametrize("pixel", [0.5, 0.94, 2.0])
def test_a_lesion_lies_at_the_same_millimetres_whatever_the_pixels(pixel, detector):
    """An off-centre disk of 12 mm in a round brain of 130 mm, scored by its intensity."""
    size = int(np.ceil(180 / pixel))
    y, x = (np.indices((size, size)) + 0.5) * pixel - 90
    brain = y**2 + x**2 < 65**2
    lesion = (y + 20) ** 2 + (x - 25) ** 2 < 12**2
    texture = 100 + 5 * np.sin(y / 9) * np.cos(x / 7)
    volume = np.repeat(np.where(brain, np.where(lesion, 400, texture), 0)[None], 3, axis=0)
    patient = Patient.from_arrays({"flair": volume}, spacing=(3, pixel, pixel))
    result = detect(patient, detector, PostprocessParams(threshold=0.6, dilation_radius=0), "intensity")
    assert result.mask.shape == volume.shape
    assert result.mask.dtype == bool
    rows, columns = np.nonzero(result.mask[1])
    assert abs(((rows + 0.5) * pixel - 90).mean() + 20) < 0.5
    assert abs(((columns + 0.5) * pixel - 90).mean() - 25) < 0.5
    area = result.mask[1].sum() * pixel**2
    assert area == pytest.approx(np.pi * 12**2, rel=0.06)
    resampled = any("resampled to the model's 0.94 x 0.94 mm" in note for note in result.warnings)
    assert resampled == (pixel != 0.94)
    # On the model's grid the lesion has the size that the model knows.
    images = slice_stack(patient, size=196).images[1]
    assert (images > 0.6).sum() * 0.94**2 == pytest.approx(np.pi * 12**2, rel=0.08)
    assert not result.anomaly_map[:, ~brain].any()


def notes_of(volume, detector):
    return found(volume, detector).warnings


@pytest.mark.parametrize("contrast", ["t1", "t2"])
def test_another_contrast_is_told(contrast, detector):
    (note,) = notes_of(make_stripped(contrast=contrast), detector)
    assert note == (
        f"the intensities look like {contrast.upper()}, tiny was trained on flair: the anomaly map may be meaningless"
    )


def test_the_right_contrast_is_not_told(detector):
    assert notes_of(make_stripped(), detector) == ()


def test_a_skull_is_told_once_and_the_contrast_then_is_not(detector):
    (note,) = notes_of(add_head(make_stripped(contrast="t2")), detector)
    assert note.startswith("not skull-stripped")
    assert note.endswith("has a meaningless anomaly map")


def test_a_sequence_of_another_name_is_told_once(detector):
    patient = Patient.from_arrays({"t2": make_stripped(contrast="t2")}, spacing=(3, 0.94, 0.94))
    assert detect(patient, detector, PARAMS).warnings == ("tiny was trained on flair, this is t2",)


def test_what_the_model_saw_counts_more_than_a_guess(model_folder):
    card = load_card(model_folder)
    patient = Patient.from_arrays({"flair": make_stripped(contrast="t1")}, spacing=(3, 0.94, 0.94))
    stack = slice_stack(patient)
    assert contrast_doubt(patient, stack, card)
    like_t1 = ContrastRange(skewness=(-2, 0.5), rim=(0.7, 0.8))
    assert contrast_doubt(patient, stack, card.model_copy(update={"contrast": like_t1})) is None
    unlike = ContrastRange(skewness=(-2, 0.5), rim=(1.1, 1.2))
    assert "look like T1" in contrast_doubt(patient, stack, card.model_copy(update={"contrast": unlike}))


@pytest.mark.parametrize("name", ["t1_pre", "t1_gd", "t2", "flair"])
def test_a_real_scan_under_the_name_of_flair(real_data, name, tmp_path, detector, quiet):
    source = real_data / "patient26" / f"{name}.nii.gz"
    (tmp_path / "scan.nii.gz").symlink_to(source)
    patient = cead.load_patient(tmp_path / "scan.nii.gz")
    doubt = contrast_doubt(patient, slice_stack(patient), detector.card)
    assert doubt is None if name == "flair" else f"look like {name[:2].upper()}" in doubt


def test_the_bundled_models_do_not_doubt_the_sample_patient(quiet):
    patient = cead.load_patient(cead.resources.sample_data() / "Mets_001", only=True)
    stack = slice_stack(patient)
    assert contrast_doubt(patient, stack, load_card(cead.zoo.find_model("ce-vae1"))) is None
