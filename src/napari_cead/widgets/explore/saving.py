"""Export and restore of the Explore dock."""

from __future__ import annotations

from pathlib import Path

from napari.utils.notifications import show_info, show_warning
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog, QMessageBox

from ...contributions.failures import show_failure
from ...detection.saving import file_prefix
from ...errors import CeadError
from ...exploring import Session
from ...exploring.settings_file import SETTINGS_FILE
from ..canvas.figure import caption, save_figure
from ..canvas.layer_view import LayerView
from ..common.folder_dialog import ask_for_folder
from ..common.jobs import spared_core
from ..common.preferences import preferences
from ..common.texts import title
from .explore_form import ExploreForm
from .keeping import Keeping
from .live import LiveMask
from .model_runner import ModelRunner
from .work import Work

EXPORTING = "Exporting…"
"""Text of the button Export meanwhile."""


_PDF = "PDF (*.pdf)"


class Saving(QObject):
    """Exports the current analysis, and restores settings from exports.

    Args:
        form: Has the buttons.
        session: The session.
        layers: Its layers.
        live: The sliders.
        work: Does it in a thread.
        runner: Shows a restored analysis.
        keeping: Learns of an export.
    """

    def __init__(
        self,
        form: ExploreForm,
        session: Session,
        layers: LayerView,
        live: LiveMask,
        work: Work,
        runner: ModelRunner,
        keeping: Keeping,
    ) -> None:
        super().__init__(form)
        self.form, self.session, self.layers, self.live = form, session, layers, live
        self.work, self.runner, self.keeping = work, runner, keeping
        form.export.changed.connect(self._ask_where_to_export)
        form.restore.changed.connect(self._ask_what_to_restore)
        work.job.ended.connect(self._job_ended)
        form.save_figure.clicked.connect(self._ask_where_to_save_figure)

    def export_to(self, folder: Path) -> None:
        """Export the current analysis to a folder, in a thread; existing files of the same names are replaced."""
        self.live.settle_now()
        prefix = self._prefix()

        def saved(_: object) -> None:
            self.keeping.exported()
            show_info(f"Saved mask, map and settings in {folder}: {prefix}*")

        if self.work.start(
            lambda: self.session.export(folder, prefix=prefix, should_stop=self.work.cancelled),
            saved,
            stage="Exporting",
            changes_session=False,
        ):
            # The progress bar may be scrolled out of sight; the button was just pressed.
            self.form.export.text = EXPORTING

    def _job_ended(self) -> None:
        self.form.export.text = title("export")

    def _prefix(self) -> str:
        """Return the prefix of the file names: patient and model."""
        analysis = self.session.analysis
        if analysis is None:
            return ""
        made = analysis.reconstruction
        return file_prefix(made.patient.name, made.model)

    def restore_from(self, path: Path) -> None:
        """Restore the settings of an export, in a thread, with a message about differences."""
        job, liked = self.work.job, preferences()

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
                self.runner.show(self.session.analysis)
            self.keeping.exported()
            _tell(notes)

        self.work.start(work, restored, stage="Restoring the settings")

    def save_figure(self, path: Path) -> None:
        """Save the canvas as a figure, with a message at the end."""
        analysis, layers = self.session.analysis, self.layers
        words = ""
        if analysis is not None:
            reference = analysis.reconstruction.patient.lesion_mask
            words = caption(
                analysis,
                layers.current_slice(),
                "" if reference is None else self.form.dice_label.value,
            )
        try:
            width, dpi = self.form.figure_width.value(), self.form.figure_dpi.currentData()
            save_figure(self.layers.viewer, path, words, width_mm=width, dpi=dpi)
        except CeadError as error:
            show_failure(error)
        else:
            show_info(f"Saved {path}")

    def _ask_where_to_save_figure(self) -> None:
        chosen, kind = QFileDialog.getSaveFileName(
            self.form, "Save the canvas as a figure", "figure.png", f"PNG (*.png);;{_PDF}"
        )
        if not chosen:
            return
        asked = path = Path(chosen)
        # Qt leaves the ending that it offered, whatever kind is chosen.
        if path.suffix.lower() in ("", ".png"):
            path = path.with_suffix(".pdf" if kind == _PDF else ".png")
        if path == asked or not path.exists() or self._replaces(f"{path.name} is there already"):
            self.save_figure(path)

    def _ask_where_to_export(self) -> None:
        ask_for_folder(self.form, "Export to folder", "Export", self._folder_chosen)

    def _folder_chosen(self, folder: Path | None) -> None:
        self.form.export.native.setFocus()  # the dialog had it; the export takes it on, and gives it back
        if folder is not None and self._may_replace(folder):
            self.export_to(folder)

    def _may_replace(self, folder: Path) -> bool:
        """Ask before results of the same patient and model are replaced."""
        prefix = self._prefix()
        if not (folder / f"{prefix}{SETTINGS_FILE}").exists():
            return True
        return self._replaces(
            f"{folder.name} holds results of this patient and model already ({prefix}mask.nii.gz…)"
        )

    def _replaces(self, what: str) -> bool:
        asked = QMessageBox.question(self.form, "Replace what is there?", f"{what}. Replace it?")
        return bool(asked == QMessageBox.StandardButton.Yes)

    def _ask_what_to_restore(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(
            self.form, "Restore settings", "", "Settings (*.json);;All files (*)"
        )
        if chosen:
            self.restore_from(Path(chosen))


def _tell(notes: tuple[str, ...]) -> None:
    if notes:
        show_warning("; ".join(notes))
    else:
        show_info("The settings are as they were saved.")
