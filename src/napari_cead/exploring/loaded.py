"""The model that stays loaded between runs."""

from __future__ import annotations

from pathlib import Path

from ..detection import Reconstruction
from ..zoo import Detector, find_model, load_card, load_model, pick_device


class LoadedModel:
    """Keeps the weights of the last model in memory."""

    def __init__(self) -> None:
        self._detector: Detector | None = None

    def get(self, model: str | Path, device: str) -> Detector:
        """Return a model; it is loaded anew only if it differs from the last one or has another folder.

        Args:
            model: Name or folder of the model.
            device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

        Raises:
            ModelError: If there is no such model, or it is damaged.
            ParameterError: If there is no such device.
        """
        folder = find_model(model)
        # The checksum detects a folder that was replaced meanwhile.
        wanted = (folder, load_card(folder).sha256, pick_device(device))
        old = self._detector
        if old is None or (old.folder, old.sha256, old.device) != wanted:
            self._detector = old = load_model(model, device)
        return old

    def folder_of(self, sha256: str) -> Path | None:
        """Return the folder of the loaded model if its weights have this checksum."""
        old = self._detector
        return old.folder if old is not None and old.sha256 == sha256 else None

    def again(self, made: Reconstruction) -> Detector:
        """Return the model that made a reconstruction.

        Raises:
            ModelError: If it no longer exists.
        """
        old = self._detector
        if old is not None and old.sha256 == made.sha256:
            return old
        return self.get(made.model_folder or made.model, made.device)
