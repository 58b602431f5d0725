"""Read JSON files from any source: no more of them than makes sense, and no surprise in them.

The program reads its own files by one rule, so that a new field breaks no file (`from_saved`):

- a missing key takes its default, and a note says so;
- an unknown key was written by a newer version: it is ignored, and a note names it;
- unless it is in one of the `DECISIVE` parts, which define a network, its input and its training: ignoring it would
  change the result, so the file is refused and the key named.

Files written by people (scan lists, split files, corruptions) follow another rule: there an unknown key is a slip of
the pen, and is refused.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from .errors import CeadError, CeadWarning, shortened, why

LARGEST = 64 << 20
"""Largest size of a JSON file in bytes; those that list every slice of a cohort may be larger."""


def read_json(file: str | Path, most: int = LARGEST) -> Any:
    """Read strict JSON: UTF-8, no NaN, no endless nesting.

    Args:
        file: The file.
        most: Largest size in bytes; larger files are not read.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is too large or not strict JSON.
    """
    return parse_json(read_bytes(file, most))


def read_json_of(
    kind: type[CeadError],
    what: str,
    file: str | Path,
    hint: str,
    missing: str = "check the path",
    most: int = LARGEST,
) -> Any:
    """Read strict JSON from a file that a user names.

    Args:
        kind: Kind of the error if it cannot be read.
        what: What it should be, for the message: ``"the scan list"``.
        file: The file.
        hint: What to do if it is not JSON.
        missing: What to do if there is no such file.
        most: As for `read_json`.

    Raises:
        CeadError: If it cannot be read.
    """
    try:
        return read_json(file, most)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise kind(f"{what} cannot be read ({reason})", file=file, hint=missing) from error
    except ValueError as error:
        raise kind(f"{what} is not valid JSON ({why(error)})", file=file, hint=hint) from None


def read_bytes(file: str | Path, most: int) -> bytes:
    """Read a file that may be of any size.

    Args:
        file: The file.
        most: Largest size in bytes; larger files are not read.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is too large.
    """
    with Path(file).open("rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(f"the file is too large: it has more than {most:,} bytes")
    return content


def parse_json(content: bytes | str) -> Any:
    """Return the value of strict JSON text.

    Raises:
        ValueError: If it is not strict JSON.
    """
    text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def version_of(values: Any) -> int | str:
    """Return the ``schema_version`` of a JSON file's content.

    Returns:
        A whole number unchanged. Anything else is not a version, and is returned as a few words for the sentence that
        refuses it: in Python true equals 1.
    """
    version = values.get("schema_version") if isinstance(values, dict) else None
    return version if type(version) is int else shown(version)


def shown(value: Any) -> str:
    """Return a value of a file as a few words for a sentence."""
    # Python cannot serialise deep nesting.
    short = "{…}" if isinstance(value, dict) else "[…]" if isinstance(value, list) else repr(value)
    return shortened(short, 40)


DECISIVE = frozenset({"spec", "preprocessing", "settings"})
"""Parts of saved files in which an unknown key is not ignored."""

NEWER = "a newer version wrote it: update napari-cead"
"""The advice if an unknown key is refused."""

Model = TypeVar("Model", bound=BaseModel)


class Saved(BaseModel):
    """A part of a saved file: immutable, and read by `from_saved`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    UNWRITTEN: ClassVar[frozenset[str]] = frozenset()
    """Fields that are written only if they say something: earlier versions can read the file, and their absence gives
    no note."""

    @model_serializer(mode="wrap")
    def _without_what_is_not_used(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialize(self)
        return {name: value for name, value in values.items() if value or name not in self.UNWRITTEN}


def from_saved(kind: type[Model], values: Any, *, strict: bool = False) -> tuple[Model, tuple[str, ...]]:
    """Read values saved by the program, by the rule of this module.

    Args:
        kind: The class of the values; its unknown keys are forbidden.
        values: From `read_json`; left unchanged.
        strict: Whether a value of another type is an error even if it could be converted.

    Returns:
        The object, and the notes about it: a clause for each kind of missing key, and one for all unknown
        keys.

    Raises:
        ValidationError: If the values are wrong, a key without a default is missing, or one of a `DECISIVE` part is
            unknown.
    """
    unknown: list[str] = []
    try:
        made = kind.model_validate_json(json.dumps(values), strict=strict)
    except ValidationError as error:
        places = [place for place in _unknown(error) if not DECISIVE.intersection(place[:-1])]
        if not places:
            raise
        values = copy.deepcopy(values)
        for place in places:
            _remove(values, place)
        unknown = [_named(place) for place in places]
        made = kind.model_validate_json(json.dumps(values), strict=strict)
    return made, told(dict(_missing(made, values)), unknown)


def unknown_keys(error: ValidationError) -> str:
    """Return the unknown keys that an error is about, with commas; empty if it is about something else."""
    return shortened(", ".join(dict.fromkeys(map(_named, _unknown(error)))), 300)


def first_wrong(error: ValidationError, whole: str = "") -> str:
    """Return the first fault as a clause: its place and its kind.

    Args:
        error: From values of a file or a user.
        whole: Name for the values if all of them are meant.
    """
    first = error.errors(include_url=False)[0]
    where = shortened(".".join(map(str, first["loc"])) or whole)
    own = first.get("ctx", {}).get("error")  # that of a validator of ours
    said = shortened(str(own) if own else first["msg"], 300)
    return f"{where}: {said}" if where else said


def told(missing: Mapping[str, Any], unknown: Iterable[str]) -> tuple[str, ...]:
    """Return the notes on missing keys (with their defaults) and on unknown ones, a clause each."""
    notes = [
        f"{name} is missing and taken as {json.dumps(value, default=str)}" for name, value in missing.items()
    ]
    if names := shortened(", ".join(dict.fromkeys(unknown)), 300):
        notes.append(f"{names}: not known to this version, and ignored; update napari-cead to use it")
    return tuple(notes)


def warn_of(notes: Iterable[str], file: str | Path) -> None:
    """Issue the notes of `from_saved` about a file as warnings."""
    for note in notes:
        warnings.warn(f"{file}: {note}", CeadWarning, stacklevel=3)


def _unknown(error: ValidationError) -> list[tuple[int | str, ...]]:
    # The second comes from dataclasses.
    kinds = ("extra_forbidden", "unexpected_keyword_argument")
    return [one["loc"] for one in error.errors(include_url=False) if one["type"] in kinds]


def _remove(values: Any, place: tuple[int | str, ...]) -> None:
    """Remove a key; the place may also name the member of a union, which the values do not."""
    for part in place[:-1]:
        if isinstance(part, int) or part in values:
            values = values[part]
    values.pop(place[-1], None)


def _named(place: tuple[int | str, ...]) -> str:
    return ".".join(part for part in place if isinstance(part, str))


def _missing(made: Any, values: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields that the values lack, with their defaults; None is not worth a note."""
    if isinstance(made, BaseModel) or (dataclasses.is_dataclass(made) and not isinstance(made, type)):
        known = type(made).model_fields if isinstance(made, BaseModel) else dataclasses.fields(made)
        for name in (field if isinstance(field, str) else field.name for field in known):
            if name in values:
                yield from _missing(getattr(made, name), values[name], f"{place}{name}.")
            elif getattr(made, name) is not None and name not in getattr(made, "UNWRITTEN", ()):
                yield place + name, _plain(getattr(made, name))
    elif isinstance(made, tuple | list):
        for one, value in zip(made, values, strict=False):
            if not isinstance(value, dict):
                break  # a long column of numbers
            yield from _missing(one, value, place)
    elif isinstance(made, dict):
        for name, one in made.items():
            if isinstance(values.get(name), dict):
                yield from _missing(one, values[name], f"{place}{name}.")


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value
