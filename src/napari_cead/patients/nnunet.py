"""nnU-Net's folders: several patients in one folder, a number for the channel, labels in a folder beside it."""

from __future__ import annotations

import re
from pathlib import Path

from ..json_files import read_json
from .aliases import MASK, PNG_FOLDERS, SEQUENCES, sequence_of_description, split_name
from .formats import FORMATS, stem
from .marks import kind_of, passed_over

_IMAGES = re.compile(r"images(Tr|Ts|Val)", re.IGNORECASE)
_CHANNEL = re.compile(r"(.+)_(\d{4})")
_LARGEST_JSON = 1 << 24


def is_images_folder(folder: Path) -> bool:
    """Whether a folder is called as nnU-Net calls that of the scans."""
    return _IMAGES.fullmatch(folder.name) is not None


def is_labels_folder(folder: Path) -> bool:
    """Whether a folder is called as nnU-Net calls that of the labels."""
    return re.fullmatch(r"labels(Tr|Ts|Val)", folder.name, re.IGNORECASE) is not None


def split_case(file: Path) -> tuple[str, str | None]:
    """Return the case and the sequence of a scan, as ``dataset.json`` names its channel, or else as its name tells."""
    match = _CHANNEL.fullmatch(stem(file))
    if match is None:
        return split_name(file)
    return match[1], channels(file.parent.parent).get(int(match[2]), PNG_FOLDERS.get(str(int(match[2]))))


def channels(dataset: Path) -> dict[int, str]:
    """Return the sequences of the channels that ``dataset.json`` names; none where there is no such file."""
    file = dataset / "dataset.json"
    try:
        values = read_json(file, _LARGEST_JSON)
    except (OSError, ValueError):
        return {}
    named = values.get("channel_names", values.get("modality")) if isinstance(values, dict) else None
    found = {}
    for number, name in named.items() if isinstance(named, dict) else ():
        sequence = _sequence(str(name))
        if str(number).isdecimal() and sequence is not None:
            found[int(number)] = sequence
    return found


def labels_of(folder: Path, case: str) -> tuple[Path | None, tuple[str, ...]]:
    """Return the labels of a case whose scans lie in a folder, None if there are none; and what is to be said."""
    notes: list[str] = []
    beside = "labels" + folder.name[len("images") :]
    places = [
        place for place in folder.parent.iterdir() if place.name.lower() == beside.lower() and place.is_dir()
    ]
    for place in places:
        for suffix in FORMATS.of_scans:
            if not (labels := place / f"{case}{suffix}").is_file():
                continue
            if (kind := kind_of(labels)) is None:
                return labels, tuple(notes)
            notes.append(passed_over(f"{place.name}/{labels.name}", kind, MASK))
    return None, tuple(notes)


def _sequence(name: str) -> str | None:
    told = split_name(name)[1]
    return told if told in SEQUENCES else sequence_of_description(name)
