"""Opening a patient from any of the layouts."""

from __future__ import annotations

import warnings as python_warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import (
    CeadWarning,
    MaskError,
    MissingSequenceError,
    ParameterError,
    PatientError,
    UnsupportedError,
)
from .aliases import BRAIN_MASK, MASK, SEQUENCES
from .brain_masks import within_brain
from .cases import PatientFiles
from .formats import PNG_SPACING, Side
from .formats.png import check_gaps, placed
from .layouts import find_files
from .lesion_masks import not_used, place_mask, split_labels, unlike_lesions
from .marks import MADE, kind_of
from .patient import Patient
from .reading import read_place
from .volumes import Volume, clean_intensities, clean_mask, lies_elsewhere, onto


def load_patient(
    path: str | Path | PatientFiles,
    sequence: str = "flair",
    mask: str | Path | None = None,
    *,
    only: bool = False,
    brain_mask: str | Path | None = None,
    png_first_column: Side = "left",
    png_spacing: tuple[float, float, float] = PNG_SPACING,
    prepare: Callable[[Patient], Patient] | None = None,
) -> Patient:
    """Load a patient from a folder, a scan, a DICOM series or a zip; the page on formats lists what can be opened.

    Args:
        path: As for :func:`~napari_cead.patients.find_files`. Beside a single file, a lesion mask
            of the same name prefix is found.
        sequence: The sequence to use. A single file whose name says another sequence is taken as that one.
        mask: Lesion mask file (or folder of PNG slices), overriding the one found on disk. One that is found and
            covers over a third of the brain, follows its outline, or lies outside of it, is not used; one that is
            named here is.
        only: Read the chosen sequence (and the mask) alone.
        brain_mask: Brain mask file, for a scan that is not skull-stripped: outside of it the sequences become 0.
        png_first_column: Side of the patient that column 0 of PNG slices shows.
        png_spacing: (z, y, x) in mm of PNG slices.
        prepare: Preparation of the patient: a ``Preparation`` strips the skull, for instance.

    Returns:
        The patient on the grid of the chosen sequence, in canonical LPS order. Other sequences on other
        grids are resampled to it; unreadable ones are left out. ``warnings`` names both.

    Raises:
        PatientError: If there is no patient, no such sequence, or the chosen sequence cannot be used.
        MaskError: If the lesion mask or the brain mask cannot be used.
    """
    files = find_files(path, sequence)
    if mask is not None:
        files = replace(files, mask=Path(mask).expanduser())
    if files.single:
        sequence = next(iter(files.sequences))
    patient = read_files(
        files,
        sequence,
        next(iter(files.sequences.values())).parent if isinstance(path, PatientFiles) else path,
        only=only,
        trust_mask=mask is not None or files.laid_out,
        brain_mask=None if brain_mask is None else Path(brain_mask).expanduser(),
        png_first_column=png_first_column,
        png_spacing=png_spacing,
    )
    if prepare is not None:
        patient = prepare(patient)
    for note in patient.warnings:
        python_warnings.warn(note, CeadWarning, stacklevel=2)
    return patient


