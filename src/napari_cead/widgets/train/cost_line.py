"""What a training at full size takes on this processor, said beside the button that starts it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QLabel

from ...errors import CeadError
from ...runs.training_settings import TrainingSettings
from ...store.foreseeing import split_by_patient
from ...store.inspection import ScanReport
from ...store.preprocessing import preprocessing_for
from ...training.recipe import Recipe
from ...zoo import find_model, load_card
from ..common.jobs import Job, spared_core

if TYPE_CHECKING:
    from ...training.cost import Cost, Slices, Smaller

QUIET_MS = 1500
"""How long the settings stay as they are before the training is measured."""

MEASURING = "Measuring what this takes on the processor…"

Measured = tuple["Cost", "Smaller | None"]


class CostLine(QObject):
    """Measures a training of full size behind the window, once for each network, batch and device.

    Attributes:
        job: The measurement.

    Args:
        label: Where it is said.
    """

    def __init__(self, label: QLabel) -> None:
        super().__init__(label)
        self.label, self.job = label, Job(self)
        self._known: dict[str, Measured | None] = {}
        self._wanted: tuple[Recipe, TrainingSettings, Slices] | None = None
        self._timer = QTimer(self, singleShot=True, interval=QUIET_MS)
        self._timer.timeout.connect(self._measure)
        self.job.ended.connect(self._show)

    def stop(self) -> None:
        """Measure nothing more."""
        self._timer.stop()

    def show_cost(self, recipe: Recipe | None, scans: Sequence[ScanReport]) -> None:
        """Say what a training takes, after measuring it if it may be long.

        Args:
            recipe: The training; None: it cannot start.
            scans: Its scans.
        """
        self._wanted = None
        settings = None if recipe is None else _settings(recipe)
        if recipe is not None and settings is not None and settings.spec.size == "paper":
            parts = split_by_patient(
                {scan.source.name: scan.source.lesion_mask is not None for scan in scans}
            )
            found: Counter[str] = Counter()
            for scan in scans:
                found[parts[scan.source.name]] += scan.slices
            if found["train"]:
                self._wanted = recipe, settings, (found["train"], found["validation"])
        self._show()

    def _show(self) -> None:
        if self._wanted is None:
            self._timer.stop()
            self._say("")
            return
        recipe, settings, slices = self._wanted
        key = _key(recipe, settings)
        if key not in self._known:
            self._say("")
            self._timer.start()
            return
        self._timer.stop()
        known = self._known[key]
        waiting = MEASURING if self.job.running else ""
        self._say(waiting if known is None else _in_words(settings, known, slices))

    def _say(self, text: str) -> None:
        self.label.setText(text)
        self.label.setToolTip(text)

    def _measure(self) -> None:
        if self._wanted is None or self.job.running:
            return  # the end of the job asks again
        recipe, settings, slices = self._wanted
        key = _key(recipe, settings)

        def work() -> Measured | None:
            with spared_core():
                return _measured(recipe, settings, slices)

        def done(found: Measured | None) -> None:
            self._known[key] = found

        self._known[key] = None  # also if it fails
        self.job.start(work, done)
        self._say(MEASURING)


def _settings(recipe: Recipe) -> TrainingSettings | None:
    """Return the settings of a recipe; None if its base model is gone, which the start reports."""
    try:
        base = None if recipe.init_from is None else load_card(find_model(recipe.init_from))
        return recipe.settings(base, preprocessing_for(recipe.model, base).image_size)
    except CeadError:
        return None


def _key(recipe: Recipe, settings: TrainingSettings) -> str:
    return f"{settings.spec.model_dump_json()} {settings.batch_size} {recipe.device} {recipe.init_from}"


def _measured(recipe: Recipe, settings: TrainingSettings, slices: Slices) -> Measured | None:
    """Measure a training on a processor, in a thread; None on another device, or if it does not fit into memory."""
    from ...training.cost import cost_of, is_costly, smaller

    base = None if recipe.init_from is None else load_card(find_model(recipe.init_from))
    spacing = preprocessing_for(recipe.model, base).spacing
    try:
        if not is_costly(settings, recipe.hardware):
            return None
        cost = cost_of(settings, recipe.hardware, spacing, most=slices[0])
        small = None if base is not None else smaller(settings, recipe.hardware, spacing, most=slices[0])
    except CeadError:  # the start says what is wrong
        return None
    return cost, small


def _in_words(settings: TrainingSettings, measured: Measured, slices: Slices) -> str:
    from ...training.cost import LONG, in_words

    cost, small = measured
    if cost.total(*slices) < LONG:
        return ""
    less = "use a GPU, or fewer epochs" if small is None else f"with size small {small.preset(slices)}"
    return f"{in_words(settings, cost, slices)}; {less}."
