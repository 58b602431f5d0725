"""What of a model's card goes out with an export: what the model is and how it was trained, not where and on whom.

A card that this program writes names no patient and no file. It holds the version of the operating system, the names
that the user gave to earlier models, and the user's notes; a card from elsewhere may hold anything in its summary of
the training, which has no fixed layout. Each field says itself whether it is private:

- a field of `ModelCard` is marked `PUBLIC` or `PRIVATE`;
- so is text in the summary of a training (`Summary`, and the settings of a training); numbers, switches and choices
  among words name nobody, and are public if they are not marked;
- what no field describes, or is of another type than its field, stays at home.

A test fails where a mark is missing.
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
"""What a private card calls an earlier model that does not come with the program; its checksum still tells which."""

_WORD = re.compile(r"[A-Za-z0-9.+_-]{1,64}")
"""A checksum, a version or the name of a method: no path, and no sentence."""

_DROPPED = object()


def summary_parts() -> tuple[type[BaseModel], ...]:
    """Return the classes that describe the summary of a training."""
    # The settings of a training are further down among the rooms; they are asked only when something is exported.
    return Summary, import_module("napari_cead.training.settings").TrainingSettings


def private_card(card: ModelCard) -> ModelCard:
    """Return a card without what may name people, places or machines.

    Gone are the fields that are marked as private, the names of earlier models (but for bundled ones; the checksums
    stay), and of the training what is not a known setting or figure. The name and the description stay: they are what
    the model is called.
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
    """Return what `private_card` leaves out of this card, by name, for instance ``"versions.platform"``."""
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
    """Give the classes of pydantic models that a type mentions."""
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
        # Members of a union may give one name to different things.
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
    """Whether a type lets any text, or anything at all, through; a model does not, as its fields are looked at."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return False
    return annotation in (str, Any, object) or any(mentions_text(part) for part in get_args(annotation))


def _missing(whole: Any, kept: Any, place: str = "") -> list[str]:
    """Return the names of what is gone, in the order of the whole."""
    missing = []
    for key, value in whole.items():
        if key not in kept:
            missing.append(place + key)
        elif isinstance(value, Mapping) and isinstance(kept[key], Mapping):
            missing += _missing(value, kept[key], f"{place}{key}.")
    return missing
