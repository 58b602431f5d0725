"""The public part of a model's card in an export: the model and its training, not where and on whom.

A card written by this program names no patient and no file. It holds the version of the operating system, the user's
names of earlier models, and the user's notes; a card from elsewhere may hold anything in its summary of the training,
which has no fixed layout. Each field declares whether it is private:

- a field of `ModelCard` is marked `PUBLIC` or `PRIVATE`;
- so is text in the summary of a training (`Summary`, and the settings of a training); numbers, switches and choices
  among words name nobody, and are public if they are not marked;
- anything without a field, or of another type than its field, is left out.

A test fails if a mark is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from .card import ModelCard, Parent
from .finding import bundled_names
from .summary import Summary, privacy_of

ANOTHER = "another-model"
"""Name of an earlier model that is not bundled, in a private card; its checksum still identifies it."""

_WORD = re.compile(r"[A-Za-z0-9.+_-]{1,64}")
"""A checksum, a version or the name of a method: no path, and no sentence."""

_DROPPED = object()


def summary_parts() -> tuple[type[BaseModel], ...]:
    """Return the classes that describe the summary of a training."""
    # The settings of a training are in a later room; they are imported only for an export.
    return Summary, import_module("napari_cead.runs.training_settings").TrainingSettings


def private_card(card: ModelCard) -> ModelCard:
    """Return a card without anything that may name people, places or machines.

    This removes the private fields, the names of earlier models (except bundled ones; the checksums stay), and
    everything in the training summary that is not a known setting or figure. The name and the description of the model
    stay.
    """
    known = bundled_names()
    changes: dict[str, Any] = {}
    for name, field in ModelCard.model_fields.items():
        mark = privacy_of(field)
        if mark is None or mark.private:
            changes[name] = field.get_default(call_default_factory=True)
    changes["parents"] = tuple(
        parent if parent.name in known else Parent(name=ANOTHER, sha256=parent.sha256)
        for parent in card.parents
    )
    scores = {*card.score_scales, *(suggestion.score for suggestion in card.suggestions)}
    changes["training"] = _harmless(card.training, summary_parts(), scores)
    return card.model_copy(update=changes)


def withheld(card: ModelCard) -> tuple[str, ...]:
    """Return the names of the parts that `private_card` removes from a card, for instance ``"versions.platform"``."""
    private = private_card(card)
    own = [
        name
        for name in ModelCard.model_fields
        if name not in ("parents", "training") and getattr(card, name) != getattr(private, name)
    ]
    parents = [
        parent.name for parent, kept in zip(card.parents, private.parents, strict=True) if parent != kept
    ]
    return (*own, *(f"the name {name}" for name in parents), *_missing(card.training, private.training))


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the classes of pydantic models in a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from (
            annotation.kinds() if hasattr(annotation, "kinds") else (annotation,)
        )  # what others add, too
    for part in get_args(annotation):
        yield from models_in(part)


def _harmless(
    values: Mapping[str, Any], kinds: Iterable[type[BaseModel]], scores: set[str]
) -> dict[str, Any]:
    fields: dict[str, list[FieldInfo]] = {}
    for kind in kinds:
        for name, field in kind.model_fields.items():
            fields.setdefault(field.alias or name, []).append(field)
    kept = {}
    for key, value in values.items():
        # Members of a union may use one name for different things.
        found = (_value(value, field, scores) for field in fields.get(key, ()))
        kept[key] = next((one for one in found if one is not _DROPPED), _DROPPED)
    return {key: value for key, value in kept.items() if value is not _DROPPED}


def _value(value: Any, field: FieldInfo, scores: set[str]) -> Any:
    mark = privacy_of(field)
    inside = tuple(models_in(field.annotation))
    if (mark is not None and mark.private) or (mark is None and mentions_text(field.annotation)):
        return _DROPPED
    if inside:
        return _nested(value, inside, scores)
    try:
        kind: Any = field.annotation
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return _DROPPED
    if isinstance(value, Mapping):
        return {key: figure for key, figure in value.items() if key in scores}
    texts = value if isinstance(value, list | tuple) else (value,)
    return value if all(_WORD.fullmatch(text) for text in texts if isinstance(text, str)) else _DROPPED


def _nested(value: Any, kinds: tuple[type[BaseModel], ...], scores: set[str]) -> Any:
    if isinstance(value, Mapping):
        return _harmless(value, kinds, scores)
    if isinstance(value, list | tuple):
        items = [_nested(item, kinds, scores) for item in value]
        return _DROPPED if _DROPPED in items else items
    return None if value is None else _DROPPED


def mentions_text(annotation: Any) -> bool:
    """Whether a type allows any text, or anything at all; a model does not, because its fields are checked."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return False
    return annotation in (str, Any, object) or any(mentions_text(part) for part in get_args(annotation))


def _missing(whole: Any, kept: Any, place: str = "") -> list[str]:
    """Return the names of the removed parts, in the order of the whole."""
    missing = []
    for key, value in whole.items():
        if key not in kept:
            missing.append(place + key)
        elif isinstance(value, Mapping) and isinstance(kept[key], Mapping):
            missing += _missing(value, kept[key], f"{place}{key}.")
    return missing
