"""The page that an exported model carries: ``README.md`` as the Hugging Face hub shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .card import WEIGHTS_FILE, ModelCard

TAGS = ("mri", "brain", "medical-imaging", "anomaly-detection", "unsupervised", "napari")

TRAINING = {
    "patients": "patients",
    "slices": "slices",
    "epochs": "epochs",
    "batch_size": "batch size",
    "learning_rate": "learning rate",
    "seed": "seed",
    "validation_loss": "loss on healthy validation slices",
}
"""By key of a card's training summary: its name in the table."""


def readme(card: ModelCard) -> str:
    """Return the page of a model; all of it comes from its card, so nothing private is added."""
    return "\n".join([*_front_matter(card), *_body(card)]) + "\n"


def _front_matter(card: ModelCard) -> Iterator[str]:
    yield "---"
    yield "library_name: napari-cead"
    yield "pipeline_tag: image-segmentation"
    yield "tags:"
    yield from (f"- {tag}" for tag in TAGS)
    yield f"model_name: {json.dumps(card.name)}"
    yield "---"


def _body(card: ModelCard) -> Iterator[str]:
    spec, wanted = card.spec, card.preprocessing
    yield f"\n# {card.name}\n"
    if card.description:
        yield f"{card.description.strip()}\n"
    yield (
        "A model of [napari-cead](https://pypi.org/project/napari-cead/), which finds lesions in brain MRI with "
        "networks that were trained on healthy slices only.\n"
    )
    yield "> **Research software, not a medical device.** Do not use it for diagnosis or treatment.\n"
    yield "## Use\n"
    yield "```sh"
    yield 'pip install "napari-cead[all]"'
    yield "napari-cead models install FOLDER      # this folder, or a zip file of it"
    yield f"napari-cead detect PATIENT --model {card.name} --out RESULTS"
    yield "```\n"
    yield f"The weights ({WEIGHTS_FILE}) are safetensors: nothing in this folder can run code.\n"
    yield "## Model\n"
    yield from _table(
        {
            "design": f"{spec.name} ({spec.family}, size {spec.size})",
            "weights": f"{card.parameters:,} ({card.dtype})",
            "input": f"{wanted.sequence}, skull-stripped, {wanted.image_size} × {wanted.image_size} pixels of "
            f"{wanted.spacing[0]:g} × {wanted.spacing[1]:g} mm, intensity `{wanted.intensity}`",
            "sha256": f"`{card.sha256}`",
        }
    )
    if known := {
        words: card.training[key] for key, words in TRAINING.items() if card.training.get(key) is not None
    }:
        yield "## Training\n"
        yield from _table({words: _text(value) for words, value in known.items()})
    if card.suggestions:
        yield "## Suggested settings\n"
        yield "The first is the default.\n"
        yield "| score | rule | settings |"
        yield "| --- | --- | --- |"
        for each in card.suggestions:
            settings = ", ".join(
                f"{name.replace('_', ' ')} {_text(value)}" for name, value in each.params.items()
            )
            yield f"| {each.score} | {each.rule} | {settings} |"


def _table(values: Mapping[str, str]) -> Iterator[str]:
    yield "| | |"
    yield "| --- | --- |"
    for name, value in values.items():
        yield f"| {name} | {value} |"
    yield ""


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
