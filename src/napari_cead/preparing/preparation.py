"""The preparation of a scan before any model sees it: one description for Python, flags, the dock and saved files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import ParameterError
from ..patients import Patient
from ..patients.formats import is_image
from .strippers import find_stripper, stripper_names

AUTO, NEVER, N4, RIGID, SAME = "auto", "never", "n4", "rigid", "same"

BIAS_FIELD = (AUTO, NEVER, N4)
"""Choices for the bias field."""

REGISTER = (NEVER, RIGID)
"""Choices for sequences that are not aligned."""


@dataclass(frozen=True)
class Preparation:
    """How a raw scan is prepared. Immutable, validated, JSON-serialisable.

    Attributes:
        strip: ``"auto"``: strip the skull if the scan shows one, with the default stripper; ``"never"``; the name of a
            stripper, which then always runs; ``command:PROGRAM … {input} … {output}``; or a brain mask file.
        bias_field: ``"never"``; ``"n4"``: take the bias field out of a volume; ``"auto"``: do so if one side of the
            brain is clearly brighter than the other.
        register: ``"never"``: sequences lie where their headers place them; ``"rigid"``: each is moved, as a rigid
            body, onto the one that detection uses, and a lesion mask that was drawn on it moves along.
        strip_from: The sequence in which the brain is looked for; ``"same"``: the one that detection uses.

    Raises:
        ParameterError: If there is no such stripper or choice.

    Example:
        >>> Preparation(strip="auto").as_dict()
        {'strip': 'auto', 'bias_field': 'never', 'register': 'never', 'strip_from': 'same'}
    """

    strip: str = AUTO
    bias_field: str = NEVER
    register: str = NEVER
    strip_from: str = SAME

    def __post_init__(self) -> None:
        for name, choices in (("bias_field", BIAS_FIELD), ("register", REGISTER)):
            if (value := getattr(self, name)) not in choices:
                raise ParameterError(f"{name} cannot be {value!r}", mend=f"use {', '.join(choices)}")
        if not self.strip_from:
            raise ParameterError("strip_from cannot be empty", mend=f"name a sequence, or {SAME}")
        if self.strip in (AUTO, NEVER) or self.mask_file is not None:
            return
        try:
            find_stripper(self.strip)
        except ParameterError as error:
            if self.strip in stripper_names():
                raise
            raise ParameterError(
                error.reason, file=error.file, mend=f"{error.mend}, or {AUTO}, {NEVER}, or a brain mask file"
            ) from None

    @property
    def mask_file(self) -> Path | None:
        """The brain mask file that ``strip`` names; None if it names none."""
        looks = is_image(self.strip) and not self.strip.startswith("command:")
        return Path(self.strip).expanduser() if looks else None

    def __call__(self, patient: Patient) -> Patient:
        """Return a patient prepared like this, for ``load_patient(path, prepare=Preparation())``."""
        from .prepare import prepare_patient

        return prepare_patient(patient, self)

    @property
    def nothing(self) -> bool:
        """Whether scans always stay unchanged."""
        return self == RAW

    @property
    def needs_others(self) -> bool:
        """Whether it needs more than the sequence that detection uses."""
        return self.register != NEVER or self.strip_from != SAME

    def replace(self, **changes: Any) -> Preparation:
        """Return a copy with some values changed.

        Raises:
            ParameterError: If there is no such stripper or choice.
        """
        return replace(self, **changes)

    def as_dict(self) -> dict[str, str]:
        """Return the settings as JSON values."""
        return asdict(self)

    @classmethod
    def from_saved(cls, values: Mapping[str, Any]) -> Preparation:
        """Read saved settings; a missing one means that the step is left out.

        Raises:
            ParameterError: If a value is none of those possible.
        """
        wanted = {name: values.get(name, value) for name, value in RAW.as_dict().items()}
        for name, value in wanted.items():
            if not isinstance(value, str):
                raise ParameterError(f"{name} cannot be {value!r}", mend="give a text")
        return cls(**wanted)


RAW = Preparation(NEVER, NEVER)
"""No preparation."""

FLAGS = {
    "strip": "--strip",
    "bias_field": "--bias-field",
    "register": "--register",
    "strip_from": "--strip-from",
}
"""The settings and their flags."""
