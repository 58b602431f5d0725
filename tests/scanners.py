"""Scans as other programs write them, and where other programs see them: independent of our own readers."""

from __future__ import annotations

import locale
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

sitk.ProcessObject.SetGlobalWarningDisplay(False)


def itk_affine(path: Path) -> np.ndarray:
    """Where ITK sees the voxels of a file: (4, 4) to RAS+."""
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return LPS @ affine


def itk_image(data: np.ndarray, affine: np.ndarray) -> sitk.Image:
    """An ITK image of an (i, j, k) array that lies where the RAS+ affine says."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(np.transpose(data)))
    lps = LPS @ affine
    spacing = nib.affines.voxel_sizes(affine)
    image.SetSpacing([float(size) for size in spacing])
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """A rotation by three angles in degrees."""
    result = np.eye(3)
    for axis, angle in enumerate(np.deg2rad((x, y, z))):
        one, other = [index for index in range(3) if index != axis]
        turn = np.eye(3)
        turn[[one, other], [one, other]] = np.cos(angle)
        turn[one, other], turn[other, one] = -np.sin(angle), np.sin(angle)
        result = result @ turn
    return result


def write_dicom(
    folder: Path,
    data: np.ndarray,
    affine: np.ndarray,
    *,
    description: str = "Ax T2 FLAIR",
    number: int | str = 5,
    study: str = "1.2.3",
    kind: str = "ORIGINAL\\PRIMARY\\M",
    positions: np.ndarray | None = None,
    uid: str | None = None,
    name: str = "IM{:04d}.dcm",
    tags: dict[str, str] | None = None,
) -> list[Path]:
    """Write an (i, j, k) array as a DICOM series of slices along k, by SimpleITK's own writer.

    ``positions``: where the slices lie, in steps of the affine's third axis; evenly if None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spacing = nib.affines.voxel_sizes(affine)
    lps = LPS @ affine
    directions = lps[:3, :3] / spacing
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    files = []
    steps = np.arange(data.shape[2]) if positions is None else positions
    for index, step in enumerate(steps):
        image = sitk.GetImageFromArray(np.ascontiguousarray(data[:, :, index].T)[None])
        image.SetSpacing([float(size) for size in spacing])
        origin = lps[:3, 3] + lps[:3, 2] * step
        described = {
            "0008|0008": kind,
            "0008|0060": "MR",
            "0008|103e": description,
            "0010|0010": "Nobody",
            "0018|0050": f"{spacing[2]:.6g}",
            "0020|000d": study,
            "0020|000e": uid or f"{study}.{number}",
            "0020|0011": str(number),
            "0020|0013": str(index + 1),
            "0020|0032": "\\".join(f"{value:.12g}" for value in origin),
            "0020|0037": "\\".join(f"{value:.12g}" for value in directions[:, :2].T.ravel()),
            "0028|0030": f"{spacing[1]:.12g}\\{spacing[0]:.12g}",
            **(tags or {}),
        }
        for tag, value in described.items():
            image.SetMetaData(tag, value)
        file = folder / name.format(index)
        writer.SetFileName(str(file))
        writer.SetImageIO("GDCMImageIO")
        before = locale.setlocale(locale.LC_ALL)
        writer.Execute(image)
        locale.setlocale(locale.LC_ALL, before)  # GDCM leaves it at C, and text would be read as ASCII
        files.append(file)
    return files
