"""Every error that a user can meet: one sentence that names the file, the reason and the fix."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self


def printable(text: str) -> str:
    """Return a text with a space for every control character: it may come from a file, and terminals obey them."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def shortened(text: str, most: int = 120) -> str:
    """Return a text of at most that many letters: values in files may be longer than anybody reads."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def why(error: BaseException) -> str:
    """Return the first line of a library's error message; the kind of error if it has none."""
    words = str(error).strip().splitlines()
    return shortened(printable(words[0])) if words else type(error).__name__


class CeadError(Exception):
    """A problem that the user can fix; the kinds below name it.

    Args:
        reason: The problem, in one clause without a full stop.
        file: The file, folder or value at fault.
        hint: The fix, in one clause without a full stop.

    Attributes:
        code: The kind of error, for scripts; it stays the same from version to version.
    """

    code: ClassVar[str] = "failed"

    def __init__(self, reason: str, *, file: str | Path | None = None, hint: str | None = None) -> None:
        self.reason = reason
        self.file = None if file is None else str(file)
        self.hint = hint
        super().__init__(str(self))

    def __str__(self) -> str:
        sentence = self.reason if self.file is None else f"{self.file}: {self.reason}"
        sentence = sentence if self.hint is None else f"{sentence}; {self.hint}"
        return " ".join(printable(sentence).split())  # one line, whatever a file or a library put into it

    @property
    def brief(self) -> str:
        """What is wrong and what to do about it, for where the file is known."""
        return self.reason + (f"; {self.hint}" if self.hint else "")

    def at(self, file: str | Path | None) -> Self:
        """Return the same error about another file, for a caller that knows the file the user gave."""
        return type(self)(self.reason, file=file, hint=self.hint)

    def as_dict(self) -> dict[str, str | None]:
        """Return the error as plain JSON values: ``code``, ``message``, ``reason``, ``file`` and ``hint``."""
        return {
            "code": self.code,
            "message": str(self),
            "reason": self.reason,
            "file": self.file,
            "hint": self.hint,
            "mend": self.hint,  # its name in earlier versions
        }

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.reason, self.file, self.hint))


def _rebuild(kind: type[CeadError], reason: str, file: str | None, hint: str | None) -> CeadError:
    return kind(reason, file=file, hint=hint)


class PatientError(CeadError):
    """A scan or patient folder cannot be used."""

    code = "patient-unusable"


class PatientNotFoundError(PatientError):
    """There is no patient at this place: no such path, an empty folder, or names that identify nothing."""

    code = "patient-not-found"


class MissingSequenceError(PatientError):
    """The patient lacks the requested sequence."""

    code = "sequence-missing"


class UnreadableError(PatientError):
    """A file of a patient is damaged, cut short, or may not be read."""

    code = "scan-unreadable"


class UnsupportedError(PatientError):
    """A file is intact, but is not a usable scan: in colour, complex, 4-D, of another format."""

    code = "scan-unsupported"


class GeometryError(PatientError):
    """Size, voxel size, affine or position of a scan is impossible, or does not fit the others."""

    code = "geometry-wrong"


class IntensityError(PatientError):
    """The values of a scan leave nothing to compute with: constant, zero, mostly NaN."""

    code = "intensities-unusable"


class MaskError(PatientError):
    """A lesion mask, brain mask or file of corrections cannot be used."""

    code = "mask-unusable"


class ModelError(CeadError):
    """A model does not support the request."""

    code = "model-unusable"


class ModelNotFoundError(ModelError):
    """There is no model of this name, or no model at this place."""

    code = "model-not-found"


class ModelDamagedError(ModelError):
    """The files of a model are not what was saved, or are not safe to read."""

    code = "model-damaged"


class RunError(CeadError):
    """A training run cannot be started or resumed, or failed."""

    code = "run-failed"


class RunNotFoundError(RunError):
    """There is no training run at this place."""

    code = "run-not-found"


class RunDamagedError(RunError):
    """The files of a training run are not what was written."""

    code = "run-damaged"


class RunBusyError(RunError):
    """Another process is training here."""

    code = "run-busy"


class StoreError(CeadError):
    """A slice store cannot be made or used."""

    code = "store-unusable"


class StoreDamagedError(StoreError):
    """The files of a slice store are not what was written."""

    code = "store-damaged"


class SplitError(StoreError):
    """A split file or a scan list cannot be used."""

    code = "split-unusable"


class ParameterError(CeadError, ValueError):
    """A setting is out of its range."""

    code = "setting-invalid"


class SettingsFileError(ParameterError):
    """A file of saved settings cannot be used."""

    code = "settings-unreadable"


class NotReadyError(CeadError):
    """Another step has to come first, for instance opening a patient."""

    code = "not-ready"


class OutputError(CeadError):
    """A file or folder cannot be written."""

    code = "output-not-writable"


class OutOfMemoryError(PatientError, ModelError, RunError):
    """The memory is too small for this scan, model or training; code that catches any of these kinds catches it."""

    code = "out-of-memory"


class MissingExtraError(CeadError, ImportError):
    """An optional dependency is not installed."""

    code = "extra-missing"


class CeadWarning(UserWarning):
    """Something was assumed or repaired; the result can be used, but the user should know."""


class Cancelled(Exception):
    """Raised inside a long function after ``should_stop()`` returned true. Not an error."""


@contextmanager
def extra(name: str, what: str) -> Iterator[None]:
    """Turn an ``ImportError`` inside the block into one sentence that names the extra to install.

    Args:
        name: Extra of this package, for instance ``"phantom"``.
        what: The requested feature, for instance ``"The phantom"``.

    Raises:
        MissingExtraError: If an import in the block fails.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(
            f"{what} needs {error.name or 'a package'}, which is not installed",
            hint=f'run: pip install "napari-cead[{name}]"',
        ) from error


ROOM = "choose a folder that can be written and has space left"
"""The usual advice if something cannot be written."""


@contextmanager
def disk_errors(
    kind: type[CeadError], said: str, file: str | Path | None, hint: str | None = ROOM
) -> Iterator[None]:
    """Turn an ``OSError`` inside the block into one sentence.

    Args:
        kind: The kind of the error.
        said: What failed; the reason of the system follows in brackets.
        file: What it is about.
        hint: What to do about it.
    """
    try:
        yield
    except OSError as error:
        raise kind(f"{said} ({error.strerror or error})", file=file, hint=hint) from error


def details(error: BaseException) -> str:
    """Return the details behind the sentence of an error, for a curious user or a bug report.

    For an error that a user can fix: kind, code, file, reason, hint, and its cause. For any other: the
    traceback.

    Args:
        error: The error.

    Returns:
        Several lines.
    """
    if not isinstance(error, CeadError):
        return "".join(traceback.format_exception(error)).rstrip()
    facts: dict[str, Any] = {
        "Error": type(error).__name__,
        "Code": error.code,
        "File": error.file,
        "Reason": error.reason,
        "Hint": error.hint,
    }
    lines = [f"{name}: {value}" for name, value in facts.items() if value]
    seen: set[int] = {id(error)}
    cause = _cause(error)
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        words = " ".join(str(cause).split())
        lines.append(f"Caused by: {type(cause).__name__}" + (f": {words}" if words else ""))
        cause = _cause(cause)
    return "\n".join(lines)


def _cause(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)
