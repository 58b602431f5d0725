"""Split patients into those that train, those that choose settings, and those kept for the final report."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ..atomic import to_json, write_text
from ..errors import SplitError, shortened
from ..json_files import read_json_of, shown

Part = Literal["train", "validation", "test"]

PARTS: tuple[Part, ...] = get_args(Part)


def read_split(path: str | Path) -> dict[str, Part]:
    """Read a split file: JSON ``{"train": [names], "validation": [names], "test": [names]}``.

    Args:
        path: The file; a missing list is empty.

    Returns:
        Name of the patient to its part, in the order of the file.

    Raises:
        StoreError: If the file is missing or damaged, or a name occurs twice.
    """
    file = Path(path).expanduser()
    hint = 'give JSON like {"train": ["Mets_001"], "validation": ["Mets_002"], "test": []}'
    lists = read_json_of(
        SplitError, "the split file", file, hint, "give patient, slice or the path of a JSON file"
    )
    if not isinstance(lists, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists.values()
    ):
        raise SplitError("the split file does not hold lists of patients' names", file=file, hint=hint)
    if unknown := sorted(set(lists) - set(PARTS)):
        raise SplitError(f"there is no part {shown(unknown[0])}", file=file, hint=hint)
    parts: dict[str, Part] = {}
    for part in PARTS:
        for name in lists.get(part, []):
            if name in parts:
                where = f"in {part} twice" if parts[name] == part else f"in both {parts[name]} and {part}"
                raise SplitError(f"{shortened(name)} is {where}", file=file, hint="put it in one list, once")
            parts[name] = part
    return parts


def write_split(path: str | Path, parts: Mapping[str, Part]) -> None:
    """Write a split file that ``read_split`` reads, names sorted. Atomic.

    Raises:
        OutputError: If the file cannot be written.
    """
    lists = {part: sorted(name for name, other in parts.items() if other == part) for part in PARTS}
    write_text(path, to_json(lists))


def assign_patients(
    labelled: Collection[str],
    unlabelled: Collection[str],
    known: Mapping[str, Part],
    *,
    seed: int,
    validation: float,
    test: float,
) -> dict[str, Part]:
    """Assign every patient to one part, at random but repeatably; those with a part keep it.

    New patients fill up the parts to their shares of all patients. Unlabelled patients never go to ``test``: there
    is nothing to compare a detection with. If there are enough patients, at least one trains and one validates.

    Args:
        labelled: Names of patients with a lesion mask.
        unlabelled: Names of patients without.
        known: Parts that are already fixed.
        seed: Seed of the draw. The order of the names does not matter.
        validation: Share of the patients, of the labelled and of the unlabelled ones alike.
        test: Share of the labelled patients.
    """
    parts = {name: known[name] for name in (*labelled, *unlabelled) if name in known}

    def fill(names: Collection[str], share_of_test: float, train_least: int, validation_least: int) -> None:
        new = sorted((name for name in names if name not in parts), key=lambda name: _draw(seed, name))
        have = Counter(parts[name] for name in names if name in parts)
        room = max(0, len(new) - max(0, train_least - have["train"]))
        wanted = max(validation_least, _rounded(validation * len(names)))
        to_validation = min(room, max(0, wanted - have["validation"]))
        wanted = _rounded(share_of_test * len(names))
        to_test = min(room - to_validation, max(0, wanted - have["test"]))
        for place, name in enumerate(new):
            parts[name] = (
                "validation"
                if place < to_validation
                else "test"
                if place < to_validation + to_test
                else "train"
            )

    fill(labelled, test, 0 if unlabelled else 1, 1)
    taken = set(parts.values())
    fill(unlabelled, 0.0, int("train" not in taken), int("validation" not in taken))
    return parts


def assign_slices(
    name: str, count: int, *, labelled: bool, seed: int, validation: float, test: float
) -> tuple[Part, ...]:
    """Assign the slices of one patient to parts at random, independently of all other patients.

    Slices of one patient are alike, so training and validation are then not independent; see ``assign_patients``.

    Args:
        name: Name of the patient.
        count: Number of slices.
        labelled: Whether there is a lesion mask; without one no slice goes to ``test``.
        seed: Seed of the draw, together with the name.
        validation: Share of the slices.
        test: Share of the slices.
    """
    rng = np.random.default_rng(int(_draw(seed, name)[:16], 16))
    # A share that is not a whole number of slices is rounded up or down at random, so that it holds over the cohort.
    first = int(validation * count + rng.random())
    second = first + (int(test * count + rng.random()) if labelled else 0)
    parts: list[Part] = ["train"] * count
    for place, row in enumerate(rng.permutation(count)[:second]):
        parts[row] = "validation" if place < first else "test"
    return tuple(parts)


def _draw(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()


def _rounded(value: float) -> int:
    return int(value + 0.5)
