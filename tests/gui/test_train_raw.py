"""Raw scans in the Train dock: stripped and evened out from the window, and then trained on."""

import os
import stat
import sys

import numpy as np
import pytest

from heads import add_head, make_stripped
from napari_cead.patients import load_patient, save_volume
from napari_cead.widgets.train import raw_scans
from scans import write_nifti

pytestmark = pytest.mark.skipif(
    os.name == "nt", reason="the stand-in for a stripper is a script with a shebang"
)

LONG = 90_000  # ms
AFFINE = np.diag([-1.5, -1.5, 8, 1])


@pytest.fixture
def dock(viewer, qtbot):
    _, dock = viewer.window.add_plugin_dock_widget("napari-cead", "Train a model")
    finder = dock.finder
    yield dock
    qtbot.waitUntil(lambda: not finder.job.running, timeout=LONG)


@pytest.fixture
def scans(tmp_path, monkeypatch):
    """Two heads, a brain that is brighter on one side, and a program that finds the brain of the heads."""
    brain = np.pad(make_stripped(), ((2, 2), (18, 18), (18, 18)))
    folder = tmp_path / "scans"
    for seed, name in enumerate(("anna_flair", "bert_flair")):
        skulled = np.pad(
            add_head(make_stripped(seed=seed), margin=18, scalp_width=10), ((2, 2), (0, 0), (0, 0))
        )
        write_nifti(folder / f"{name}.nii.gz", skulled.T, AFFINE)
    tilt = np.linspace(0.75, 1.25, brain.shape[2], dtype=np.float32)
    uneven = np.pad(make_stripped(seed=7), ((2, 2), (18, 18), (18, 18))) * tilt
    write_nifti(folder / "carl_flair.nii.gz", uneven.T, AFFINE)
    mask = save_volume(brain != 0, load_patient(folder / "anna_flair.nii.gz"), tmp_path / "mask.nii.gz")
    script = tmp_path / "finder"
    script.write_text(f"#!{sys.executable}\nimport shutil, sys\nshutil.copy({str(mask)!r}, sys.argv[2])\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(raw_scans, "DEFAULT_STRIPPER", f"command:{script} {{input}} {{output}}")
    return folder


def codes(report):
    return {warning.code for warning in report.warnings}


def test_raw_scans_are_stripped_and_evened_from_the_window(dock, scans, qtbot):
    model, banner = dock.form.scans.scans, dock.form.banner

    def named(name):
        return next(report for report in model.reports if report.source.name.startswith(name))

    def settled():
        return len(model.reports) == 3 and not dock.finder.job.running

    dock.finder.add([scans])
    qtbot.waitUntil(lambda: settled() and banner.strip.native.isVisible(), timeout=LONG)
    assert "2 scans have a skull" in banner.words.text()
    assert "1 scan has one side that is brighter" in banner.words.text()
    assert not named("anna").choosable
    before = {report.source.name: report.source.scan for report in model.reports}

    banner.strip.native.click()
    qtbot.waitUntil(lambda: settled() and not banner.strip.native.isVisible(), timeout=LONG)
    for name in ("anna", "bert"):
        assert named(name).usable and named(name).slices
        assert named(name).source.brain_mask is not None
        assert scans not in named(name).source.brain_mask.parents, "nothing is written beside the scans"
        assert named(name).source.scan == before[named(name).source.name]

    banner.even.native.click()
    qtbot.waitUntil(lambda: settled() and not banner.even.native.isVisible(), timeout=LONG)
    assert "uneven" not in codes(named("carl"))
    assert named("carl").source.scan != before[named("carl").source.name]
    assert not banner.isVisible()
    assert len(model.reports) == 3

    dock.finder.add([scans])
    qtbot.waitUntil(settled, timeout=LONG)
    assert len(model.reports) == 3, "the scan that was evened out is still the one that was given"
    dock.form.healthy.value = True
    assert len(model.chosen) == 3
    assert dock.form.start.enabled, dock.form.problem.text()


def test_a_stripper_that_fails_is_said_and_the_others_go_on(dock, scans, qtbot, monkeypatch, notified):
    monkeypatch.setattr(raw_scans, "DEFAULT_STRIPPER", "command:no-such-program {input} {output}")
    dock.finder.add([scans])
    banner = dock.form.banner
    qtbot.waitUntil(lambda: banner.strip.native.isVisible() and not dock.finder.job.running, timeout=LONG)
    banner.strip.native.click()
    qtbot.waitUntil(
        lambda: sum("no-such-program" in text for _, text in notified) == 2 and not dock.finder.job.running,
        timeout=LONG,
    )
    assert banner.strip.native.isVisible() and banner.strip.enabled
