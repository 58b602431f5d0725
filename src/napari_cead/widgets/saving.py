"""Export and restore of the Explore dock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_info, show_warning
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog, QMessageBox

from ..contributions.failures import show_failure
from ..detection.saving import file_prefix
from ..errors import CeadError
from ..exploring.settings_file import SETTINGS_FILE
from .figure import caption, save_figure
from .jobs import spared_core
from .preferences import preferences

if TYPE_CHECKING:
    from .explore import ExploreWidget


class Saving(QObject):
    """Exports the current analysis, and restores settings from exports.

    Args:
        dock: The dock.
    """

    def __init__(self, dock: ExploreWidget) -> None:
        super().__init__(dock)
        self.dock, self.session = dock, dock.session
        dock.export.changed.connect(self._ask_where_to_export)
        dock.restore.changed.connect(self._ask_what_to_restore)
        dock.save_figure.clicked.connect(self._ask_where_to_save_figure)

    def export_to(self, folder: Path) -> None:
        """Export the current analysis to a folder, in a thread; existing files of the same names are replaced."""
        self.dock.live.settle_now()
        prefix = self._prefix()

        def saved(_: object) -> None:
            self.dock.keeping.exported()
            show_info(f"Saved mask, map and settings in {folder}: {prefix}*")

        self.dock.start(lambda: self.session.export(folder, prefix=prefix), saved, changes_session=False)

    def _prefix(self) -> str:
        """Return the prefix of the file names: patient and model."""
        analysis = self.session.analysis
        if analysis is None:
            return ""
        made = analysis.reconstruction
        return file_prefix(made.patient.name, made.model)

    def restore_from(self, path: Path) -> None:
        """Restore the settings of an export, in a thread, with a message about differences."""
        job, liked = self.dock.job, preferences()

        def work() -> tuple[str, ...]:
            with spared_core():
                return self.session.restore(
                    path,
                    device=liked.device,
                    on_stage=job.say,
                    on_progress=job.report,
                    should_stop=job.stopping,
                )

        def restored(notes: tuple[str, ...]) -> None:
            if (
                self.session.analysis is not None
            ):  # it may be the one on show, with another model chosen meanwhile
                self.dock.runner.show(self.session.analysis)
            _tell(notes)

        self.dock.start(work, restored)

    def save_figure(self, path: Path) -> None:
        """Save the canvas as a figure, with a message at the end."""
        analysis, layers = self.session.analysis, self.dock.layers
        words = ""
        if analysis is not None:
            reference = analysis.reconstruction.patient.lesion_mask
            words = caption(
                analysis,
                layers.current_slice(),
                "" if reference is None else self.dock.dice_label.value,
            )
        try:
            save_figure(self.dock.viewer, path, words)
        except CeadError as error:
            show_failure(error)
        else:
            show_info(f"Saved {path}")

    def _ask_where_to_save_figure(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(
            self.dock, "Save the canvas as a figure", "figure.png", "PNG (*.png);;PDF (*.pdf)"
        )
        if chosen:
            self.save_figure(Path(chosen))

    def _ask_where_to_export(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self.dock, "Export to folder")
        if chosen and self._may_replace(Path(chosen)):
            self.export_to(Path(chosen))

    def _may_replace(self, folder: Path) -> bool:
        """Ask before results of the same patient and model are replaced."""
        prefix = self._prefix()
        if not (folder / f"{prefix}{SETTINGS_FILE}").exists():
            return True
        asked = QMessageBox.question(
            self.dock,
            "Replace results?",
            f"{folder.name} holds results of this patient and model already ({prefix}mask.nii.gz…). Replace them?",
        )
        return bool(asked == QMessageBox.StandardButton.Yes)

    def _ask_what_to_restore(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(
            self.dock, "Restore settings", "", "Settings (*.json);;All files (*)"
        )
        if chosen:
            self.restore_from(Path(chosen))


def _tell(notes: tuple[str, ...]) -> None:
    if notes:
        show_warning("; ".join(notes))
    else:
        show_info("The settings are as they were saved.")
