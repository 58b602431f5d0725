"""What nibabel and pydicom say of a header becomes a note of ours, and only while we read."""

import struct
import threading
import warnings
import zlib

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from napari_cead.patients import dicom_headers
from napari_cead.patients.formats.png import read_picture
from napari_cead.patients.repairs import repairs
from napari_cead.patients.volumes import read_volume

AFFINE = np.diag([-2.0, 2, 3, 1])
DATA = np.arange(1, 61, dtype=np.int16).reshape(3, 4, 5)


def with_odd_extension(file):
    """Write a scan with an extension of 24 bytes, which the format wants to be a multiple of 16."""
    kind = nib.Nifti1Pair if file.suffix == ".hdr" else nib.Nifti1Image
    nib.save(kind(DATA, AFFINE), file)
    raw = bytearray(file.read_bytes())
    extension = np.array([24, 6], "<i4").tobytes() + b"of sixteen bytes"
    if file.suffix == ".hdr":
        file.write_bytes(bytes(raw[:348]) + b"\1\0\0\0" + extension)
    else:
        raw[108:112] = np.array(352 + 24, "<f4").tobytes()
        file.write_bytes(bytes(raw[:348]) + b"\1\0\0\0" + extension + bytes(raw[352:]))


@pytest.mark.parametrize("name", ["flair.hdr", "flair.nii"])
def test_a_remark_of_nibabel_is_a_note_and_no_warning(name, tmp_path, recwarn):
    with_odd_extension(tmp_path / name)
    volume = read_volume(tmp_path / name)
    assert volume.data.sum() == DATA.sum()
    start = f"{name}: the header is not as it should be (Extension size is not a multiple of 16"
    assert any(note.startswith(start) for note in volume.warnings)
    assert not recwarn.list


def test_a_matrix_file_with_several_affines_is_noted(tmp_path, recwarn):
    nib.save(nib.Spm99AnalyzeImage(DATA, AFFINE), tmp_path / "flair.img")
    savemat(tmp_path / "flair.mat", {"mat": np.stack([AFFINE, 2 * AFFINE], axis=2)})
    volume = read_volume(tmp_path / "flair.img")
    assert any("More than one affine" in note for note in volume.warnings)
    assert not recwarn.list


def test_transparency_and_animation_of_a_picture_are_nobody_s_business(tmp_path, recwarn):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(grey).convert("P").save(tmp_path / "palette.png", transparency=bytes(range(256)))
    Image.fromarray(grey).save(tmp_path / "plain.png")
    raw, frames = (tmp_path / "plain.png").read_bytes(), b"acTL" + bytes(8)
    chunk = struct.pack(">I", 8) + frames + struct.pack(">I", zlib.crc32(frames))
    (tmp_path / "animated.png").write_bytes(raw[:33] + chunk + raw[33:])  # of no frames
    for name in ("palette", "animated"):
        np.testing.assert_array_equal(read_picture(tmp_path / f"{name}.png"), grey)
    assert not recwarn.list


def test_a_class_of_objects_that_is_no_uid_is_nobody_s_business(recwarn):
    assert dicom_headers.class_name("-0.0") == ""
    assert dicom_headers.class_name("1.2.840.10008.5.1.4.1.1.4") == "MR Image"
    assert not recwarn.list


def test_outside_and_in_other_threads_libraries_warn_as_ever(recwarn):
    uid = dicom_headers.pydicom().uid.UID
    with repairs() as notes:
        uid("-0.0")
        assert not recwarn.list
        other = threading.Thread(target=lambda: uid("no.uid"))
        other.start()
        other.join()
    assert len(notes) == 1
    assert "'-0.0'" in notes[0]
    assert len(recwarn.list) == 1
    with pytest.warns(UserWarning, match="Invalid value"):
        uid("neither.this")


def test_deprecations_are_no_remarks_on_a_header():
    from nibabel import nifti1

    with repairs() as notes, pytest.warns(FutureWarning):
        nifti1.warnings.warn("a function will go away", FutureWarning)
    assert not notes
    assert nifti1.warnings.catch_warnings is warnings.catch_warnings
