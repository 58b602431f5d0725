"""Marks by which results are recognised anywhere: a detected mask is never a reference.

Files that `save_volume` writes with a kind say so twice in their NIfTI header: as ``intent_name``, and as an extension
of JSON, ``{"napari-cead": {"kind": "mask", "version": 1}}``, in a comment (code 6). A program that writes a header of
its own (ITK does) or another format drops both.
"""

from __future__ import annotations

import io
import json
import re
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import nibabel as nib
from nibabel.nifti1 import Nifti1Extension

from ..errors import PatientError
from ..json_files import parse_json, read_json
from .aliases import MASK
from .archives import real_place
from .findings import Note
from .formats import stem
from .formats.analyze import Pair
from .formats.nifti import Nifti
from .places import Place, place_of
from .repairs import repairs

Kind = Literal["mask", "anomaly map", "reconstruction", "corrections", "brain mask"]
"""The kinds of results."""

MADE: dict[Kind, str] = {
    "mask": "a mask that napari-cead detected",
    "anomaly map": "an anomaly map that napari-cead made",
    "reconstruction": "a reconstruction that napari-cead made",
    "corrections": "corrections of a mask that napari-cead detected",
    "brain mask": "a brain mask that napari-cead used",
}
"""The kinds of results, for sentences."""

_INTENTS: dict[Kind, str] = {
    "mask": "napari-cead mask",
    "anomaly map": "napari-cead map",
    "reconstruction": "napari-cead rec",
    "corrections": "napari-cead fix",
    "brain mask": "napari-cead bet",
}  # 16 bytes at most
_VERSION = 1
_COMMENT = 6
_KEY = "napari-cead"
_MOST = 1 << 16  # bytes read from a file
_MARKED = (*Nifti.endings, *Pair.endings)  # what may have a NIfTI header

_NAMES: dict[str, Kind] = {
    "anomaly_map": "anomaly map",
    "reconstruction": "reconstruction",
    "mask": "mask",
    "mask_automatic": "mask",
    "corrections": "corrections",
}
_SUMMARIES = ("detection.json", "settings.json")
_KEYS = {"schema_version", "model", "score", "params"}


def mark(header: Any, kind: Kind) -> None:
    """Write into a NIfTI header what kind of result the file is."""
    header["intent_name"] = _INTENTS[kind].encode()
    text = json.dumps({_KEY: {"kind": kind, "version": _VERSION}})
    header.extensions.append(Nifti1Extension(_COMMENT, text.encode()))


def passed_over(name: str, kind: Kind, role: str) -> Note:
    """Return the note about a result that is named like a scan or a reference and is taken for neither."""
    what = "the lesion mask" if role == MASK else "a scan"
    return Note("result", f"{name} is {MADE[kind]}, so it is not taken as {what}")


def kind_of(path: str | Path | Place) -> Kind | None:
    """Return the kind of our result at a place; None if it is none, or unreadable.

    Files from before marks existed are recognised by their names, with the ``detection.json`` or ``settings.json``
    beside them, or all together.
    """
    place = place_of(path)
    if not (place.inside or place.file.name).lower().endswith(_MARKED):
        return None
    try:
        with real_place(place) as real:
            file = real.file.with_name(_header_of_pair(real.file.name))
            state = file.stat()
            return _marked(file, state.st_mtime_ns, state.st_size) or _older(file)
    except (PatientError, OSError):
        return None


def _header_of_pair(name: str) -> str:
    """Return the name of the file that holds the header: of a pair, the mark is not in that of the voxels."""
    return re.sub(
        r"img(\.gz)?$", lambda end: ("hdr" if end[0].islower() else "HDR") + (end[1] or ""), name, flags=re.I
    )


@lru_cache(maxsize=4096)
def _marked(file: Path, changed: int, size: int) -> Kind | None:
    """Return the kind that a file's header states; the time and the size of the file are for the cache."""
    try:
        with file.open("rb") as stream:
            start = stream.read(_MOST)
        if file.name.lower().endswith(".gz"):
            start = zlib.decompressobj(31).decompress(start, _MOST)
        with repairs():  # the reader of the volume reports it
            return _stated(start)
    except Exception:  # untrusted bytes: the reader of the volume reports what is wrong
        return None


def _stated(start: bytes) -> Kind | None:
    for made in (nib.Nifti1Header, nib.Nifti2Header):
        size = made.template_dtype.itemsize
        if len(start) < size or not made.may_contain_header(start):
            continue
        header = made(start[:size], check=False)
        intent = bytes(header["intent_name"].tobytes()).rstrip(b"\0").decode("latin-1")
        named = next((kind for kind, text in _INTENTS.items() if text == intent), None)
        offset = int(header.get_data_offset())
        if named is None and size + 4 < offset <= len(start):
            extended = made.from_fileobj(io.BytesIO(start[:offset]), check=False)
            named = next((kind for each in extended.extensions if (kind := _of_extension(each))), None)
        return named
    return None


def _of_extension(extension: Any) -> Kind | None:
    if extension.get_code() != _COMMENT:
        return None
    content = extension.get_content()
    try:
        values = parse_json(content if isinstance(content, str | bytes) else b"")
    except ValueError:
        return None
    said = values.get(_KEY) if isinstance(values, dict) else None
    kind = said.get("kind") if isinstance(said, dict) else None
    return kind if kind in get_args(Kind) else None


def _older(file: Path) -> Kind | None:
    kind = _NAMES.get(stem(file).lower())
    if kind is None or kind == "anomaly map":
        return kind
    together = all(
        (file.parent / f"{name}.nii.gz").is_file() for name in ("anomaly_map", "reconstruction", "mask")
    )
    return kind if together or any(_is_summary(file.parent / name) for name in _SUMMARIES) else None


def _is_summary(file: Path) -> bool:
    try:
        values = read_json(file)
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and set(values) >= _KEYS
