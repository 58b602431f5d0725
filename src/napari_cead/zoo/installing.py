"""Installing and exporting models."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import OutputError, ParameterError
from .archive import is_archive, open_archive, write_archive
from .card import ModelCard, load_card, warn_of_remarks
from .finding import bundled_names, find_model, models_folder
from .privacy import private_card
from .storage import copy_model, replacing_folder

_DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{number}" for port in ("com", "lpt") for number in range(10)),
}


def install_model(source: str | Path, name: str | None = None, *, replace: bool = False) -> Path:
    """Copy a model to the installed models, after checking it.

    Args:
        source: A model folder, or a zip file with one model, also in the layout of the Hugging Face hub.
        name: The name for the installed model; None takes the name on its card.
        replace: Whether to replace an installed model, or hide a bundled one, of that name.

    Returns:
        The folder of the installed model.

    Raises:
        ModelError: If the source is not a complete model.
        OutputError: If a model of that name is installed, or the folder cannot be written.
        ParameterError: If the name cannot be a model's.
    """
    path = Path(source).expanduser()
    if path.is_file() and is_archive(path):
        with open_archive(path) as archive:
            target = free_place(archive.card.name if name is None else name, replace)
            warn_of_remarks(archive.card)
            with replacing_folder(target) as temporary:
                archive.extract(temporary, target.name)
        return target
    folder = find_model(source)
    card = load_card(folder)
    target = free_place(card.name if name is None else name, replace)
    warn_of_remarks(card)
    return copy_model(folder, target, target.name)


def export_model(name_or_folder: str | Path, target: str | Path, *, private: bool = True) -> Path:
    """Write a model to a folder or file of the user's, after checking it.

    It has the layout that the Hugging Face hub expects: ``config.json`` (the card), ``model.safetensors`` and
    ``README.md``.

    Nothing that is written names a patient, a file or a machine, unless you ask for it: see
    :func:`~napari_cead.zoo.privacy.private_card`.

    Args:
        name_or_folder: The model.
        target: Where to put it: a zip file if its name ends in ``.zip``, or else a folder; an existing model there is
            replaced.
        private: Whether to leave out the user's notes, the names of earlier models, and any details of people,
            places and machines in the training summary.

    Returns:
        The folder or file.

    Raises:
        ModelError: If there is no such model, or it is damaged.
        OutputError: If the target cannot be written, or is something other than a model.
        ParameterError: If the target is called like an ONNX file.
    """
    path = Path(target).expanduser()
    if path.suffix.lower() == ".onnx":
        raise ParameterError(
            "a model is exported as a folder or a zip file, not as ONNX",
            file=path,
            hint="docs/how-to/sharing.md has the lines of Python that write an ONNX file",
        )
    folder = find_model(name_or_folder)
    change = _told_private_card if private else None
    if is_archive(path):
        return write_archive(folder, path, change)
    return copy_model(folder, path, change=change, hub=True)


def _told_private_card(card: ModelCard) -> ModelCard:
    warn_of_remarks(card)
    return private_card(card)


def check_name(name: str) -> str:
    """Return a name if it can be a model's, on all systems.

    Raises:
        ParameterError: If it cannot.
    """
    # Windows allows no file named after a device or ending in a dot; a model must be usable on all systems.
    if (
        not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?", name)
        or name.lower().split(".")[0] in _DEVICES
    ):
        raise ParameterError(
            f"{name!r} cannot be the name of a model",
            hint="use up to 64 letters a to z, digits, dots, dashes and underscores, and no name that Windows reserves",
        )
    return name


def free_place(name: str, replace: bool) -> Path:
    """Return the folder for an installed model of this name.

    Raises:
        OutputError: If it exists, or would hide a bundled one, and ``replace`` is false.
        ParameterError: If the name cannot be a model's.
    """
    check_name(name)
    folder = models_folder() / name
    if folder.exists() and not replace:
        raise OutputError(
            "a model of this name is installed",
            file=folder,
            hint="choose another name (--name), or replace it (--replace)",
        )
    if name in bundled_names() and not replace:
        raise OutputError(
            "a model that comes with the program has this name, and would be hidden",
            file=folder,
            hint="choose another name (--name), or hide it (--replace)",
        )
    return folder
