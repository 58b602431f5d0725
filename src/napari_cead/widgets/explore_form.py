"""The controls of the Explore dock and how they are laid out. What they do is in ``explore.py``."""

from __future__ import annotations

from magicgui.widgets import ComboBox, FileEdit, Label, ProgressBar, PushButton, create_widget
from napari.layers import Image, Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QScrollArea, QTabWidget, QVBoxLayout, QWidget

from ..detection import MAP_OPTIONS, SCORES
from ..detection.params import PostprocessParams
from ..exploring import DEFAULT_MODEL
from ..zoo import list_models
from .compare_panel import ComparePanel
from .controls import SettingRow, SwitchRow, folded, row, section
from .figures_view import FiguresView
from .lesion_list import LesionList
from .model_watch import ModelWatch
from .preferences import preferences
from .preparation_banner import PreparationBanner
from .texts import tip, title
from .threshold_plot import ThresholdPlot


class ExploreForm(QWidget):
    """Every control of the Explore dock, without behaviour.

    Attributes:
        patient: Folder or file of the patient.
        choose_file: Asks for a file.
        sequence: Sequence to look at.
        about: What is open.
        banner: What the scan needs before a run, with buttons that do it.
        image_layer: An image layer open in napari; ``reference_layer`` labels to compare with.
        use_layers: Takes them.
        model: Name of the model.
        score: Anomaly score.
        run: Starts detection.
        cancel: Stops it.
        progress: Slices done.
        option_rows: Slider and number box of every map option, by its name.
        rows: Slider and number box of every setting, by its name; ``switches`` has the check boxes.
        plot: Histogram and Dice curves under the threshold.
        undo: Takes back a change of settings; ``redo`` makes it again.
        reset: Goes back to the defaults with the model's threshold; ``use_suggested`` takes all that the model
            suggests; ``rule`` says where the settings come from.
        dice_label: Dice of the slice and of the volume, as text.
        figures: The other figures.
        volume_label: Detected volume, as text.
        notes: What was assumed along the way, for as long as the result is shown.
        discard: Discards corrections.
        export: Asks for a folder to export to; ``restore`` asks for settings that were exported.
        lesions: The lesion list.
        comparison: The analyses of the patient.
        tabs: Holds lesion list, comparison and queue.
    """

    def __init__(self) -> None:
        super().__init__()
        self._build()

    def _build(self) -> None:
        inner = QWidget()
        self.column = column = QVBoxLayout(inner)
        column.setContentsMargins(4, 4, 4, 4)
        self._build_patient(column)
        self._build_model(column)
        self._build_settings(column)
        self._build_result(column)
        self._build_tabs(column)
        column.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidget(inner)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)
        self.setMinimumWidth(300)

    def _build_patient(self, column: QVBoxLayout) -> None:
        grid = section("Patient", column)
        self.patient = FileEdit(mode="d")
        self.patient.line_edit.native.setPlaceholderText("folder, scan, DICOM#series or zip")
        self.choose_file = PushButton(text=title("choose_file"))
        self.choose_file.native.setToolTip(tip("choose_file"))
        self.patient.native.layout().addWidget(self.choose_file.native)
        self.patient.choose_btn.text = title("choose_folder")
        self.sequence = ComboBox(choices=())
        self.about = QLabel("Open a folder or file, or drop one onto the viewer.")
        self.about.setWordWrap(True)
        row(grid, title("patient"), self.patient.native, tip("patient"))
        row(grid, title("sequence"), self.sequence.native, tip("sequence"))
        grid.addWidget(self.about, grid.rowCount(), 0, 1, 3)
        self.banner = PreparationBanner()
        grid.addWidget(self.banner, grid.rowCount(), 0, 1, 3)
        self.view_row = QVBoxLayout()
        grid.addLayout(self.view_row, grid.rowCount(), 0, 1, 3)

        self.image_layer = create_widget(annotation=Image, options={"nullable": True})
        self.reference_layer = create_widget(annotation=Labels, options={"nullable": True})
        self.use_layers = PushButton(text=title("use_layers"))
        self.use_layers.native.setToolTip(tip("use_layers"))
        inside = QWidget()
        rows = QVBoxLayout(inside)
        rows.setContentsMargins(0, 0, 0, 0)
        layers = section("", rows)
        row(layers, title("image_layer"), self.image_layer.native, tip("image_layer"))
        row(layers, title("reference_layer"), self.reference_layer.native, tip("reference_layer"))
        layers.addWidget(self.use_layers.native, layers.rowCount(), 0, 1, 3)
        grid.addWidget(folded("Use layers that are open in napari", inside), grid.rowCount(), 0, 1, 3)

    def _build_model(self, column: QVBoxLayout) -> None:
        grid = section("Model", column)
        self._weights = _weights()
        names = list(self._weights)
        self.model = ComboBox(choices=names)
        self._models = ModelWatch(self)
        self._models.changed.connect(self.refresh_models)
        if (wanted := preferences().default_model) in names:
            self.model.value = wanted
        self.score = ComboBox(choices=list(SCORES.names))
        self.run = PushButton(text=title("run"))
        self.run.native.setToolTip(tip("run"))
        self.cancel = PushButton(text=title("cancel"), enabled=False)
        self.cancel.native.setToolTip(tip("cancel"))
        self.progress = ProgressBar(min=0, max=1, value=0)
        self.progress.native.setToolTip(tip("progress"))
        row(grid, title("model"), self.model.native, tip("model"))
        row(grid, title("score"), self.score.native, tip("score"))
        inside = QWidget()
        rows = QVBoxLayout(inside)
        rows.setContentsMargins(0, 0, 0, 0)
        options = section("", rows)
        self.option_rows = {
            parameter.name: SettingRow(parameter, options, options.rowCount()) for parameter in MAP_OPTIONS
        }
        grid.addWidget(folded("Map options (off in the paper)", inside), grid.rowCount(), 0, 1, 3)
        buttons = QHBoxLayout()
        buttons.addWidget(self.run.native, 2)
        buttons.addWidget(self.cancel.native, 1)
        grid.addLayout(buttons, grid.rowCount(), 0, 1, 3)
        grid.addWidget(self.progress.native, grid.rowCount(), 0, 1, 3)

    def refresh_models(self) -> None:
        """Offer the models that are there now; the chosen one stays chosen, under a new name if it has one."""
        chosen, before, self._weights = self.model.value, self._weights, _weights()
        new = [name for name in self._weights if name not in before]
        renamed = [name for name in new if self._weights[name] == before.get(chosen)]
        wanted = next((name for name in (chosen, *renamed, DEFAULT_MODEL) if name in self._weights), None)
        with self.model.changed.blocked():
            self.model.choices = list(self._weights)
            if wanted is not None:
                self.model.value = wanted
        if self.model.value != chosen:
            self.model.changed.emit(self.model.value)

    def _build_settings(self, column: QVBoxLayout) -> None:
        grid = section("Post-processing", column)
        self.rows: dict[str, SettingRow] = {}
        self.switches: dict[str, SwitchRow] = {}
        self.plot = ThresholdPlot()
        for parameter in PostprocessParams.parameters():
            if not parameter.slider:
                continue
            if parameter.kind is bool:
                self.switches[parameter.name] = SwitchRow(parameter, grid, grid.rowCount())
                continue
            self.rows[parameter.name] = SettingRow(parameter, grid, grid.rowCount())
            if parameter.name == "threshold":
                grid.addWidget(self.plot, grid.rowCount(), 0, 1, 3)
        self.threshold = self.rows["threshold"].slider
        self.closing_radius = self.rows["closing_radius"].slider
        self.area_fraction = self.rows["area_fraction"].slider
        self.dilation_radius = self.rows["dilation_radius"].slider
        self.undo, self.redo, self.reset = (
            PushButton(text=title(name), enabled=name == "reset") for name in ("undo", "redo", "reset")
        )
        self.use_suggested = PushButton(text=title("use_suggested"))
        self.use_suggested.native.setToolTip(tip("use_suggested"))
        self.rule = QLabel("")
        self.rule.setWordWrap(True)
        grid.addWidget(self.rule, grid.rowCount(), 0, 1, 3)
        buttons = QHBoxLayout()
        for name, button in (("undo", self.undo), ("redo", self.redo), ("reset", self.reset)):
            button.native.setToolTip(tip(name))
            buttons.addWidget(button.native)
        grid.addLayout(buttons, grid.rowCount(), 0, 1, 3)
        grid.addWidget(self.use_suggested.native, grid.rowCount(), 0, 1, 3)

    def _build_result(self, column: QVBoxLayout) -> None:
        grid = section("Result", column)
        self.dice_label = Label(value="–")
        self.volume_label = Label(value="–")
        self.figures = FiguresView()
        row(grid, title("dice"), self.dice_label.native, tip("dice"))
        row(grid, title("volume"), self.volume_label.native, tip("volume"))
        grid.addWidget(self.figures, grid.rowCount(), 0, 1, 3)
        self.discard, self.export, self.restore = (
            PushButton(text=title(name), enabled=False) for name in ("discard", "export", "restore")
        )
        for name, button in (("discard", self.discard), ("export", self.export), ("restore", self.restore)):
            button.native.setToolTip(tip(name))
        buttons = QHBoxLayout()
        buttons.addWidget(self.export.native)
        buttons.addWidget(self.restore.native)
        grid.addLayout(buttons, grid.rowCount(), 0, 1, 3)
        grid.addWidget(self.discard.native, grid.rowCount(), 0, 1, 3)
        self.notes = QLabel()
        self.notes.setWordWrap(True)
        self.notes.setVisible(False)
        grid.addWidget(self.notes, grid.rowCount(), 0, 1, 3)
        note = QLabel(title("research_only"))
        note.setEnabled(False)
        grid.addWidget(note, grid.rowCount(), 0, 1, 3)

    def _build_tabs(self, column: QVBoxLayout) -> None:
        self.lesions = LesionList()
        self.comparison = ComparePanel()
        self.tabs = QTabWidget()
        self.tabs.addTab(self.lesions, "Lesions")
        self.tabs.addTab(self.comparison, "Compare")
        column.addWidget(self.tabs)


def _weights() -> dict[str, str | None]:
    """Return the checksum of the weights of each model by its name."""
    return {info.name: info.sha256 for info in list_models()}
