"""Models that come and go while the dock is open."""

import shutil

from napari_cead.zoo import find_model, install_model


def test_a_model_installed_meanwhile_appears_without_a_restart(widget, qtbot):
    assert "newcomer" not in widget.model.choices
    install_model(find_model("tiny"), "newcomer")
    qtbot.waitUntil(lambda: "newcomer" in widget.model.choices)
    assert widget.model.value == "tiny"
    widget.model.value = "newcomer"
    shutil.rmtree(find_model("newcomer"))
    qtbot.waitUntil(lambda: "newcomer" not in widget.model.choices)
    assert widget.model.value in widget.model.choices
