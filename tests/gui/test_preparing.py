"""The banner of the Explore dock: what a scan needs before a run, with buttons that do it."""

import os
import stat
import sys
import threading

import numpy as np
import pytest
from qtpy.QtWidgets import QLabel, QMessageBox

from dock_driving import click, layers_of, run
from heads import add_head, make_stripped
from made_up import FLAIR, T1, brain_of_head, head
from napari_cead.exploring import session as session_module
from napari_cead.patients import Patient, load_patient, save_volume
from napari_cead.widgets.common.preparation_banner import PreparationBanner
from napari_cead.widgets.explore import preparing
from scans import write_nifti

pytestmark = pytest.mark.skipif(
    os.name == "nt", reason="the stand-in for a stripper is a script with a shebang"
)

SPACING = (8.0, 1.5, 1.5)
LONG = 90_000  # ms: a program is started, and N4 takes seconds


@pytest.fixture
def brain():
    return np.pad(make_stripped(), ((2, 2), (18, 18), (18, 18)))


@pytest.fixture
def raw(tmp_path, brain, monkeypatch):
    """A folder with a raw scan, and a program in the place of the default stripper that finds its brain."""
    skulled = np.pad(add_head(make_stripped(), margin=18, scalp_width=10), ((2, 2), (0, 0), (0, 0)))
    write_nifti(tmp_path / "head" / "flair.nii.gz", skulled.T, np.diag([-1.5, -1.5, 8, 1]))
    patient = load_patient(tmp_path / "head")
    mask = save_volume(brain != 0, patient, tmp_path / "mask.nii.gz")
    script = tmp_path / "finder"
    script.write_text(f"#!{sys.executable}\nimport shutil, sys\nshutil.copy({str(mask)!r}, sys.argv[2])\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(preparing, "DEFAULT_STRIPPER", f"command:{script} {{input}} {{output}}")
    return tmp_path / "head"


def settled(widget):
    return widget.session.patient is not None and not widget.busy


def brain_layers(viewer):
    return [layer for layer in viewer.layers if layer.name.startswith("brain mask")]


def test_the_banner_appears_together_with_the_raw_scan(widget, raw, qtbot, monkeypatch):
    monkeypatch.setattr(widget.preparing._looking, "ask", lambda *_: None)  # nothing comes later
    widget.patient.value = raw
    qtbot.waitUntil(lambda: settled(widget))
    assert widget.form.banner.strip.native.isVisible()
    assert "Outside the brain" in widget.form.banner.words.text()


def test_a_skull_is_stripped_repaired_and_written_with_the_results(
    widget, viewer, raw, brain, qtbot, tmp_path
):
    banner, session = widget.form.banner, widget.session
    widget.patient.value = raw
    qtbot.waitUntil(lambda: settled(widget) and banner.strip.native.isVisible(), timeout=LONG)
    assert "Outside the brain" in banner.words.text()
    assert not banner.even.native.isVisible()
    assert not brain_layers(viewer)

    banner.strip.native.click()
    qtbot.waitUntil(lambda: settled(widget) and session.patient.prepared is not None, timeout=LONG)
    qtbot.waitUntil(lambda: not banner.strip.native.isVisible(), timeout=LONG)
    assert np.array_equal(session.patient.prepared.brain_mask, brain != 0)
    assert "stripped by command:" in banner.words.text()
    (layer,) = brain_layers(viewer)
    assert np.array_equal(layer.data > 0, brain != 0)
    scan = next(layer for layer in viewer.layers if layer.name == "flair")
    assert np.count_nonzero(scan.data) > np.count_nonzero(brain), (
        "the head stays on show, to repair the mask by"
    )
    assert layer not in widget.form.reference_layer.choices

    repaired = (brain != 0).astype(np.uint8)
    repaired[-5:] = 0
    layer.data = repaired
    banner.use_brain.native.click()
    qtbot.waitUntil(lambda: settled(widget) and session.patient.prepared.stripper == "given", timeout=LONG)
    assert np.array_equal(session.patient.volume() != 0, (repaired > 0) & (scan.data != 0))
    (layer,) = brain_layers(viewer)
    assert np.array_equal(layer.data, repaired)

    widget.run.native.click()
    qtbot.waitUntil(lambda: session.analysis is not None and settled(widget), timeout=LONG)
    assert not session.mask[repaired == 0].any()
    assert len(brain_layers(viewer)) == 1
    session.export(tmp_path / "out")
    assert (tmp_path / "out" / "brain_mask.nii.gz").is_file()

    mask = session.mask.copy()
    session.open(raw)
    notes = session.restore(tmp_path / "out")
    assert not [note for note in notes if "another scan" in note], notes
    assert np.array_equal(session.patient.prepared.brain_mask, repaired > 0)
    assert np.array_equal(session.mask, mask)
    qtbot.waitUntil(lambda: settled(widget), timeout=LONG)


def strip_and_run(widget, qtbot):
    qtbot.waitUntil(lambda: settled(widget) and widget.form.banner.strip.native.isVisible(), timeout=LONG)
    click(qtbot, widget.form.banner.strip.native)
    qtbot.waitUntil(lambda: settled(widget) and widget.session.patient.prepared is not None, timeout=LONG)
    run(qtbot, widget, score="intensity")


def test_corrections_that_are_brought_back_wait_for_the_stripped_patient(widget, raw, qtbot):
    session = widget.session
    widget.patient.value = raw
    strip_and_run(widget, qtbot)
    z, place = widget.layers.current_slice(), (slice(3, 6), slice(3, 6))
    (layer,) = layers_of(widget, "detected mask")
    layer.brush_size = 3
    layer.paint((z, 4, 4), 1)
    qtbot.waitUntil(lambda: session.analysis.corrections is not None and not widget.keeping.busy)
    stroke = session.analysis.corrections.added
    session.use(load_patient(raw))  # as after napari was closed
    qtbot.waitUntil(lambda: widget.keeping.question is not None)
    click(qtbot, widget.keeping.question.button(QMessageBox.StandardButton.Yes))
    strip_and_run(widget, qtbot)
    assert np.array_equal(session.analysis.corrections.added, stroke)
    assert session.mask[z][place].any()
    assert widget.form.discard.enabled


def test_a_slice_without_brain_is_left_for_one_with_a_result(widget, raw, brain, qtbot):
    widget.patient.value = raw
    qtbot.waitUntil(lambda: settled(widget) and widget.form.banner.strip.native.isVisible(), timeout=LONG)
    layers = widget.layers
    assert brain[layers.current_slice()].any()
    widget.viewer.dims.set_point(0, 0)
    assert layers.current_slice() == 0 and not brain[0].any()
    click(qtbot, widget.form.banner.strip.native)
    qtbot.waitUntil(lambda: settled(widget) and widget.session.patient.prepared is not None, timeout=LONG)
    assert brain[layers.current_slice()].any()
    widget.viewer.dims.set_point(0, 0)
    run(qtbot, widget, score="intensity")
    shares = widget.session.mask.sum(axis=(1, 2))
    assert shares[layers.current_slice()] == shares.max() > 0
    elsewhere = int(np.flatnonzero(brain.any(axis=(1, 2)))[0])
    layers.go_to(elsewhere, 50, 50)
    run(qtbot, widget)
    assert layers.current_slice() == elsewhere, "where there is brain, the user stays"


def test_a_skull_can_be_stripped_during_a_run_which_then_ends(widget, raw, brain, qtbot, monkeypatch):
    banner, session, slow = widget.form.banner, widget.session, threading.Event()
    run = session_module.run
    monkeypatch.setattr(session_module, "run", lambda *given, **named: slow.wait() and run(*given, **named))
    widget.patient.value = raw
    qtbot.waitUntil(lambda: settled(widget) and banner.strip.native.isVisible(), timeout=LONG)
    click(qtbot, widget.run.native)
    try:
        assert widget.running
        click(qtbot, banner.strip.native)
        assert not banner.strip.native.isEnabled(), "it was heard"
    finally:
        slow.set()
    qtbot.waitUntil(lambda: settled(widget) and session.patient.prepared is not None, timeout=LONG)
    assert np.array_equal(session.patient.prepared.brain_mask, brain != 0)
    assert session.analysis is None, "the run of the head is void"


def test_the_notice_of_a_run_goes_with_its_scan(widget, raw, qtbot, monkeypatch):
    widget.patient.value = raw
    qtbot.waitUntil(lambda: settled(widget) and widget.form.banner.strip.native.isVisible(), timeout=LONG)
    monkeypatch.setattr(widget.runner, "_untold", lambda notes: ["shrunk in plane to 75%"])
    click(qtbot, widget.run.native)
    qtbot.waitUntil(
        lambda: settled(widget) and widget.form.messages.words.text() == "shrunk in plane to 75%",
        timeout=LONG,
    )
    click(qtbot, widget.form.banner.strip.native)
    qtbot.waitUntil(lambda: settled(widget) and widget.session.patient.prepared is not None, timeout=LONG)
    assert "shrunk" not in widget.form.messages.words.text()


def test_the_banner_leaves_the_dock_its_room(qtbot):
    banner = PreparationBanner()
    qtbot.addWidget(banner)
    banner.resize(320, 400)
    banner.show_needs("One sentence.", strip=True, even=False)
    banner.show()
    qtbot.waitExposed(banner)
    short = banner.sizeHint().height()
    words = "A sentence with what a scan needs before a model can make sense of it. " * 12
    banner.show_needs(words, strip=True, even=True, register=True)
    line = banner.words.fontMetrics().lineSpacing()
    assert banner.heightForWidth(320) <= short + 4 * line
    qtbot.waitUntil(lambda: banner.words.height() >= 4 * line)
    assert QLabel.text(banner.words).endswith("…")
    assert banner.words.text() == words and words.strip() in banner.words.toolTip()


def test_another_patient_takes_the_layer_away(widget, viewer, raw, brain, qtbot):
    widget.patient.value = raw
    qtbot.waitUntil(lambda: settled(widget) and widget.form.banner.strip.native.isVisible(), timeout=LONG)
    widget.form.banner.strip.native.click()
    qtbot.waitUntil(lambda: settled(widget) and bool(brain_layers(viewer)), timeout=LONG)
    widget.use_patient(Patient.from_arrays({"flair": brain}, spacing=SPACING, name="other"))
    qtbot.waitUntil(lambda: settled(widget) and not widget.form.banner.isVisible(), timeout=LONG)
    assert not brain_layers(viewer)


def test_an_uneven_scan_is_evened_out(widget, brain, qtbot):
    tilt = np.linspace(0.75, 1.25, brain.shape[2], dtype=np.float32)
    widget.use_patient(Patient.from_arrays({"flair": brain * tilt}, spacing=SPACING, name="uneven"))
    qtbot.waitUntil(lambda: settled(widget) and widget.form.banner.even.native.isVisible(), timeout=LONG)
    assert "brighter" in widget.form.banner.words.text()
    assert not widget.form.banner.strip.native.isVisible()
    widget.form.banner.even.native.click()
    qtbot.waitUntil(lambda: settled(widget) and not widget.form.banner.even.native.isVisible(), timeout=LONG)
    assert widget.session.patient.prepared.corrected == ("flair",)
    assert "N4" in widget.form.banner.words.text()


def test_what_cannot_be_stripped_says_why_and_leaves_the_patient(widget, raw, qtbot, monkeypatch, notified):
    monkeypatch.setattr(preparing, "DEFAULT_STRIPPER", "command:no-such-program {input} {output}")
    widget.patient.value = raw
    qtbot.waitUntil(lambda: settled(widget) and widget.form.banner.strip.native.isVisible(), timeout=LONG)
    widget.form.banner.strip.native.click()
    qtbot.waitUntil(lambda: any("no-such-program" in text for _, text in notified), timeout=LONG)
    qtbot.waitUntil(lambda: settled(widget), timeout=LONG)
    assert widget.session.patient.prepared is None
    assert widget.form.banner.strip.enabled


def test_sequences_on_other_grids_are_registered_by_a_button(widget, viewer, tmp_path, qtbot):
    flair, t1 = head(FLAIR), head(T1)
    lesion = np.zeros(flair.shape, np.uint8)
    lesion[50:55, 40:48, 30:38] = 1
    for name, volume, shift in (("flair", flair, 0), ("t1_pre", t1, 8), ("seg", lesion, 8)):
        affine = np.diag([-2.0, -2.0, 2.0, 1.0])
        affine[:3, 3] = (96 + shift, 110, -90)
        write_nifti(tmp_path / "Mets_007" / f"{name}.nii.gz", volume.T, affine)
    banner, session = widget.form.banner, widget.session
    widget.patient.value = tmp_path / "Mets_007"
    qtbot.waitUntil(lambda: settled(widget) and banner.register.native.isVisible(), timeout=LONG)
    assert "T1_pre lies on another grid than flair" in banner.words.text()
    assert list(banner.strip_from.choices) == ["flair", "t1_pre"]
    assert banner.strip_from.native.isVisible() == banner.strip.native.isVisible()

    def layer(name):
        return next(layer for layer in viewer.layers if layer.name == name)

    assert np.array_equal(layer("lesion mask").data[:, :, 4:] > 0, lesion[:, :, :-4]) or np.array_equal(
        layer("lesion mask").data[:, :, :-4] > 0, lesion[:, :, 4:]
    ), "where the header places it"
    banner.register.native.click()
    qtbot.waitUntil(lambda: settled(widget) and session.patient.prepared is not None, timeout=LONG)
    qtbot.waitUntil(lambda: not banner.register.native.isVisible(), timeout=LONG)
    move = session.patient.prepared.moves["t1_pre"]
    assert move["mm"] == pytest.approx(8, abs=0.5)
    assert "registered to flair: moved by" in banner.words.text()
    assert np.array_equal(layer("t1_pre").data, session.patient.volume("t1_pre"))
    shown = layer("lesion mask").data > 0
    assert np.array_equal(shown, session.patient.lesion_mask)
    assert np.count_nonzero(shown & (lesion > 0)) > 0.8 * lesion.sum(), "it went along with the T1"

    session.strip(finder_of(tmp_path, brain_of_head(), session.patient), "t1_pre")
    made = session.patient.prepared
    assert made.asked["register"] == "rigid", "what was done is done again"
    assert made.facts["found_in"] == "t1_pre"


def finder_of(folder, brain, patient):
    mask = save_volume(brain, patient, folder / "finders-mask.nii.gz")
    script = folder / "finder-of-t1"
    script.write_text(f"#!{sys.executable}\nimport shutil, sys\nshutil.copy({str(mask)!r}, sys.argv[2])\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return f"command:{script} {{input}} {{output}}"
