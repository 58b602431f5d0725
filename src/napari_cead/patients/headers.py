"""The position of a scan according to its header, and headers that every program reads alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel import affines
from nibabel.analyze import AnalyzeHeader
from numpy.typing import NDArray

from .findings import Note, no_orientation

MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
"""Units of length other than the millimetre that NIfTI knows."""

PLAUSIBLE = (0.05, 30.0)
"""Voxel sizes in mm of human brain MRI: a header's word for another unit is believed only if it leads there."""

_SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT
_SAME = 0.01  # voxels, and
_TURN = 1e-3  # radians, by which a qform may differ from the sform through rounding: its quaternion is single precision
_SAME_SIZE = 0.01
_GEOMETRY = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)


@dataclass(frozen=True, eq=False)
class Placement:
    """The position of a scan.

    Attributes:
        affine: (4, 4) voxel to world, RAS+ millimetres.
        header: NIfTI header to write back with; None for formats that have none.
        has_orientation: Whether the file states an orientation.
        notes: What is doubtful.
    """

    affine: NDArray[np.float64]
    header: Any
    has_orientation: bool
    notes: tuple[Note, ...] = ()


def placement(image: Any, shape: tuple[int, int, int], name: str) -> Placement:
    """Return the position of an image opened by nibabel.

    Args:
        image: NIfTI, Analyze or MGH image.
        shape: Its first three dimensions.
        name: File to name in notes.
    """
    affine = np.asarray(image.affine, dtype=np.float64)
    if isinstance(image.header, nib.Nifti1Header):
        return _of_nifti(image.header, affine, shape, name)
    oriented = True
    header = None
    if isinstance(image.header, AnalyzeHeader) and not _has_matrix(image):
        oriented, header = False, _unoriented(image.header)
    elif isinstance(image, nib.MGHImage):
        oriented = _states_directions(image)
    return Placement(affine, header, oriented, () if oriented else (no_orientation(name),))


def geometry(header: Any) -> Any:
    """Return a new header that says where voxels lie as another one does, and nothing else.

    Names, dates, free text and extensions of scanners and programs are dropped.
    """
    kind = nib.Nifti2Header if isinstance(header, nib.Nifti2Header) else nib.Nifti1Header
    bare = kind(endianness=header.endianness)
    for field in _GEOMETRY:
        bare[field] = header[field]
    bare.set_data_shape(header.get_data_shape()[:3])
    bare["pixdim"][:4] = header["pixdim"][:4]
    try:
        unit = header.get_xyzt_units()[0]
    except KeyError:  # a code that the format does not have; without orientation nothing was made of it
        unit = "unknown"
    bare.set_xyzt_units(unit if unit != "unknown" else None)
    return bare


def settle(header: Any, affine: NDArray[np.float64], *, fresh: bool) -> None:
    """Leave one way only to read where the image lies: qform, sform and voxel sizes say the same, or are not set.

    nibabel takes an sform before a qform. ITK (SimpleITK, ITK-SNAP, 3D Slicer) takes the qform unless the sform has
    code 1, and scales an sform by the voxel sizes stated apart from it. A sheared affine has no qform: ITK then
    refuses the file, which is better than showing it elsewhere.

    Args:
        header: NIfTI header, changed in place.
        affine: (4, 4) voxel to world.
        fresh: Whether it is a new header, whose codes mean nothing yet; the codes of a scan are kept.
    """
    if fresh:
        header.set_sform(affine, _SCANNER)
        header.set_qform(affine, _SCANNER if _orthogonal(affine) else 0, strip_shears=True)
        header.set_xyzt_units("mm")
        return
    shape = header.get_data_shape()[:3]
    if not header["sform_code"]:
        return
    sizes = affines.voxel_sizes(affine)
    zooms = header.get_zooms()
    if not np.allclose(zooms[:3], sizes[: len(zooms)], rtol=1e-4):
        header.set_zooms((*sizes[: len(zooms)], *zooms[3:]))
    if header["qform_code"] and _distance(header.get_qform(), affine, shape) > _tolerance(affine, shape):
        if _orthogonal(affine):
            header.set_qform(affine, int(header["qform_code"]))
        else:
            header["qform_code"] = 0


