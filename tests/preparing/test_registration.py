"""Sequences of one visit brought onto one another. What moved them here is SciPy; what moves them back is not."""

import os
import shutil
import stat
import sys

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from made_up import SPACING, T1, brain_of_head, head
from napari_cead.errors import Cancelled, GeometryError, MissingSequenceError
from napari_cead.patients import Grid, load_patient
from napari_cead.patients.volumes import Volume
from napari_cead.preparing import RAW, Preparation, needs_register, prepare_patient
from napari_cead.preparing.kept import cache_folder
from napari_cead.preparing.registration import find_move, registered

TURN = Rotation.from_euler("xyz", [4, -6, 9], degrees=True).as_matrix()
SHIFT = np.array([7.0, -11.0, 5.0])
"""Where a point p of the FLAIR lies in the T1, in RAS+ mm: TURN p + SHIFT."""

OTHER, OTHER_SHAPE = (2.5, 1.8, 1.9), (74, 124, 104)
"""The T1's own voxels in mm and their number, (z, y, x)."""

BALL = np.array([20.0, 25.0, 15.0])
"""Middle of a lesion in the FLAIR, RAS+ mm."""


def affine(shape, spacing):
    """Of an (i, j, k) = (x, y, z) file in LPS order around 0."""
    z, y, x = spacing
    made = np.diag([-x, -y, z, 1.0])
    made[:3, 3] = (x * shape[2] / 2, y * shape[1] / 2, -z * shape[0] / 2)
    return made


def moved(volume, order):
    """Return a volume of the FLAIR's grid as it lies in the T1, on the T1's grid."""
    to_flair = np.eye(4)
    to_flair[:3, :3], to_flair[:3, 3] = TURN.T, -TURN.T @ SHIFT
    here, there = affine(volume.shape, SPACING), affine(OTHER_SHAPE, OTHER)
    matrix = np.linalg.inv(here) @ to_flair @ there
    found = ndimage.affine_transform(
        volume.T, matrix[:3, :3], matrix[:3, 3], output_shape=OTHER_SHAPE[::-1], order=order
    )
    return found.T


def ball():
    shape = head().shape
    index = np.stack(np.indices(shape[::-1]), axis=-1)
    at = index @ affine(shape, SPACING)[:3, :3].T + affine(shape, SPACING)[:3, 3]
    return (np.linalg.norm(at - BALL, axis=-1) < 9).T


def write(path, volume, spacing):
    nib.save(nib.Nifti1Image(np.ascontiguousarray(volume.T), affine(volume.shape, spacing)), path)


@pytest.fixture(scope="module")
def visit(tmp_path_factory):
    """A visit whose T1, and the lesion mask that was drawn on it, lie on a grid of their own and are moved."""
    folder = tmp_path_factory.mktemp("visits") / "Mets_007"
    folder.mkdir()
    write(folder / "flair.nii.gz", head(), SPACING)
    write(folder / "t1_pre.nii.gz", moved(head(T1), 1), OTHER)
    write(folder / "seg.nii.gz", moved(ball().astype(np.uint8), 0), OTHER)
    return folder


def middle_of(mask, patient):
    index = np.argwhere(mask).mean(axis=0)[::-1]
    return (patient.grid.canonical_affine @ [*index, 1])[:3]


def farthest(matrix):
    """Return the largest distance in mm between where points of the head are put and where they belong."""
    shape = head().shape
    index = np.argwhere(head() > 100)[::97, ::-1]
    points = index @ affine(shape, SPACING)[:3, :3].T + affine(shape, SPACING)[:3, 3]
    back = (points @ TURN.T + SHIFT) @ matrix[:3, :3].T + matrix[:3, 3]
    return np.linalg.norm(back - points, axis=1).max()


def test_a_moved_sequence_is_brought_back_with_the_mask_that_was_drawn_on_it(visit, quiet):
    patient = load_patient(visit)
    assert set(patient.elsewhere) == {"t1_pre", "seg"}
    assert needs_register(patient) == "t1_pre lies on another grid than flair, placed as the headers say"
    assert farthest(np.eye(4)) > 10
    made = prepare_patient(patient, RAW.replace(register="rigid"))
    move = made.prepared.moves["t1_pre"]
    assert farthest(np.array(move["matrix"])) < 1
    assert move["degrees"] == pytest.approx(Rotation.from_matrix(TURN).magnitude() * 180 / np.pi, abs=0.5)
    assert move["similarity_after"] > move["similarity_before"]
    assert np.linalg.norm(middle_of(patient.lesion_mask, patient) - BALL) > 8
    assert np.linalg.norm(middle_of(made.lesion_mask, made) - BALL) < 1.5
    truth = head(T1)
    before, after = (
        np.corrcoef(each.volume("t1_pre").ravel(), truth.ravel())[0, 1] for each in (patient, made)
    )
    assert after > 0.95 > before
    said = " ".join(made.warnings)
    assert (
        "t1_pre was registered to flair: moved by" in said and "the lesion mask was moved with t1_pre" in said
    )
    assert needs_register(made) == ""
    back = made.raw()
    assert back.lesion_mask is patient.lesion_mask
    assert np.array_equal(back.volume("t1_pre"), patient.volume("t1_pre"))

    shutil.rmtree(cache_folder())
    again = prepare_patient(made, RAW.replace(register="rigid"))
    assert again.prepared.moves == made.prepared.moves, "the same scans, the same move"
    assert prepare_patient(made, RAW.replace(register="rigid")).prepared.moves == made.prepared.moves, "kept"


