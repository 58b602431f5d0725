"""Small model folders for the tests."""

import numpy as np
import torch

from napari_cead import zoo
from napari_cead.detection.evidence import KINDS, SHARES
from napari_cead.models import ModelSpec, UNetOptions, build
from napari_cead.models.networks import NETWORKS

SPEC = ModelSpec(name="tiny", family="vae", feature_maps=(4, 8), latent=5, coord_conv=True, image_size=20)
WEIGHTS, CARD = "model.safetensors", "model.json"


def network(seed=0, architecture=SPEC):
    torch.manual_seed(seed)
    return build(architecture)


def card(name="mine", **more):
    preprocessing = zoo.Preprocessing(image_size=20)
    return zoo.ModelCard(**({"name": name, "spec": SPEC, "preprocessing": preprocessing} | more))


def save(folder, seed=0, half=False, **more):
    return zoo.save_model(network(seed), card(folder.name, **more), folder, half=half)


def one_sentence(error):
    text = str(error.value)
    assert "\n" not in text and ";" in text, text  # what is wrong; how to mend it
    return text


def two_heads(folder, seed=1, **more):
    """A model with a second head, and tables of what healthy tissue gives."""
    spec = ModelSpec(
        name="two",
        family="unet",
        feature_maps=(4, 8),
        latent=0,
        image_size=64,
        unet=UNetOptions(working_size=0, predicts_lesion=True, mirror_input=True, adds_input=True),
    )
    module = network(seed, spec)
    with torch.no_grad():
        for head in (module.head, module.lesion_head):
            torch.nn.init.normal_(head.weight, std=0.3)
    tails = {name: tuple(np.linspace(0, 0.3, len(SHARES))) for name in KINDS}
    wanted = zoo.Preprocessing(image_size=64, intensity="volume-tissue", spacing=(0.94, 0.94))
    made = zoo.ModelCard(name=folder.name, spec=spec, preprocessing=wanted, tails=tails, **more)
    return zoo.save_model(module, made, folder)


def ensemble_of(folder, members, statistics=None, **more):
    """An ensemble of model folders, with the card of the first but for its name, architecture and what is given."""
    models = [zoo.load_model(str(member), "cpu") for member in members]
    first = models[0].card
    family = NETWORKS.find("denoiser-ensemble" if first.spec.denoising else "ensemble")
    spec = ModelSpec(**family.spec_of([model.card.spec for model in models]))
    module = build(spec)
    for place, model in zip(module.members, models, strict=True):
        place.load_state_dict(model.module.state_dict())
    update = {"name": folder.name, "spec": spec, "statistics": ()} | more
    return zoo.save_model(module, first.model_copy(update=update), folder, statistics=statistics)
