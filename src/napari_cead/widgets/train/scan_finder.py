"""Adding scans to the list of the Train dock: folders, files, layers, and brain masks for those with a skull."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_info, show_warning
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog

from ...contributions.failures import show_failure
from ...contributions.layers import tag_of
from ...errors import CeadError
from ...patients import Patient, save_volume
from ...patients.formats import dialog_filter
from ...store.index import StoreSettings
from ...store.inspection import ScanReport, inspect, inspect_all
from ...store.preprocessing import store_options
from ...store.scans import ScanSource, find_scans, save_scan
from ..canvas.layer_view import patient_of
from ..common.jobs import Job, on_main
from .raw_scans import RawScans
from .train_form import TrainForm


class ScanFinder(QObject):
    """Finds and judges scans in a thread and puts them into the table.

    Args:
        form: The form with the table.
        viewer: The napari viewer.
        slices: Returns the preparation of the slices for the requested training.
        update: Enables what is possible now.
    """

    def __init__(
        self,
        form: TrainForm,
        viewer: Any,
        slices: Callable[[], StoreSettings],
        update: Callable[[], None],
    ) -> None:
        super().__init__(form)
        self.form, self.model, self._viewer = form, form.scans.scans, viewer
        self._slices, self._update = slices, update
        self.job = Job(self)
        self._how: StoreSettings | None = None
        self._kept: tempfile.TemporaryDirectory[str] | None = None
        self.raw = RawScans(self)
        self._tell = on_main(self._take)
        form.add_folder.changed.connect(self._ask_for_folder)
        form.add_files.changed.connect(self._ask_for_files)
        form.add_layers.changed.connect(self._take_layers)
        form.clear.changed.connect(self._clear)
        form.scans.dropped.connect(self.add)
        form.scans.remove_wanted.connect(lambda: self.model.remove(form.scans.places))
        form.brain_mask.changed.connect(self._ask_for_brain_mask)
        form.brain_layer.changed.connect(self._take_brain_layer)
        self.job.ended.connect(self._ended)

    @property
    def folder(self) -> Path:
        """Folder for scans from layers, for the life of the dock."""
        if self._kept is None:
            self._kept = tempfile.TemporaryDirectory(prefix="napari-cead-")
        return Path(self._kept.name)

    def stop(self) -> None:
        """Request a stop."""
        self.job.stop()

    def keep(self, source: ScanSource, folder: Path) -> ScanSource:
        """Return a scan whose files outlive this dock: those written here are copied.

        Args:
            source: The scan.
            folder: Folder for the copies, created if necessary.

        Raises:
            OSError: If they cannot be copied.
        """
        kept: dict[str, Any] = {}
        for name in ("scan", "lesion_mask", "brain_mask"):
            file = getattr(source, name)
            if file is not None and self._kept is not None and file.is_relative_to(self.folder):
                folder.mkdir(exist_ok=True)
                kept[name] = Path(shutil.copy2(file, folder / file.name))
        return replace(source, **kept) if kept else source

    def add(self, paths: Sequence[Path]) -> None:
        """Find the scans in folders and files, and judge them; an unreadable place affects no other."""
        sequence = self.form.sequence.value
        known = {self.raw.given(report.source).scan for report in self.model.reports}
        readable: list[Path] = []
        for path in paths:
            if path.exists():
                readable.append(path)
            else:
                show_warning(f"{path}: there is no such file or folder.")
        if not readable:
            return

        def work() -> int:
            return self._judge(
                [source for source in find_scans(readable, sequence) if source.scan not in known]
            )

        self.start(work, self._tell_if_none)

    def judge_anew(self) -> None:
        """Judge all scans again if the preparation of their slices has changed."""
        if self._how is None or not self.model.reports or self.job.running:
            return  # what is under way ends with this
        if store_options(self._how) != store_options(self._slices()):
            sources = [report.again for report in self.model.reports]
            self.start(lambda: self._judge(sources))

    def judge(self, sources: Sequence[ScanSource]) -> None:
        """Judge these scans and put them into the table."""
        self.start(lambda: self._judge(sources), self._tell_if_none)

    def _judge(self, sources: Sequence[ScanSource]) -> int:
        total, done, sequence = len(sources), 0, self.form.sequence.value

        def report(judged: ScanReport) -> None:
            nonlocal done
            done += 1
            self.raw.look_beside(self.raw.given(judged.source), sequence)
            self._tell(judged)
            self.job.report(done, total)

        if total:
            self.job.report(0, total)
            inspect_all(
                sources,
                report,
                self.job.stopping,
                known=self._others(sources),
                settings=self._how,
            )
        return total

    def _others(self, sources: Sequence[ScanSource]) -> list[ScanReport]:
        """Return the other scans in the list, of which these may be duplicates."""
        places = {self.raw.given(source).scan for source in sources}
        return [report for report in self.model.reports if self.raw.given(report.source).scan not in places]

    def start(self, work: Callable[[], Any], on_done: Callable[[Any], None] | None = None) -> None:
        """Process scans in the thread, unless it is busy."""
        if self.job.running:
            show_warning("Scans are being looked at: wait a moment.")
            return
        self._how = self._slices()
        self.job.start(work, on_done)
        self.form.looking.begin()
        self.form.looking.setVisible(True)
        self._update()

    def _take(self, report: ScanReport) -> None:
        place = self.raw.given(report.source).scan
        rows = [row for row, old in enumerate(self.model.reports) if self.raw.given(old.source).scan == place]
        if rows:
            self.model.replace(rows[0], report)
        else:
            self.model.add(report)

    def _ended(self) -> None:
        self.form.looking.setVisible(False)
        self._update()
        if not self.job.stopping():
            self.judge_anew()

    def _clear(self) -> None:
        self.job.stop()
        self.model.clear()

    # -- asking --------------------------------------------------------------------------------------------

    def _ask_for_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self.form, "Scans to train on")
        if folder:
            self.add([Path(folder)])

    def _ask_for_files(self) -> None:
        files, _ = QFileDialog.getOpenFileNames(self.form, "Scans to train on", "", dialog_filter())
        if files:
            self.add([Path(file) for file in files])

    def _tell_if_none(self, found: int) -> None:
        if not found and not self.job.stopping():
            show_info("There are no scans here that are not in the list already.")

    def _take_layers(self) -> None:
        """Take the selected image layers, one scan each."""
        chosen = [layer for layer in self._viewer.layers.selection if isinstance(layer, Image)]
        if not chosen:
            show_warning("Select image layers in napari's layer list first.")
            return
        sources = []
        for layer in chosen:
            try:
                sources.append(self._written(patient_of(layer)))
            except CeadError as error:
                show_failure(error)
        if sources:
            self.judge(sources)

    def _written(self, patient: Patient) -> ScanSource:
        """Return the file of a patient's scan; one without a file is written first."""
        file = patient.files.get(patient.sequence)
        if file is not None and patient.files:
            return ScanSource(patient.name, file, patient.files.get("seg"), sequence=patient.sequence)
        sequence = self.form.sequence.value
        renamed = replace(patient, sequence=sequence, sequences={sequence: patient.volume()})
        return save_scan(renamed, self.folder)

    # -- brain masks ---------------------------------------------------------------------------------------

    def _chosen(self) -> list[ScanReport]:
        reports = [self.model.reports[row] for row in self.form.scans.places]
        if not reports:
            show_warning("Select a scan in the list first.")
        return reports

    def _ask_for_brain_mask(self) -> None:
        reports = self._chosen()
        if not reports:
            return
        file, _ = QFileDialog.getOpenFileName(
            self.form, f"Brain mask of {reports[0].source.name}", "", dialog_filter()
        )
        if file:
            self.give_brain_mask(reports[0], Path(file))

    def give_brain_mask(self, report: ScanReport, file: Path) -> None:
        """Judge a scan again with a brain mask."""
        source = replace(report.again, brain_mask=file)
        self.start(lambda: self.again([source]))

    def again(self, sources: Sequence[ScanSource]) -> None:
        """Judge scans again, in the thread that asks."""
        for source in sources:
            report = inspect(source, known=self._others([source]), settings=self._how)
            self._tell(report)

    def _take_brain_layer(self) -> None:
        reports = self._chosen()
        layer = self._viewer.layers.selection.active
        if not reports:
            return
        if not isinstance(layer, Labels):
            show_warning("Select the labels layer that shows the brain in napari's layer list.")
            return
        try:
            file = self._mask_file(layer, reports[0])
        except CeadError as error:
            show_failure(error)
            return
        self.give_brain_mask(reports[0], file)

    def _mask_file(self, layer: Labels, report: ScanReport) -> Path:
        """Write a labels layer in the grid of its patient, else in that of the scan."""
        from ...patients import load_patient

        tag = tag_of(layer)
        labels = np.asarray(layer.data)
        labels = labels[None] if labels.ndim == 2 else labels
        patient = tag.patient if tag is not None else load_patient(report.source.scan, only=True)
        return save_volume(labels > 0, patient, self.folder / f"{report.source.name}_brain.nii.gz")
