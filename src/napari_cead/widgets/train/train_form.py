"""The controls of the Train dock and their layout. ``train.py`` has their behaviour."""

from __future__ import annotations

from magicgui.widgets import CheckBox, ComboBox, LineEdit
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from ...exploring import DEFAULT_MODEL
from ...models import NETWORKS, design_names
from ...patients import SEQUENCES
from ...zoo import list_models
from ..common.command_box import CommandBox
from ..common.controls import Lines, folded, keep_place, push_button, row, section, stacked
from ..common.preparation_banner import PreparationBanner
from ..common.run_progress import StepBar
from .recipe_rows import RecipeRows
from .scan_table import ScanTable

SCRATCH = "from scratch"
"""Entry of the list of base models for none."""

LIST_HEIGHT = 260
"""Least height of the list of scans with the banner below it, in pixels."""


def base_models() -> list[str]:
    """Return the names of the models that can be fine-tuned: all but ensembles."""
    return [info.name for info in list_models() if NETWORKS.find(info.family).trainable]


class TrainForm(QWidget):
    """What the user says about a training; without behaviour.

    Attributes:
        add_folder: Asks for a folder of scans; ``add_files`` for files; ``add_layers`` takes layers open in napari.
        scans: The found scans.
        found: Their number, and that of their slices.
        healthy: Whether scans without a lesion mask are declared healthy.
        banner: The needs of the scans in the list, with buttons for them.
        brain_mask: Asks for a brain mask of the selected scan; ``brain_layer`` takes a layer.
        base: Model to fine-tune, or ``SCRATCH``, which trains ``design``; ``scratch`` has the controls for that.
        name: Name of the new model.
        rows: The other options of the recipe.
        start: Starts the training.
        cost: What a training at full size takes on a processor.
        command: The command that Start runs.
    """

    def __init__(self) -> None:
        super().__init__()
        column = stacked(self, margin=4)
        self._build_scans(column)
        self._build_settings(column)
        self._build_start(column)
        column.addStretch(1)

    def _build_scans(self, column: QVBoxLayout) -> None:
        grid = section("Scans", column)
        self.sequence = ComboBox(choices=list(SEQUENCES), value="flair")
        self.add_folder = push_button("Folder…", "A folder of NIfTI files, a BIDS tree, or patient folders")
        self.add_files = push_button("Files…", "Single scans")
        self.add_layers = push_button("Layers", "The image layers that are selected in napari")
        self.clear = push_button("Clear", "Take all scans out of the list")
        row(grid, "Sequence", self.sequence.native, "What the scans show")
        line = QHBoxLayout()
        for button in (self.add_folder, self.add_files, self.add_layers, self.clear):
            line.addWidget(button.native)
        grid.addLayout(line, grid.rowCount(), 0, 1, 3)
        self.scans, self.banner = ScanTable(), PreparationBanner()
        # The banner takes its room from the list, so that nothing below moves.
        self.listed = listed = QWidget()
        listed_column = stacked(listed)
        listed_column.addWidget(self.scans, 1)
        listed_column.addWidget(self.banner)
        grid.addWidget(listed, grid.rowCount(), 0, 1, 3)
        self.looking = StepBar("Scans looked at")
        keep_place(self.looking).hide()
        grid.addWidget(self.looking, grid.rowCount(), 0, 1, 3)
        self.found = Lines(2, "Choose scans of healthy people, or drop them onto the list.")
        grid.addWidget(self.found, grid.rowCount(), 0, 1, 3)
        self.healthy = CheckBox(text="Unlabelled scans show healthy brains", value=False)
        self.healthy.native.setToolTip(
            "A scan without a mask is unlabelled, not healthy: only you know. What counts as healthy here decides "
            "what the model will find"
        )
        grid.addWidget(self.healthy.native, grid.rowCount(), 0, 1, 3)
        self.brain_mask = push_button("Brain mask…", "A brain mask file for the selected scan")
        self.brain_layer = push_button(
            "Mask layer", "The selected labels layer as brain mask of the selected scan"
        )
        masks = QWidget()
        masks_line = QHBoxLayout(masks)
        masks_line.setContentsMargins(0, 0, 0, 0)
        for button in (self.brain_mask, self.brain_layer):
            masks_line.addWidget(button.native)
        grid.addWidget(folded("Brain masks of your own", masks), grid.rowCount(), 0, 1, 3)

    def _build_settings(self, column: QVBoxLayout) -> None:
        grid = section("Model", column)
        names = base_models()
        self.base = ComboBox(choices=[*names, SCRATCH])
        if DEFAULT_MODEL in names:
            self.base.value = DEFAULT_MODEL
        self.design = ComboBox(choices=list(design_names()))
        if DEFAULT_MODEL in self.design.choices:
            self.design.value = DEFAULT_MODEL
        self.network_size = ComboBox(choices=["small", "paper"], value="small")
        self.name = LineEdit(value="local")
        self.context = CheckBox(text="on", value=True)
        row(grid, "Start from", self.base.native, "The model that is fine-tuned")
        design = row(
            grid,
            "Design",
            self.design.native,
            "One of the paper's eight designs, a denoiser (dae, ce-unet), or a network of another package",
        )
        size = row(grid, "Size", self.network_size.native, "small trains on a processor; paper wants a GPU")
        self.scratch = (design, self.design.native, size, self.network_size.native)
        row(grid, "Name", self.name.native, "What the new model is called")
        self.rows = RecipeRows()
        self.rows.add(grid, ("epochs", "lr", "batch_size"))
        row(
            grid,
            "Context encoding",
            self.context.native,
            "Squares are cut out and have to be filled in; dae and ce-unet have corruptions of their own",
        )
        self.rows.add(grid, ("max_squares", "device"))

        rest = QWidget()
        more = QGridLayout(rest)
        more.setContentsMargins(0, 0, 0, 0)
        self.rows.add(more, ("seed", "patience", "schedule", "augment", "freeze_encoder", "keep_checkpoint"))
        grid.addWidget(folded("More settings", rest), grid.rowCount(), 0, 1, 3)

    def _build_start(self, column: QVBoxLayout) -> None:
        grid = section("Start", column)
        self.start = push_button("Start", "Train in a process of its own; napari stays free")
        self.problem, self.cost = Lines(2), Lines(3)
        self.cost.setAccessibleName("What the training takes")
        self.command = CommandBox("The command that Start runs")
        grid.addWidget(self.start.native, grid.rowCount(), 0, 1, 3)
        grid.addWidget(self.problem, grid.rowCount(), 0, 1, 3)
        grid.addWidget(self.cost, grid.rowCount(), 0, 1, 3)
        grid.addWidget(folded("The command that Start runs", self.command), grid.rowCount(), 0, 1, 3)
        note = QLabel("Nothing leaves this computer.")
        note.setEnabled(False)
        grid.addWidget(note, grid.rowCount(), 0, 1, 3)
