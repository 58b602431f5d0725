# ruff: noqa: E501 -- a row of the table is a line
"""Inputs of all kinds and what becomes of them: one list. A new row is a new `Case` in `CASES`.

`tests/test_inputs.py` gives each to the program; ``make docs-inputs`` writes what came of it to docs/reference/inputs.md.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
from PIL import Image
from scipy import ndimage

from scans import make_brain, write_nifti

Outcome = Literal["opened", "opened with a warning", "refused"]

SHAPE = (6, 44, 40)
AFFINE = np.diag([0.94, 0.94, 2.0, 1.0])


@dataclass(frozen=True)
class Given:
    """What the user gives.

    Attributes:
        path: Patient's folder or file.
        mask: Lesion mask, if one is named.
        sequence: Sequence asked for.
    """

    path: Path
    mask: Path | None = None
    sequence: str = "flair"


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        family: Heading under which the row stands.
        given: The input, in words.
        make: Makes it in an empty folder; returns the path to open, or a `Given`.
        outcome: What has to become of it.
        says: Words that the warning or the refusal has to hold.
        code: Code of the refusal.
        detectable: Whether a model can be run on what was opened.
    """

    family: str
    given: str
    make: Callable[[Path], Path | Given]
    outcome: Outcome = "opened"
    says: str = ""
    code: str = ""
    detectable: bool = True

    @property
    def id(self) -> str:
        return f"{self.family}: {self.given}"


def brain() -> tuple[np.ndarray, np.ndarray]:
    """Return a scan and its lesion mask as (X, Y, Z), as NIfTI stores them."""
    volume, lesion = make_brain(SHAPE)
    return volume.T, lesion.T.astype(np.uint8)


def nifti(change=lambda volume: volume, affine=AFFINE, name="flair.nii.gz", seg=True, kind=nib.Nifti1Image):
    """Return a maker of a NIfTI patient whose scan is changed."""

    def make(folder: Path) -> Path:
        volume, lesion = brain()
        nib.save(kind(np.asarray(change(volume)), affine), folder / name)
        if seg:
            write_nifti(folder / "seg.nii.gz", lesion, AFFINE)
        return folder

    return make


def header(**fields):
    """Return a maker whose header fields are set on disk, whatever nibabel thinks of them."""

    def make(folder: Path) -> Path:
        volume, _ = brain()
        file = write_nifti(folder / "flair.nii", volume, AFFINE)
        raw = file.read_bytes()
        head = nib.Nifti1Header(raw[:348], check=False)
        for field, value in fields.items():
            head[field] = value
        file.write_bytes(head.binaryblock + raw[348:])
        return folder

    return make


def masked(change, affine=AFFINE, name="seg.nii.gz"):
    """Return a maker whose lesion mask is changed."""

    def make(folder: Path) -> Path:
        volume, lesion = brain()
        write_nifti(folder / "flair.nii.gz", volume, AFFINE)
        write_nifti(folder / name, np.asarray(change(lesion)), affine)
        return folder

    return make


def on_bytes(change, name="flair.nii.gz", seg=True):
    """Return a maker of a NIfTI file whose bytes are changed."""

    def make(folder: Path) -> Path:
        nifti(name=name, seg=seg)(folder)
        file = folder / name
        file.write_bytes(change(file.read_bytes()))
        return folder

    return make


def turned(codes: str):
    """Return a maker of the same brain stored in another orientation."""

    def make(folder: Path) -> Path:
        volume, _ = brain()
        image = nib.Nifti1Image(volume, AFFINE)
        want = nib.orientations.axcodes2ornt(codes)
        change = nib.orientations.ornt_transform(nib.io_orientation(AFFINE), want)
        nib.save(image.as_reoriented(change), folder / "flair.nii.gz")
        return folder

    return make


