"""Layouts of published data sets: one YAML file each, which says what every file of the data set is.

Without a layout, names are read by the table of aliases. A layout says it without guessing: which file is which
sequence and which is the reference, who the patients are, what the labels mean, and how the patients are split. The
files in this folder are those of the package; ``--layout my.yaml`` takes any other of the same form. Nothing is
downloaded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from ...errors import ParameterError, PatientError, PatientNotFoundError, why
from ...json_files import read_bytes, wrong_values
from ..aliases import MASK, SEQUENCES
from ..cases import PatientFiles
from ..formats import is_image
from ..layouts import folders_below

Part = Literal["train", "validation", "test"]

Label = Annotated[int, Field(ge=1, le=255)]

_FOLDER = Path(__file__).parent
_LARGEST = 1 << 16
_TOKEN = re.compile(r"\*\*/|\*|\[([^\[\]]*)\]|\{([a-z]+)\}|[^*\[\]{}]+")
_FIELDS = ("patient", "visit", "site")


class Shares(BaseModel):
    """Shares of the persons in each part.

    A person's part depends on the SHA-256 of its name alone: it stays the same in a part of the data set, and no list
    of names is needed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: float = Field(ge=0, le=1)
    validation: float = Field(ge=0, le=1)
    test: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _whole(self) -> Shares:
        if abs(self.train + self.validation + self.test - 1) > 1e-6:
            raise ValueError("the shares of train, validation and test do not add up to 1")
        return self

    def part_of(self, person: str) -> Part:
        """Return the part of a person."""
        draw = int.from_bytes(hashlib.sha256(person.encode()).digest()[:8], "big") / 2**64
        return (
            "train" if draw < self.train else "validation" if draw < self.train + self.validation else "test"
        )


@dataclass(frozen=True)
class LaidOut:
    """A patient of a data set.

    Attributes:
        name: Its name, unique in the data set.
        path: Its first scan.
        files: Its files.
        part: Its part of the fixed split.
        site: Where it was scanned, if the layout tells; else empty.
    """

    name: str
    path: Path
    files: PatientFiles
    part: Part
    site: str = ""


