"""Patients in a zip: it is unpacked once, into a temporary folder that is removed when the program ends."""

from __future__ import annotations

import atexit
import lzma
import shutil
import stat
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..errors import PatientError, PatientNotFoundError, UnreadableError, UnsupportedError, disk_errors, why
from .dicom import SeriesError
from .formats import format_of
from .places import Place, is_zip, split

MAX_MEMBERS = 50_000
MAX_BYTES = 16 << 30
MAX_RATIO = 300
"""Largest ratio of unpacked to packed bytes of a large archive."""

MUCH = 1 << 28
"""Bytes up to which any ratio will do: masks are nearly empty."""

KEPT = 2 << 30
"""Bytes of unpacked files that are kept; the least recently used go first."""

_HEADER = 1 << 12  # bytes of a scan, packed or not
_HINT = "unpack it yourself, and give the folder"


def names_of(file: Path) -> tuple[str, ...]:
    """Return the names of the files in a zip, sorted, without hidden ones and archives.

    Raises:
        PatientError: If the zip cannot be read, or holds what no patient needs: names that lead out of it, links,
            encrypted files, too many files, or more bytes than a study has.
    """
    return tuple(_members(file))


def is_inside(file: Path, inside: str) -> bool:
    """Whether a zip holds a file or folder of this name."""
    return any(name == inside or name.startswith(f"{inside}/") for name in names_of(file))


class _Unpacked:
    """A zip in a temporary folder: of scans the header alone and of pictures the name, until they are read.

    Anything else, which may be DICOM, is there from the start: it takes all of it to see what it is.
    """

    def __init__(self, file: Path, members: dict[str, zipfile.ZipInfo]) -> None:
        self.file, self.users, self.bytes = file, 0, 0
        self._members, self._hollow = members, set(members)
        self._lock, self._listed = threading.Lock(), False
        self.top = Path(tempfile.mkdtemp(prefix="napari-cead-")).resolve() / file.stem

    def outline(self) -> None:
        """Make everything there as far as it takes to see what it is."""
        with self._lock, _told(self.file), zipfile.ZipFile(self.file) as archive:
            if self._listed:
                return
            for name in self._members:
                known = format_of(name)
                if known is None or not (known.whole or known.bare):
                    self._write(archive, name, None)
                else:  # the header tells results of ours from scans; pictures are told by their names
                    self._write(archive, name, _HEADER if known.whole else 0)
            self._listed = True

    def fill(self, files: Iterable[Path]) -> None:
        """Make files whole."""
        names = {file.relative_to(self.top).as_posix() for file in files if file.is_relative_to(self.top)}
        with self._lock, _told(self.file), zipfile.ZipFile(self.file) as archive:
            for name in sorted(names & self._hollow):
                self._write(archive, name, None)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.top.parent, ignore_errors=True)

    def _write(self, archive: zipfile.ZipFile, name: str, most: int | None) -> None:
        target = self.top / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".part-{target.name}")
        with archive.open(self._members[name]) as packed, part.open("wb") as stream:
            if most is None:
                shutil.copyfileobj(packed, stream, 1 << 20)
            else:
                stream.write(packed.read(most))
            self.bytes += stream.tell()
        part.replace(target)
        if most is None:
            self._hollow.discard(name)


_held: dict[tuple[Path, int, int], _Unpacked] = {}  # the one used last comes last
_lock = threading.Lock()


def forget() -> None:
    """Remove what has been unpacked and is not in use. What is left goes when the program ends."""
    _make_room(-1)


atexit.register(forget)


def _make_room(most: int) -> None:
    with _lock:
        total = sum(each.bytes for each in _held.values())
        for key, each in list(_held.items()):
            if total > most and not each.users:
                total -= each.bytes
                _held.pop(key).remove()


@contextmanager
def outline(file: Path) -> Iterator[Path]:
    """Give a folder of the zip's name with what is inside, as far as it takes to see what it is.

    It is made once, and stays for who asks next. Errors about what lies in it become errors about the zip.

    Raises:
        PatientError: If the zip cannot be unpacked.
    """
    with _unpacked(file) as held:
        yield held.top


@contextmanager
def real_place(place: Place) -> Iterator[Place]:
    """Give a place as it lies on disk: for one inside a zip, in the folder of :func:`outline`.

    Raises:
        PatientError: If it is not in the zip, or the zip cannot be unpacked.
    """
    if not place.zipped:
        yield place
        return
    with outline(place.file) as folder:
        real = joined(place.file, folder, place.inside)
        if not real.file.exists():
            raise PatientNotFoundError(
                f"there is no {place.inside} inside", file=place.file, hint="check the path"
            )
        yield real


def fill(place: Place, files: Iterable[Path]) -> None:
    """Make files whole that are to be read for a place; see :func:`real_place`."""
    if place.zipped:
        with _unpacked(place.file) as held:
            held.fill(files)


