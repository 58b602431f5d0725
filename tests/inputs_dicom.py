# ruff: noqa: E501 -- a row of the table is a line
"""Rows of the table of inputs about DICOM and NRRD; see inputs_matrix.py. Written by pydicom and by hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from enhanced import write_enhanced, write_slices
from inputs_matrix import AFFINE, SHAPE, Case, brain

DEPTH = SHAPE[0]
FAMILY = "DICOM and NRRD"
W, R = "opened with a warning", "refused"


def _scan() -> np.ndarray:
    return np.round(brain()[0]).astype(np.uint16)


def _slices(kept=None, *, copies: bool = False, **said: Any) -> Callable[[Path], Path]:
    """Return a maker of a series; ``kept``: the slices that are there."""

    def make(folder: Path) -> Path:
        kept_slices = np.arange(DEPTH) if kept is None else np.array(kept)
        files = write_slices(
            folder, _scan()[:, :, kept_slices.astype(int) % DEPTH], AFFINE, positions=kept_slices, **said
        )
        for file in files if copies else ():
            shutil.copy(file, file.with_name(f"{file.stem} (1).dcm"))
        return folder

    return make


def _two(**said: Any) -> Callable[[Path], Path]:
    """Return a maker of two series under one UID."""

    def make(folder: Path) -> Path:
        write_slices(folder, _scan(), AFFINE, name="A{}.dcm")
        write_slices(folder, _scan(), AFFINE, name="B{}.dcm", positions=np.arange(DEPTH) + 0.5, **said)
        return folder

    return make


def _enhanced(order=None, slopes=None, more=None, **said: Any) -> Callable[[Path], Path]:
    """Return a maker of an enhanced file; ``more(part)``: functional groups of the frames of two volumes."""

    def make(folder: Path) -> Path:
        data, frames = _scan(), None
        if more is not None:
            data = np.concatenate([data, data], axis=2)
            frames = [{"position": index, **more(part)} for part in (0, 1) for index in range(DEPTH)]
        write_enhanced(folder / "IM1", data, AFFINE, order=order, slopes=slopes, frames=frames, **said)
        return folder

    return make


def _cut(folder: Path) -> Path:
    files = write_slices(folder, _scan(), AFFINE)
    files[-1].write_bytes(files[-1].read_bytes()[:200])
    return folder


def _nrrd(space: str, values: bytes | None = None) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        data = brain()[0].astype("<f4").tobytes(order="F")
        sizes = " ".join(map(str, SHAPE[::-1]))
        header = (
            f"NRRD0004\ntype: float\ndimension: 3\nsizes: {sizes}\n{space}endian: little\nencoding: raw\n\n"
        )
        (folder / "flair.nrrd").write_bytes(header.encode() + (data if values is None else values))
        return folder

    return make


_SLOPES = np.stack([np.linspace(0.5, 2, DEPTH), np.zeros(DEPTH)], axis=1)
_DIRECTIONS = "space directions: (0.94,0,0) (0,0.94,0) (0,0,2)\n"

CASES = (
    Case(FAMILY, "a series, one file a slice", _slices()),
    Case(FAMILY, "files that end in .dicom", _slices(name="{}.dicom")),
    Case(FAMILY, "files that end in .MR", _slices(name="{}.MR")),
    Case(FAMILY, "files without an ending", _slices(name="IM{}")),
    Case(FAMILY, "files without preamble and mark", _slices(name="IM{}", preamble=False)),
    Case(FAMILY, "every instance twice", _slices(copies=True), W, "hold the same images again"),
    Case(FAMILY, "a slice missing", _slices([0, 1, 2, 4, 5]), W, "laid where they belong"),
    Case(FAMILY, "slices a little uneven", _slices([0, 1, 2.1, 3, 4, 5]), W, "mm off"),
    Case(FAMILY, "more slices missing than there", _slices([0, 1, 40.5]), R, "more slices are missing"),
    Case(FAMILY, "a file cut short", _cut, W, "cannot be read"),
    Case(FAMILY, "T1 and FLAIR under one SeriesInstanceUID", _two(SeriesNumber=6, SeriesDescription="T1"), W, "have its SeriesInstanceUID"),
    Case(FAMILY, "two echoes under one SeriesInstanceUID", _two(EchoNumbers=2, EchoTime=100), R, "echo time 100"),
    Case(FAMILY, "magnitude and phase under one SeriesInstanceUID", _two(ImageType=["ORIGINAL", "PRIMARY", "P"]), R, "image type"),
    Case(FAMILY, "CT", _slices(Modality="CT"), R, "of the kind CT, not MR"),
    Case(FAMILY, "no modality", _slices(Modality=""), W, "does not say that this is MR"),
    Case(FAMILY, "a localiser", _slices(SeriesDescription="3-plane loc"), R, "a localiser"),
    Case(FAMILY, "enhanced, frames in order", _enhanced()),
    Case(FAMILY, "enhanced, frames out of order", _enhanced(np.array([3, 0, 5, 2, 1, 4]))),
    Case(FAMILY, "enhanced, a slope for each frame", _enhanced(slopes=_SLOPES)),
    Case(FAMILY, "enhanced, two time points", _enhanced(more=lambda part: {"FrameContentSequence": {"TemporalPositionIndex": part + 1}}), R, "differ in time point"),
    Case(FAMILY, "enhanced, two b-values", _enhanced(more=lambda part: {"MRDiffusionSequence": {"DiffusionBValue": 1000.0 * part}}), R, "differ in b-value"),
    Case(FAMILY, "enhanced, two echoes", _enhanced(more=lambda part: {"MREchoSequence": {"EffectiveEchoTime": 20.0 + 80 * part}}), R, "echo time 100"),
    Case(FAMILY, "enhanced, no functional groups", _enhanced(places=False), R, "state no position"),
    Case(FAMILY, "NRRD", _nrrd(f"space: left-posterior-superior\n{_DIRECTIONS}")),
    Case(FAMILY, "NRRD without a space", _nrrd("spacings: 0.94 0.94 2\n"), W, "left and right are unknown"),
    Case(FAMILY, "NRRD cut short", _nrrd("", bytes(100)), R, "cannot be read as NRRD"),
)  # fmt: skip
