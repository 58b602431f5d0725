"""The help of the Explore dock: keys and terms, from the tables that also make the controls."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QTextBrowser, QVBoxLayout, QWidget

from ...contributions.layers import ANOMALY_RGB, BRAIN_COLOR, DETECTED_COLOR, LESION_COLOR
from ...detection import MapOptions, PostprocessParams
from ...detection.rules import RULES
from ..common.texts import texts
from .shortcuts import NAPARI_SHORTCUTS, SHORTCUTS, Shortcut

_SLIDERS = tuple(row.name for row in PostprocessParams.parameters() if row.slider and row.kind is not bool)
_SWITCHES = tuple(row.name for row in PostprocessParams.parameters() if row.slider and row.kind is bool)

TERMS = {
    "Patient": (
        *("open_more", "patient", "choose_folder", "choose_file", "recent", "sequence", "about"),
        *("image_layer", "declared", "reference_layer", "use_layers"),
        *("strip", "strip_from", "register", "even", "use_brain"),
    ),
    "Model": ("model", "run", "cancel", "progress", "three_views"),
    "Settings": (*_SLIDERS, "threshold_plot", "dice_plot", "undo", "redo", "use_suggested"),
    "Result": (
        *("dice", "volume", "precision", "recall", "lesions_found", "false_components"),
        *("export", "restore", "paint", "erase", "discard"),
    ),
    "Tabs": ("result", "lesion_list", "compare", "side_by_side", "forget", "queue", "more"),
    "More": (
        *("cut", "convention", "save_figure", "figure_width", "figure_dpi"),
        *(*MapOptions.names(), *_SWITCHES, "keep", "reset"),
    ),
}
"""What is on screen, from top to bottom, by the names in the table of texts."""


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
    """Return the help as HTML; its colours are the theme's, but for the swatches.

    Args:
        shortcuts: The bound keys.
    """
    said = texts()
    scores = said["score"].tip.splitlines()
    colors = (
        (LESION_COLOR, "outline: lesion mask of the reference"),
        (DETECTED_COLOR, "area: detected mask, with what you paint"),
        (_hex(ANOMALY_RGB), "anomaly map, the stronger the more anomalous"),
        (BRAIN_COLOR, "outline: brain mask, after stripping the skull"),
    )
    return "".join(
        [
            "<h3>Keys</h3>",
            _table((shortcut.label, shortcut.text) for shortcut in shortcuts),
            "<p>Tab and Shift+Tab go from control to control, Space presses a button, arrows move a slider.</p>",
            "<p>Of napari:</p>",
            _table((shortcut.label, shortcut.text) for shortcut in NAPARI_SHORTCUTS),
            "<h3>Colours</h3>",
            f"<p>{'<br>'.join(f'{_swatch(color)} {escape(text)}' for color, text in colors)}</p>",
            *(
                f"<h3>{heading}</h3>{_table((said[name].title, said[name].tip) for name in names)}"
                for heading, names in TERMS.items()
            ),
            "<h3>Marks in the plot</h3>",
            _table((f"{rule.character} {rule.name}", rule.title) for rule in RULES),
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


def _hex(rgb: Iterable[float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)


def _swatch(color: str) -> str:
    return f"<span style='color: {color}'>■</span>"