def _of_nifti(header: Any, affine: NDArray[np.float64], shape: tuple[int, int, int], name: str) -> Placement:
    if not header["qform_code"] and not header["sform_code"]:
        return Placement(affine, header, False, (no_orientation(name),))
    notes: list[Note] = []
    if header["qform_code"] and header["sform_code"]:
        apart = _distance(header.get_qform(), affine, shape)
        if apart > _tolerance(affine, shape):
            notes.append(
                Note(
                    "affine",
                    f"qform and sform place the scan {apart:.3g} mm apart; the sform is taken and results are written "
                    "with both alike, but programs based on ITK may show this scan by its qform",
                    name,
                )
            )
    sizes = affines.voxel_sizes(affine)
    stated = np.asarray(header.get_zooms()[:3], dtype=np.float64)
    # The header of a single slice states two sizes.
    if header["sform_code"] and not np.allclose(stated, sizes[: len(stated)], rtol=_SAME_SIZE):
        notes.append(
            Note(
                "affine",
                f"the header states voxels of {_times(stated)} mm, but its sform {_times(sizes)} mm, which is taken",
                name,
            )
        )
    try:
        unit = header.get_xyzt_units()[0]
    except KeyError:  # a code that the format does not have
        code = int(header["xyzt_units"])
        notes.append(Note("affine", f"the header states an unknown unit (code {code}), taken as mm", name))
        header = header.copy()
        header.set_xyzt_units("mm")
        unit = "mm"
    if unit in MILLIMETRES:
        return _in_other_unit(header, affine, unit, name, notes)
    return Placement(affine, header, True, tuple(notes))


def _in_other_unit(
    header: Any, affine: NDArray[np.float64], unit: str, name: str, notes: list[Note]
) -> Placement:
    """Bring a header in metres or micrometres to millimetres, unless the unit is plainly a slip."""
    factor = MILLIMETRES[unit]
    sizes = affines.voxel_sizes(affine)
    scaled = np.diag([factor, factor, factor, 1.0]) @ affine
    changed = header.copy()
    changed.set_xyzt_units("mm", changed.get_xyzt_units()[1])
    if _plausible(sizes * factor) or not _plausible(sizes):
        for kind in ("qform", "sform"):
            if code := int(header[f"{kind}_code"]):
                form = np.diag([factor, factor, factor, 1.0]) @ getattr(header, f"get_{kind}")()
                getattr(changed, f"set_{kind}")(form, code)
        zooms = header.get_zooms()
        changed.set_zooms((*(size * factor for size in zooms[:3]), *zooms[3:]))
        note = Note("affine", f"the header is in {unit}s, taken to mm", name)
        return Placement(scaled, changed, True, (*notes, note))
    note = Note(
        "affine",
        f"the header says {unit}s, but voxels of {_times(sizes)} can only be mm, and so they are taken",
        name,
    )
    return Placement(affine, changed, True, (*notes, note))


def _unoriented(header: Any) -> Any:
    """Return a NIfTI header of an Analyze one, which states no orientation either."""
    made = nib.Nifti1Header.from_header(header, check=False)
    made["qform_code"] = made["sform_code"] = 0
    return made


def _has_matrix(image: Any) -> bool:
    """Whether SPM's ``.mat`` file with the affine lies beside an Analyze image."""
    holder = image.file_map.get("mat")
    return holder is not None and holder.filename is not None and Path(holder.filename).is_file()


def _states_directions(image: Any) -> bool:
    """Whether an MGH file states directions. nibabel puts in default ones where it does not, and says nothing."""
    with image.file_map["image"].get_prepare_fileobj("rb") as stream:
        return bool(stream.read(30)[28:] != bytes(2))


def _distance(form: NDArray[Any], affine: NDArray[Any], shape: tuple[int, ...]) -> float:
    """Return how far apart two affines put a corner at most, in mm."""
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape])).reshape(3, -1).T
    apart = affines.apply_affine(form, corners) - affines.apply_affine(affine, corners)
    return float(np.linalg.norm(apart, axis=1).max())


def _tolerance(affine: NDArray[Any], shape: tuple[int, ...]) -> float:
    sizes = affines.voxel_sizes(affine)
    return float(max(_SAME * sizes.min(), _TURN * (sizes * shape).max()))


def _orthogonal(affine: NDArray[Any]) -> bool:
    directions = affine[:3, :3] / affines.voxel_sizes(affine)
    return bool(np.abs(directions.T @ directions - np.eye(3)).max() < 1e-4)


def _plausible(sizes: NDArray[Any]) -> bool:
    return bool((sizes >= PLAUSIBLE[0]).all() and (sizes <= PLAUSIBLE[1]).all())


def _times(sizes: NDArray[Any]) -> str:
    return " x ".join(f"{size:.4g}" for size in sizes)
