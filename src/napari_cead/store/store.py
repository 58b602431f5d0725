"""The slice store, the data of a training: slices on the model grid, their labels and the split, prepared once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from ..errors import (
    CeadWarning,
    OutputError,
    ParameterError,
    StoreDamagedError,
    StoreError,
    disk_errors,
    extra,
    why,
)
from ..json_files import read_json
from ..wording import counted
from .arrays import open_array
from .index import (
    HEALTHY,
    INDEX_FILE,
    LABELS,
    LESION,
    READING,
    SCHEMA_VERSION,
    TEMPORARY,
    UNLABELLED,
    SkippedPatient,
    SplitKind,
    StoredPatient,
    StoreIndex,
    StoreSettings,
    group_name,
    read_index,
)
from .parts import Part

__all__ = [
    "HEALTHY",
    "LABELS",
    "LESION",
    "UNLABELLED",
    "Part",
    "PatientSlices",
    "SkippedPatient",
    "SliceStore",
    "StoreSettings",
    "StoredPatient",
    "read_patient",
    "require_zarr",
    "write_patient",
]

_CHUNK = 32
_READERS = min(8, os.cpu_count() or 1)
_RECORD = TypeAdapter(StoredPatient)


@dataclass(frozen=True, eq=False)
class PatientSlices:
    """The slices of one patient in memory.

    Attributes:
        patient: Their labels, numbers and parts.
        images: (N, S, S) uint8; 255 is intensity 1, 0 is background.
        masks: (N, S, S) bool, the lesion mask; None for an unlabelled patient.
    """

    patient: StoredPatient
    images: NDArray[np.uint8]
    masks: NDArray[np.bool_] | None


@dataclass(frozen=True, eq=False)
class SliceStore:
    """A slice store on disk, opened for reading. Only its index is in memory; it can be pickled.

    Attributes:
        path: Folder of the store.
        settings: The settings for turning patients into slices.
        split_kind: ``"patient"`` or ``"slice"`` for random parts, ``"file"`` for given ones.
        seed: Seed of the random parts.
        patients: The stored patients.
        skipped: Patients of the cohort that are left out.
    """

    path: Path
    settings: StoreSettings
    split_kind: SplitKind
    seed: int
    patients: tuple[StoredPatient, ...]
    skipped: tuple[SkippedPatient, ...] = ()

    @classmethod
    def open(cls, path: str | Path) -> SliceStore:
        """Open a store written by ``prepare``.

        Raises:
            StoreError: If there is none, it is not complete, of another version, or damaged.
            MissingExtraError: If zarr is not installed.
        """
        require_zarr()
        folder = Path(path).expanduser()
        index = read_index(folder)
        if not index.complete:
            raise StoreError(
                "the slice store is not complete",
                file=folder,
                hint="run the same prepare again to finish it",
            )
        store = cls.of_index(folder, index)
        if old := [patient for patient in store.patients if patient.reading < READING]:
            warnings.warn(
                f"{folder}: {len(old)} of {len(store.patients)} patients were prepared by an earlier version, which "
                "took masks of the brain and masks with negative values for lesion masks; run the same "
                "prepare again to have them read again",
                CeadWarning,
                stacklevel=2,
            )
        for patient in store.patients:
            group = folder / group_name(patient.name, patient.fingerprint, index.settings)
            if not (group / INDEX_FILE).is_file():
                raise StoreDamagedError(
                    f"the slices of {patient.name} are missing",
                    file=group,
                    hint="run the same prepare again",
                )
        return store

    @classmethod
    def of_index(cls, path: Path, index: StoreIndex) -> SliceStore:
        """Return the store at ``path`` as its index describes it, without reading the slices."""
        split = index.split
        return cls(path, index.settings, split.kind, split.seed, index.patients, index.skipped)

    @property
    def fingerprint(self) -> str:
        """Sha256 over settings, patients and split, which identifies the data of a training run. Paths do not count."""
        content = {
            "settings": self.settings.lasting(),
            "split": self.split_kind,
            "patients": [[patient.name, patient.fingerprint, patient.parts] for patient in self.patients],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def summary(self) -> str:
        """Return the content of the store in one line."""
        parts = ", ".join(
            f"{part}: {counted(len(self.patients_of(part)), 'patient')}, "
            f"{counted(len(self.healthy_rows(part)), 'healthy slice')}"
            for part in ("train", "validation", "test")
        )
        return f"{parts}; {counted(len(self.skipped), 'patient')} left out"

    def patients_of(self, part: Part) -> tuple[StoredPatient, ...]:
        """Return the patients with at least one slice in that part."""
        return tuple(patient for patient in self.patients if part in patient.parts)

    def healthy_rows(self, part: Part) -> NDArray[np.int64]:
        """Return the slices of a part that training may use.

        Returns:
            (K, 2): index of the patient in ``patients`` and row among its slices, for slices that are healthy (or
            unlabelled, if those are assumed to be healthy) and show enough brain.
        """
        codes = (HEALTHY, UNLABELLED) if self.settings.assume_healthy else (HEALTHY,)
        rows = [
            (index, row)
            for index, patient in enumerate(self.patients)
            for row, (label, brain, where) in enumerate(
                zip(patient.labels, patient.brain, patient.parts, strict=True)
            )
            if label in codes and brain >= self.settings.min_brain and where == part
        ]
        return np.array(rows, dtype=np.int64).reshape(-1, 2)

    def healthy_slices(self, part: Part) -> NDArray[np.uint8]:
        """Read the slices of ``healthy_rows`` into memory, in that order.

        Returns:
            (K, S, S) uint8; 255 is intensity 1.

        Raises:
            StoreError: If there are none, or the store is damaged.
        """
        rows = self.healthy_rows(part)
        if not len(rows):
            raise StoreError(
                f"no healthy slice in the part {part!r}",
                file=self.path,
                hint="prepare a store of more patients",
            )
        return self.read(rows)

    def read(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Read any slices in any order; patients are read in parallel.

        Args:
            rows: (K, 2): index of the patient and row among its slices.

        Returns:
            (K, S, S) uint8; 255 is intensity 1.

        Raises:
            ParameterError: If there is no such row.
            StoreError: If the store is damaged.
        """
        wanted = np.asarray(rows, dtype=np.int64).reshape(-1, 2)
        counts = np.array([len(patient.numbers) for patient in self.patients], dtype=np.int64)
        if len(wanted) and (
            wanted.min() < 0
            or wanted[:, 0].max() >= len(counts)
            or (wanted[:, 1] >= counts[wanted[:, 0]]).any()
        ):
            raise ParameterError(
                "a row lies outside the slice store", hint="use rows that healthy_rows gives"
            )
        size = self.settings.image_size
        images = np.empty((len(wanted), size, size), dtype=np.uint8)
        order = np.argsort(wanted[:, 0], kind="stable")
        starts = np.flatnonzero(np.diff(wanted[order, 0], prepend=-1))

        def fill(places: NDArray[np.intp]) -> None:
            patient = self.patients[int(wanted[places[0], 0])]
            self._read(
                patient, "images", wanted[places, 1], lambda here, block: _put(images, places[here], block)
            )

        with ThreadPoolExecutor(_READERS) as pool:
            for _ in pool.map(fill, np.split(order, starts[1:]) if len(order) else []):
                pass
        return images

    def slices(self, name: str) -> PatientSlices:
        """Read all slices of a patient, with the lesion mask if there is one.

        Raises:
            StoreError: If there is no such patient, or the store is damaged.
        """
        patient = next((patient for patient in self.patients if patient.name == name), None)
        if patient is None:
            some = ", ".join(patient.name for patient in self.patients[:3])
            raise StoreError(f"there is no patient {name!r}", file=self.path, hint=f"choose one of {some}, …")
        shape = (len(patient.numbers), self.settings.image_size, self.settings.image_size)
        every = np.arange(shape[0])
        images, masks = np.empty(shape, dtype=np.uint8), np.empty(shape, dtype=np.bool_)
        self._read(patient, "images", every, lambda here, block: _put(images, here, block))
        if not patient.labelled:
            return PatientSlices(patient, images, None)
        self._read(patient, "masks", every, lambda here, block: _put(masks, here, block))
        return PatientSlices(patient, images, masks)

    def _read(
        self,
        patient: StoredPatient,
        kind: Literal["images", "masks"],
        rows: NDArray[np.int64],
        put: Callable[[NDArray[np.intp], NDArray[Any]], None],
    ) -> None:
        """Call ``put`` with the places in ``rows`` and their slices; each chunk is decompressed once."""
        zarr = require_zarr()
        place = self.path / group_name(patient.name, patient.fingerprint, self.settings) / kind
        side = self.settings.image_size
        try:
            array = open_array(zarr, place, (len(patient.numbers), side, side))
            # zarr reads a missing chunk as zeros.
            if array.nchunks_initialized != array.nchunks:
                raise _damaged(place.parent, "some slices are missing")
            chunks = rows // array.chunks[0]
            for chunk in np.unique(chunks):
                here = np.flatnonzero(chunks == chunk)
                start = int(chunk) * array.chunks[0]
                put(here, np.asarray(array[start : start + array.chunks[0]])[rows[here] - start])
        except Exception as error:  # zarr and its codecs raise anything for damaged data
            raise _damaged(place.parent, f"the slices cannot be read ({why(error)})") from error


