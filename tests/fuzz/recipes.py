"""How a good input is spoilt: a recipe is a list of steps, plain JSON, that gives the same bytes everywhere.

Places in files are numbers taken modulo what there is, so that a recipe outlives small changes of the seeds.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import nibabel as nib
from nibabel.wrapstruct import WrapStructError
from pydicom import dcmread
from pydicom.dataelem import DataElement

Files = dict[str, bytes]
Step = list[Any]
Recipe = list[Step]

LINK = b"\0link to "
FOLDER = b"\0folder"
"""Contents that stand for a link and for a folder where a file should be."""

_PNG_MAGIC = 8


def spoil(files: Files, recipe: Recipe) -> Files:
    """Return the files after all steps; a step about a file that is gone does nothing."""
    found = dict(files)
    for kind, *values in recipe:
        _STEPS[kind](found, *values)
    return found


# Bytes


def _flip(data: bytes, where: int, bit: int) -> bytes:
    if not data:
        return data
    changed = bytearray(data)
    changed[where % len(data)] ^= 1 << (bit % 8)
    return bytes(changed)


def _poke(data: bytes, where: int, words: str) -> bytes:
    put = bytes.fromhex(words)
    at = where % (len(data) + 1)
    return data[:at] + put + data[at + len(put) :]


def _cut(data: bytes, length: int) -> bytes:
    return data[: length % (len(data) + 1)]


def _repeat(data: bytes, start: int, length: int, at: int) -> bytes:
    start, at = start % (len(data) + 1), at % (len(data) + 1)
    return data[:at] + data[start : start + length] + data[at:]


def _drop(data: bytes, start: int, length: int) -> bytes:
    start = start % (len(data) + 1)
    return data[:start] + data[start + length :]


_BYTES: dict[str, Callable[..., bytes]] = {
    "flip": _flip,
    "poke": _poke,
    "cut": _cut,
    "repeat": _repeat,
    "drop": _drop,
}


def _bytes(kind: str) -> Callable[..., None]:
    def step(files: Files, name: str, *values: Any) -> None:
        if name in files:
            files[name] = _BYTES[kind](files[name], *values)

    return step


def _inside(files: Files, name: str, part: int, kind: str, *values: Any) -> None:
    """Change what is compressed or check-summed, with check sums that fit: gzip as a whole, one chunk of a PNG."""
    data = files.get(name)
    if data is None:
        return
    try:
        if name.endswith(".png"):
            files[name] = _png_chunk(data, part, kind, values)
        elif name.endswith(".zip"):
            files[name] = _zipped(data, part, lambda name, held: (name, _BYTES[kind](held, *values)))
        elif name.endswith(".gz"):
            files[name] = gzip.compress(_BYTES[kind](gzip.decompress(data), *values), 1, mtime=0)
        else:
            files[name] = _BYTES[kind](data, *values)
    except (OSError, EOFError, ValueError, zlib.error, struct.error, zipfile.BadZipFile):
        return  # an earlier step left nothing to look into


def _zipped(data: bytes, part: int, change: Callable[[str, bytes], tuple[str, bytes]]) -> bytes:
    """Change the name or the content of one file of a zip, with a check sum that fits."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        held = [(name, archive.read(name)) for name in archive.namelist()]
    if held:
        held[part % len(held)] = change(*held[part % len(held)])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two files of one name are meant
        for name, content in held:
            archive.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()


def _entry(files: Files, name: str, part: int, new: str) -> None:
    """Give a file inside a zip another name."""
    try:
        files[name] = _zipped(files[name], part, lambda old, held: (new.replace("*", old), held))
    except (KeyError, OSError, EOFError, ValueError, zlib.error, struct.error, zipfile.BadZipFile):
        return  # an earlier step left no zip


def _png_chunk(data: bytes, part: int, kind: str, values: tuple[Any, ...]) -> bytes:
    chunks, at = [], _PNG_MAGIC
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return data
    part %= len(chunks)
    tag, body = chunks[part]
    body = zlib.decompress(body) if tag == b"IDAT" else body
    body = _BYTES[kind](body, *values)
    chunks[part] = (tag, zlib.compress(body, 1) if tag == b"IDAT" else body)
    packed = (struct.pack(">I", len(b)) + t + b + struct.pack(">I", zlib.crc32(t + b)) for t, b in chunks)
    return data[:_PNG_MAGIC] + b"".join(packed)


# NIfTI


