"""Lay out DATA, the folder of real scans behind the published figures, from clones of the public repositories.

    python research/lay_out.py --clones CLONES --data DATA

CLONES holds a clone of each repository of ``COMMITS`` at its commit, in a folder with the repository's name
(``open_ms_data``, …). ``research/sources`` lists every file with its place there and its checksum, and the chosen
subjects of SOOP. What is there already is checked and kept. The page ``docs/explanation/data.md`` has licences and
citations.

- Files that are used as they are get copied and compared with their checksum.
- ``soop_axial`` is cut out of the quality-control pictures of SOOP: the axial panel, in which the red tint of the
  lesion is undone, and the same slice of the lesion volume. The panel is where the tint is the lesion, pixel by pixel.
- Brains of ``nichart`` are found by deepbet (extra ``strip``), as they were for the figures.
- Brain masks of ``visits`` need the authors' transforms. They are listed, and not made here.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import signal

import napari_cead
from napari_cead.checksums import file_sha256

COMMITS = {
    "muschellij2/open_ms_data": "65704901f60650824565aa5a4818611aa89716f4",
    "neurolabusc/StrokeOutcomeOptimizationProjectDemo": "ae553f82c24721dec4cd3bcffdd6c952257e8dba",
    "CBICA/NiChart_Project": "1a04acb4ce41cc69472c79647ddeb85e73946544",
}
SOURCES = Path(__file__).with_name("sources")
LEVEL = 68
"""Axial slice of the SOOP volumes that the pictures show (MNI z = +18 mm)."""

PIXELS = {
    "lesion/flair": "02053315ff23ee4b9381fd58e7fa84aba24836a1bc51318d8136c8a6a70e912f",
    "lesion/mask": "8e1f081c8ab05755d0d2fe18856f9cf3e5c6b486e7953c51579e7ed315eb2962",
    "lesion_free/flair": "9ebe6b4795fe0fb39135e1f50c4ac197d127913d1a21af7294463508a9746ab0",
}
"""SHA-256 over the names and pixels of each folder of ``soop_axial``, in the order of the names."""

Picture = NDArray[np.uint8]


def files() -> list[dict[str, str]]:
    """Return the listed files: ``file``, ``repository``, ``path``, ``how`` (copy or made) and ``sha256``."""
    with (SOURCES / "files.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def copy_files(clones: Path, data: Path) -> Iterator[str]:
    """Copy what is used as it is, and say what is missing or differs."""
    for row in files():
        source = clones / row["repository"].split("/")[1] / row["path"]
        target = data / row["file"]
        if row["how"] == "made":
            continue
        if not target.exists():
            if not source.is_file():
                yield f"{source}: not there; clone {row['repository']} at {COMMITS[row['repository']][:8]}"
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        if file_sha256(target) != row["sha256"]:
            yield f"{target}: another file than the one of the figures; remove it, or check the clone's commit"


def lay_out_slices(clones: Path, data: Path) -> Iterator[str]:
    """Make ``soop_axial`` from the pictures and lesion volumes of SOOP."""
    repository = clones / "StrokeOutcomeOptimizationProjectDemo"
    out = data / "soop_axial"
    if all(digest(out / part) == expected for part, expected in PIXELS.items()):
        return  # laid out before
    pictures = _by_subject(repository / "PNG", "rsub-*_lesion.nii.png")
    volumes = _by_subject(repository / "NIfTI", "bwsrsub-*_lesion.nii.gz")
    with (SOURCES / "soop_axial.csv").open(encoding="utf-8", newline="") as stream:
        subjects = list(csv.DictReader(stream))
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "index.csv").exists():
        shutil.copyfile(SOURCES / "soop_axial.csv", out / "index.csv")
    place: tuple[int, int] | None = None
    # Those with a lesion first: they show where the panel is.
    for row in sorted(subjects, key=lambda row: row["folder"]):
        number, folder = int(row["soop_subject"]), out / row["folder"]
        if number not in pictures or number not in volumes:
            yield f"{repository}: no picture or no lesion of subject {number}"
            continue
        picture = np.asarray(Image.open(pictures[number]).convert("RGB"))
        lesion = lesion_slice(volumes[number])
        place = place or find_panel(picture, lesion)
        if place is None:
            yield f"{pictures[number]}: the lesion's tint is nowhere the slice {LEVEL} of {volumes[number]}"
            return
        panel = picture[place[0] :, place[1] :][: lesion.shape[0], : lesion.shape[1]]
        if (tinted(panel) != lesion).any():
            yield f"{pictures[number]}: the tint is not the lesion of {volumes[number]}"
            continue
        shown = {"flair": without_tint(panel)}
        if row["folder"] == "lesion":
            shown["mask"] = (255 * lesion).astype(np.uint8)
        for name, image in shown.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / name / f"{number:04d}.png")
    for part, expected in PIXELS.items():
        if digest(out / part) != expected:
            yield f"{out / part}: other pixels than those of the figures"


def _by_subject(folder: Path, pattern: str) -> dict[int, Path]:
    found = ((re.search(r"sub-(\d+)", file.name), file) for file in sorted(folder.glob(pattern)))
    return {int(match[1]): file for match, file in found if match}


def lesion_slice(volume: Path) -> NDArray[np.bool_]:
    """Return the axial slice of a lesion volume: row 0 anterior, column 0 the patient's left."""
    image = nib.as_closest_canonical(nib.load(volume))
    return np.asarray(image.dataobj[:, ::-1, LEVEL]).T > 0


