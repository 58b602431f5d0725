"""Model, score and run of the Explore dock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, QTimer

from ...contributions.failures import show_failure
from ...detection import SCORES, MapOptions, available_scores
from ...detection.choosing import (
    Params,
    Settled,
    Start,
    Suggested,
    settle,
    settle_by_value,
    suggestions_for,
    whence_score,
)
from ...errors import CeadError
from ...exploring import Analysis, Session
from ...exploring.queue import RunSettings
from ...zoo import ModelCard, find_model, load_card
from ..canvas.layer_view import LayerView
from ..common.jobs import spared_core
from ..common.preferences import preferences
from ..common.texts import OPEN_FIRST, OPEN_FIRST_OR_LAYERS
from .comparison import Comparison
from .explore_form import ExploreForm
from .live import LiveMask
from .result_view import settings_text
from .threshold_plot import axis_end
from .work import Work

OPTIONS_AFTER_MS = 150
"""Pause after which the map follows its options: not at every step of a slider."""


class ModelRunner(QObject):
    """Runs the selected model with the selected score, and keeps both selections true to the display.

    Args:
        form: The controls.
        session: The session.
        layers: Its layers.
        live: The sliders.
        compare: Selects an analysis that is there already.
        work: Does it in a thread.
        untold: Returns which of these notes on the patient are new to the user.
    """

    def __init__(
        self,
        form: ExploreForm,
        session: Session,
        layers: LayerView,
        live: LiveMask,
        compare: Comparison,
        work: Work,
        untold: Callable[[Sequence[str]], list[str]],
    ) -> None:
        super().__init__(form)
        self.form, self.session, self.layers, self.live = form, session, layers, live
        self.compare, self.work, self._untold = compare, work, untold
        self._noted = ""
        work.first = self.after_options
        form.model.changed.connect(self.model_chosen)
        form.score.changed.connect(self._score_chosen)
        form.run.changed.connect(self.run)
        self._options_timer = QTimer(self, singleShot=True, interval=OPTIONS_AFTER_MS)
        self._options_timer.timeout.connect(self._options_chosen)
        for setting in form.option_rows.values():
            setting.slider.changed.connect(lambda _: self._options_timer.start())

    def run(self) -> None:
        """Run the model on the patient, the visible slice first."""
        form = self.form
        if self.work.running:
            return
        if self.session.patient is None:
            show_warning(OPEN_FIRST if form.layers_open.isHidden() else OPEN_FIRST_OR_LAYERS)
            return
        model, score, job = form.model.value, form.score.value, self.work.job
        if not model:
            show_warning("There is no model to run: reinstall napari-cead or install a model.")
            return
        self._show_axis()
        params, first, liked = self._own_params(), self.layers.current_slice(), preferences()
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

        self.work.start(work, self._tell, stage="Loading the model", gives_way=True)

    def queue_settings(self) -> RunSettings:
        """Return the settings for the queue: those of the dock.

        Raises:
            CeadError: If the model or the score cannot be used.
        """
        form = self.form
        card, score, options = (
            load_card(find_model(form.model.value)),
            form.score.value,
            self.wanted_options(),
        )
        params = settle(card, self._own_params(), score).params
        rule, origins = settle_by_value(
            whence_score(card, score), suggestions_for(card, score), params, options
        )
        patient, liked = self.session.patient, preferences()
        return RunSettings(
            model=form.model.value,
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
        return MapOptions(**{name: row.slider.value for name, row in self.form.option_rows.items()})

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
        form, (model, score) = self.form, analysis.key
        with form.model.changed.blocked():
            if model in form.model.choices:
                form.model.value = model
        form.describe_model()
        self._offer_scores(score)

    def job_ended(self) -> None:
        """Take back a score that was refused or cancelled."""
        analysis = self.session.analysis
        if analysis is not None and analysis.key[0] == self.form.model.value:
            self._offer_scores(analysis.score)

    def model_chosen(self) -> None:
        """Show an analysis by this model if there is one, else its initial settings."""
        form, analysis = self.form, self.session.analysis
        self.live.moved = False
        model = form.model.value
        if not model or self.work.running:
            return
        try:
            card = load_card(find_model(model))
            settled = settle(card)
        except CeadError as error:
            show_failure(error)
            return
        if analysis is None:
            self._offer_scores(settled.score)
            self._show_settled(card, settled)
            return
        if analysis.key[0] == model:  # back again before anything was run
            self._offer_scores(analysis.score)
            return
        self._offer_scores(form.score.value, settled.score)
        done = [one.key for one in self.session.analyses if one.key[0] == model]
        if done:
            self.compare.select((model, form.score.value) if (model, form.score.value) in done else done[-1])

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
        form = self.form
        try:
            card = load_card(find_model(form.model.value))
            settled = settle(card, start, form.score.value)
        except CeadError as error:
            show_failure(error)
            return
        self._show_settled(card, settled)
        self.live.moved = start == "suggested"  # a run keeps what was asked for

    def _show_settled(self, card: ModelCard, settled: Settled) -> None:
        """Show the settings that the next run will start with, and the axis of its threshold."""
        suggestions = suggestions_for(card, settled.score)
        self.session.set(**settled.params.model_dump())
        self.form.plot.set_end(_end_of(suggestions), anew=True)
        self.form.show_rule(settings_text(suggestions, settled.params), suggestions)

    def say_origin(self) -> None:
        """Say where the displayed settings come from while there is no analysis to say it."""
        with suppress(CeadError):  # the run tells
            card = load_card(find_model(self.form.model.value))
            suggestions = suggestions_for(card, self.form.score.value)
            self.form.show_rule(settings_text(suggestions, self.session.params), suggestions)

    def _show_axis(self) -> None:
        """Let the axis of the threshold be that of the selected model and score, before their map is there."""
        with suppress(CeadError):  # the run tells
            card = load_card(find_model(self.form.model.value))
            self.form.plot.set_end(_end_of(suggestions_for(card, self.form.score.value)))

    def _own_params(self) -> Params:
        """Return the displayed settings if the user chose them for this model and score; else None."""
        analysis = self.session.analysis
        shown = analysis is not None and analysis.key == (self.form.model.value, self.form.score.value)
        return self.session.params if self.live.moved or shown else None

    def _offer_scores(self, wanted: str, otherwise: str = "") -> None:
        """Offer the scores that the selected model supports, without choosing for the user.

        Args:
            wanted: The score to show.
            otherwise: The score to show if the model does not support that one.
        """
        score = self.form.score
        try:
            names = list(available_scores(load_card(find_model(self.form.model.value))))
        except CeadError:
            names = list(SCORES.names)
        with score.changed.blocked():
            if list(score.choices) != names:
                score.choices = names
            if chosen := next((name for name in (wanted, otherwise) if name in names), None):
                score.value = chosen

    def _score_chosen(self, score: str) -> None:
        analysis, job = self.session.analysis, self.work.job
        if analysis is None:
            if self.live.moved:
                self._show_axis()
            else:
                self.reset()
            return
        if score == analysis.score or self.form.model.value != analysis.key[0]:
            return
        self._show_axis()
        self.live.settle_now()

        def work() -> Analysis:
            with spared_core():
                return self.session.set_score(score, on_progress=job.report, should_stop=job.stopping)

        self.work.start(work, stage=f"Computing {score}")

    def _options_chosen(self) -> None:
        wanted = self.wanted_options()
        if self.session.options == wanted:
            return
        if self.session.analysis is None:  # a run under way takes them over
            self.session.set_options(**wanted.model_dump())
        elif self.work.running:
            self._options_timer.start()
        else:
            self.live.settle_now()
            self.work.start(
                lambda: self.session.set_options(**wanted.model_dump()),
                stage="Computing the map",
                can_cancel=False,
            )

    def _tell(self, analysis: Analysis) -> None:
        """Show the result of a run, and tell what is odd.

        That slices are brought to the model's pixels is not: it stands below the result.
        """
        self.layers.leave_empty_slice(analysis)
        made = analysis.reconstruction
        usual = "" if made.stack.geometry.shrunk else made.stack.geometry.reason
        told = (usual, made.stack.skull.doubt)  # of a skull the banner speaks, and it stands below the result
        if notes := self._untold([note for note in made.warnings if note not in told]):
            self._noted = "; ".join(notes)
            show_warning(self._noted)

    def withdraw_notes(self) -> None:
        """Close the message about the last run: the scan is another one now."""
        self.form.messages.withdraw(self._noted)


def _end_of(suggestions: Iterable[Suggested]) -> float:
    return axis_end(one.params.threshold for one in suggestions)
