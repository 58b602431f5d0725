"""Runs and stores of older and newer versions: what is missing is the default, what is unknown is named."""

import json
import warnings

import pytest

from napari_cead.errors import CeadWarning, RunError, StoreError
from napari_cead.runs.run_folder import RunFolder
from napari_cead.store.index import INDEX_FILE, StoreSettings, read_index
from napari_cead.store.store import SliceStore
from napari_cead.training import prepare
from small_stores import SIZE, settings, write_patients


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    place = tmp_path_factory.mktemp("growing")
    return prepare(write_patients(place / "cohort"), place / "store", image_size=SIZE).path


@pytest.fixture
def index(prepared):
    """Changes the index of the store, and puts it back."""
    file = prepared / INDEX_FILE
    before = file.read_text()

    def edit(change):
        values = json.loads(before)
        change(values["attributes"])
        file.write_text(json.dumps(values))
        return prepared

    yield edit
    file.write_text(before)


@pytest.fixture
def run(tmp_path):
    """Changes the description of a run."""
    folder = RunFolder(tmp_path / "run")
    folder.create(settings(epochs=3), tmp_path / "store", "f" * 64, ())

    def edit(change):
        file = folder.path / "run.json"
        values = json.loads(file.read_text())
        change(values)
        file.write_text(json.dumps(values))
        return folder

    return edit


def test_what_is_whole_is_read_without_a_word(index, run):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SliceStore.open(index(lambda values: None))
        assert run(lambda values: None).plan().settings == settings(epochs=3)


def test_a_setting_that_a_run_does_not_have_is_the_default_and_said(run):
    folder = run(lambda values: values["settings"].pop("emphasis"))
    with pytest.warns(CeadWarning, match=r"run.json: settings.emphasis is missing and taken as 1.0"):
        assert folder.plan().settings.emphasis == 1.0


def test_a_key_of_a_newer_run_is_ignored_and_named(run):
    folder = run(lambda values: values.update(room="12"))
    with pytest.warns(CeadWarning, match=r"run.json: room: not known to this version, and ignored"):
        assert folder.plan().fingerprint == "f" * 64


def test_a_setting_of_a_newer_run_is_refused_and_named(run):
    with pytest.raises(RunError, match=r"settings.momentum: not known to this version; a newer version"):
        run(lambda values: values["settings"].update(momentum=0.9)).plan()


@pytest.mark.parametrize("name", ["skull_ok", "min_brain"])
def test_a_setting_that_a_store_does_not_have_is_the_default_and_said(index, name):
    fingerprint = SliceStore.open(index(lambda values: None)).fingerprint
    store = index(lambda values: values["settings"].pop(name))
    with pytest.warns(CeadWarning, match=f"settings.{name} is missing and taken as"):
        opened = SliceStore.open(store)
    assert getattr(opened.settings, name) == getattr(StoreSettings(), name)
    if name == "skull_ok":
        assert opened.fingerprint == fingerprint


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda values: values.update(scanner="X"), "scanner"),
        (lambda values: values["split"].update(by="age"), "split.by"),
        (lambda values: values["patients"][0].update(age=3), "patients.age"),
    ],
)
def test_a_key_of_a_newer_store_is_ignored_and_named(index, change, named):
    with pytest.warns(CeadWarning, match=f"{named}: not known to this version, and ignored"):
        assert read_index(index(change)).patients


def test_a_setting_of_a_newer_store_is_refused_and_named(index):
    store = index(lambda values: values["settings"].update(bias_field="n4"))
    with pytest.raises(StoreError, match=r"settings.bias_field: not known to this version"):
        read_index(store)


def test_a_new_setting_changes_no_checksum_of_a_store_that_does_not_use_it():
    class Later(StoreSettings):
        denoised: bool = False

    assert Later().lasting() == StoreSettings().lasting()
    assert Later(denoised=True).lasting() == StoreSettings().lasting() | {"denoised": True}
    assert StoreSettings(skull_ok=True).lasting()["skull_ok"] is True
