# ruff: noqa: E501 -- a row of the table is a line
"""Inputs made after public bug reports (`reports/` of the real-data pack), each with what is right for it.

What came out before version 0.2 stands beside what comes out now in docs/reference/inputs.md (`make docs-inputs`).
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import napari_cead as cead
from napari_cead.errors import CeadError
from napari_cead.patients import find_patients
from napari_cead.patients.integrity import check_cohort

FAMILY = "Reported by users of such programs"


@dataclass(frozen=True)
class Report:
    """One input.

    Attributes:
        place: Folder below ``reports``, and what lies in it that is opened.
        situation: The input, in words.
        before: What came out before version 0.2.
        right: Asserts what is right; gets the pack's ``reports`` folder and the place; returns it in words.
        checked: Code that ``check`` finds on it.
    """

    place: str
    situation: str
    before: str
    right: Callable[[Path, Path], str]
    checked: str = ""


class Refused(str):
    """The sentence that refuses an input."""


def load(place: Path, **given):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cead.load_patient(place, **given)


def said(patient) -> str:
    return "; ".join(patient.warnings)


def same_scan(patient, truth, tolerance=0.0) -> None:
    assert patient.shape == truth.shape
    np.testing.assert_allclose(patient.spacing, truth.spacing, rtol=1e-4)
    np.testing.assert_allclose(patient.grid.affine, truth.grid.affine, atol=1e-3)
    np.testing.assert_allclose(patient.volume(), truth.volume(), atol=tolerance)


def refused(place: Path, *words: str, **given) -> str:
    with pytest.raises(CeadError) as caught:
        load(place, **given)
    sentence = str(caught.value)
    assert caught.value.file and caught.value.hint and "\n" not in sentence
    assert all(word in sentence for word in words), sentence
    return Refused(sentence)


def ordered_frames(reports, place):
    # Stored values of frames with slopes of their own are rounded differently.
    same_scan(load(place), load(reports / "enh_ordered"), tolerance=1 if place.name == "enh_slopes" else 0)
    return "the voxels, spacing and affine of the ordered file"


def right_already(reports, place):
    patient = load(place)
    assert patient.shape == (25, 56, 47)
    np.testing.assert_allclose(patient.spacing, (6, 3.76, 3.76), rtol=1e-3)
    return "25 slices of 6 mm"


def two_times(reports, place):
    try:
        patient = load(place)
    except CeadError as error:
        assert "repeat" in str(error) or "time" in str(error), str(error)
        return Refused(error)
    assert patient.shape[0] == 25 and patient.warnings
    return said(patient)


def no_positions(reports, place):
    return refused(place, "position")


def two_series(reports, place):
    found = [load(folder) for folder in find_patients(place)]
    choices = found if len(found) == 2 else [load(f"{place}#5", sequence="t1_pre"), load(f"{place}#6")]
    for patient in choices:
        assert patient.shape == (25, 56, 47)
        np.testing.assert_allclose(patient.spacing, (6, 3.76, 3.76), rtol=1e-3)
    one, other = (patient.volume() for patient in choices)
    assert not np.array_equal(one, other)
    return "two series of 25 slices"


def copies(reports, place):
    patient = load(place)
    same_scan(patient, load(reports / "enh_ordered"), tolerance=1.0)
    assert "left out" in said(patient)
    return said(patient)


def both_folders(reports, place):
    names = {load(place / name).name for name in ("anna", "anna#2")}
    assert names == {"anna", "anna#2"}
    return "both folders open"


def any_ending(reports, place):
    patient = load(place)
    assert patient.shape[0] == 25
    return "opened"


def gaps(reports, place):
    patient = load(place)
    if patient.shape[0] > 25:  # laid where they belong
        return said(patient)
    assert "mm" in said(patient) and "off" in said(patient), said(patient)
    return said(patient)


def same_under_both_interpolations(reports, place):
    cubic, linear = load(reports / "spl_cubic"), load(reports / "spl_linear")
    detector = cead.load_model("ce-unet", device="cpu")
    found = []
    for patient in (cubic, linear):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.append(cead.detect(patient, detector))
    assert abs(found[0].dice - found[1].dice) < 0.05
    marked = [float(result.mask.sum() * np.prod(cubic.spacing) / 1000) for result in found]
    assert max(marked) < 60
    assert "background" in said(cubic)
    figures = ", ".join(
        f"Dice {result.dice:.3f} and {ml:.0f} mL" for result, ml in zip(found, marked, strict=True)
    )
    return f"{figures}; {said(cubic)}"


def nan_is_background(reports, place):
    patient = load(place)
    stored = np.asarray(nib.load(place / "flair.nii.gz").dataobj)
    assert np.count_nonzero(patient.volume()) == np.count_nonzero(np.nan_to_num(stored))
    assert patient.lesion_mask is not None and patient.lesion_mask.any()
    return said(patient) or "opened"


def no_lesion_mask(reports, place):
    patient = load(place)
    assert patient.lesion_mask is None
    assert patient.warnings, "nothing is said"
    return said(patient)


def negative_mask(reports, place):
    try:
        patient = load(place)
    except CeadError as error:
        assert "negative" in str(error), str(error)
        return Refused(error)
    assert patient.lesion_mask.any() and patient.warnings
    return said(patient)


def lost_lesions(reports, place):
    patient = load(place)
    assert "lesion" in said(patient) and "mL" in said(patient), said(patient)
    return said(patient)


def identity_affine(reports, place):
    try:
        words = said(load(place))
    except CeadError as error:
        words = Refused(error)
    assert "identity" in words, words
    return words


def by_number(reports, place):
    patient = load(place)
    assert np.flatnonzero(patient.lesion_mask.any(axis=(1, 2))).tolist() == list(
        np.flatnonzero(np.any(expected_lesions(reports, patient), axis=(1, 2)))
    )
    return "slices 8 to 17"


def expected_lesions(reports, patient):
    """The PNG masks at their own numbers, read by Pillow alone."""
    from PIL import Image

    volume = np.zeros(patient.shape, bool)
    folder = reports / "png_subset" / "Mets_001" / "seg"
    for file in folder.glob("*.png"):
        volume[int(file.stem)] = np.asarray(Image.open(file).convert("L")) > 0
    assert volume.any() and not volume[:8].any() and not volume[18:].any()
    return volume


def nrrd_spacing(reports, place):
    # Under a German locale: tests/patients/test_locale.py and tests/gui.
    patient = load(place)
    np.testing.assert_allclose(patient.spacing, (6.5, 3.76, 3.76), rtol=1e-4)
    return "3.76 x 3.76 x 6.5 mm under any locale"


def geometry_alone(reports, place):
    import tempfile

    patient = load(place)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mask.nii"
        cead.save_volume(patient.volume() > 0, patient, file)
        written = nib.load(file)
        raw = file.read_bytes()
    source = nib.load(place / "flair.nii.gz")
    for key in ("descrip", "aux_file", "db_name", "intent_name"):
        text = bytes(source.header[key]).strip(b"\0 ") if key in source.header else b""
        assert not text or text not in raw
    for extension in source.header.extensions:
        assert bytes(extension.get_content())[:12] not in raw
    np.testing.assert_allclose(written.affine, source.affine, atol=1e-4)
    return "mask and map hold geometry alone"


def dot_files_ignored(reports, place):
    for opened in (place, place / "flair.nii.gz"):
        patient = load(opened)
        assert patient.lesion_mask is not None and patient.lesion_mask.any()
    return "the folder and the single file open, with the mask"


def recognised(reports, place):
    found = list(find_patients(place))
    assert len(found) == 1
    patient = load(found[0])
    assert patient.sequence == "flair" and patient.lesion_mask is not None and patient.lesion_mask.any()
    return "FLAIR and mask"


def flair_after_contrast(reports, place):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patient = cead.load_patient(place / "anna_FLAIR_post.nii.gz")
    assert patient.sequence == "flair"
    assert not any("no sequence" in note for note in patient.warnings)
    folder = load(place)
    assert folder.sequence == "flair"
    return said(folder) or "FLAIR"


def bids_choices(reports, place):
    first = load(place / "sub-02")
    run = np.asarray(nib.load(place / "sub-02/anat/sub-02_run-2_FLAIR.nii.gz").dataobj)
    assert np.isclose(np.sort(first.volume().ravel()), np.sort(run.ravel()), atol=1e-3).all()
    magnitude = np.asarray(nib.load(place / "sub-01/anat/sub-01_part-mag_FLAIR.nii.gz").dataobj)
    assert np.isclose(
        np.sort(load(place / "sub-01").volume().ravel()), np.sort(magnitude.ravel()), atol=1e-3
    ).all()
    rated = load(place / "sub-04")
    assert rated.lesion_mask is not None
    assert "rater" in said(rated), said(rated)
    return f"run-2; magnitude; {said(rated)}"


REPORTS = (
    Report("enh_ordered", "enhanced multi-frame DICOM, frames in spatial order", "right", right_already),
    Report("enh_interleaved", "the same, frames in another order", "1 × 1 × 1 mm, identity affine, slices scrambled, nothing said", ordered_frames),
    Report("enh_twotimes", "two time points in one enhanced file", "50 slices, two heads stacked", two_times, "unreadable"),
    Report("enh_slopes", "a rescale slope for each frame", "the first slope for all: up to 600 of 1000 off", ordered_frames),
    Report("real_emri_small", "enhanced DICOM without functional groups", "opened as 1 × 1 × 1 mm", no_positions, "unrecognised"),
    Report("cl_sameuid", "T1 and FLAIR under one SeriesInstanceUID", "interleaved into one FLAIR of 50 slices", two_series, "series"),
    Report("cl_dup", "every DICOM instance twice", "refused as a series over time", copies, "series"),
    Report("hash", "DICOM folders `anna` and `anna#2`", "`anna#2` cannot be opened", both_folders),
    Report("sfx_dicom", "DICOM files ending in .dicom", "no scan lies in this folder", any_ending),
    Report("twogaps", "slices missing from a DICOM stack", "an even 6.6 mm is assumed; slices up to 7 mm off", gaps, "slice-gap"),
    Report("spl_cubic", "a skull-stripped scan moved by half a voxel, cubic spline (and linear)", "Dice 0.003 and 2,522 mL (0.248 and 23 mL)", same_under_both_interpolations, "intensities"),
    Report("nanbg", "background of NaN, 68 %", "refused", nan_is_background, "intensities"),
    Report("synthstrip_mask", "a brain mask named mask.nii.gz", "taken as a lesion mask of 1,789 mL", no_lesion_mask, "mask-covers"),
    Report("hdbet_v1", "a brain mask named SCAN_mask.nii.gz", "taken as a lesion mask of 1,789 mL", no_lesion_mask, "mask-covers"),
    Report("int8_mask", "lesions stored as −1", "an empty mask: the patient counts as healthy", negative_mask, "mask-values"),
    Report("finemask", "a mask drawn at 1 mm beside a scan of 6 mm", "one of six lesions vanishes; “resampled”", lost_lesions, "lesions-lost"),
    Report("eye4", "a mask saved with an identity affine", "144 voxels become 2; “resampled”", identity_affine, "affine"),
    Report("png_subset/Mets_001", "PNG slices 0 to 24, mask for 8 to 17", "the mask lands on slices 0 to 9", by_number, "slice-gap"),
    Report("nrrd", "NRRD of 3.76 × 3.76 × 6.5 mm under a comma locale", "3 × 3 × 6 mm", nrrd_spacing),
    Report("hdr_ext", "personal text and an extension in the header", "copied into mask and map", geometry_alone),
    Report("appledouble", "`._seg.nii.gz` beside `flair.nii.gz`", "the single file is refused", dot_files_ignored),
    Report("msseg2016", "`3DFLAIR`, `Consensus`", "FLAIR not seen", recognised),
    Report("isles22", "`…_msk` in derivatives", "no mask, nothing said", recognised),
    Report("flair_post", "`anna_FLAIR_post`", "called `t1_gd`", flair_after_contrast),
    Report("bids", "`run-2` and `run-10`, magnitude and phase, two raters", "run-10 is taken", bids_choices),
)  # fmt: skip


@pytest.fixture(scope="module")
def reports(real_data) -> Path:
    folder = real_data / "reports"
    if not folder.is_dir():
        pytest.skip(f"there is no reports folder in {real_data}")
    return folder


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.place)
def test_a_reported_input_comes_out_right(report, reports, tmp_path, record_outcome):
    now = report.right(reports, reports / report.place)
    try:
        warned = bool(load(reports / report.place).warnings)
    except CeadError:  # of several patients, say
        warned = False
    outcome = "refused" if isinstance(now, Refused) else "opened with a warning" if warned else "opened"
    folder = report.place.split("/")[0]
    shutil.copytree(reports / folder, tmp_path / "cohort" / folder)
    found = ", ".join(check_cohort(tmp_path / "cohort").counts()) or "nothing"
    assert report.checked in found
    told = f"before: {report.before}; now: {now}".replace(str(reports), "…")
    record_outcome(FAMILY, report.situation, outcome, told, found)


def test_every_reported_input_has_a_row(reports):
    there = {folder.name for folder in reports.iterdir() if folder.is_dir()}
    assert there - {"spl_linear"} == {report.place.split("/")[0] for report in REPORTS}
