"""Find the available models: the bundled and the installed ones. Nothing here imports torch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from platformdirs import user_data_dir

from ..errors import ModelError, ModelNotFoundError
from ..models.specs import MODEL_NAMES
from ..resources import bundled_models
from .archive import is_archive
from .card import CARD_FILE, HUB_CARD_FILE, WEIGHTS_FILE, ModelCard, card_file, load_card
from .storage import Detector, load_folder
from .weights import PICKLES, check_whole, find_weights, only_safetensors

if TYPE_CHECKING:
    import torch

Where = Literal["bundled", "installed"]

DEFAULT_MODEL = "ce-unet"
"""The model of a new dock, and of a detection that names none."""

PAPER_EXTRA = 'pip install "napari-cead[paper]"'
"""Installs all of the paper's models that the program itself does not hold."""


@dataclass(frozen=True)
class ModelInfo:
    """One line of the list of models.

    Attributes:
        name: The name for ``load_model``.
        where: ``"bundled"`` with the program, or ``"installed"`` by the user.
        folder: Its folder.
        family: Family of the network.
        parameters: Number of weights, or None if unknown.
        description: The description on its card.
        size: Bytes on disk.
        score: Suggested anomaly score, or None.
        hides_bundled: Whether an installed model hides the bundled one of the same name.
        problem: The fault, in one sentence; None if nothing shows without reading all the weights.
        sha256: Checksum of its weights, or None if unknown.
    """

    name: str
    where: Where
    folder: Path
    family: str
    parameters: int | None
    description: str
    size: int
    score: str | None
    hides_bundled: bool = False
    problem: str | None = None
    sha256: str | None = None


def models_folder() -> Path:
    """Return the folder of the installed models: in ``NAPARI_CEAD_HOME``, or the platform's user data folder."""
    home = os.environ.get("NAPARI_CEAD_HOME")
    return (
        Path(home).expanduser() if home else Path(user_data_dir("napari-cead", appauthor=False))
    ) / "models"


def bundled_names() -> set[str]:
    """Return the names of the bundled models, and those of the paper's that are bundled with a package of their own."""
    return {
        folder.name
        for root in bundled_models()
        if root.is_dir()
        for folder in root.iterdir()
        if folder.is_dir() and not folder.name.startswith(("_", "."))
    } | {*MODEL_NAMES}


def missing_models() -> tuple[str, ...]:
    """Return the names of the paper's models that are not here: see ``PAPER_EXTRA``."""
    roots = [root for _, root in _roots()]
    return tuple(name for name in MODEL_NAMES if not any((root / name).is_dir() for root in roots))


def find_models() -> dict[str, Path]:
    """Return the folders of all complete models by name; an installed one hides the bundled one of the same name."""
    return {name: found.folder for name, found in _scan().items() if isinstance(found.card, ModelCard)}


def damaged_models() -> dict[str, ModelError]:
    """Return the faults of the model folders that cannot be used, by name."""
    return {name: found.card for name, found in _scan().items() if isinstance(found.card, ModelError)}


def list_models(*, damaged: bool = False) -> list[ModelInfo]:
    """Return a line for each complete model, in the order of their names.

    Args:
        damaged: Whether to include the model folders that cannot be used, with their faults.
    """
    return [
        _info(name, found)
        for name, found in _scan().items()
        if damaged or not isinstance(found.card, ModelError)
    ]


def find_model(name_or_folder: str | Path) -> Path:
    """Return the folder of a model, given its name, its folder, or a file of that folder.

    Raises:
        ModelError: If there is no such model, or the file is of another kind.
    """
    path = Path(name_or_folder).expanduser()
    if isinstance(name_or_folder, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name_or_folder):
        for _, root in _roots():
            # A damaged installed model is an error later, never silently replaced by the bundled one.
            if (root / name_or_folder).is_dir():
                return root / name_or_folder
    if path.suffix.lower() in PICKLES and not path.is_dir():
        raise only_safetensors(path)
    if path.is_dir():
        return path
    if path.is_file():
        if path.name in (CARD_FILE, HUB_CARD_FILE, WEIGHTS_FILE):
            return path.parent
        if is_archive(path):
            raise ModelNotFoundError(
                "a model in a zip file has to be installed before it can be used",
                file=path,
                hint=f"run: napari-cead models install {path}",
            )
        raise ModelNotFoundError(
            "this file is not a model", file=path, hint=f"give a folder with {CARD_FILE} and {WEIGHTS_FILE}"
        )
    if name_or_folder in MODEL_NAMES:
        raise ModelNotFoundError(
            "this model of the paper is in a package of its own, which is not installed",
            file=name_or_folder,
            hint=f"run: {PAPER_EXTRA}",
        )
    names = ", ".join(find_models()) or "none"
    raise ModelNotFoundError(
        "there is no model of this name and no such folder",
        file=name_or_folder,
        hint=f"use a model folder or one of the models found here: {names}",
    )


def load_model(name_or_folder: str | Path, device: str | torch.device = "auto") -> Detector:
    """Load a model. Nothing in a model folder can run code: weights are read from safetensors only.

    Args:
        name_or_folder: Name of a bundled or installed model, or a model folder.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.

    Raises:
        ModelError: If there is no such model, or it is damaged.
        ParameterError: If there is no such device.
    """
    folder = find_model(name_or_folder)
    listed = any(folder.parent == root for _, root in _roots())
    return load_folder(folder, folder.name if listed else load_card(folder).name, device)


def _roots() -> Iterator[tuple[Where, Path]]:
    """Yield the folders of models, the one with priority first."""
    yield "installed", models_folder()
    for folder in bundled_models():
        yield "bundled", folder


@dataclass
class _Found:
    """A model folder, with its card or its fault."""

    where: Where
    folder: Path
    card: ModelCard | ModelError
    hides_bundled: bool = False


def _scan() -> dict[str, _Found]:
    """Return each model folder by name."""
    found: dict[str, _Found] = {}
    for where, root in _roots():
        try:
            folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(("_", ".")))
        except OSError:  # none installed yet
            continue
        for folder in folders:
            if folder.name in found:
                found[folder.name].hides_bundled = found[folder.name].where == "installed"
                continue
            card: ModelCard | ModelError
            try:
                card = load_card(folder)
                check_whole(find_weights(folder))
            except ModelError as error:
                card = error
            found[folder.name] = _Found(where, folder, card)
    return dict(sorted(found.items()))


def _info(name: str, found: _Found) -> ModelInfo:
    files = (card_file(found.folder), found.folder / WEIGHTS_FILE)
    size = sum(file.stat().st_size for file in files if file.is_file())
    card, problem = (None, str(found.card)) if isinstance(found.card, ModelError) else (found.card, None)
    return ModelInfo(
        name,
        found.where,
        found.folder,
        family="" if card is None else card.spec.family,
        parameters=None if card is None else card.parameters or None,
        description="" if card is None else card.description,
        size=size,
        score=card.suggestions[0].score if card is not None and card.suggestions else None,
        hides_bundled=found.hides_bundled,
        problem=problem,
        sha256=None if card is None else card.sha256 or None,
    )
