"""Computations beside the live mask: histogram, Dice curves, figures of the volume, lesion list."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from ...detection import PostprocessParams
from ...errors import Cancelled
from ...exploring import Analysis, Figures, Key, LesionTable, MapHistogram, Session
from ...exploring.curves import DiceCurve, Mark, curve_settings, marks, processed_curve, raw_curve
from ...exploring.network_free import better_without
from ...progress import Stop
from ..common.jobs import on_main
from ..common.latest import Latest
from .lesion_list import LesionList
from .threshold_plot import ThresholdPlot, axis_end

AT_ONCE_MS = 0
FIGURES_AFTER_MS = 120
CURVE_AFTER_MS = 350
"""Pauses before computations: a curve uses all cores, so the slider must rest first."""

POINTS_EVERY_S = 0.1
"""Interval at which a growing curve is drawn: each drawing costs the window a frame."""


class Insight(QObject):
    """Keeps plot, figures and lesion list up to date with the current analysis; all work runs in threads.

    Signals:
        figures_ready: The analysis whose figures of the volume are known now.
        remark_ready: An analysis, and a remark on its map beside those without a network.

    Attributes:
        figures: Known and valid figures of the volume, by analysis.

    Args:
        session: The session.
        plot: The plot of the histogram and the curves.
        lesions: The lesion list.
        parent: Owner.
    """

    figures_ready = Signal(object)
    remark_ready = Signal(object, str)

    def __init__(self, session: Session, plot: ThresholdPlot, lesions: LesionList, parent: QObject) -> None:
        super().__init__(parent)
        self.session, self.plot, self.lesions = session, plot, lesions
        self.figures: dict[Key, Figures] = {}
        self._measured: dict[Key, NDArray[np.bool_]] = {}
        self._analysis: Analysis | None = None
        self._listed: Analysis | None = None
        self._held = False
        self._known: dict[float, float] = {}
        self._curve: DiceCurve | None = None
        self._marked: tuple[tuple[Mark, ...], bool] | None = None
        self._map_work = Latest(self, AT_ONCE_MS)
        self._curve_work = Latest(self, CURVE_AFTER_MS)
        self._figure_work = Latest(self, FIGURES_AFTER_MS)
        self._remark_work = Latest(self, FIGURES_AFTER_MS)
        self._tell_points = on_main(self._points_arrived)

    @property
    def busy(self) -> bool:
        """Whether something is still being computed."""
        return any(work.busy for work in self._works)

    def stop(self) -> None:
        """Stop all computations."""
        for work in self._works:
            work.stop()

    @property
    def _works(self) -> tuple[Latest, ...]:
        return self._map_work, self._curve_work, self._figure_work, self._remark_work

    def hold(self) -> None:
        """Leave the cores to a moving slider until `follow` or `go_on`."""
        self._held = True
        self._curve_work.stop()
        self._figure_work.stop()

    def go_on(self) -> None:
        """Continue after `hold` without a change: the slider returned to its place."""
        if self._held:
            self.follow(self.session.analysis)

    def show_wanted(self, params: PostprocessParams) -> None:
        """Move the line of the current threshold."""
        self.plot.set_current(params.threshold)

    def follow(self, analysis: Analysis | None) -> None:
        """Follow an analysis whose map, reference, mask or settings may have changed; None: there is none."""
        before, self._analysis = self._analysis, analysis
        self._held = False
        if analysis is None:
            self.stop()
            self._listed = None
            self._known, self._curve = {}, None
            patient = self.session.patient
            reference = None if patient is None else patient.lesion_mask
            self.plot.clear(dice=reference is not None and bool(reference.any()))
            self.lesions.set_rows(None)
            return
        self.plot.set_end(axis_end(one.params.threshold for one in analysis.suggestions))
        reference = analysis.reconstruction.patient.lesion_mask
        old_reference = None if before is None else before.reconstruction.patient.lesion_mask
        same_map = before is not None and before.anomaly_map is analysis.anomaly_map
        same_map = same_map and old_reference is reference
        if not same_map:
            self.plot.await_map(dice=reference is not None and bool(reference.any()))
            self._map_work.ask(
                lambda stop: _look(analysis, reference), lambda found: self._show_map(analysis, *found)
            )
        same_settings = before is not None and curve_settings(before.params) == curve_settings(
            analysis.params
        )
        if not (same_map and same_settings):
            self._known, self._curve = {}, None
            self.plot.clear_points()
        self.plot.set_current(analysis.params.threshold)
        self._show_marks()
        # A curve that is there gets the point of the current threshold: its best one must be no worse.
        if reference is not None and (
            self._curve is None or self._curve.at(analysis.params.threshold) is None
        ):
            self._ask_for_curve(analysis, reference)
        if old_reference is not reference:
            self.figures = {}
        elif before is None or (before.key == analysis.key and before.mask is not analysis.mask):
            self.figures.pop(analysis.key, None)
        missing = [one for one in self.session.analyses if one.key not in self.figures]
        if missing or self._listed is None or not _same_table(self._listed, analysis):
            self._figure_work.ask(
                lambda stop: _measure(analysis, missing, stop),
                lambda found: self._show_figures(analysis, missing, *found),
            )

    def figures_of(self, analysis: Analysis) -> Figures | None:
        """Return the figures of the volume if they are known for the current mask of the analysis."""
        known = self._measured.get(analysis.key) is analysis.mask
        return self.figures.get(analysis.key) if known else None

    def forget(self, keys: set[Key]) -> None:
        """Drop the figures of all analyses but ``keys``."""
        self.figures = {key: figures for key, figures in self.figures.items() if key in keys}

    def _ask_for_curve(self, analysis: Analysis, reference: NDArray[np.bool_]) -> None:
        shown = [analysis.params.threshold, *(item.params.threshold for item in analysis.suggestions)]
        known, tell = self._known, self._tell_points

        def work(stop: Stop) -> DiceCurve | None:
            shown_at = 0.0

            def points(thresholds: Any, dice: Any) -> None:
                nonlocal shown_at
                known.update(zip(thresholds.tolist(), dice.tolist(), strict=True))
                if time.monotonic() - shown_at > POINTS_EVERY_S:
                    shown_at = time.monotonic()
                    tell(analysis, thresholds, dice)

            return processed_curve(
                analysis.anomaly_map,
                reference,
                analysis.params,
                analysis.reconstruction.patient.spacing,
                brain=analysis.reconstruction.stack.brain,
                also=shown,
                known=known,
                should_stop=stop,
                on_points=points,
            )

        self._curve_work.ask(work, lambda curve: self._curve_done(analysis, curve))

    def _points_arrived(self, analysis: Analysis, thresholds: Any, dice: Any) -> None:
        if self._same_curve(analysis):
            self.plot.set_points(thresholds, dice, finished=False)
            self._show_marks(DiceCurve(thresholds, dice))  # suggestions come first, the best one last

    def _curve_done(self, analysis: Analysis, curve: DiceCurve | None) -> None:
        if curve is not None and self._same_curve(analysis):
            self._curve = curve
            self.plot.set_points(curve.thresholds, curve.dice)
            self._show_marks()

    def _same_curve(self, analysis: Analysis) -> bool:
        now = self._analysis
        return (
            now is not None
            and now.anomaly_map is analysis.anomaly_map
            and curve_settings(now.params) == curve_settings(analysis.params)
        )

    def _show_marks(self, growing: DiceCurve | None = None) -> None:
        analysis = self._analysis
        if analysis is None:
            return
        suggested = [(item.rule, item.params.threshold) for item in analysis.suggestions]
        curve = self._curve or growing
        found = marks(analysis.params.threshold, suggested, curve, finished=self._curve is not None)
        shown = found, analysis.corrections is not None
        if growing is None or shown != self._marked:  # it grows ten times a second
            self._marked = shown
            self.plot.set_marks(found, corrected=shown[1])

    def _show_map(self, analysis: Analysis, histogram: MapHistogram, raw: DiceCurve | None) -> None:
        if self._same_map(analysis):
            self.plot.set_histogram(histogram)
            self.plot.set_raw_curve(raw)
            # It takes two maps of the volume: last, when mask and plot are there.
            self._remark_work.ask(
                lambda stop: better_without(analysis), lambda remark: self._show_remark(analysis, remark)
            )

    def _show_remark(self, analysis: Analysis, remark: str | None) -> None:
        if self._same_map(analysis):
            self.remark_ready.emit(analysis, remark or "")

    def _same_map(self, analysis: Analysis) -> bool:
        return self._analysis is not None and self._analysis.anomaly_map is analysis.anomaly_map

    def _show_figures(
        self,
        analysis: Analysis,
        others: Sequence[Analysis],
        table: LesionTable,
        figures: dict[Key, Figures],
    ) -> None:
        now = self.session.analysis
        if now is None or not _same_table(now, analysis):
            return
        self.figures.update(figures)
        self._measured.update({one.key: one.mask for one in (*others, analysis)})
        self.lesions.set_rows(table)
        self._listed = analysis
        self.figures_ready.emit(analysis)


def _look(analysis: Analysis, reference: NDArray[np.bool_] | None) -> tuple[MapHistogram, DiceCurve | None]:
    brain = analysis.reconstruction.stack.brain
    return (
        MapHistogram.of(analysis.anomaly_map, brain, reference),
        raw_curve(analysis.anomaly_map, reference),
    )


def _measure(
    current: Analysis, missing: Sequence[Analysis], stop: Stop
) -> tuple[LesionTable, dict[Key, Figures]]:
    """List the lesions of the current analysis, and measure it and all others whose figures are missing."""
    table = _table(current)
    figures = {current.key: _figures(current, table)}
    for analysis in missing:
        if stop():
            raise Cancelled
        if analysis.key not in figures:
            figures[analysis.key] = _figures(analysis, _table(analysis))
    return table, figures


def _same_table(one: Analysis, other: Analysis) -> bool:
    """Whether two states have the same lesions and components."""
    references = [state.reconstruction.patient.lesion_mask for state in (one, other)]
    same_masks = one.mask is other.mask and references[0] is references[1]
    return one.key == other.key and same_masks and one.anomaly_map is other.anomaly_map


def _table(analysis: Analysis) -> LesionTable:
    patient = analysis.reconstruction.patient
    return LesionTable.of(analysis.mask, patient.lesion_mask, analysis.anomaly_map, patient.spacing)


def _figures(analysis: Analysis, table: LesionTable) -> Figures:
    patient = analysis.reconstruction.patient
    counts = None if analysis.counts is None else analysis.counts.total
    return Figures.of_volume(
        analysis.mask, patient.lesion_mask, patient.spacing, counts=counts, match=table.match
    )
