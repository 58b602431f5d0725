"""What a file holds, told from its name. One table, no special cases elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .formats import stem

SEQUENCES = ("flair", "t1_pre", "t1_gd", "bravo", "t2")
"""Canonical sequence names: T2 FLAIR, T1 before and after contrast, T1 gradient echo after contrast, T2."""

MASK = "seg"
"""Canonical name of the lesion mask."""

BRAIN_MASK = "brain_mask"
"""Canonical name of a brain mask: recognised so that it is never taken for a lesion mask."""

OTHER_MASK = "other_mask"
"""Masks of tissues, of change or of a program's guess: recognised so that they are never taken for lesion masks."""

NO_SCANS = (MASK, BRAIN_MASK, OTHER_MASK)
"""Canonical names of what is no scan."""

ALIASES: dict[str, tuple[str, ...]] = {
    "flair": ("flair", "t2_flair", "t2flair", "t2f", "0003"),
    "t1_pre": (
        *("t1_pre", "t1pre", "pre", "t1n", "t1w", "t1", "mprage", "0001"),
        *("t1w_pre", "mprage_pre", "t1_mprage"),
    ),
    "t1_gd": (
        *("t1_gd", "t1gd", "t1_post", "t1post", "t1ce", "t1c", "t1km", "post", "gd", "0002"),
        *("t1w_gd", "t1w_post", "t1_ce", "t1_c", "t1_km", "t1_gado", "t1gado", "gado", "t1wks", "t1w_ks"),
        *("ce_gadolinium_t1w", "ce_gd_t1w"),
    ),
    "bravo": (
        *("bravo", "t1_gre_post", "t1_gre", "spgr", "0000"),
        *("mprage_post", "mprage_gd", "mprage_ce", "mprage_km"),
    ),
    "t2": ("t2", "t2w"),
    MASK: (
        *("seg", "mask", "lesion_mask", "lesionmask", "lesion", "lesions", "labels", "label"),
        *("segmentation", "dseg", "gt", "roi", "segm", "msk", "wmh", "wml", "gtv", "tumor", "tumour"),
        *("consensus", "consensus_gt", "ground_truth", "groundtruth", "annotation", "annotations"),
        "hyperintensities",
    ),
    BRAIN_MASK: ("brain_mask", "brainmask", "brain_seg", "bet_mask", "brain_segmentation", "brain_msk"),
}
"""Canonical name to what published data sets, nnU-Net's channels and BIDS call it, in words joined by ``_``."""

PNG_FOLDERS = {"0": "bravo", "1": "t1_pre", "2": "t1_gd", "3": "flair", "seg": MASK}
"""Folder names of BrainMetShare's PNG release."""

MASK_FOLDERS = ("masks", "mask", "labels", "seg", "gt", "lesions", "segmentations", "annotations")
"""Names of folders that hold lesion masks beside those of the scans."""

STAGES = (
    *("pre", "preprocessed", "preprocessed_data", "preproc", "processed"),
    *("orig", "original", "raw", "raw_data"),
)
"""Folders of one patient for the stages of its scans, the one to use first (WMH 2017, MSSEG 2015 and 2016)."""

WEAK = {"pre", "post", "gd", "gado", "0000", "0001", "0002", "0003", "t2", "t2w"}
"""Aliases that a FLAIR anywhere in the name beats: ``anna_FLAIR_post`` is a FLAIR after contrast."""

ENHANCING = {"post", "gd", "gad", "gado", "ce", "km", "contrast", "postcontrast"}
"""Words after a sequence's name that tell of a contrast agent."""

STRIPPED = {"brain", "bet", "stripped", "skullstripped", "ss"}
"""Words after a sequence's name that tell of a scan without its skull."""

PROCESSED = {
    *("pp", "preprocessed", "preproc", "processed", "n4", "n4itk", "bfc", "biascorrected", "corrected"),
    *("restore", "reg", "registered", "coreg", "coregistered", "resampled", "iso", "1mm", "mni", "norm"),
    *("normalized", "normalised", "defaced", "denoised", "raw", "orig", "original", "native", "masked"),
    *("cropped", "final", "manual", "bin", "binary", "edited", "filled", "extracted"),
}
"""Words after a name that tell how a file came about, not what it shows."""

NOT_A_SCAN = {
    *("bias", "field", "biasfield", "warp", "jacobian", "mean", "std", "diff", "map", "anomaly"),
    *("prob", "probability", "probseg", "pve", "phase", "real", "imag", "reconstruction", "residual"),
    *("corrections", "detected", "pred", "prediction", "predicted", "predictions", "subtraction"),
    *("gm", "wm", "csf", "ventricle", "ventricles", "mixeltype", "pveseg"),
}
"""Words after a sequence's name that tell of something computed from the scan."""

