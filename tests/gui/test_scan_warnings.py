"""What makes a map doubtful is told in the dock, once."""

import numpy as np
from napari._qt.dialogs.qt_notification import NapariQtNotification
from napari.utils.notifications import notification_manager, show_warning
from qtpy.compat import isalive
from qtpy.QtWidgets import QWidget

from heads import add_head, make_stripped
from scans import write_nifti


def opened(widget, qtbot, folder):
    widget.patient.value = folder
    qtbot.waitUntil(lambda: widget.session.patient is not None and not widget.job.running)


def ran(widget, qtbot):
    before = widget.session.analysis
    widget.run.native.click()
    qtbot.waitUntil(lambda: widget.session.analysis not in (None, before) and not widget.job.running)


def told(notified, words):
    return [text for severity, text in notified if severity == "warning" and words in text]


def test_a_skull_stands_in_the_banner_and_below_the_result_and_nothing_pops_up(
    widget, tmp_path, qtbot, notified
):
    head = add_head(make_stripped())
    write_nifti(tmp_path / "head" / "flair.nii.gz", head.T, np.diag([0.94, 0.94, 3, 1]))
    opened(widget, qtbot, tmp_path / "head")
    qtbot.waitUntil(lambda: "not skull-stripped" in widget.form.banner.words.text().lower())
    assert widget.form.banner.isVisible()
    ran(widget, qtbot)
    assert "not skull-stripped" in widget.form.notes.text()
    assert not told(notified, "not skull-stripped")


def test_a_background_is_not_worth_a_message_where_the_skull_is_to_be_stripped(
    widget, tmp_path, qtbot, notified
):
    rng = np.random.default_rng(0)
    for name, scan in (("brain", make_stripped()), ("head", add_head(make_stripped()))):
        real, imaginary = rng.normal(0, 0.002 * np.median(scan[scan > 0]), (2, *scan.shape))
        noisy = np.hypot(scan + real, imaginary)
        write_nifti(tmp_path / name / "flair.nii.gz", noisy.T, np.diag([0.94, 0.94, 3, 1]))
        opened(widget, qtbot, tmp_path / name)
        qtbot.waitUntil(lambda name=name: widget.session.patient.name == name and not widget.preparing.busy)
        assert any("not exactly 0" in note for note in widget.session.patient.warnings), name
        qtbot.wait(50)
        assert len(told(notified, "the background is not exactly 0")) == 1, name
    assert "not skull-stripped" in widget.form.banner.words.text().lower()


def test_another_contrast_is_told_by_the_run_and_a_background_by_opening(widget, tmp_path, qtbot, notified):
    volume = make_stripped(contrast="t2") - 1024
    write_nifti(tmp_path / "t2" / "flair.nii.gz", volume.T, np.diag([0.94, 0.94, 3, 1]))
    opened(widget, qtbot, tmp_path / "t2")
    qtbot.waitUntil(lambda: len(told(notified, "background is -1024")) == 1)
    assert not told(notified, "look like")
    ran(widget, qtbot)
    qtbot.waitUntil(lambda: len(told(notified, "the intensities look like T2")) == 1)
    ran(widget, qtbot)
    assert len(told(notified, "look like T2")) == len(told(notified, "background is -1024")) == 1


def toasts():
    there = (toast for toast in list(NapariQtNotification._instances) if isalive(toast))
    return [toast.message.text() for toast in there if toast.isVisible()]


def test_a_message_is_shown_once_in_the_dock_or_as_a_toast(widget, qtbot):
    show_toast = NapariQtNotification.show_notification  # which napari connects where its own loop runs
    notification_manager.notification_ready.connect(show_toast)
    gone = NapariQtNotification("Something is odd.", "warning", parent=(window := QWidget()))
    NapariQtNotification._instances.append(gone)
    window.deleteLater()
    qtbot.waitUntil(lambda: not isalive(gone))
    try:
        widget.form.opening.setFocus()
        focus = widget.window().focusWidget()
        assert focus is not None
        show_warning("Something is odd.")
        assert "Something is odd." in widget.form.messages.words.text()
        qtbot.waitUntil(lambda: not toasts())
        assert widget.window().focusWidget() is focus
        dock = widget.parentWidget()
        dock.hide()
        show_warning("Nobody sees the dock.")
        qtbot.waitUntil(lambda: toasts() == ["Nobody sees the dock."])
        dock.show()
    finally:
        notification_manager.notification_ready.disconnect(show_toast)
        for toast in filter(isalive, list(NapariQtNotification._instances)):
            toast.close()
        NapariQtNotification._instances.clear()
        widget.form.messages.clear()
