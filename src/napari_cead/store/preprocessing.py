"""Preparation of slices for a training: that of the base model, or the design's own.

The command line and the Train dock both use this module, so that they prepare the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ParameterError, StoreError
from ..models.networks import find_design
from ..slices.geometry import RESAMPLE_BEYOND
from ..zoo import ModelCard, Preprocessing
from .index import StoreSettings

PAPER = Preprocessing()
"""The paper's: pixels of 0.94 mm, a crop of 196 x 196, the brain's 99.5th percentile at 1."""


def preprocessing_for(designs: str | Sequence[str], base: ModelCard | None = None) -> Preprocessing:
    """Return the preparation of patients for a training.

    Args:
        designs: The named design that is trained, or several that share a store.
        base: Card of the model that is fine-tuned: its own preprocessing, whatever the design; None: from scratch.

    Returns:
        The preprocessing; its sequence is that of the base, unless the caller chooses another.

    Raises:
        ParameterError: If designs that share a store need different slices.
    """
    if base is not None:
        return base.preprocessing
    names = [designs] if isinstance(designs, str) else list(designs)
    wanted = {name: Preprocessing(**find_design(name)[1].preprocessing) for name in names}
    first, *others = names
    for name in others:
        if wanted[name] != wanted[first]:
            raise ParameterError(
                f"{first} needs slices of {described(wanted[first])}, {name} of {described(wanted[name])}",
                hint="train them one by one, or give a store that napari-cead prepare made for all of them",
            )
    return wanted[first]


def preprocessing_in(settings: StoreSettings) -> Preprocessing:
    """Return the preparation of a store's slices, in the form of a model's card."""
    return Preprocessing(sequence=settings.sequence, **store_options(settings))


def store_options(wanted: Preprocessing) -> dict[str, Any]:
    """Return the options of :func:`~napari_cead.store.prepare.prepare` for such slices."""
    return {"intensity": wanted.intensity, "spacing": wanted.spacing, "image_size": wanted.image_size}


def prepare_command(wanted: Preprocessing, assume_healthy: bool = False) -> str:
    """Return the command that prepares such slices, with square pixels, without the two folders."""
    words = ["napari-cead", "prepare", "COHORT", "--out", "STORE"]
    words += ["--spacing", f"{wanted.spacing[0]:g}", "--image-size", str(wanted.image_size)]
    words += ["--intensity", wanted.intensity]
    return shlex.join([*words, "--assume-healthy"] if assume_healthy else words)


def described(settings: Preprocessing) -> str:
    """Return a short description of the preparation: ``"128 pixels of 1.5 mm with intensity volume-tissue"``."""
    y, x = settings.spacing
    size = f"{y:g}" if y == x else f"{y:g} x {x:g}"
    return f"{settings.image_size} pixels of {size} mm with intensity {settings.intensity}"


def check_prepared(has: StoreSettings, wanted: Preprocessing, model: str, store: Path) -> None:
    """Refuse to fine-tune a model on slices that were prepared differently from its own.

    Spacings may differ as much as a scan's and a model's may: beyond that, scans are resampled.

    Args:
        has: The preparation of the store.
        wanted: The model's preprocessing.
        model: Name of the model.
        store: Path of the store.

    Raises:
        StoreError: If they differ.
    """
    near = all(
        abs(now / was - 1) <= RESAMPLE_BEYOND for now, was in zip(has.spacing, wanted.spacing, strict=True)
    )
    if near and (has.intensity, has.image_size) == (wanted.intensity, wanted.image_size):
        return
    hint = "give --data the folder of patients, which is then prepared for the model"
    if wanted.spacing[0] == wanted.spacing[1]:
        hint = "give --data the folder of patients, or prepare another store: "
        hint += prepare_command(wanted, has.assume_healthy)
    raise StoreError(
        f"the store holds slices of {described(has)}, {model} was trained on {described(wanted)}",
        file=store,
        hint=hint,
    )
