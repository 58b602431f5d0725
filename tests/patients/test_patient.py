import pickle

import numpy as np
import pytest

from napari_cead.errors import MaskError, PatientError
from napari_cead.patients import Patient
from scans import make_brain


def test_arrays_of_any_real_type_become_a_patient():
    volume, lesion = make_brain()
    patient = Patient.from_arrays(
        {"flair": volume.astype(np.int16), "t2": volume}, lesion_mask=lesion.astype(np.uint16), name="anna"
    )
    assert patient.sequence == "flair"
    assert patient.volume().dtype == np.float32
    assert patient.volume("t2").shape == patient.shape == volume.shape
    assert patient.lesion_mask.dtype == bool


def test_one_slice_is_a_patient():
    assert Patient.from_arrays({"flair": np.eye(5)}).shape == (1, 5, 5)


def test_a_patient_cannot_be_changed_in_place():
    patient = Patient.from_arrays({"flair": np.eye(5)})
    with pytest.raises(AttributeError):
        patient.name = "other"
    assert patient.select("flair") is patient


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"sequences": {"flair": np.ones((2, 3, 4)), "t2": np.ones((2, 3, 5))}}, PatientError, "shape"),
        ({"sequences": {"flair": np.ones((2, 3, 4))}, "lesion_mask": np.ones((2, 3, 5))}, MaskError, "shape"),
        ({"sequences": {"flair": np.ones((2, 3, 4))}, "sequence": "t2"}, PatientError, "no 't2' sequence"),
        ({"sequences": {"flair": np.ones((2, 3, 4))}, "spacing": (1, 0, 1)}, PatientError, "voxel size"),
        ({"sequences": {"flair": np.ones((2, 3, 4, 5))}}, PatientError, "not a scan"),
        ({"sequences": {"flair": np.ones((2, 3, 4), complex)}}, PatientError, "not a scan"),
        ({"sequences": {"flair": np.zeros((2, 3, 4))}}, PatientError, "zero everywhere"),
        ({"sequences": {"flair": np.full((2, 3, 4), np.nan)}}, PatientError, "100% of the values"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_edge(arguments, error, words):
    with pytest.raises(error, match=words):
        Patient.from_arrays(**arguments)


def test_selecting_a_sequence_that_is_not_there_is_an_error():
    with pytest.raises(PatientError, match="bravo"):
        Patient.from_arrays({"flair": np.eye(3)}).volume("bravo")


def test_errors_survive_a_process_boundary():
    error = PatientError("it is broken", file="a.nii", hint="mend it")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is PatientError
    assert str(again) == "a.nii: it is broken; mend it"