LESION = {
    *("lesion", "lesions", "les", "tumor", "tumour", "tumors", "tumours", "wmh", "wml", "gtv"),
    *("infarct", "infarcts", "stroke", "met", "mets", "metastasis", "metastases", "hyperintensity"),
    *("hyperintensities", "edema", "oedema", "plaque", "plaques"),
}
"""Words before ``mask`` or ``seg`` that speak for lesions."""

TISSUE = {
    *("brain", "bet", "hdbet", "synthstrip", "skullstrip", "head", "skull", "scalp", "face", "deface"),
    *("tissue", "tissues", "wm", "gm", "csf", "white", "grey", "gray", "matter", "ventricle", "ventricles"),
    *("ventricular", "parenchyma", "cortex", "cortical", "subcortical", "cerebellum", "hippocampus"),
    *("thalamus", "aseg", "aparc", "background", "foreground", "fov", "body", "brainmask"),
    *(
        "deepbet",
        "robex",
        "icv",
        "tiv",
        "etiv",
        "eticv",
        "intracranial",
        "cerebrum",
        "hemisphere",
        "hemispheres",
    ),
    *(
        "brainstem",
        "pons",
        "hippo",
        "hippocampi",
        "amygdala",
        "putamen",
        "caudate",
        "pallidum",
        "dgm",
        "cgm",
        "gmwm",
    ),
    *("nawm", "nagm", "parcellation", "lobe", "lobes", "aparc+aseg", "wmparc", "synthseg", "freesurfer"),
    *(
        "vent",
        "vents",
        "vessel",
        "vessels",
        "artery",
        "arteries",
        "veins",
        "dura",
        "dural",
        "choroid",
        "plexus",
    ),
    *("bone", "skin", "eye", "eyes", "pveseg", "pve", "fg"),
}
"""Words before ``mask`` or ``seg`` that speak for tissues, or for the whole brain."""

CHANGE = {"change", "changes", "changemask", "difference"}
"""Words of masks of what changed between two visits."""

NOT_DRAWN = CHANGE | {
    *("pred", "prediction", "predicted", "predictions", "detected", "auto", "automatic", "prob"),
    *("probability", "probabilities", "anomaly"),
}
"""Words before ``mask`` or ``seg`` of what nobody has drawn as a patient's lesions."""

BRAIN_WORDS = {"brain", "bet", "hdbet", "synthstrip", "skullstrip", "deepbet", "robex"}
"""Those of ``TISSUE`` that mean the whole brain."""

DESCRIPTIONS: dict[str, tuple[str, ...]] = {
    "t1": (
        *("t1", "t1w", "t1n", "t1c", "t1ce", "t1gd", "t1km", "mprage", "mp rage", "spgr", "bravo"),
        *("tfl3d", "fspgr"),
    ),
    "flair": ("flair", "t2flair", "t2f", "tirm dark fluid", "dark fluid", "darkfluid", "tirm"),
    "t2": ("t2", "t2w"),
}
"""What scanners call sequences in a series' description, as words; the first that is found counts (GE has T1 FLAIR)."""

ENHANCED = ENHANCING | {"t1c", "t1ce", "t1gd", "t1km"}
"""Words of a description that tell of a contrast agent."""

GRADIENT_ECHO = {"mprage", "rage", "spgr", "fspgr", "bravo", "gre", "tfl3d"}
"""Words of a description that tell of a T1 gradient echo."""


_PHRASES = {tuple(alias.split("_")): name for name, aliases in ALIASES.items() for alias in aliases}
_LONGEST = max(map(len, _PHRASES))
_LINKS = {"on", "in", "to", "onto", "into"}
_GENERIC = {"mask", "msk", "label", "labels", "roi", "dseg", "annotation", "annotations"}
_AGREED = {"consensus", "staple", "majority"}
_DRAWN = _GENERIC | {"seg", "segm", "segmentation", "gt", "truth", "groundtruth", "lesionmask", "brainmask"}
_FILLED = {"filled", "inpainted", "inpaint"}
_ABOUT = LESION | TISSUE | NOT_DRAWN | PROCESSED | ENHANCING | _AGREED | {"of", "the", "3d", "2d"}
_RATER = re.compile(r"(?:rater|reader|expert|observer|r)?(\d{1,2})")
_NUMBERED = re.compile(r"([a-z]+?)(\d{1,2})")
_MASKISH = re.compile(
    r"mask|msk|seg$|segm|lesion|^les$|^roi$|^gt$|^gtv$|^wmh$|^wml$|tumou?r|truth|annot|^label|infarct|hyperint"
)


