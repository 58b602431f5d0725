"""docs/reference/errors.md is what the source says, and every error says enough."""

import importlib
import pickle
import sys
from pathlib import Path

import pytest

from napari_cead import errors

TOOLS = Path(__file__).resolve().parents[1] / "tools"

SAY_THE_RANGE = {"detection.params", "detection.settings", "models.specs", "training.engine"}
"""Modules that pass on the sentence of another check, which says what is allowed."""


@pytest.fixture
def errors_page(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    yield importlib.import_module("errors_page")
    sys.modules.pop("errors_page", None)


def every(kind=errors.CeadError):
    return {kind}.union(
        *(every(each) for each in kind.__subclasses__() if each.__module__ == errors.__name__)
    )


def test_the_page_is_up_to_date(errors_page):
    written = (TOOLS.parent / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    assert written == errors_page.page(), "run: make docs-errors"


def test_the_page_knows_every_kind_and_no_two_share_a_code(errors_page):
    assert {kind.name for kind in errors_page.kinds()} == {kind.__name__ for kind in every()}
    codes = [kind.code for kind in every()]
    assert len(set(codes)) == len(codes)
    assert {kind.name: kind.code for kind in errors_page.kinds()} == {
        kind.__name__: kind.code for kind in every()
    }


def test_every_error_says_what_to_do(errors_page):
    silent = [row for row in errors_page.raised() if row.hint == "" and row.module not in SAY_THE_RANGE]
    assert silent == []


@pytest.mark.parametrize(
    "kind", sorted(every(), key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__
)
def test_an_error_survives_a_process_and_another_file(kind):
    error = kind("it is\nbroken", file="a.nii", hint="mend it")
    assert str(error) == "a.nii: it is broken; mend it"
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind and again.as_dict() == error.as_dict()
    elsewhere = error.at("b.nii")
    assert type(elsewhere) is kind and str(elsewhere) == "b.nii: it is broken; mend it"
    assert error.as_dict()["code"] == kind.code


def test_what_catches_the_old_names_catches_the_new_kinds():
    assert issubclass(errors.SettingsFileError, ValueError)
    memory = errors.OutOfMemoryError("too small", file="a", hint="b")
    assert isinstance(memory, errors.PatientError | errors.ModelError) and isinstance(memory, errors.RunError)
