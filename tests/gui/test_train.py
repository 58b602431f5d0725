"""The Train dock in a real window."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import yaml
from magicgui.widgets import SpinBox
from qtpy.QtCore import QPoint, QRect, Qt, QTimer
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QApplication, QFileDialog, QLabel

from dock_driving import Still
from heads import add_head, make_stripped
from napari_cead.cli import run as run_command
from napari_cead.errors import RunError
from napari_cead.exploring import DEFAULT_MODEL
from napari_cead.models import NETWORKS, ModelSpec, build
from napari_cead.options_file import CONFIG_FILE
from napari_cead.runs.registry import runs_folder
from napari_cead.runs.run_info import ACTIVE, RunInfo
from napari_cead.store.index import StoreSettings
from napari_cead.store.inspection import inspect
from napari_cead.training.cost import Cost
from napari_cead.training.launching import command_line
from napari_cead.training.recipe import read_recipe
from napari_cead.widgets.train.close_guard import CloseGuard
from napari_cead.zoo import (
    ModelCard,
    Preprocessing,
    find_model,
    find_models,
    load_card,
    models_folder,
    save_model,
)
from napari_cead.zoo.managing import remove_model, rename_model
from scans import make_brain, write_nifti


@pytest.fixture
def cohort(tmp_path):
    """Three patients with a lesion mask each, in the NIfTI release layout."""
    for number in range(3):
        # Three times as large in plane: a slice counts from 15 % brain on.
        volume, lesion = (np.repeat(np.repeat(data, 3, 1), 3, 2) for data in make_brain())
        volume = volume * (1 + 0.2 * number) + 0.05 * number * np.roll(volume, 3 * number, axis=1) * (
            volume > 0
        )
        for name, data in (("flair", volume), ("seg", lesion.astype(np.uint8))):
            stored = np.transpose(data, (2, 1, 0))[::-1, ::-1]
            file = tmp_path / "cohort" / f"Mets_00{number}" / f"{name}.nii.gz"
            write_nifti(file, stored, np.diag([0.9, 0.95, 1.5, 1]))
    return tmp_path / "cohort"


@pytest.fixture
def dock(viewer, qtbot):
    _, dock = viewer.window.add_plugin_dock_widget("napari-cead", "Train a model")
    qtbot.waitUntil(lambda: guard_of(viewer) is not None)
    guard_of(viewer).ask = lambda runs: "leave"
    finder, manager = dock.finder, dock.manager
    yield dock
    qtbot.waitUntil(lambda: not finder.job.running)
    for run in manager.list():
        if run.active:
            manager.kill(run.path)


def guard_of(viewer):
    return viewer.window._qt_window.findChild(CloseGuard)


@pytest.fixture
def chosen(dock, cohort, qtbot):
    """The dock with three scans, all ticked."""
    dock.finder.add([cohort])
    qtbot.waitUntil(lambda: len(dock.form.scans.scans.reports) == 3 and not dock.finder.job.running)
    for row in range(3):
        model = dock.form.scans.scans
        model.setData(model.index(row, 0), Qt.CheckState.Checked.value, Qt.ItemDataRole.CheckStateRole)
    return dock


def test_without_scans_it_says_what_is_missing(dock):
    assert not dock.form.start.enabled
    assert dock.form.problem.text() == "Tick at least 2 scans: one to learn from, one to validate on."


def test_scans_are_listed_with_what_they_are(chosen):
    reports = chosen.form.scans.scans.reports
    assert [report.source.name for report in reports] == ["Mets_000", "Mets_001", "Mets_002"]
    lines = chosen.form.scans.scans.index(0, 1).data().splitlines()
    z, y, x = reports[0].shape
    assert lines[0] == "Mets_000"
    assert lines[1].startswith(f"{x} × {y} × {z}, 0.9 × 0.95 × 1.5 mm, {reports[0].slices} usable slices")
    assert any("has a lesion mask" in line for line in lines[2:])
    assert chosen.form.found.text().startswith("3 of 3 scans ticked")
    assert chosen.form.start.enabled


def test_a_click_on_the_tick_takes_a_scan_out(chosen, qtbot):
    index = chosen.form.scans.scans.index(1, 0)
    place = chosen.form.scans.visualRect(index)
    qtbot.mouseClick(
        chosen.form.scans.viewport(),
        Qt.MouseButton.LeftButton,
        pos=QPoint(place.left() + 10, place.center().y()),
    )
    assert [report.source.name for report in chosen.form.scans.scans.chosen] == ["Mets_000", "Mets_002"]
    assert chosen.form.found.text().startswith("2 of 3")


def test_a_skull_cannot_be_ticked_until_there_is_a_brain_mask(dock, tmp_path, qtbot):
    def click(row):
        place = dock.form.scans.visualRect(dock.form.scans.scans.index(row, 0))
        button = Qt.MouseButton.LeftButton
        qtbot.mouseClick(
            dock.form.scans.viewport(), button, pos=QPoint(place.left() + 10, place.center().y())
        )

    def names():
        return [report.source.name for report in dock.form.scans.scans.chosen]

    brain, spacing = make_stripped(), np.diag([2.0, 2.0, 4.0, 1.0])
    head = write_nifti(tmp_path / "head.nii.gz", np.transpose(add_head(brain), (2, 1, 0)), spacing)
    other = make_stripped(seed=1, contrast="t2")
    other = write_nifti(tmp_path / "other.nii.gz", np.transpose(other, (2, 1, 0)), spacing)
    dock.finder.add([head, other])
    qtbot.waitUntil(lambda: len(dock.form.scans.scans.reports) == 2 and not dock.finder.job.running)
    assert names() == []
    click(0)
    click(1)
    assert names() == ["other"]  # another contrast is for the user to judge, a skull is not
    inside = np.pad(brain != 0, ((0, 0), (14, 14), (14, 14))).astype(np.uint8)
    mask = write_nifti(tmp_path / "inside.nii.gz", np.transpose(inside, (2, 1, 0)), spacing)
    dock.finder.give_brain_mask(dock.form.scans.scans.reports[0], mask)
    qtbot.waitUntil(lambda: names() == ["head", "other"])
    click(0)
    assert names() == ["other"]


def test_a_scan_that_is_in_the_list_already_is_a_duplicate_under_any_name(chosen, cohort, tmp_path, qtbot):
    other = shutil.copy2(cohort / "Mets_000" / "flair.nii.gz", tmp_path / "again_flair.nii.gz")
    chosen.finder.add([tmp_path / "gone", Path(other)])
    qtbot.waitUntil(lambda: len(chosen.form.scans.scans.reports) == 4 and not chosen.finder.job.running)
    report = chosen.form.scans.scans.reports[3]
    assert report.reasons == ("the same scan as Mets_000",)
    assert report not in chosen.form.scans.scans.chosen


def test_a_place_that_is_not_there_spoils_no_other(dock, cohort, qtbot, notified):
    dock.finder.add([cohort / "gone", cohort])
    qtbot.waitUntil(lambda: len(dock.form.scans.scans.reports) == 3 and not dock.finder.job.running)
    assert notified == [("warning", f"{cohort / 'gone'}: there is no such file or folder.")]


def test_delete_takes_the_selected_scans_out(chosen, qtbot):
    chosen.form.scans.selectRow(1)
    qtbot.keyClick(chosen.form.scans, Qt.Key.Key_Delete)
    assert [report.source.name for report in chosen.form.scans.scans.reports] == ["Mets_000", "Mets_002"]
    assert chosen.form.found.text().startswith("2 of 2")


@pytest.mark.parametrize(
    ("typed", "rate"), [("1e-4", "0.0001"), ("0,002", "0.002"), ("5", None), ("x", None)]
)
def test_a_learning_rate_is_typed_as_people_write_it(chosen, qtbot, typed, rate):
    chosen.form.rows.controls["lr"].native.selectAll()
    qtbot.keyClicks(chosen.form.rows.controls["lr"].native, typed)
    assert chosen.form.start.enabled == (rate is not None)
    if rate is None:
        assert chosen.form.problem.text().startswith("The learning rate has to be a number above 0")
    else:
        assert f"--lr {rate} " in chosen.form.command.text()


def test_a_name_is_asked_for_and_a_long_one_does_not_widen_the_dock(chosen):
    width = chosen.width()
    chosen.form.name.value = " "
    assert chosen.form.problem.text() == "Give the new model a name."
    chosen.form.name.value = "n" * 300
    assert chosen.form.problem.text().startswith("The name is too long: use up to 64 letters")
    QApplication.processEvents()
    assert chosen.width() == width


def test_start_does_not_move_when_a_row_a_warning_or_the_banner_appears(dock, cohort, qtbot):
    def place():
        QApplication.processEvents()
        button = dock.form.start.native
        return button.mapTo(dock.tabs, button.rect().topLeft())

    before = place()
    dock.finder.add([cohort])
    assert dock.form.looking.isVisibleTo(dock) and place() == before
    qtbot.waitUntil(lambda: len(dock.form.scans.scans.reports) == 3 and not dock.finder.job.running)
    assert place() == before
    dock.form.banner.show_needs(
        "3 scans have a skull, which has to be stripped first.", strip=True, even=True
    )
    dock.form.name.value = "n" * 300
    dock.form.base.value = "from scratch"
    assert dock.form.banner.isVisibleTo(dock) and dock.form.problem.text() and place() == before


def test_looking_at_scans_says_how_long_it_takes(dock, cohort, qtbot, monkeypatch):
    monkeypatch.setattr("napari_cead.progress.SURE_AFTER_S", 0)
    said = []
    dock.form.looking.valueChanged.connect(lambda *_: said.append(dock.form.looking.text()))
    dock.finder.add([cohort])
    qtbot.waitUntil(lambda: len(dock.form.scans.scans.reports) == 3 and not dock.finder.job.running)
    assert any(re.fullmatch(r"[12] of 3 · \d+ (s|min) left", text) for text in said)


def test_a_long_training_at_full_size_says_below_start_what_it_takes(chosen, qtbot, monkeypatch):
    measured = []

    def cost_of(settings, hardware, spacing, *, most=None):
        measured.append(settings.spec.size)
        return Cost(
            "cpu", 81_000_000, 60.0 if settings.spec.size == "paper" else 0.5, 0.0, 0, 3, settings.epochs
        )

    monkeypatch.setattr("napari_cead.training.cost.cost_of", cost_of)

    def places():
        QApplication.processEvents()
        return [
            part.mapTo(chosen.tabs, part.rect().topLeft())
            for part in (chosen.form.start.native, chosen.form.command.copy.native)
        ]

    before = places()
    chosen.form.rows.controls["device"].value = "cpu"
    chosen.form.base.value, chosen.form.design.value = "from scratch", "ae"
    chosen.form.context.value = False
    assert chosen.form.cost.text() == ""
    chosen.form.network_size.value = "paper"
    qtbot.waitUntil(lambda: chosen.form.cost.text().startswith("ae at full size"), timeout=10_000)
    assert "(81 million weights) takes about" in chosen.form.cost.text()
    assert re.search(
        r"per epoch on this processor, .* for 200; with size small \(16 epochs\) about",
        chosen.form.cost.text(),
    )
    assert measured == ["paper", "small"] and places() == before
    chosen.form.rows.controls["epochs"].value = 100
    assert " for 100; " in chosen.form.cost.text() and len(measured) == 2
    chosen.form.network_size.value = "small"
    assert chosen.form.cost.text() == "" and places() == before


def test_all_controls_of_the_model_begin_at_one_place(dock):
    form = dock.form
    controls = (form.base, form.design, form.network_size, form.name, *form.rows.controls.values())
    places = {part.native.mapTo(form, QPoint(0, 0)).x() for part in controls if part.native.isVisible()}
    assert len(places) == 1


def test_the_rows_of_the_design_show_that_of_the_base_model(dock):
    dock.form.base.value, dock.form.design.value, dock.form.network_size.value = (
        "from scratch",
        "vae2",
        "paper",
    )
    dock.form.base.value = "ce-vae1"
    assert (dock.form.design.value, dock.form.network_size.value, dock.form.design.native.isEnabled()) == (
        "ce-vae1",
        "small",
        False,
    )
    dock.form.base.value = "from scratch"
    assert (dock.form.design.value, dock.form.network_size.value, dock.form.design.native.isEnabled()) == (
        "vae2",
        "paper",
        True,
    )


def test_explore_follows_a_model_that_gets_another_name(viewer, installed_model, qtbot):
    _, explore = viewer.window.add_plugin_dock_widget("napari-cead", "Explore anomalies")
    explore.model.value = installed_model
    rename_model(installed_model, "renamed")
    qtbot.waitUntil(lambda: explore.model.value == "renamed", timeout=10_000)
    remove_model("renamed")
    qtbot.waitUntil(lambda: explore.model.value == DEFAULT_MODEL, timeout=10_000)


def test_a_taken_name_is_refused_before_the_start(chosen):
    chosen.form.name.value = "ce-vae1"
    assert chosen.form.problem.text() == "There is a model called ce-vae1 already: choose another name."
    assert not chosen.form.start.enabled


def test_context_encoding_chooses_the_twin_from_scratch(chosen):
    chosen.form.base.value, chosen.form.design.value = "from scratch", "vae2"
    chosen.form.context.value = False
    assert chosen.model == "vae2"
    assert not chosen.form.rows.controls["max_squares"].enabled
    chosen.form.context.value = True
    assert chosen.model == "ce-vae2"
    assert "napari-cead train ce-vae2" in chosen.form.command.text()
    assert "--init-from" not in chosen.form.command.text()


def test_only_an_encoder_that_has_learned_something_can_be_kept(chosen):
    chosen.form.base.value = "vae1"
    chosen.form.rows.controls["freeze_encoder"].value = True
    assert (
        chosen.form.rows.controls["freeze_encoder"].enabled
        and "--freeze-encoder" in chosen.form.command.text()
    )
    chosen.form.base.value = "from scratch"
    assert (
        not chosen.form.rows.controls["freeze_encoder"].enabled
        and "--freeze-encoder" not in chosen.form.command.text()
    )


def test_what_to_do_first_is_said_in_full(dock, qtbot):
    label = dock.form.found

    def whole():
        room = QRect(0, 0, label.width(), 1000)
        needed = label.fontMetrics().boundingRect(room, Qt.TextFlag.TextWordWrap, label.text()).height()
        assert 0 < needed <= label.height()

    qtbot.waitUntil(whole)  # napari's font comes with the window


def test_a_denoiser_comes_with_settings_and_corruptions_of_its_own(chosen):
    chosen.form.base.value, chosen.form.design.value = "from scratch", "dae"
    assert shown(chosen) == ("0.001", 16, "linear")
    assert not chosen.form.context.enabled and not chosen.form.rows.controls["max_squares"].enabled
    words = chosen.form.command.text()
    assert "napari-cead train dae " in words and "--max-squares" not in words and "--schedule" not in words
    chosen.form.rows.controls["batch_size"].value = 12
    chosen.form.design.value = "ce-unet"
    assert "napari-cead train ce-unet " in chosen.form.command.text()
    chosen.form.design.value = "ce-vae1"
    assert (
        chosen.form.context.enabled
        and chosen.form.rows.controls["max_squares"].enabled
        and chosen.form.context.value
    )
    # What the user chose stays.
    assert shown(chosen) == ("0.002", 12, "one-cycle")
    assert "--batch-size 12" in chosen.form.command.text()


def shown(dock):
    return tuple(dock.form.rows.controls[name].value for name in ("lr", "batch_size", "schedule"))


@pytest.mark.parametrize("start", ["ce-unet", "vae1", "dae small", "ce-vq-vae small", "ae paper"])
def test_the_dock_has_the_defaults_of_the_command_that_it_shows(dock, start, capsys):
    if " " in start:
        dock.form.base.value = "from scratch"
        dock.form.design.value, dock.form.network_size.value = start.split()
        dock.form.context.value = start.startswith("ce-")
    else:
        dock.form.base.value = start
    words = shlex.split(dock.form.command.text())[1:]
    del words[words.index("--data") : words.index("--data") + 4]  # there are no scans yet
    assert run_command([*words, "--print-config"]) == 0
    resolved = yaml.safe_load(capsys.readouterr().out)
    assert not {"--epochs", "--lr", "--batch-size", "--schedule", "--seed"} & set(words)
    for name, control in dock.form.rows.controls.items():
        value = resolved[name]
        if name == "lr":
            assert float(control.value) == pytest.approx(value)
        elif name == "max_squares":
            corruption = json.loads(resolved["corruption"] or "{}")
            assert not control.enabled or control.value == corruption["squares"][1]
        else:
            assert control.value == (value or 0 if isinstance(control, SpinBox) else value), name
        assert control.native.toolTip()


def test_an_ensemble_is_not_offered_to_be_fine_tuned(chosen):
    member = ModelSpec(name="tiny", family="ae", feature_maps=(4, 8), latent=5, image_size=20)
    spec = ModelSpec(**NETWORKS.find("ensemble").spec_of((member, member)))
    card = ModelCard(name="ours", spec=spec, preprocessing=Preprocessing(image_size=20))
    save_model(build(spec), card, models_folder() / "ours")
    chosen.refresh_base_models()
    assert "ours" in find_models() and "ours" not in chosen.form.base.choices
    assert "ce-unet" in chosen.form.base.choices


def test_the_size_decides_the_suggested_settings(chosen):
    epochs = chosen.form.rows.controls["epochs"]
    chosen.form.base.value, chosen.form.design.value = "from scratch", "ae"
    assert (epochs.value, "--preset small" in chosen.form.command.text()) == (16, True)
    chosen.form.network_size.value = "paper"
    assert epochs.value == 200 and "--size paper" in chosen.form.command.text()


def test_another_base_has_the_scans_judged_as_its_slices_are(chosen, qtbot):
    def pictures(**preparation):
        settings = StoreSettings(**preparation)
        reports = chosen.form.scans.scans.reports
        return [inspect(report.source, settings=settings).signature for report in reports]

    def shown():
        return [report.signature for report in chosen.form.scans.scans.reports]

    ticked = chosen.form.scans.scans.index(1, 0)
    chosen.form.scans.scans.setData(ticked, Qt.CheckState.Unchecked.value, Qt.ItemDataRole.CheckStateRole)
    assert chosen.form.base.value == "ce-unet"
    ours = {"intensity": "volume-tissue", "spacing": (1.0, 1.0), "image_size": 192}
    assert np.array_equal(shown(), pictures(**ours)) and not np.array_equal(shown(), pictures())
    chosen.form.base.value = "vae1"
    assert not chosen.form.start.enabled and chosen.form.problem.text() == "Scans are being looked at…"
    qtbot.waitUntil(lambda: not chosen.finder.job.running)
    assert np.array_equal(shown(), pictures())
    chosen.form.base.value, chosen.form.design.value = "from scratch", "ce-unet"
    qtbot.waitUntil(lambda: not chosen.finder.job.running)
    assert np.array_equal(shown(), pictures(**ours))
    # What the user has unticked stays so.
    assert [report.source.name for report in chosen.form.scans.scans.chosen] == ["Mets_000", "Mets_002"]


def test_start_runs_the_shown_command_in_a_process_of_its_own(chosen, qtbot, monkeypatch):
    started = []
    start = chosen.manager.start
    monkeypatch.setattr(chosen.manager, "start", lambda recipe: started.append(recipe) or start(recipe))
    chosen.form.rows.controls["epochs"].value, chosen.form.name.value = 1, "mine"
    shown = chosen.form.command.text()
    chosen.form.start.native.click()
    assert shown == command_line(["train", *started[0].words()]) and "--epochs 1" in shown
    run = chosen.view.run
    assert read_recipe(run / CONFIG_FILE) == started[0]
    listed = json.loads((run / "scans.json").read_text())
    assert [scan["name"] for scan in listed["scans"]] == ["Mets_000", "Mets_001", "Mets_002"]
    assert chosen.tabs.currentIndex() == 1
    still = Still(chosen)
    still.while_waiting(
        qtbot,
        lambda: chosen.view.info is not None and chosen.view.info.state not in ACTIVE,
        timeout=150_000,
    )
    assert chosen.view.info.state == "finished", chosen.view.info
    assert chosen.view.info.installed == "mine"
    assert list(chosen.view.strip._files), "a strip of validation slices was drawn"
    chosen.view.use.click()
    qtbot.waitUntil(lambda: any("mine" in str(dock.model.value) for dock in explore_docks(chosen.viewer)))


def test_what_comes_out_is_compared_renamed_noted_exported_and_deleted(
    chosen, cohort, tmp_path, monkeypatch, qtbot
):
    finished(chosen, qtbot)
    model, view = chosen.model_made, chosen.before_after
    assert (model.isVisibleTo(chosen), model.title.text()) == (True, "mine")
    # Compared with the model it came from, on its validation slices and on a patient with a mask.
    assert view.before.currentText() == "ce-unet"
    view.add_folder(cohort / "Mets_000")
    monkeypatch.setattr("napari_cead.progress.SURE_AFTER_S", 0)
    said = []
    view.bar.valueChanged.connect(lambda *_: said.append(view.bar.text()))
    for _ in range(2):  # nothing moves, neither for the first result nor for one in its place
        still = Still(chosen)
        qtbot.mouseClick(view.compare, Qt.MouseButton.LeftButton)
        assert view.bar.isVisible()
        still.while_waiting(qtbot, lambda: view.found is not None and not view.job.running)
    assert (view.found.before, view.found.after, view.found.patient) == ("ce-unet", "mine", "Mets_000")
    assert any(text.endswith(" left") for text in said)
    assert "Dice of the volume" in view.verdict.text()
    for shown in ("residual in the brain", "dice_patient", "flair-threshold"):
        assert shown in view.figures.text()
    assert view.figures.minimumSizeHint().width() <= view.figures.width(), "a column is cut off"
    assert view.pictures.findChildren(QLabel)[1].pixmap().width() > 0
    assert chosen.tabs.currentWidget().horizontalScrollBar().maximum() == 0, "the page scrolls sideways"
    # Another name, which the list of trainings knows too.
    model.title.selectAll()
    qtbot.keyClicks(model.title, "ours")
    qtbot.mouseClick(model.rename, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: chosen.view.info.installed == "ours")
    assert "installed as ours" in chosen.view.state.text()
    # It wants its slices as the model it came from, which are not the usual ones.
    wanted = load_card(find_model("ce-unet")).preprocessing
    assert load_card(find_model("ours")).preprocessing == wanted and wanted.image_size == 192
    # Notes, which an export leaves out unless they are ticked.
    qtbot.keyClicks(model.notes, "Scanner 3 of ward 7")
    qtbot.mouseClick(model.save_notes, Qt.MouseButton.LeftButton)
    assert load_card(find_model("ours")).notes == "Scanner 3 of ward 7"
    for ticked in (False, True):
        target = tmp_path / f"{ticked}.zip"
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, path=target: (str(path), ""))
        model.with_names.setChecked(ticked)
        qtbot.mouseClick(model.export, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: not model.job.running)
        with ZipFile(target) as archive:
            card = next(name for name in archive.namelist() if name.endswith("config.json"))
            assert (b"ward 7" in archive.read(card)) == ticked
    # Gone only after a yes.
    for answer in (False, True):
        chosen.confirm = lambda _, said=answer: said
        qtbot.mouseClick(model.delete, Qt.MouseButton.LeftButton)
        assert ("ours" in find_models()) != answer
    assert not model.isVisibleTo(chosen)
    assert chosen.view.state.text() == "Finished"


def finished(dock, qtbot):
    """Train one epoch, as ``mine``."""
    dock.form.rows.controls["epochs"].value, dock.form.name.value = 1, "mine"
    qtbot.waitUntil(dock.form.start.native.isEnabled)  # another base judges the scans anew
    dock.form.start.native.click()
    ended(dock, qtbot, "finished")


def ended(dock, qtbot, state):
    qtbot.waitUntil(
        lambda: dock.view.info is not None and dock.view.info.state not in ACTIVE, timeout=150_000
    )
    assert dock.view.info.state == state, dock.view.info


def test_a_killed_training_says_so_and_goes_on(chosen, qtbot):
    started(chosen, qtbot)
    chosen.manager.kill(chosen.view.run)
    ended(chosen, qtbot, "crashed")
    assert "killed" in chosen.view.state.text() and chosen.view.resume.isVisibleTo(chosen)
    done = chosen.view.info.epoch
    qtbot.mouseClick(chosen.view.resume, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: chosen.view.info.active and chosen.view.info.epoch > done, timeout=60_000)
    assert not chosen.view.resume.isVisibleTo(chosen)
    qtbot.mouseClick(chosen.view.keep, Qt.MouseButton.LeftButton)
    ended(chosen, qtbot, "finished")
    assert "mine" in find_models()


def started(dock, qtbot):
    """Begin a training that lasts, and wait for its second epoch."""
    dock.form.rows.controls["epochs"].value, dock.form.name.value = 10_000, "mine"
    dock.form.start.native.click()
    qtbot.waitUntil(lambda: dock.view.info is not None and dock.view.info.epoch >= 1, timeout=60_000)


def test_closing_napari_asks_what_becomes_of_a_training(chosen, viewer, qtbot):
    started(chosen, qtbot)
    window, guard = viewer.window._qt_window, guard_of(viewer)
    asked = []
    guard.ask = lambda runs: asked.append([run.name for run in runs]) or "stay"
    window.close()
    assert asked == [["mine"]] and window.isVisible()
    # Another dock, as in a napari that is opened again, finds it at work.
    viewer.window.remove_dock_widget(chosen)
    _, again = viewer.window.add_plugin_dock_widget("napari-cead", "Train a model")
    assert again.tabs.currentIndex() == 1
    assert (again.view.info.name, again.view.info.state) == ("mine", "running")
    qtbot.waitUntil(lambda: len(again.view._epochs) >= 1)
    # The answer "pause" lets the window close, and the process end with a checkpoint.
    guard.ask = lambda runs: "pause"
    event = QCloseEvent()
    assert not guard.eventFilter(window, event) and event.isAccepted()
    qtbot.waitUntil(lambda: again.view.info.state == "paused", timeout=60_000)


@pytest.mark.parametrize(
    ("button", "answer"), [("Leave running", "leave"), ("Pause", "pause"), ("Cancel", "stay")]
)
def test_the_question_names_the_training_and_has_three_answers(dock, viewer, qtbot, button, answer):
    said = []

    def press():
        box = QApplication.activeModalWidget()
        said.append(box.text())
        (wanted,) = [each for each in box.buttons() if each.text().replace("&", "") == button]
        qtbot.mouseClick(wanted, Qt.MouseButton.LeftButton)

    QTimer.singleShot(300, press)
    run = RunInfo(Path("mine"), "mine", "running", epoch=3, epochs=10)
    assert guard_of(viewer)._ask([run]) == answer
    assert said == ["mine is being trained (epoch 3 of 10)."]


@pytest.mark.slow  # closing napari by hand is tested
def test_a_script_that_closes_the_viewer_is_not_asked(chosen, viewer, qtbot):
    started(chosen, qtbot)
    asked = []
    guard_of(viewer).ask = lambda runs: asked.append(runs) or "stay"
    manager = chosen.manager
    viewer.close()
    assert not asked
    assert manager.status("mine").active


def test_a_start_that_fails_leaves_nothing_behind(chosen, monkeypatch, notified):
    def broken(*_):
        raise RunError("the process cannot be started", file="python", hint="install it again")

    monkeypatch.setattr(chosen.manager, "start", broken)
    chosen.form.name.value = "mine"
    chosen.form.start.native.click()
    assert any("cannot be started" in message for _, message in notified)
    assert not (runs_folder() / "mine").exists()


def test_context_encoding_can_be_taken_on_by_a_model_without_it(chosen, qtbot):
    chosen.form.base.value = "vae1"
    assert not chosen.form.context.value
    chosen.form.context.value = True
    chosen.form.rows.controls["max_squares"].value = 3
    assert "train ce-vae1" in chosen.form.command.text() and "--init-from vae1" in chosen.form.command.text()
    finished(chosen, qtbot)
    assert chosen.view.info.model == "ce-vae1"
    assert [parent.name for parent in load_card(find_model("mine")).parents] == ["vae1"]


def explore_docks(viewer):
    from napari_cead.widgets import ExploreWidget
    from napari_cead.widgets.common.docks import docks_in

    return docks_in(viewer, ExploreWidget)
