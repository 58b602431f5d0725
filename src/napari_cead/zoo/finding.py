"""Which models there are: the bundled ones and the installed ones. Nothing here imports torch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from platformdirs import user_data_dir

from ..errors import CeadError, ModelError, OutputError, ParameterError
from ..resources import sample_data
from .card import CARD_FILE, WEIGHTS_FILE, ModelCard, load_card
from .weights import PICKLES, find_weights, only_safetensors

if TYPE_CHECKING:
    import torch

    from .storage import Detector

Where = Literal["bundled", "installed"]


@dataclass(frozen=True)
class ModelInfo:
    """One line of the list of models.

    Attributes:
        name: What to call it in ``load_model``.
        where: ``"bundled"`` with the program, or ``"installed"`` by the user.
        folder: Its folder.
        family: Family of the network.
        parameters: Number of weights, or None if unknown.
        description: What it is.
        size: Bytes on disk.
        score: Suggested anomaly score, or None.
    """

    name: str
    where: Where
    folder: Path
    family: str
    parameters: int | None
    description: str
    size: int
    score: str | None


def models_folder() -> Path:
    """Return the folder of the installed models: in ``NAPARI_CEAD_HOME``, or the platform's user data folder."""
    home = os.environ.get("NAPARI_CEAD_HOME")
    return (
        Path(home).expanduser() if home else Path(user_data_dir("napari-cead", appauthor=False))
    ) / "models"


def find_models() -> dict[str, Path]:
    """Return the folders of all whole models by name; an installed one hides the bundled one of the same name."""
    return {name: folder for name, (_, folder, found) in _scan().items() if isinstance(found, ModelCard)}


def damaged_models() -> dict[str, ModelError]:
    """Return what is wrong with the model folders that cannot be used, by name."""
    return {name: found for name, (_, _, found) in _scan().items() if isinstance(found, ModelError)}


def list_models() -> list[ModelInfo]:
    """Return a line about each whole model, in the order of their names."""
    lines = []
    for name, (where, folder, card) in _scan().items():
        if isinstance(card, ModelCard):
            size = sum((folder / file).stat().st_size for file in (CARD_FILE, WEIGHTS_FILE))
            score = card.suggestions[0].score if card.suggestions else None
            parameters = card.parameters or None
            lines.append(
                ModelInfo(name, where, folder, card.spec.family, parameters, card.description, size, score)
            )
    return lines


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
        if path.name in (CARD_FILE, WEIGHTS_FILE):
            return path.parent
        raise ModelError(
            "this file is not a model", file=path, mend=f"give a folder with {CARD_FILE} and {WEIGHTS_FILE}"
        )
    names = ", ".join(find_models()) or "none"
    raise ModelError(
        "there is no model of this name and no such folder",
        file=name_or_folder,
        mend=f"use a model folder or one of the models found here: {names}",
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
    from .storage import load_folder

    folder = find_model(name_or_folder)
    listed = any(folder.parent == root for _, root in _roots())
    return load_folder(folder, folder.name if listed else load_card(folder).name, device)


def install_model(source: str | Path, name: str | None = None, *, replace: bool = False) -> Path:
    """Copy a model folder to the installed models, after checking it.

    Args:
        source: A model folder.
        name: What to call it; None: the name on its card.
        replace: Whether an installed model of that name may be replaced.

    Returns:
        The folder it is in now.

    Raises:
        ModelError: If the source is not a whole model.
        OutputError: If a model of that name is installed, or the folder cannot be written.
        ParameterError: If the name cannot be a model's.
    """
    from .storage import copy_model

    folder = find_model(source)
    wanted = name or load_card(folder).name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", wanted):
        raise ParameterError(
            f"{wanted!r} cannot be the name of a model",
            mend="use up to 64 letters, digits, dots, dashes and underscores",
        )
    target = models_folder() / wanted
    if target.exists() and not replace:
        raise OutputError(
            "a model of this name is installed",
            file=target,
            mend="choose another name, or allow replacing it",
        )
    return copy_model(folder, target, wanted)


def export_model(name_or_folder: str | Path, folder: str | Path) -> Path:
    """Copy a model to a folder of the user's, after checking it.

    Args:
        name_or_folder: The model.
        folder: Where to put it; an existing model there is replaced.

    Raises:
        ModelError: If there is no such model, or it is damaged.
        OutputError: If the folder cannot be written, or holds something other than a model.
    """
    from .storage import copy_model

    return copy_model(find_model(name_or_folder), Path(folder))


def _roots() -> Iterator[tuple[Where, Path]]:
    """Give the folders that hold models, the one that wins first."""
    yield "installed", models_folder()
    with suppress(CeadError):
        yield "bundled", sample_data() / "models"


def _scan() -> dict[str, tuple[Where, Path, ModelCard | ModelError]]:
    """Return each model folder by name with its card or what is wrong with it."""
    found: dict[str, tuple[Where, Path, ModelCard | ModelError]] = {}
    for where, root in _roots():
        try:
            folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
        except OSError:  # none installed yet
            continue
        for folder in folders:
            card: ModelCard | ModelError
            try:
                card = load_card(folder)
                find_weights(folder)
            except ModelError as error:
                card = error
            if folder.name not in found:
                found[folder.name] = (where, folder, card)
    return dict(sorted(found.items()))
