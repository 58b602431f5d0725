"""The table of the analyses of a patient, and the switch that shows them side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QApplication, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ...exploring import Analysis, Figures, Key
from ...wording import UNDEFINED, number
from ..common.row_table import RIGHT, RowColumn, RowModel, RowTable
from ..common.texts import tip, title

EMPTY = "Run two models, or one with two scores: their results stand here and can be shown side by side."
LAYING_OUT = "Making the layers…"


class ComparisonTable(RowModel):
    """Analyses as rows; those ticked in the first column are shown side by side."""

    def __init__(self) -> None:
        self._figures: Mapping[Key, Figures] = {}
        self._left_out: set[Key] = set()
        self._current: Key | None = None
        columns = (
            RowColumn("Model, score", self._name, tip("compare")),
            RowColumn(
                "Thr.", lambda one: f"{one.params.threshold:.3f}", "Threshold", width="0.000", align=RIGHT
            ),
            self._figure("Dice", lambda figures: number(figures.dice), tip("dice")),
            self._figure(
                "Prec.", lambda figures: number(figures.precision), f"Precision: {tip('precision')}"
            ),
            self._figure("Recall", lambda figures: number(figures.recall), tip("recall")),
            self._figure(
                "Found",
                lambda figures: found(figures).replace(" of ", "/"),
                f"{title('lesions_found')}: {tip('lesions_found')}",
                "00/00",
            ),
            self._figure(
                "False",
                lambda figures: number(figures.false_components, 0),
                f"{title('false_components')}: {tip('false_components')}",
                "000",
            ),
            self._figure("mL", lambda figures: f"{figures.volume_ml:.2f}", tip("volume"), "000.00"),
        )
        super().__init__(columns, key=lambda analysis: analysis.key)

    @property
    def chosen(self) -> tuple[Analysis, ...]:
        """The analyses whose box is ticked."""
        return tuple(filter(self.tick, self.rows))

    def know(self, figures: Mapping[Key, Figures], current: Key | None) -> None:
        """Take what the rows that are set next show.

        Args:
            figures: Figures of the volume, of those that are known yet.
            current: The analysis that the sliders belong to.
        """
        self._figures, self._current = dict(figures), current

    def tick(self, row: Analysis) -> bool:
        """Return whether an analysis is shown side by side with others."""
        return row.key not in self._left_out

    def set_tick(self, row: Analysis, on: bool) -> None:
        """Show an analysis side by side with others, or not."""
        (self._left_out.discard if on else self._left_out.add)(row.key)

    def tip(self, row: Analysis, column: RowColumn) -> str:
        """Return what made an analysis."""
        current = " (the sliders belong to it)" if row.key == self._current else ""
        return f"{' · '.join(row.key)}, settings: {row.rule}{current}"

    def _name(self, row: Analysis) -> str:
        mark = "▸ " if row.key == self._current else ""
        painted = " ✎" if row.corrections is not None else ""
        name = "\n".join(row.key)  # in two lines: none of the figures is pushed out of sight
        return f"{mark}{name}{painted}"

    def _figure(
        self, heading: str, write: Callable[[Figures], str], tip: str, width: str = "0.000"
    ) -> RowColumn:
        def text(row: Analysis) -> str:
            figures = self._figures.get(row.key)
            return "…" if figures is None else write(figures)

        return RowColumn(heading, text, tip, width=width, align=RIGHT)


class ComparePanel(QWidget):
    """Analyses of the patient in a table: choose which one the sliders belong to, and which to see side by side.

    Signals:
        selected: (model, score) of the row that was chosen.
        forgotten: (model, score) of the row to remove.
        shown: Whether the analyses are to be shown side by side, and again when the ticked ones changed.
    """

    selected = Signal(object)
    forgotten = Signal(object)
    shown = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.table = ComparisonTable()
        self.view = RowTable(self.table, "Analyses of this patient", several=False, wrap=True)
        self.view.setMinimumHeight(110)
        self.view.setToolTip(tip("compare"))
        self.empty = QLabel(EMPTY)
        self.empty.setWordWrap(True)
        self.side_by_side = QPushButton(title("side_by_side"))
        self.side_by_side.setCheckable(True)
        self.side_by_side.setToolTip(tip("side_by_side"))
        self.forget = QPushButton(title("forget"))
        self.forget.setToolTip(tip("forget"))
        buttons = QHBoxLayout()
        buttons.addWidget(self.side_by_side, 2)
        buttons.addWidget(self.forget, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 0)
        column.addWidget(self.view)
        column.addWidget(self.empty)  # below the table, which stays where it is when this goes
        column.addLayout(buttons)
        self.view.picked.connect(self._row_chosen)
        self.table.ticked.connect(self._ticked)
        self.side_by_side.toggled.connect(self.shown)
        self.forget.clicked.connect(self._forget_clicked)
        self._deaf = _Deaf(self.side_by_side)
        self._hears_again = QTimer(self, singleShot=True, interval=0)
        self._hears_again.timeout.connect(self._hear_again)
        self.set_rows((), {}, None)

    @property
    def laying_out(self) -> bool:
        """Whether the layers are being made."""
        return self._deaf.working

    def set_rows(
        self, analyses: Sequence[Analysis], figures: Mapping[Key, Figures], current: Key | None
    ) -> None:
        """Show these analyses; see `ComparisonTable.know`."""
        self.table.know(figures, current)
        self.view.show_rows(analyses, None if current is None else [current])
        self.empty.setVisible(len(analyses) < 2)
        self.view.setVisible(bool(analyses))
        self.side_by_side.setEnabled(self.side_by_side.isChecked() or len(self.table.chosen) > 1)
        self.forget.setEnabled(len(analyses) > 1)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Show on the button and by the pointer that the window makes layers, which can take seconds.

        What is pressed on the button meanwhile reaches it afterwards, and does not count.
        """
        button = self.side_by_side
        QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)
        button.setText(LAYING_OUT)
        button.repaint()
        self._deaf.working = True
        try:
            yield
        finally:
            QApplication.restoreOverrideCursor()
            self._hears_again.start()

    def _hear_again(self) -> None:
        QApplication.processEvents()  # what was pressed meanwhile
        self._deaf.working = False
        self.side_by_side.setText(title("side_by_side"))

    def _row_chosen(self) -> None:
        for analysis in self.view.selected_rows:
            self.selected.emit(analysis.key)

    def _ticked(self) -> None:
        enough = len(self.table.chosen) > 1
        self.side_by_side.setEnabled(enough or self.side_by_side.isChecked())
        if self.side_by_side.isChecked():
            if enough:
                self.shown.emit(True)
            else:
                self.side_by_side.setChecked(False)
                self.side_by_side.setEnabled(False)

    def _forget_clicked(self) -> None:
        for analysis in self.view.selected_rows:
            self.forgotten.emit(analysis.key)


class _Deaf(QObject):
    """Keeps presses from a button while its work is done."""

    pressed = (
        QEvent.Type.MouseButtonPress,
        QEvent.Type.MouseButtonRelease,
        QEvent.Type.MouseButtonDblClick,
        QEvent.Type.KeyPress,
        QEvent.Type.KeyRelease,
    )

    def __init__(self, button: QPushButton) -> None:
        super().__init__(button)
        self.working = False
        button.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Drop them."""
        return self.working and event.type() in self.pressed


def found(figures: Figures) -> str:
    """Return the number of found lesions out of all, – without lesions."""
    return UNDEFINED if figures.found is None else f"{figures.found} of {figures.lesions}"
