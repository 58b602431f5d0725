import os

import numpy as np
import pytest

import napari_cead as cead
from napari_cead.errors import GeometryError, MaskError, MissingExtraError, ParameterError
from napari_cead.patients import Patient, load_patient, save_volume
from napari_cead.preparing import RAW, Preparation, needs_even, needs_strip, prepare_patient
from napari_cead.preparing import preparation as module
from napari_cead.preparing.strippers import find_stripper

pytestmark = pytest.mark.skipif(
    os.name == "nt", reason="the stand-in for a stripper is a script with a shebang"
)


@pytest.fixture
def default(monkeypatch, finder):
    """`auto` uses the program of the test."""
    monkeypatch.setattr(module, "DEFAULT_STRIPPER", finder[0])
    return finder


def test_auto_strips_what_has_a_skull_and_says_so(patient, default, stripped):
    assert "not skull-stripped" in needs_strip(patient)
    made = prepare_patient(patient)
    assert np.array_equal(made.prepared.brain_mask, stripped != 0)
    assert np.array_equal(made.volume() != 0, (stripped != 0) & (patient.volume() != 0))
    assert not made.volume("t1_pre")[stripped == 0].any()
    assert any("as under a scalp; the skull was stripped by command:" in note for note in made.warnings)
    assert made.prepared.asked == Preparation().as_dict()
    assert made.prepared.changed
    assert needs_strip(made) == ""
    assert patient.prepared is None
    back = made.raw()
    assert back.prepared is None
    assert back.warnings == patient.warnings
    assert np.array_equal(back.volume(), patient.volume())


def test_auto_leaves_a_stripped_scan_alone(stripped, default):
    patient = Patient.from_arrays({"flair": stripped}, spacing=(8, 1.5, 1.5))
    made = prepare_patient(patient)
    assert made.volume() is patient.volume()
    assert not made.prepared.changed
    assert made.warnings == patient.warnings
    assert default[1]() == 0


def test_never_leaves_a_head_alone(patient, default):
    made = prepare_patient(patient, RAW)
    assert made.volume() is patient.volume()
    assert default[1]() == 0


def test_auto_without_a_stripper_names_the_extra_and_the_ways_out(patient, monkeypatch):
    monkeypatch.setattr(
        type(find_stripper("deepbet")), "missing", lambda self: 'run: pip install "napari-cead[strip]"'
    )
    with pytest.raises(MissingExtraError) as raised:
        prepare_patient(patient)
    for part in ("not skull-stripped", "napari-cead[strip]", "--strip never", "--strip FILE"):
        assert part in str(raised.value)


def test_slices_with_a_skull_stay_as_they_are_under_auto(head, default):
    few = Patient.from_arrays({"flair": head[9:10]}, spacing=(8, 1.5, 1.5))
    assert needs_strip(few)
    made = prepare_patient(few)
    assert made.prepared.brain_mask is None
    assert any("too few slices" in note for note in made.warnings)
    with pytest.raises(GeometryError):
        prepare_patient(few, Preparation(default[0]))


def test_a_brain_mask_file_or_one_that_was_drawn(patient, stripped, tmp_path):
    brain = stripped != 0
    file = save_volume(brain, patient, tmp_path / "brain.nii.gz")
    by_file = prepare_patient(patient, Preparation(str(file)))
    by_hand = prepare_patient(patient, brain=brain)
    for made in (by_file, by_hand):
        assert made.prepared.stripper == "given"
        assert np.array_equal(made.volume(), np.where(brain, patient.volume(), 0))
    assert by_hand.prepared.asked["strip"] == "given"
    repaired = brain.copy()
    repaired[-4:] = False
    again = prepare_patient(by_file, brain=repaired)
    assert np.array_equal(again.volume(), np.where(repaired, patient.volume(), 0)), "from the raw scan on"
    with pytest.raises(MaskError, match="empty"):
        prepare_patient(patient, brain=np.zeros_like(brain))
    with pytest.raises(MaskError):
        prepare_patient(patient, Preparation(str(tmp_path / "none.nii.gz")))


def uneven(stripped):
    tilt = np.linspace(0.75, 1.25, stripped.shape[2], dtype=np.float32)
    return Patient.from_arrays({"flair": stripped * tilt, "t1_pre": stripped}, spacing=(8, 1.5, 1.5))


def test_the_bias_field_is_a_switch(stripped):
    patient = uneven(stripped)
    assert "left of the brain is" in needs_even(patient)
    assert prepare_patient(patient).volume() is patient.volume(), "only when asked"
    for wanted in ("n4", "auto"):
        made = prepare_patient(patient, Preparation(bias_field=wanted))
        assert made.prepared.corrected == ("flair",)
        assert made.volume("t1_pre") is patient.volume("t1_pre")
        assert any("N4" in note for note in made.warnings)
        assert needs_even(made) == ""
    even = Patient.from_arrays({"flair": stripped}, spacing=(8, 1.5, 1.5))
    assert needs_even(even) == ""
    assert not prepare_patient(even, Preparation(bias_field="auto")).prepared.changed


def test_n4_is_refused_for_slices_and_auto_leaves_them(stripped):
    few = Patient.from_arrays({"flair": uneven(stripped).volume()[9:12]}, spacing=(8, 1.5, 1.5))
    with pytest.raises(GeometryError, match="3 slices"):
        prepare_patient(few, Preparation(bias_field="n4"))
    assert not prepare_patient(few, Preparation(bias_field="auto")).prepared.changed


@pytest.mark.parametrize(
    "values",
    [
        {"strip": "nonsense"},
        {"bias_field": "n3"},
        {"strip": "command:tool"},
        {"register": "affine"},
        {"strip_from": ""},
    ],
)
def test_what_makes_no_sense_is_refused(values):
    with pytest.raises(ParameterError):
        Preparation(**values)


def test_saved_and_read_again():
    made = Preparation("deepbet", "n4", "rigid", "t1_pre")
    assert Preparation.from_saved(made.as_dict()) == made
    assert Preparation.from_saved({}) == RAW
    with pytest.raises(ParameterError):
        Preparation.from_saved({"strip": 3})


def test_loading_prepares_when_asked(patient, default, tmp_path, quiet):
    file = save_volume(patient.volume(), patient, tmp_path / "raw_flair.nii.gz")
    assert load_patient(file).prepared is None
    made = cead.load_patient(file, prepare=cead.Preparation())
    assert made.prepared.brain_mask is not None
