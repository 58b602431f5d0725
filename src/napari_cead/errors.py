"""Every error a user can meet: one sentence that names the file, the reason and the mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CeadError(Exception):
    """Base of all errors that a user can mend.

    Args:
        reason: What is wrong, in one clause without a full stop.
        file: The file, folder or value at fault.
        mend: What to do about it, in one clause without a full stop.
    """

    def __init__(self, reason: str, *, file: str | Path | None = None, mend: str | None = None) -> None:
        self.reason = reason
        self.file = None if file is None else str(file)
        self.mend = mend
        super().__init__(str(self))

    def __str__(self) -> str:
        sentence = self.reason if self.file is None else f"{self.file}: {self.reason}"
        sentence = sentence if self.mend is None else f"{sentence}; {self.mend}"
        return " ".join(sentence.split())  # one line, whatever a library put into its message

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.reason, self.file, self.mend))


def _rebuild(kind: type[CeadError], reason: str, file: str | None, mend: str | None) -> CeadError:
    return kind(reason, file=file, mend=mend)


class PatientError(CeadError):
    """A scan or patient folder cannot be used."""


class MaskError(PatientError):
    """A lesion mask cannot be used."""


class ModelError(CeadError):
    """A model is unknown, damaged, or cannot do what was asked."""


class RunError(CeadError):
    """A training run cannot be started or resumed, or failed."""


class StoreError(CeadError):
    """A slice store or a split cannot be made or used."""


class ParameterError(CeadError, ValueError):
    """A setting is out of its range."""


class OutputError(CeadError):
    """A file or folder cannot be written."""


class MissingExtraError(CeadError, ImportError):
    """An optional dependency is not installed."""


class CeadWarning(UserWarning):
    """Something was assumed or repaired; the result can be used, the user should know."""


class Cancelled(Exception):
    """Raised inside a long function after ``should_stop()`` returned true. Not an error."""


@contextmanager
def extra(name: str, what: str) -> Iterator[None]:
    """Turn an ``ImportError`` inside the block into one sentence that names the extra to install.

    Args:
        name: Extra of this package, for instance ``"phantom"``.
        what: What the user asked for, for instance ``"The phantom"``.

    Raises:
        MissingExtraError: If an import in the block fails.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(
            f"{what} needs {error.name or 'a package'}, which is not installed",
            mend=f'run: pip install "napari-cead[{name}]"',
        ) from error
