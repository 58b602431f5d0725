"""The description beside a model's weights: ``model.json``, in an exported model ``config.json``."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    FiniteFloat,
    PrivateAttr,
    model_validator,
)

from ..errors import CeadWarning, ModelDamagedError, ModelError, ModelNotFoundError, why
from ..json_files import FileKind, Saved
from ..models.networks import absent_network
from ..models.specs import ModelSpec
from .summary import PRIVATE, PUBLIC

SCHEMA_VERSION = 1
CARD_FILE = "model.json"
HUB_CARD_FILE = "config.json"
"""Name of the same card in an exported model: the Hugging Face hub expects it."""
README_FILE = "README.md"
WEIGHTS_FILE = "model.safetensors"
MODEL_FILES = frozenset({CARD_FILE, HUB_CARD_FILE, README_FILE, WEIGHTS_FILE})
"""Names of the files that a model's folder may hold."""
LARGEST_CARD = 16 << 20
"""Largest size of a card in bytes, roughly a training of ten thousand epochs."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Millimetres = Annotated[FiniteFloat, Field(gt=0, le=1000)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Preprocessing(Saved):
    """The steps from a patient to the network's input.

    Attributes:
        sequence: The sequence the model was trained on.
        intensity: The scaling of intensities to [0, 1].
        spacing: In-plane pixel spacing (y, x) in mm.
        image_size: Side of the crop in pixels.
    """

    sequence: str = "flair"
    intensity: Literal["volume-percentile", "volume-tissue", "slice-max"] = "volume-percentile"
    spacing: tuple[Millimetres, Millimetres] = (0.94, 0.94)
    image_size: int = Field(default=196, ge=1)


Range = tuple[FiniteFloat, FiniteFloat]


class ContrastRange(Saved):
    """The range of contrast measured in the training patients, from the lowest to the highest.

    Attributes:
        skewness: Of the brain's intensities.
        rim: Median of the brain's rim over that of the deep brain; None if no patient had enough slices.
    """

    skewness: Range
    rim: Range | None = None


class Suggestion(Saved):
    """Settings to start from.

    Attributes:
        score: Anomaly score.
        rule: The rule that chose the settings, for instance ``"healthy-quantile"``.
        params: Settings of the post-processing by name.
    """

    score: str
    rule: str
    params: dict[str, FiniteFloat | int | bool] = Field(default_factory=dict)


class Parent(Saved):
    """A model that this one was fine-tuned from."""

    name: Name
    sha256: Sha256


MARK = 8
"""Length of a slice's mark on a card, in characters."""


class Recognised(Saved):
    """Marks of a model's training scans: they identify a scan, but no scan can be reconstructed from them.

    Attributes:
        key: The key that hashes the marks of this training, in hexadecimal digits.
        patients: For each patient the marks of the slices (see :mod:`~napari_cead.slices.marks`) one after the other,
            in no meaningful order.
    """

    key: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    patients: tuple[Annotated[str, Field(pattern=r"^([A-Za-z0-9_-]{8})*$")], ...]


