import numpy as np
import pytest

from made_up import SPACING, angiogram, brain_of_head, ct, head, knee
from napari_cead.errors import MaskError
from napari_cead.patients import Patient, load_patient
from napari_cead.patients.reading import read_place
from napari_cead.preparing import HeadScan
from napari_cead.preparing.mask_doubts import cut_off, doubts_about

SCALP = {"Subj11", "Subj12", "Subj15", "Subj16", "Subj19"}
"""Of the seven with scalp at the vertex those in which it is more than a few voxels."""


def scan_of(patient):
    return HeadScan(patient.volume(), patient.grid, "flair", patient.name)


def judged(volume, mask):
    return doubts_about(
        mask, scan_of(Patient.from_arrays({"flair": volume}, spacing=SPACING, name="made up")), "it"
    )


def test_a_made_up_head_is_a_head():
    assert judged(head(), brain_of_head()) == ()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (ct, "a CT by its values"),
        (lambda: ct() + 1024, "a CT by its values"),
        (lambda: np.maximum(ct(), 0), "a CT by its values"),
        (lambda: np.where(ct() < -900, np.float32(-1024), ct()), "a CT by its values"),
        (angiogram, "an angiogram"),
    ],
)
def test_other_scans_of_a_head_are_refused_by_what_they_are(make, said):
    with pytest.raises(MaskError, match=said):
        judged(make(), brain_of_head())


def test_the_same_contrast_in_other_units_is_no_ct():
    volume = head()
    assert judged((volume - volume.mean()) / volume.std(), brain_of_head()) == ()
    assert judged(volume * 0.01, brain_of_head()) == ()
    assert judged(volume * 40, brain_of_head()) == ()


def test_a_limb_runs_out_of_the_scan_at_the_top():
    middle = np.hypot(*np.meshgrid(np.arange(110) - 55, np.arange(96) - 48, indexing="ij")) < 30
    marrow = np.repeat(middle[None], 90, axis=0)
    marrow[:6] = marrow[-2:] = False
    with pytest.raises(MaskError, match="cut through the brain: it ends inside it at the top"):
        judged(knee(), marrow)


@pytest.mark.parametrize(
    ("part", "end"),
    [
        ((slice(None, 45),), "top"),
        ((slice(45, None),), "bottom"),
        ((slice(35, 55),), "bottom"),
        ((slice(None), slice(22, None)), "front"),
        ((slice(None), slice(None, -22)), "back"),
        ((slice(None), slice(None), slice(22, None)), "right"),
        ((slice(None), slice(None), slice(None, -22)), "left"),
    ],
)
def test_a_scan_that_is_cut_through_the_brain_is_refused_with_the_end(part, end):
    with pytest.raises(MaskError) as raised:
        judged(head()[part], brain_of_head()[part])
    assert f"inside it at the {end}" in raised.value.reason
    assert "--strip FILE" in str(raised.value)
    assert raised.value.file == "made up"


@pytest.mark.parametrize("part", [slice(None, -16), slice(16, None), slice(16, -14)])
def test_a_vertex_or_a_neck_that_is_cropped_a_little_is_not(part):
    """The top of the brain lies 7 voxels under the end of the scan, its lower end 13 above."""
    judged(head()[part], brain_of_head()[part])


def test_slices_that_were_left_empty_are_not_the_scan():
    volume, brain = head(), brain_of_head().copy()
    volume[45:], brain[45:] = 0, False
    with pytest.raises(MaskError, match="at the top"):
        judged(volume, brain)


def test_a_good_mask_raises_no_doubt(patient, stripped):
    assert doubts_about(stripped != 0, scan_of(patient), "it") == ()


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
        doubts_about(make(stripped != 0), scan_of(patient), "it")


def test_the_whole_head_is_no_brain(patient):
    with pytest.raises(MaskError, match="of the head for the brain"):
        doubts_about(patient.volume() > 0, scan_of(patient), "it")


def test_a_lobe_that_is_cut_off_is_named_with_its_side(patient, stripped):
    brain = stripped != 0
    middle, front = brain.shape[2] // 2, brain.shape[1] // 2 - 15
    right = brain.copy()
    right[10:, :front, :middle] = False  # row 0 is anterior, column 0 the patient's right
    (doubt,) = doubts_about(right, scan_of(patient), "it")
    assert "upper front on the right" in doubt
    left = brain.copy()
    left[:10, front + 40 :, middle:] = False
    assert cut_off(left) == "lower back on the left"


def test_both_frontal_lobes_cut_off(head, stripped):
    large = Patient.from_arrays({"flair": head}, spacing=(8, 2, 2))
    brain = stripped != 0
    assert doubts_about(brain, scan_of(large), "it") == ()
    brain[:, :48] = False
    assert any("frontal lobes" in doubt for doubt in doubts_about(brain, scan_of(large), "it"))


@pytest.mark.parametrize("place", ["nichart", "visits"])
def test_masks_of_real_scans(real_data, quiet, place):
    seen = set()
    for file in sorted((real_data / place).glob("*/*brainmask.DERIVED.nii.gz")):
        scan = file.with_name(file.name.replace("_brainmask.DERIVED", ""))
        if not scan.is_file():
            continue
        patient = load_patient(scan, only=True)
        doubts = doubts_about(read_place(file).data > 0, scan_of(patient), "it")
        assert all("vertex" in doubt for doubt in doubts), (file, doubts)
        seen |= {file.parent.name} if doubts else set()
    assert seen == (SCALP if place == "nichart" else set())
