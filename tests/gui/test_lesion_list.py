"""The lesion list, driven by a real mouse and keyboard."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QStyleOptionHeader, QWidget

from napari_cead.exploring.lesions import DetectionRow, LesionRow, LesionTable
from napari_cead.widgets.explore.lesion_list import LesionList

REFERENCE = (
    LesionRow(2, 1200.0, True, 300.0, (5, 50, 60)),
    LesionRow(1, 90.4, False, 0.0, (9, 20, 30)),
    LesionRow(3, 8.0, True, 8.0, (2, 70, 10)),
)
DETECTED = (
    DetectionRow(1, 500.0, 0.31, True, (5, 52, 61)),
    DetectionRow(2, 40.0, 0.75, False, (7, 90, 90)),
)
TABLE = LesionTable(REFERENCE, DETECTED, None)


@pytest.fixture
def lesions(qtbot):
    widget = LesionList()
    qtbot.addWidget(widget)
    widget.resize(310, 220)
    widget.set_rows(TABLE)
    widget.show()
    qtbot.waitExposed(widget)
    widget.activateWindow()  # without a window manager no window is active by itself
    return widget


@pytest.fixture
def jumps(lesions):
    seen: list[tuple[int, int, int]] = []
    lesions.jumped.connect(lambda *position: seen.append(position))
    return seen


def texts(table):
    model = table.model
    return [
        [model.index(row, column).data() for column in range(model.columnCount())]
        for row in range(model.rowCount())
    ]


def click(qtbot, table, row, column=1):
    where = table.view.visualRect(table.model.index(row, column)).center()
    qtbot.mouseClick(table.view.viewport(), Qt.MouseButton.LeftButton, pos=where)


def click_header(qtbot, table, column):
    header = table.view.horizontalHeader()
    x = header.sectionViewportPosition(column) + header.sectionSize(column) // 2
    where = header.rect().center()
    where.setX(x)
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=where)


def test_the_tables_say_in_words_what_was_found(lesions):
    assert texts(lesions.reference) == [
        ["2", "1.200", "✓ found", "0.300", "25"],
        ["1", "0.090", "✗ missed", "0.000", "0"],
        ["3", "0.008", "✓ found", "0.008", "100"],
    ]
    assert texts(lesions.detected) == [
        ["1", "0.500", "0.310", "✓ true", "5"],
        ["2", "0.040", "0.750", "✗ false", "7"],
    ]
    assert [lesions.tabs.tabText(index) for index in (0, 1)] == ["Reference 3", "Detected 2"]
    headers = [lesions.reference.model.headerData(index, Qt.Orientation.Horizontal) for index in range(5)]
    assert headers == ["#", "Volume\nmL", "Found", "Overlap\nmL", "Overlap\n%"]


def test_no_text_is_cut_in_a_narrow_dock(lesions):
    for table in (lesions.reference, lesions.detected):
        lesions.tabs.setCurrentWidget(table)
        for column in range(table.model.columnCount()):
            for row in range(table.model.rowCount()):
                index = table.model.index(row, column)
                needed = table.view.fontMetrics().horizontalAdvance(index.data())
                assert needed <= table.view.columnWidth(column) - 4
        assert not table.view.horizontalScrollBar().isVisible()


def test_a_click_on_a_row_jumps_there_each_time(lesions, jumps, qtbot):
    click(qtbot, lesions.reference, 1)
    assert jumps == [(9, 20, 30)]
    click(qtbot, lesions.reference, 1, column=3)
    assert jumps == [(9, 20, 30)] * 2, "the viewer may have been moved in between"
    click(qtbot, lesions.reference, 0)
    assert jumps[2:] == [(5, 50, 60)]
    assert lesions.selected == REFERENCE[0]


def test_the_first_click_ever_jumps_once(lesions, jumps, qtbot):
    click(qtbot, lesions.reference, 0)
    assert jumps == [(5, 50, 60)]


def test_arrows_and_enter_work(lesions, jumps, qtbot):
    view = lesions.reference.view
    view.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.waitUntil(view.hasFocus)
    assert jumps == [], "to come along with Tab goes nowhere"
    qtbot.keyClick(view, Qt.Key.Key_Return)
    qtbot.keyClick(view, Qt.Key.Key_Down)
    qtbot.keyClick(view, Qt.Key.Key_Down)
    qtbot.keyClick(view, Qt.Key.Key_Enter)
    qtbot.keyClick(view, Qt.Key.Key_Up)
    assert jumps == [(5, 50, 60), (9, 20, 30), (2, 70, 10), (2, 70, 10), (9, 20, 30)]


def test_tab_leaves_the_table(lesions, qtbot):
    after = QWidget(lesions)
    after.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    after.show()
    view = lesions.reference.view
    view.setFocus()
    qtbot.waitUntil(view.hasFocus)
    qtbot.keyClick(view, Qt.Key.Key_Tab)
    assert not view.hasFocus()


def test_next_and_previous_go_around_in_the_order_shown(lesions, jumps, qtbot):
    for _ in range(4):
        lesions.next()
    assert jumps == [(5, 50, 60), (9, 20, 30), (2, 70, 10), (5, 50, 60)]
    lesions.previous()
    assert jumps[-1] == (2, 70, 10)
    click_header(qtbot, lesions.reference, 0)
    jumps.clear()
    first = lesions.reference.model.rows[0]
    while lesions.selected != first:
        lesions.next()
    lesions.next()
    assert jumps[-1] == lesions.reference.model.rows[1].position
    lesions.tabs.setCurrentIndex(1)
    lesions.previous()
    assert jumps[-1] == DETECTED[1].position, "from nowhere back is the last"


def test_the_only_row_is_jumped_to_again(lesions, jumps):
    lesions.set_rows(LesionTable(REFERENCE[:1], (), None))
    lesions.next()
    lesions.next()
    assert jumps == [(5, 50, 60)] * 2


def test_headers_sort_by_number_and_the_selection_moves_along(lesions, jumps, qtbot):
    click(qtbot, lesions.reference, 0)
    jumps.clear()
    for column, values in ((1, [8.0, 90.4, 1200.0]), (4, [0.0, 25.0, 100.0]), (2, [0, 1, 1])):
        orders = []
        for _ in range(2):
            click_header(qtbot, lesions.reference, column)
            value = lesions.reference.model.columns[column].value
            orders.append([value(row) for row in lesions.reference.model.rows])
            assert lesions.selected == REFERENCE[0]
        assert sorted(orders) == sorted([values, values[::-1]])
    assert jumps == [], "sorting goes nowhere"


def test_new_rows_keep_order_and_selection_and_do_not_jump(lesions, jumps, qtbot):
    click_header(qtbot, lesions.reference, 1)  # descending by volume to begin with: now ascending
    click(qtbot, lesions.reference, 1)
    jumps.clear()
    better = LesionRow(1, 90.4, True, 45.0, (9, 20, 30))
    lesions.set_rows(LesionTable((REFERENCE[0], better, REFERENCE[2]), DETECTED, None))
    assert lesions.selected == better
    assert [row.id for row in lesions.reference.model.rows] == [3, 1, 2]
    assert jumps == []


def test_a_component_that_moved_a_little_stays_selected_one_that_went_does_not(lesions, jumps, qtbot):
    lesions.tabs.setCurrentIndex(1)
    click(qtbot, lesions.detected, 1)
    jumps.clear()
    moved = DetectionRow(7, 33.0, 0.8, False, (7, 88, 91))
    lesions.set_rows(LesionTable(REFERENCE, (DETECTED[0], moved), None))
    assert lesions.selected == moved
    lesions.set_rows(LesionTable(REFERENCE, (DETECTED[0],), None))
    assert lesions.selected is None and jumps == []


def test_empty_tables_say_why(lesions, jumps):
    def shown():
        pages = (lesions.reference, lesions.detected)
        return [page.empty.text() if page.currentWidget() is page.empty else "rows" for page in pages]

    assert shown() == ["rows", "rows"]
    lesions.set_rows(LesionTable(None, DETECTED, None))
    assert shown() == ["no lesion mask", "rows"]
    assert lesions.tabs.tabText(0) == "Reference –"
    lesions.set_rows(LesionTable((), (), None))
    assert shown() == ["the lesion mask is empty", "nothing detected"]
    assert [lesions.tabs.tabText(index) for index in (0, 1)] == ["Reference 0", "Detected 0"]
    lesions.set_rows(None)
    assert shown() == ["nothing detected yet", "nothing detected yet"]
    lesions.next()
    lesions.previous()
    assert jumps == []


def test_without_a_reference_components_are_neither_true_nor_false(lesions):
    lesions.set_rows(LesionTable(None, (DetectionRow(1, 5.0, 0.5, None, (0, 0, 0)),), None))
    assert texts(lesions.detected)[0][3] == "–"


def test_the_arrow_of_a_title_points_down_while_the_largest_comes_first(lesions, qtbot):
    header, table = lesions.reference.view.horizontalHeader(), lesions.reference
    arrows = QStyleOptionHeader.SortIndicator

    def arrow():
        option = QStyleOptionHeader()
        header.initStyleOption(option)
        header.initStyleOptionForIndex(option, 1)
        return option.sortIndicator

    assert texts(table)[0][1] == "1.200" and arrow() == arrows.SortDown
    before = header.grab().toImage()
    click_header(qtbot, table, 1)
    assert texts(table)[0][1] == "0.008" and arrow() == arrows.SortUp
    assert header.grab().toImage() != before
