"""Names and folders of BIDS datasets: one patient for each subject and session, masks from the derivatives."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .aliases import LESION, MASK, SEQUENCES, split_name
from .formats import is_scan_file, stem
from .marks import kind_of, passed_over

OTHER_FOLDERS = ("derivatives", "sourcedata", "code", "stimuli")
"""Folders of a dataset whose files are not its patients."""

RAW = "rawdata"
"""Folder of the patients, where the derivatives lie beside it."""

_LESIONS = LESION | {"ms"}
_NATIVE = {"orig", "individual", "native", "scanner", *SEQUENCES, "t1w", "t2w", "anat", "dwi", "adc", "trace"}
_TISSUES = ("fmriprep", "smriprep", "freesurfer", "fastsurfer", "mriqc", "qsiprep", "ants", "fsl", "synthseg")
_MASKS = ("mask", "dseg", "roi", "seg", "msk")
_NO_IMAGES = {"phase", "real", "imag"}  # parts of a complex scan
_DEPTH = 3  # folders between derivatives/ and the subject


@dataclass(frozen=True)
class BidsName:
    """A file name of a BIDS dataset.

    Attributes:
        entities: ``{"sub": "01", "ses": "2", "ce": "gadolinium", …}``.
        suffix: What comes last: ``FLAIR``, ``T1w``, ``mask``.
    """

    entities: dict[str, str]
    suffix: str

    @property
    def sequence(self) -> str | None:
        """Canonical sequence name, None if it is none."""
        found = split_name(self.suffix)[1]
        if self.entities.get("part", "").lower() in _NO_IMAGES:
            return None
        if found == "t1_pre" and "ce" in self.entities:
            return "t1_gd"
        if found == "t2" and "flair" in self.entities.get("acq", "").lower():
            return "flair"
        return found if found in SEQUENCES else None

    @property
    def subject(self) -> tuple[str, str]:
        """Subject and session; an empty session where there is none."""
        return self.entities["sub"], self.entities.get("ses", "")


def parse(path: str | Path) -> BidsName | None:
    """Take a file name apart; None if it is not one of BIDS.

    The suffix of a mask may be that of its scan and one of its own: ``sub-01_FLAIR_roi``.
    """
    *pairs, suffix = stem(path).split("_")
    plain = next((at for at, pair in enumerate(pairs) if "-" not in pair), len(pairs))
    if split_name("_".join((*pairs[plain:], suffix)))[1] == MASK:
        pairs, suffix = pairs[:plain], "_".join((*pairs[plain:], suffix))
    entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    return BidsName(entities, suffix) if "sub" in entities and len(entities) == len(pairs) else None


def is_dataset(children: Iterable[str]) -> bool:
    """Whether the names of the folders inside a folder are those of a dataset."""
    return any(name.startswith("sub-") or name == RAW for name in children)


def session_of(folder: Path) -> tuple[str, str] | None:
    """Return subject and session of ``sub-01``, ``sub-01/ses-2`` or the ``anat`` inside; None for other folders."""
    place = folder.parent if folder.name == "anat" else folder
    if match := re.fullmatch(r"sub-([A-Za-z0-9+]+)", place.name):
        return match[1], ""
    match = re.fullmatch(r"sub-([A-Za-z0-9+]+)", place.parent.name)
    session = re.fullmatch(r"ses-([A-Za-z0-9+]+)", place.name)
    return (match[1], session[1]) if match and session else None


def name_of(subject: tuple[str, str]) -> str:
    """Return the patient's name: ``sub-01`` or ``sub-01_ses-2``."""
    return f"sub-{subject[0]}" + (f"_ses-{subject[1]}" if subject[1] else "")


