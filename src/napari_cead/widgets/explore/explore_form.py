"""The controls of the Explore dock and their layout. ``dock.py`` has their behaviour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from magicgui.widgets import ComboBox, FileEdit, Label, ProgressBar, PushButton, create_widget
from napari.layers import Image, Labels
from qtpy.QtCore import QEventLoop, Qt
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QStackedWidget,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from ...detection import MAP_OPTIONS, SCORES
from ...detection.choosing import Suggested
from ...detection.params import PostprocessParams
from ...exploring import DEFAULT_MODEL
from ...patients import SEQUENCES
from ...zoo import PAPER_EXTRA, list_models, missing_models
from ..canvas.figure import DPI, RESOLUTIONS, WIDTH_MM, WIDTHS_MM
from ..common.controls import (
    ElidedLines,
    SettingRow,
    SwitchRow,
    keep_place,
    row,
    scrolled,
    stacked,
    whole_names,
    wrapped,
)
from ..common.messages import Messages
from ..common.model_watch import ModelWatch
from ..common.preferences import preferences
from ..common.preparation_banner import PreparationBanner
from ..common.texts import settings_words, tip, title
from .axis_row import AxisRow
from .compare_panel import ComparePanel
from .figures_view import FiguresView
from .lesion_list import LesionList
from .threshold_plot import ThresholdPlot

NO_PATIENT = "Drop a folder or scan anywhere in this window"
"""Placeholder of the patient's name."""

NARROW = "QPushButton { padding: 4px 6px; min-width: 0; }"
"""Style of buttons of which three have to fit into 300 pixels."""

TOOLTIP = Qt.ItemDataRole.ToolTipRole

AS_NAMED = "as named"
"""Entry of the list of sequences that reads the sequence from the layer's name."""


