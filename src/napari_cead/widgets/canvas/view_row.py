"""The row of the Explore dock with the direction of view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QButtonGroup, QComboBox, QGridLayout, QPushButton, QToolButton, QWidget

from ..common.anatomy import CONVENTIONS, CUTS, Cut
from ..common.dock_lifetime import when_gone
from ..common.preferences import Preferences, on_changed, prefer_convention
from ..common.texts import CONVENTION_TITLES, TEXTS, tip
from .orientation import Orientation


class ViewRow(QWidget):
    """Buttons for the three cuts, the convention, and the help.

    Attributes:
        cuts: The buttons by the name of their cut; the displayed one is down.
        convention: The convention; choosing one keeps it in napari's settings, and a change there arrives here.
        help: Shows the help.

    Args:
        orientation: Turns the display.
        show_help: Shows the help.
        owner: The dock's widget. When its dock is closed, changes of the settings are no longer followed.
    """

    def __init__(self, orientation: Orientation, show_help: Callable[[], object], owner: QWidget) -> None:
        super().__init__()
        self._orientation = orientation
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        self.cuts: dict[Cut, QPushButton] = {}
        self._group = QButtonGroup(self)
        for cut in CUTS:
            button = QPushButton(cut.capitalize(), checkable=True)
            button.setToolTip(tip("cut"))
            button.setAccessibleName(f"{TEXTS['cut'].title}: {cut}")
            button.clicked.connect(lambda _, cut=cut: self._cut_chosen(cut))
            self._group.addButton(button)
            self.cuts[cut] = button
            grid.addWidget(button, 0, len(self.cuts) - 1)
        self.convention = QComboBox()
        for convention in CONVENTIONS:
            self.convention.addItem(CONVENTION_TITLES[convention], convention)
        self.convention.setToolTip(tip("convention"))
        self.convention.setAccessibleName(TEXTS["convention"].title)
        grid.addWidget(self.convention, 1, 0, 1, len(CUTS) + 1)
        self.help = QToolButton(text=TEXTS["help"].title)
        self.help.setToolTip(tip("help"))
        self.help.setAccessibleName(tip("help"))
        self.help.clicked.connect(lambda: show_help())
        grid.addWidget(self.help, 0, len(CUTS))
        self._show_convention(orientation.convention)
        self._show_cut(orientation.cut)
        self.convention.currentIndexChanged.connect(self._convention_chosen)
        orientation.on_cut = self._show_cut
        when_gone(owner, on_changed(self._preferred), with_window=True)  # the settings outlive every dock

    def _cut_chosen(self, cut: Cut) -> None:
        self._orientation.show_cut(cut)
        self._show_cut(self._orientation.cut)

    def _show_cut(self, cut: Cut | None) -> None:
        self._group.setExclusive(False)  # none is down while the view is 3-D or lies on its side
        for name, button in self.cuts.items():
            button.setChecked(name == cut)
        self._group.setExclusive(cut is not None)

    def _convention_chosen(self, index: int) -> None:
        chosen = CONVENTIONS[index]
        self._orientation.convention = chosen
        prefer_convention(chosen)

    def _preferred(self, preferences: Preferences) -> None:
        if preferences.convention != self._orientation.convention:
            self._orientation.convention = preferences.convention
            self._show_convention(preferences.convention)

    def _show_convention(self, convention: Any) -> None:
        blocker = QSignalBlocker(self.convention)
        self.convention.setCurrentIndex(CONVENTIONS.index(convention))
        blocker.unblock()