@dataclass(frozen=True)
class Name:
    """What a file name tells.

    Attributes:
        prefix: What comes before; it names the patient.
        role: A sequence, ``MASK``, ``BRAIN_MASK`` or ``OTHER_MASK``; None if nothing tells.
        tail: What comes after and means nothing: ``01`` of ``flair_01``.
        short: The prefix without words about the scan and the mask: ``anna`` of ``anna_flair_lesion_mask``.
        rank: What comes first among several files of one role; the smallest.
        doubt: Whether the name leaves open what a mask marks: ``flair_mask``, ``t1_seg``.
    """

    prefix: str
    role: str | None
    tail: str = ""
    short: str = ""
    rank: tuple[int, ...] = ()
    doubt: bool = False

    @property
    def key(self) -> str:
        """What tells this patient's files from those of others in the same folder."""
        return self.prefix or self.tail

    def belongs_to(self, scan: Name) -> bool:
        """Whether this may be the mask of a scan."""
        same_tail = self.tail == scan.tail or (self.tail == "" and not any(map(str.isdigit, scan.tail)))
        same_tail = same_tail or (scan.tail == "" and bool(_RATER.fullmatch(self.tail.lower())))
        own, theirs = ({each.prefix.lower(), each.short.lower()} for each in (self, scan))
        return same_tail and bool(own & theirs)


def read_name(path: str | Path) -> Name:
    """Tell what a file holds, and whose it is, from its name.

    The longest alias at the end wins: ``T2_FLAIR`` is FLAIR, not T2. Words about processing may follow it, and a
    FLAIR anywhere beats what only tells of contrast. ``T1_to_FLAIR`` is a T1.
    """
    return _read(stem(path))


@lru_cache(maxsize=1 << 16)
def _read(whole: str) -> Name:
    found = None if whole.startswith(".") else _parse(whole, _words(whole))
    return found or Name(whole, None, short=whole)


def split_name(path: str | Path) -> tuple[str, str | None]:
    """Split a file name into what names the patient and the canonical sequence name.

    The sequence is None if the name tells nothing, and the prefix is then the whole stem.

    Examples:
        >>> split_name("BraTS-MET-00001-000-t2f.nii.gz")
        ('BraTS-MET-00001-000', 'flair')
        >>> split_name("anna_FLAIR_post.nii")
        ('anna', 'flair')
    """
    name = read_name(path)
    return name.key, name.role


def words_of(path: str | Path) -> list[str]:
    """Return the words of a file name, lower case."""
    return [word for _, _, word in _words(stem(path))]


def looks_like_mask(path: str | Path) -> bool:
    """Whether any word of a name is used for masks of lesions."""
    return any(map(_MASKISH.search, words_of(path))) and not says_otherwise(path)


def says_otherwise(path: str | Path) -> bool:
    """Whether a name speaks of tissues, the brain or change, and of no lesions."""
    words = set(words_of(path))
    return bool(CHANGE & words or (TISSUE & words and not LESION & words))


def _words(whole: str) -> list[tuple[int, int, str]]:
    """Return (start, end, lower-case word); ``lesionMask`` and ``mask1`` are two words each, ``3DFLAIR`` too."""
    words = []
    for match in re.finditer(r"[^-_. ()\[\]]+", whole):
        start = match.start()
        for piece in re.split(r"(?<=[a-z])(?=[A-Z])", match.group()):
            text = piece.lower()
            numbered = _NUMBERED.fullmatch(text)
            cut = len(text)
            if numbered and _PHRASES.get((numbered[1],)) == MASK:
                cut = len(numbered[1])
            elif text[:2] in ("3d", "2d") and len(text) > 2:
                cut = 2
            words += [(start + a, start + b, text[a:b]) for a, b in ((0, cut), (cut, len(text))) if a < b]
            start += len(piece)
    return words


def _parse(whole: str, words: list[tuple[int, int, str]]) -> Name | None:
    texts = [word for _, _, word in words]
    for at in range(len(texts) - 2, 0, -1):  # T1_to_FLAIR, lesions_on_t1
        if texts[at] in _LINKS and any(_PHRASES.get((text,)) in SEQUENCES for text in texts[at + 1 : at + 3]):
            found = _parse(whole, words[:at])
            if found is not None or any(map(_MASKISH.search, texts[:at])):
                return found
    known = PROCESSED | STRIPPED | ENHANCING
    end = len(texts)
    while end and (match := _match(texts, end)) is None and texts[end - 1] in known:
        end -= 1
    if not end or (match is None and not (match := _rated(texts, end))):
        return _flair(whole, words)
    start, end, role = match
    if role in SEQUENCES:
        before = _match(texts, start)
        if before is not None and texts[start - 1] in _DRAWN:  # mask_FLAIR, LesionSeg-T1
            return _mask(whole, words, *before)
        # LST calls its lesion probabilities ples.
        if "ples" in texts[:start] or (start and texts[start - 1] in NOT_DRAWN):
            return None
        if "_".join(texts[start:end]) in WEAK:
            if (flair := _flair(whole, words)) is not None:
                return flair
            if start and end - start == 1 and texts[start - 1] in ("t2", "t2w") and texts[start] in ENHANCING:
                start, role = start - 1, "t2"
        return _scan(whole, words, start, end, role, len(texts))
    return None if _FILLED & set(texts[end:]) else _mask(whole, words, start, end, role)


