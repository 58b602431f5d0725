"""What makes up a patient, and folders that hold the files of several."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..errors import MissingSequenceError, PatientNotFoundError
from .aliases import MASK, MASK_FOLDERS, SEQUENCES, STAGES, Name, read_name
from .formats import is_scan_file, stem
from .marks import kind_of, passed_over
from .nnunet import is_images_folder, labels_of, split_case

Named = tuple[Name, Path]
"""A file, and the meaning of its name."""


@dataclass(frozen=True)
class PatientFiles:
    """What makes up one patient on disk.

    Attributes:
        name: Name of the patient.
        kind: ``"nifti"``: one file a sequence; ``"png"``: one folder of numbered slices a sequence;
            ``"picture"``: one PNG is the whole patient; ``"dicom"``: one series a sequence.
        sequences: Canonical sequence name to its place: a file, a folder of slices, ``FOLDER#SERIES`` or ``ZIP#PLACE``.
        mask: Place of the lesion mask, if any.
        guessed: Whether the sequence of a single scan is the one asked for, because its name tells none.
        single: Whether one scan was named itself, so that its sequence is the one to use.
        notes: What was chosen or left out.
        lesion_labels: Labels of the mask that are lesion; empty: all above 0.
        ignored_labels: Labels of voxels that are not evaluated.
        laid_out: Whether a layout names the files, not their own names.
    """

    name: str
    kind: Literal["nifti", "png", "picture", "dicom"]
    sequences: dict[str, Path] = field(default_factory=dict)
    mask: Path | None = None
    guessed: bool = False
    single: bool = False
    notes: tuple[str, ...] = ()
    lesion_labels: tuple[int, ...] = ()
    ignored_labels: tuple[int, ...] = ()
    laid_out: bool = False

    def preferred(self, wanted: str = "flair") -> str:
        """Return the wanted sequence if there is one, else the first in the order of ``SEQUENCES``."""
        return next(name for name in (wanted, *SEQUENCES, *self.sequences) if name in self.sequences)

    def scan(self, sequence: str, place: str | Path, hint: str = "add the missing file") -> Path:
        """Return the place of a sequence.

        Args:
            sequence: The sequence.
            place: The patient's place, for the message of an error.
            hint: What to do if it is missing.

        Raises:
            MissingSequenceError: If there is none.
        """
        if sequence not in self.sequences:
            have = ", ".join(sorted(self.sequences))
            raise MissingSequenceError(f"there is no {sequence} scan, only {have}", file=place, hint=hint)
        return self.sequences[sequence]


def cases(folder: Path, only: str | None = None) -> dict[str, PatientFiles]:
    """Return the patients whose files lie together in one folder, told apart by what their names begin with.

    So nnU-Net keeps its scans (``CASE_0000.nii.gz``), and many a flat folder (``anna_flair.nii.gz``,
    ``bert_flair.nii.gz``). None are returned where names leave a doubt: the patient's part is missing in one, is the
    beginning of another's, or two files of a patient are of one sequence.

    Args:
        folder: The folder.
        only: The one patient that is wanted; None: all.
    """
    numbered = is_images_folder(folder)
    scans: dict[str, list[Named]] = {}
    masks: list[Named] = []
    for file in scan_files(folder):
        name = _channel(file) if numbered else read_name(file)
        if name.role not in (*SEQUENCES, MASK):
            continue
        if not name.key:
            return {}
        if name.role == MASK:
            masks.append((name, file))
        else:
            scans.setdefault(name.key, []).append((name, file))
    own = {part for files in scans.values() for name, _ in files for part in (name.prefix, name.short)}
    strays = {name.key for name, _ in masks if not {name.prefix, name.short} & own}
    if any(_begins(one, other) for one in scans for other in (*scans, *strays)):
        return {}
    if any(_clash(files) for files in scans.values()) or not (numbered or len(scans) > 1):
        return {}
    if not numbered:
        masks += [(read_name(file), file) for file in masks_near(folder)]
    by_prefix: dict[str, list[Named]] = {}
    for mask in masks:
        for part in {mask[0].prefix, mask[0].short}:
            by_prefix.setdefault(part, []).append(mask)
    found = {}
    for case in scans if only is None else {only} & set(scans):
        parts = {part for name, _ in scans[case] for part in (name.prefix, name.short)}
        near = {file: name for part in parts for name, file in by_prefix.get(part, ())}
        beside = [
            (name, file)
            for file, name in near.items()
            if any(name.belongs_to(scan) for scan, _ in scans[case])
        ]
        chosen = choose((*scans[case], *beside))
        if chosen.sequences:
            labels, said = labels_of(folder, case) if numbered and chosen.mask is None else (None, ())
            found[case] = replace(chosen, name=case, mask=chosen.mask or labels, notes=(*chosen.notes, *said))
    return found


def choose(files: Iterable[Named], wanted: str = "flair") -> PatientFiles:
    """Choose the scans and the lesion mask among the files of one patient, by their names.

    Of several files of one sequence the plainest name wins: without words that mean nothing, before contrast,
    skull-stripped. Of several masks that of a consensus, then the first rater's. What is a result of ours is neither.

    Args:
        files: The files.
        wanted: The sequence that is needed; of any other, files that are alike are left out.

    Returns:
        The choice; its name is empty.

    Raises:
        PatientNotFoundError: If two files look alike the wanted sequence, or the only one.
    """
    groups: dict[str, list[Named]] = {}
    notes: list[str] = []
    for name, file in files:
        if name.role not in (*SEQUENCES, MASK):
            continue
        if (kind := kind_of(file)) is not None:
            notes.append(passed_over(file.name, kind, str(name.role)))
        else:
            groups.setdefault(str(name.role), []).append((name, file))
    masks = groups.pop(MASK, [])
    chosen: dict[str, Named] = {}
    for role, several in groups.items():
        (name, first), *others = _ranked(several)
        if _clash(several):
            both = f"both {first.name} and {others[0][1].name} look like {role}"
            if role == wanted or len(groups) == 1:
                raise PatientNotFoundError(both, file=first.parent, hint="open one of the files itself")
            notes.append(f"{both}, so neither is used")
            continue
        chosen[role] = name, first
        if others:
            notes.append(f"{first.name} is taken as the {role} scan, not {_listed(others)}")
    mask, said = choose_mask(masks, chosen.get(wanted) or next(iter(chosen.values()), None))
    scans = {role: file for role, (_, file) in chosen.items()}
    return PatientFiles("", "nifti", scans, mask, notes=(*notes, *said))


def choose_mask(masks: Iterable[Named], scan: Named | None = None) -> tuple[Path | None, tuple[str, ...]]:
    """Choose the lesion mask of a scan among several, and return the notes on the choice.

    Args:
        masks: Files whose names are those of lesion masks, and no results of ours.
        scan: The scan; a mask of its patient's name comes first.
    """
    ranked = sorted(
        masks,
        key=lambda mask: (scan is not None and not mask[0].belongs_to(scan[0]), mask[0].rank, mask[1].name),
    )
    if not ranked:
        return None, ()
    (name, first), *others = ranked
    notes = []
    if others:
        notes.append(f"{first.name} is taken as the lesion mask, not {_listed(others)}")
    if name.doubt:
        notes.append(
            f"the name of {first.name} leaves open whether lesions or the brain are marked; what it covers decides"
        )
    return first, tuple(notes)


def scan_files(folder: Path) -> list[Path]:
    """Return the files of a folder that hold a volume, sorted; of an .hdr/.img pair the header stands for both."""
    return [entry for entry in sorted(folder.iterdir()) if is_scan_file(entry) and entry.is_file()]


def masks_near(folder: Path) -> list[Path]:
    """Return the lesion masks that lie beside a folder for one stage of a patient's scans.

    WMH 2017 has ``wmh.nii.gz`` beside ``pre/`` and ``orig/``; MSSEG has a folder of masks, which go with the
    preprocessed scans.
    """
    if (stage := _stage(folder)) is None:
        return []
    with suppress(OSError):
        beside = sorted(
            entry for entry in folder.resolve().parent.iterdir() if not entry.name.startswith(".")
        )
        files = scan_files(folder.resolve().parent)
        if not any(
            (other := _stage(entry)) is not None and other < stage and entry.is_dir() for entry in beside
        ):
            for entry in beside:
                files += scan_files(entry) if entry.name.lower() in MASK_FOLDERS and entry.is_dir() else []
        return [file for file in files if read_name(file).role == MASK]
    return []


def staged(folder: Path, wanted: str = "flair") -> PatientFiles | None:
    """Return the patient whose scans lie in folders for their stages, the masks beside these; None if it is none."""
    stages = sorted(
        (entry for entry in folder.iterdir() if _stage(entry) is not None and entry.is_dir()),
        key=lambda entry: (_stage(entry), entry.name),
    )
    for stage in stages:
        masks = masks_near(stage)
        if not masks or cases(stage):
            continue
        found = choose([(read_name(file), file) for file in (*scan_files(stage), *masks)], wanted)
        if found.sequences:
            others = [other.name for other in stages if other != stage]
            note = (
                [f"the scans in {stage.name} are taken, not those in {', '.join(others)}"] if others else []
            )
            return replace(found, name=folder.name, notes=(*note, *found.notes))
    return None


def _stage(folder: Path) -> int | None:
    name = folder.name.lower()
    return STAGES.index(name) if name in STAGES else None


def _channel(file: Path) -> Name:
    """Return the meaning of the name of an nnU-Net file."""
    case, role = split_case(file)
    return Name(case, None if role is None and case == stem(file) else role, short=case)


def _begins(one: str, other: str) -> bool:
    return one != other and one.startswith((f"{other}_", f"{other}-"))


def _ranked(files: list[Named]) -> list[Named]:
    return sorted(files, key=lambda named: (named[0].rank, named[1].name))


def _clash(files: list[Named]) -> bool:
    """Whether nothing says which of a sequence's files is meant."""
    by_role: dict[str | None, list[tuple[int, ...]]] = {}
    for name, _ in files:
        by_role.setdefault(name.role, []).append(name.rank)
    return any(len(ranks) > 1 and sorted(ranks)[0] == sorted(ranks)[1] for ranks in by_role.values())


def _listed(files: Iterable[Named]) -> str:
    return ", ".join(file.name for _, file in files)
