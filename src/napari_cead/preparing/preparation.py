"""Preparing a scan before any model sees it: the settings for Python, flags, the dock and saved files, and the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError, ParameterError
from ..patients import Patient, Prepared, correct_bias_field, within_brain
from ..patients.brain import brain_mask
from ..patients.brain_masks import brain_on_grid
from ..patients.formats import is_image
from ..patients.once import once
from ..progress import Progress, Stop
from ..slices import looks_skull_stripped, unevenness
from .registration import Registered, registered
from .strippers import DEFAULT_STRIPPER, find_stripper, stripper_names
from .stripping import LEAST_SLICES, find_brain

AUTO, NEVER, N4, RIGID, SAME = "auto", "never", "n4", "rigid", "same"

BIAS_FIELD = (AUTO, NEVER, N4)
"""Choices for the bias field."""

REGISTER = (NEVER, RIGID)
"""Choices for sequences that are not aligned."""

GIVEN = "given"
"""Name of the stripper of a given mask."""


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
                raise ParameterError(f"{name} cannot be {value!r}", hint=f"use {', '.join(choices)}")
        if not self.strip_from:
            raise ParameterError("strip_from cannot be empty", hint=f"name a sequence, or {SAME}")
        if self.strip in (AUTO, NEVER) or self.mask_file is not None:
            return
        try:
            find_stripper(self.strip)
        except ParameterError as error:
            if self.strip in stripper_names():
                raise
            raise ParameterError(
                error.reason, file=error.file, hint=f"{error.hint}, or {AUTO}, {NEVER}, or a brain mask file"
            ) from None

    @property
    def mask_file(self) -> Path | None:
        """The brain mask file that ``strip`` names; None if it names none."""
        looks = is_image(self.strip) and not self.strip.startswith("command:")
        return Path(self.strip).expanduser() if looks else None

    def __call__(self, patient: Patient) -> Patient:
        """Return a patient prepared like this, for ``load_patient(path, prepare=Preparation())``."""
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
                raise ParameterError(f"{name} cannot be {value!r}", hint="give a text")
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


def needs_strip(patient: Patient) -> str:
    """Return why the scan that detection uses needs skull stripping, in one clause; empty if it does not."""
    if patient.prepared is not None and patient.prepared.brain_mask is not None:
        return ""
    verdict = once(looks_skull_stripped, patient.volume(), patient.spacing)
    return "" if verdict.brain_only else verdict.sentence


def needs_even(patient: Patient) -> str:
    """Return why the scan that detection uses needs its bias field corrected, in one clause; empty if it does not.

    It is asked of a scan without its skull: the field of a head is that of its skin.
    """
    if patient.prepared is not None and patient.sequence in patient.prepared.corrected:
        return ""
    if needs_strip(patient):
        return ""
    volume = patient.volume()
    return unevenness(np.maximum(volume, 0), once(brain_mask, volume))


def needs_register(patient: Patient) -> str:
    """Return which sequences are placed by their headers alone, in one clause; empty if none is."""
    if patient.prepared is not None and patient.prepared.moves:
        return ""
    here = patient.sequence in patient.elsewhere
    names = [
        name for name in patient.sequences if name != patient.sequence and (here or name in patient.elsewhere)
    ]
    if not names:
        return ""
    there = f"{' and '.join(names)} {'lies on another grid' if len(names) == 1 else 'lie on other grids'}"
    return f"{there} than {patient.sequence}, placed as the headers say"


def prepare_patient(
    patient: Patient,
    preparation: Preparation | None = None,
    *,
    brain: NDArray[Any] | None = None,
    device: str = "auto",
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> Patient:
    """Return a patient whose scan is ready for a model.

    It starts from the scans as they were read, whatever was done to them since. Sequences are registered first, if
    requested. All are stripped by the same mask; the bias field is corrected in the one that detection uses.
    ``prepared`` and the warnings record what was done.

    Args:
        patient: The patient; it stays unchanged.
        preparation: What to do; None: ``Preparation()``, which strips a skull if there is one.
        brain: (Z, Y, X) labels or bool: a brain mask drawn or corrected by hand; it replaces ``strip``.
        device: See :func:`~napari_cead.devices.pick_device`.
        on_progress: Called with (steps done, total steps) by the registration, and by the stripper.
        should_stop: Called several times a second.

    Raises:
        CeadError: If the skull has to be stripped and cannot be, the bias field cannot be told, or a sequence cannot be
            registered.
        Cancelled: If ``should_stop`` returned true.

    Example:
        >>> patient = prepare_patient(load_patient("raw_flair.nii.gz"))  # doctest: +SKIP
        >>> patient.prepared.stripper  # doctest: +SKIP
        'deepbet'
    """
    wanted, raw = preparation or Preparation(), patient.raw()
    lying = Registered(raw)
    if wanted.register == RIGID:
        lying = registered(raw, on_progress=on_progress, should_stop=should_stop)
    mask, stripper, facts, notes = _brain(lying, wanted, brain, device, on_progress, should_stop)
    notes = [*lying.notes, *notes]
    made = lying.patient
    if mask is not None:
        made = within_brain(made, mask)
        facts["brain_ml"] = round(float(mask.sum()) * float(np.prod(raw.spacing)) / 1000, 3)
    corrected: tuple[str, ...] = ()
    if wanted.bias_field == N4 or (wanted.bias_field == AUTO and needs_even(made)):
        before = made.warnings
        made = correct_bias_field(made)
        notes += [note for note in made.warnings if note not in before]
        corrected = (raw.sequence,)
    if wanted.register == RIGID:
        facts["registered"] = {name: move.as_dict() for name, move in lying.moves.items()}
    masks = (raw.lesion_mask, made.lesion_mask)
    record = Prepared(
        raw=raw.sequences,
        asked=wanted.as_dict() if brain is None else {**wanted.as_dict(), "strip": GIVEN},
        brain_mask=mask,
        stripper=stripper,
        corrected=corrected,
        moves=facts.get("registered", {}),
        placed={name: lying.patient.sequences[name] for name in lying.moves},
        lesion_masks=None
        if masks[0] is None or masks[1] is None or masks[0] is masks[1]
        else (masks[0], masks[1]),
        facts=facts,
        notes=tuple(notes),
    )
    said = (*raw.warnings, *(note for note in notes if note not in raw.warnings))
    return replace(made, warnings=said, prepared=record)


def _brain(
    lying: Registered,
    wanted: Preparation,
    brain: NDArray[Any] | None,
    device: str,
    on_progress: Progress | None,
    should_stop: Stop | None,
) -> tuple[NDArray[np.bool_] | None, str, dict[str, Any], list[str]]:
    """Return the brain mask (None: the scan stays as it is), what made it, facts about that, and what to say."""
    raw = lying.patient
    if brain is not None:
        mask, said = brain_on_grid(raw, brain)
        return mask, GIVEN, {}, [*said, "the skull was stripped by a brain mask that was given"]
    if (file := wanted.mask_file) is not None:
        mask, said = brain_on_grid(raw, file)
        facts = {"file": str(file.absolute())}
        return mask, GIVEN, facts, [*said, f"the skull was stripped by the brain mask {file.name}"]
    if wanted.strip == NEVER:
        return None, "", {}, []
    name, why = wanted.strip, ""
    source = raw.sequence if wanted.strip_from == SAME else wanted.strip_from
    if wanted.strip == AUTO:
        name, why = DEFAULT_STRIPPER, needs_strip(raw)
        if not why:
            return None, "", {}, []
        # The warning about the scan itself says the rest.
        if source == raw.sequence and len(raw.volume()) < LEAST_SLICES:
            return None, "", {}, ["no skull was stripped: there are too few slices to find the brain in"]
    try:
        found = find_brain(
            raw,
            name,
            sequence=source,
            moved=lying.matrix_of(source),
            device=device,
            on_progress=on_progress,
            should_stop=should_stop,
        )
    except MissingExtraError as error:
        if not why:
            raise
        place = raw.files.get(raw.sequence, raw.name)
        raise MissingExtraError(
            f"{why}, and {name}, which strips it, is not installed",
            file=place,
            hint=f"{error.hint}; or give --strip FILE (a brain mask), or --strip never",
        ) from error
    where = "" if found.sequence == raw.sequence else f" in {found.sequence}"
    told = (f"{why}; " if why else "") + f"the skull was stripped by {found.stripper}{where}"
    facts = {"version": found.version, "device": found.device, "found_in": found.sequence}
    return found.mask, found.stripper, facts, [f"{told}: {found.millilitres:.0f} mL of brain", *found.doubts]
