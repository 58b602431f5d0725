"""The controls of the Explore dock and how they are laid out. What they do is in ``explore.py``."""

from __future__ import annotations

from magicgui.widgets import ComboBox, FileEdit, Label, ProgressBar, PushButton, create_widget
from napari.layers import Image, Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from ..detection import SCORES
from ..detection.params import PARAMETERS
from ..exploring import DEFAULT_MODEL
from ..zoo import list_models
from .controls import SettingRow, folded, row, section
from .model_watch import ModelWatch


class ExploreForm(QWidget):
    """Every control of the Explore dock, without behaviour.

    Attributes:
        patient: Folder or file of the patient.
        choose_file: Asks for a file.
        sequence: Sequence to look at.
        about: What is open.
        image_layer: An image layer open in napari; ``reference_layer`` labels to compare with.
        use_layers: Takes them.
        model: Name of the model.
        score: Anomaly score.
        run: Starts detection.
        cancel: Stops it.
        progress: Slices done.
        rows: Slider and number box of every setting, by its name.
        reset: Goes back to the suggestion; ``rule`` says whose.
        dice_label: Dice of the slice and of the volume, as text.
        volume_label: Detected volume, as text.
        notes: What was assumed along the way, for as long as the result is shown.
        discard: Discards corrections.
        export: Asks for a folder to export to.
    """

    def __init__(self) -> None:
        super().__init__()
        self._build()

    def _build(self) -> None:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(4, 4, 4, 4)
        self._build_patient(column)
        self._build_model(column)
        self._build_settings(column)
        self._build_result(column)
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
        self.patient.line_edit.native.setPlaceholderText("folder, or a NIfTI file")
        self.choose_file = PushButton(text="File…")
        self.patient.native.layout().addWidget(self.choose_file.native)
        self.patient.choose_btn.text = "Folder…"
        self.sequence = ComboBox(choices=())
        self.about = QLabel("Open a folder or file, or drop one onto the viewer.")
        self.about.setWordWrap(True)
        row(
            grid,
            "Open",
            self.patient.native,
            "A patient folder (NIfTI or PNG release layout) or a NIfTI file",
        )
        row(grid, "Sequence", self.sequence.native, "The sequence that the model is run on")
        grid.addWidget(self.about, grid.rowCount(), 0, 1, 3)

        self.image_layer = create_widget(annotation=Image, options={"nullable": True})
        self.reference_layer = create_widget(annotation=Labels, options={"nullable": True})
        self.use_layers = PushButton(text="Use these layers")
        inside = QWidget()
        rows = QVBoxLayout(inside)
        rows.setContentsMargins(0, 0, 0, 0)
        layers = section("", rows)
        row(layers, "Image", self.image_layer.native, "Any grey (Z, Y, X) or (Y, X) image layer")
        row(
            layers,
            "Reference",
            self.reference_layer.native,
            "Any labels layer of the same shape; above 0 is lesion",
        )
        layers.addWidget(self.use_layers.native, layers.rowCount(), 0, 1, 3)
        grid.addWidget(folded("Use layers that are open in napari", inside), grid.rowCount(), 0, 1, 3)

    def _build_model(self, column: QVBoxLayout) -> None:
        grid = section("Model", column)
        names = [info.name for info in list_models()]
        self.model = ComboBox(choices=names)
        self._models = ModelWatch(self)
        self._models.changed.connect(self.refresh_models)
        if DEFAULT_MODEL in names:
            self.model.value = DEFAULT_MODEL
        self.score = ComboBox(choices=list(SCORES))
        self.run = PushButton(text="Run")
        self.cancel = PushButton(text="Cancel", enabled=False)
        self.progress = ProgressBar(min=0, max=1, value=0)
        row(grid, "Model", self.model.native, "Autoencoders trained on healthy slices only")
        row(
            grid, "Score", self.score.native, "\n".join(f"{s.name}: {s.description}" for s in SCORES.values())
        )
        buttons = QHBoxLayout()
        buttons.addWidget(self.run.native, 2)
        buttons.addWidget(self.cancel.native, 1)
        grid.addLayout(buttons, grid.rowCount(), 0, 1, 3)
        grid.addWidget(self.progress.native, grid.rowCount(), 0, 1, 3)

    def refresh_models(self) -> None:
        """Offer the models that are there now; the chosen one stays chosen if it still is."""
        chosen = self.model.value
        names = [info.name for info in list_models()]
        with self.model.changed.blocked():
            self.model.choices = names
            if chosen in names:
                self.model.value = chosen
        if self.model.value != chosen:
            self.model.changed.emit(self.model.value)

    def _build_settings(self, column: QVBoxLayout) -> None:
        grid = section("Post-processing", column)
        self.rows: dict[str, SettingRow] = {}
        for parameter in PARAMETERS:
            if parameter.name == "min_area_mm2":
                continue  # a setting of the command line and of models; the paper has no such slider
            self.rows[parameter.name] = SettingRow(parameter, grid, grid.rowCount())
        self.threshold = self.rows["threshold"].slider
        self.closing_radius = self.rows["closing_radius"].slider
        self.area_fraction = self.rows["area_fraction"].slider
        self.dilation_radius = self.rows["dilation_radius"].slider
        self.reset = PushButton(text="Reset")
        self.rule = QLabel("")
        self.rule.setWordWrap(True)
        grid.addWidget(self.rule, grid.rowCount(), 0, 1, 2)
        grid.addWidget(self.reset.native, grid.rowCount() - 1, 2)

    def _build_result(self, column: QVBoxLayout) -> None:
        grid = section("Result", column)
        self.dice_label = Label(value="–")
        self.volume_label = Label(value="–")
        row(
            grid,
            "Dice",
            self.dice_label.native,
            "2TP / (2TP + FP + FN); – where there is nothing to compare with",
        )
        row(grid, "Detected", self.volume_label.native, "Volume of the detected mask")
        self.discard = PushButton(text="Discard corrections", enabled=False)
        self.discard.native.setToolTip("Go back to the mask that the sliders give")
        self.export = PushButton(text="Export…", enabled=False)
        self.export.native.setToolTip(
            "Save mask, anomaly map, reconstruction (NIfTI, source grid) and settings"
        )
        buttons = QHBoxLayout()
        buttons.addWidget(self.discard.native)
        buttons.addWidget(self.export.native)
        grid.addLayout(buttons, grid.rowCount(), 0, 1, 3)
        self.notes = QLabel()
        self.notes.setWordWrap(True)
        self.notes.setVisible(False)
        grid.addWidget(self.notes, grid.rowCount(), 0, 1, 3)
        note = QLabel("For research only, not for clinical use.")
        note.setEnabled(False)
        grid.addWidget(note, grid.rowCount(), 0, 1, 3)
