"""The user's preferences, kept in napari's own settings (Preferences, page of this plugin)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...errors import CeadWarning
from ...exploring import DEFAULT_MODEL
from ...zoo import list_models
from .anatomy import CONVENTIONS, Convention

PLUGIN = "napari-cead"
PAGE = "explore"
"""Key of the configuration in the manifest."""

DEVICES = ("auto", "cpu", "cuda", "mps")
MAX_BATCH = 256


@dataclass(frozen=True)
class Preferences:
    """The preferences, always valid, whatever the settings file holds.

    Attributes:
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        batch_size: Slices that the network reconstructs at once.
        default_model: Model that a new dock offers first.
        convention: Which side of the picture is the patient's right.
    """

    device: str = "auto"
    batch_size: int = 32
    default_model: str = DEFAULT_MODEL
    convention: Convention = "radiological"


def preferences() -> Preferences:
    """Return the preferences; the defaults where napari has no settings for plugins.

    A value that cannot be used is replaced by its default with one ``CeadWarning`` that names all of them.
    """
    page = _page()
    if page is None:
        return Preferences()
    kept: dict[str, Any] = {}
    wrong: list[str] = []
    for name, is_fine in _CHECKS.items():
        value = getattr(page, name, getattr(Preferences, name))
        if is_fine(value):
            kept[name] = value
        else:
            wrong.append(f"{name} cannot be {value!r}, using {getattr(Preferences, name)!r}")
    if wrong:
        warnings.warn(f"preferences of {PLUGIN}: {'; '.join(wrong)}", CeadWarning, stacklevel=2)
    return Preferences(**kept)


def prefer_convention(convention: Convention) -> None:
    """Keep a convention for the next time, if napari has settings for plugins."""
    page = _page()
    if page is not None and page.convention != convention:
        page.convention = convention


def on_changed(callback: Callable[[Preferences], object]) -> Callable[[], None]:
    """Call ``callback`` with the preferences whenever the user changes one.

    Returns:
        A function that ends it.
    """
    page = _page()
    if page is None:
        return lambda: None

    def changed(event: Any = None) -> None:
        callback(preferences())

    page.events.connect(changed)
    return lambda: page.events.disconnect(changed)


def _page() -> Any:
    """Return the plugin's page in napari's settings, None if there is none."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:  # before napari 0.9
        return None
    try:
        return getattr(get_plugin_settings(PLUGIN), PAGE, None)
    except KeyError:  # the plugin is not installed, or disabled
        return None


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "device": lambda value: value in DEVICES,
    "batch_size": lambda value: type(value) is int and 1 <= value <= MAX_BATCH,
    "default_model": lambda value: value in {DEFAULT_MODEL, *(info.name for info in list_models())},
    "convention": lambda value: value in CONVENTIONS,
}
