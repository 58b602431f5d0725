"""Model folders: find, verify, load, save, install. Importing this does not import torch."""

from ..devices import pick_device
from .card import (
    CARD_FILE,
    ModelCard,
    Parent,
    Preprocessing,
    Suggestion,
    load_card,
)
from .finding import (
    DEFAULT_MODEL,
    PAPER_EXTRA,
    ModelInfo,
    damaged_models,
    find_model,
    find_models,
    list_models,
    load_model,
    missing_models,
    models_folder,
)
from .installing import check_name, export_model, install_model
from .loaded import LoadedModels
from .managing import note_model, remove_model, rename_model
from .privacy import private_card, withheld
from .storage import Detector, check_model, save_model

__all__ = [
    "CARD_FILE",
    "DEFAULT_MODEL",
    "PAPER_EXTRA",
    "Detector",
    "LoadedModels",
    "ModelCard",
    "ModelInfo",
    "Parent",
    "Preprocessing",
    "Suggestion",
    "check_model",
    "check_name",
    "damaged_models",
    "export_model",
    "find_model",
    "find_models",
    "install_model",
    "list_models",
    "load_card",
    "load_model",
    "missing_models",
    "models_folder",
    "note_model",
    "pick_device",
    "private_card",
    "remove_model",
    "rename_model",
    "save_model",
    "withheld",
]