class ModelCard(Saved):
    """Everything about a model but its weights.

    Attributes:
        name: Name of the model.
        spec: The architecture.
        description: Description in a sentence or two.
        preprocessing: The steps from a patient to the network's input.
        training: Summary of the training: data fingerprint, seed, epochs, losses.
        score_scales: By score, the constant that an anomaly map is divided by.
        suggestions: Settings to start from; the first is the default.
        parents: The models it was fine-tuned from, the nearest first.
        statistics: Names of the maps (S, S) of healthy statistics stored with the weights.
        tails: By kind of evidence, the values that ever smaller shares of healthy voxels exceed, for the score
            ``fused`` (:mod:`~napari_cead.detection.evidence`); not on the card if they were not measured.
        contrast: The contrast of the training patients; not on the card if unknown.
        mirror_average: Whether a reconstruction is the mean of those of the image and of its mirror image, mirrored
            back. Only on the card if true.
        trained_on: Marks of the training scans, the model's own first, then those of its base models, the nearest
            first; not on the card if unknown.
        notes: The user's notes; not on the card if empty.
        parameters: Number of weights. This and the following fields are filled in when the model is saved.
        dtype: Type of the weights on disk; in memory they are float32.
        sha256: Checksum of the weights file.
        schema_version: Version of this layout.
    """

    UNWRITTEN: ClassVar[frozenset[str]] = frozenset(
        {"notes", "contrast", "mirror_average", "tails", "trained_on"}
    )

    _remarks: tuple[str, ...] = PrivateAttr(())

    # Each declares whether it is private, and so stays out of an export. `privacy` refines `training` and `parents`.
    schema_version: Annotated[Literal[1], PUBLIC] = 1
    name: Annotated[Name, PUBLIC]
    description: Annotated[str, PUBLIC] = ""
    spec: Annotated[ModelSpec, PUBLIC]
    preprocessing: Annotated[Preprocessing, PUBLIC] = Preprocessing()
    training: Annotated[dict[str, Any], PUBLIC] = Field(default_factory=dict)
    score_scales: Annotated[dict[str, Annotated[FiniteFloat, Field(gt=0)]], PUBLIC] = Field(
        default_factory=dict
    )
    suggestions: Annotated[tuple[Suggestion, ...], PUBLIC] = ()
    parents: Annotated[tuple[Parent, ...], PUBLIC] = ()
    statistics: Annotated[tuple[Name, ...], PUBLIC] = ()
    tails: Annotated[dict[Name, tuple[FiniteFloat, ...]], PUBLIC] = Field(default_factory=dict)
    contrast: Annotated[ContrastRange | None, PUBLIC] = None
    mirror_average: Annotated[bool, PUBLIC] = False
    trained_on: Annotated[tuple[Recognised, ...], PUBLIC] = ()
    notes: Annotated[str, PRIVATE] = ""
    parameters: Annotated[int, PUBLIC] = Field(default=0, ge=0)
    dtype: Annotated[Literal["float32", "float16"], PUBLIC] = "float32"
    sha256: Annotated[Literal[""] | Sha256, PUBLIC] = ""

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks on the card's file: missing and unknown keys."""
        return self._remarks

    @property
    def calibration(self) -> str:
        """Checksum of all on the card that decides a map beside the weights: scales, tables, preprocessing."""
        parts = {"spec", "preprocessing", "score_scales", "statistics", "tails", "mirror_average"}
        values = self.model_dump(mode="json", include=parts)
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    @model_validator(mode="after")
    def _one_size(self) -> ModelCard:
        if self.preprocessing.image_size != self.spec.image_size:
            raise ValueError(
                f"the preprocessing crops to {self.preprocessing.image_size} pixels, "
                f"the network takes {self.spec.image_size}"
            )
        return self


def warn_of_remarks(card: ModelCard) -> None:
    """Warn of missing and unknown keys when a card is shown or written anew, which drops unknown ones."""
    for remark in card.remarks:
        warnings.warn(remark, CeadWarning, stacklevel=3)


def card_file(folder: str | Path) -> Path:
    """Return the card's place in a model folder: ``config.json`` if only that is there."""
    own, hub = Path(folder) / CARD_FILE, Path(folder) / HUB_CARD_FILE
    return hub if hub.is_file() and not own.is_file() else own


def load_card(folder: str | Path) -> ModelCard:
    """Read the card of a model folder.

    Args:
        folder: The model folder.

    Raises:
        ModelError: If the folder or card is missing, or the card is not valid.
    """
    file = card_file(folder)
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_CARD + 1)
    except FileNotFoundError:
        raise ModelNotFoundError(
            f"there is no {CARD_FILE} here",
            file=folder,
            hint=f"give a folder with {CARD_FILE} and {WEIGHTS_FILE}",
        ) from None
    except OSError as error:
        raise ModelDamagedError(f"the file cannot be read ({why(error)})", file=file, hint=_AGAIN) from error
    return parse_card(content, file)


def parse_card(content: bytes, file: Path) -> ModelCard:
    """Return the card that the bytes of a ``model.json`` describe.

    Args:
        content: The bytes.
        file: Their origin, for error messages.

    Raises:
        ModelError: If they are not a valid card.
    """
    if len(content) > LARGEST_CARD:
        raise ModelDamagedError("the file is too large for a model's card", file=file, hint=_AGAIN)
    values = _CARDS.parse(content, file)
    if file.name == HUB_CARD_FILE and not (isinstance(values, dict) and {"spec", "sha256"} <= values.keys()):
        raise ModelError(
            "this is the configuration of another kind of model",
            file=file,
            hint="give a folder that napari-cead models export wrote",
        )
    _CARDS.check_version(values, file)
    if absent := absent_network(values.get("spec")):
        raise ModelError(absent[0], file=file, hint=absent[1])
    card, notes = _CARDS.made(ModelCard, values, file)
    if not card.sha256:
        raise ModelDamagedError("the card has no sha256 of the weights", file=file, hint=_AGAIN)
    card._remarks = tuple(f"{file}: {note}" for note in notes)
    return card


_AGAIN = "install or save the model again"
_CARDS = FileKind(
    "the card",
    ModelDamagedError,
    _AGAIN,
    SCHEMA_VERSION,
    "update napari-cead, or save the model again with this version",
)
