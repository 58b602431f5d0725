"""Comparing analyses of one patient: the table, and side by side in the viewer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qtpy.QtCore import QObject, QTimer

from ...exploring import Analysis, Key, Session
from ...wording import number
from ..canvas.layer_view import LayerView
from .compare_panel import ComparePanel
from .curve_and_figures import Insight
from .figures_view import PENDING
from .live import LiveMask


class Comparison(QObject):
    """Keeps the table of analyses and the tiles in the viewer up to date with the session.

    Attributes:
        settle: Called before another analysis becomes the current one, to apply moved sliders first.

    Args:
        session: The session.
        layers: Its layers.
        live: The sliders.
        panel: The table.
        insight: Source of the figures.
        parent: Owner.
    """

    def __init__(
        self,
        session: Session,
        layers: LayerView,
        live: LiveMask,
        panel: ComparePanel,
        insight: Insight,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self.session, self.layers, self.live = session, layers, live
        self.panel, self.insight = panel, insight
        self.settle: Callable[[], None] = live.settle_now
        panel.selected.connect(self.select)
        panel.forgotten.connect(self.forget)
        panel.shown.connect(self._shown)
        # A layer is being deleted, maybe the first of many: tidy up when that is over.
        self._untiled = QTimer(self, singleShot=True, interval=0)
        self._untiled.timeout.connect(self.leave)
        layers.on_untiled = self._untiled.start

    @property
    def active(self) -> bool:
        """Whether analyses are shown side by side."""
        return self.panel.side_by_side.isChecked()

    def select(self, key: Key) -> None:
        """Give the sliders to an analysis."""
        analysis = self.session.analysis
        if analysis is not None and key != analysis.key:
            self.settle()
            self.session.select(key)

    def forget(self, key: Key) -> None:
        """Drop an analysis; if the sliders belong to it, they go to its neighbour."""
        keys = [one.key for one in self.session.analyses]
        if key not in keys or len(keys) < 2:
            return
        analysis = self.session.analysis
        if analysis is not None and key == analysis.key:
            place = keys.index(key)
            self.select(keys[place - 1] if place else keys[1])
        self.session.forget(key)

    def toggle(self) -> None:
        """Switch between side by side and one at a time."""
        if self.panel.side_by_side.isEnabled() and not self.panel.laying_out:
            self.panel.side_by_side.toggle()

    def leave(self) -> None:
        """Show one at a time again: there is another patient, or a tile was deleted."""
        self.panel.side_by_side.setChecked(False)

    def pause(self) -> None:
        """Show one at a time during a run; `show` ends that."""
        self.layers.one_by_one(None)

    def show(self, analysis: Analysis) -> None:
        """Show an analysis that is new, has changed, or was selected; if that fails, no picture of another one."""
        try:
            self._picture(analysis)
        except Exception:
            self.layers.drop_derived()
            self._untiled.start()
            raise

    def _picture(self, analysis: Analysis) -> None:
        if not self.active:
            self.layers.show_analysis(analysis)
            return
        chosen = self.panel.table.chosen
        keys = tuple(one.key for one in chosen)
        tiles = self.layers.tiles
        if tiles is not None and tiles.keys == keys and analysis.key in keys:
            self.layers.show_analysis(analysis)
        else:
            self._tile(self.session.analyses)

    def refresh(self, analyses: Sequence[Analysis] | None = None) -> None:
        """Update the table, and the tiles if analyses were added or removed."""
        now = self.session.analyses
        current = None if self.session.analysis is None else self.session.analysis.key
        self.insight.forget({analysis.key for analysis in now})
        known = {one.key: figures for one in now if (figures := self.insight.figures_of(one)) is not None}
        self.panel.set_rows(now, known, current)
        if analyses is not None and self.active and current is not None:
            self._tile(now)
        self.write_dice()

    def _shown(self, on: bool) -> None:
        self.settle()  # layers come and go: what was painted or moved must have arrived
        analysis = self.session.analysis
        with self.panel.working():
            if on:
                self._tile(self.session.analyses)
            else:
                self.layers.one_by_one(analysis)
        self.write_dice()

    def write_dice(self, settled: bool | None = None) -> None:
        """Write the Dice of the volume into the title of every tile.

        Args:
            settled: Whether the mask of the volume matches the sliders; None: as the session says.
        """
        tiles, current = self.layers.tiles, self.session.analysis
        if tiles is None:
            return
        behind = not (self.session.settled if settled is None else settled)
        for one in self.session.analyses:
            figures = self.insight.figures_of(one)
            if one.reconstruction.patient.lesion_mask is None:
                dice = ""
            elif figures is None or (behind and one is current):
                dice = PENDING
            else:
                dice = number(figures.dice)
            tiles.write_dice(one.key, dice)

    def _tile(self, analyses: Sequence[Analysis]) -> None:
        current = self.session.analysis
        if current is None:
            return
        left_out = {one.key for one in analyses} - {one.key for one in self.panel.table.chosen}
        wanted = [one for one in analyses if one.key not in left_out or one.key == current.key]
        if len(wanted) > 1:
            self.layers.side_by_side(wanted, current.key)
        else:
            self.panel.side_by_side.setChecked(False)
            self.layers.one_by_one(current)
