"""Search the settings of many models at once, and apply a rule to the results."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..calibration.candidates import Spread
from ..calibration.cases import BINS, healthy_in, spread_in
from ..calibration.rules import threshold_of_healthy
from ..calibration.searching import Measured, Search, Searched
from ..detection import PostprocessParams
from ..detection.choosing import Suggested
from ..detection.rules import RULES, Edge, Rule, is_optimistic
from ..detection.rules import VALIDATION as BY_DICE
from ..detection.thresholds import ScoreHistograms
from ..errors import PatientError
from ..metrics import averages
from ..progress import Stop
from ..report.results import PatientFigures
from ..tasks import Failure, Tasks
from ..zoo import ModelCard
from .cohort_progress import Steps
from .evaluation_tasks import GridJob, search_grid

Key = tuple[int, str]
"""Number of a subject, and a score."""

Files = Mapping[Key, Sequence[tuple[str, Path]]]
"""The cases of each, with the patients' names."""

VALIDATION, CARD, FOLDS, REPORTED = "validation patients", "model card", "other folds", "reported patients"
FIXED = "fixed default"
"""The data that chose the settings."""

OPTIMISTIC = "optimistic: chosen on the reported patients themselves"

_NOTHING_ABOVE = "the threshold is 1, the largest value of a score: nothing can be above it"


@dataclass(frozen=True)
class Chosen:
    """The choice of a rule for a score.

    Attributes:
        params: The settings, one for each fold if there are folds; empty if there are none.
        chosen_on: The data that chose them; empty without settings.
        chosen_by: Number of patients that chose, the fewest of all folds; None if a card does not say.
        edges: For each of the settings, the end of the thresholds tried at which it lies.
        note: The reason for having no settings, or a caveat for the figures.
    """

    params: tuple[PostprocessParams, ...] = ()
    chosen_on: str = ""
    chosen_by: int | None = None
    edges: tuple[Edge, ...] = ()
    note: str = ""

    def at(self, fold: int) -> PostprocessParams:
        """Return the settings for the patients of a fold."""
        return self.params[fold if len(self.params) > 1 else 0]

    @property
    def edge(self) -> Edge:
        """The end of the thresholds tried at which the settings lie, those of any fold."""
        return next((edge for edge in self.edges if edge), "")


def search_all(
    files: Files,
    groups: Sequence[Collection[str]],
    also: Mapping[Key, Sequence[PostprocessParams]],
    rules: Collection[str],
    tasks: Tasks,
    steps: Steps,
    should_stop: Stop | None,
) -> dict[Key, Searched]:
    """Search the best settings for every model and score: each patient is read once for all of them.

    Args:
        files: The cases.
        groups: Names of the patients that choose together.
        also: Additional settings to try.
        rules: Names of the rules that choose by lesion masks; the one of the highest ``dice_patient`` always does.
        tasks: Runs the work.
        steps: Progress: each patient is two steps, one for each pass, under each model and score.
        should_stop: Called between patients.
    """
    choosing = [rule for rule in RULES if rule.by_lesions and (rule.name in rules or rule.name == BY_DICE)]
    searches = {
        key: Search(
            Spread.together(spread_in(file) for _, file in cases), groups, choosing, also.get(key, ())
        )
        for key, cases in files.items()
    }
    first = _dice(files, {key: one.coarse for key, one in searches.items()}, tasks, steps, should_stop)
    fine = {key: one.fine(first[key]) for key, one in searches.items()}
    second = _dice(files, fine, tasks, steps, should_stop)
    return {key: one.result(first[key], fine[key], second[key]) for key, one in searches.items()}


def _dice(
    files: Files,
    grids: Mapping[Key, Sequence[PostprocessParams]],
    tasks: Tasks,
    steps: Steps,
    should_stop: Stop | None,
) -> dict[Key, Measured]:
    """Return the Dice of the labelled patients of every model and score at its settings."""
    jobs = [
        GridJob(name, file, tuple(grids[key]))
        for key, cases in files.items()
        for name, file in (cases if grids[key] else ())
    ]
    measured: dict[Path, tuple[bool, list[float]]] = {}
    for number, found in tasks.each(search_grid, jobs, should_stop):
        if (dice := whole(found, jobs[number].name)) is not None:
            measured[jobs[number].file] = dice
        steps.advance()
    return {
        key: [
            (name, measured[file][0], np.array(measured[file][1])) for name, file in cases if file in measured
        ]
        for key, cases in files.items()
    }


