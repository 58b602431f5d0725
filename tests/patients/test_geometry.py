"""Where voxels lie: the same for nibabel, for ITK and for us, whatever the header, and back again."""

import itertools
import warnings

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.nifti1 import Nifti1PairHeader

import napari_cead as cead
from napari_cead.errors import CeadWarning
from napari_cead.patients.reading import read_place
from napari_cead.patients.volumes import read_volume
from scanners import itk_affine, rotation
from scans import make_brain, write_nifti

ORDERS = [
    np.eye(3)[:, list(order)] * np.array(signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
sizes = st.tuples(*[st.integers(1, 7)] * 3)
spacings = st.tuples(*[st.floats(0.3, 6)] * 3)
angles = st.tuples(*[st.floats(-25, 25)] * 3)
origins = st.tuples(*[st.floats(-150, 150)] * 3)


def affine_of(order, spacing, turn, origin, shear=0.0):
    sheared = np.eye(3)
    sheared[0, 1] = shear
    affine = np.eye(4)
    affine[:3, :3] = rotation(*turn) @ sheared @ order @ np.diag(spacing)
    affine[:3, 3] = origin
    return affine


def labelled(shape):
    """Every voxel has a value of its own, so that no mix-up goes unnoticed."""
    return np.arange(1, np.prod(shape) + 1, dtype=np.int16).reshape(shape)


def loaded(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cead.load_patient(path, only=True)


def assert_same_place(patient, data, affine):
    """Every value of the canonical volume lies, by our own figures, where the file's affine puts it."""
    order = np.argsort(patient.volume(), axis=None)
    z, y, x = np.unravel_index(order, patient.shape)
    found = apply_affine(patient.grid.canonical_affine, np.stack([x, y, z], axis=1))
    wanted = apply_affine(affine, np.indices(data.shape).reshape(3, -1).T[np.argsort(data, axis=None)])
    np.testing.assert_allclose(found, wanted, atol=2e-3)


@quick
@given(
    order=st.sampled_from(ORDERS),
    shape=sizes,
    spacing=spacings,
    turn=angles,
    origin=origins,
    kind=st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
    codes=st.sampled_from([(1, 1), (1, 0), (0, 1), (0, 4), (2, 2)]),
    big=st.booleans(),
)
def test_the_same_place_in_every_program_and_a_round_trip_is_the_identity(
    tmp_path, order, shape, spacing, turn, origin, kind, codes, big
):
    data, affine = labelled(shape), affine_of(order, spacing, turn, origin)
    header = kind.header_class(endianness=">" if big else "<")
    header.set_data_dtype(np.int16)
    image = kind(data, affine, header)
    image.set_qform(affine, codes[0])
    image.set_sform(affine if codes[1] else None, codes[1])
    nib.save(image, tmp_path / "flair.nii")
    patient = loaded(tmp_path / "flair.nii")
    stored = nib.load(tmp_path / "flair.nii").affine
    # The quaternion of a qform is single precision: near half a turn it gives the angle to a milliradian only.
    np.testing.assert_allclose(stored, affine, atol=0.01)
    assert_same_place(patient, data, stored)
    assert sorted(patient.spacing) == pytest.approx(sorted(spacing), rel=1e-4)

    labels = patient.volume().astype(np.int16)
    saved = cead.save_volume(labels, patient, tmp_path / "again.nii.gz")
    again = nib.load(saved)
    np.testing.assert_array_equal(np.asarray(again.dataobj), data)
    np.testing.assert_allclose(again.affine, stored, atol=1e-5)
    assert (int(again.header["qform_code"]), int(again.header["sform_code"])) == codes
    if kind is nib.Nifti1Image:  # ITK reads no NIfTI-2
        np.testing.assert_allclose(itk_affine(saved), affine, atol=0.01)
    np.testing.assert_array_equal(loaded(saved).volume(), labels)


@quick
@given(order=st.sampled_from(ORDERS), shape=sizes, spacing=spacings, turn=angles, shear=st.floats(-0.4, 0.4))
def test_a_sheared_affine_is_exact_and_the_way_back_too(tmp_path, order, shape, spacing, turn, shear):
    data, affine = labelled(shape), affine_of(order, spacing, turn, (3, -4, 5), shear)
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "flair.nii")
    patient = loaded(tmp_path / "flair.nii")
    assert_same_place(patient, data, affine)
    saved = cead.save_volume(patient.volume().astype(np.int16), patient, tmp_path / "again.nii")
    again = nib.load(saved)
    np.testing.assert_array_equal(np.asarray(again.dataobj), data)
    np.testing.assert_allclose(again.affine, affine, atol=1e-3)


def test_all_48_axis_orders_are_one_anatomy_on_one_side(tmp_path):
    volume, lesion = make_brain((6, 20, 16))
    for number, order in enumerate(ORDERS):
        affine = affine_of(order, (0.8, 1.1, 2.5), (0, 0, 0), (0, 0, 0))
        grid = read_volume(write_nifti(tmp_path / "x.nii", np.zeros((3, 4, 5)), affine)).grid
        shape = np.abs(np.linalg.inv(order)) @ np.array([16, 20, 6])
        affine = affine_of(order, np.abs(np.linalg.inv(order)) @ (0.8, 1.1, 2.5), (0, 0, 0), (0, 0, 0))
        grid = type(grid)(tuple(int(size) for size in shape), affine)
        folder = tmp_path / str(number)
        for name, data in (("flair", volume), ("seg", lesion.astype(np.uint8))):
            write_nifti(folder / f"{name}.nii", grid.to_source(data), affine)
        patient = loaded(folder)
        np.testing.assert_array_equal(patient.volume(), volume)
        np.testing.assert_array_equal(patient.lesion_mask, lesion)
        assert patient.spacing == pytest.approx((2.5, 1.1, 0.8))
        # Column 0 is the patient's right: the world's x, which grows to the right, falls along a row of the picture.
        assert np.argmin(patient.grid.canonical_affine[:3, 0]) == 0


def both_forms(path, qform, sform, codes=(1, 2), zooms=None):
    image = nib.Nifti1Image(make_brain((6, 20, 16))[0].T, None)
    image.header.set_qform(qform, codes[0])
    image.header.set_sform(sform, codes[1])
    if zooms:
        image.header.set_zooms(zooms)
    nib.save(nib.Nifti1Image(image.dataobj, None, image.header), path)
    return path


STRAIGHT = np.diag([-1.0, 1.2, 2.0, 1.0])


def test_qform_and_sform_that_differ_are_told_and_not_written_again(tmp_path):
    """nibabel takes the sform, ITK the qform: what we write leaves them no choice."""
    turned = np.eye(4)
    turned[:3, :3] = rotation(0, 0, 12) @ np.diag([1.0, 1.2, 2.0])
    path = both_forms(tmp_path / "flair.nii", turned, STRAIGHT)
    assert not np.allclose(itk_affine(path), nib.load(path).affine, atol=0.1)
    with pytest.warns(CeadWarning, match=r"qform and sform place the scan .* mm apart"):
        patient = cead.load_patient(path)
    saved = cead.save_volume(patient.volume(), patient, tmp_path / "map.nii.gz")
    np.testing.assert_allclose(nib.load(saved).affine, STRAIGHT, atol=1e-5)
    np.testing.assert_allclose(itk_affine(saved), STRAIGHT, atol=1e-4)


def test_a_sheared_sform_with_a_qform_is_refused_by_itk_and_not_shown_elsewhere(tmp_path):
    sheared = STRAIGHT.copy()
    sheared[0, 1] = 0.3
    path = both_forms(tmp_path / "flair.nii", STRAIGHT, sheared)
    np.testing.assert_allclose(itk_affine(path), STRAIGHT, atol=1e-4)  # ITK falls back on the qform
    patient = loaded(path)
    saved = cead.save_volume(patient.volume(), patient, tmp_path / "map.nii.gz")
    np.testing.assert_allclose(nib.load(saved).affine, sheared, atol=1e-5)
    with pytest.raises(RuntimeError, match="orthonormal"):
        itk_affine(saved)


def test_voxel_sizes_beside_the_sform_are_told_and_put_right(tmp_path):
    path = both_forms(tmp_path / "flair.nii", None, STRAIGHT, (0, 1), (3.0, 3.0, 3.0))
    with pytest.warns(CeadWarning, match=r"states voxels of 3 x 3 x 3 mm, but its sform 1 x 1\.2 x 2 mm"):
        patient = cead.load_patient(path)
    assert patient.spacing == pytest.approx((2.0, 1.2, 1.0))
    saved = cead.save_volume(patient.volume(), patient, tmp_path / "map.nii.gz")
    np.testing.assert_allclose(itk_affine(saved), STRAIGHT, atol=1e-4)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e-3), ("micron", 1e3)])