def _match(texts: list[str], end: int) -> tuple[int, int, str] | None:
    """Return the longest alias that ends before a word."""
    for length in range(min(_LONGEST, end), 0, -1):
        role = _PHRASES.get(tuple(texts[end - length : end]))
        if role is not None:
            return end - length, end, role
    return None


def _rated(texts: list[str], end: int) -> tuple[int, int, str] | None:
    """Return the alias of a mask that a rater's number follows."""
    if end > 1 and _RATER.fullmatch(texts[end - 1]):
        match = _match(texts, end - 1)
        if match is not None and match[2] == MASK:
            return match
    return None


def _flair(whole: str, words: list[tuple[int, int, str]]) -> Name | None:
    """Return the name as that of a FLAIR, if that word is anywhere in it and no word speaks against it."""
    texts = [word for _, _, word in words]
    if any(map(_MASKISH.search, texts)):
        return None
    for at in range(len(texts) - 1, -1, -1):
        if texts[at] in ("flair", "t2flair", "t2f"):
            start = at - 1 if at and texts[at - 1] in ("t2", "t2w") else at
            return _scan(whole, words, start, at + 1, "flair", len(texts))
    return None


def _scan(
    whole: str, words: list[tuple[int, int, str]], start: int, end: int, role: str, count: int
) -> Name | None:
    after = [word for _, _, word in words[end:count]]
    if NOT_A_SCAN & set(after):
        return None
    known = PROCESSED | STRIPPED | ENHANCING | {word for word in WEAK if not word.isdecimal()}
    unknown = [whole[a:b] for a, b, word in words[end:] if word not in known]
    thick = start > 0 and words[start - 1][2] in ("3d", "2d")
    prefix = whole[: words[start - thick][0]].rstrip("-_. ")
    rank = (
        len(unknown),
        int(bool(ENHANCING & set(after)) and role == "flair"),
        int(not STRIPPED & set(after)),
        int(thick),
        len(after),
    )
    return Name(prefix, role, "_".join(unknown), prefix, rank)


def _mask(whole: str, words: list[tuple[int, int, str]], start: int, end: int, role: str) -> Name:
    texts = [word for _, _, word in words]
    said = texts[start:end]
    lesion = (
        bool(LESION & set(said)) or bool(_AGREED & set(said)) or said[0] in ("lesionmask", "gt", "ground")
    )
    at, about = start, _match(texts, len(texts)) is not None and end < len(texts)
    while at and (texts[at - 1] in _ABOUT or _sequence(texts, at)):
        word = texts[at - 1]
        if role == MASK and word in NOT_DRAWN:
            role = OTHER_MASK
        elif role == MASK and not lesion and word in TISSUE:
            role = BRAIN_MASK if word in BRAIN_WORDS else OTHER_MASK
        lesion = lesion or word in LESION
        length = _sequence(texts, at)
        about = about or bool(length)
        at -= max(1, length)
    # A word that a number follows names a patient: brain_01_seg.
    rest = {word for place, word in enumerate(texts[:at]) if not texts[place + 1][0].isdigit()}
    if role == MASK and not lesion and TISSUE & (rest | set(texts[end:])):
        role = BRAIN_MASK if BRAIN_WORDS & set(texts[end:]) else OTHER_MASK
    rater = next((match for word in texts[end:] if (match := _RATER.fullmatch(word))), None)
    agreed = _AGREED & set(texts)
    doubt = role == MASK and about and not lesion
    rank = (
        int(doubt),
        int(bool(_GENERIC & set(said)) and not lesion),
        0 if agreed else 1 if rater is None else 2 + int(rater[1]),
    )
    prefix, short = (whole[: words[place][0]].rstrip("-_. ") for place in (start, at))
    return Name(prefix, role, "" if rater is None else rater[0], short, rank, doubt)


def _sequence(texts: list[str], end: int) -> int:
    """Return how many words before this one name a sequence."""
    match = _match(texts, end)
    return 0 if match is None or match[2] not in SEQUENCES or texts[end - 1].isdecimal() else end - match[0]


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