class ExploreForm(QWidget):
    """Every control of the Explore dock, without behaviour.

    Attributes:
        patient: Folder or file of the patient.
        choose_file: Asks for a file.
        sequence: Sequence to look at.
        about: The open patient; ``hint`` other actions while there is none.
        open_more: Unfolds ``opening``, which holds the controls that open a patient.
        recent: Patients that were opened before.
        banner: The needs of the scan before a run, with buttons for them.
        messages: Messages of napari and the docks.
        image_layer: An image layer open in napari; ``declared`` its sequence, ``reference_layer`` labels to compare
            with. They are in ``layers_open``, visible while there is such a layer.
        use_layers: Opens them.
        model: Name of the model.
        score: Anomaly score.
        run: Starts detection.
        cancel: Stops it.
        progress: Finished slices. Between runs ``state`` names the displayed analysis in the place of both, which are
            ``under_way``.
        model_says: Description of the selected model.
        option_rows: Slider and number box of every map option, by its name.
        rows: Slider and number box of every setting, by its name; ``switches`` has the check boxes.
        plot: Histogram and Dice curves under the threshold.
        undo: Undoes a change of settings or a stroke; ``redo`` repeats it.
        three_views: Shows the three cuts below the canvas; ``save_figure`` asks where to save the canvas as a figure,
            with ``figure_width`` and ``figure_dpi``.
        keep: Whether settings carry over to the next patient.
        reset: Goes back to the defaults with the model's threshold; ``use_suggested`` takes all that the model
            suggests; ``rule`` says where the settings come from.
        dice_label: Dice of the slice and of the volume, as text.
        figures: The other figures.
        volume_label: Detected volume, as text.
        notes: Assumptions of the displayed result.
        paint: Takes napari's brush to the detected mask; ``erase`` its eraser; each is checked while its tool is in
            hand. ``discard`` discards corrections.
        export: Asks for a folder to export to; ``restore`` asks for settings that were exported.
        lesions: The lesion list.
        comparison: The analyses of the patient.
        tabs: Holds figures, lesion list, comparison, queue and ``more``, the rarely needed controls.
    """

    def __init__(self) -> None:
        super().__init__()
        self._build()

    def _build(self) -> None:
        inner = QWidget()
        self.column = column = stacked(inner, margin=4)
        column.setSpacing(4)
        self._build_patient(column)
        self._build_model(column)
        self._build_settings(column)
        self._build_tabs(column)
        column.addStretch(1)
        scroll = scrolled(inner)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        outer = stacked(self)
        outer.setSpacing(0)
        outer.addWidget(scroll)
        # Below the scroll area, so that a message moves nothing; lowest the banner, which stays while messages come.
        self.banner = PreparationBanner()
        self.messages = Messages()
        outer.addWidget(self.messages)
        outer.addWidget(self.banner)
        # Where nothing in a dock asks for all of its height, napari puts a space below.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def _build_patient(self, column: QVBoxLayout) -> None:
        self.about = ElidedLines(2, NO_PATIENT)
        self.open_more = QPushButton(title("open_more"), checkable=True, checked=True)
        self.open_more.setToolTip(tip("open_more"))
        column.addLayout(_beside(self.about, keep_place(self.open_more)))

        self.opening = QWidget()
        grid = QGridLayout(self.opening)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        self.patient = FileEdit(mode="d")
        self.patient.line_edit.native.setPlaceholderText("folder, scan, DICOM#series or zip")
        self.choose_file = PushButton(text=title("choose_file"))
        self.choose_file.native.setToolTip(tip("choose_file"))
        self.patient.native.layout().addWidget(self.choose_file.native)
        self.patient.choose_btn.text = title("choose_folder")
        self.recent = QComboBox()
        self.sequence = ComboBox(choices=())
        self.hint = QLabel()
        self.hint.setWordWrap(True)
        grid.addWidget(self.hint, 0, 0, 1, 3)
        row(grid, title("patient"), self.patient.native, tip("patient"))
        self.recent_label = row(grid, title("recent"), self.recent, tip("recent"))
        self.sequence_label = row(grid, title("sequence"), self.sequence.native, tip("sequence"))

        self.image_layer = create_widget(annotation=Image, options={"nullable": True})
        self.declared = ComboBox(choices=(AS_NAMED, *SEQUENCES))
        self.reference_layer = create_widget(annotation=Labels, options={"nullable": True})
        self.use_layers = PushButton(text=title("use_layers"))
        self.use_layers.native.setToolTip(tip("use_layers"))
        self.layers_open = QWidget()
        layers = QGridLayout(self.layers_open)
        layers.setContentsMargins(0, 0, 0, 0)
        layers.setColumnStretch(1, 1)
        row(layers, title("image_layer"), self.image_layer.native, tip("image_layer"))
        row(layers, title("declared"), self.declared.native, tip("declared"))
        row(layers, title("reference_layer"), self.reference_layer.native, tip("reference_layer"))
        layers.addWidget(self.use_layers.native, layers.rowCount(), 0, 1, 3)
        self.layers_open.hide()
        grid.addWidget(self.layers_open, grid.rowCount(), 0, 1, 3)
        column.addWidget(self.opening)
        self.open_more.toggled.connect(self.opening.setVisible)

    def _build_model(self, column: QVBoxLayout) -> None:
        self._models_known = {info.name: info for info in list_models()}
        names = list(self._models_known)
        self.model = ComboBox(choices=names)
        self._models = ModelWatch(self)
        self._models.changed.connect(self.refresh_models)
        if (wanted := preferences().default_model) in names:
            self.model.value = wanted
        self.score = ComboBox(choices=list(SCORES.names))
        for box, name in ((self.model, "model"), (self.score, "score")):
            box.native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.native.setMinimumContentsLength(7)
            box.native.setToolTip(tip(name))
            box.native.setAccessibleName(title(name))
        self.model_says = ElidedLines(2)
        self.run = PushButton(text=title("run"))
        self.run.native.setToolTip(tip("run"))
        self.cancel = PushButton(text=title("cancel"), enabled=False)
        self.cancel.native.setToolTip(tip("cancel"))
        self.progress = ProgressBar(min=0, max=1, value=0)
        self.progress.native.setToolTip(tip("progress"))
        self.state = QElidingLabel()
        self.state.setAccessibleName("What is shown")
        self.state_or_progress = QStackedWidget()
        self.under_way = QWidget()
        line = _beside(self.cancel.native, self.progress.native, stretch=(1, 2))
        line.setContentsMargins(0, 0, 0, 0)
        self.under_way.setLayout(line)
        for part in (self.state, self.under_way):
            self.state_or_progress.addWidget(part)
        self.state_or_progress.setFixedHeight(self.run.native.sizeHint().height())
        self.three_views = QPushButton(title("three_views"), checkable=True)
        self.three_views.setStyleSheet(NARROW)
        self.three_views.setToolTip(tip("three_views"))
        self.three_views.setAccessibleName("Three views")
        keep_place(self.three_views)
        captions: list[QLabel] = [QLabel(title(name)) for name in ("model", "score")]
        for caption, box in zip(captions, (self.model.native, self.score.native), strict=True):
            caption.setBuddy(box)
            box.setMinimumWidth(60)  # a narrow dock cuts the names in the boxes, not the dock
            whole_names(box)
        column.addLayout(
            _beside(captions[0], self.model.native, captions[1], self.score.native, stretch=(0, 1, 0, 1))
        )
        if missing := missing_models():
            self.model.native.setToolTip(
                f"{tip('model')}. Not installed: {', '.join(missing)}. {PAPER_EXTRA}"
            )
        self.model.changed.connect(self.describe_model)
        self.describe_model()
        column.addWidget(self.model_says)
        keep_place(self.cancel.native).hide()
        column.addLayout(
            _beside(
                self.run.native,
                self.state_or_progress,
                self.three_views,
                stretch=(1, 3, 0),
            )
        )

    def show_usable(self, *, patient: bool, result: bool, corrected: bool) -> None:
        """Show what can be used by now; what cannot leaves its place empty.

        Args:
            patient: Whether a patient is open.
            result: Whether there is a mask.
            corrected: Whether it has corrections.
        """
        for part in (self.open_more, self.three_views, self.undo.native, self.restore.native):
            part.setVisible(patient)
        for part in (self.sequence_label, self.sequence.native):
            part.setVisible(patient)
        for part in (self.export.native, self.paint.native, self.erase.native):
            part.setVisible(result)
        self.discard.native.setVisible(corrected)

    def say_loading(self, name: str) -> None:
        """Say at once which patient is being loaded, in the place of its name; for loading on this thread."""
        self.about.setText(f"Loading {name}…")
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)

    def show_rule(self, text: str, suggestions: Sequence[Suggested]) -> None:
        """Show the origin of the settings.

        Args:
            text: In words.
            suggestions: What the model suggests; the preferred one is in the tooltip of its button.
        """
        self.rule.setText(text)
        values = settings_words(suggestions[0].params)
        self.use_suggested.native.setToolTip(wrapped(f"{values}. {tip('use_suggested')}"))

    def refresh_models(self) -> None:
        """Offer the current models; the selected one stays selected, also under a new name."""
        chosen, before = self.model.value, self._models_known
        self._models_known = known = {info.name: info for info in list_models()}
        weights = None if chosen not in before else before[chosen].sha256
        renamed = [name for name, info in known.items() if name not in before and info.sha256 == weights]
        wanted = next((name for name in (chosen, *renamed, DEFAULT_MODEL) if name in known), None)
        with self.model.changed.blocked():
            self.model.choices = list(known)
            if wanted is not None:
                self.model.value = wanted
        if self.model.value != chosen:
            self.model.changed.emit(self.model.value)
        self.describe_model()

    def describe_model(self, *_: Any) -> None:
        """Describe the selected model; each entry of the list does so in its tooltip."""
        box = self.model.native
        for index, info in enumerate(map(self._models_known.get, self.model.choices)):
            box.setItemData(index, "" if info is None else wrapped(info.description), TOOLTIP)
        chosen = self._models_known.get(self.model.value)
        self.model_says.setText("" if chosen is None else chosen.description)

    def _build_settings(self, column: QVBoxLayout) -> None:
        self.dice_label = Label(value="–")
        self.volume_label = Label(value="–")
        for name, label in (("dice", self.dice_label), ("volume", self.volume_label)):
            label.native.setToolTip(tip(name))
            label.native.setAccessibleName(title(name))
        self.volume_label.native.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        detected = QElidingLabel(title("volume").lower())
        detected.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        column.addLayout(
            _beside(
                QElidingLabel(title("dice")),  # the figures beside it come first in a narrow dock
                self.dice_label.native,
                detected,
                self.volume_label.native,
                stretch=(0, 2, 1, 0),
            )
        )
        grid = QGridLayout()
        grid.setColumnStretch(1, 1)
        grid.setVerticalSpacing(4)
        column.addLayout(grid)
        self.rows: dict[str, SettingRow] = {}
        self.switches: dict[str, SwitchRow] = {}
        self.plot = ThresholdPlot()
        self.plot.hide()  # until a patient is open: from then on it has its place
        self.rule = ElidedLines(2)
        self.rule.setAlignment(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)
        rest = self._build_more()
        for parameter in PostprocessParams.parameters():
            if not parameter.slider:
                continue
            if parameter.kind is bool:
                self.switches[parameter.name] = SwitchRow(parameter, rest, rest.rowCount())
                continue
            if parameter.name == "threshold":
                self.rows[parameter.name] = threshold = AxisRow(parameter, grid, grid.rowCount(), self.plot)
                grid.addWidget(self.rule, threshold.position, 1)
                grid.addWidget(self.plot, grid.rowCount(), 0, 1, 3)
                continue
            self.rows[parameter.name] = SettingRow(parameter, grid, grid.rowCount())
        self.threshold = self.rows["threshold"].slider
        self.closing_radius = self.rows["closing_radius"].slider
        self.area_fraction = self.rows["area_fraction"].slider
        self.dilation_radius = self.rows["dilation_radius"].slider
        self.undo, self.redo, self.reset, self.use_suggested = (
            PushButton(text=title(name), enabled=name not in ("undo", "redo"))
            for name in ("undo", "redo", "reset", "use_suggested")
        )
        for name in ("undo", "redo", "reset", "use_suggested"):
            getattr(self, name).native.setToolTip(tip(name))
        keep_place(self.undo.native)
        keep_place(self.redo.native).hide()  # until something was undone
        row = (self.undo.native, self.redo.native, self.use_suggested.native)
        for button in row:
            button.setStyleSheet(NARROW)
        column.addLayout(_beside(*row, stretch=(0, 0, 1)))
        self.keep = QCheckBox(title("keep"))
        self.keep.setToolTip(tip("keep"))
        rest.addWidget(self.keep, rest.rowCount(), 0, 1, 3)
        rest.addWidget(self.reset.native, rest.rowCount(), 0, 1, 3)
        rest.setRowStretch(rest.rowCount(), 1)

    def _build_more(self) -> QGridLayout:
        """Build the rarely needed controls, including settings without a slider."""
        self.more = QWidget()
        column = stacked(self.more, margin=4)
        self.view_row = QVBoxLayout()
        column.addLayout(self.view_row)
        self.save_figure = QPushButton(title("save_figure"))
        self.save_figure.setToolTip(tip("save_figure"))
        self.save_figure.setStyleSheet(NARROW)
        self.figure_width, self.figure_dpi = QSpinBox(), QComboBox()
        self.figure_width.setRange(*WIDTHS_MM)
        self.figure_width.setValue(WIDTH_MM)
        self.figure_width.setSuffix(" mm")
        for dpi in RESOLUTIONS:
            self.figure_dpi.addItem(f"{dpi} dpi", dpi)
        self.figure_dpi.setCurrentIndex(RESOLUTIONS.index(DPI))
        for part, name in ((self.figure_width, "figure_width"), (self.figure_dpi, "figure_dpi")):
            part.setToolTip(tip(name))
            part.setAccessibleName(title(name))
        column.addLayout(_beside(self.save_figure, self.figure_width, self.figure_dpi))
        column.addWidget(QLabel("Map options (off in the paper)"))
        options = QGridLayout()  # without a frame: its margins would not fit into a narrow dock
        options.setColumnStretch(1, 1)
        column.addLayout(options)
        self.option_rows = {
            parameter.name: SettingRow(parameter, options, options.rowCount()) for parameter in MAP_OPTIONS
        }
        rest = QGridLayout()
        rest.setColumnStretch(1, 1)
        column.addLayout(rest)
        return rest

    def _build_result(self) -> QWidget:
        inside = QWidget()
        column = stacked(inside, margin=4)
        self.figures = FiguresView()
        column.addWidget(self.figures)
        names = ("export", "restore", "paint", "erase", "discard")
        self.export, self.restore, self.paint, self.erase, self.discard = (
            PushButton(text=title(name), enabled=False) for name in names
        )
        for name in names:
            getattr(self, name).native.setToolTip(tip(name))
        for button in (self.paint, self.erase, self.discard):
            button.native.setStyleSheet(NARROW)
        column.addLayout(_beside(self.export.native, self.restore.native))
        column.addLayout(
            _beside(self.paint.native, self.erase.native, self.discard.native, stretch=(1, 1, 2))
        )
        for name in names:
            keep_place(getattr(self, name).native)
        self.notes = QLabel()
        self.notes.setWordWrap(True)
        self.notes.setVisible(False)
        column.addWidget(self.notes)
        column.addStretch(1)
        return inside

    def _build_tabs(self, column: QVBoxLayout) -> None:
        self.lesions = LesionList()
        self.comparison = ComparePanel()
        self.tabs = QTabWidget()
        self.tabs.tabBar().setAccessibleName("Result, lesions, comparison, queue and more")
        parts = {
            "result": self._build_result(),
            "lesion_list": self.lesions,
            "compare": self.comparison,
            "more": self.more,
        }
        for name, part in parts.items():
            self.add_tab(name, part, self.tabs.count())
        column.addWidget(self.tabs)

    def add_tab(self, name: str, part: QWidget, place: int) -> None:
        """Add a tab.

        Args:
            name: Its name in the table of texts.
            part: Its content.
            place: Its place among the tabs.
        """
        self.tabs.insertTab(place, part, title(name))
        self.tabs.setTabToolTip(place, tip(name))


def _beside(*parts: QWidget, stretch: Sequence[int] = ()) -> QHBoxLayout:
    """Return a line of controls; without ``stretch`` the first one gets the room."""
    line = QHBoxLayout()
    line.setSpacing(4)
    for part, share in zip(parts, stretch or (1, *(0,) * (len(parts) - 1)), strict=True):
        line.addWidget(part, share)
    return line
