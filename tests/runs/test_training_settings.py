import math
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError

from batch_losses import objective
from napari_cead.errors import ParameterError
from napari_cead.models import build
from napari_cead.models.specs import DENOISER_NAMES, MODEL_NAMES, ModelSpec, spec
from napari_cead.runs.training_settings import belongs, rate
from napari_cead.training import CoarseNoise, ContextEncoding, Mixture, TrainingSettings
from napari_cead.training.presets import training_settings


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_the_papers_preset_is_the_paper(name):
    found = training_settings(name, preset="paper")
    assert (found.epochs, found.learning_rate, found.batch_size) == (200, 1e-4, 64)
    assert found.spec == spec(name, "paper") and found.spec.image_size == 196
    assert isinstance(found.corruption, ContextEncoding)
    assert found.corruption.squares == (1, 1) and found.commitment == 1.0
    assert found.augmentation is None and found.codebook_decay is None and found.patience is None
    assert found.schedule == "constant"


@pytest.mark.parametrize("name", DENOISER_NAMES)
@pytest.mark.parametrize(("preset", "size"), [(None, "paper"), ("paper", "paper"), ("small", "small")])
def test_a_denoiser_has_settings_of_its_own_whatever_the_preset(name, preset, size):
    found = training_settings(name, preset=preset)
    assert found.spec == spec(name, size)
    usual = (1e-3, 16, "linear") if name == "dae" else (1.5e-3, 8, "one-cycle")
    assert (found.learning_rate, found.batch_size, found.schedule) == usual
    assert found.balance == ("slices" if name == "dae" else "folders")
    assert (found.optimizer, found.loss) == ("adamw", "absolute")
    assert found.epochs == (16 if preset == "small" else 200)
    assert found.augmentation is not None and found.codebook_decay is None
    assert isinstance(found.corruption, CoarseNoise if name == "dae" else Mixture)


@pytest.mark.parametrize("name", MODEL_NAMES)
@pytest.mark.parametrize("preset", [None, "paper", "small"])
def test_the_papers_designs_keep_their_losses(name, preset):
    found = training_settings(name, preset=preset)
    assert (found.optimizer, found.loss, found.bright_limit) == ("adam", "squared", None)
    for change in ({"loss": "absolute"}, {"bright_limit": 1.4}, {"emphasis": 4.0}, {"small_emphasis": 2.0}):
        with pytest.raises(ParameterError, match="belongs to dae and ce-unet"):
            training_settings(name, preset=preset, **change)


def test_a_custom_network_is_fine_tuned_in_its_own_shape():
    values = spec("dae", "small").model_dump() | {"size": "custom", "feature_maps": (4, 8)}
    parent = ModelSpec.model_validate(values)
    found = training_settings("dae", parent=parent)
    assert found.spec == parent and found.learning_rate == pytest.approx(2e-4)
    assert training_settings("dae", spec=values).spec == parent


def test_what_is_given_wins_over_the_preset():
    found = training_settings("ae", preset="paper", size="small", epochs=3, learning_rate=None)
    assert (found.spec.size, found.epochs, found.learning_rate) == ("small", 3, 1e-4)


def test_fine_tuning_takes_the_parents_size_and_a_lower_rate():
    found = training_settings("vae1", parent=spec("ce-vae1", "small"))
    assert found.spec.size == "small" and found.learning_rate == pytest.approx(2e-5)
    assert training_settings("vae1", parent=spec("vae1"), learning_rate=0.1).learning_rate == 0.1


@pytest.mark.parametrize(
    "values",
    [{"epochs": 0}, {"batch_size": -1}, {"learning_rate": math.nan}, {"seed": -1}, {"precision": "8"}],
)
def test_what_is_out_of_range_is_one_sentence(values):
    with pytest.raises(ParameterError) as error:
        training_settings("ae", **values)
    assert next(iter(values)).replace("_", " ") in str(error.value) and "\n" not in str(error.value)


def test_unknown_names_are_one_sentence():
    for arguments in ({"model": "resnet"}, {"model": "ae", "preset": "huge"}):
        with pytest.raises(ParameterError) as error:
            training_settings(**arguments)
        assert "use one of" in str(error.value)


def test_settings_survive_json():
    found = training_settings("ce-vq-vae", preset="small", clip=1.0)
    assert TrainingSettings.model_validate_json(found.model_dump_json()) == found


def test_the_learning_rate_follows_its_schedule():
    factors = [rate(step, 200, "one-cycle") for step in range(200)]
    assert factors[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert factors[20] == 1.0 and factors[110] == pytest.approx(0.5) and factors[-1] < 1e-3
    assert all(first >= second for first, second in pairwise(factors[20:]))
    falling = [rate(step, 200, "linear") for step in range(200)]
    assert falling == pytest.approx([1 - step / 200 for step in range(200)])
    assert {rate(step, 200, "constant") for step in range(200)} == {1.0}


OF_A_DESIGN = {
    "beta": (4.0, "vae1, ce-vae1, vae2 and ce-vae2"),
    "commitment": (0.25, "vq-vae and ce-vq-vae"),
    "codebook_decay": (0.99, "vq-vae and ce-vq-vae"),
    "reset_dead_codes": (True, "vq-vae and ce-vq-vae"),
    "corruption": (CoarseNoise(), "ce-ae, ce-vae1, ce-vae2, ce-vq-vae, dae and ce-unet"),
    "loss": ("absolute", "dae and ce-unet"),
    "bright_limit": (1.4, "dae and ce-unet"),
    "emphasis": (4.0, "dae and ce-unet"),
    "small_emphasis": (2.0, "dae and ce-unet"),
    "lesion_weight": (0.3, "ce-unet"),
}


@pytest.mark.parametrize("name", [*MODEL_NAMES, *DENOISER_NAMES])
@pytest.mark.parametrize("setting", OF_A_DESIGN)
def test_a_setting_that_does_nothing_for_a_design_is_refused_with_those_it_belongs_to(name, setting):
    value, owners = OF_A_DESIGN[setting]
    if name in owners.replace(" and ", ", ").split(", "):
        assert getattr(training_settings(name, **{setting: value}), setting) == value
        return
    words = f"{setting} does nothing for {name}: it belongs to {owners}"
    with pytest.raises(ParameterError, match=words):
        training_settings(name, **{setting: value})
    with pytest.raises(ValidationError, match=words):
        TrainingSettings(spec=spec(name), **{setting: value})


@pytest.mark.parametrize("name", [*MODEL_NAMES, *DENOISER_NAMES])
def test_what_each_setting_does_is_what_its_owners_losses_show(name):
    """An independent look at who uses what: a setting matters where the objective changes with it."""
    torch.manual_seed(0)
    small = spec(name, "small", 64)
    network = build(small)
    images = torch.rand(2, 1, 64, 64)
    corrupted = images.clone()
    corrupted[..., 20:40, 20:40] = 0.2

    def total(**change):
        options = {"denoising": "squared" if small.denoising else None, **change}
        generator = torch.Generator().manual_seed(1)
        other = corrupted if small.corrupts else None
        return float(objective(network, images, other, generator=generator, **options).total.detach())

    usual = total()
    changes = {"beta": 4.0, "commitment": 0.25, "emphasis": 4.0, "small_emphasis": 5.0, "bright_limit": 1.01}
    changes["lesion_weight"] = 0.3
    for setting, value in changes.items():
        assert (total(**{setting: value}) != usual) == belongs(setting, small), setting
    assert (total(codebook="ema") != usual) == belongs("codebook_decay", small)
