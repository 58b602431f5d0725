"""The plot under the threshold slider, driven by a real mouse."""

from __future__ import annotations

import re

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QToolTip

from napari_cead.exploring.curves import NOW, ORACLE, DiceCurve, MapHistogram, Mark, marks, raw_curve
from napari_cead.widgets.explore.threshold_plot import ThresholdPlot, axis_end, is_dark

PROCESSED = DiceCurve(np.array([0.0, 0.2, 0.4, 0.6, 0.8]), np.array([0.1, 0.2, 0.5, 0.3, 0.0]))
SUGGESTED = [("validation", 0.6), ("healthy-quantile", 0.2)]


@pytest.fixture
def scan():
    rng = np.random.default_rng(0)
    anomaly_map = rng.beta(2, 6, (6, 40, 40)).astype(np.float32) * 0.8
    lesion = np.zeros(anomaly_map.shape, dtype=bool)
    lesion[2:4, 10:20, 10:20] = True
    anomaly_map[lesion] += 0.2
    return anomaly_map, lesion, np.ones_like(lesion)


@pytest.fixture
def plot(qtbot, scan):
    anomaly_map, lesion, brain = scan
    plot = ThresholdPlot()
    qtbot.addWidget(plot)
    plot.resize(310, 340)
    plot.set_histogram(MapHistogram.of(anomaly_map, brain, lesion))
    plot.set_raw_curve(raw_curve(anomaly_map, lesion))
    plot.set_points(PROCESSED.thresholds, PROCESSED.dice)
    plot.set_marks(marks(0.3, SUGGESTED, PROCESSED))
    plot.show()
    qtbot.waitExposed(plot)
    qtbot.wait(50)
    return plot


@pytest.fixture
def chosen(plot):
    seen: list[float] = []
    plot.threshold_chosen.connect(seen.append)
    return seen


def canvas(plot):
    return plot._view.viewport()


def tip_at(qtbot, plot, where):
    """What is said beside the mouse."""
    for spot in (where + QPoint(2, 1), where):  # it may lie there already, which is no move
        qtbot.mouseMove(canvas(plot), spot)
        QApplication.processEvents()
    return QToolTip.text()


def place(plot, threshold, dice=None):
    """Pixel of a threshold: at a Dice, or in the histogram."""
    item, height = (plot._counts, plot._top / 2) if dice is None else (plot._dice, dice)
    return plot._view.mapFromScene(item.getViewBox().mapViewToScene(QPointF(threshold, height)))


def click(qtbot, plot, where):
    qtbot.mouseClick(canvas(plot), Qt.MouseButton.LeftButton, pos=where)


@pytest.mark.parametrize("threshold", [0.05, 0.31, 0.5])
@pytest.mark.parametrize("dice", [None, 0.05])
def test_a_click_chooses_the_threshold_below_the_mouse(plot, chosen, qtbot, threshold, dice):
    click(qtbot, plot, place(plot, threshold, dice))
    assert chosen == [pytest.approx(threshold, abs=0.004)]
    assert chosen[0] == round(chosen[0], 3), "a step of the slider"
    assert plot.current == 0.3, "nothing moves until the slider has followed"


def test_a_drag_chooses_all_the_way_and_stays_in_range(plot, chosen, qtbot):
    start = place(plot, 0.3)
    qtbot.mousePress(canvas(plot), Qt.MouseButton.LeftButton, pos=start)
    for x in range(start.x(), -40, -10):
        qtbot.mouseMove(canvas(plot), QPoint(x, start.y()))
    qtbot.mouseRelease(canvas(plot), Qt.MouseButton.LeftButton, pos=QPoint(-40, start.y()))
    assert len(chosen) >= 8
    assert chosen == sorted(chosen, reverse=True)
    assert chosen[-1] == 0.0
    qtbot.mouseMove(canvas(plot), start)
    assert chosen[-1] == 0.0, "the button is up"


@pytest.mark.parametrize("mark", marks(0.3, SUGGESTED, PROCESSED)[:3], ids=lambda mark: mark.rule)
def test_a_click_beside_a_mark_chooses_exactly_it(plot, chosen, qtbot, mark):
    click(qtbot, plot, place(plot, mark.threshold, mark.dice) + QPoint(3, -2))
    assert chosen == [mark.threshold]