@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 1)])
def test_metres_and_micrometres_become_millimetres_as_in_itk(tmp_path, unit, factor, codes):
    form = np.diag([factor, factor, factor, 1]) @ STRAIGHT
    path = both_forms(tmp_path / "flair.nii", form, form, codes)
    image = nib.load(path, mmap=False)
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    patient = loaded(path)
    assert patient.spacing == pytest.approx((2.0, 1.2, 1.0))
    saved = cead.save_volume(patient.volume(), patient, tmp_path / "map.nii.gz")
    for affine in (itk_affine(path), itk_affine(saved), nib.load(saved).affine):
        np.testing.assert_allclose(affine, STRAIGHT, atol=1e-3)


def test_a_unit_that_is_plainly_a_slip_is_not_believed(tmp_path):
    path = both_forms(tmp_path / "flair.nii", STRAIGHT, STRAIGHT, (1, 1))
    image = nib.load(path, mmap=False)
    image.header.set_xyzt_units("meter")
    nib.save(image, path)
    with pytest.warns(CeadWarning, match="can only be mm"):
        assert cead.load_patient(path).spacing == pytest.approx((2.0, 1.2, 1.0))


def test_a_unit_that_nifti_does_not_have_is_taken_as_mm(tmp_path):
    path = both_forms(tmp_path / "flair.nii", STRAIGHT, STRAIGHT, (1, 1))
    written = bytearray(path.read_bytes())
    written[123] = 4  # xyzt_units
    path.write_bytes(written)
    with pytest.warns(CeadWarning, match=r"unknown unit \(code 4\), taken as mm"):
        patient = cead.load_patient(path)
    assert patient.spacing == pytest.approx((2.0, 1.2, 1.0))
    saved = cead.save_volume(patient.volume(), patient, tmp_path / "map.nii.gz")
    np.testing.assert_allclose(nib.load(saved).affine, STRAIGHT, atol=1e-4)


