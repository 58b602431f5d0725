"""Write synthetic patients to disk in the layouts of BrainMetShare."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal
from uuid import uuid4

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..atomic import make_folder
from ..errors import OutputError, ParameterError, disk_errors
from ..progress import Progress, Stop, check_stop, tell
from .anatomy import tissue_maps
from .metastases import metastases_called
from .patient import SHAPE, PhantomPatient, make_patient

Layout = Literal["nifti", "png"]

PNG_FOLDERS = {"bravo": "0", "t1_pre": "1", "t1_gd": "2", "flair": "3"}
"""Sequence to folder of the PNG release."""


def write_cohort(
    out: str | Path,
    patients: int,
    layout: Layout = "nifti",
    seed: int = 0,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
    *,
    lesions: int | None = None,
    shape: tuple[int, int, int] = SHAPE,
    gain: float = 1.0,
    varied: bool = False,
    metastases: str = "default",
) -> list[Path]:
    """Write ``patients`` synthetic patients to ``out/train/Mets_001`` and so on.

    A patient's folder appears when it is complete; one that exists is never replaced. Patient ``n`` is
    ``make_patient(seed, n)``, whatever the layout and the number of patients.

    * ``nifti``: ``bravo``, ``flair``, ``t1_gd``, ``t1_pre`` (int16) and ``seg`` (uint8, 0 and 1), ``.nii.gz``.
    * ``png``: ``0/NNN.png`` (bravo), ``1`` (t1_pre), ``2`` (t1_gd), ``3`` (flair) and ``seg`` (0 and 255), 8-bit,
      slices from inferior to superior, row 0 anterior, column 0 patient left, one intensity scale per volume.

    Args:
        out: Folder of the cohort; created if needed.
        patients: How many, at least 1.
        layout: ``"nifti"`` or ``"png"``.
        seed: Seed of the cohort.
        on_progress: Called with (patients done, patients in total).
        should_stop: Called before each patient; if true, the patients written so far stay.
        lesions: Metastases per patient, 0 to 20; ``None`` draws the number.
        shape: Voxels (z, y, x) of each patient.
        gain: Multiplies the NIfTI intensities; below 1 there are fewer grey levels and smaller files.
        varied: Whether contrast and noise vary as between many scanners instead of as within one study.
        metastases: What number, size and oedema are drawn from; see `make_patient`.

    Returns:
        The patients' folders.

    Raises:
        ParameterError: If an argument is out of its range.
        MissingExtraError: If nilearn is not installed.
        OutputError: If a patient's folder exists already, or a file cannot be written.
        Cancelled: If ``should_stop`` returned true.
    """
    if patients < 1:
        raise ParameterError(f"{patients} patients cannot be made", hint="ask for 1 or more")
    if layout not in ("nifti", "png"):
        raise ParameterError(f"the layout {layout!r} is unknown", hint="use nifti or png")
    if not 0 < gain <= 10:
        raise ParameterError(f"the gain {gain} is out of range", hint="use a number above 0, up to 10")
    metastases_called(metastases)  # before a folder is made
    write = partial(_write_nifti, gain=gain) if layout == "nifti" else _write_png
    tissue_maps()  # a missing extra shows before a folder is made
    train = make_folder(Path(out) / "train")
    names = [f"Mets_{number:03d}" for number in range(1, patients + 1)]
    if taken := [train / name for name in names if (train / name).exists()]:
        # Real patients have the very same names: nothing that exists is ever replaced.
        raise OutputError("the folder exists already", file=taken[0], hint="choose an empty output folder")
    folders: list[Path] = []
    for number in range(1, patients + 1):
        check_stop(should_stop)
        patient = make_patient(seed, number, lesions, shape, varied=varied, metastases=metastases)
        folders.append(_write_folder(train / patient.name, patient, write))
        tell(on_progress, number, patients)
    return folders


def _write_folder(
    target: Path, patient: PhantomPatient, write: Callable[[PhantomPatient, Path], None]
) -> Path:
    """Write a patient's folder under another name and put it in place when it is complete."""
    mark = uuid4().hex[:8]
    new = target.with_name(f".part-{target.name}-{mark}")
    try:
        with disk_errors(OutputError, "the patient cannot be written", target):
            new.mkdir()
            write(patient, new)
            new.rename(target)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return target


def _write_nifti(patient: PhantomPatient, folder: Path, gain: float) -> None:
    """Write (X, Y, Z) volumes in LPS order, as scanners do, with the origin in the middle of the field of view."""
    spacing = np.array(patient.spacing[::-1])
    shape = np.array(patient.lesion_mask.shape[::-1])
    affine = np.diag([*(spacing * (-1, -1, 1)), 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((shape - 1) / 2)
    volumes: dict[str, NDArray[np.generic]] = {}
    for name, volume in patient.sequences.items():
        levels = np.where(volume > 0, np.clip(np.rint(volume * gain), 1, 2**15 - 1), 0)
        volumes[name] = levels.astype(np.int16)
    volumes["seg"] = patient.lesion_mask.astype(np.uint8)
    for name, array in volumes.items():
        image = nib.Nifti1Image(array.T, affine)
        image.set_sform(affine, code=1)
        image.set_qform(affine, code=1)
        image.header.set_xyzt_units("mm", "sec")
        nib.save(image, folder / f"{name}.nii.gz")


def _write_png(patient: PhantomPatient, folder: Path) -> None:
    """Write 8-bit slices; PNG files carry no side, column 0 is patient left as in the release's convention."""
    volumes = {"seg": patient.lesion_mask.astype(np.uint8) * np.uint8(255)}
    for name, volume in patient.sequences.items():
        brain = volume > 0
        white_point = np.percentile(volume[brain], 99.9)
        # The brain stays apart from the background, which is 0.
        scaled = np.where(brain, np.clip(np.rint(volume * (255 / white_point)), 1, 255), 0)
        volumes[PNG_FOLDERS[name]] = scaled.astype(np.uint8)
    for name, levels in volumes.items():
        (folder / name).mkdir()
        for z, plane in enumerate(levels[:, :, ::-1]):
            Image.fromarray(np.ascontiguousarray(plane)).save(folder / name / f"{z:03d}.png")