@contextmanager
def _unpacked(file: Path) -> Iterator[_Unpacked]:
    members = _members(file)
    state = file.stat()
    key = (file.absolute(), state.st_size, state.st_mtime_ns)
    with _lock, _told(file):
        held = _held.pop(key, None)
        if held is None or not held.top.parent.is_dir():  # some systems clean their temporary folders
            held = _Unpacked(file, members)
        _held[key] = held
        held.users += 1
    try:
        held.outline()
        yield held
    except PatientError as error:
        raise outside(error, held.top, file) from error
    finally:
        with _lock:
            held.users -= 1
        _make_room(KEPT)


def joined(file: Path, folder: Path, inside: str) -> Place:
    """Return the place in an unpacked folder of a path inside the zip."""
    name, series = _split(file, inside)
    return Place(folder / name if name else folder, series)


def _split(file: Path, inside: str) -> tuple[str, str]:
    """Split a path inside a zip into the file or folder and the series that is meant of it."""
    if is_inside(file, inside):
        return inside, ""
    if (parts := split(inside, lambda name: is_inside(file, name))) is not None:
        return parts
    if "/" not in inside and inside.replace("-", "").isdecimal():  # a series of files that lie at the top
        return "", inside
    return inside, ""


def outside(error: PatientError, folder: Path, file: Path) -> PatientError:
    """Return an error about something in a temporary folder as one about the zip."""

    def told(text: str | None) -> str | None:
        if text is None:
            return None
        return (
            text.replace(f"{folder}/", f"{file}#")
            .replace(f"{folder}\\", f"{file}#")
            .replace(str(folder), str(file))
        )

    if isinstance(error, SeriesError):
        choices = [(Path(str(told(str(path)))), text) for path, text in error.choices]
        return SeriesError(str(told(error.reason)), choices, file=told(error.file), hint=told(error.hint))
    return type(error)(str(told(error.reason)), file=told(error.file), hint=told(error.hint))


def _members(file: Path) -> dict[str, zipfile.ZipInfo]:
    with disk_errors(UnreadableError, "cannot be read", file, "check its permissions"):
        state = file.stat()
        return _listed(file, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=32)
def _listed(file: Path, size: int, changed: int) -> dict[str, zipfile.ZipInfo]:
    """Return the members of a zip; size and time are there to notice that it changed."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise UnreadableError("this is not a readable zip", file=file, hint="copy the file again") from error
    if len(entries) > MAX_MEMBERS:
        raise UnsupportedError(
            f"the zip holds {len(entries)} files, more than {MAX_MEMBERS}", file=file, hint=_HINT
        )
    total = sum(entry.file_size for entry in entries)
    packed = max(1, sum(entry.compress_size for entry in entries))
    if total > MAX_BYTES:
        raise UnsupportedError(
            f"the zip unpacks to {total / 2**30:.0f} GiB, more than {MAX_BYTES >> 30}", file=file, hint=_HINT
        )
    if total > MUCH and total / min(packed, max(1, size)) > MAX_RATIO:
        raise UnsupportedError(
            f"the zip unpacks to {total / packed:.0f} times its size, which no scan does",
            file=file,
            hint=_HINT,
        )
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in sorted(entries, key=lambda entry: entry.filename):
        name = _safe(entry, file)
        if name is None:
            continue
        if name in found:
            raise UnsupportedError(f"two files inside are called {name}", file=file, hint=_HINT)
        found[name] = entry
    return found


def _safe(entry: zipfile.ZipInfo, file: Path) -> str | None:
    """Return the name of a file inside; None for what is passed over."""
    name = entry.filename
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root or ".." in (*path.parts, *windows.parts):
        raise UnsupportedError(
            f"the zip holds a file that would lie elsewhere ({name[:80]!r})", file=file, hint=_HINT
        )
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UnsupportedError(f"the zip holds a link ({name[:80]!r})", file=file, hint=_HINT)
    if "\\" in name or any(ord(letter) < 32 for letter in name):
        raise UnsupportedError(f"the zip holds a strange name ({name[:80]!r})", file=file, hint=_HINT)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    if entry.is_dir() or hidden or is_zip(name):
        return None
    if entry.flag_bits & 1:
        raise UnsupportedError("the zip is encrypted", file=file, hint=_HINT)
    return str(path)


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """Turn any failure of unpacking a zip into a sentence."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        RuntimeError,
        NotImplementedError,
    ) as error:
        raise UnreadableError(
            f"the zip cannot be unpacked ({why(error)})", file=file, hint="copy the file again"
        ) from error
    except OSError as error:
        raise UnreadableError(
            f"the zip cannot be unpacked ({error.strerror or error})",
            file=file,
            hint="check the disk and the place for temporary files",
        ) from error
