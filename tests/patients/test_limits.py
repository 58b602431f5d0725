"""Headers that lie about their size, and files that would fill the memory: refused before memory is taken."""

import gzip
import struct
import subprocess
import sys
import textwrap
import zlib

import nibabel as nib
import numpy as np
import pytest

from napari_cead.errors import PatientError
from napari_cead.patients import limits, load_patient
from napari_cead.patients.formats.png import read_picture, read_stack, slice_files
from napari_cead.patients.volumes import read_volume
from scans import make_brain, write_nifti

GIB = 2**30


def header(shape, kind=nib.Nifti1Header, dtype=np.int16, offset=None, dims=None) -> bytes:
    """The bytes of a NIfTI header that declares anything."""
    made = kind()
    made.set_data_shape((2, 2, 2))
    made.set_data_dtype(dtype)
    made["magic"] = b"n+1" if kind is nib.Nifti1Header else made["magic"]
    made["qform_code"] = 1
    made["dim"] = dims or (len(shape), *shape, *(1,) * (7 - len(shape)))
    size = 352 if kind is nib.Nifti1Header else 544
    made["vox_offset"] = size if offset is None else offset
    return bytes(made.binaryblock).ljust(size, b"\0")


def limited(tmp_path, code: str, gib: float = 1.5) -> subprocess.CompletedProcess:
    """Run code in a process that can have no more memory than that, and no traceback."""
    if sys.platform != "linux":
        pytest.skip("only Linux limits the memory of a process in this way")
    script = f"""
        import resource, sys
        resource.setrlimit(resource.RLIMIT_AS, ({int(gib * GIB)},) * 2)
        from pathlib import Path
        from napari_cead.errors import CeadError
        folder = Path(sys.argv[1])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            {code}
        except CeadError as error:
            print(error)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (header((30000, 30000, 30000)), "impossible size"),
        (header((-5, -5, 10)), "impossible size"),
        (header((0, 5, 10)), "cannot be read|impossible size"),
        (header((2**31 - 1,) * 3, nib.Nifti2Header), "impossible size"),
        (header((2**62, 2, 2), nib.Nifti2Header), "impossible size"),
        (header((900, 900, 900)), r"1,458,000,352 bytes of data, more than this file of \d+ bytes can hold"),
        (header((2, 2, 2), offset=2**40), "cannot be read|can hold"),
        (header((2, 2, 2), offset=1e30), "cannot be read|can hold"),
        (header((2, 2, 2), offset=np.nan), "cannot be read|can hold"),
        (header((2, 2, 2), offset=-4000), "cannot be read|can hold"),
        (header((2, 2, 2), dims=(-3, 2, 2, 2, 1, 1, 1, 1)) + b"\0" * 16, "cannot be read|impossible"),
        (header((2, 2, 2), dims=(29, 2, 2, 2, 1, 1, 1, 1)) + b"\0" * 16, "cannot be read|impossible"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_an_absurd_header_is_one_sentence(tmp_path, content, words, packed, monkeypatch):
    taken = []
    monkeypatch.setattr(np, "empty", lambda *args, **kwargs: taken.append(args))
    file = tmp_path / ("flair.nii.gz" if packed else "flair.nii")
    file.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(PatientError, match=words) as error:
        read_volume(file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)
    assert not taken


def test_a_bomb_in_gzip_is_inflated_no_further_than_the_header_says(tmp_path):
    data = np.arange(8, dtype=np.int16)
    bomb = gzip.compress(bytes(200 << 20), 1)
    first = gzip.compress(header((2, 2, 2)) + data.tobytes() + bytes(50 << 20), 1)
    (tmp_path / "flair.nii.gz").write_bytes(first + bomb * 10)
    done = limited(tmp_path, "from napari_cead.patients.volumes import read_volume; "
                   "print(read_volume(folder / 'flair.nii.gz').data.sum())")  # fmt: skip
    assert done.stdout.split()[0] == "28", done.stderr
    assert int(done.stdout.split()[1]) < 60


def test_a_volume_larger_than_the_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    file = write_nifti(tmp_path / "flair.nii.gz", np.ones((40, 40, 40), np.float32))
    monkeypatch.setattr(limits.psutil, "virtual_memory", lambda: type("", (), {"available": 100_000}))
    monkeypatch.setattr(limits.psutil, "swap_memory", lambda: type("", (), {"free": 0}))
    with pytest.raises(
        PatientError, match=r"takes 0.0 GiB of memory, 0.0 GiB are free; close other programs"
    ):
        read_volume(file)


def test_a_process_with_little_memory_says_so(tmp_path):
    zeros = gzip.compress(bytes(50 << 20), 1)
    (tmp_path / "flair.nii.gz").write_bytes(
        gzip.compress(header((700, 700, 700), dtype=np.float32)) + zeros * 27
    )
    done = limited(tmp_path, "from napari_cead import load_patient; load_patient(folder / 'flair.nii.gz')")
    assert "Traceback" not in done.stderr
    assert "flair.nii.gz" in done.stdout
    assert "memory" in done.stdout or "cannot be read" in done.stdout


def test_data_that_end_early_are_counted(tmp_path):
    content = header((5, 5, 5)) + bytes(249)
    (tmp_path / "flair.nii.gz").write_bytes(gzip.compress(content))
    with pytest.raises(PatientError, match="the data end after 249 of 250 bytes"):
        read_volume(tmp_path / "flair.nii.gz")


def test_a_damaged_bit_is_found_by_the_checksum(tmp_path):
    file = write_nifti(tmp_path / "flair.nii.gz", make_brain()[0])
    content = bytearray(gzip.decompress(file.read_bytes()))
    whole = zlib.crc32(content)
    content[-40] ^= 1
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(bytes(content)) + packer.flush()
    start = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    file.write_bytes(start + packed + struct.pack("<II", whole, len(content)))
    with pytest.raises(PatientError, match="image data cannot be read"):
        read_volume(file)


def test_gzip_of_several_members_with_padding_is_read(tmp_path):
    volume = make_brain()[0]
    content = write_nifti(tmp_path / "whole.nii", volume).read_bytes()
    parts = [gzip.compress(content[start : start + 5000]) for start in range(0, len(content), 5000)]
    (tmp_path / "flair.nii.gz").write_bytes(b"".join(parts) + bytes(300))
    np.testing.assert_array_equal(
        read_volume(tmp_path / "flair.nii.gz").data, read_volume(tmp_path / "whole.nii").data
    )


@pytest.mark.parametrize("dtype", ["u1", "i1", ">i2", "<u2", "i4", ">u4", "i8", "f4", ">f4", "f8"])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_values_are_those_of_nibabel(tmp_path, dtype, scaled, kind):
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 100, (5, 4, 3)).astype(np.dtype(dtype).newbyteorder("="))
    image = kind(stored, np.diag([-1.0, 2, 3, 1]), dtype=stored.dtype)
    big = np.dtype(dtype).byteorder == ">"
    head = image.header.as_byteswapped(">") if big else image.header
    head.set_data_dtype(dtype)
    image = kind(stored, image.affine, head)
    if scaled:
        image.header.set_slope_inter(0.37, -5)
    for name in ("flair.nii", "flair.nii.gz"):
        nib.save(image, tmp_path / name)
        expected = nib.load(tmp_path / name)
        got = read_volume(tmp_path / name)
        if scaled:
            assert expected.header.get_slope_inter() != (1, 0)
        np.testing.assert_allclose(got.grid.to_source(got.data), expected.get_fdata(), rtol=1e-6)
        assert got.data.dtype.isnative
        assert got.data.dtype.kind == ("f" if scaled or "f" in dtype else np.dtype(dtype).kind)


def png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    start = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", start) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(2**31 - 1, 2**31 - 1), (100_000, 100_000), (0, 5), (8000, 8000)])
def test_a_png_that_declares_too_much_is_refused(tmp_path, size):
    file = tmp_path / "000.png"
    file.write_bytes(png(*size, zlib.compress(bytes(1000))))
    with pytest.raises(PatientError, match=r"impossible size|can hold|cannot be read"):
        read_picture(file)


def test_a_png_bomb_takes_no_memory(tmp_path):
    (tmp_path / "0.png").write_bytes(png(40_000, 40_000, zlib.compress(bytes(100 << 20), 1)))
    done = limited(
        tmp_path, "from napari_cead.patients.formats.png import read_picture; read_picture(folder / '0.png')"
    )
    assert "impossible size (40000, 40000)" in done.stdout, done.stderr
    assert int(done.stdout.split()[-1]) < 40


def test_other_formats_are_not_opened_whatever_their_name(tmp_path):
    from PIL import Image

    for kind in ("EPS", "TIFF", "JPEG"):
        Image.new("L", (8, 8)).save(tmp_path / f"{kind}.png", kind)
        with pytest.raises(PatientError, match="not a PNG file"):
            read_picture(tmp_path / f"{kind}.png")


def test_slice_numbers_far_apart_are_counted_not_listed(tmp_path):
    for name in ("0", "99999999999999999999"):
        (tmp_path / f"{name}.png").write_bytes(png(2, 2))
    with pytest.raises(PatientError, match=r"99999999999999999998 of \d+ slices are missing, .* number 1"):
        slice_files(tmp_path)


def test_a_stack_larger_than_any_scan_is_refused_after_its_first_slice(tmp_path, monkeypatch):
    from PIL import Image

    files = [tmp_path / f"{number}.png" for number in range(4)]
    for file in files:
        Image.new("L", (16, 16)).save(file)
    monkeypatch.setattr(
        "napari_cead.patients.formats.png.check_shape",
        lambda shape, *rest: limits.check_shape(shape, "x", 800),
    )
    with pytest.raises(PatientError, match=r"impossible size \(4, 16, 16\)"):
        read_stack(files, "left", (1, 1, 1))


def test_a_pair_that_declares_more_than_its_image_holds_is_refused(tmp_path):
    nib.save(nib.Nifti1Pair(np.ones((20, 20, 20), np.int16), np.eye(4)), tmp_path / "flair.hdr")
    (tmp_path / "flair.img").write_bytes(bytes(100))
    with pytest.raises(PatientError, match=r"16,000 bytes of data, more than this file of 100 bytes"):
        load_patient(tmp_path / "flair.hdr")
