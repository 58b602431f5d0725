"""What of a model's card goes out with an export: what the model is and how it was trained, not where and on whom.

A card that this program writes names no patient and no file. It holds the version of the operating system, the names
that the user gave to earlier models, and the user's notes; a card from elsewhere may hold anything in its summary of
the training, which has no fixed layout. So what is known to be harmless is kept, and the rest is not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .card import ModelCard, Parent
from .finding import bundled_names

ANOTHER = "another-model"
"""What a private card calls an earlier model that does not come with the program; its checksum still tells which."""

_KEYS = frozenset(
    {
        # The summary of a training.
        *(
            "patients",
            "slices",
            "validation_patients",
            "validation_slices",
            "assume_healthy",
            "data_fingerprint",
        ),
        *(
            "planned_epochs",
            "epochs",
            "steps",
            "best_epoch",
            "train_loss",
            "validation_loss",
            "minutes",
            "losses",
        ),
        *("versions", "curve", "calibration"),
        # Its settings.
        *("batch_size", "learning_rate", "schedule", "seed", "beta", "commitment", "codebook_decay"),
        *(
            "reset_dead_codes",
            "corruption",
            "augmentation",
            "clip",
            "patience",
            "freeze_encoder",
            "precision",
        ),
        *("optimizer", "weight_decay", "loss", "bright_limit", "emphasis", "small_emphasis", "balance"),
        *("kind", "squares", "largest_side", "inside_brain", "fill", "sigma", "cells", "length_mm"),
        *("patches", "lesions", "diameter_mm", "rim_mm", "irregularity", "darker", "blending", "sparing"),
        *("parts", "share", "together"),
        *("flip", "intensity", "contrast", "bias", "scale", "rotation", "shift", "blur", "rim"),
        # What a calibration found.
        *(
            "grid",
            "validation_lesion_patients",
            "healthy_quantile",
            "validation_dice_patient",
            "healthy_psnr",
        ),
        *("healthy_psnr_brain", "healthy_ssim", "healthy_slices", "residual", "positive-residual"),
        *("smoothed-residual", "residual-times-intensity", "smoothed-times-intensity", "bright-and-changed"),
        # Versions of packages. Not that of the platform: a Linux kernel may be named after the site that built it.
        *(
            "napari-cead",
            "torch",
            "numpy",
            "scipy",
            "opencv-python-headless",
            "nibabel",
            "SimpleITK",
            "pydicom",
            "pynrrd",
            "python",
        ),
    }
)
_WORD = re.compile(r"[A-Za-z0-9.+_-]{1,64}")
"""A checksum, a version or the name of a method: no path, and no sentence."""


def private_card(card: ModelCard) -> ModelCard:
    """Return a card without what may name people, places or machines.

    Gone are the notes, the names of earlier models (but for bundled ones; the checksums stay), and of the training
    what is not a known setting or figure. The name and the description stay: they are what the model is called.
    """
    known = bundled_names()
    parents = tuple(
        parent if parent.name in known else Parent(name=ANOTHER, sha256=parent.sha256)
        for parent in card.parents
    )
    return card.model_copy(
        update={"notes": "", "parents": parents, "training": _harmless(card.training)},
    )


def withheld(card: ModelCard) -> tuple[str, ...]:
    """Return what `private_card` leaves out of this card, by name, for instance ``"versions.platform"``."""
    private = private_card(card)
    parents = [
        parent.name for parent, kept in zip(card.parents, private.parents, strict=True) if parent != kept
    ]
    return (
        *(("notes",) if card.notes else ()),
        *(f"the name {name}" for name in parents),
        *_missing(card.training, private.training),
    )


def _harmless(values: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: _value(value) for key, value in values.items() if key in _KEYS}
    return {key: value for key, value in kept.items() if value is not _DROPPED}


_DROPPED = object()


def _value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _harmless(value)
    if isinstance(value, list | tuple):
        items = [_value(item) for item in value]
        return _DROPPED if _DROPPED in items else items
    if isinstance(value, str):
        return value if _WORD.fullmatch(value) else _DROPPED
    return value


def _missing(whole: Mapping[str, Any], kept: Mapping[str, Any], place: str = "") -> list[str]:
    missing = []
    for key, value in whole.items():
        if key not in kept:
            missing.append(place + key)
        elif isinstance(value, Mapping):
            missing += _missing(value, kept[key], f"{place}{key}.")
    return missing
