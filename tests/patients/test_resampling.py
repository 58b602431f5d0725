import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_cead as cead
from napari_cead.errors import CeadWarning
from napari_cead.patients import Grid
from napari_cead.patients.resampling import resample
from scanners import itk_image, rotation
from scans import make_brain, write_nifti


def grid(shape, spacing, turn, origin):
    affine = np.eye(4)
    affine[:3, :3] = rotation(*turn) @ np.diag(spacing)
    affine[:3, 3] = origin
    return Grid(shape, affine)


offsets = st.tuples(*[st.floats(-3, 3)] * 3)


@settings(max_examples=25, deadline=None)
@given(
    spacing=st.tuples(*[st.floats(0.5, 3)] * 3),
    turn=st.tuples(*[st.floats(-20, 20)] * 3),
    origin=offsets,
    signs=st.tuples(*[st.sampled_from([1, -1])] * 3),
    order=st.sampled_from([0, 1]),
)
def test_resampling_is_itk_s(spacing, turn, origin, signs, order):
    rng = np.random.default_rng(0)
    shape = (9, 8, 7)
    source = grid(
        shape, np.array(signs) * (1.0, 1.2, 2.0), (0, 0, 0), np.where(np.array(signs) < 0, 9.0, -1.0)
    )
    target = grid((8, 9, 10), spacing, turn, origin)
    data = rng.integers(0, 5, shape).astype(np.uint8) if order == 0 else rng.random(shape).astype(np.float32)
    found = target.to_source(resample(source.to_canonical(data), source, target, order))
    reference = itk_image(np.zeros(target.shape, np.float32), target.affine)
    how = sitk.sitkNearestNeighbor if order == 0 else sitk.sitkLinear
    moved = sitk.Resample(itk_image(data, source.affine), reference, sitk.Transform(), how, 0.0)
    wanted = sitk.GetArrayFromImage(moved).transpose(2, 1, 0)
    # The outermost half voxel is a matter of taste (ITK repeats it, we fade out): only what lies inside is compared.
    inside = np.einsum(
        "ij,jklm->iklm",
        np.linalg.inv(source.affine)[:3] @ target.affine,
        np.concatenate([np.indices(target.shape), np.ones((1, *target.shape))]),
    )
    safe = np.all(
        [(axis > 0.01) & (axis < size - 1.01) for axis, size in zip(inside, shape, strict=True)], axis=0
    )
    if order == 0:  # not on the border between two voxels
        safe &= np.all(np.abs(inside % 1 - 0.5) > 1e-3, axis=0)
    np.testing.assert_allclose(found[safe], wanted[safe], atol=1e-4)


def test_labels_stay_labels_and_reach_to_the_edge_of_their_voxels():
    coarse, fine = (
        grid((3, 3, 3), (4, 4, 4), (0, 0, 0), (0, 0, 0)),
        grid((12, 12, 12), (1, 1, 1), (0, 0, 0), (-1.5,) * 3),
    )
    labels = np.zeros((3, 3, 3), np.uint8)
    labels[0, 0, 0], labels[2, 2, 2] = 3, 7
    found = resample(labels, coarse, fine, 0)
    assert found.dtype == np.uint8
    assert (
        (found == 3).sum() == (found == 7).sum() == 64
    )  # each of the coarse voxels is 4 x 4 x 4 of the fine
    assert set(np.unique(found)) == {0, 3, 7}


def test_a_sequence_on_another_grid_lies_where_it_lay_and_it_is_said(tmp_path):
    volume, lesion = make_brain((24, 60, 50))
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    write_nifti(tmp_path / "flair.nii", volume.T, affine)
    thick = affine @ np.diag([1, 1, 2, 1.0])
    thick[2, 3] += 0.5  # the middle of two slices
    write_nifti(tmp_path / "t1_pre.nii", volume.T.reshape(50, 60, 12, 2).mean(axis=3), thick)
    write_nifti(tmp_path / "seg.nii", lesion.T.reshape(50, 60, 12, 2).max(axis=3).astype(np.uint8), thick)
    with pytest.warns(CeadWarning) as told:
        patient = cead.load_patient(tmp_path)
    said = sorted(str(note.message) for note in told)
    assert [note.split(" to the")[0] for note in said] == [
        "seg.nii: on another grid, resampled (nearest)",
        "t1_pre.nii: on another grid, resampled (linear)",
    ]
    moved = patient.sequences["t1_pre"][2:-2]
    assert np.corrcoef(moved.ravel(), volume[2:-2].ravel())[0, 1] > 0.97
    wanted = np.repeat(lesion.reshape(12, 2, 60, 50).max(axis=1), 2, axis=0)
    np.testing.assert_array_equal(patient.lesion_mask, wanted)