def png(change=lambda pixels: Image.fromarray(pixels), names=None, folder="3", mode=None, drop=()):
    """Return a maker of a patient of PNG slices."""

    def make(place: Path) -> Path:
        volume, _ = make_brain(SHAPE)
        (place / folder).mkdir()
        for number, pixels in enumerate(np.clip(volume, 0, 255).astype(np.uint8)):
            if number in drop:
                continue
            name = names(number) if names else f"{number:03d}"
            picture = change(pixels)
            (picture.convert(mode) if mode else picture).save(place / folder / f"{name}.png")
        return place

    return make


def _noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)


def _colour(pixels):
    return Image.fromarray(np.stack([pixels, pixels // 2, pixels], axis=-1))


def _mixed(pixels):
    _mixed.count = getattr(_mixed, "count", 0) + 1
    return Image.fromarray(pixels if _mixed.count % 2 else pixels[:-2])


def _sixteen(pixels):
    return Image.fromarray(pixels.astype(np.uint16) * 100)


def _missing(folder: Path) -> Path:
    return folder / "nothing" / "flair.nii.gz"


def _empty(folder: Path) -> Path:
    return folder


def _text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("hello")
    return folder / "notes.txt"


def _loop(folder: Path) -> Path:
    (folder / "flair.nii.gz").symlink_to("flair.nii.gz")
    return folder


def _own_parent(folder: Path) -> Path:
    nifti()(folder)
    (folder / "again").symlink_to(folder, target_is_directory=True)
    return folder


def _named(name: str):
    def make(folder: Path) -> Path:
        place = folder / name
        place.mkdir()
        return Path(nifti()(place))

    return make


def _long(folder: Path) -> Path:
    volume, _ = brain()
    return write_nifti(folder / ("x" * 180 + "_flair.nii.gz"), volume, AFFINE)


def _nested(folder: Path) -> Path:
    nifti()(_made(folder / "a"))
    nifti()(_made(folder / "b"))
    return folder


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _twice(folder: Path) -> Path:
    nifti()(folder)
    return Path(nifti(name="FLAIR.nii", seg=False)(folder))


def _mask_named(folder: Path) -> Given:
    nifti(seg=False)(folder)
    _, lesion = brain()
    return Given(folder, mask=write_nifti(_made(folder.parent / "other") / "lesions.nii", lesion, AFFINE))


def _mask_cut(folder: Path) -> Path:
    nifti()(folder)
    file = folder / "seg.nii.gz"
    file.write_bytes(file.read_bytes()[:90])
    return folder


def _mask_missing(folder: Path) -> Given:
    nifti(seg=False)(folder)
    return Given(folder, mask=folder / "no.nii")


def _pair(folder: Path) -> Path:
    volume, _ = brain()
    nib.save(nib.Nifti1Pair(volume, AFFINE), folder / "flair.hdr")
    return folder


def _half_pair(folder: Path) -> Path:
    _pair(folder)
    (folder / "flair.img").unlink()
    return folder


def _sequence(name: str):
    def make(folder: Path) -> Given:
        nifti()(folder)
        return Given(folder, sequence=name)

    return make


def _nothing_readable(folder: Path) -> Path:
    nifti()(folder)
    write_nifti(folder / "t1_gd.nii.gz", brain()[0], AFFINE)
    (folder / "t1_gd.nii.gz").write_bytes(b"")
    return folder


def _nan(share: float):
    def change(volume):
        changed = volume.copy()
        flat = changed.reshape(-1)
        flat[: int(share * flat.size)] = np.nan
        return changed

    return change


def _scattered(volume):
    return np.where(np.random.default_rng(0).random(volume.shape) < 0.6, np.nan, volume)


def _rgb(volume):
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    return np.repeat(np.clip(volume, 0, 255).astype(np.uint8)[..., None], 3, -1).copy().view(kind)[..., 0]


def _rotated():
    c, s = np.cos(0.2), np.sin(0.2)
    return np.array([[c, -s, 0, 5], [s, c, 0, -7], [0, 0, 1, 9], [0, 0, 0, 1]]) @ AFFINE


W: Outcome = "opened with a warning"
R: Outcome = "refused"
NII, GEO, VAL, MASK, PNG, PLACE = (
    "NIfTI files",
    "Geometry",
    "Intensities",
    "Lesion masks",
    "PNG slices",
    "Folders and names",
)

CASES: tuple[Case, ...] = (
    *(Case(NII, f"stored as {np.dtype(kind).name}{' big-endian' if kind[0] == '>' else ''}", nifti(lambda v, k=kind: v.astype(k)))
      for kind in ("u1", "i1", "<i2", ">i2", "<u2", "<i4", "<u4", "<f4", ">f4", "<f8", ">f8")),
    Case(NII, "uncompressed", nifti(name="flair.nii")),
    Case(NII, "NIfTI-2", nifti(kind=nib.Nifti2Image)),
    Case(NII, "pair of .hdr and .img", _pair),
    Case(NII, ".hdr without its .img", _half_pair, R, "cannot be read", "scan-unreadable"),
    Case(NII, "4-D with one volume", nifti(lambda v: v[..., None])),
    Case(NII, "4-D with three volumes", nifti(lambda v: np.stack([v] * 3, -1)), R, "4 dimensions", "scan-unsupported"),
    Case(NII, "5-D", nifti(lambda v: np.stack([v[..., None]] * 2, -1)), R, "5 dimensions", "scan-unsupported"),
    Case(NII, "2-D: one slice", nifti(lambda v: v[..., 3], seg=False)),
    Case(NII, "RGB", nifti(_rgb), R, "in colour", "scan-unsupported"),
    Case(NII, "complex", nifti(lambda v: v.astype(np.complex64)), R, "complex", "scan-unsupported"),
    Case(NII, "empty file", on_bytes(lambda data: b""), R, "empty", "scan-unreadable"),
    Case(NII, "cut after 30 % of its bytes, compressed", on_bytes(lambda data: data[: len(data) // 3]), R, "cannot be read", "scan-unreadable"),
    Case(NII, "cut after a third of its bytes", on_bytes(lambda data: data[: len(data) // 3], "flair.nii"), R, "more than this file", "scan-unreadable"),
    Case(NII, "cut within the header", on_bytes(lambda data: data[:200], "flair.nii"), R, "cannot be read", "scan-unreadable"),
    Case(NII, "gzip whose check sum is wrong", on_bytes(lambda data: data[:-8] + bytes(4) + data[-4:]), R, "incorrect data check", "scan-unreadable"),
    Case(NII, "gzip without its last four bytes, all voxels there", on_bytes(lambda data: data[:-4])),
    Case(NII, "gzip with other bytes behind it", on_bytes(lambda data: data + b"more")),
    Case(NII, "not compressed, but named .nii.gz", on_bytes(gzip.decompress), R, "cannot be read", "scan-unreadable"),
    Case(NII, "compressed, but named .nii", on_bytes(lambda data: gzip.compress(data), "flair.nii"), R, "cannot be read", "scan-unreadable"),
    Case(NII, "text named .nii.gz", on_bytes(lambda data: b"not a scan"), R, "cannot be read", "scan-unreadable"),
    Case(NII, "unknown data type in the header", header(datatype=0), R, "cannot be read", "scan-unreadable"),
    Case(NII, "slope and intercept", header(scl_slope=2.0, scl_inter=0.0)),
    Case(NII, "slope 0: none", header(scl_slope=0.0)),
    Case(NII, "slope NaN: none", header(scl_slope=np.nan)),
    Case(NII, "header that says fewer voxels than there are", header(dim=[3, 40, 44, 5, 1, 1, 1, 1])),
    Case(NII, "header that says more voxels than there are", header(dim=[3, 40, 44, 600, 1, 1, 1, 1]), R, "more than this file", "scan-unreadable"),
    Case(NII, "header of size 0", header(dim=[3, 0, 44, 6, 1, 1, 1, 1]), R, "impossible size", "geometry-wrong"),
    Case(NII, "header of negative size", header(dim=[3, -4, 44, 6, 1, 1, 1, 1]), R, "", ""),
    *(Case(GEO, f"orientation {codes}", turned(codes)) for codes in ("LPS", "RAS", "LAS", "PIR", "ASL", "SRP", "IPL")),
    Case(GEO, "oblique", nifti(affine=_rotated(), seg=False)),
    Case(GEO, "no qform and no sform", nifti(affine=None, seg=False), W, "no orientation"),
    Case(GEO, "NaN in the affine", header(srow_x=[np.nan, 0, 0, 0], sform_code=1, qform_code=0), R, "affine", "geometry-wrong"),
    Case(GEO, "affine of zeros", header(srow_x=0, srow_y=0, srow_z=0, sform_code=1, qform_code=0), R, "affine", "geometry-wrong"),
    Case(GEO, "voxel size 0", header(pixdim=[1, 0, 0, 0, 0, 0, 0, 0], sform_code=0, qform_code=1), W, "header"),
    Case(GEO, "anisotropic voxels of 0.94 x 0.94 x 6 mm", nifti(affine=np.diag([0.94, 0.94, 6, 1]), seg=False)),
    Case(GEO, "one voxel", nifti(lambda v: np.ones((1, 1, 1), np.float32), seg=False), detectable=False),
    Case(GEO, "one column", nifti(lambda v: v[20:21], seg=False)),
    Case(VAL, "negative values in the brain", nifti(lambda v: np.where(v > 0, v - 90, 0))),
    Case(VAL, "zero everywhere", nifti(lambda v: v * 0), R, "zero everywhere", "intensities-unusable"),
    Case(VAL, "one value in the whole brain", nifti(lambda v: (v > 0) * 7.0), detectable=False),
    Case(VAL, "10 % NaN", nifti(_nan(0.1)), W, "NaN"),
    Case(VAL, "60 % NaN, on one side", nifti(_nan(0.6)), W, "NaN"),
    Case(VAL, "60 % NaN, everywhere in the scan", nifti(_scattered), R, "NaN", "intensities-unusable"),
    Case(VAL, "NaN around the brain", nifti(lambda v: np.where(v > 0, v, np.nan)), W, "joined to the border"),
    Case(VAL, "resampled with a cubic spline", nifti(lambda v: ndimage.shift(v, 0.5, order=3)), W, "not exactly 0"),
    Case(VAL, "NaN everywhere", nifti(_nan(1.0)), R, "NaN", "intensities-unusable"),
    Case(VAL, "some infinite", nifti(lambda v: np.where(v > 165, np.inf, v)), W, "infinite"),
    Case(VAL, "values up to 1e30", nifti(lambda v: v * np.float32(1e28))),
    Case(VAL, "values below 1e-5", nifti(lambda v: v * np.float32(1e-8))),
    Case(VAL, "binary: a mask named flair", nifti(lambda v: (v > 150).astype(np.uint8)), W, "outside the brain"),
    Case(MASK, "0 and 1", masked(lambda m: m)),
    Case(MASK, "0 and 255", masked(lambda m: m * 255)),
    Case(MASK, "empty", masked(lambda m: m * 0)),
    Case(MASK, "three labels", masked(lambda m: m * (1 + np.arange(m.shape[0]) % 3).astype(np.uint8)[:, None, None]), W, "labels 1, 2, 3"),
    Case(MASK, "forty labels", masked(lambda m: _noise(m.shape) % 40), R, "an image, not a mask", "mask-unusable"),
    Case(MASK, "whole numbers as float", masked(lambda m: m.astype(np.float32))),
    Case(MASK, "fractions", masked(lambda m: m * 0.3), R, "not whole numbers", "mask-unusable"),
    Case(MASK, "NaN", masked(lambda m: np.where(m, np.nan, 0)), R, "NaN", "mask-unusable"),
    Case(MASK, "255 stored as int8", masked(lambda m: (m * 255).astype(np.int8)), R, "negative", "mask-unusable"),
    Case(MASK, "a brain mask", masked(lambda m: (brain()[0] > 0).astype(np.uint8)), W, "no lesion mask"),
    Case(MASK, "an identity affine", masked(lambda m: m, np.eye(4)), W, "is the identity"),
    Case(MASK, "on another grid that overlaps", masked(lambda m: m[::2, ::2], np.diag([1.88, 1.88, 2, 1])), W, "another grid"),
    Case(MASK, "far away from the scan", masked(lambda m: m, AFFINE + np.array([[0, 0, 0, 900]] + [[0] * 4] * 3)), R, "outside", "mask-unusable"),
    Case(MASK, "cut after 90 bytes", _mask_cut, R, "cannot be read", "mask-unusable"),
    Case(MASK, "given as a file elsewhere", _mask_named),
    Case(MASK, "given, but not there", _mask_missing, R, "no such file", "mask-unusable"),
    Case(PNG, "grey, 8 bits", png(), W, "no side"),
    Case(PNG, "grey, 16 bits", png(_sixteen), W, "no side"),
    Case(PNG, "grey as RGB", png(mode="RGB"), W, "no side"),
    Case(PNG, "grey as RGBA", png(mode="RGBA"), W, "no side"),
    Case(PNG, "palette", png(mode="P"), W, "no side"),
    Case(PNG, "one bit", png(mode="1"), W, "no side"),
    Case(PNG, "in colour", png(_colour), R, "in colour", "scan-unsupported"),
    Case(PNG, "sizes differ", png(_mixed), R, "pixels", "geometry-wrong"),
    Case(PNG, "a slice missing in between", png(drop=(2,)), R, "missing", "scan-unreadable"),
    Case(PNG, "numbers without zeros in front", png(names=str), W, "no side"),
    Case(PNG, "numbers from 57 on", png(names=lambda n: str(n + 57)), W, "no side"),
    Case(PNG, "one name that is no number", png(names=lambda n: "scout" if n == 5 else f"{n:03d}"), W, "no side"),
    Case(PNG, "one number twice (1.png and 001.png)", png(names=lambda n: {0: "1", 1: "001"}.get(n, str(n))), R, "the number 1", "scan-unreadable"),
    Case(PNG, "a number of twenty digits", png(names=lambda n: "9" * 20 if n == 5 else str(n)), R, "missing", "scan-unreadable"),
    Case(PNG, "names that are no numbers", png(names=lambda n: f"slice{n}"), R, "no scan", "patient-not-found"),
    Case(PNG, "a PNG that is text", lambda f: _text_png(f), R, "PNG cannot be read", "scan-unreadable"),
    Case(PLACE, "no such path", _missing, R, "no such file", "patient-not-found"),
    Case(PLACE, "an empty folder", _empty, R, "empty", "patient-not-found"),
    Case(PLACE, "a text file", _text, R, "no scan that can be read", "scan-unsupported"),
    Case(PLACE, "a folder of patients", _nested, R, "choose one patient", "patient-not-found"),
    Case(PLACE, "two files for one sequence", _twice, R, "look like flair", "patient-not-found"),
    Case(PLACE, "a sequence that is not there", _sequence("t2"), R, "there is no t2 scan", "sequence-missing"),
    Case(PLACE, "another sequence that is damaged", _nothing_readable, W, "left out"),
    Case(PLACE, "a link to itself", _loop, R, "cannot be read", "scan-unreadable"),
    Case(PLACE, "a folder that holds a link to itself", _own_parent),
    Case(PLACE, "spaces in the name", _named("My patient  1")),
    Case(PLACE, "letters of other scripts and emoji in the name", _named("Ärzte-患者-🧠")),
    Case(PLACE, "a line break in the name", _named("a\nb")),
    Case(PLACE, "a file name of 193 characters", _long),
    Case(PLACE, "a mask given as the scan", lambda f: _made_mask(f), R, "that of a mask", "scan-unsupported"),
)  # fmt: skip


def _text_png(folder: Path) -> Path:
    png()(folder)
    (folder / "3" / "002.png").write_text("not a picture")
    return folder


def _made_mask(folder: Path) -> Path:
    return write_nifti(folder / "seg.nii.gz", brain()[1], AFFINE)


def usable(case: Case) -> bool:
    """Whether this system can hold the case: Windows knows neither such names nor links for everybody."""
    return os.name != "nt" or not ("line break" in case.given or "link" in case.given)
