"""Make the pictures of the documentation from the running program (synthetic patient, bundled models).

python tools/screenshots.py docs/images                 # all
python tools/screenshots.py docs/images evaluating      # those of one dock: exploring, training or evaluating
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import napari
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QScrollArea, QWidget

from napari_cead import resources
from napari_cead.atomic import atomic_path
from napari_cead.patients import find_patients, load_patient
from napari_cead.phantom import write_cohort
from napari_cead.widgets import EvaluateWidget, ExploreWidget, TrainWidget
from napari_cead.widgets.explore.launch import wait_until

PATIENCE = 1200.0


def in_both_themes(viewer: napari.Viewer, folder: Path, name: str) -> None:
    """Save ``NAME.png`` and, in the light theme, ``NAME-light.png``."""
    for theme, suffix in (("light", "-light"), ("dark", "")):
        viewer.theme = theme
        wait_until(lambda: False, 1.0)
        with atomic_path(folder / f"{name}{suffix}.png") as temporary:
            viewer.window.screenshot(str(temporary), flash=False, canvas_only=False)


class Photographer:
    """A window with the sample patient, and what it takes to get a picture of it.

    Args:
        folder: Where the pictures go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.viewer = napari.Viewer(title="napari-cead")
        self.viewer.theme = "dark"
        self.viewer.window.resize(1500, 940)
        _, dock = self.viewer.window.add_plugin_dock_widget("napari-cead", "Explore anomalies")
        assert isinstance(dock, ExploreWidget)
        self.dock = dock
        dock.use_patient(load_patient(resources.sample_patient()))
        self.viewer.scene.camera.zoom *= 1.35

    def run(self, model: str, score: str) -> None:
        """Run a model and wait until everything that follows is on show."""
        self.dock.model.value, self.dock.score.value = model, score
        self.dock.run.native.click()
        self.until(lambda: self.dock.session.analysis is not None and not self.dock.running)
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is computed or drawn any more."""
        self.until(lambda: not self.dock.busy)
        wait_until(lambda: False, 1.0)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something.

        Raises:
            SystemExit: If it takes too long.
        """
        if not wait_until(condition, PATIENCE):
            raise SystemExit("error: the window did not get where the picture is to be taken")

    def scroll(self, share: float) -> None:
        """Scroll the dock, 0 is its top and 1 its end."""
        bar = self.dock.findChild(QScrollArea).verticalScrollBar()
        bar.setValue(round(share * bar.maximum()))

    def take(self, name: str) -> None:
        """Save pictures of the window, in the dark and in the light theme."""
        self.settle()
        in_both_themes(self.viewer, self.folder, name)


def exploring(folder: Path) -> None:
    """Take the pictures of the Explore dock."""
    here = Photographer(folder)
    dock, viewer = here.dock, here.viewer
    here.run("ce-unet", "fused")
    here.take("explore")

    here.scroll(1.0)
    dock.form.tabs.setCurrentWidget(dock.form.lesions)
    dock.form.lesions.next()
    here.take("explore-lesions")

    viewer.reset_view()
    viewer.scene.camera.zoom *= 1.35
    here.run("ce-vae1", "positive-residual")
    here.run("ae", "residual")
    dock.compare.select(("ce-unet", "fused"))
    dock.form.tabs.setCurrentWidget(dock.form.comparison)
    dock.compare.toggle()
    here.settle()
    here.scroll(1.0)
    here.take("explore-compare")
    dock.compare.toggle()

    here.scroll(0.0)
    viewer.dims.ndisplay = 3
    viewer.layers["anomaly map"].visible = False  # the projection of the whole map would cover everything
    viewer.layers["flair"].opacity = 0.4
    viewer.layers["detected mask"].opacity = 0.9
    viewer.reset_view()
    viewer.scene.camera.zoom *= 1.6
    viewer.scene.camera.angles = (0, 30, 70)
    here.take("explore-3d")
    viewer.close()


