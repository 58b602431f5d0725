"""What Hypothesis draws recipes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import nibabel as nib
from hypothesis import strategies as st

from .recipes import Recipe

BYTES = st.binary(min_size=1, max_size=8).map(bytes.hex)
PLACES = st.one_of(st.integers(0, 360), st.integers(0, 1 << 20), st.integers(-64, -1))
LENGTHS = st.one_of(st.integers(1, 64), st.integers(1, 1 << 16))
SPECIAL = [0.0, -0.0, 1e-40, 1e-9, -1.0, 1e38, float("nan"), float("inf"), float("-inf")]
NUMBERS = st.one_of(
    st.sampled_from(SPECIAL),
    st.floats(allow_nan=True, allow_infinity=True, width=32),
    st.integers(-(1 << 31), 1 << 31).map(float),
    st.integers(-3, 20).map(float),
)
FIELDS = ("dim", "dim", "dim", "datatype", "bitpix", "pixdim", "pixdim", "vox_offset", "scl_slope", "scl_inter",
          "xyzt_units", "cal_max", "slice_start", "slice_end", "qform_code", "sform_code", "quatern_b", "quatern_c",
          "quatern_d", "qoffset_x", "srow_x", "srow_y", "srow_z", "intent_code", "sizeof_hdr", "slice_duration",
          "toffset", "dim_info")  # fmt: skip
KINDS = sorted(code for code in nib.nifti1.data_type_codes.value_set() if isinstance(code, int))
WORDS = st.sampled_from(
    ["", "flair", "../../etc/passwd", "/dev/zero", "nan", "cpu", "cuda:99", "x" * 5000, "\x00", "é☃", "\ud800", "ae",
     "residual", "kl-gradient", "train", "a/b", "1e999", "checkpoint.json", "."]
)  # fmt: skip
JSON_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.integers(-2, 300),
    st.floats(allow_nan=True, allow_infinity=True),
    WORDS,
    st.lists(st.integers(-2, 70), max_size=4),
    st.lists(st.none(), max_size=2),
    st.just({}),
    st.just([[[[]]]]),
    st.just({"a": {"b": None}}),
)
NAMES = st.sampled_from(
    ["flair.nii", "flair.nii.gz", "flair.png", "x" * 200 + ".nii.gz", "t1.nii", "seg.nii.gz", "001.png", "٣.png",
     "½.png", "0000000.png", "-1.png", "model.pt", "model.json", ".hidden", "a b.nii.gz", "99999999999999999999.png",
     "flair.NII.GZ", "c", "zarr.json", "brain_mask.nii.gz"]
)  # fmt: skip


ELEMENTS = (
    *("NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("SamplesPerPixel", "PhotometricInterpretation", "ImagePositionPatient", "ImageOrientationPatient"),
    *("PixelSpacing", "RescaleSlope", "RescaleIntercept", "SeriesInstanceUID", "SeriesNumber", "Modality"),
    *("SeriesDescription", "ImageType", "SOPInstanceUID", "SOPClassUID", "PixelData"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "PlanePositionSequence"),
    *("PlaneOrientationSequence", "PixelMeasuresSequence", "PixelValueTransformationSequence"),
)
ELEMENT_VALUES = st.one_of(
    st.none(),
    st.integers(-3, 40).map(str),
    NUMBERS.map(repr),
    st.lists(NUMBERS, min_size=2, max_size=6).map(lambda numbers: "\\".join(map(repr, numbers))),
    st.sampled_from(
        ["", "CT", "MR", "RGB", "PALETTE COLOR", "1\\0\\0\\0\\1\\0", "1,5", "5-1", "²", "x" * 5000]
    ),
)
ENTRIES = st.sampled_from(
    ["*", "../*", "/*", "a/../*", "C:\\*", "seg.nii", "flair.nii", "*#5", "#5", "a#b/*", ".*", "__MACOSX/*", "x.zip",
     "*/", "x" * 300, "a\nb", "é☃", "IM0001", "3/001.png", "*.dcm", "sub-01/anat/sub-01_FLAIR.nii"]
)  # fmt: skip


@st.composite
def recipes(draw: Any, names: Sequence[str]) -> Recipe:
    """Draw one to four steps over the files of a seed."""
    return draw(st.lists(steps(names), min_size=1, max_size=4))


def steps(names: Sequence[str]) -> st.SearchStrategy[Any]:
    """Return the steps that make sense for these files."""
    name = st.sampled_from(sorted(names))
    how = st.one_of(
        st.tuples(st.just("flip"), PLACES, st.integers(0, 7)),
        st.tuples(st.just("poke"), PLACES, BYTES),
        st.tuples(st.just("cut"), PLACES),
        st.tuples(st.just("repeat"), PLACES, LENGTHS, PLACES),
        st.tuples(st.just("drop"), PLACES, LENGTHS),
    )
    found = [
        st.builds(lambda name, step: [step[0], name, *step[1:]], name, how),
        st.builds(
            lambda kind, name, other: [kind, name, *([other] if kind == "swap" else [])],
            st.sampled_from(["remove", "swap", "link", "folder"]),
            name,
            name,
        ),
        st.builds(lambda name, new: ["rename", name, new], name, NAMES),
    ]
    if packed := [each for each in names if each.endswith((".gz", ".png", "cohort.zip"))]:
        found += [
            st.builds(
                lambda name, part, step: ["inside", name, part, *step],
                st.sampled_from(packed),
                st.integers(0, 3),
                how,
            )
        ] * 2
    if scans := [each for each in names if each.endswith((".nii", ".nii.gz", ".hdr"))]:
        found += [
            st.builds(
                lambda name, field, place, value: ["field", name, field, place, value],
                st.sampled_from(scans),
                st.sampled_from(FIELDS),
                st.integers(0, 7),
                NUMBERS,
            ),
            st.builds(
                lambda name, kind: ["field", name, "datatype", 0, kind],
                st.sampled_from(scans),
                st.sampled_from(KINDS),
            ),
        ] * 2
    if slices := [each for each in names if each.endswith(".dcm")]:
        found += [
            st.builds(
                lambda name, keyword, place, value: ["element", name, keyword, place, value],
                st.sampled_from(slices),
                st.sampled_from(ELEMENTS),
                st.integers(0, 30),
                ELEMENT_VALUES,
            )
        ] * 4
    if archives := [each for each in names if each.endswith(".zip")]:
        found += [
            st.builds(
                lambda name, part, new: ["entry", name, part, new],
                st.sampled_from(archives),
                st.integers(0, 8),
                ENTRIES,
            )
        ] * 2
    if objects := [each for each in names if each.endswith(".json")]:
        found += [
            st.builds(
                lambda name, path, action, value: ["json", name, path, action, value],
                st.sampled_from(objects),
                st.lists(st.integers(0, 30), min_size=0, max_size=5),
                st.sampled_from(["set", "set", "set", "remove", "add"]),
                JSON_VALUES,
            )
        ] * 4
    if any(each.endswith(("model.json", "config.json", "checkpoint.json")) for each in names):
        found += [st.just(["checksum"])] * 2
    return st.one_of(found)
