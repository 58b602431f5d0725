"""What is kept on disk of one score of one model: counts, and no maps."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cead.atomic import atomic_path

from .choosing import Counts, raw_counts

VERSION = 2
"""Of the layout, and of what is measured: files of another one are measured again."""


@dataclass(frozen=True, eq=False)
class Tally:
    """One set of scans under one score. Slices without brain and lesion are left out.

    Attributes:
        patient: (S,) number of each slice's patient.
        voxels: (S,) voxels of the brain.
        lesion: (S, bins + 1) histogram of the map over lesion voxels in the brain.
        other: (S, bins + 1) the same over the other voxels of the brain.
        searched: (S, candidates, 3) counts after post-processing at each candidate threshold; none for slices
            that no threshold is chosen on.
        counts: By rule, (S, 3) counts after post-processing at the threshold of the rule.
        lesions: By rule, (P, 4) lesions, lesions found, detections and false detections of each patient.
    """

    patient: NDArray[np.int64]
    voxels: NDArray[np.int64]
    lesion: NDArray[np.int32]
    other: NDArray[np.int32]
    searched: NDArray[np.int32]
    counts: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    lesions: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)

    def raw(self) -> Counts:
        """Return the counts (S, bins, 3) of the map itself at each threshold ``k / bins``."""
        return raw_counts(self.lesion, self.other)


@dataclass(frozen=True, eq=False)
class Measured:
    """One score of one model.

    Attributes:
        meta: Model, score, checksum, candidates, and the thresholds of each rule, as JSON values.
        tallies: By set of scans.
    """

    meta: Mapping[str, Any]
    tallies: Mapping[str, Tally]

    def save(self, file: Path) -> None:
        """Write an ``.npz`` file, whole or not at all."""
        arrays: dict[str, Any] = {"meta": np.array(json.dumps({"version": VERSION, **self.meta}))}
        for name, tally in self.tallies.items():
            for part in ("patient", "voxels", "lesion", "other", "searched"):
                arrays[f"{name}/{part}"] = getattr(tally, part)
            for part in ("counts", "lesions"):
                arrays |= {f"{name}/{part}/{rule}": values for rule, values in getattr(tally, part).items()}
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **arrays)

    @classmethod
    def load(cls, file: Path) -> Measured:
        """Read what `save` has written."""
        with np.load(file, allow_pickle=False) as stored:
            meta = json.loads(str(stored["meta"]))
            parts: dict[str, dict[str, Any]] = {}
            for key in stored.files:
                name, *rest = key.split("/")
                if rest:
                    kept = parts.setdefault(name, {"counts": {}, "lesions": {}})
                    (kept[rest[0]] if len(rest) == 2 else kept)[rest[-1]] = stored[key]
        return cls(meta, {name: Tally(**kept) for name, kept in parts.items()})


def meta_of(file: Path) -> dict[str, Any] | None:
    """Return what a file says of itself; None if it is not there, not whole, or of another version."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            meta = json.loads(str(stored["meta"]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    return meta if isinstance(meta, dict) and meta.get("version") == VERSION else None