def test_the_marks_are_named_below_with_their_rules_and_can_be_clicked(plot, chosen, qtbot):
    text = re.sub("<[^>]+>|&nbsp;", " ", plot._legend.text())
    for rule, threshold, dice in (
        ("validation", 0.6, 0.3),
        ("healthy-quantile", 0.2, 0.2),
        (ORACLE, 0.4, 0.5),
    ):
        assert rule in text and f"{threshold:.3f}" in text and f"Dice {dice:.3f}" in text
    # The third line of the legend, on its name.
    height = plot._legend.height()
    qtbot.mouseClick(plot._legend, Qt.MouseButton.LeftButton, pos=QPoint(40, height * 5 // 6))
    assert chosen == [0.4]
    qtbot.mouseClick(plot._legend, Qt.MouseButton.LeftButton, pos=QPoint(40, height * 5 // 6))
    assert chosen == [0.4, 0.4], "the slider may have been moved in between"


def test_hovering_tells_what_is_there(plot, qtbot):
    def told(where, pattern):
        qtbot.mouseMove(canvas(plot), where)
        return re.search(pattern, QToolTip.text()) is not None

    qtbot.waitUntil(lambda: told(place(plot, 0.4, 0.5), r"oracle.*0\.400.*0\.500.*optimistic"))
    qtbot.waitUntil(lambda: told(place(plot, 0.1, 0.5), r"set the threshold to 0\.(09|10)\d"))


def test_the_other_buttons_do_nothing(plot, chosen, qtbot):
    for button in (Qt.MouseButton.RightButton, Qt.MouseButton.MiddleButton):
        before = plot._counts.viewRange(), plot._dice.viewRange()
        qtbot.mousePress(canvas(plot), button, pos=place(plot, 0.2))
        qtbot.mouseMove(canvas(plot), place(plot, 0.5))
        qtbot.mouseRelease(canvas(plot), button, pos=place(plot, 0.5))
        assert (plot._counts.viewRange(), plot._dice.viewRange()) == before
    assert chosen == [] and QApplication.activePopupWidget() is None


def test_the_wheel_is_left_to_the_scroll_area_around(plot, chosen):
    before = plot._counts.viewRange(), plot._dice.viewRange()
    middle = canvas(plot).rect().center()
    event = QWheelEvent(
        QPointF(middle),
        QPointF(canvas(plot).mapToGlobal(middle)),
        QPoint(0, -240),
        QPoint(0, -240),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    event.accept()
    QApplication.sendEvent(canvas(plot), event)
    # Qt hands what was not accepted on to the parents, unless a test sent it.
    assert not event.isAccepted()
    assert (plot._counts.viewRange(), plot._dice.viewRange()) == before and chosen == []


def column_of(plot):
    """Columns of the white line in a picture of the plot, and the picture's pixels (h, w, 3)."""
    image = plot.grab().toImage()
    pixels = np.array(
        [[image.pixelColor(x, y).getRgb()[:3] for x in range(image.width())] for y in range(0, 118, 4)]
    )
    return np.flatnonzero((pixels > 225).all(axis=2).mean(axis=0) > 0.7), pixels


def test_the_line_moves_and_nothing_else(plot, qtbot):
    before = plot._counts.viewRange(), plot._dice.viewRange()
    for threshold in (0.1, 0.5):
        plot.set_current(threshold)
        columns, _ = column_of(plot)
        expected = plot._view.mapTo(plot, place(plot, threshold)).x()
        assert len(columns) and abs(columns - expected).max() <= 1
    plot.set_current(0.99 * plot.end)
    assert (plot._counts.viewRange(), plot._dice.viewRange()) == before


def test_the_dot_on_the_curve_waits_for_its_dice(plot):
    assert not plot._now.isVisible(), "the curve has no point at 0.3"
    plot.set_marks((Mark(NOW, 0.4, 0.5),))
    assert plot._now.isVisible() and plot.current == 0.4
    plot.set_current(0.41)
    assert not plot._now.isVisible(), "that Dice was of another threshold"
    plot.set_marks((Mark(NOW, 0.41),))
    assert not plot._now.isVisible()


def test_marks_beside_a_corrected_mask_say_that_they_are_without_corrections(plot, qtbot):
    mark = marks(0.3, SUGGESTED, PROCESSED)[0]
    where = place(plot, mark.threshold, mark.dice)
    assert "uncorrected" not in plot._legend.text() and "corrections" not in tip_at(qtbot, plot, where)
    plot.set_marks(marks(0.3, SUGGESTED, PROCESSED), corrected=True)
    assert plot._legend.text().count(" uncorrected") == 3
    assert "without your corrections" in plot._legend.toolTip()
    assert "without your corrections" in tip_at(qtbot, plot, where)


def test_a_curve_that_is_not_finished_is_dots_and_the_best_mark_has_its_place(plot):
    legend = plot._legend.text()
    plot.clear_points()
    plot.set_marks(marks(0.3, SUGGESTED, None))
    assert plot._legend.text().count("<tr>") == legend.count("<tr>") and "…" in plot._legend.text()
    plot.set_points([0.1, 0.9], [0.2, 0.3], finished=False)
    assert len(plot._unfinished.data) == 2
    assert plot._processed.getData()[0] is None or len(plot._processed.getData()[0]) == 0
    plot.set_points(PROCESSED.thresholds, PROCESSED.dice)
    assert len(plot._unfinished.data) == 0
    assert len(plot._processed.getData()[0]) == len(PROCESSED.thresholds)


def test_the_range_is_that_of_the_model_and_reaches_the_current_threshold(plot):
    plot.set_end(0.5)
    assert plot.end == 0.5 and len(plot._legend.text().split("href")) == 4, (
        "marks beyond are named all the same"
    )
    plot.set_current(0.97)
    assert plot.end == 0.97
    assert plot._counts.viewRange()[0] == pytest.approx([0.0, 0.97])
    assert plot._dice.viewRange()[0] == pytest.approx(plot._counts.viewRange()[0])
    plot.set_current(0.2)
    plot.clear()
    assert plot.end == 0.97, "it does not jump when a map goes"
    plot.set_end(0.5, anew=True)
    assert plot.end == 0.5


@pytest.mark.parametrize(
    ("suggested", "end"), [((), 1.0), ((0.0098,), 0.1), ((0.06, 0.075), 0.5), ((0.27,), 1.0), ((0.98,), 1.0)]
)
def test_the_axis_has_room_for_three_times_what_a_model_suggests(suggested, end):
    assert axis_end(suggested) == end


@pytest.mark.parametrize("dark", [True, False])
def test_without_a_reference_there_is_no_dice(plot, scan, chosen, qtbot, dark):
    anomaly_map, _, brain = scan
    plot.set_theme(dark)
    height = plot._counts.getViewBox().height()
    plot.set_histogram(MapHistogram.of(anomaly_map, brain))
    plot.set_raw_curve(None)
    plot.set_marks(marks(0.3, SUGGESTED, None))
    qtbot.wait(20)
    assert not plot.has_dice
    assert plot._counts.getViewBox().height() > 1.5 * height, "the histogram takes the room"
    assert "lesion" not in plot._key.text() and "Dice" not in plot._legend.text()
    click(qtbot, plot, place(plot, 0.5))
    assert chosen == [pytest.approx(0.5, abs=0.004)]
    plot.set_raw_curve(raw_curve(anomaly_map, scan[1]))
    qtbot.wait(20)
    assert plot.has_dice and plot._counts.getViewBox().height() == pytest.approx(height, abs=2)


def test_nothing_is_shown_after_clear(plot, chosen, qtbot):
    plot.clear()
    assert "href" not in plot._legend.text() and not plot.has_dice
    assert all(
        len(curve.getData()[0] if curve.getData()[0] is not None else ()) == 0
        for curve in (plot._healthy, plot._lesion, plot._raw, plot._processed)
    )
    click(qtbot, plot, place(plot, 0.5))
    assert chosen == [pytest.approx(0.5, abs=0.006)]


def test_text_can_be_read_in_both_themes(plot, qtbot):
    assert is_dark("dark") and not is_dark("light")
    for dark in (True, False):
        plot.set_theme(dark)
        qtbot.wait(20)
        _, pixels = column_of(plot)
        background = np.median(pixels.reshape(-1, 3), axis=0)
        assert (background.max() < 80) == dark
        contrast = abs(pixels.astype(int) - background).max(axis=2)
        left = contrast[:, :45]
        assert left.max() > 100, "the axis and its numbers stand out"


def test_painting_can_be_suspended(plot, qtbot):
    frozen = plot.grab().toImage()
    assert frozen == plot.grab().toImage()
    painted = []
    original = plot._view.paintEvent
    plot._view.paintEvent = lambda event: (painted.append(1), original(event))[1]
    plot.setUpdatesEnabled(False)
    plot.set_current(0.5)
    qtbot.wait(30)
    assert painted == []
    plot.setUpdatesEnabled(True)
    qtbot.waitUntil(lambda: bool(painted))
    assert plot.grab().toImage() != frozen
