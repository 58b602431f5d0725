"""Preparing a patient: registration, skull stripping, bias field correction, and the record of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError
from ..patients import Patient, Prepared, correct_bias_field, within_brain
from ..patients.bias_field import LEAST_SLICES as LEAST_TO_EVEN
from ..patients.brain import brain_mask
from ..patients.brain_masks import brain_on_grid
from ..slices import looks_skull_stripped, unevenness
from .preparation import AUTO, N4, NEVER, RIGID, SAME, Preparation
from .registration import Registered, registered
from .strippers import DEFAULT_STRIPPER, OnProgress, ShouldStop
from .stripping import LEAST_SLICES, find_brain

GIVEN = "given"
"""Name of the stripper of a given mask."""


def needs_strip(patient: Patient) -> str:
    """Return why the scan that detection uses needs skull stripping, in one clause; empty if it does not."""
    if patient.prepared is not None and patient.prepared.brain_mask is not None:
        return ""
    verdict = looks_skull_stripped(patient.volume(), patient.spacing)
    return "" if verdict.brain_only else verdict.sentence


def needs_even(patient: Patient) -> str:
    """Return why the scan that detection uses needs its bias field corrected, in one clause; empty if it does not.

    It is asked of a scan without its skull: the field of a head is that of its skin.
    """
    if patient.prepared is not None and patient.sequence in patient.prepared.corrected:
        return ""
    volume = patient.volume()
    if len(volume) < LEAST_TO_EVEN or needs_strip(patient):
        return ""
    return unevenness(np.maximum(volume, 0), brain_mask(volume))


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
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
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
    on_progress: OnProgress | None,
    should_stop: ShouldStop | None,
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
            mend=f"{error.mend}; or give --strip FILE (a brain mask), or --strip never",
        ) from error
    where = "" if found.sequence == raw.sequence else f" in {found.sequence}"
    told = f"the skull was stripped by {found.stripper}{where}" + (f" ({why})" if why else "")
    facts = {"version": found.version, "device": found.device, "found_in": found.sequence}
    return found.mask, found.stripper, facts, [f"{told}: {found.millilitres:.0f} mL of brain", *found.doubts]