class Layout(BaseModel):
    """The layout of a data set.

    A pattern is a path below the folder of the data set: ``*`` stands for any part of a name, ``**/`` for any folders,
    ``[x]`` for ``x`` or nothing, and ``{patient}``, ``{visit}`` and ``{site}`` for what tells these. One that ends with
    ``/`` is a folder of numbered PNG slices.

    Attributes:
        title: Name of the data set.
        shows: The pathology, and what the reference marks.
        files: Pattern of each sequence and of the reference (``seg``), or several, the best first.
        fields: Regular expressions of fields that are not just any name.
        called: Name of a patient in tables.
        person: What identifies a person: visits of one person are never in two parts.
        lesion: Labels of the reference that are lesion; empty: all above 0.
        ignored: Labels of voxels that are not evaluated.
        official: Folder of the publisher's own split to part; patients in no such folder go by ``split``.
        split: Shares of the parts.
        mixture: Lesion to healthy slices of a published test set, for `metrics.mixture`.
        paper: What to cite.
        licence: Its licence.
        host: Where to ask for the data.
        certain: Whether the names were taken from the publisher's own description or files.
        doubt: What is not certain, or what to know before reading its figures; one sentence.
        unusable: Why napari-cead cannot use the data set; one sentence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(min_length=1)
    shows: str = ""
    files: dict[str, str | tuple[str, ...]] = {}
    fields: dict[str, str] = {}
    called: str = "{patient}"
    person: str = "{patient}"
    lesion: tuple[Label, ...] = ()
    ignored: tuple[Label, ...] = ()
    official: dict[str, Part] = {}
    split: Shares = Shares(train=0.7, validation=0.15, test=0.15)
    mixture: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    paper: str = ""
    licence: str = ""
    host: str = ""
    certain: bool = True
    doubt: str = ""
    unusable: str = ""

    _name: str = PrivateAttr("")

    @property
    def name(self) -> str:
        """Name of its file."""
        return self._name

    @model_validator(mode="after")
    def _usable(self) -> Layout:
        if self.unusable:
            return self
        for role in self.files:
            if role not in (*SEQUENCES, MASK):
                raise ValueError(f"there is no {role!r}; files are {', '.join(SEQUENCES)} and {MASK}")
        if unknown := sorted(set(self.fields) - set(_FIELDS)):
            raise ValueError(f"there is no field {{{unknown[0]}}}; use {', '.join(_FIELDS)}")
        if not set(self.files) & set(SEQUENCES):
            raise ValueError(f"it names no sequence; give one of {', '.join(SEQUENCES)}")
        for template in (self.called, self.person):
            if not re.findall(r"\{(\w+)\}", template):
                raise ValueError(f"{template!r} holds no field; write {{patient}}")
        needed = set(re.findall(r"\{(\w+)\}", self.called + self.person))
        for _, text, _ in self._patterns:
            if lacking := sorted(needed - set(re.findall(r"\{(\w+)\}", text))):
                raise ValueError(f"the pattern {text!r} does not say where {{{lacking[0]}}} stands")
        if set(self.lesion) & set(self.ignored):
            raise ValueError("a label is both lesion and ignored")
        if not self.certain and not self.doubt:
            raise ValueError("what is not certain needs one sentence in doubt")
        return self

    @cached_property
    def _patterns(self) -> list[tuple[str, str, re.Pattern[str]]]:
        found = []
        for role, texts in self.files.items():
            for text in (texts,) if isinstance(texts, str) else texts:
                found.append((role, text, self._compiled(text)))
        return found

    def _compiled(self, text: str) -> re.Pattern[str]:
        parts, seen, end = [], set(), 0
        for token in _TOKEN.finditer(text):
            if token.start() != end:
                break
            end = token.end()
            whole, maybe, field = token.group(), token[1], token[2]
            if whole == "**/":
                parts.append("(?:.*/)?")
            elif whole == "*":
                parts.append("[^/]*")
            elif maybe is not None:
                parts.append(f"(?:{re.escape(maybe)})?")
            elif field is not None:
                if field not in _FIELDS:
                    raise ValueError(f"there is no field {{{field}}}; use {', '.join(_FIELDS)}")
                expression = self.fields.get(field, "[^/]+?")
                parts.append(f"(?P={field})" if field in seen else f"(?P<{field}>{expression})")
                seen.add(field)
            else:
                parts.append(re.escape(whole))
        if end != len(text):
            raise ValueError(f"the pattern {text!r} cannot be read after {text[:end]!r}")
        try:
            return re.compile("".join(parts))
        except re.error as error:
            raise ValueError(f"the pattern {text!r} is no expression ({error})") from None

    def patients(self, folder: str | Path) -> list[LaidOut]:
        """Return the patients of a data set on disk, by name.

        Raises:
            ParameterError: If the data set cannot be used at all.
            PatientError: If there is none, or two files are the same scan of one patient.
        """
        if self.unusable:
            raise ParameterError(
                f"{self.title} cannot be used: {self.unusable}", hint="choose another layout"
            )
        top = Path(folder).expanduser()
        if not top.is_dir():
            raise PatientNotFoundError(
                "a layout is about a folder, and there is none here",
                file=top,
                hint="give that of the data set",
            )
        scans: dict[str, dict[str, tuple[int, Path]]] = {}
        told: dict[str, dict[str, str]] = {}
        for text, place in _below(top):
            for rank, (role, _, pattern) in enumerate(self._patterns):
                if (match := pattern.fullmatch(text)) is None:
                    continue
                fields = match.groupdict()
                name = self.called.format(**fields)
                told.setdefault(name, {}).update(fields)
                before = scans.setdefault(name, {}).get(role)
                if before is not None and before[0] == rank:
                    raise PatientError(
                        f"{before[1]} and {place} are both the {role} of {name} by layout {self.name}",
                        file=top,
                        hint="give one copy of the data set, or a layout that tells them apart",
                    )
                if before is None or rank < before[0]:
                    scans[name][role] = rank, place
                break
        found = [
            self._patient(top, name, {role: place for role, (_, place) in sorted(places.items())}, told[name])
            for name, places in sorted(scans.items())
            if set(places) - {MASK}
        ]
        if not found:
            raise PatientNotFoundError(
                f"no file here is called as in layout {self.name}, which expects {self._patterns[0][1]}",
                file=top,
                hint="give the folder of the data set, or leave --layout out: names are then read as they are",
            )
        return found

    def unmatched(self, folder: str | Path) -> list[Path]:
        """Return the scans and masks below a folder that no pattern fits."""
        return [
            place
            for text, place in _below(Path(folder).expanduser())
            if not text.endswith("/") and not any(pattern.fullmatch(text) for _, _, pattern in self._patterns)
        ]

    def _patient(self, top: Path, name: str, places: dict[str, Path], fields: dict[str, str]) -> LaidOut:
        mask = places.pop(MASK, None)
        order = {role: places[role] for role in SEQUENCES if role in places}
        first = next(iter(order.values()))
        files = PatientFiles(
            name,
            "png" if first.is_dir() else "nifti",
            order,
            mask,
            lesion_labels=self.lesion,
            ignored_labels=self.ignored,
            laid_out=True,
        )
        own = [top.resolve().name, *first.relative_to(top).parts]
        official = {folder.lower(): part for folder, part in self.official.items()}
        parts = [official[each.lower()] for each in own if each.lower() in official]
        person = self.person.format(**fields)
        part = parts[-1] if parts else self.split.part_of(person)
        return LaidOut(name, first, files, part, fields.get("site", ""))

    @property
    def said(self) -> str:
        """What is said once when it is used."""
        doubt = f"{'' if self.certain else 'not certain: '}{self.doubt}" if self.doubt else ""
        return f"files are read by layout {self.name}, that of {self.title}" + (f": {doubt}" if doubt else "")


def _below(top: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files and folders below a folder, each with its path below it; that of a folder ends with a slash."""
    for folder, children, names in folders_below(top, everything=True):
        for name in sorted(names):
            if not name.startswith(".") and is_image(name):
                yield (folder / name).relative_to(top).as_posix(), folder / name
        for name in children:
            yield f"{(folder / name).relative_to(top).as_posix()}/", folder / name


def layout_names() -> tuple[str, ...]:
    """Return the names of the layouts of this package."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.yaml")))


def find_layout(given: str | Path) -> Layout:
    """Return a layout.

    Args:
        given: One of `layout_names`, or the path of a YAML file.

    Raises:
        ParameterError: If there is none, or it is not one.
    """
    text = str(given)
    file = _FOLDER / f"{text}.yaml" if text in layout_names() else Path(text).expanduser()
    if file.suffix not in (".yaml", ".yml", ".json") or not file.is_file():
        raise ParameterError(
            f"there is no layout {text!r}", hint=f"use one of {', '.join(layout_names())}, or a YAML file"
        )
    return _read(file)


def _read(file: Path) -> Layout:
    import yaml  # type: ignore[import-untyped]

    try:
        values: Any = yaml.safe_load(read_bytes(file, _LARGEST))
        if not isinstance(values, dict):
            raise ValueError("it is no mapping")
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise ParameterError(
            f"the layout cannot be read ({why(error)})", file=file, hint="see docs/how-to/data-sets.md"
        ) from None
    with wrong_values(ParameterError, "the layout", file=file, hint="see docs/how-to/data-sets.md"):
        layout = Layout.model_validate(values)
    layout._name = file.stem
    return layout
