import bz2
import gzip
import locale
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

import napari_cead as cead
from napari_cead.errors import CeadWarning, PatientError
from napari_cead.patients import disk_files
from napari_cead.patients.formats.nrrd import read_nrrd
from scanners import itk_affine, itk_image, rotation
from scans import make_brain, write_nifti

AFFINE = np.eye(4)
AFFINE[:3, :3] = rotation(5, -7, 11) @ np.array([[0, 0.9, 0], [-1.1, 0, 0], [0, 0, 2.5]])
AFFINE[:3, 3] = (-40, 60, 20)
HEADER = b"NRRD0004\ntype: float\ndimension: 3\nsizes: 4 5 6\n%sendian: little\nencoding: raw\n\n"


@pytest.fixture
def scan():
    return make_brain((6, 20, 16))[0].T


@pytest.mark.parametrize("name", ["flair.nrrd", "flair.nhdr", "flair.mgz", "flair.mgh"])
def test_the_same_volume_and_place_as_in_nifti(tmp_path, scan, name):
    path = tmp_path / name
    if name.startswith("flair.n"):
        sitk.WriteImage(itk_image(scan, AFFINE), str(path), useCompression=True)
    else:
        nib.save(nib.MGHImage(scan, AFFINE), path)
    nifti = write_nifti(tmp_path / "nifti" / "flair.nii.gz", scan, AFFINE)
    patient, other = cead.load_patient(path), cead.load_patient(nifti)
    assert (patient.sequence, patient.warnings) == ("flair", ())
    np.testing.assert_array_equal(patient.volume(), other.volume())
    np.testing.assert_allclose(patient.grid.affine, other.grid.affine, atol=1e-3)
    assert path in disk_files(path)
    assert len(disk_files(path)) == (2 if name.endswith("nhdr") else 1)
    saved = cead.save_volume(patient.volume(), patient, tmp_path / "map.nii.gz")
    np.testing.assert_allclose(nib.load(saved).affine, AFFINE, atol=1e-3)
    np.testing.assert_allclose(itk_affine(saved), AFFINE, atol=1e-3)
    assert min(nib.load(saved).header["qform_code"], nib.load(saved).header["sform_code"]) > 0


def test_a_folder_of_nrrd_and_mgz_is_a_patient(tmp_path, scan):
    sitk.WriteImage(itk_image(scan, AFFINE), str(tmp_path / "flair.nrrd"))
    nib.save(nib.MGHImage(scan, AFFINE), tmp_path / "T1.mgz")
    sitk.WriteImage(itk_image((scan > 140).astype(np.uint8), AFFINE), str(tmp_path / "seg.nrrd"))
    patient = cead.load_patient(tmp_path)
    assert set(patient.sequences) == {"flair", "t1_pre"}
    np.testing.assert_array_equal(patient.lesion_mask, patient.volume() > 140)
    assert patient.warnings == ()  # single precision in MGZ is no other grid


def test_a_space_other_than_lps_is_honoured_and_none_at_all_is_told(tmp_path):
    data = np.arange(1, 121, dtype="<f4")
    space = (
        b"space: right-anterior-superior\nspace directions: (1,0,0) (0,2,0) (0,0,3)\nspace origin: (1,2,3)\n"
    )
    (tmp_path / "flair.nrrd").write_bytes(HEADER % space + data.tobytes())
    affine = np.diag([1, 2, 3, 1.0])
    affine[:3, 3] = (1, 2, 3)
    patient = cead.load_patient(tmp_path / "flair.nrrd")
    np.testing.assert_allclose(patient.grid.affine, affine)
    np.testing.assert_array_equal(patient.grid.to_source(patient.volume()), data.reshape(6, 5, 4).T)
    (tmp_path / "flair.nrrd").write_bytes(HEADER % b"spacings: 1 2 3\n" + data.tobytes())
    with pytest.warns(CeadWarning, match="left and right are unknown"):
        assert cead.load_patient(tmp_path / "flair.nrrd").spacing == (3, 2, 1)


