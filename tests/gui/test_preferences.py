"""The plugin's page in napari's own Preferences dialog."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import QComboBox, QLineEdit, QSpinBox

from napari_cead.widgets.common.preferences import Preferences, preferences


@pytest.fixture
def dialog(plugin_settings, viewer, qtbot):
    from napari._qt.dialogs.preferences_dialog import PreferencesDialog

    dialog = PreferencesDialog()
    qtbot.addWidget(dialog)
    names = [dialog._list.item(row).text() for row in range(dialog._list.count())]
    dialog._list.setCurrentRow(names.index("napari-cead"))
    dialog.show()
    qtbot.waitExposed(dialog)
    return dialog


def test_the_page_shows_the_preferences_and_sets_them(dialog, qtbot):
    page = dialog._stack.currentWidget()
    device, convention = page.findChildren(QComboBox)
    assert [device.itemText(i) for i in range(device.count())] == ["auto", "cpu", "cuda", "mps"]
    assert convention.currentText() == "radiological"
    [batch] = page.findChildren(QSpinBox)
    assert (batch.value(), batch.minimum(), batch.maximum()) == (32, 1, 256)
    model = next(line for line in page.findChildren(QLineEdit) if line.text() == "ce-unet")
    assert model.isVisible()
    device.setCurrentText("cpu")
    convention.setCurrentText("neurological")
    batch.setValue(3)
    assert preferences() == Preferences("cpu", 3, "ce-unet", "neurological")
    dialog.reject()
    assert preferences() == Preferences()
