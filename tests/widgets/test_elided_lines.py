"""Labels of some lines that end in an ellipsis where they do not hold their text."""

import pytest
from qtpy.QtWidgets import QLabel

from napari_cead.widgets.common.controls import ElidedLines
from napari_cead.zoo import list_models

WORDS = "Trained on 295 lesion-free slices of healthy-looking anatomy, of 26 scans from twelve-odd hospitals"


@pytest.mark.parametrize("text", [WORDS, *(info.description for info in list_models())])
@pytest.mark.parametrize("style", ["", "font-size: 15pt", "border: 1px solid"])
def test_what_is_shown_fits_and_what_is_not_is_told_by_an_ellipsis(qtbot, text, style):
    label = ElidedLines(2)
    qtbot.addWidget(label)
    label.show()
    label.setStyleSheet(style)
    label.setText(text)
    told = set()
    for width in range(150, 900, 3):
        label.setFixedSize(width, label.heightForWidth(width))
        shown = QLabel.text(label)
        lines = QLabel.heightForWidth(label, width) // label.fontMetrics().lineSpacing()  # as Qt breaks them
        assert lines <= 2, (width, shown)
        whole = "".join(shown.split()) == "".join(text.split())
        assert whole or shown.endswith("…"), (width, shown)
        told.add(whole)
    assert text is not WORDS or told == {True, False}, "some widths hold the text, and others do not"


def test_a_short_text_has_no_empty_line_below_it(qtbot):
    label = ElidedLines(2, "Your settings")
    qtbot.addWidget(label)
    label.resize(300, 40)
    label.show()
    assert QLabel.text(label) == "Your settings"


def test_a_short_text_takes_fewer_lines_if_it_may(qtbot):
    label = ElidedLines(4, fewer=True)
    qtbot.addWidget(label)
    label.setText("One line.")
    one = label.heightForWidth(400)
    label.setText(WORDS * 9)
    assert one < label.heightForWidth(400) == ElidedLines(4, "One line.").heightForWidth(400)