def scans_of(folder: Path) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Return the scans of a session's folder by sequence, and what is to be said about the choice.

    Of several of one sequence the one without a space comes first, then the one with the fewest entities, then the
    first run.
    """
    subject = session_of(folder)
    place = folder / "anat" if (folder / "anat").is_dir() else folder
    notes: list[str] = []
    found: dict[str, list[tuple[tuple[object, ...], Path]]] = {}
    for file in sorted(place.iterdir()):
        if not is_scan_file(file):
            continue
        name = parse(file)
        if name is None or name.subject != subject or name.sequence is None:
            continue
        if (kind := kind_of(file)) is not None:
            notes.append(passed_over(file.name, kind, name.sequence))
            continue
        rank = (
            "space" in name.entities,
            split_name(name.suffix)[1] != name.sequence,
            len(name.entities),
            _natural(name.entities.get("run", "")),
            _natural(file.name),
        )
        found.setdefault(name.sequence, []).append((rank, file))
    chosen = {}
    for sequence, files in found.items():
        first, *others = [file for _, file in sorted(files)]
        chosen[sequence] = first
        if others:
            left = ", ".join(file.name for file in others)
            notes.append(f"{first.name} is taken as the {sequence} scan, not {left}")
    return chosen, tuple(notes)


def mask_of(scan: Path) -> tuple[Path | None, tuple[str, ...]]:
    """Return the lesion mask of a scan of a dataset, and what is to be said about the choice.

    It lies beside the scan or in any of the derivatives, and its name says mask, dseg, roi or ``label-lesion``, and
    nothing that speaks against it: another label (a tissue, the brain), another space, or a program for tissues.
    """
    name = parse(scan)
    if name is None:
        return None, ()
    space = name.entities.get("space")
    ranked = []
    made: list[str] = []
    for file in files_near(scan):
        found = parse(file)
        if found is None or found.subject != name.subject:
            continue
        rank = _rank(file, found, space)
        if rank is not None:
            same = sum(found.entities.get(key) == value for key, value in name.entities.items())
            if (kind := kind_of(file)) is not None:
                made.append(passed_over(_shown(file, scan), kind, MASK))
                continue
            ranked.append((rank, -same, "consensus" not in file.name.lower(), _natural(file.name), file))
    if not ranked:
        return None, tuple(made)
    ranked.sort(key=lambda each: each[:4])
    best, *others = ranked
    rivals = [each[4] for each in others if each[0] == best[0]]
    if not rivals:
        return best[4], tuple(made)
    left = ", ".join(_shown(file, scan) for file in rivals)
    return best[4], (*made, f"{_shown(best[4], scan)} is taken as the lesion mask, not {left}")


def _natural(text: str) -> tuple[tuple[int, str], ...]:
    """Return what sorts numbers inside a text by their value: run-2 before run-10."""
    parts = re.findall(r"\d+|\D+", text)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def _rank(file: Path, name: BidsName, space: str | None) -> int | None:
    """Return how plainly a file is a lesion mask, 0 the most; None if it is none."""
    suffix = name.suffix.lower()
    told = {part.lower() for part in (name.entities.get("label", ""), name.entities.get("desc", "")) if part}
    lesion = any(word in _LESIONS or "lesion" in word for word in told) or "lesion" in suffix
    if suffix not in _MASKS and split_name(suffix)[1] != MASK and not lesion:
        return None
    if name.sequence is not None or suffix == "probseg":
        return None
    own = name.entities.get("space")
    if own is not None and own != space and own.lower() not in _NATIVE:
        return None
    if lesion:
        return 0
    if told or (
        suffix == "dseg" and any(program in part.lower() for part in file.parts for program in _TISSUES)
    ):
        return None
    return 1


def files_near(scan: Path) -> Iterator[Path]:
    """Give the files that may hold a mask of a scan: those beside it, and those of its subject in the derivatives."""
    if (name := parse(scan)) is None:
        return
    yield from _images(scan.parent)
    subject, session = f"sub-{name.subject[0]}", name.subject[1]
    top = next((parent.parent for parent in scan.parents if parent.name == subject), None)
    if top is None:
        return
    root = next((parent.parent for parent in (top, *top.parents) if parent.name == "derivatives"), top)
    root = root.parent if root.name == RAW else root
    for folder in _subject_folders(root / "derivatives", subject, _DEPTH):
        if folder == scan.parent or folder in scan.parents:
            continue
        place = folder / f"ses-{session}" if session else folder
        for each in (place, *sorted(_folders(place))):
            yield from _images(each)


def _subject_folders(folder: Path, subject: str, depth: int) -> Iterator[Path]:
    if (folder / subject).is_dir():
        yield folder / subject
    if depth:
        names = _folders(folder)
        if depth < _DEPTH and any(each.name.startswith("sub-") for each in names):
            return
        for each in sorted(names):
            if not each.name.startswith("sub-"):
                yield from _subject_folders(each, subject, depth - 1)


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [each for each in folder.iterdir() if each.is_dir() and not each.name.startswith((".", "ses-"))]


def _images(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from filter(is_scan_file, sorted(folder.iterdir()))


def _shown(file: Path, scan: Path) -> str:
    return (
        file.name
        if file.parent == scan.parent
        else str(Path(file.parent.parent.name) / file.parent.name / file.name)
    )
