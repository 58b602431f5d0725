"""The matrix of inputs and outcomes (see inputs_matrix.py), and that docs/reference/inputs.md tells the same."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import napari_cead as cead
from inputs_dicom import CASES as DICOM_CASES
from inputs_matrix import CASES as OTHER_CASES
from inputs_matrix import Given, usable
from napari_cead.errors import CeadError, CeadWarning
from napari_cead.patients.integrity import check_cohort

CASES = OTHER_CASES + DICOM_CASES
PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "inputs.md"


@pytest.fixture(scope="module")
def detector():
    return cead.load_model("ae", "cpu")


def look_through(folder):
    """Return what ``check`` says: the codes of what it finds, or that it refuses, in a sentence."""
    try:
        return ", ".join(check_cohort(folder).counts()) or "nothing"
    except CeadError as error:
        assert error.file and error.hint
        return "no patients"


@pytest.mark.parametrize("case", [case for case in CASES if usable(case)], ids=lambda case: case.id)
def test_an_input_becomes_what_it_has_to(case, tmp_path, detector, record_outcome, capfd):
    folder = tmp_path / "cohort" / "Mets_001"
    folder.mkdir(parents=True)
    given = case.make(folder)
    given = given if isinstance(given, Given) else Given(given)
    checked = look_through(folder)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            patient = cead.load_patient(given.path, given.sequence, given.mask)
        except CeadError as error:
            patient, said = None, str(error)
            assert case.outcome == "refused", said
            assert error.code == case.code or not case.code
            assert case.says in said and "\n" not in said and error.file and error.hint
        else:
            said = "; ".join(patient.warnings)
            assert case.outcome == ("opened with a warning" if patient.warnings else "opened"), said
            assert case.says in said
            assert np.isfinite(patient.volume()).all()
    assert [warning for warning in told if not issubclass(warning.category, CeadWarning)] == []
    detected = "–"
    if patient is not None:
        try:
            found = cead.detect(patient, detector)
        except CeadError as error:
            assert not case.detectable, str(error)
            assert error.file and error.hint
            detected = f"no: {error.reason}"
        else:
            assert case.detectable
            assert found.anomaly_map.shape == found.mask.shape == patient.shape
            assert found.anomaly_map.min() >= 0 and found.anomaly_map.max() <= 1
            detected = "yes"
    assert capfd.readouterr() == ("", ""), "a library wrote to the terminal"
    record_outcome(case.family, case.given, case.outcome, said.replace(str(tmp_path), "…"), checked, detected)


def test_the_page_tells_what_the_list_says(pytestconfig):
    if pytestconfig.getoption("--write-inputs"):
        pytest.skip("the page is being written")
    found, family = {}, ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            family = line.removeprefix("## ")
        elif line.startswith("| ") and not line.startswith(("| given |", "| ---", "| input")):
            given, outcome = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:3])
            found[family, given.replace("\\|", "|")] = outcome
    families = {case.family for case in CASES}
    assert {key: outcome for key, outcome in found.items() if key[0] in families} == {
        (case.family, case.given): case.outcome for case in CASES
    }, "run: make docs-inputs"