def _field(files: Files, name: str, field: str, place: int, value: float) -> None:
    """Set a field of a NIfTI header to any number that its type holds, whatever it means."""
    data = files.get(name)
    if data is None:
        return
    try:
        raw = gzip.decompress(data) if name.endswith(".gz") else data
        kind = nib.Nifti2Header if raw[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c") else nib.Nifti1Header
        size = kind.template_dtype.itemsize
        header = kind(raw[:size], check=False)
        values = header[field].copy()
        flat = values.reshape(-1)
        if values.dtype.kind == "i":
            span = 1 << (8 * values.dtype.itemsize)
            number = int(value) if abs(value) < 1e30 else 0
            flat[place % flat.size] = (number + span // 2) % span - span // 2
        elif values.dtype.kind == "f":
            flat[place % flat.size] = value
        header[field] = values
        raw = header.binaryblock + raw[size:]
    except (OSError, EOFError, zlib.error, ValueError, WrapStructError):
        return  # an earlier step left no header
    files[name] = gzip.compress(raw, 1, mtime=0) if name.endswith(".gz") else raw


# JSON


def _json(files: Files, name: str, path: list[int], action: str, value: Any) -> None:
    """Change one entry of a JSON file: ``path`` walks down its objects and lists."""
    try:
        content = json.loads(files[name])
    except (KeyError, ValueError, RecursionError):
        return
    holder: Any = None
    key: Any = None
    here = content
    for number in path:
        if isinstance(here, dict) and here:
            holder, key = here, sorted(here)[number % len(here)]
        elif isinstance(here, list) and here:
            holder, key = here, number % len(here)
        else:
            break
        here = holder[key]
    if holder is None:
        content = value
    elif action == "remove":
        del holder[key]
    elif action == "add" and isinstance(holder, dict):
        holder[str(value)[:40]] = here
    elif action == "add":
        holder.append(here)
    else:
        holder[key] = value
    files[name] = json.dumps(content).encode()  # NaN and Infinity included: a careless writer's JSON


# DICOM


def _element(files: Files, name: str, keyword: str, place: int, value: str | None) -> None:
    """Set an element of a DICOM header to any text or number, wherever it stands; None removes it."""
    # An earlier step left no header, or pydicom does not write this: then it stays.
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = dcmread(io.BytesIO(files[name]), force=True)
        found: list[Any] = []
        data.walk(lambda holder, each: found.append(holder) if each.keyword == keyword else None)
        holder = found[place % len(found)]
        element = holder[keyword]
        del holder[keyword]
        if value is not None:
            number = element.VR in ("US", "UL", "SS")
            said = int(float(value)) % (1 << 15) if number else value
            holder[keyword] = DataElement(
                element.tag, element.VR if number else "LO", said, validation_mode=0
            )
        packed = io.BytesIO()
        data.save_as(packed)
        files[name] = packed.getvalue()


# Files


def _remove(files: Files, name: str) -> None:
    files.pop(name, None)


def _swap(files: Files, name: str, other: str) -> None:
    if name in files and other in files:
        files[name], files[other] = files[other], files[name]


def _rename(files: Files, name: str, new: str) -> None:
    if name in files:
        folder = name.rpartition("/")[0]
        files[f"{folder}/{new}" if folder else new] = files.pop(name)


def _link(files: Files, name: str) -> None:
    if name in files:
        files[name] = LINK + name.rpartition("/")[2].encode()


def _folder(files: Files, name: str) -> None:
    if name in files:
        files[name] = FOLDER


def _checksum(files: Files) -> None:
    """Write into the cards what the files beside them really are, so that the damage is met behind the check."""
    for name, data in list(files.items()):
        folder = name.rpartition("/")[0]
        prefix = f"{folder}/" if folder else ""
        try:
            if name.endswith(("model.json", "config.json")):
                card = json.loads(data)
                card["sha256"] = hashlib.sha256(files[f"{prefix}model.safetensors"]).hexdigest()
            elif name.endswith("checkpoint.json"):
                card = json.loads(data)
                card["sha256"] = {
                    other: hashlib.sha256(files[prefix + other]).hexdigest() for other in card["sha256"]
                }
            else:
                continue
        except (KeyError, ValueError, TypeError, RecursionError):
            continue
        files[name] = json.dumps(card).encode()


_STEPS: dict[str, Callable[..., None]] = {
    **{kind: _bytes(kind) for kind in _BYTES},
    "inside": _inside,
    "field": _field,
    "json": _json,
    "element": _element,
    "entry": _entry,
    "remove": _remove,
    "swap": _swap,
    "rename": _rename,
    "link": _link,
    "folder": _folder,
    "checksum": _checksum,
}
