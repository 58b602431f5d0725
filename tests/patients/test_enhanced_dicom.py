"""Enhanced multi-frame DICOM, written by pydicom; where it lies is computed by hand."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import Dataset, dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.encaps import encapsulate, generate_frames

import napari_cead as cead
from enhanced import write_enhanced
from napari_cead.errors import PatientError
from napari_cead.patients import SeriesError
from napari_cead.patients.integrity import check_cohort
from napari_cead.patients.reading import read_place
from scanners import rotation
from scans import make_brain, write_nifti

OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = rotation(6, -4, 9) @ np.diag([-0.7, -0.9, 3.0])
OBLIQUE[:3, 3] = (80, 95, -30)
SHUFFLED = np.array([3, 0, 6, 2, 5, 1, 4])


@pytest.fixture
def scan():
    return np.round(make_brain((7, 24, 20))[0].T).astype(np.uint16)


def source(path):
    """Return the values of a scan in the order of the file's axes, and its affine."""
    volume = read_place(path)
    return volume.grid.to_source(volume.data), volume.grid.affine


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("order", [None, SHUFFLED, SHUFFLED[::-1]], ids=["ordered", "shuffled", "backwards"])
def test_frames_are_put_where_they_lie(tmp_path, scan, order, shared):
    file = write_enhanced(tmp_path / "anna" / "IM1", scan, OBLIQUE, order=order, shared=shared)
    data, affine = source(file)
    np.testing.assert_array_equal(data, scan)
    np.testing.assert_allclose(affine, OBLIQUE, atol=1e-6)
    patient = cead.load_patient(tmp_path / "anna")
    assert (patient.sequence, patient.name, patient.warnings) == ("flair", "anna", ())
    nifti = cead.load_patient(write_nifti(tmp_path / "flair.nii.gz", scan.astype(np.int16), OBLIQUE))
    np.testing.assert_array_equal(patient.volume(), nifti.volume())
    saved = cead.save_volume(patient.volume(), patient, tmp_path / "map.nii.gz")
    np.testing.assert_allclose(nib.load(saved).affine, OBLIQUE, atol=1e-4)


def dimensions():
    """Return what the indices of a frame count: the slice, and the phase of a contrast agent."""
    items = [Dataset(), Dataset()]
    for item, keyword in zip(items, ("InStackPositionNumber", "ContrastBolusAgentPhase"), strict=True):
        item.DimensionIndexPointer = tag_for_keyword(keyword)
    return items