def chosen_by_lesions(searched: Searched, groups: int, chosen_on: str, rule: str) -> Chosen | None:
    """Return what a rule chose, in each of the first groups of a search; None if any has no lesion."""
    choices = [choice for choice in searched.choices[rule][:groups] if choice is not None]
    if len(choices) < groups:
        return None
    params = tuple(choice.params for choice in choices)
    edges = tuple(choice.edge for choice in choices)
    return Chosen(params, chosen_on, min(searched.patients[:groups]), edges, _note(params))


def chosen_by_healthy(
    cases: Sequence[tuple[str, Path]],
    groups: Sequence[Collection[str]],
    quantile: float,
    chosen_on: str,
    rule: Rule,
) -> Chosen | None:
    """Return what a rule chose by healthy slices in each group of patients; None if any has no healthy slice."""
    found: list[PostprocessParams] = []
    patients: list[int] = []
    histograms = {name: healthy_in(file) for name, file in cases}
    for group in groups:
        own = [histogram for name, histogram in histograms.items() if name in group]
        params = threshold_of_healthy(sum(own, start=ScoreHistograms.empty(BINS)), quantile, rule)
        if params is None:
            return None
        found.append(params)
        patients.append(sum(bool(histogram.healthy.any()) for histogram in own))
    return Chosen(tuple(found), chosen_on, min(patients), note=_note(found))


def on_card(card: ModelCard | None, name: str, score: str, rule: str) -> Chosen:
    """Return the settings on a model's card if no patient could choose."""
    for suggestion in () if card is None else card.suggestions:
        if (suggestion.score, suggestion.rule) == (score, rule):
            params = Suggested.of(suggestion).params
            return Chosen((params,), CARD, _patients_of(card), _edges_of(card, score, rule))
    return Chosen(note=RULES.find(rule).nothing + ("" if card is None else f", and {name} suggests none"))


def _calibration(card: ModelCard | None) -> Mapping[str, Any]:
    found = None if card is None else card.training.get("calibration")
    return found if isinstance(found, Mapping) else {}


def _patients_of(card: ModelCard | None) -> int | None:
    """Return the number of patients that chose the settings on a card, if it says so."""
    number = _calibration(card).get("validation_patients")
    return number if isinstance(number, int) else None


def _edges_of(card: ModelCard | None, score: str, rule: str) -> tuple[Edge, ...]:
    """Return the end of the thresholds tried at which the card's threshold lies, if it says so."""
    edges = _calibration(card).get("validation_edges")
    edge = edges.get(score) if isinstance(edges, Mapping) and rule == BY_DICE else None
    return (edge,) if edge in ("lowest", "highest") else ()


def suggested_settings(card: ModelCard | None, score: str) -> list[PostprocessParams]:
    """Return all settings that a card suggests for a score."""
    found = () if card is None else card.suggestions
    return [Suggested.of(item).params for item in found if item.score == score]


def best_rule(figures: Mapping[str, Sequence[PatientFigures]]) -> str | None:
    """Return the rule with the highest ``dice_patient``, an optimistic one of several; None if none has any."""
    found = {rule: averages([one.counts for one in own]).dice_patient for rule, own in figures.items()}
    order = sorted(
        (rule for rule, value in found.items() if value == value), key=lambda rule: not is_optimistic(rule)
    )
    return max(order, key=lambda rule: found[rule], default=None)


def nothing_by(rule: str) -> Chosen:
    """Return that a rule has nothing to go by."""
    return Chosen(note=RULES.find(rule).nothing)


def whole(found: Any, name: str) -> Any:
    """Return a task's result; a failure on files of our own is a bug or a full disk.

    Raises:
        PatientError: If it failed.
    """
    if isinstance(found, Failure):
        raise PatientError(
            f"its measurements cannot be read again: {found.reason}",
            file=name,
            hint="free space on the disk and evaluate into an empty folder",
        )
    return found


def _note(params: Sequence[PostprocessParams]) -> str:
    return _NOTHING_ABOVE if any(one.threshold >= 1 for one in params) else ""
