"""A model in one zip file, for sharing: ``NAME/config.json``, ``NAME/model.safetensors`` and ``NAME/README.md``.

A zip from elsewhere is not trusted: its whole listing is checked first, only the card (``config.json``, or
``model.json`` as in the folder of an installed model) and the weights are ever read, and of each no more than a model
of its spec can need. The names in it are compared, never written to.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, LargeZipFile, ZipFile, ZipInfo

from ..atomic import atomic_path, make_folder, to_json
from ..errors import ModelDamagedError, ModelError, OutputError, why
from .card import CARD_FILE, HUB_CARD_FILE, README_FILE, WEIGHTS_FILE, ModelCard, parse_card
from .readme import readme
from .storage import check_model, skeleton
from .weights import LONGEST_HEADER, PICKLES, expected_layout, layout_size, only_safetensors

SUFFIX = ".zip"
LONGEST_CARD = 1 << 20
"""Largest size of the ``model.json`` in a zip, in bytes."""

BESIDE = (README_FILE, ".gitattributes")
"""Files beside a model, in the layout of the Hugging Face hub; they are not read."""

_CHUNK = 1 << 20
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip: equal models give equal files
_ENCRYPTED = 0x1
_ANOTHER = "export the model again, or ask for another copy"
_REPACK = f"pack a folder with only {CARD_FILE} and {WEIGHTS_FILE}"


def is_archive(path: Path) -> bool:
    """Whether a path names a zip file rather than a folder (its content is not read)."""
    return path.suffix.lower() == SUFFIX and not path.is_dir()


class ModelArchive:
    """A zip file with one model; its listing is checked and its card read.

    Args:
        file: Path of the zip file.
        opened: The same, open for reading.

    Attributes:
        file: Path of the zip file.
        card: The model's card.

    Raises:
        ModelError: If it holds anything but one model, or the card is not valid.
    """

    def __init__(self, file: Path, opened: ZipFile) -> None:
        self.file = file
        self._zip = opened
        card, self._weights = _members(file, opened.infolist())
        if card.file_size > LONGEST_CARD:
            raise ModelDamagedError(
                f"the card has {card.file_size} bytes, more than the limit of {LONGEST_CARD}",
                file=file / card.filename,
                hint=_ANOTHER,
            )
        with _reading(file), opened.open(card) as stream:
            content = stream.read(LONGEST_CARD)
        self.card = parse_card(content, file / card.filename)

    def extract(self, folder: Path, name: str) -> None:
        """Write the model to an empty folder of the caller's and check it there.

        Args:
            folder: An existing folder.
            name: The name for the model's card.

        Raises:
            ModelError: If the weights are damaged, or not those of the card's spec.
            OSError: If the folder cannot be written.
        """
        where = self.file / self._weights.filename
        with _reading(self.file):
            stream = self._zip.open(self._weights)
        with stream, (folder / WEIGHTS_FILE).open("wb") as written:
            start = self._read(stream, 8)
            header = int.from_bytes(start, "little")
            if len(start) < 8 or header > LONGEST_HEADER:
                raise ModelDamagedError("this is not a valid safetensors file", file=where, hint=_ANOTHER)
            size = 8 + header + layout_size(expected_layout(self.card, skeleton(self.card)))
            if self._weights.file_size != size:
                raise ModelDamagedError(
                    f"the file has {self._weights.file_size} bytes, but the card's spec needs {size}",
                    file=where,
                    hint=_ANOTHER,
                )
            written.write(start)
            left = size - len(start)
            while left > 0:
                chunk = self._read(stream, min(left, _CHUNK))
                if not chunk:
                    raise ModelDamagedError("the file ends too early", file=where, hint=_ANOTHER)
                written.write(chunk)
                left -= len(chunk)
        card = self.card.model_copy(update={"name": name})
        (folder / CARD_FILE).write_text(to_json(card.model_dump(mode="json")), encoding="utf-8")
        try:
            check_model(folder)
        except ModelError as error:  # it names the temporary copy, which the user does not know
            raise ModelDamagedError(error.reason, file=where, hint=_ANOTHER) from None

    def _read(self, stream: IO[bytes], count: int) -> bytes:
        with _reading(self.file):
            return stream.read(count)


@contextmanager
def open_archive(file: Path) -> Iterator[ModelArchive]:
    """Open a zip file that holds one model.

    Raises:
        ModelError: If the file cannot be read, is damaged, or holds anything but one model.
    """
    with _reading(file):
        opened = ZipFile(file)
    with opened:
        yield ModelArchive(file, opened)


def write_archive(source: Path, target: Path, change: Callable[[ModelCard], ModelCard] | None = None) -> Path:
    """Check a model folder and pack it; equal models give equal files, byte by byte.

    Args:
        source: The model folder.
        target: The zip file to write; an existing zip file of a model is replaced.
        change: Makes the card in the zip file from the source's; None keeps it.

    Returns:
        The zip file.

    Raises:
        ModelError: If the source is not a complete model.
        OutputError: If the target cannot be written, or is anything but a model's zip file.
    """
    card = check_model(source)
    card = card if change is None else change(card)
    if target.exists() and not _holds_model(target):
        raise OutputError(
            "there is something here that is not a model", file=target, hint="choose another file name"
        )
    make_folder(target.parent)
    with atomic_path(target) as temporary, ZipFile(temporary, "w") as packed:
        for name, text in (
            (HUB_CARD_FILE, to_json(card.model_dump(mode="json"))),
            (README_FILE, readme(card)),
        ):
            content = text.encode()
            packed.writestr(_entry(f"{card.name}/{name}", len(content)), content)
        weights = source / WEIGHTS_FILE
        entry = _entry(f"{card.name}/{WEIGHTS_FILE}", weights.stat().st_size)
        with weights.open("rb") as stream, packed.open(entry, "w") as stored:
            while chunk := stream.read(_CHUNK):
                stored.write(chunk)
    return target


def _entry(name: str, size: int) -> ZipInfo:
    entry = ZipInfo(name, _DATE)
    entry.compress_type = ZIP_STORED  # weights do not get smaller
    entry.create_system = 3  # the same file on all systems; the next line needs it
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.file_size = size
    return entry


def _holds_model(file: Path) -> bool:
    try:
        with open_archive(file):
            return True
    except ModelError:
        return False


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turn errors of reading a zip file into one sentence."""
    try:
        yield
    except OSError as error:
        raise ModelDamagedError(
            f"the file cannot be read ({error.strerror or error})", file=file, hint=_ANOTHER
        ) from error
    except (
        BadZipFile,
        LargeZipFile,
        EOFError,
        NotImplementedError,
        OverflowError,
        RuntimeError,
        ValueError,
        struct.error,
        zlib.error,
    ) as error:
        raise ModelDamagedError(
            f"this is not a valid zip file ({why(error)})", file=file, hint=_ANOTHER
        ) from None