def test_the_affine_is_that_of_the_standard(tmp_path, scan):
    """PS3.3 C.7.6.2.1.1 by hand: rows run to the left, columns to the feet, frames to the back."""
    file = write_enhanced(tmp_path / "x.dcm", scan, np.eye(4), order=SHUFFLED)
    dataset = dcmread(file)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    shared.PixelMeasuresSequence[0].PixelSpacing = [0.9, 0.7]  # between rows, between columns
    for frame, groups in zip(SHUFFLED, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        groups.PlanePositionSequence[0].ImagePositionPatient = [-10, -20 + 2.5 * int(frame), 30]
    dataset.save_as(file)
    expected = np.array([[-0.7, 0, 0, 10], [0, 0, -2.5, 20], [0, -0.9, 0, 30], [0, 0, 0, 1.0]])
    data, affine = source(file)
    np.testing.assert_allclose(affine, expected, atol=1e-9)
    np.testing.assert_array_equal(data, scan)


def test_each_frame_has_its_own_slope(tmp_path, scan):
    slopes = np.stack([np.linspace(0.5, 2, 7), np.linspace(-3, 40, 7)], axis=1)
    file = write_enhanced(tmp_path / "x.dcm", scan, OBLIQUE, order=SHUFFLED, slopes=slopes)
    np.testing.assert_allclose(source(file)[0], scan * slopes[:, 0] + slopes[:, 1], rtol=1e-6)


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
def test_compressed_frames_keep_their_own_slopes(tmp_path, scan, compressor):
    slopes = np.stack([np.linspace(0.5, 2, 7), np.linspace(-3, 40, 7)], axis=1)
    file = write_enhanced(tmp_path / "x" / "x.dcm", scan, OBLIQUE, order=SHUFFLED, slopes=slopes)
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    packed, syntax = [], ""
    for index in SHUFFLED:
        writer.SetFileName(str(tmp_path / "slice.dcm"))
        writer.Execute(sitk.GetImageFromArray(np.ascontiguousarray(scan[:, :, index].T)[None]))
        one = dcmread(tmp_path / "slice.dcm")
        packed.append(next(generate_frames(one.PixelData, number_of_frames=1)))
        syntax = one.file_meta.TransferSyntaxUID
    assert syntax.is_compressed
    dataset = dcmread(file)
    dataset.PixelData = encapsulate(packed)
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(file)
    data, affine = source(file)
    np.testing.assert_allclose(data, scan * slopes[:, 0] + slopes[:, 1], rtol=1e-6)
    np.testing.assert_allclose(affine, OBLIQUE, atol=1e-6)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (lambda part: {"FrameContentSequence": {"TemporalPositionIndex": part + 1}}, "time point"),
        (lambda part: {"MRDiffusionSequence": {"DiffusionBValue": 1000.0 * part}}, "b-value"),
        (
            lambda part: {"CardiacSynchronizationSequence": {"NominalCardiacTriggerDelayTime": 10.0 * part}},
            "trigger time",
        ),
        (lambda part: {}, "a series over time, several echoes, or copies"),
        (
            lambda part: {"FrameContentSequence": {"FrameAcquisitionDateTime": f"2020010101010{part}"}},
            "differ in time",
        ),
        (
            lambda part: {
                "FrameContentSequence": {
                    "FrameAcquisitionDateTime": f"2020010101010{part}",
                    "DimensionIndexValues": [1, part + 1],
                }
            },
            "differ in contrast/bolus agent phase",
        ),
    ],
)
def test_what_repeats_is_named_and_refused(tmp_path, scan, groups, words):
    frames = [{"position": index, **groups(part)} for part in (0, 1) for index in range(7)]
    both = np.concatenate([scan, scan + 1], axis=2)
    write_enhanced(
        tmp_path / "x" / "x.dcm", both, OBLIQUE, frames=frames, DimensionIndexSequence=dimensions()
    )
    with pytest.raises(PatientError, match=f"several slices lie at the same place .*{words}") as caught:
        cead.load_patient(tmp_path / "x")
    assert "\n" not in str(caught.value)
    (finding,) = check_cohort(tmp_path / "x").findings
    assert words in finding.sentence


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (lambda part: {"MREchoSequence": {"EffectiveEchoTime": 80.0 + part * 40}}, "echo time 120"),
        (lambda part: {"MRModifierSequence": {"InversionTimes": [800.0 + part]}}, "inversion time 801"),
        (
            lambda part: {
                "MRImageFrameTypeSequence": {"ComplexImageComponent": ("MAGNITUDE", "PHASE")[part]}
            },
            "component PHASE",
        ),
        (
            lambda part: {"FrameContentSequence": {"StackID": str(part + 1), "InStackPositionNumber": 1}},
            "stack 2",
        ),
    ],
)
def test_contrasts_and_stacks_of_one_file_are_series_to_choose_from(tmp_path, scan, groups, words):
    frames = [{"position": index + 0.25 * part, **groups(part)} for part in (0, 1) for index in range(7)]
    order = np.random.default_rng(0).permutation(14)
    file = write_enhanced(
        tmp_path / "x" / "x.dcm",
        np.concatenate([scan, scan + 1], axis=2),
        OBLIQUE,
        frames=frames,
        order=order,
    )
    for path in (file, file.parent):
        with pytest.raises(SeriesError, match=f"2 series .*{words}") as caught:
            cead.load_patient(path)
        for part, (place, _) in enumerate(caught.value.choices):
            data, affine = source(place)
            np.testing.assert_array_equal(data, scan + part)
            np.testing.assert_allclose(affine[:3, 3], (OBLIQUE @ [0, 0, 0.25 * part, 1])[:3], atol=1e-4)


def test_without_positions_nothing_is_guessed(tmp_path, scan):
    write_enhanced(tmp_path / "x" / "x.dcm", scan, OBLIQUE, places=False)
    with pytest.raises(PatientError, match="its slices state no position"):
        cead.load_patient(tmp_path / "x")
    with pytest.raises(PatientError, match="its slices state no position"):
        cead.load_patient(tmp_path / "x" / "x.dcm")


def test_one_place_for_all_frames_is_no_place(tmp_path, scan):
    where = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    write_enhanced(tmp_path / "x" / "x.dcm", scan, OBLIQUE, places=False, PixelSpacing=[1, 1], **where)
    with pytest.raises(PatientError, match="its slices state no position"):
        cead.load_patient(tmp_path / "x")


def test_a_header_that_counts_other_frames_is_refused(tmp_path, scan):
    file = write_enhanced(tmp_path / "x" / "x.dcm", scan, OBLIQUE)
    dataset = dcmread(file)
    del dataset.PerFrameFunctionalGroupsSequence[3]
    dataset.save_as(file)
    with pytest.raises(PatientError, match="does not say what slices there are"):
        cead.load_patient(tmp_path / "x")


def test_a_series_of_several_enhanced_files_is_one_volume(tmp_path, scan):
    lower, upper = OBLIQUE, OBLIQUE.copy()
    upper[:3, 3] += 3 * OBLIQUE[:3, 2]
    write_enhanced(tmp_path / "x" / "b", scan[:, :, :3], lower)
    write_enhanced(tmp_path / "x" / "a", scan[:, :, 3:], upper)
    data, affine = source(tmp_path / "x" / "a")
    np.testing.assert_array_equal(data, scan)
    np.testing.assert_allclose(affine, OBLIQUE, atol=1e-6)


def test_three_planes_in_one_file_are_a_localiser(tmp_path, scan):
    planes = ([1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1])
    frames = [
        {"PlaneOrientationSequence": {"ImageOrientationPatient": planes[index % 3]}} for index in range(7)
    ]
    write_enhanced(tmp_path / "x" / "x.dcm", scan, OBLIQUE, frames=frames)
    with pytest.raises(PatientError, match="do not lie parallel"):
        cead.load_patient(tmp_path / "x")