@pytest.mark.parametrize("kind", [nib.AnalyzeImage, nib.Spm99AnalyzeImage, nib.Spm2AnalyzeImage])
def test_analyze_states_no_orientation_and_neither_does_what_is_written(tmp_path, kind):
    volume, _ = make_brain((6, 20, 16))
    image = kind(volume.T[::-1, ::-1], None)
    image.header.set_zooms((1, 1.2, 2))
    image.to_filename(tmp_path / "flair.hdr")
    with pytest.warns(CeadWarning, match="left and right are unknown"):
        patient = cead.load_patient(tmp_path / "flair.hdr")
    assert patient.spacing == pytest.approx((2, 1.2, 1))
    saved = cead.save_volume(patient.volume(), patient, tmp_path / "map.nii")
    assert (nib.load(saved).header["qform_code"], nib.load(saved).header["sform_code"]) == (0, 0)
    np.testing.assert_array_equal(nib.load(saved).get_fdata(), nib.load(tmp_path / "flair.hdr").get_fdata())
    np.testing.assert_allclose(nib.load(saved).affine, nib.load(tmp_path / "flair.hdr").affine)
    # Programs guess what Analyze leaves open: each of them guesses the same for both files.
    np.testing.assert_allclose(itk_affine(saved), itk_affine(tmp_path / "flair.hdr"))