def read_files(
    files: PatientFiles,
    sequence: str,
    path: str | Path,
    *,
    only: bool = False,
    trust_mask: bool = False,
    brain_mask: Path | None = None,
    png_first_column: Side = "left",
    png_spacing: tuple[float, float, float] = PNG_SPACING,
) -> Patient:
    """Load the patient that these files make up, and nothing else; its warnings are in ``warnings`` alone.

    Safe in several threads at once, unlike Python's own warnings. Otherwise like :func:`load_patient`.

    Args:
        files: The files.
        sequence: The sequence to use.
        path: The patient's place, for the message of an error.
        only: Read the chosen sequence (and the mask) alone.
        trust_mask: Use the lesion mask even if it covers more of the brain than lesions do: somebody named it.
        brain_mask: Brain mask file.
        png_first_column: Side of the patient that column 0 of PNG slices shows.
        png_spacing: (z, y, x) in mm of PNG slices.
    """
    if png_first_column not in ("left", "right"):
        raise ParameterError(
            f"the first PNG column is 'left' or 'right', not {png_first_column!r}",
            hint="name the side of the patient that column 0 shows",
        )
    if len(png_spacing) != 3 or not all(np.isfinite(size) and size > 0 for size in png_spacing):
        raise ParameterError(
            f"a voxel size must be three positive numbers in mm, not {png_spacing}", hint="give (z, y, x)"
        )
    if sequence not in files.sequences:
        raise MissingSequenceError(
            f"there is no {sequence} scan, only {', '.join(sorted(files.sequences))}",
            file=path,
            hint=f"choose another sequence (--sequence {sorted(files.sequences)[0]}) or add the missing file",
        )

    def read(place: Path) -> Volume | PatientError:
        try:
            if place != files.mask and (kind := kind_of(place)) is not None:
                raise UnsupportedError(
                    f"this is {MADE[kind]}, not a scan",
                    file=place,
                    hint="give the scan that it was made from",
                )
            volume = read_place(place, png_first_column, png_spacing)
            if place != files.mask:
                check_gaps(volume.numbers, place)
            return volume
        except PatientError as error:
            return error

    order = sorted(files.sequences, key=lambda name: (name != sequence, _rank(name)))
    wanted = order[:1] if only else order
    places = [files.sequences[name] for name in wanted] + ([files.mask] if files.mask else [])
    with ThreadPoolExecutor() as pool:  # decompression releases the GIL
        results = list(pool.map(read, places))

    chosen = results[0]
    if isinstance(chosen, PatientError):
        raise chosen
    notes = [*files.notes, *chosen.warnings]
    if files.guessed:
        notes.append(f"{places[0].name}: the name tells no sequence, taken as {sequence}")
    volumes: dict[str, NDArray[np.float32]] = {}
    elsewhere: dict[str, Volume] = {}
    for name, place, result in zip(wanted, places, results, strict=False):
        what = _name(place, files)
        try:
            if isinstance(result, PatientError):
                raise result
            # On its own grid first: resampling would smear NaN and a background that is not 0.
            clean, found = clean_intensities(result.data, what)
            moved = onto(placed(replace(result, data=clean), chosen, what), chosen.grid, 1, what)
            # And once more on the other: our own resampling leaves a faint rim, and what is written of this volume has
            # to be read as the same.
            volumes[name] = clean if moved.data is clean else clean_intensities(moved.data, what)[0]
            if lies_elsewhere(result.grid, chosen.grid):
                elsewhere[name] = Volume(clean, result.grid)
        except PatientError as error:
            if name == sequence:
                raise error.at(place) from error
            notes.append(f"left out: {error}")
            continue
        notes.extend(note for note in (*moved.warnings, *found) if note not in notes)

    lesion_mask = ignored = None
    if files.mask is not None:
        drawn, unseen = results[-1], None
        if isinstance(drawn, Volume) and (files.lesion_labels or files.ignored_labels):
            drawn, unseen = split_labels(drawn, files.lesion_labels, files.ignored_labels, files.mask)
        lesion_mask, found = _mask(drawn, chosen, volumes[sequence], files.mask, named=trust_mask)
        notes.extend(note for note in found if note not in notes)
        if unseen is not None and lesion_mask is not None:
            ignored = onto(placed(unseen, chosen, files.mask.name), chosen.grid, 0, files.mask.name).data > 0
        if lesion_mask is not None and isinstance(drawn, Volume) and lies_elsewhere(drawn.grid, chosen.grid):
            elsewhere[MASK] = Volume(clean_mask(drawn.data, files.mask.name)[0], drawn.grid)
    sources = {name: files.sequences[name] for name in volumes}
    if files.mask is not None and lesion_mask is not None:
        sources[MASK] = files.mask
    patient = Patient(
        name=files.name,
        sequence=sequence,
        sequences=volumes,
        lesion_mask=lesion_mask,
        spacing=chosen.grid.spacing,
        grid=chosen.grid,
        files=sources,
        warnings=tuple(notes),
        elsewhere=elsewhere,
        ignored=ignored,
    )
    if brain_mask is None:
        return patient
    masked = within_brain(patient, brain_mask, png_first_column=png_first_column)
    return replace(masked, files={**sources, BRAIN_MASK: brain_mask})


def _rank(name: str) -> int:
    return SEQUENCES.index(name) if name in SEQUENCES else len(SEQUENCES)


def _name(place: Path, files: PatientFiles) -> str:
    return place.name if files.kind != "png" else f"{files.name}/{place.name}"


def _mask(
    result: Volume | PatientError, chosen: Volume, scan: NDArray[np.float32], file: Path, *, named: bool
) -> tuple[NDArray[np.bool_] | None, tuple[str, ...]]:
    """Return the lesion mask, or None if its extent rules it out and the user did not name it; and the notes."""
    if isinstance(result, PatientError):
        raise MaskError(result.reason, file=result.file, hint=result.hint) from result
    made: tuple[str, ...] = ()
    if (kind := kind_of(file)) is not None:
        made = (f"{file.name} is {MADE[kind]}, not a reference; figures compare two results",)
    try:
        result = placed(result, chosen, file.name)
    except PatientError as error:
        raise MaskError(error.reason, file=file, hint=error.hint) from error
    lesion, found = place_mask(result, chosen.grid, scan, file)
    notes = (*made, *found)
    if not (doubt := unlike_lesions(lesion, scan)):
        return lesion, notes
    if named:
        return lesion, (*notes, f"{file.name} {doubt}; it is used as the lesion mask because it was named")
    return None, (not_used(file, doubt),)
