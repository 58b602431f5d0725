"""The help of the Explore dock: keys and terms, from the tables that also make the controls."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QTextBrowser, QVBoxLayout, QWidget

from ..contributions.layers import DETECTED_COLOR, LESION_COLOR
from ..detection import MapOptions, PostprocessParams
from .shortcuts import NAPARI_SHORTCUTS, SHORTCUTS, Shortcut
from .texts import texts

_EXPLAINED = (
    "dice",
    "precision",
    "recall",
    "keep",
    "three_views",
    "save_figure",
    "convention",
)


class HelpDialog(QDialog):
    """A non-modal window with the keys and terms.

    Args:
        parent: The dock.
        shortcuts: The bound keys.
    """

    def __init__(self, parent: QWidget | None = None, shortcuts: Iterable[Shortcut] = SHORTCUTS) -> None:
        super().__init__(parent)
        self.setWindowTitle("Explore anomalies: keys and terms")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.page = QTextBrowser()
        self.page.setHtml(help_html(shortcuts))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.close)
        column = QVBoxLayout(self)
        column.addWidget(self.page)
        column.addWidget(buttons)
        self.resize(460, 640)


def help_html(shortcuts: Iterable[Shortcut] = SHORTCUTS) -> str:
    """Return the help as HTML; its colours are the theme's, but for the two swatches.

    Args:
        shortcuts: The bound keys.
    """
    said = texts()
    scores = said["score"].tip.splitlines()
    sliders = [row.name for row in PostprocessParams.parameters() if row.slider and row.kind is not bool]
    terms = ("model", *MapOptions.names(), *sliders, *_EXPLAINED)
    return "".join(
        [
            "<h3>Keys</h3>",
            _table((shortcut.label, shortcut.text) for shortcut in shortcuts),
            "<p>Of napari:</p>",
            _table((shortcut.label, shortcut.text) for shortcut in NAPARI_SHORTCUTS),
            "<h3>Colours</h3>",
            f"<p>{_swatch(LESION_COLOR)} outline: lesion mask of the reference<br>"
            f"{_swatch(DETECTED_COLOR)} area: detected mask<br>"
            "magenta: anomaly map, the stronger the more anomalous</p>",
            "<h3>Terms</h3>",
            _table((said[name].title, said[name].tip) for name in terms),
            f"<h3>Scores</h3><p>{escape(scores[0])}:</p>",
            _table(line.split(": ", 1) for line in scores[1:]),
            f"<p>{escape(said['research_only'].title)}</p>",
        ]
    )


def _table(rows: Iterable[Iterable[str]]) -> str:
    lines = []
    for name, text in rows:
        lines.append(
            f"<tr><td style='white-space: pre'><b>{escape(name)}</b>&nbsp;&nbsp;</td>"
            f"<td>{escape(text)}</td></tr>"
        )
    return f"<table cellspacing='3'>{''.join(lines)}</table>"


def _swatch(color: str) -> str:
    return f"<span style='color: {color}'>■</span>"
