"""What makes up a patient, and folders that hold the files of several."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .aliases import BRAIN_MASK, MASK, is_image, split_name, stem
from .nnunet import is_images_folder, labels_of, split_case


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
    """

    name: str
    kind: Literal["nifti", "png", "picture", "dicom"]
    sequences: dict[str, Path] = field(default_factory=dict)
    mask: Path | None = None
    guessed: bool = False
    single: bool = False
    notes: tuple[str, ...] = ()


def cases(folder: Path) -> dict[str, PatientFiles]:
    """Return the patients whose files lie together in one folder, told apart by what their names begin with.

    So nnU-Net keeps its scans (``CASE_0000.nii.gz``), and many a flat folder (``anna_flair.nii.gz``,
    ``bert_flair.nii.gz``). None are returned where names leave a doubt: the patient's part is missing in one, is the
    beginning of another's, or two files of a patient are of one sequence.
    """
    numbered = is_images_folder(folder)
    found: dict[str, dict[str, Path]] = {}
    for entry in scan_files(folder):
        case, name = split_case(entry) if numbered else split_name(entry)
        if numbered and name is None and case == stem(entry):
            continue
        if name is None or name == BRAIN_MASK:
            continue
        if not case or name in found.setdefault(case, {}):
            return {}
        found[case][name] = entry
    patients = {}
    for case, files in found.items():
        mask = files.pop(MASK, None)
        if any(other != case and other.startswith((f"{case}_", f"{case}-")) for other in found):
            return {}
        if files:
            mask = mask or (labels_of(folder, case) if numbered else None)
            patients[case] = PatientFiles(case, "nifti", files, mask)
    return patients if numbered or len(patients) > 1 else {}


def scan_files(folder: Path) -> list[Path]:
    """Return the files of a folder that hold a volume, sorted; of an .hdr/.img pair the header stands for both."""
    return [
        entry
        for entry in sorted(folder.iterdir())
        if is_image(entry)
        and not entry.name.startswith(".")
        and not entry.name.lower().endswith((".img", ".img.gz"))
        and entry.is_file()
    ]
