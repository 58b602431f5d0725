"""Finding patients on disk: which files of a folder make one patient, and which folders hold patients."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..errors import PatientError, PatientNotFoundError, UnreadableError, UnsupportedError, disk_errors
from .aliases import ALIASES, BRAIN_MASK, MASK, NO_SCANS, PNG_FOLDERS, SEQUENCES, read_name
from .archives import joined, outline
from .bids import OTHER_FOLDERS, is_dataset, mask_of, name_of, parse, scans_of, session_of
from .cases import PatientFiles, cases, choose, masks_near, scan_files, staged
from .dicom import (
    Series,
    SeriesError,
    choice_of,
    holds_dicom,
    is_dicom,
    series_of,
    usable_series,
)
from .findings import Note
from .formats import accepted, is_image, is_picture
from .formats.png import NO_NUMBER, pngs_in
from .marks import MADE, kind_of
from .nnunet import is_images_folder, is_labels_folder, labels_of, split_case
from .places import Place, is_zip, place_of, within


def find_files(path: str | Path | Place | PatientFiles, sequence: str = "flair") -> PatientFiles:
    """Recognise a patient: a folder, a scan, a DICOM series, a zip.

    Args:
        path: Folder in the NIfTI or PNG release layout, a subject or session of a BIDS dataset, a DICOM folder (or
            one series of it: ``FOLDER#NUMBER``), a NIfTI, MGH, NRRD or DICOM file, a PNG, a zip of any of these (or
            what is inside: ``ZIP#PATH``), or ``FOLDER/CASE`` where the folder holds the files of several cases; or
            the files themselves, as a layout found them.
        sequence: Name for a single scan whose own name tells no sequence.

    Raises:
        PatientError: If there is no patient.
    """
    if isinstance(path, PatientFiles):
        return path
    place = place_of(path)
    where = place.file
    with disk_errors(UnreadableError, "cannot be read", where, "check its permissions"):
        if place.zipped:
            return find_in_zip(where, place.inside, sequence)
        if place.series:
            return _series(place.file, series_of(place), sequence)
        if where.is_dir():
            return _in_folder(where, sequence)
        if where.is_file():
            return _single(where, sequence)
        if where.parent.is_dir() and (case := cases(where.parent, where.name).get(where.name)) is not None:
            return case
    raise PatientNotFoundError("there is no such file or folder", file=where, hint="check the path")


def preferred_sequence(path: str | Path, wanted: str = "flair") -> str:
    """Return the wanted sequence if the patient has it, else its first one in the order of ``SEQUENCES``.

    Raises:
        PatientError: If there is no patient.
    """
    return find_files(path, wanted).preferred(wanted)


def is_patient(path: str | Path) -> bool:
    """Whether ``find_files`` recognises a patient there. Reads names, and the first bytes of DICOM files."""
    place = place_of(path)
    where = place.file
    try:
        if where.is_dir() and not place.inside:
            return _recognise(where) is not None or holds_dicom(where)
        return bool(find_files(path))
    except SeriesError:
        return True  # there is one; only the choice of the scan is open
    except (PatientError, OSError):
        return False


def place_name(place: str | Path) -> str:
    """Return the name of a patient that ``find_patients`` has found, without looking into its files."""
    found = place_of(place)
    inside = found.inside.rpartition("/")[2]
    if found.series or not inside:
        subject = session_of(found.file)
        return name_of(subject) if subject else _plain(found.file.name)
    subject = session_of(Path("/", found.inside))
    return name_of(subject) if subject else _plain(inside)


def place_below(place: Path, top: Path) -> Path:
    """Return the place of a patient's results below a folder: the same as that of the patient below its cohort."""
    found = place_of(place)
    text, root = str(found.file), str(top)
    relative = text[len(root) :].lstrip("/\\") if text.startswith(root) else found.file.name
    return Path(_plain(relative), _plain(found.inside))


def _plain(name: str) -> str:
    """Return a path without the ending of a picture or a zip: what remains is the patient's name."""
    return name[: -len(Path(name).suffix)] if is_zip(name) or is_picture(name) else name


def folders_below(top: Path, *, everything: bool = False) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield a folder and those below it, each once, with the names of the folders and files in it.

    Hidden folders are skipped, links are followed. The caller may remove folders from the first list.

    Args:
        top: The folder.
        everything: Go into the folders of a BIDS dataset that hold no patients, too.
    """
    seen: set[Path] = set()
    for place, children, names in os.walk(top, followlinks=True):
        folder = Path(place)
        if (real := folder.resolve()) in seen:  # a link to a folder that was walked already, or to its parent
            children.clear()
            continue
        seen.add(real)
        children[:] = sorted(name for name in children if not name.startswith("."))
        if is_dataset(children) and not everything:
            children[:] = [name for name in children if name not in OTHER_FOLDERS]
        yield folder, children, names


def find_patients(cohort: str | Path, *, everything: bool = False) -> Iterator[Path]:
    """Yield the patients at or below a place, sorted by path, each once; the place itself if it is one patient.

    They are folders; PNGs of one slice; subjects or sessions of BIDS datasets, whose derivatives are skipped;
    ``FOLDER/CASE`` for each case of a folder that holds the files of several; and zips, or the patients inside.
    Hidden files and folders are skipped, links are followed. If nothing else is found, the PNGs that lie
    directly in ``cohort`` are slices of one sequence, whatever the folder's name.
    """
    top = Path(cohort).expanduser()
    if not top.is_dir():
        if is_zip(top) and top.is_file():
            yield from patients_in_zip(top)
        elif is_patient(top):
            yield top
        return
    found = False
    for folder, children, names in folders_below(top, everything=everything):
        if picture_sequence(folder) is not None:
            for picture in _pictures(folder, names):
                found = True
                yield picture
        if is_patient(folder):
            children.clear()  # the folders below hold this patient's slices
            found = True
            yield folder
            continue
        for case in cases(folder) if any(map(is_image, names)) else ():
            found = True
            yield folder / case
        # An archive beside the folder that it was unpacked to is the same patient again.
        for archive in sorted(name for name in names if is_zip(name) and name[:-4] not in children):
            for patient in [] if archive.startswith(".") else _patients_of(folder / archive):
                found = True
                yield patient
    if not found and not _holds_part_of_a_patient(top):
        yield from _pictures(top, [entry.name for entry in top.iterdir()])


def all_patients(cohort: str | Path) -> list[Path]:
    """Return the patients at or below a place; see `find_patients`.

    Raises:
        PatientNotFoundError: If there is none.
    """
    top = Path(cohort).expanduser()
    found = list(find_patients(top))
    if not found:
        what = "there are no patients in this folder" if top.is_dir() else "there is no such folder"
        raise PatientNotFoundError(what, file=top, hint="give a folder that holds patients")
    return found


def _patients_of(archive: Path) -> list[Path]:
    try:
        return patients_in_zip(archive)
    except PatientError:
        return []


def patients_in_zip(file: Path) -> list[Path]:
    """Return the patients in a zip: the zip itself if there is one only, else ``ZIP#PATH`` for each.

    Raises:
        PatientError: If the zip cannot be used.
    """
    with outline(file) as folder:
        found = [_inside(place, folder) for place in find_patients(folder)] if folder.is_dir() else []
        if not found and folder.is_dir():
            found = [_inside(each, folder) for each in _only_scan(folder)]
    return [within(file, inside) for inside in found] if len(found) > 1 else [file] * len(found)


def find_in_zip(file: Path, inside: str, sequence: str) -> PatientFiles:
    """Recognise the patient in a zip, or at a path inside; the places are ``ZIP#PLACE``.

    Raises:
        PatientError: If there is none, or if there are several.
    """
    with outline(file) as folder:
        if inside:
            place: Path | Place = joined(file, folder, inside)
        else:
            several = list(find_patients(folder)) if folder.is_dir() else []
            several = several or (_only_scan(folder) if folder.is_dir() else [])
            if len(several) != 1:
                example = f", for instance {within(file, _inside(several[0], folder))}" if several else ""
                what = f"{len(several)} patients lie" if several else "no scan of a patient lies"
                hint = f"name one{example}" if several else "zip a patient's folder"
                raise PatientNotFoundError(f"{what} in this zip", file=file, hint=hint)
            place = several[0]
        files = find_files(place, sequence)
        return replace(
            files,
            sequences={name: within(file, _inside(each, folder)) for name, each in files.sequences.items()},
            mask=None if files.mask is None else within(file, _inside(files.mask, folder)),
            single=files.single and bool(inside),
        )


def _inside(place: Path, folder: Path) -> str:
    return str(place)[len(str(folder)) :].replace("\\", "/").lstrip("/#")


def _only_scan(folder: Path) -> list[Path]:
    scans = [
        each for each in sorted(folder.rglob("*")) if is_image(each) and read_name(each).role not in NO_SCANS
    ]
    return scans if len(scans) == 1 else []


def picture_sequence(folder: Path) -> str | None:
    """Return the sequence whose separate slices the PNGs inside are (``flair/NAME.png``), None if no name says so."""
    if folder.name.isdecimal():
        return None
    name = read_name(folder.name)
    return name.role if name.role in SEQUENCES and not name.key else None


def _in_folder(folder: Path, sequence: str) -> PatientFiles:
    files = _recognise(folder, sequence)
    if files is not None:
        return files
    if not any(folder.iterdir()):
        raise PatientNotFoundError("the folder is empty", file=folder, hint="choose a patient's folder")
    if holds_dicom(folder):
        return _dicom(folder, sequence)
    below = next(find_patients(folder), None)
    images = {file: kind_of(file) for file in scan_files(folder) if read_name(file).role not in NO_SCANS}
    made = [MADE[kind] for kind in images.values() if kind is not None]
    if made and below is None and len(made) == len(images):
        raise PatientNotFoundError(
            f"no scan lies in this folder, but {made[0]}",
            file=folder,
            hint="give the scan that it was made from",
        )
    if any(is_image(entry) for entry in folder.iterdir()) and not (below and below.parent == folder):
        raise PatientNotFoundError(
            "no name in this folder tells which scan is which",
            file=folder,
            hint="name the scans flair.nii.gz, t1_gd.nii.gz, … or give one file itself",
        )
    hint = (
        f"choose one patient, for instance {below}" if below else "choose a patient's folder or a NIfTI file"
    )
    raise PatientNotFoundError("no scan of a patient lies in this folder", file=folder, hint=hint)


def _recognise(folder: Path, sequence: str = "flair") -> PatientFiles | None:
    """Return the patient whose NIfTI files or PNG slices lie in the folder, directly or by stages, or None."""
    if (subject := session_of(folder)) is not None:
        scans, notes = scans_of(folder)
        if scans:
            mask, more = mask_of(scans.get("flair", next(iter(scans.values()))))
            return PatientFiles(name_of(subject), "nifti", scans, mask, notes=(*notes, *more))
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    slices = {PNG_FOLDERS[entry.name]: entry for entry in entries if _holds_slices(entry)}
    if any(name in SEQUENCES for name in slices):
        mask = slices.pop(MASK, None)
        nameless = [entry.name for entry in entries if entry.name in PNG_FOLDERS and _nameless(entry)]
        notes = tuple(Note("mask-name", f"the PNGs in {name} are not used: {NO_NUMBER}") for name in nameless)
        return PatientFiles(folder.name, "png", slices, mask, notes=notes)
    if is_images_folder(folder) or is_labels_folder(folder) or cases(folder):
        return None

    near = masks_near(folder)
    files = choose([(read_name(file), file) for file in (*scan_files(folder), *near)], sequence)
    if files.sequences:
        return replace(files, name=folder.resolve().parent.name if near else folder.name)
    return staged(folder, sequence)


def _dicom(folder: Path, sequence: str) -> PatientFiles:
    """Return the patient of a DICOM folder: the description of each series tells its sequence."""
    usable = usable_series(folder)
    if len(usable) == 1:
        return replace(_series(folder, usable[0], sequence), single=False)
    groups: dict[str, list[Series]] = {}
    for one in usable:
        if one.sequence is not None:
            groups.setdefault(one.sequence, []).append(one)
    if len(groups.get(sequence, ())) > 1:
        raise choice_of(folder, groups[sequence], f"look like {sequence}")
    chosen = {name: within(folder, several[0].key) for name, several in groups.items() if len(several) == 1}
    if not chosen:
        raise choice_of(folder, usable, "lie in this folder, and it is not plain which one is meant")
    notes = tuple(
        f"{len(several)} series look like {name}, none of them is taken ({', '.join(map(str, several))})"
        for name, several in groups.items()
        if len(several) > 1
    )
    if (studies := len({groups[name][0].study for name in chosen})) > 1:
        notes += (f"the series are of {studies} studies; check that all show one patient at one time",)
    mask, said = _mask_in(folder)
    return PatientFiles(folder.name, "dicom", chosen, mask, notes=(*notes, *said))


def _series(folder: Path, series: Series, sequence: str) -> PatientFiles:
    mask, notes = _mask_in(folder)
    return PatientFiles(
        folder.resolve().name,
        "dicom",
        {series.sequence or sequence: within(folder, series.key)},
        mask,
        guessed=series.sequence is None,
        single=True,
        notes=notes,
    )


def _mask_in(folder: Path) -> tuple[Path | None, tuple[str, ...]]:
    """Return the lesion mask in a DICOM folder, and the notes on the choice."""
    named = ((read_name(file), file) for file in scan_files(folder))
    found = choose((name, file) for name, file in named if name.role == MASK)
    return found.mask, found.notes


def _holds_slices(folder: Path) -> bool:
    return folder.name in PNG_FOLDERS and any(path.stem.isdecimal() for path in pngs_in(folder))


def _nameless(folder: Path) -> bool:
    return folder.is_dir() and not _holds_slices(folder) and bool(pngs_in(folder))


def _pictures(folder: Path, names: list[str]) -> list[Path]:
    return [folder / name for name in sorted(names) if is_picture(name)]


def _holds_part_of_a_patient(folder: Path) -> bool:
    """Whether the name says masks, or one sequence of a patient in the PNG release layout."""
    return folder.resolve().name.lower() in (*ALIASES[MASK], *ALIASES[BRAIN_MASK], *PNG_FOLDERS)


def _single(file: Path, sequence: str) -> PatientFiles:
    if is_picture(file):
        beside = file.parent.parent / "mask" / file.name
        mask = beside if beside.is_file() else None
        return PatientFiles(file.stem, "picture", {sequence: file}, mask, single=True)
    if not is_image(file):
        if is_dicom(file):
            return _series(file.parent, series_of(file), sequence)
        raise UnsupportedError(
            "this is no scan that can be read",
            file=file,
            hint=f"give a {accepted()}",
        )
    if (kind := kind_of(file)) is not None:
        raise UnsupportedError(
            f"this is {MADE[kind]}, not a scan", file=file, hint="give the scan that it was made from"
        )
    named = read_name(file)
    prefix, name = split_case(file) if is_images_folder(file.parent) else (named.key, named.role)
    if name in NO_SCANS:
        raise UnsupportedError(
            "the name is that of a mask, not of a scan", file=file, hint="give the scan it belongs to"
        )
    told = parse(file)
    if told is not None:
        name, prefix = told.sequence or name, name_of(told.subject)
        mask, notes = mask_of(file)
    else:
        mask, notes = _mask_beside(file)
        if mask is None and is_images_folder(file.parent):
            mask, more = labels_of(file.parent, prefix)
            notes += more
    parent = file.resolve().parent
    return PatientFiles(
        prefix or (parent.parent if masks_near(parent) else parent).name,
        "nifti",
        {name or sequence: file},
        mask,
        name is None,
        single=True,
        notes=notes,
    )


def _mask_beside(scan: Path) -> tuple[Path | None, tuple[str, ...]]:
    """Return the lesion mask of the same patient in the folder of a scan, or beside that folder."""
    name = read_name(scan)
    files = [file for file in (*scan_files(scan.parent), *masks_near(scan.parent)) if file != scan]
    named = [
        (other, file) for file in files if (other := read_name(file)).role == MASK and other.belongs_to(name)
    ]
    found = choose(named)
    return found.mask, found.notes