def test_spm_s_matrix_beside_analyze_is_used(tmp_path):
    volume, _ = make_brain((6, 20, 16))
    affine = affine_of(ORDERS[11], (1, 1.2, 2), (3, 4, 5), (10, 20, 30))
    nib.Spm99AnalyzeImage(volume.T, affine).to_filename(tmp_path / "flair.img")
    assert (tmp_path / "flair.mat").is_file()
    patient = loaded(tmp_path / "flair.hdr")
    assert patient.warnings == ()
    saved = cead.save_volume(patient.volume(), patient, tmp_path / "map.nii")
    np.testing.assert_allclose(nib.load(saved).affine, affine, atol=1e-4)
    np.testing.assert_allclose(itk_affine(saved), affine, atol=1e-3)


@pytest.mark.parametrize("name", ["flair.hdr", "flair.img"])
def test_a_nifti_pair_with_slope_big_endian_and_a_fourth_dimension(tmp_path, name):
    volume, _ = make_brain((6, 20, 16))
    stored = np.round(volume.T).astype(">i2")[..., None]
    header = Nifti1PairHeader(endianness=">")
    header.set_data_dtype(">i2")
    image = nib.Nifti1Pair(stored, STRAIGHT, header)
    image.header.set_slope_inter(0.5, 7)
    image.to_filename(tmp_path / "flair.img")
    patient = loaded(tmp_path / name)
    expected = nib.load(tmp_path / "flair.img").get_fdata(dtype=np.float32)[..., 0]
    volume = read_place(tmp_path / name).data  # of a patient, the background of 7 would be 0
    np.testing.assert_array_equal(volume, patient.grid.to_canonical(expected))
    saved = cead.save_volume(volume, patient, tmp_path / "map.nii.gz")
    np.testing.assert_array_equal(nib.load(saved).get_fdata(dtype=np.float32), expected)
    np.testing.assert_allclose(itk_affine(saved), STRAIGHT, atol=1e-5)


def test_a_mask_in_another_axis_order_is_the_same_voxels_and_not_resampled(tmp_path):
    """ITK-SNAP and FSL like to write RAS or LAS: that is no other grid."""
    volume, lesion = make_brain()
    affine = affine_of(ORDERS[0], (0.94, 0.94, 3), (4, -3, 7), (-80, -90, -40))
    flair = write_nifti(tmp_path / "flair.nii", volume.T, affine)
    lps = nib.orientations.axcodes2ornt("PIR")
    mask = nib.Nifti1Image(lesion.T.astype(np.uint8), affine)
    turned = mask.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), lps))
    nib.save(turned, tmp_path / "seg.nii")
    patient = cead.load_patient(flair)
    assert patient.warnings == ()
    np.testing.assert_array_equal(patient.grid.to_source(patient.lesion_mask), lesion.T)


@pytest.mark.parametrize("lost", ["scan", "mask"])
def test_where_either_has_no_orientation_the_mask_is_taken_voxel_for_voxel(tmp_path, lost):
    volume, lesion = make_brain()
    write_nifti(tmp_path / "flair.nii", volume.T, STRAIGHT, oriented=True)
    write_nifti(tmp_path / "seg.nii", lesion.T.astype(np.uint8), np.diag([-1, -1, 1, 1.0]))
    stripped = {"scan": "flair.nii", "mask": "seg.nii"}[lost]
    data = nib.load(tmp_path / stripped).get_fdata().astype(np.float32)
    nib.save(nib.Nifti1Image(data, None), tmp_path / stripped)
    with pytest.warns(CeadWarning, match="voxel for voxel"):
        patient = cead.load_patient(tmp_path)
    np.testing.assert_array_equal(patient.grid.to_source(patient.lesion_mask), lesion.T)


def test_voxel_sizes_are_those_of_the_affine():
    affine = affine_of(ORDERS[7], (0.5, 1.5, 4), (10, 20, 5), (0, 0, 0))
    np.testing.assert_allclose(voxel_sizes(affine), (0.5, 1.5, 4))
