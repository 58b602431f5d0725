"""Model, score and run of the Explore dock."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, QTimer

from ..contributions.failures import show_failure
from ..detection import SCORES, MapOptions, available_scores
from ..detection.choosing import (
    Params,
    Settled,
    Start,
    settle,
    settle_by_value,
    suggestions_for,
    whence_score,
)
from ..errors import CeadError
from ..exploring import Analysis
from ..exploring.queue import RunSettings
from ..zoo import find_model, load_card
from .jobs import spared_core
from .preferences import preferences

if TYPE_CHECKING:
    from .explore import ExploreWidget

OPTIONS_AFTER_MS = 150
"""Pause after which the map follows its options: not at every step of a slider."""


class ModelRunner(QObject):
    """Runs the selected model with the selected score, and keeps both selections true to the display.

    Args:
        dock: The dock.
    """

    def __init__(self, dock: ExploreWidget) -> None:
        super().__init__(dock)
        self.dock, self.session, self.live = dock, dock.session, dock.live
        dock.model.changed.connect(self.model_chosen)
        dock.score.changed.connect(self._score_chosen)
        dock.run.changed.connect(self.run)
        self._options_timer = QTimer(self, singleShot=True, interval=OPTIONS_AFTER_MS)
        self._options_timer.timeout.connect(self._options_chosen)
        for setting in dock.option_rows.values():
            setting.slider.changed.connect(lambda _: self._options_timer.start())

    def run(self) -> None:
        """Run the model on the patient, the visible slice first."""
        dock = self.dock
        if dock.running:
            return
        if self.session.patient is None:
            show_warning("Open a patient first: choose a folder or file, or drop one onto the viewer.")
            return
        model, score, job = dock.model.value, dock.score.value, dock.job
        if not model:
            show_warning("There is no model to run: reinstall napari-cead or install a model.")
            return
        params, first, liked = self._own_params(), dock.layers.current_slice(), preferences()
        options = self.wanted_options()
        self._options_timer.stop()

        def work() -> Analysis:
            with spared_core():
                return self.session.detect(
                    model,
                    score,
                    params,
                    options=options,
                    device=liked.device,
                    batch_size=liked.batch_size,
                    first=first,
                    on_stage=job.say,
                    on_progress=job.report,
                    should_stop=job.stopping,
                )

        dock.start(work, self._tell)

    def queue_settings(self) -> RunSettings:
        """Return the settings for the queue: those of the dock.

        Raises:
            CeadError: If the model or the score cannot be used.
        """
        dock = self.dock
        card, score, options = (
            load_card(find_model(dock.model.value)),
            dock.score.value,
            self.wanted_options(),
        )
        params = settle(card, self._own_params(), score).params
        rule, origins = settle_by_value(
            whence_score(card, score), suggestions_for(card, score), params, options
        )
        patient, liked = self.session.patient, preferences()
        return RunSettings(
            model=dock.model.value,
            score=score,
            params=Settled(score, params, options, rule, origins),
            sequence="flair" if patient is None else patient.sequence,
            device=liked.device,
            options=options,
            batch_size=liked.batch_size,
        )

    @property
    def options_waiting(self) -> bool:
        """Whether the map does not match its options yet."""
        return self._options_timer.isActive()

    def wanted_options(self) -> MapOptions:
        """Return the map options of the sliders."""
        return MapOptions(**{name: row.slider.value for name, row in self.dock.option_rows.items()})

    def settle_options(self) -> None:
        """Let the map follow its options before anything else happens."""
        if self.options_waiting:
            self._options_timer.stop()
            self.session.set_options(**self.wanted_options().model_dump())

    def after_options(self, work: Callable[[], Any]) -> Callable[[], Any]:
        """Return work that runs once the map matches its options."""
        if not self.options_waiting:
            return work
        self._options_timer.stop()
        wanted = self.wanted_options()

        def both() -> Any:
            self.session.set_options(**wanted.model_dump())
            return work()

        return both

    def show(self, analysis: Analysis) -> None:
        """Let model and score name the displayed analysis."""
        dock, (model, score) = self.dock, analysis.key
        with dock.model.changed.blocked():
            if model in dock.model.choices:
                dock.model.value = model
        dock.describe_model()
        self._offer_scores(score)

    def job_ended(self) -> None:
        """Take back a score that was refused or cancelled."""
        analysis = self.session.analysis
        if analysis is not None and analysis.key[0] == self.dock.model.value:
            self._offer_scores(analysis.score)

    def model_chosen(self) -> None:
        """Show an analysis by this model if there is one, else its initial settings."""
        dock, analysis = self.dock, self.session.analysis
        self.live.moved = False
        model = dock.model.value
        if not model or dock.running:
            return
        try:
            card = load_card(find_model(model))
            settled = settle(card)
        except CeadError as error:
            show_failure(error)
            return
        if analysis is None:
            self._offer_scores(settled.score)
            self.session.set(**settled.params.model_dump())
            dock.show_rule(suggestions_for(card, settled.score), settled.params)
            return
        if analysis.key[0] == model:  # back again before anything was run
            self._offer_scores(analysis.score)
            return
        self._offer_scores(dock.score.value, settled.score)
        done = [one.key for one in self.session.analyses if one.key[0] == model]
        if done:
            dock.compare.select((model, dock.score.value) if (model, dock.score.value) in done else done[-1])

    def reset(self) -> None:
        """Go back to the defaults with the threshold that the model suggests."""
        self._start_with("default")

    def use_suggested(self) -> None:
        """Take all settings that the model suggests."""
        self._start_with("suggested")

    def _start_with(self, start: Start) -> None:
        analysis = self.session.analysis
        if analysis is not None:
            self.live.settle_now()  # an earlier move is an undo step of its own
            self.live.go_to(analysis.start if start == "default" else analysis.suggestion)
            return
        dock = self.dock
        try:
            card = load_card(find_model(dock.model.value))
            settled = settle(card, start, dock.score.value)
        except CeadError as error:
            show_failure(error)
            return
        self.session.set(**settled.params.model_dump())
        self.live.moved = start == "suggested"  # a run keeps what was asked for
        dock.show_rule(suggestions_for(card, settled.score), settled.params)

    def _own_params(self) -> Params:
        """Return the displayed settings if the user chose them for this model and score; else None."""
        analysis = self.session.analysis
        shown = analysis is not None and analysis.key == (self.dock.model.value, self.dock.score.value)
        return self.live.wanted if self.live.moved or shown else None

    def _offer_scores(self, wanted: str, otherwise: str = "") -> None:
        """Offer the scores that the selected model supports, without choosing for the user.

        Args:
            wanted: The score to show.
            otherwise: The score to show if the model does not support that one.
        """
        score = self.dock.score
        try:
            names = list(available_scores(load_card(find_model(self.dock.model.value))))
        except CeadError:
            names = list(SCORES.names)
        with score.changed.blocked():
            if list(score.choices) != names:
                score.choices = names
            if chosen := next((name for name in (wanted, otherwise) if name in names), None):
                score.value = chosen

    def _score_chosen(self, score: str) -> None:
        analysis, job = self.session.analysis, self.dock.job
        if analysis is None or score == analysis.score or self.dock.model.value != analysis.key[0]:
            return
        self.live.settle_now()

        def work() -> Analysis:
            with spared_core():
                return self.session.set_score(score, on_progress=job.report, should_stop=job.stopping)

        self.dock.start(work)

    def _options_chosen(self) -> None:
        wanted = self.wanted_options()
        if self.session.options == wanted:
            return
        if self.session.analysis is None:  # a run under way takes them over
            self.session.set_options(**wanted.model_dump())
        elif self.dock.running:
            self._options_timer.start()
        else:
            self.live.settle_now()
            self.dock.start(lambda: self.session.set_options(**wanted.model_dump()))

    def _tell(self, analysis: Analysis) -> None:
        """Tell what is odd. That slices are brought to the model's pixels is not: it stands below the result."""
        made = analysis.reconstruction
        usual = "" if made.stack.geometry.shrunk else made.stack.geometry.reason
        told = (usual, made.stack.skull.doubt)  # of a skull the banner speaks, and it stands below the result
        if notes := self.dock.source.untold([note for note in made.warnings if note not in told]):
            show_warning("; ".join(notes))