def _members(file: Path, entries: Sequence[ZipInfo]) -> tuple[ZipInfo, ZipInfo]:
    """Return the card and the weights of the one model in a listing.

    Raises:
        ModelError: If the listing holds anything else, apart from files that macOS adds.
    """
    for entry in entries:
        _check_entry(file, entry)
    kept = [entry for entry in entries if not _of_macos(entry)]
    for entry in kept:
        if PurePosixPath(entry.filename).suffix.lower() in PICKLES:
            raise only_safetensors(file / entry.filename)
    _check_distinct(file, [entry.filename for entry in kept])

    # A card of either name: with both in one place, the second is read as one model too many.
    named = {CARD_FILE: CARD_FILE, HUB_CARD_FILE: CARD_FILE, WEIGHTS_FILE: WEIGHTS_FILE}
    found: dict[str, dict[str, ZipInfo]] = {CARD_FILE: {}, WEIGHTS_FILE: {}}
    folders = set()
    for entry in kept:
        folder, _, name = entry.filename.rpartition("/")
        if not name and "/" not in folder:
            folders.add(folder)
        elif name in named and "/" not in folder and folder not in found[named[name]]:
            found[named[name]][folder] = entry
        elif name not in BESIDE or "/" in folder:
            raise _foreign(file, entry.filename)
    for name, by_folder in found.items():
        if not by_folder:
            raise ModelDamagedError(f"there is no {name} in it", file=file, hint=_REPACK)
        if len(by_folder) > 1:
            raise ModelDamagedError(
                "it holds more than one model",
                file=file,
                hint="unpack it and install the folders one by one",
            )
    ((place, card),) = found[CARD_FILE].items()
    ((other, weights),) = found[WEIGHTS_FILE].items()
    if place != other:
        raise ModelDamagedError(
            f"its {CARD_FILE} and {WEIGHTS_FILE} are not together", file=file, hint=_REPACK
        )
    for folder in folders - {place}:
        raise _foreign(file, f"{folder}/")
    return card, weights


def _check_entry(file: Path, entry: ZipInfo) -> None:
    """Refuse an entry that a model's zip file never holds, wherever it lies.

    Raises:
        ModelError: If its name is not a plain path, or it is a link, encrypted or compressed in an unusual way.
    """
    # A zip can give an entry two names, and Python repairs some: all of them must be harmless.
    for name in (entry.orig_filename, entry.filename):
        parts = name.removesuffix("/").split("/")
        if not name.isprintable() or "\\" in name or ":" in name or {"", ".", ".."} & set(parts):
            raise ModelDamagedError(
                f"its entry {name!r} could be written outside the folder it is unpacked to",
                file=file,
                hint=_REPACK,
            )
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ModelDamagedError(f"its entry {entry.filename!r} is a link or device", file=file, hint=_REPACK)
    if entry.flag_bits & _ENCRYPTED:
        raise ModelDamagedError(
            f"its entry {entry.filename!r} is encrypted", file=file, hint="unpack it and give the folder"
        )
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):  # others may need gigabytes to unpack a byte
        raise ModelDamagedError(
            f"its entry {entry.filename!r} is compressed in a way that is not read here",
            file=file,
            hint="unpack it and give the folder",
        )


def _check_distinct(file: Path, names: Sequence[str]) -> None:
    """Refuse names that are equal, or would be on Windows and macOS.

    Raises:
        ModelError: If there are any.
    """
    spelling: dict[str, str] = {}
    for name in names:
        for path in (*map(str, PurePosixPath(name).parents), name.removesuffix("/")):
            other = spelling.setdefault(path.casefold(), path)
            if other != path:
                raise ModelDamagedError(
                    f"its entries {other!r} and {path!r} differ only in upper and lower case",
                    file=file,
                    hint=_REPACK,
                )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ModelDamagedError(f"its entry {twice!r} occurs twice", file=file, hint=_REPACK)


def _of_macos(entry: ZipInfo) -> bool:
    parts = entry.filename.split("/")
    return parts[0] == "__MACOSX" or parts[-1] == ".DS_Store"


def _foreign(file: Path, name: str) -> ModelError:
    return ModelDamagedError(f"its entry {name!r} is not part of a model", file=file, hint=_REPACK)
