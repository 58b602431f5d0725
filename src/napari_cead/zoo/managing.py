"""Rename, annotate and remove installed models. Bundled models are never touched."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..atomic import to_json, write_text
from ..errors import ModelError, ModelNotFoundError, OutputError, ParameterError, disk_errors
from .card import MODEL_FILES, ModelCard, card_file, load_card, warn_of_remarks
from .finding import bundled_names, find_models, models_folder
from .installing import check_name

LONGEST_NOTES = 10_000
"""Largest number of characters in the notes on a model."""


@dataclass(frozen=True)
class Managed:
    """The outcome for an installed model.

    Attributes:
        name: Its previous name.
        folder: Its new folder; None if it was removed.
        uncovered: Folder of the bundled model that the installed one hid, and to which the name refers again.
    """

    name: str
    folder: Path | None
    uncovered: Path | None = None

    def __str__(self) -> str:
        text = (
            f"{self.name}: removed" if self.folder is None else f"{self.name}: now called {self.folder.name}"
        )
        back = f"; {self.name} is again the model that comes with the program"
        return text + (back if self.uncovered is not None else "")


def rename_model(name: str, new: str) -> Managed:
    """Give an installed model another name.

    Args:
        name: Its current name.
        new: Its new name.

    Raises:
        ModelError: If no such model is installed, or its card is damaged.
        OutputError: If another model has the name, or the folder cannot be changed.
        ParameterError: If the name cannot be a model's.
    """
    folder = check_installed(name)
    check_name(new)
    if new == name:
        return Managed(name, folder)
    # Ignoring case, so that the models can be moved to a system without case.
    others = {other.casefold() for other in (*_names(), *find_models(), *bundled_names()) if other != name}
    if new.casefold() in others:
        raise OutputError("another model has this name", file=new, hint="choose an unused name")
    card, target = load_card(folder), folder.with_name(new)
    with _changing(folder):
        folder.rename(target)
        try:
            # The name on the card counts only where the model is installed or exported: between these two steps
            # the model is whole under its new name.
            _write(target, card.model_copy(update={"name": new}))
        except BaseException:
            with suppress(OSError):
                target.rename(folder)
            raise
    return Managed(name, target, _uncovered(name))


def note_model(name: str, text: str) -> ModelCard:
    """Replace the user's notes on an installed model. They stay on this computer unless an export asks for them.

    Args:
        name: Name of the model.
        text: The notes; empty removes them.

    Returns:
        The card with the notes.

    Raises:
        ModelError: If no such model is installed, or its card is damaged.
        OutputError: If the card cannot be written.
        ParameterError: If the text is too long.
    """
    notes = text.strip()
    if len(notes) > LONGEST_NOTES:
        raise ParameterError(
            f"notes of {len(notes)} characters are too long", hint=f"use at most {LONGEST_NOTES} characters"
        )
    folder = check_installed(name)
    card = load_card(folder).model_copy(update={"notes": notes})
    _write(folder, card)
    return card


def remove_model(name: str) -> Managed:
    """Delete an installed model, complete or damaged, for good.

    Args:
        name: Name of the model.

    Raises:
        ModelError: If no such model is installed.
        OutputError: If its folder holds anything else, or cannot be removed.
    """
    folder = check_installed(name)
    with _changing(folder):
        if folder.is_symlink():  # the target of a link is not ours
            folder.unlink()
            return Managed(name, None, _uncovered(name))
        foreign = sorted({entry.name for entry in folder.iterdir()} - MODEL_FILES)
        if foreign:
            raise OutputError(
                f"the folder holds {foreign[0]!r}, which is not part of a model",
                file=folder,
                hint="move your own files elsewhere, or delete the folder by hand",
            )
        # Moved aside in one step: nobody sees half a model, however long the deletion takes.
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".old-"))
        try:
            folder.rename(aside / folder.name)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return Managed(name, None, _uncovered(name))


def check_installed(name: str) -> Path:
    """Return the folder of an installed model.

    Raises:
        ModelError: If there is none with this name.
    """
    names = _names()
    if name in names:  # compared with the existing names: a path is never a name
        return models_folder() / name
    if name in bundled_names():
        raise ModelError(
            "this model comes with the program and cannot be changed",
            file=name,
            hint=f"install a copy: napari-cead models install {name} --name another-name",
        )
    raise ModelNotFoundError(
        "no model of this name is installed",
        file=name,
        hint=f"use one of: {', '.join(names) or 'none is installed yet'}",
    )


def _names() -> list[str]:
    try:
        with os.scandir(models_folder()) as entries:
            return sorted(
                entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")
            )
    except OSError:  # none installed yet
        return []


def _uncovered(name: str) -> Path | None:
    """Return the bundled model that a name refers to again."""
    return find_models().get(name)


def _write(folder: Path, card: ModelCard) -> None:
    warn_of_remarks(card)
    write_text(card_file(folder), to_json(card.model_dump(mode="json")))


def _changing(folder: Path) -> AbstractContextManager[None]:
    hint = "check the permissions of its folder, and that no other program has it open"
    return disk_errors(OutputError, "the model cannot be changed", folder, hint)