def test_a_mask_goes_with_the_sequence_on_whose_grid_it_lies(visit, tmp_path, quiet):
    folder = shutil.copytree(visit, tmp_path / "Mets_008")
    write(folder / "seg.nii.gz", ball().astype(np.uint8), SPACING)
    made = prepare_patient(load_patient(folder), RAW.replace(register="rigid"))
    assert np.linalg.norm(middle_of(made.lesion_mask, made) - BALL) < 1.5, "drawn on the FLAIR, which stays"
    assert made.prepared.lesion_masks is None
    other = prepare_patient(load_patient(folder).select("t1_pre"), RAW.replace(register="rigid"))
    where = TURN @ BALL + SHIFT
    assert np.linalg.norm(middle_of(other.lesion_mask, other) - where) < 1.5, "and here it moves to the T1"


def test_nothing_is_registered_unless_it_is_asked_for(visit, quiet):
    patient = load_patient(visit)
    made = prepare_patient(patient, Preparation("never"))
    assert not made.prepared.changed
    assert made.volume("t1_pre") is patient.volume("t1_pre")
    assert made.lesion_mask is patient.lesion_mask


def test_scans_that_have_nothing_in_common_are_refused(visit, quiet):
    patient = load_patient(visit)
    own = patient.elsewhere["t1_pre"]
    noise = np.random.default_rng(0).permutation(own.data.ravel()).reshape(own.data.shape)
    with pytest.raises(GeometryError, match="too little in common"):
        find_move(Volume(noise, own.grid), Volume(patient.volume(), patient.grid), "t1_pre", "t1_pre.nii.gz")
    far = np.array([[0, 0, 0, 4000], *[[0] * 4] * 3]) + own.grid.affine
    slab = Volume(own.data[:4], Grid((104, 124, 4), far))
    with pytest.raises(GeometryError, match="too little in common"):
        find_move(slab, Volume(patient.volume(), patient.grid), "t1_pre", "t1_pre.nii.gz")


def test_registration_can_be_cancelled(visit, quiet):
    with pytest.raises(Cancelled):
        registered(load_patient(visit), should_stop=lambda: True)


def test_one_sequence_alone_is_said(visit, quiet):
    made = prepare_patient(load_patient(visit / "flair.nii.gz", only=True), RAW.replace(register="rigid"))
    assert any("no other sequence" in note for note in made.warnings)


@pytest.fixture
def finder(visit, tmp_path):
    """A stripper that knows where the brain is in the T1, and nothing of the FLAIR."""
    if os.name == "nt":
        pytest.skip("the stand-in for a stripper is a script with a shebang")
    mask, script = tmp_path / "brain.nii.gz", tmp_path / "finder"
    write(mask, moved(brain_of_head().astype(np.uint8), 0), OTHER)
    script.write_text(f"#!{sys.executable}\nimport shutil, sys\nshutil.copy({str(mask)!r}, sys.argv[2])\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return f"command:{script} {{input}} {{output}}"


def dice(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def test_the_brain_is_found_in_the_t1_and_brought_onto_the_flair(visit, finder, quiet):
    patient, truth = load_patient(visit), brain_of_head()
    by_header = prepare_patient(patient, Preparation(finder, strip_from="t1_pre"))
    by_move = prepare_patient(patient, Preparation(finder, register="rigid", strip_from="t1_pre"))
    assert dice(by_header.prepared.brain_mask, truth) < 0.93
    assert dice(by_move.prepared.brain_mask, truth) > 0.97
    assert by_move.prepared.facts["found_in"] == "t1_pre"
    assert any(" in t1_pre: " in note for note in by_move.warnings)
    with pytest.raises(MissingSequenceError, match="no 't2'"):
        prepare_patient(patient, Preparation(finder, strip_from="t2"))
