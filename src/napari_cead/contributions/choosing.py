"""Asking which series of a DICOM folder is meant."""

from __future__ import annotations

from pathlib import Path

from ..patients import SeriesError


def choose_series(error: SeriesError) -> Path | None:
    """Let the user choose one of the series that an error names; None if nothing was chosen.

    Args:
        error: What asks; it has to have choices.
    """
    from qtpy.QtWidgets import QApplication, QInputDialog

    texts = [text for _, text in error.choices]
    text, chosen = QInputDialog.getItem(
        QApplication.activeWindow(), "Which series?", f"{error.file}\n\nSeries to open:", texts, 0, False
    )
    return error.choices[texts.index(text)][0] if chosen and text in texts else None