def tinted(picture: Picture) -> NDArray[np.bool_]:
    """Return where a picture is not grey."""
    return picture[..., 0] != picture[..., 1]


def without_tint(picture: Picture) -> Picture:
    """Undo the half-red tint; all values become even, so that nothing shows where it was."""
    green = picture[..., 1]
    return np.where(tinted(picture), 2 * np.minimum(green, 127), green & 254).astype(np.uint8)


def find_panel(picture: Picture, lesion: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Return the first row and column at which the tint of a picture is the lesion, pixel by pixel."""
    tint = tinted(picture).astype(np.float64)
    if lesion.sum() == 0 or any(a < b for a, b in zip(tint.shape, lesion.shape, strict=True)):
        return None
    hit = np.rint(signal.fftconvolve(tint, lesion[::-1, ::-1].astype(np.float64), mode="valid"))
    inside = np.rint(signal.fftconvolve(tint, np.ones(lesion.shape), mode="valid"))
    rows, columns = np.nonzero((hit == lesion.sum()) & (inside == lesion.sum()))
    return (int(rows[0]), int(columns[0])) if len(rows) == 1 else None


def digest(folder: Path) -> str:
    """Return the SHA-256 over names and pixels of the slices of a folder."""
    found = hashlib.sha256()
    for file in sorted(folder.glob("*.png")):
        found.update(file.name.encode())
        found.update(np.asarray(Image.open(file)).tobytes())
    return found.hexdigest()


def strip_heads(data: Path) -> Iterator[str]:
    """Make the brains of ``nichart``; say which brains of ``visits`` are to be made."""
    for row in files():
        target = data / row["file"]
        if row["how"] != "made" or target.exists():
            continue
        if not row["file"].startswith("nichart/"):
            yield f"{target}: made from {row['path']} with the authors' transforms, not by this script"
        elif target.name.startswith("flair_brainmask") and (scan := target.parent / "flair.nii.gz").exists():
            wanted = napari_cead.Preparation(strip="deepbet")
            patient = napari_cead.load_patient(scan, sequence="flair", prepare=wanted)
            brain = patient.volume()
            napari_cead.save_volume(brain > 0, patient, target)
            napari_cead.save_volume(brain, patient, target.with_name("flair_brain.DERIVED.nii.gz"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clones", type=Path, required=True, help="folder with the clones")
    parser.add_argument("--data", type=Path, required=True, help="folder to lay out")
    options = parser.parse_args()
    found = [*copy_files(options.clones, options.data)]
    found += lay_out_slices(options.clones, options.data)
    found += strip_heads(options.data)
    print(*found, sep="\n")
    if found:
        raise SystemExit(f"error: {len(found)} of the lines above; the rest of {options.data} is as listed")
    print(f"{options.data}: complete")


if __name__ == "__main__":
    main()