def training(folder: Path, home: Path) -> None:
    """Take the pictures of the Train dock: fine-tuning on a few synthetic patients."""
    scans = home / "scans"
    write_cohort(scans, 14, seed=3)
    viewer = napari.Viewer(title="napari-cead")
    viewer.theme = "dark"
    viewer.window.resize(1500, 940)
    _, dock = viewer.window.add_plugin_dock_widget("napari-cead", "Train a model")
    assert isinstance(dock, TrainWidget)
    viewer.open_sample("napari-cead", "synthetic_patient")

    def take(name: str, top: QWidget | None = None) -> None:
        area = dock.tabs.currentWidget()
        wait_until(lambda: False, 1.0)
        if top is not None:
            area.verticalScrollBar().setValue(top.mapTo(area.widget(), QPoint(0, 0)).y())
            wait_until(lambda: False, 0.5)
        in_both_themes(viewer, folder, name)

    def until(condition: Callable[[], bool]) -> None:
        if not wait_until(condition, PATIENCE):
            raise SystemExit("error: the training did not get where the picture is to be taken")

    dock.finder.add([scans])
    until(lambda: len(dock.form.scans.scans.reports) == 14 and not dock.finder.job.running)
    for row in range(14):
        index = dock.form.scans.scans.index(row, 0)
        dock.form.scans.scans.setData(index, Qt.CheckState.Checked.value, Qt.ItemDataRole.CheckStateRole)
    dock.form.rows.controls["epochs"].value = 12
    take("train")
    dock.form.start.native.click()
    until(lambda: dock.view.info is not None and dock.view.info.epoch >= 6)
    take("train-running")
    until(lambda: dock.view.info is not None and dock.view.info.state == "finished")
    dock.before_after.offer_patients()
    dock.before_after.patient.setCurrentIndex(1)
    dock.before_after.compare.click()
    until(lambda: dock.before_after.found is not None and not dock.before_after.job.running)
    take("train-after", dock.model_made)
    viewer.close()


def evaluating(folder: Path, home: Path) -> None:
    """Take the pictures of the Evaluate dock: two models on a few synthetic patients, one with a broken file."""
    cohort = home / "phantoms"
    write_cohort(cohort, 6, seed=4)
    broken = sorted(cohort.rglob("flair.nii.gz"))[-1]
    broken.write_bytes(broken.read_bytes()[:20_000])
    names = sorted(patient.name for patient in find_patients(cohort))
    split = home / "split.json"
    split.write_text(json.dumps({"train": [], "validation": names[:2], "test": names[2:]}), encoding="utf-8")
    viewer = napari.Viewer(title="napari-cead")
    viewer.theme = "dark"
    viewer.window.resize(1500, 940)
    _, dock = viewer.window.add_plugin_dock_widget("napari-cead", "Evaluate a cohort")
    assert isinstance(dock, EvaluateWidget)
    viewer.open_sample("napari-cead", "synthetic_patient")

    def take(name: str) -> None:
        wait_until(lambda: False, 1.0)
        in_both_themes(viewer, folder, name)

    def until(condition: Callable[[], bool]) -> None:
        if not wait_until(condition, 4 * PATIENCE):
            raise SystemExit("error: the evaluation did not get where the picture is to be taken")

    dock.form.cohort.value, dock.form.split.value = str(cohort), str(split)
    dock.check.button.native.click()
    until(lambda: bool(dock.check.findings.content.rows) and not dock.check.job.running)
    dock.form.tick_none.native.click()
    for row in range(dock.form.models.count()):
        if dock.form.models.item(row).text() in ("ae", "ce-ae"):
            dock.form.models.item(row).setCheckState(Qt.CheckState.Checked)
    dock.form.workers.value = 1
    take("evaluate")
    dock.form.start.native.click()
    until(lambda: dock.results.folder is not None)
    dock.tabs.setCurrentWidget(dock.results)
    dock.notice.clear()
    take("evaluate-results")
    viewer.close()


def main(folder: Path, which: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if "exploring" in which:
        exploring(folder)
    home = Path(tempfile.gettempdir(), "napari-cead")  # seen in the pictures
    home.mkdir()
    try:
        # The user's own models and trainings stay out of the pictures.
        os.environ["NAPARI_CEAD_HOME"] = str(home)
        if "training" in which:
            training(folder, home)
        if "evaluating" in which:
            evaluating(folder, home)
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ("exploring", "training", "evaluating"))