def _put(target: NDArray[Any], places: NDArray[np.intp], block: NDArray[Any]) -> None:
    target[places] = block


def _damaged(place: Path, what: str) -> StoreError:
    return StoreDamagedError(what, file=place, hint="delete this folder and run the same prepare again")


def require_zarr() -> Any:
    """Return the module zarr.

    Raises:
        MissingExtraError: If it is not installed.
    """
    with extra("train", "The slice store"):
        import zarr
    return zarr


def write_patient(
    folder: Path,
    settings: StoreSettings,
    patient: StoredPatient,
    images: NDArray[np.uint8],
    masks: NDArray[np.bool_] | None,
) -> None:
    """Write the group of one patient; it appears when it is complete.

    Args:
        folder: The store.
        settings: Those of the store.
        patient: Its entry for the index; the parts are not stored here.
        images: (N, S, S).
        masks: (N, S, S), or None for an unlabelled patient.

    Raises:
        OutputError: If it cannot be written.
    """
    zarr = require_zarr()
    target = folder / group_name(patient.name, patient.fingerprint, settings)
    temporary = folder / f"{TEMPORARY}{target.name}"
    attributes = {"schema_version": SCHEMA_VERSION, "patient": _RECORD.dump_python(patient, mode="json")}
    try:
        with disk_errors(OutputError, f"the slices of {patient.name} cannot be written", folder):
            group = zarr.open_group(temporary, mode="w", zarr_format=3, attributes=attributes)
            for kind, stack in (("images", images), ("masks", masks)):
                if stack is not None:
                    group.create_array(
                        kind,
                        data=stack,
                        chunks=(min(_CHUNK, len(stack)), *stack.shape[1:]),
                        # The checksum is compared first: Blosc reads past the end of a truncated chunk.
                        compressors=[
                            zarr.codecs.BloscCodec(cname="zstd", clevel=5, shuffle="noshuffle"),
                            zarr.codecs.Crc32cCodec(),
                        ],
                        chunk_key_encoding={"name": "v2", "separator": "."},  # files, not folders of folders
                        config={"write_empty_chunks": True},  # a missing chunk is a lost one
                    )
            if target.exists():
                shutil.rmtree(target)
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_patient(folder: Path, settings: StoreSettings, name: str, fingerprint: str) -> StoredPatient | None:
    """Return the data that an earlier preparation, finished or not, stored of the very same files; None without any."""
    file = folder / group_name(name, fingerprint, settings) / INDEX_FILE
    try:
        attributes = read_json(file)["attributes"]
        patient = _RECORD.validate_json(json.dumps(attributes["patient"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    kinds = ("images", "masks") if patient.labelled else ("images",)
    starts = range(-(-len(patient.numbers) // _CHUNK))
    chunks = [file.parent / kind / f"{start}.0.0" for kind in kinds for start in starts]
    return patient if all(chunk.is_file() for chunk in chunks) else None  # lost ones are read again
