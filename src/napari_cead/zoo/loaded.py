"""Models that stay loaded from one run to the next."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from weakref import WeakValueDictionary

from ..devices import pick_device
from .card import load_card
from .finding import find_model, load_model
from .storage import Detector

_in_memory: WeakValueDictionary[tuple[Path, str], Detector] = WeakValueDictionary()
"""The models that anything in this process keeps, by folder and device."""


class LoadedModels:
    """Keeps the weights of the last model in memory, or of a few. Safe to share between threads.

    All of them share their models: what the window keeps, its queue does not load again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._detectors: dict[Path, Detector] = {}

    def get(self, model: str | Path, device: str, beside: Iterable[Path] = ()) -> Detector:
        """Return a model; it is loaded anew if its weights, its card or the device are others than before.

        Args:
            model: Name or folder of the model.
            device: See :func:`~napari_cead.devices.pick_device`.
            beside: Folders of the models that stay loaded with it; all others go.

        Raises:
            ModelError: If there is no such model, or it is damaged.
            ParameterError: If there is no such device.
        """
        folder = find_model(model)
        # A model may be replaced or calibrated anew meanwhile.
        card, place = load_card(folder), pick_device(device)
        with self._lock:
            for other in self._detectors.keys() - {folder, *beside}:
                del self._detectors[other]
            found = _in_memory.get((folder, str(place)))
            if found is None or found.card != card:
                self._detectors.pop(folder, None)
                found = _in_memory[folder, str(place)] = load_model(model, device)
            self._detectors[folder] = found
            return found

    def folder_of(self, sha256: str) -> Path | None:
        """Return the folder of a loaded model whose weights have this checksum."""
        held = tuple(self._detectors.values())
        return next((detector.folder for detector in held if detector.sha256 == sha256), None)

    def clear(self) -> None:
        """Free the memory."""
        with self._lock:
            self._detectors.clear()