def test_mgh_that_states_no_orientation_is_told(tmp_path, scan):
    image = nib.MGHImage(scan, None)
    image.header["goodRASFlag"] = 0
    nib.save(image, tmp_path / "flair.mgz")
    content = bytearray(gzip.decompress((tmp_path / "flair.mgz").read_bytes()))
    content[28:30] = b"\0\0"
    (tmp_path / "flair.mgz").write_bytes(gzip.compress(bytes(content)))
    with pytest.warns(CeadWarning, match="left and right are unknown"):
        cead.load_patient(tmp_path / "flair.mgz")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an NRRD file"),
        (b"hello", "not an NRRD file"),
        (HEADER % b"" + bytes(100), "cannot be read as NRRD"),
        (HEADER.replace(b"4 5 6", b"99999 99999 99999") % b"", "impossible size"),
        (HEADER.replace(b"4 5 6", b"4 5 -6") % b"", "impossible size"),
        (HEADER.replace(b"sizes: 4 5 6\n", b"") % b"", "impossible size"),
        (
            HEADER.replace(b"dimension: 3\nsizes: 4 5 6", b"dimension: 4\nsizes: 4 5 6 2") % b"" + bytes(960),
            "4 dimensions",
        ),
    ],
)
def test_damaged_nrrd_is_one_sentence(tmp_path, content, words):
    path = tmp_path / "flair.nrrd"
    path.write_bytes(content)
    with pytest.raises(PatientError, match=words) as caught:
        cead.load_patient(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_colour_is_refused(tmp_path):
    sitk.WriteImage(sitk.Image([4, 4, 4], sitk.sitkVectorUInt8, 3), str(tmp_path / "flair.nrrd"))
    with pytest.raises(PatientError, match="several values per voxel"):
        cead.load_patient(tmp_path / "flair.nrrd")


@pytest.mark.parametrize("name", ["/etc/passwd", "../other.raw", "LIST", "%03d.raw 1 3 1", "missing.raw"])
def test_a_header_may_only_name_one_file_beside_it(tmp_path, name):
    path = tmp_path / "x" / "flair.nhdr"
    path.parent.mkdir()
    (tmp_path / "other.raw").write_bytes(bytes(480))
    path.write_bytes((HEADER % b"").replace(b"\n\n", b"\ndata file: " + name.encode() + b"\n"))
    with pytest.raises(PatientError, match=r"data file"):
        cead.load_patient(path)


def test_numbers_do_not_depend_on_the_locale(tmp_path):
    data = np.arange(1, 121)
    header = HEADER.replace(b"raw", b"ascii") % b"spacings: 3.76 3.76 6.5\n"
    (tmp_path / "flair.nrrd").write_bytes(header + " ".join(f"{value}.5" for value in data).encode())
    before = locale.setlocale(locale.LC_NUMERIC)
    try:
        locale.setlocale(locale.LC_NUMERIC, "de_DE.UTF-8")
    except locale.Error:
        pytest.skip("de_DE.UTF-8 is not installed (tools/system_packages.sh does)")
    try:
        volume = read_nrrd(tmp_path / "flair.nrrd")
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)
    assert volume.grid.spacing == (6.5, 3.76, 3.76)
    np.testing.assert_array_equal(
        volume.grid.to_source(volume.data).ravel(order="F"), (data + 0.5).astype(np.float32)
    )


@pytest.mark.parametrize("encoding", ["gzip", "bzip2"])
def test_nothing_is_unpacked_beyond_what_the_header_declares(tmp_path, encoding):
    pack = {"gzip": gzip.compress, "bzip2": bz2.compress}[encoding]
    path = tmp_path / "flair.nrrd"
    path.write_bytes((HEADER % b"").replace(b"raw", encoding.encode()) + pack(bytes(1 << 28)))
    tracemalloc.start()
    try:
        read_nrrd(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()


def test_blanks_inside_vectors_and_a_spare_axis_are_read(tmp_path):
    data = np.arange(1, 121, dtype="<f4")
    header = HEADER.replace(b"dimension: 3\nsizes: 4 5 6", b"dimension: 4\nsizes: 1 4 5 6")
    space = b"kinds: vector domain domain domain\nspace: left-anterior-superior\n"
    space += b"space directions: none ( 1, 0 ,0 ) (0, -2, 0) (0,0,3)\nspace origin: ( 1, 2, 3)\n"
    path = tmp_path / "flair.nrrd"
    path.write_bytes(header % space + data.tobytes())
    volume = read_nrrd(path)
    expected = np.diag([-1.0, -2, 3, 1])
    expected[:3, 3] = (-1, 2, 3)
    np.testing.assert_allclose(volume.grid.affine, expected)
    np.testing.assert_array_equal(volume.grid.to_source(volume.data), data.reshape(6, 5, 4).T)
    np.testing.assert_allclose(itk_affine_4d(path), expected)


def itk_affine_4d(path):
    """Where ITK sees a scan with one value per voxel in a vector."""
    image = sitk.VectorIndexSelectionCast(sitk.ReadImage(str(path)), 0)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ affine


@pytest.mark.parametrize(
    "space",
    [
        "left-posterior-superior",
        "right-anterior-superior",
        "LAS",
        "RAS",
        "scanner-xyz",
        "left-anterior-superior",
    ],
)
def test_every_space_lies_where_itk_sees_it(tmp_path, space):
    lines = f"space: {space}\nspace directions: (0,2,0) (-1,0,0.5) (0,0,3)\nspace origin: (1,2,3)\n"
    (tmp_path / "flair.nrrd").write_bytes(HEADER % lines.encode() + np.arange(1, 121, dtype="<f4").tobytes())
    found = read_nrrd(tmp_path / "flair.nrrd").grid.affine
    np.testing.assert_allclose(found, itk_affine(tmp_path / "flair.nrrd"), atol=1e-6)
