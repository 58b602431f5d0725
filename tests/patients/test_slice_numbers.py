"""PNG slices lie where their numbers say."""

import numpy as np
import pytest
from PIL import Image

import napari_cead as cead
from napari_cead.errors import CeadWarning, MaskError, PatientError
from napari_cead.patients import find_files
from napari_cead.patients.integrity import check_cohort


def write(folder, numbers, value=lambda number: 9, name="{:03d}.png", mode="L"):
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        pixels = np.zeros((8, 10), np.uint8)
        pixels[(slice(3, 5), slice(4, 6)) if folder.name == "seg" else (slice(2, 6), slice(3, 8))] = value(
            number
        )
        Image.fromarray(pixels).convert(mode).save(folder / name.format(number))


@pytest.fixture
def scan(tmp_path):
    """25 slices, each as bright as its number says."""
    write(tmp_path / "Mets_1" / "3", range(25), lambda number: number + 10)
    return tmp_path / "Mets_1"


def slices(mask):
    return np.flatnonzero(mask.any(axis=(1, 2))).tolist()


@pytest.mark.parametrize("name", ["{:03d}.png", "{}.png", "{:05d}.png", "{:03d}.PNG"])
def test_a_mask_of_some_slices_lies_on_those(scan, name):
    write(scan / "seg", range(8, 18), lambda number: 255, name)
    with pytest.warns(
        CeadWarning, match=r"seg: 10 slices \(8 to 17\) of 25, placed by their numbers; the others"
    ):
        patient = cead.load_patient(scan)
    assert slices(patient.lesion_mask) == list(range(8, 18))
    report = check_cohort(scan)
    assert [finding.code for finding in report.findings] == ["slice-gap"]
    assert report.patients[0].lesion_ml == pytest.approx(10 * 4 * 0.94 * 0.94 / 1000)


def test_a_mask_of_slices_here_and_there_lies_on_those(scan, quiet):
    write(scan / "seg", (3, 4, 9, 20), lambda number: 255 if number != 4 else 0)
    assert slices(cead.load_patient(scan).lesion_mask) == [3, 9, 20]


def test_a_scan_that_begins_at_another_number(tmp_path, quiet):
    write(tmp_path / "Mets_1" / "3", range(40, 52))
    write(tmp_path / "Mets_1" / "seg", range(44, 46), lambda number: 255)
    patient = cead.load_patient(tmp_path / "Mets_1")
    assert patient.shape[0] == 12
    assert slices(patient.lesion_mask) == [4, 5]
    np.testing.assert_array_equal(patient.grid.affine, np.diag([0.94, 0.94, 1, 1]))


@pytest.mark.parametrize(
    ("numbers", "first"), [(range(20, 30), 25), (range(1, 26), 25), (range(100, 125), 100)]
)
def test_numbers_that_the_scan_lacks_are_refused(scan, numbers, first):
    write(scan / "seg", numbers, lambda number: 255)
    with pytest.raises(
        MaskError, match=rf"numbers that the scan \(0 to 24\) lacks, the first is {first}; number"
    ):
        cead.load_patient(scan)
    assert ("mask-place", "seg") in [(each.code, each.file.name) for each in check_cohort(scan).findings]


def test_slices_of_another_size_are_refused(scan, tmp_path):
    for folder in (scan / "seg", scan / "1"):
        write(folder, range(25), lambda number: 255)
        for file in folder.iterdir():
            Image.open(file).reduce(2).save(file)
    with pytest.raises(MaskError, match=r"seg: the slices have 4x5 pixels, those of the scan 8x10; give"):
        cead.load_patient(scan)
    assert [(each.code, each.file.name) for each in check_cohort(scan).findings] == [
        ("shape", "1"),
        ("mask-place", "seg"),
    ]
    write(tmp_path / "x" / "flair", [3])
    write(tmp_path / "x" / "mask", [3], lambda number: 255)
    Image.open(tmp_path / "x" / "mask" / "003.png").reduce(2).save(tmp_path / "x" / "mask" / "003.png")
    with pytest.raises(MaskError, match="the slices have 4x5 pixels"):
        cead.load_patient(tmp_path / "x" / "flair" / "003.png")


def test_another_sequence_is_placed_by_number_too_or_left_out(scan):
    write(scan / "1", range(5, 20), lambda number: number + 100)
    with pytest.warns(CeadWarning, match=r"Mets_1/1: 15 slices \(5 to 19\) of 25"):
        patient = cead.load_patient(scan)
    other = patient.sequences["t1_pre"]
    assert [int(other[z].max()) for z in (4, 5, 19, 20)] == [0, 105, 119, 0]
    write(scan / "1", [30, 31])
    with pytest.warns(CeadWarning, match=r"left out: .*1: 10 of 27 slices are missing"):
        assert set(cead.load_patient(scan).sequences) == {"flair"}


def test_a_brain_mask_of_some_slices_lies_on_those(scan, quiet):
    write(scan.parent / "brain", range(8, 18), lambda number: 255)
    patient = cead.load_patient(scan, brain_mask=scan.parent / "brain")
    assert slices(patient.volume() > 0) == list(range(8, 18))


def test_one_number_twice_is_refused(scan):
    write(scan / "3", [7], name="{}.png")
    with pytest.raises(PatientError, match=r"two slices have the number 7 \(007.png and 7.png\)"):
        cead.load_patient(scan)
    assert [finding.code for finding in check_cohort(scan).findings] == ["unreadable"]


def test_a_name_that_is_no_number_is_passed_over_and_said(scan):
    write(scan / "3", [7], name="overview_{}.png")
    with pytest.warns(CeadWarning, match=r"3: passed over, for their names are no numbers: overview_7\.png"):
        assert cead.load_patient(scan).shape[0] == 25
    assert [finding.code for finding in check_cohort(scan).findings] == ["unrecognised"]


def test_hidden_pictures_are_nobodys(scan, quiet):
    (scan / "3" / "._003.png").write_bytes(b"x")
    assert cead.load_patient(scan).shape[0] == 25


def test_masks_whose_names_are_no_numbers_are_said(scan):
    write(scan / "seg", range(25), name="slice_{}.png")
    assert find_files(scan).mask is None
    with pytest.warns(CeadWarning, match="the PNGs in seg are not used: their names are no numbers"):
        assert cead.load_patient(scan).lesion_mask is None
    (finding,) = check_cohort(scan).findings
    assert (finding.code, finding.sentence) == (
        "mask-name",
        "the PNGs in seg are not used: their names are no numbers; name them 000.png, 001.png, …",
    )


def test_slices_for_a_scan_that_has_no_numbers(tmp_path, quiet):
    from scans import write_nifti

    file = write_nifti(
        tmp_path / "flair.nii", np.full((10, 8, 5), 9, np.float32), np.diag([0.94, 0.94, 1, 1])
    )
    write(tmp_path / "whole", range(5), lambda number: 255 * (number == 3))
    write(tmp_path / "part", range(2, 4), lambda number: 255)
    assert slices(cead.load_patient(file, mask=tmp_path / "whole").lesion_mask) == [3]
    with pytest.raises(
        MaskError, match=r"2 slices \(2 to 3\) do not tell where they lie in a scan of 5 slices"
    ):
        cead.load_patient(file, mask=tmp_path / "part")


def test_the_report_of_a_mask_exported_for_some_slices(real_data, quiet):
    patient = cead.load_patient(real_data / "reports" / "png_subset" / "Mets_001")
    assert slices(patient.lesion_mask) == list(range(8, 18))
