"""The Train dock: fine-tune a model on local healthy scans, in a separate process, without leaving napari."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_info
from qtpy.QtCore import QTimer
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QApplication, QMessageBox, QTabWidget, QWidget

from ...contributions.failures import show_failure
from ...errors import CeadError
from ...models.networks import all_designs, with_context
from ...models.specs import ModelSpec
from ...runs.registry import runs_folder
from ...runs.run_files import SCANS, SCANS_FILE, remove_run
from ...runs.run_info import RunInfo
from ...store.index import StoreSettings
from ...store.preprocessing import preprocessing_for, store_options
from ...store.scan_list import write_scan_list
from ...training.manager import RunManager
from ...training.recipe import Recipe
from ...zoo import check_name, find_model, find_models, load_card
from ..canvas.layer_view import patients_in
from ..common.controls import list_height, scrolled, stacked
from ..common.dock_lifetime import when_gone
from ..common.docks import docks_in
from ..common.keyboard import KeyboardDock
from ..common.messages import Messages
from ..common.model_watch import ModelWatch
from ..common.wheel import scroll_with_wheel
from ..explore.threshold_plot import is_dark
from .before_after_view import BeforeAfterView
from .close_guard import CloseGuard
from .cost_line import CostLine
from .finished_model import FinishedModel
from .run_view import RunView
from .runs_table import RunsTable
from .scan_finder import ScanFinder
from .scan_table import sources
from .train_form import LIST_HEIGHT, SCRATCH, TrainForm, base_models

LIST_EVERY_MS = 2000
"""Interval between updates of the list of trainings."""

LONGEST_SHOWN = 40
"""Letters of a name that a sentence can hold."""

FEWEST_SCANS = 2
"""One scan for training and one for validation."""


class TrainWidget(KeyboardDock):
    """Choose scans, start a training, watch it, and use its model.

    A training is the command ``napari-cead train`` in another process: it continues when napari is closed, and any dock
    opened later finds it.

    Attributes:
        form: What is asked for.
        runs: The list of trainings.
        manager: Knows all trainings of this machine.
        finder: Brings scans into the list.
        view: Follows the selected training.
        model_made: Actions on the model of a finished one.
        before_after: Compares it with its base model.
        confirm: Asks a question and returns whether the answer is yes.

    Args:
        napari_viewer: The viewer to work in.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.manager = RunManager()
        self.confirm: Callable[[str], bool] = self._ask
        self.form, self.runs = TrainForm(), RunsTable()
        self.finder = ScanFinder(self.form, napari_viewer, lambda: self.slices, self.update_enabled)
        self.view = RunView(self.manager, lambda question: self.confirm(question))
        self.model_made = FinishedModel(lambda question: self.confirm(question))
        self.before_after = BeforeAfterView(lambda: patients_in(self.viewer))
        self.costs = CostLine(self.form.cost)
        follow = QWidget()
        follow_column = stacked(follow, self.runs, self.view, self.model_made, self.before_after, margin=4)
        follow_column.addStretch(1)
        self.tabs = QTabWidget()
        self.tabs.addTab(scrolled(self.form), "New training")
        self.tabs.addTab(scrolled(follow), "Trainings")
        stacked(self, self.tabs, Messages())
        self.setMinimumWidth(400)
        self._chosen_design: dict[str, str] | None = None
        self._list_timer = QTimer(self, interval=LIST_EVERY_MS)
        self._connect()
        self._base_chosen()
        self.refresh_runs()
        self.update_enabled()
        if any(info.active for info in self.runs.runs):
            self.tabs.setCurrentIndex(1)
        scroll_with_wheel(self)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give the list of scans its share of the dock's height."""
        super().resizeEvent(event)
        self.form.listed.setFixedHeight(list_height(LIST_HEIGHT, self))

    def _connect(self) -> None:
        form = self.form
        form.start.changed.connect(self.start_training)
        form.base.changed.connect(self._base_chosen)
        form.design.changed.connect(self._base_chosen)
        form.scans.scans.ticked.connect(self.update_enabled)
        for control in (form.healthy, form.name, *form.rows.controls.values()):
            control.changed.connect(lambda *_: self.update_enabled())
        for control in (form.network_size, form.context):
            control.changed.connect(lambda *_: self._suggest())
        self.finder.job.progressed.connect(form.looking.count)
        self.runs.chosen.connect(self.view.show_run)
        self.view.changed.connect(self.refresh_runs)
        self.view.gone.connect(self.refresh_runs)
        self.view.use_requested.connect(self.use_in_explore)
        self.view.looked.connect(self.runs.update_run)
        self.view.looked.connect(self._run_shown)
        self.model_made.changed.connect(self.view.look)
        ModelWatch(self).changed.connect(self.refresh_base_models)
        self._list_timer.timeout.connect(self.refresh_runs)
        self._list_timer.start()
        theme = self.viewer.events.theme
        theme.connect(self._theme_changed)
        self._theme_changed()
        finder, view, timer, comparison = self.finder, self.view, self._list_timer, self.before_after
        costs = self.costs

        def forget() -> None:
            """Clean up after the dock; trainings continue."""
            theme.disconnect(self._theme_changed)
            finder.stop()
            view.stop()
            comparison.stop()
            costs.stop()
            timer.stop()

        when_gone(self, forget)
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(finder.stop)
            application.aboutToQuit.connect(comparison.stop)

    def _theme_changed(self, event: Any = None) -> None:
        self.view.plots.set_theme(dark=is_dark(self.viewer.theme))

    # -- what is asked for ---------------------------------------------------------------------------------

    @property
    def model(self) -> str:
        """The design that is trained."""
        form = self.form
        scratch = form.base.value == SCRATCH
        name = str(form.design.value if scratch else load_card(find_model(form.base.value)).spec.name)
        return with_context(name, bool(form.context.value))

    @property
    def slices(self) -> StoreSettings:
        """Preparation of the slices: that of the base model, or else the design's."""
        form = self.form
        scratch = form.base.value == SCRATCH
        try:
            wanted = preprocessing_for(
                self.model, None if scratch else load_card(find_model(form.base.value))
            )
        except CeadError:  # the base model is gone; the start of the training reports it
            return StoreSettings(sequence=form.sequence.value)
        return StoreSettings(sequence=form.sequence.value, **store_options(wanted))

    def recipe(self, out: Path) -> Recipe:
        """Return the recipe of the requested training; what the user left alone is decided as in the command line.

        Args:
            out: The run's folder, which has the scan list.
        """
        given = self.form.rows.given
        if math.isnan(given.get("lr", 0)):
            del given["lr"]
        return Recipe.checked(
            model=self.model,
            data=out / SCANS_FILE,
            out=out,
            name=self.form.name.value.strip() or None,
            **self._start(),
            **given,
        )

    def _start(self) -> dict[str, Any]:
        """Return where the training starts from. ``small`` stands for the preset: it is what a processor can do."""
        form = self.form
        if form.base.value != SCRATCH:
            return {"init_from": form.base.value}
        return (
            {"preset": "small"} if form.network_size.value == "small" else {"size": form.network_size.value}
        )

    def problem_now(self) -> str:
        """Return the reason why a training cannot start yet; empty if it can."""
        form = self.form
        chosen = form.scans.scans.chosen
        if self.finder.job.running:
            return "Scans are being looked at…"
        if len(chosen) < FEWEST_SCANS:
            return f"Tick at least {FEWEST_SCANS} scans: one to learn from, one to validate on."
        unlabelled = sum(report.source.lesion_mask is None for report in chosen)
        if unlabelled and not form.healthy.value:
            return f"{unlabelled} scans have no lesion mask: say that they are healthy, or untick them."
        if math.isnan(form.rows.learning_rate):
            return "The learning rate has to be a number above 0 and at most 1, for instance 2e-4."
        return self._problem_of_name(form.name.value.strip())

    def _problem_of_name(self, name: str) -> str:
        if not name:
            return "Give the new model a name."
        try:
            check_name(name)
        except CeadError as error:
            return str(error) if len(name) <= LONGEST_SHOWN else f"The name is too long: {error.hint}."
        if name in find_models():
            return f"There is a model called {name} already: choose another name."
        if any(info.active and info.name == name for info in self.runs.runs):
            return f"A training called {name} is at work: choose another name."
        return ""

    def update_enabled(self) -> None:
        """Enable what is possible now."""
        form = self.form
        chosen = form.scans.scans.chosen
        every = form.scans.scans.reports
        if every:
            slices = sum(report.slices for report in chosen)
            form.found.setText(f"{len(chosen)} of {len(every)} scans ticked, {slices} usable slices")
        else:
            form.found.setText("Choose scans of healthy people, or drop them onto the list.")
        problem = self.problem_now()
        form.problem.setText(problem)
        form.problem.setToolTip(problem)
        form.start.enabled = not problem
        twins = self.model not in (designs := all_designs()) or designs[self.model][1].twin
        form.context.enabled = twins
        form.rows.controls["max_squares"].enabled = form.context.value and twins
        form.rows.controls["freeze_encoder"].enabled = form.base.value != SCRATCH
        out = runs_folder() / (form.name.value.strip() or "local")
        recipe = self.recipe(out)
        form.command.show_words(["train", *recipe.words()])
        self.costs.show_cost(None if problem else recipe, chosen)

    def _base_chosen(self) -> None:
        form = self.form
        scratch = form.base.value == SCRATCH
        for part in form.scratch:
            part.setEnabled(scratch)
        try:
            spec = None if scratch else load_card(find_model(form.base.value)).spec
        except CeadError as error:
            show_failure(error)
            return
        with (
            form.context.changed.blocked(),
            form.design.changed.blocked(),
            form.network_size.changed.blocked(),
        ):
            self._show_design(spec)
            form.context.value = (form.design.value if spec is None else spec.name).startswith("ce-")
        self._suggest()
        self.finder.judge_anew()

    def _show_design(self, spec: ModelSpec | None) -> None:
        """Show the design of the base model; None: the one that was chosen before there was one."""
        controls = {"name": self.form.design, "size": self.form.network_size}
        if self._chosen_design is None and spec is not None:
            self._chosen_design = {name: control.value for name, control in controls.items()}
        shown = self._chosen_design or {} if spec is None else {"name": spec.name, "size": spec.size}
        for name, value in shown.items():
            if value in controls[name].choices:
                controls[name].value = value
        if spec is None:
            self._chosen_design = None

    def _suggest(self) -> None:
        """Show the defaults of the training, as the command line has them, except where the user chose others."""
        start = self._start()
        try:
            base = load_card(find_model(start["init_from"])) if "init_from" in start else None
            usual = Recipe.checked(model=self.model, data=Path(SCANS_FILE), out=Path(), **start)
            self.form.rows.suggest(usual.settings(base))
        except CeadError as error:  # the base model is gone, or has another design
            show_failure(error)
        self.update_enabled()

    # -- starting and following ----------------------------------------------------------------------------

    def start_training(self) -> None:
        """Write the scan list into a new run's folder and start the training there."""
        form = self.form
        if self.problem_now():
            return
        run = self.manager.new_folder(form.name.value.strip())
        try:
            run.mkdir(parents=True)
            chosen = sources(form.scans.scans.chosen, healthy=form.healthy.value)
            kept = [self.finder.keep(source, run / SCANS) for source in chosen]
            write_scan_list(run / SCANS_FILE, kept, form.sequence.value)
            info = self.manager.start(self.recipe(run))
        except (CeadError, OSError) as error:
            with suppress(CeadError, OSError):  # a refused start leaves nothing behind
                remove_run(run)
            show_failure(error)
            return
        self.refresh_runs(info.path)
        self.view.show_run(info.path)
        self.tabs.setCurrentIndex(1)

    def refresh_runs(self, current: Path | None = None) -> None:
        """Update the list of trainings."""
        busy = {info.name for info in self.runs.runs if info.active}
        self.runs.show_runs(self.manager.list(), current)
        if busy != {info.name for info in self.runs.runs if info.active}:
            self.update_enabled()
        if self.view.run is None and self.runs.runs:
            first = self.runs.runs[0].path
            self.runs.show_runs(self.runs.runs, first)
            self.view.show_run(first)

    def _run_shown(self, info: RunInfo | None) -> None:
        """Offer the actions on the model of a finished training."""
        finished = info is not None and info.state == "finished" and info.installed is not None
        self.model_made.show_model(info.installed if info is not None and finished else None)
        if info is None or not finished:
            self.before_after.show_run(None)
            return
        self.before_after.use_device(self.form.rows.controls["device"].value)
        self.before_after.show_run(info.path, info.installed or "", Path(info.data), info.parent or "")

    def use_in_explore(self, name: str) -> None:
        """Select a model in the Explore dock, which is opened if necessary."""
        from ..explore.dock import ExploreWidget

        found = docks_in(self.viewer, ExploreWidget)
        if found:
            dock = found[-1]
        else:
            frame, dock = self.viewer.window.add_plugin_dock_widget(
                "napari-cead", "Explore anomalies", tabify=True
            )
            frame.raise_()
        dock.form.refresh_models()
        if name in dock.model.choices:
            dock.model.value = name
            show_info(f"{name} is chosen in the Explore dock.")

    def refresh_base_models(self) -> None:
        """Offer the current models."""
        form = self.form
        with form.base.changed.blocked():
            chosen = form.base.value
            form.base.choices = [*base_models(), SCRATCH]
            if chosen in form.base.choices:
                form.base.value = chosen
        if form.base.value != chosen:  # it is gone
            self._base_chosen()
        self.update_enabled()

    def showEvent(self, event: Any) -> None:
        """Guard napari's window from now on, and offer the open patients."""
        super().showEvent(event)
        CloseGuard.of(self, self.manager)
        self.before_after.offer_patients()

    def _ask(self, question: str) -> bool:
        answer = QMessageBox.question(self, "napari-cead", question)
        return bool(answer == QMessageBox.StandardButton.Yes)
