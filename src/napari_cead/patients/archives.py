"""Patients in a zip: looked at by their names, and unpacked into a temporary folder for as long as they are read."""

from __future__ import annotations

import lzma
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..errors import MaskError, PatientError, PatientNotFoundError, UnreadableError, UnsupportedError, why
from .aliases import is_image, is_zip
from .dicom import SeriesError
from .places import SEPARATOR, split

MAX_MEMBERS = 50_000
MAX_BYTES = 16 << 30
MAX_RATIO = 300
"""Largest ratio of unpacked to packed bytes of an archive that unpacks to much."""

MUCH = 1 << 28
"""Bytes up to which any ratio will do: masks are nearly empty."""

_HEADER = 1 << 12  # bytes of a scan, packed or not
_ALONE = (".nii", ".nii.gz", ".mgz", ".mgh", ".nrrd", ".png")  # files that need no other
_MEND = "unpack it yourself, and give the folder"


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


@contextmanager
def outline(file: Path) -> Iterator[Path]:
    """Give a folder of the zip's name with what is inside, as far as it takes to see what it is.

    Of scans there is the header alone, pictures are empty files; anything else, which may be DICOM, is unpacked.
    """
    with _unpacked(file, _members(file), hollow=True) as folder:
        yield folder


@contextmanager
def unpacked(file: Path, inside: str) -> Iterator[Path]:
    """Give the place that ``inside`` means, unpacked into a temporary folder which goes when the block ends.

    Args:
        file: The zip.
        inside: File or folder inside, or ``FOLDER#SERIES``.

    Raises:
        PatientError: If it is not there or cannot be unpacked.
    """
    members = _members(file)
    name, series = _split(file, inside)
    wanted = _below(members, name) if name else members
    if name in members and not name.lower().endswith(_ALONE):  # with the other half of a pair, or of a series
        top = name.rpartition("/")[0]
        wanted = {each: info for each, info in members.items() if each.rpartition("/")[0] == top}
    if not wanted:
        raise PatientNotFoundError(f"there is no {inside} inside", file=file, mend="check the path")
    with _unpacked(file, wanted) as folder:
        yield Path(f"{folder / name if name else folder}{series}")


def joined(file: Path, folder: Path, inside: str) -> Path:
    """Return the place in an unpacked folder that a path inside the zip means."""
    name, series = _split(file, inside)
    return Path(f"{folder / name if name else folder}{series}")


def _split(file: Path, inside: str) -> tuple[str, str]:
    """Split a path inside a zip into the file or folder and what is meant of it (``#5``)."""
    if is_inside(file, inside):
        return inside, ""
    if (parts := split(inside, lambda name: is_inside(file, name))) is not None:
        return parts[0], f"{SEPARATOR}{parts[1]}"
    if "/" not in inside and inside.replace("-", "").isdecimal():  # a series of files that lie at the top
        return "", f"{SEPARATOR}{inside}"
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
        return SeriesError(str(told(error.reason)), choices, file=told(error.file), mend=told(error.mend))
    kind = MaskError if isinstance(error, MaskError) else PatientError
    return kind(str(told(error.reason)), file=told(error.file), mend=told(error.mend))


def _below(members: dict[str, zipfile.ZipInfo], name: str) -> dict[str, zipfile.ZipInfo]:
    return {each: info for each, info in members.items() if each == name or each.startswith(f"{name}/")}


def _members(file: Path) -> dict[str, zipfile.ZipInfo]:
    try:
        state = file.stat()
        return _listed(file, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise UnreadableError(
            f"cannot be read ({error.strerror or error})", file=file, mend="check its permissions"
        ) from error


@lru_cache(maxsize=32)
def _listed(file: Path, size: int, changed: int) -> dict[str, zipfile.ZipInfo]:
    """Return the members of a zip; size and time are there to notice that it changed."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise UnreadableError("this is not a readable zip", file=file, mend="copy the file again") from error
    if len(entries) > MAX_MEMBERS:
        raise UnsupportedError(
            f"the zip holds {len(entries)} files, more than {MAX_MEMBERS}", file=file, mend=_MEND
        )
    total = sum(entry.file_size for entry in entries)
    packed = max(1, sum(entry.compress_size for entry in entries))
    if total > MAX_BYTES:
        raise UnsupportedError(
            f"the zip unpacks to {total / 2**30:.0f} GiB, more than {MAX_BYTES >> 30}", file=file, mend=_MEND
        )
    if total > MUCH and total / min(packed, max(1, size)) > MAX_RATIO:
        raise UnsupportedError(
            f"the zip unpacks to {total / packed:.0f} times its size, which no scan does",
            file=file,
            mend=_MEND,
        )
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in sorted(entries, key=lambda entry: entry.filename):
        name = _safe(entry, file)
        if name is None:
            continue
        if name in found:
            raise UnsupportedError(f"two files inside are called {name}", file=file, mend=_MEND)
        found[name] = entry
    return found


def _safe(entry: zipfile.ZipInfo, file: Path) -> str | None:
    """Return the name of a file inside; None for what is passed over."""
    name = entry.filename
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root or ".." in (*path.parts, *windows.parts):
        raise UnsupportedError(
            f"the zip holds a file that would lie elsewhere ({name[:80]!r})", file=file, mend=_MEND
        )
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UnsupportedError(f"the zip holds a link ({name[:80]!r})", file=file, mend=_MEND)
    if "\\" in name or any(ord(letter) < 32 for letter in name):
        raise UnsupportedError(f"the zip holds a strange name ({name[:80]!r})", file=file, mend=_MEND)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    if entry.is_dir() or hidden or is_zip(name):
        return None
    if entry.flag_bits & 1:
        raise UnsupportedError("the zip is encrypted", file=file, mend=_MEND)
    return str(path)


@contextmanager
def _unpacked(file: Path, members: dict[str, zipfile.ZipInfo], *, hollow: bool = False) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="napari-cead-", ignore_cleanup_errors=True) as temporary:
        top = Path(temporary).resolve() / file.stem
        try:
            with zipfile.ZipFile(file) as archive:
                for name, info in members.items():
                    target = top / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    picture = name.lower().endswith(".png")
                    if hollow and picture:
                        target.touch()
                        continue
                    with archive.open(info) as packed, target.open("xb") as stream:
                        if hollow and is_image(name):  # the header tells results of ours from scans
                            stream.write(packed.read(_HEADER))
                        else:
                            shutil.copyfileobj(packed, stream, 1 << 20)
        except (
            zipfile.BadZipFile,
            zlib.error,
            lzma.LZMAError,
            EOFError,
            RuntimeError,
            NotImplementedError,
        ) as error:
            raise UnreadableError(
                f"the zip cannot be unpacked ({why(error)})", file=file, mend="copy the file again"
            ) from error
        except OSError as error:
            raise UnreadableError(
                f"the zip cannot be unpacked ({error.strerror or error})",
                file=file,
                mend="check the disk and the place for temporary files",
            ) from error
        try:
            yield top
        except PatientError as error:
            raise outside(error, top, file) from error
        finally:
            with suppress(OSError):
                shutil.rmtree(top)
