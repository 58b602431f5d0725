"""Corrections that are kept while a patient is open."""

import os

import numpy as np
import pytest

import napari_cead as cead
from napari_cead.detection.corrections import Corrections
from napari_cead.exploring import kept
from napari_cead.exploring.kept import KeptCorrections


@pytest.fixture
def patient(patient_folder):
    return cead.load_patient(patient_folder)


def some(patient, z=3):
    added, removed = np.zeros(patient.shape, bool), np.zeros(patient.shape, bool)
    added[z, 2, 2:5], removed[z + 1, 4, 4] = True, True
    return Corrections(added, removed)


def test_what_is_kept_is_found_by_the_scan_and_goes_when_nothing_is_painted(
    patient, patient_folder, tmp_path
):
    store, wanted = KeptCorrections(tmp_path / "kept"), some(patient)
    assert store.find(patient) is None
    store.keep(patient, wanted)
    found = store.find(cead.load_patient(patient_folder)).corrections
    np.testing.assert_array_equal(found.added, wanted.added)
    np.testing.assert_array_equal(found.removed, wanted.removed)
    other = cead.Patient.from_arrays({"flair": patient.volume() * 2}, spacing=patient.spacing)
    assert store.find(other) is None
    store.keep(patient, None)
    assert store.find(patient) is None
    assert list((tmp_path / "kept").iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x93NUMPY"])
def test_a_damaged_file_is_nothing(patient, tmp_path, content):
    store = KeptCorrections(tmp_path / "kept")
    store.keep(patient, some(patient))
    (file,) = (tmp_path / "kept").iterdir()
    file.write_bytes(content)
    assert store.find(patient) is None


def test_the_oldest_go(patient, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "MOST", 2)
    store = KeptCorrections(tmp_path / "kept")
    others = [
        cead.Patient.from_arrays({"flair": patient.volume() * factor}, spacing=patient.spacing)
        for factor in (1, 2, 3)
    ]
    for number, other in enumerate(others):
        store.keep(other, some(other))
        newest = max((tmp_path / "kept").iterdir(), key=lambda file: file.stat().st_mtime)
        os.utime(newest, (number, number))
    assert [store.find(other) is not None for other in others] == [False, True, True]
