"""Small model folders for the tests."""

import torch

from napari_cead import zoo
from napari_cead.models import ModelSpec, build

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
