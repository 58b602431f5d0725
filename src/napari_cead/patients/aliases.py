"""Which sequence a file holds, told from its name. One table, no special cases."""

from __future__ import annotations

import re
from pathlib import Path

SEQUENCES = ("flair", "t1_pre", "t1_gd", "bravo", "t2")
"""Canonical sequence names: T2 FLAIR, T1 before and after contrast, T1 gradient echo after contrast, T2."""

MASK = "seg"
"""Canonical name of the lesion mask."""

BRAIN_MASK = "brain_mask"
"""Canonical name of a brain mask: recognised so that it is never taken for a lesion mask."""

ALIASES: dict[str, tuple[str, ...]] = {
    "flair": ("flair", "t2_flair", "t2flair", "t2f", "flair_brain", "0003"),
    "t1_pre": ("t1_pre", "t1pre", "pre", "t1n", "t1w", "t1", "0001"),
    "t1_gd": (
        *("t1_gd", "t1gd", "t1_post", "t1post", "t1ce", "t1c", "t1km", "post", "gd", "0002"),
        *("ce_gadolinium_t1w", "ce_gd_t1w"),
    ),
    "bravo": ("bravo", "t1_gre_post", "t1_gre", "spgr", "0000"),
    "t2": ("t2", "t2w"),
    MASK: (
        *("seg", "mask", "lesion_mask", "lesionmask", "lesion", "lesions", "labels", "label"),
        *("segmentation", "dseg", "gt", "roi"),
    ),
    BRAIN_MASK: ("brain_mask", "brainmask", "brain_seg", "bet_mask"),
}
"""Canonical name to the endings a file name may have (BrainMetShare, BraTS, nnU-Net channels, BIDS)."""

PNG_FOLDERS = {"0": "bravo", "1": "t1_pre", "2": "t1_gd", "3": "flair", "seg": MASK}
"""Folder names of BrainMetShare's PNG release."""

NIFTI_SUFFIXES = (".nii.gz", ".nii", ".hdr", ".img", ".hdr.gz", ".img.gz")

IMAGE_SUFFIXES = (*NIFTI_SUFFIXES, ".mgz", ".mgh", ".nrrd", ".nhdr")
"""Files that hold one volume: NIfTI and Analyze, FreeSurfer's MGH, NRRD."""

DESCRIPTIONS: dict[str, tuple[str, ...]] = {
    "t1": (
        "t1",
        "t1w",
        "t1n",
        "t1c",
        "t1ce",
        "t1gd",
        "t1km",
        "mprage",
        "mp rage",
        "spgr",
        "bravo",
        "tfl3d",
        "fspgr",
    ),
    "flair": ("flair", "t2flair", "t2f", "tirm dark fluid", "dark fluid", "darkfluid", "tirm"),
    "t2": ("t2", "t2w"),
}
"""What scanners call sequences in a series' description, as words; the first that is found counts (GE has T1 FLAIR)."""

ENHANCED = {
    "gd",
    "gad",
    "gado",
    "post",
    "ce",
    "km",
    "contrast",
    "postcontrast",
    "t1c",
    "t1ce",
    "t1gd",
    "t1km",
}
"""Words of a description that tell of a contrast agent."""

GRADIENT_ECHO = {"mprage", "rage", "spgr", "fspgr", "bravo", "gre", "tfl3d"}
"""Words of a description that tell of a T1 gradient echo."""

_LONGEST_FIRST = sorted(
    ((alias, name) for name, aliases in ALIASES.items() for alias in aliases),
    key=lambda pair: len(pair[0]),
    reverse=True,
)


def is_nifti(path: str | Path) -> bool:
    """Whether the file name is that of a NIfTI or Analyze image."""
    return str(path).lower().endswith(NIFTI_SUFFIXES)


def is_image(path: str | Path) -> bool:
    """Whether the file name is that of one volume: NIfTI, Analyze, MGH or NRRD."""
    return str(path).lower().endswith(IMAGE_SUFFIXES)


def is_zip(path: str | Path) -> bool:
    """Whether the file name is that of a zip archive."""
    return str(path).lower().endswith(".zip")


def stem(path: str | Path) -> str:
    """Return the file name without the suffixes of its format, case kept."""
    name = Path(path).name
    for suffix in sorted(IMAGE_SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return Path(name).stem


def split_name(path: str | Path) -> tuple[str, str | None]:
    """Split a file name into what names the patient and the canonical sequence name.

    Returns:
        ``(prefix, sequence)``; the sequence is None if the name tells nothing, and the prefix is then the
        whole stem. The longest alias wins: ``T2_FLAIR`` is FLAIR, not T2.

    Examples:
        >>> split_name("BraTS-MET-00001-000-t2f.nii.gz")
        ('BraTS-MET-00001-000', 'flair')
        >>> split_name("flair.nii")
        ('', 'flair')
    """
    whole = stem(path)
    plain = re.sub(r"[-. ]", "_", whole.lower())
    for alias, name in _LONGEST_FIRST:
        if plain == alias or plain.endswith("_" + alias):
            return whole[: len(whole) - len(alias)].rstrip("-_. "), name
    return whole, None


def sequence_of_description(text: str, *, contrast: bool = False) -> str | None:
    """Return the sequence that a DICOM series' description tells, None if it tells none.

    Args:
        text: The description.
        contrast: Whether the header names a contrast agent.

    Examples:
        >>> sequence_of_description("Ax T2 FLAIR fs")
        'flair'
        >>> sequence_of_description("t1_mprage_sag_p2_iso_gd")
        'bravo'
    """
    words = re.sub(r"[^a-z0-9+]+", " ", text.lower()).split()
    plain = f" {' '.join(words)} "
    found = next(
        (name for name, terms in DESCRIPTIONS.items() if any(f" {term} " in plain for term in terms)), None
    )
    if found != "t1":
        return found
    if not (contrast or ENHANCED & set(words) or any("+c" in word or word == "c+" for word in words)):
        return "t1_pre"
    return "bravo" if GRADIENT_ECHO & set(words) else "t1_gd"
