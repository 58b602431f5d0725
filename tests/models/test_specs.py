import pytest
from pydantic import ValidationError

from napari_cead.errors import ParameterError
from napari_cead.models import MODEL_NAMES, ModelSpec, build, spec


def test_names_are_the_eight_of_the_paper():
    assert MODEL_NAMES == ("ae", "ce-ae", "vae1", "ce-vae1", "vae2", "ce-vae2", "vq-vae", "ce-vq-vae")


@pytest.mark.parametrize("base", ["ae", "vae1", "vae2", "vq-vae"])
@pytest.mark.parametrize("size", ["paper", "small"])
def test_context_encoding_changes_the_training_not_the_layers(base, size):
    plain, twin = spec(base, size).model_dump(), spec(f"ce-{base}", size).model_dump()
    assert {key for key in plain if plain[key] != twin[key]} == {"name", "context_encoding"}
    assert twin["context_encoding"] and not plain["context_encoding"]


def test_a_spec_survives_json_and_cannot_be_changed():
    original = spec("ce-vae1", "small")
    assert ModelSpec.model_validate_json(original.model_dump_json(), strict=True) == original
    with pytest.raises(ValidationError):
        original.latent = 3
    with pytest.raises(ValidationError):
        ModelSpec.model_validate(original.model_dump() | {"dropout": 0.1})


@pytest.mark.parametrize(
    ("name", "size", "image_size", "words"),
    [
        ("vae3", "paper", 196, "vae3.*ce-vae1"),
        ("ce-", "paper", 196, "ce-"),
        ("ae", "large", 196, "large.*paper or small"),
        ("ae", "custom", 196, "custom"),
        ("vae1", "paper", 15, "too small.*16 pixels"),
        ("vae1", "small", 31, "too small.*32 pixels"),
        ("vae1", "small", 0, "image_size"),
    ],
)
def test_wrong_wishes_are_one_sentence(name, size, image_size, words):
    with pytest.raises(ParameterError, match=words) as caught:
        build(name, size, image_size)
    assert "\n" not in str(caught.value)


def test_the_smallest_image_has_one_pixel_left():
    assert spec("vae1", "paper", 16).sizes == (16, 8, 4, 2, 1)
    assert spec("vae1", "paper", 196).sizes == (196, 98, 49, 24, 12)


@pytest.mark.parametrize(
    "change",
    [{"codes": 0}, {"residual_maps": 0}, {"feature_maps": (8,)}, {"coord_conv": True}, {"family": "ae"}],
)
def test_impossible_specs_are_refused(change):
    with pytest.raises(ValidationError):
        ModelSpec.model_validate(spec("vq-vae").model_dump() | change)
