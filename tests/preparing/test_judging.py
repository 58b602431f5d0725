import numpy as np
import pytest

from napari_cead.errors import MaskError
from napari_cead.patients import Patient, load_patient
from napari_cead.patients.reading import read_place
from napari_cead.preparing import HeadScan
from napari_cead.preparing.judging import cut_off, judge

SCALP = {"Subj11", "Subj12", "Subj15", "Subj16", "Subj19"}
"""Of the seven with scalp at the vertex those in which it is more than a few voxels."""


def scan_of(patient):
    return HeadScan(patient.volume(), patient.grid, "flair", patient.name)


def test_a_good_mask_raises_no_doubt(patient, stripped):
    assert judge(stripped != 0, scan_of(patient), "it") == ()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (np.zeros_like, "found no brain"),
        (lambda brain: brain & (np.indices(brain.shape)[0] == 8), "which no brain is"),
        (np.ones_like, "which no brain is"),
        (lambda brain: brain & (np.indices(brain.shape)[1] < 60), "mm long, which no brain is"),
        (lambda brain: brain & (np.indices(brain.shape)[2] < 55), "mm wide, which no brain is"),
    ],
)
def test_what_cannot_be_a_brain_is_refused(patient, stripped, make, said):
    with pytest.raises(MaskError, match=said):
        judge(make(stripped != 0), scan_of(patient), "it")


def test_the_whole_head_is_no_brain(patient):
    with pytest.raises(MaskError, match="of the head for the brain"):
        judge(patient.volume() > 0, scan_of(patient), "it")


def test_a_lobe_that_is_cut_off_is_named_with_its_side(patient, stripped):
    brain = stripped != 0
    middle, front = brain.shape[2] // 2, brain.shape[1] // 2 - 15
    right = brain.copy()
    right[10:, :front, :middle] = False  # row 0 is anterior, column 0 the patient's right
    (doubt,) = judge(right, scan_of(patient), "it")
    assert "upper front on the right" in doubt
    left = brain.copy()
    left[:10, front + 40 :, middle:] = False
    assert cut_off(left) == "lower back on the left"


def test_both_frontal_lobes_cut_off(head, stripped):
    large = Patient.from_arrays({"flair": head}, spacing=(8, 2, 2))
    brain = stripped != 0
    assert judge(brain, scan_of(large), "it") == ()
    brain[:, :48] = False
    assert any("frontal lobes" in doubt for doubt in judge(brain, scan_of(large), "it"))


@pytest.mark.parametrize("place", ["nichart", "visits"])
def test_masks_of_real_scans(real_data, quiet, place):
    seen = set()
    for file in sorted((real_data / place).glob("*/*brainmask.DERIVED.nii.gz")):
        scan = file.with_name(file.name.replace("_brainmask.DERIVED", ""))
        if not scan.is_file():
            continue
        patient = load_patient(scan, only=True)
        doubts = judge(read_place(file).data > 0, scan_of(patient), "it")
        assert all("vertex" in doubt for doubt in doubts), (file, doubts)
        seen |= {file.parent.name} if doubts else set()
    assert seen == (SCALP if place == "nichart" else set())
