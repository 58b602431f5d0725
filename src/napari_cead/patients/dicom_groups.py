"""Sorting the frames of a DICOM folder into series: one contrast, one direction, each slice once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .dicom_headers import Frame, Header

SAME_DIRECTION = 1e-3
"""Largest difference in direction between parallel slices."""

_Member = tuple[Header, Frame]
_STACK = (
    8  # slices from which on each direction of a series is a stack of its own, and not a plane of a localiser
)


@dataclass(frozen=True, eq=False)
class Group:
    """Frames that belong together.

    Attributes:
        header: The header of the first file.
        frames: The frames, in the order of the files.
        traits: In what they differ from other groups of the same UID and number, by names for a reader.
        copies: Files left out because they hold the same instances again.
        sharing: How many groups have its SeriesInstanceUID.
    """

    header: Header
    frames: tuple[Frame, ...]
    traits: dict[str, str]
    copies: int
    sharing: int = 1


def groups_of(headers: Iterable[Header]) -> list[Group]:
    """Sort the frames of a folder into series.

    A SeriesInstanceUID alone does not tell them apart: scanners and archives put several contrasts under one. Series
    differ in UID, number, patient, study, description, echo, kind of image, contrast agent, size of their slices, or
    direction.
    """
    by_name: dict[tuple[str, ...], list[Header]] = defaultdict(list)
    for header in headers:
        tags = header.tags
        by_name[tags["series"], tags["number"]].append(header)
    groups = [group for name in sorted(by_name) for group in _contrasts(by_name[name])]
    shared = Counter(group.header.tags["series"] for group in groups)
    return [replace(group, sharing=shared[group.header.tags["series"]]) for group in groups]


def _contrasts(headers: list[Header]) -> list[Group]:
    """Split the frames of one UID and one number."""
    single, copies = _without_copies(headers)
    broken = [Group(header, (), {}, 0) for header in single if not header.frames]
    members = [(header, frame) for header in single for frame in header.frames]
    sessions = _sessions(single)
    found: list[tuple[dict[str, str], list[_Member]]] = []
    for traits, alike in _split(members, lambda member: _contrast(member, sessions)):
        for direction, stack in _directions(alike).items():
            sizes = [({}, stack)] if direction is None else _split(stack, _size)
            found += [(traits | {"direction": direction or ""} | size, several) for size, several in sizes]
    found.sort(key=lambda each: [_natural(value) for value in each[0].values()])
    names = [name for traits, _ in found[:1] for name in traits]
    told = {name for name in names if len({traits.get(name) for traits, _ in found}) > 1}
    # The largest series mentions the omitted copies, which most likely belong to it.
    largest = max((each[1] for each in found), key=len, default=None)
    return broken + [
        Group(
            members[0][0],
            tuple(frame for _, frame in members),
            {name: value for name, value in traits.items() if name in told},
            copies if members is largest else 0,
        )
        for traits, members in found
    ]


def _without_copies(headers: list[Header]) -> tuple[list[Header], int]:
    """Leave out repeated instances. Other slices of the same name are no copies."""
    seen, single = set(), []
    for header in headers:
        frames = header.frames
        places = tuple(None if frame.position is None else frame.position.tobytes() for frame in frames)
        key = (
            header.tags["instance"],
            places,
            tuple((*frame.traits.items(), *frame.moments.items()) for frame in frames),
        )
        if not header.tags["instance"] or key not in seen:
            single.append(header)
        seen.add(key)
    return single, len(headers) - len(single)


def _split(
    members: Sequence[_Member], traits: Callable[[_Member], dict[str, str]]
) -> list[tuple[dict[str, str], list[_Member]]]:
    parts: dict[tuple[tuple[str, str], ...], list[_Member]] = defaultdict(list)
    for member in members:
        parts[tuple(traits(member).items())].append(member)
    return [(dict(key), several) for key, several in parts.items()]


def _sessions(headers: Sequence[Header]) -> dict[tuple[str, ...], str]:
    """Number what lies apart whatever its UID: patients, studies, and the places from which positions are measured."""
    found = sorted({_session(header) for header in headers})
    places = Counter(_session(header) for header in headers)
    # Some programs write a new one for every file, which tells nothing.
    single = all(places[each] == 1 for each in found)
    return {each: "1" if single else str(number) for number, each in enumerate(found, start=1)}


def _session(header: Header) -> tuple[str, ...]:
    return header.tags["patient"], header.tags["study"], header.tags["place"]


def _contrast(member: _Member, sessions: dict[tuple[str, ...], str]) -> dict[str, str]:
    header, frame = member
    return {
        "session": sessions[_session(header)],
        "description": header.tags["description"],
        "modality": header.tags["modality"],
        **frame.traits,
        "contrast agent": "yes" if header.agent else "no",
    }


def _size(member: _Member) -> dict[str, str]:
    frame = member[1]
    spacing = () if frame.spacing is None else np.round(frame.spacing, 3)
    return {"size": "x".join(map(str, frame.size)), "voxel size": "x".join(map(str, spacing))}


def _directions(members: Sequence[_Member]) -> dict[str | None, list[_Member]]:
    """Split by the direction of the slices; None stands for many, with few slices each: a localiser."""
    found: list[list[_Member]] = []
    for header, frame in members:
        for several in found:
            if parallel(several[0][1], frame):
                several.append((header, frame))
                break
        else:
            found.append([(header, frame)])
            if 1 < len(found) > len(members) // _STACK:
                return {None: list(members)}
    if len(found) == 1:
        return {"": found[0]}
    if min(map(len, found)) < _STACK:
        return {None: list(members)}
    return {f"{_plane(several[0][1])} {number}": several for number, several in enumerate(found, start=1)}


def parallel(one: Frame, other: Frame) -> bool:
    """Whether the rows and the columns of two slices run in the same directions."""
    if one.axes is None or other.axes is None:
        return one.axes is other.axes
    return bool(np.abs(one.axes - other.axes).max() <= SAME_DIRECTION)


def _natural(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return np.inf, text


def _plane(frame: Frame) -> str:
    if frame.axes is None:
        return "unknown"
    normal = np.abs(np.cross(*frame.axes))
    return ("sagittal", "coronal", "axial")[int(np.argmax(normal))]
