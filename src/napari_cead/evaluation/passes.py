"""Models over a cohort: first its validation patients, which choose the settings, then the reported ones."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import to_json
from ..detection import PostprocessParams
from ..detection.thresholds import ScoreHistograms
from ..errors import CeadError, PatientError
from ..metrics import ImageQuality
from ..patients import find_files
from ..tasks import Failure, Stop, Tasks
from ..training.sources import source_files, stamp
from ..training.splits import Part
from ..zoo import Suggestion
from .cases import BINS, healthy_in
from .measuring import Measured
from .members import Cohort, Steps
from .ranking import ranking
from .records import read_record
from .results import Curve, PatientFigures, Row
from .rules import (
    MORPHOLOGIES,
    Choice,
    Rule,
    best_of,
    coarse_grid,
    fine_grid,
    means_over,
    threshold_of_healthy,
)
from .splits import Member
from .work import CountJob, GridJob, MeasureJob, SubjectSpec, count_at, measure_group, search_grid


@dataclass(frozen=True)
class Plan:
    """What holds for all models of an evaluation.

    Attributes:
        sequence: Sequence to use.
        png_spacing: (z, y, x) in mm of PNG slices.
        rules: Threshold rules.
        seed: Seed of the bootstrap.
        resamples: Resamples of the bootstrap.
        assume_healthy: Whether slices of unlabelled validation patients count as healthy.
    """

    sequence: str
    png_spacing: tuple[float, float, float]
    rules: tuple[Rule, ...]
    seed: int
    resamples: int
    assume_healthy: bool = False


@dataclass(eq=False)
class Outcome:
    """One model over the reported patients.

    Attributes:
        rows: Figures by score and rule.
        curves: Dice over thresholds, by score.
        quality: PSNR and SSIM of the healthy slices of the reported patients.
        nothing: Figures of an empty mask of each patient, of the baseline alone.
    """

    rows: list[Row] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    quality: ImageQuality = field(default_factory=ImageQuality.empty)
    nothing: list[PatientFigures] = field(default_factory=list)


@dataclass(frozen=True)
class _Chosen:
    """What a rule chose for a score: the settings, on what, and why there are none."""

    params: PostprocessParams | None
    chosen_on: str = ""
    note: str = ""


_NO_SETTINGS: dict[Rule, str] = {
    "healthy-quantile": "no healthy slices of validation patients",
    "validation": "no validation patients with lesions",
    "oracle": "no reported patient has a lesion",
}

_NOTHING_ABOVE = "the threshold is 1, the largest value of a score: nothing can be above it"

_OPTIMISTIC = "optimistic: chosen on the patients that are reported"


BASELINE = 0
"""Number of the subject that is raw intensity: who cannot be read under it is left out altogether."""

_Key = tuple[int, str]  # number of a subject, score
_Files = Mapping[_Key, list[tuple[str, Path]]]  # the cases of each, with the patients' names


class Pass:
    """All models over all patients of a cohort, for one sequence.

    What is measured of a patient lies in files below ``folder``, and is not measured again: a pass that was
    interrupted goes on where it stopped.

    Args:
        subjects: What is evaluated; the first is the baseline of raw intensity.
        groups: Numbers of the subjects that are in memory together.
        suggestions: By number, settings on a model's card, for rules that the validation patients cannot serve.
        cohort: The patients; those that turn out to be broken are skipped from then on.
        plan: What holds for all models.
        folder: Where files go.
        tasks: Who does the work.
        steps: Progress.
        should_stop: Asked between patients.
    """

    def __init__(
        self,
        subjects: Sequence[SubjectSpec],
        groups: Sequence[Sequence[int]],
        suggestions: Mapping[int, Sequence[Suggestion]],
        cohort: Cohort,
        plan: Plan,
        folder: Path,
        tasks: Tasks,
        steps: Steps,
        should_stop: Stop | None = None,
    ) -> None:
        self.subjects, self.groups, self.suggestions = subjects, groups, suggestions
        self.cohort, self.plan, self.folder = cohort, plan, folder
        self.tasks, self.steps, self.should_stop = tasks, steps, should_stop
        self._places: dict[Member, str] = {}
        self._trained_on: dict[tuple[int, str], bool | None] = {}
        self.keys: tuple[_Key, ...] = tuple(
            (number, score) for number, subject in enumerate(subjects) for score in subject.scores
        )

    def run(self) -> list[Outcome]:
        """Choose the settings on validation patients, and count on the reported ones.

        Raises:
            Cancelled: If ``should_stop`` returned true.
        """
        fixed = [rule for rule in self.plan.rules if rule != "oracle"]
        chosen: dict[_Key, dict[Rule, _Chosen]] = {key: {} for key in self.keys}
        if fixed:
            self._choose_on_validation(fixed, chosen)
        settings: dict[int, dict[str, dict[str, PostprocessParams]]] = defaultdict(dict)
        for (number, score), by_rule in chosen.items():
            settings[number][score] = {
                rule: choice.params for rule, choice in by_rule.items() if choice.params is not None
            }
        oracle = "oracle" in self.plan.rules
        tag = _hash([[number, score, settings[number][score]] for number, score in self.keys])
        files = self._measure("test", settings, oracle, tag)
        outcomes, histograms, figures = self._gathered(tag)
        curves: dict[_Key, Any] = {}
        if oracle:
            found, curves = self._search(files)
            self._count_at_best(files, found, chosen, figures)
        for number, score in self.keys:
            outcomes[number].rows += [
                self._row(number, score, rule, chosen[number, score][rule], figures, histograms)
                for rule in self.plan.rules
            ]
            outcomes[number].curves.append(
                self._curve(number, score, histograms[number, score], curves.get((number, score)))
            )
        return outcomes

    # -- measuring ---------------------------------------------------------------------------------------------

    def _measure(
        self,
        part: Part,
        settings: Mapping[int, Mapping[str, Mapping[str, PostprocessParams]]],
        keep_cases: bool,
        tag: str,
    ) -> _Files:
        """Measure all patients of a part under all models; return where their cases are."""
        members = self.cohort.part(part)
        jobs = [
            (member, group, self._job(member, group, settings, keep_cases, tag))
            for group in self.groups  # group by group, so that a process seldom changes models
            for member in members
        ]
        broken: dict[str, str] = {}
        partly: dict[tuple[str, int], str] = {}
        for number, found in self.tasks.each(measure_group, [job for *_, job in jobs], self.should_stop):
            member, group, _ = jobs[number]
            failed = dict.fromkeys(group, found.reason) if isinstance(found, Failure) else found
            for subject, reason in failed.items():
                if subject == BASELINE:
                    broken[member.name] = reason
                else:
                    partly[member.name, subject] = reason
            self.steps.advance(len(group))
        for member in members:
            if member.name in broken:
                self.cohort.skip(member, broken[member.name])
                continue
            for subject, spec in enumerate(self.subjects):
                if (reason := partly.get((member.name, subject))) is not None:
                    self.cohort.note(member, f"left out of the rows of {spec.name}: {reason}")
        return {
            (number, score): [
                (member.name, job.case(number, score))
                for member in self.cohort.part(part)
                if (member.name, number) not in partly
                for job in [self._job(member, (), {}, keep_cases, tag)]
            ]
            for number, score in self.keys
        }

    def _job(
        self, member: Member, group: Sequence[int], settings: Mapping[int, Any], keep_cases: bool, tag: str
    ) -> MeasureJob:
        plan = self.plan
        return MeasureJob(
            member=member,
            subjects={number: self.subjects[number] for number in group},
            sequence=plan.sequence,
            png_spacing=plan.png_spacing,
            settings={number: settings.get(number, {}) for number in group},
            keep_cases=keep_cases,
            assume_healthy=plan.assume_healthy and member.part == "validation",
            folder=self.folder / self._place(member),
            tag=tag,
        )

    def _place(self, member: Member) -> str:
        """Return the folder of a patient's files: another one when a file of the patient changes."""
        if member not in self._places:
            with suppress(CeadError):
                sources = source_files(
                    find_files(member.path, self.plan.sequence), self.plan.sequence, member.path
                )
                state = stamp(sources)
                self._places[member] = f"{member.part}-{_hash([member.name, member.slices, state])}"
        return self._places.get(member, f"{member.part}-{_hash([member.name, str(member.path)])}")

    def _records(self, number: int, part: Part, tag: str) -> Iterator[tuple[Member, Measured]]:
        """Give what was measured under a model, in the order of the patients."""
        for member in self.cohort.part(part):
            file = self._job(member, (), {}, False, tag).record(number)
            if file.exists():
                yield member, read_record(file)

    def _gathered(
        self, tag: str
    ) -> tuple[list[Outcome], dict[_Key, ScoreHistograms], dict[tuple[int, str, str], list[PatientFigures]]]:
        outcomes = [Outcome() for _ in self.subjects]
        histograms = dict.fromkeys(self.keys, ScoreHistograms.empty(BINS))
        figures: dict[tuple[int, str, str], list[PatientFigures]] = defaultdict(list)
        for number, outcome in enumerate(outcomes):
            for member, measured in self._records(number, "test", tag):
                outcome.quality += measured.quality
                self._trained_on[number, member.name] = measured.trained_on
                if measured.nothing is not None:
                    outcome.nothing.append(replace(measured.nothing, trained_on=measured.trained_on))
                for text in measured.warnings:
                    self.cohort.note(member, text)
                for score, found in measured.histograms.items():
                    histograms[number, score] += found
                    for rule, counted in measured.figures[score].items():
                        figures[number, score, rule].append(counted)
        return outcomes, histograms, figures

    # -- choosing ----------------------------------------------------------------------------------------------

    def _choose_on_validation(self, rules: Sequence[Rule], chosen: dict[_Key, dict[Rule, _Chosen]]) -> None:
        files = self._measure("validation", {}, True, "look")
        for number in range(len(self.subjects)):
            for member, measured in self._records(number, "validation", "look"):
                for text in measured.warnings:
                    self.cohort.note(member, text)
                if measured.trained_on:
                    name = self.subjects[number].name
                    self.cohort.note(
                        member, f"{name} was trained on a validation patient, which chooses its settings"
                    )
        searched = self._search(files)[0] if "validation" in rules else {}
        for key in self.keys:
            for rule in rules:
                if rule == "validation":
                    choice = searched.get(key)
                    params = None if choice is None else choice.params
                else:
                    healthy = (healthy_in(file) for _, file in files[key])
                    total = sum(healthy, start=ScoreHistograms.empty(BINS))
                    params = threshold_of_healthy(total, self.subjects[key[0]].quantile)
                chosen[key][rule] = self._chosen(key, rule, params)

    def _chosen(self, key: _Key, rule: Rule, params: PostprocessParams | None) -> _Chosen:
        """Take what was chosen on the validation patients, or what the model's card says."""
        if params is not None:
            return _Chosen(params, "validation patients", _NOTHING_ABOVE if params.threshold >= 1 else "")
        number, score = key
        for suggestion in self.suggestions.get(number, ()):
            if (suggestion.score, suggestion.rule) == (score, rule):
                return _Chosen(PostprocessParams().replace(**suggestion.params), "model card")
        on_card = "" if number == BASELINE else f", and {self.subjects[number].name} suggests none"
        return _Chosen(None, note=_NO_SETTINGS[rule] + on_card)

    def _search(self, files: _Files) -> tuple[dict[_Key, Choice | None], dict[_Key, Any]]:
        """Search the best settings for every model and score; return them, and ``dice_patient`` of the first pass."""
        coarse = coarse_grid()
        dice, lesions = self._dice(files, dict.fromkeys(self.keys, coarse), count=True)
        first = {key: best_of(coarse, dice[key], lesions[key]) for key in self.keys}
        means = {key: means_over(coarse, dice[key]) for key in self.keys if lesions[key]}
        grids = {key: fine_grid(choice) for key, choice in first.items() if choice is not None}
        dice, lesions = self._dice({key: files[key] for key in grids}, grids)
        best = {key: best_of(grid, dice[key], lesions[key]) for key, grid in grids.items()}
        return {key: best.get(key) for key in self.keys}, means

    def _dice(
        self, files: _Files, grids: Mapping[_Key, Sequence[PostprocessParams]], *, count: bool = False
    ) -> tuple[dict[_Key, list[Any]], dict[_Key, bool]]:
        by_patient: dict[str, dict[Path, tuple[PostprocessParams, ...]]] = {}
        for key, cases in files.items():
            for name, file in cases:
                by_patient.setdefault(name, {})[file] = tuple(grids[key])
        jobs = [GridJob(name, found) for name, found in by_patient.items()]
        measured: dict[Path, tuple[bool, list[float]]] = {}
        for number, found in self.tasks.each(search_grid, jobs, self.should_stop):
            measured |= _whole(found, jobs[number].name)
            if count:
                self.steps.advance()
        return (
            {
                key: [np.array(measured[file][1]) for _, file in cases if file in measured]
                for key, cases in files.items()
            },
            {
                key: any(measured[file][0] for _, file in cases if file in measured)
                for key, cases in files.items()
            },
        )

    def _count_at_best(
        self,
        files: _Files,
        found: Mapping[_Key, Choice | None],
        chosen: Mapping[_Key, dict[Rule, _Chosen]],
        figures: dict[tuple[int, str, str], list[PatientFigures]],
    ) -> None:
        by_patient: dict[str, dict[Path, PostprocessParams]] = {}
        for key in self.keys:
            best = found[key]
            if best is None:
                chosen[key]["oracle"] = _Chosen(None, note=_NO_SETTINGS["oracle"])
                continue
            chosen[key]["oracle"] = _Chosen(best.params, "reported patients", _OPTIMISTIC)
            for name, file in files[key]:
                by_patient.setdefault(name, {})[file] = best.params
        jobs = [CountJob(name, settings) for name, settings in by_patient.items()]
        counted: dict[Path, PatientFigures] = {}
        for number, result in self.tasks.each(count_at, jobs, self.should_stop):
            counted |= _whole(result, jobs[number].name)
        for key in self.keys:
            figures[(*key, "oracle")] = [counted[file] for _, file in files[key] if file in counted]

    # -- rows --------------------------------------------------------------------------------------------------

    def _row(
        self,
        number: int,
        score: str,
        rule: Rule,
        choice: _Chosen,
        figures: Mapping[tuple[int, str, str], Sequence[PatientFigures]],
        histograms: Mapping[_Key, ScoreHistograms],
    ) -> Row:
        name, plan = self.subjects[number].name, self.plan
        if choice.params is None:
            return Row(name, score, rule, None, note=choice.note, sequence=plan.sequence)
        return Row.of(
            name,
            score,
            rule,
            choice.params,
            [
                replace(found, trained_on=self._trained_on.get((number, found.name)))
                for found in figures[number, score, rule]
            ],
            chosen_on=choice.chosen_on,
            note=choice.note,
            ranking=ranking(histograms[number, score]),
            resamples=plan.resamples,
            seed=plan.seed,
            sequence=plan.sequence,
        )

    def _curve(self, number: int, score: str, histograms: ScoreHistograms, means: Any) -> Curve:
        raw, every = histograms.dice(), BINS // CURVE
        own = (
            []
            if means is None
            else [
                (params.threshold, float(value))
                for params, value in zip(coarse_grid(), means, strict=True)
                if params.replace(threshold=MORPHOLOGIES[0].threshold) == MORPHOLOGIES[0]
            ]
        )
        return Curve(
            model=self.subjects[number].name,
            score=score,
            sequence=self.plan.sequence,
            thresholds=tuple(float(value) for value in histograms.thresholds[::every]),
            raw_dice_pooled=tuple(float(value) for value in raw[::every]),
            processed_thresholds=tuple(threshold for threshold, _ in own),
            processed_dice_patient=tuple(value for _, value in own),
            patients=len(self.cohort.part("test")),
        )


CURVE = 256
"""Thresholds of a curve of the raw map."""


def _whole(found: Any, name: str) -> Any:
    """Return what a task found; one that failed on files of our own making is a bug or a full disk."""
    if isinstance(found, Failure):
        raise PatientError(
            f"what was measured of it cannot be read again: {found.reason}",
            file=name,
            mend="free space on the disk and evaluate into an empty folder",
        )
    return found


def _hash(values: Any) -> str:
    return hashlib.sha256(to_json(_plain(values)).encode()).hexdigest()[:16]


def _plain(values: Any) -> Any:
    if isinstance(values, PostprocessParams):
        return values.model_dump(mode="json")
    if isinstance(values, Mapping):
        return {key: _plain(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_plain(value) for value in values]
    return values
