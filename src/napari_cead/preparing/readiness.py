"""The part of `check` on preparation: whether a scan needs skull stripping or an even field, and can get it."""

from __future__ import annotations

from ..errors import CeadError
from ..patients.bias_field import LEAST_SLICES as LEAST_TO_EVEN
from ..patients.judging import Judged
from .preparation import AUTO, N4, NEVER, SAME, Preparation, needs_even, needs_strip
from .registration import Registered, registered
from .strippers import DEFAULT_STRIPPER, find_stripper
from .stripping import LEAST_SLICES, find_brain

SKULL, FIELD = "a skull", "an uneven field"
"""Needs of a scan, for a count."""


def readiness(preparation: Preparation, judged: Judged) -> tuple[list[str], list[str]]:
    """Judge the scan of a patient that a run would take.

    ``auto`` runs no stripper: it says what a run will do, and whether it can. A stripper that is named runs, and so
    does registration; what they found is kept for the run.

    Args:
        preparation: What a run will be asked for.
        judged: The patient's files.

    Returns:
        Faults of the scan that a preparation removes; and what speaks against the requested one, each in one clause.
    """
    patient = judged.patient(only=not preparation.needs_others, use_mask=False)
    sequence, volume = patient.sequence, patient.volume()
    why = needs_strip(patient)
    needs = [SKULL] if why else []
    findings: list[str] = []
    visit = Registered(patient)
    if preparation.register != NEVER:
        try:
            visit = registered(patient)
        except CeadError as error:
            findings.append(error.brief)
        findings += [note for note in visit.notes if "look whether" in note]
    source = sequence if preparation.strip_from == SAME else preparation.strip_from
    if preparation.strip != NEVER and source not in visit.patient.sequences:
        findings.append(
            f"there is no {source} scan to look for the brain in; name another one (--strip-from)"
        )
        return needs, findings
    if why and preparation.strip == NEVER:
        findings.append(f"{why}; strip it (--strip auto)")
    elif why and preparation.strip == AUTO:
        missing = find_stripper(DEFAULT_STRIPPER).missing()
        if source == sequence and len(volume) < LEAST_SLICES:
            findings.append(f"{why}, in too few slices to find the brain in; give it stripped")
        elif missing is not None:
            findings.append(f"{why}, and {DEFAULT_STRIPPER}, which strips it, is not installed; {missing}")
    elif preparation.strip not in (AUTO, NEVER):
        try:
            found = find_brain(
                visit.patient, preparation.strip, sequence=source, moved=visit.matrix_of(source)
            )
            findings += [f"{doubt} ({preparation.strip})" for doubt in found.doubts]
        except CeadError as error:
            findings.append(error.brief)
    if preparation.bias_field != NEVER:
        if preparation.bias_field == N4 and len(volume) < LEAST_TO_EVEN:
            findings.append(
                f"a bias field cannot be told from a lesion in {len(volume)} slices; use --bias-field auto"
            )
        elif needs_even(patient):
            needs.append(FIELD)
    return needs, findings
