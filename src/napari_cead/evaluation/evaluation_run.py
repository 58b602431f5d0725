"""Models over a cohort: validation patients or the other folds choose the settings; then patients are reported."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..atomic import to_json
from ..calibration.cases import BINS
from ..calibration.searching import Searched
from ..detection import PostprocessParams
from ..detection.baselines import BASELINES
from ..detection.rules import RULES, Rule
from ..detection.thresholds import ScoreHistograms
from ..errors import CeadError
from ..metrics import ImageQuality
from ..metrics.overlap import NAN
from ..patients import find_files
from ..progress import Stop
from ..report.results import Curve, PatientFigures, Row
from ..store.cohort_split import Member
from ..store.parts import Part
from ..store.sources import source_files, stamp
from ..tasks import Failure, Tasks
from ..zoo import ModelCard
from .choosing import (
    FIXED,
    FOLDS,
    OPTIMISTIC,
    REPORTED,
    VALIDATION,
    Chosen,
    Files,
    Key,
    best_rule,
    chosen_by_healthy,
    chosen_by_lesions,
    nothing_by,
    on_card,
    search_all,
    suggested_settings,
    whole,
)
from .cohort_progress import Cohort, Steps
from .evaluation_tasks import CountJob, MeasureJob, SubjectSpec, count_at, measure_group
from .measuring import Measured
from .ranking import Pool, Pools, Ranked
from .records import read_marks, read_record


@dataclass(frozen=True)
class Plan:
    """The settings shared by all models of an evaluation.

    Attributes:
        sequence: Sequence to use.
        png_spacing: (z, y, x) in mm of PNG slices.
        rules: Names of the threshold rules.
        seed: Seed of the bootstrap.
        resamples: Resamples of the bootstrap.
        assume_healthy: Whether slices of unlabelled validation patients count as healthy.
        folds: By name, the fold of each reported patient: those of the other folds choose for it. Empty: the validation
            patients choose.
        pools: Where the maps of the baselines are added too; None: nowhere.
        pictures: Whether pictures of slices will be taken.
    """

    sequence: str
    png_spacing: tuple[float, float, float]
    rules: tuple[str, ...]
    seed: int
    resamples: int
    assume_healthy: bool = False
    folds: Mapping[str, int] = field(default_factory=dict)
    pools: Pools | None = None
    pictures: bool = False

    def rules_that(self, *, optimistic: bool, by_lesions: bool | None = None) -> tuple[Rule, ...]:
        """Return those of the rules that choose on the reported patients or not, by lesion masks or not."""
        found = (RULES.find(name) for name in self.rules)
        return tuple(
            rule for rule in found if rule.optimistic == optimistic and by_lesions in (None, rule.by_lesions)
        )


@dataclass(eq=False)
class Outcome:
    """One model over the reported patients.

    Attributes:
        rows: Figures by score and rule.
        curves: Dice over thresholds, by score.
        quality: PSNR and SSIM of the healthy slices of the reported patients.
        nothing: Figures of an empty mask for each patient; only for the baseline.
        cases: By score and patient, the file of the case, if a rule that has chosen needed it.
    """

    rows: list[Row] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    quality: ImageQuality = field(default_factory=ImageQuality.empty)
    nothing: list[PatientFigures] = field(default_factory=list)
    cases: dict[str, dict[str, Path]] = field(default_factory=dict)


BASELINE = 0
"""Number of the baseline of raw intensity: a patient that is unreadable under it is left out altogether."""

_Figures = dict[tuple[int, str, str], list[PatientFigures]]  # by subject, score and rule


class Pass:
    """All models over all patients of a cohort, for one sequence.

    The measurements of a patient are stored in files below ``folder`` and never repeated: an interrupted pass continues
    from there.

    Args:
        subjects: The evaluated subjects, the baselines first, beginning with raw intensity.
        groups: Numbers of the subjects that are in memory together.
        cards: By number, the card with settings for rules without other data.
        cohort: The patients; those that turn out to be broken are skipped from then on.
        plan: The settings shared by all models.
        folder: Folder for the files.
        tasks: Runs the work.
        steps: Progress.
        should_stop: Called between patients.
    """

    def __init__(
        self,
        subjects: Sequence[SubjectSpec],
        groups: Sequence[Sequence[int]],
        cards: Mapping[int, ModelCard],
        cohort: Cohort,
        plan: Plan,
        folder: Path,
        tasks: Tasks,
        steps: Steps,
        should_stop: Stop | None = None,
    ) -> None:
        self.subjects, self.groups, self.cards = list(subjects), groups, cards
        self.cohort, self.plan, self.folder = cohort, plan, folder
        self.tasks, self.steps, self.should_stop = tasks, steps, should_stop
        self._places: dict[Member, str] = {}
        self._chosen_by: dict[int, int] = {}  # number of validation patients that chose a baseline's score
        self._trained_on: dict[tuple[int, str], bool | None] = {}

    @property
    def keys(self) -> tuple[Key, ...]:
        """Every subject with each of its scores."""
        return tuple(
            (number, score) for number, subject in enumerate(self.subjects) for score in subject.scores
        )

    @property
    def _open(self) -> tuple[Key, ...]:
        """The scores of baselines that still have to choose one."""
        several = [
            number for number, spec in enumerate(self.subjects) if spec.baseline and len(spec.scores) > 1
        ]
        return tuple(key for key in self.keys if key[0] in several)

    def run(self) -> list[Outcome]:
        """Choose the settings, and measure the reported patients.

        Raises:
            Cancelled: If ``should_stop`` returned true.
        """
        if self.plan.folds or not self.cohort.part("validation") or not self._fixed_rules:
            self._settle({})
        if self.plan.folds:
            files, tag, chosen, found = self._choose_in_folds()
            outcomes, histograms, figures = self._gathered(tag)
        else:
            chosen = self._choose_on_validation()
            settings: dict[int, dict[str, dict[str, PostprocessParams]]] = defaultdict(dict)
            for (number, score), by_rule in chosen.items():
                settings[number][score] = {
                    rule: choice.at(0) for rule, choice in by_rule.items() if choice.params
                }
            oracle = bool(self.plan.rules_that(optimistic=True))
            chosen = {key: chosen[key] for key in self.keys}
            tag = _hash([[number, score, settings[number][score]] for number, score in self.keys])
            files = self._measure("test", settings, oracle, tag)
            outcomes, histograms, figures = self._gathered(tag)
            found = self._search(files, [self._names(files)], chosen) if oracle else {}
        if bounds := [rule.name for rule in self.plan.rules_that(optimistic=True)]:
            self._bound(bounds, found, chosen)
        counted = self.plan.rules if self.plan.folds else bounds
        figures |= self._counted(
            files,
            {
                key: {rule: by_rule[rule] for rule in counted if rule in by_rule}
                for key, by_rule in chosen.items()
            },
        )
        self._or_better(bounds, found, chosen, figures)
        for number, score in self.keys:
            key = number, score
            outcomes[number].cases[score] = dict(files[key])
            ranks, above, healthy = self._ranked(number, score, chosen[key], tag)
            outcomes[number].rows += [
                replace(
                    self._row(number, score, rule, chosen[key][rule], figures, ranks),
                    healthy_above=above[rule] / healthy if rule in above and healthy else NAN,
                    healthy_voxels=healthy,
                )
                for rule in self.plan.rules
            ]
            outcomes[number].curves.append(
                self._curve(number, score, histograms[key], found[key].curve if key in found else ())
            )
        return outcomes

    # -- measuring ---------------------------------------------------------------------------------------------

    def _measure(
        self,
        part: Part,
        settings: Mapping[int, Mapping[str, Mapping[str, PostprocessParams]]],
        keep_cases: bool,
        tag: str,
    ) -> Files:
        """Measure all patients of a part under all models; return the files of their cases."""
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
            # Of a part of the slices, and where something is ignored, pictures look at the whole patient again.
            pictures=plan.pictures and member.part == "test" and member.slices is None,
        )

    def _place(self, member: Member) -> str:
        """Return the folder of a patient's files: another one when a file of the patient changes."""
        if member not in self._places:
            with suppress(CeadError):
                files = find_files(member.source, self.plan.sequence)
                state = stamp(source_files(files, self.plan.sequence, member.path))
                labels = [files.lesion_labels, files.ignored_labels] if files.laid_out else []
                self._places[member] = f"{member.part}-{_hash([member.name, member.slices, state, *labels])}"
        return self._places.get(member, f"{member.part}-{_hash([member.name, str(member.path)])}")

    def _records(self, number: int, part: Part, tag: str) -> Iterator[tuple[Member, Measured]]:
        """Yield the measurements under a model, in the order of the patients."""
        for member in self.cohort.part(part):
            file = self._record(member, number, tag)
            if file.exists():
                yield member, read_record(file)

    def _record(self, member: Member, number: int, tag: str) -> Path:
        return self._job(member, (), {}, False, tag).record(number)

    def _gathered(self, tag: str) -> tuple[list[Outcome], dict[Key, ScoreHistograms], _Figures]:
        outcomes = [Outcome() for _ in self.subjects]
        histograms = dict.fromkeys(self.keys, ScoreHistograms.empty(BINS))
        figures: _Figures = defaultdict(list)
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

    def _choose_on_validation(self) -> dict[Key, dict[str, Chosen]]:
        """Return the rules' choices on the validation patients, or else the card's settings."""
        chosen: dict[Key, dict[str, Chosen]] = {key: {} for key in self.keys}
        if not self._fixed_rules:
            return chosen
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
        groups = [self._names(files)]
        self._choose_by_healthy(files, groups, VALIDATION, chosen)
        by_lesions = self.plan.rules_that(optimistic=False, by_lesions=True)
        wanted = self.keys if by_lesions else self._open
        found = self._search(
            {key: files[key] for key in wanted}, groups, {key: chosen[key] for key in wanted}
        )
        if by_lesions:
            self._choose_by_lesions(found, 1, VALIDATION, chosen)
        self._settle(found)
        return chosen

    @property
    def _fixed_rules(self) -> tuple[Rule, ...]:
        """The rules that choose without the reported patients."""
        return self.plan.rules_that(optimistic=False)

    def _settle(self, found: Mapping[Key, Searched]) -> None:
        """Keep one score of each baseline: the one with the highest ``dice_patient``, or else the fixed one."""
        for number in dict.fromkeys(number for number, _ in self._open):
            spec = self.subjects[number]
            best = {
                score: choice.dice_patient
                for score in spec.scores
                if (own := found.get((number, score))) is not None and (choice := own.best[0]) is not None
            }
            if best:
                self._chosen_by[number] = max(found[number, score].patients[0] for score in best)
            score = max(best, key=lambda one: best[one]) if best else BASELINES[spec.baseline].default
            self.subjects[number] = replace(spec, scores=(score,))

    def _choose_in_folds(self) -> tuple[Files, str, dict[Key, dict[str, Chosen]], dict[Key, Searched]]:
        """Return the cases of the reported patients, and the rules' choices for each fold on all others."""
        chosen: dict[Key, dict[str, Chosen]] = {key: {} for key in self.keys}
        tag, folds = "look", self.plan.folds
        files = self._measure("test", {}, True, tag)
        everyone = self._names(files)
        others = [
            {name for name in everyone if folds[name] != fold} for fold in range(max(folds.values()) + 1)
        ]
        self._choose_by_healthy(files, others, FOLDS, chosen)
        found: dict[Key, Searched] = {}
        if any(RULES.find(name).by_lesions for name in self.plan.rules):
            found = self._search(files, [*others, everyone], chosen)
        if self.plan.rules_that(optimistic=False, by_lesions=True):
            self._choose_by_lesions(found, len(others), FOLDS, chosen)
        return files, tag, chosen, found

    def _choose_by_healthy(
        self,
        files: Files,
        groups: Sequence[set[str]],
        chosen_on: str,
        chosen: dict[Key, dict[str, Chosen]],
    ) -> None:
        for rule in self.plan.rules_that(optimistic=False, by_lesions=False):
            for key in self.keys:
                subject = self.subjects[key[0]]
                found = chosen_by_healthy(files[key], groups, subject.quantile, chosen_on, rule)
                chosen[key][rule.name] = found or self._known(key, rule.name)

    def _known(self, key: Key, rule: str) -> Chosen:
        """Return the settings of a model's card, or the fixed ones of a baseline, if no patient can choose."""
        number, score = key
        spec = self.subjects[number]
        if spec.baseline:
            fixed = BASELINES[spec.baseline].settings(score, rule, self.plan.sequence)
            if fixed is not None:
                return Chosen((fixed,), FIXED)
        return on_card(self.cards.get(number), spec.name, score, rule)

    def _choose_by_lesions(
        self,
        found: Mapping[Key, Searched],
        groups: int,
        chosen_on: str,
        chosen: dict[Key, dict[str, Chosen]],
    ) -> None:
        for key in self.keys:
            for rule in self.plan.rules_that(optimistic=False, by_lesions=True):
                own = chosen_by_lesions(found[key], groups, chosen_on, rule.name)
                chosen[key][rule.name] = own or self._known(key, rule.name)

    def _search(
        self, files: Files, groups: Sequence[set[str]], chosen: Mapping[Key, Mapping[str, Chosen]]
    ) -> dict[Key, Searched]:
        """Search the best settings of groups of patients, including the choices of other rules."""
        also = {
            key: [
                *(params for choice in by_rule.values() for params in choice.params),
                *suggested_settings(self.cards.get(key[0]), key[1]),
            ]
            for key, by_rule in chosen.items()
        }
        return search_all(files, groups, also, self.plan.rules, self.tasks, self.steps, self.should_stop)

    def _bound(
        self,
        bounds: Sequence[str],
        found: Mapping[Key, Searched],
        chosen: Mapping[Key, dict[str, Chosen]],
    ) -> None:
        """Take the best settings of all reported patients."""
        for key in self.keys:
            for bound in bounds:
                best = found[key].choices[bound][-1]
                chosen[key][bound] = (
                    nothing_by(bound)
                    if best is None
                    else Chosen((best.params,), REPORTED, found[key].patients[-1], (best.edge,), OPTIMISTIC)
                )

    def _or_better(
        self,
        bounds: Sequence[str],
        found: Mapping[Key, Searched],
        chosen: Mapping[Key, dict[str, Chosen]],
        figures: _Figures,
    ) -> None:
        """Take another rule's choice as a bound if that is even better.

        It can be: every fold has settings of its own, and the search has the same for all.
        """
        for key in self.keys:
            for bound in bounds:
                if not chosen[key][bound].params:
                    continue
                others = (rule for rule in self.plan.rules if rule not in bounds or rule == bound)
                rule = best_rule({rule: figures[(*key, rule)] for rule in others if (*key, rule) in figures})
                if rule not in (None, bound):
                    chosen[key][bound] = replace(
                        chosen[key][rule],
                        chosen_on=REPORTED,
                        chosen_by=found[key].patients[-1],
                        note=OPTIMISTIC,
                    )
                    figures[(*key, bound)] = figures[(*key, rule)]

    def _counted(self, files: Files, chosen: Mapping[Key, Mapping[str, Chosen]]) -> _Figures:
        """Return the figures of each reported patient with the rules' choices for it."""
        jobs: list[tuple[str, Key, dict[str, PostprocessParams], CountJob]] = []
        for key, by_rule in chosen.items():
            for name, file in files[key]:
                fold = self.plan.folds.get(name, 0)
                settings = {rule: choice.at(fold) for rule, choice in by_rule.items() if choice.params}
                if settings:
                    jobs.append((name, key, settings, CountJob(name, file, tuple(settings.values()))))
        counted: dict[int, dict[PostprocessParams, PatientFigures]] = {}
        for number, result in self.tasks.each(count_at, [job for *_, job in jobs], self.should_stop):
            counted[number] = whole(result, jobs[number][0])
            self.steps.advance()
        figures: _Figures = defaultdict(list)
        for number, (_, key, settings, _) in enumerate(jobs):
            for rule, params in settings.items():
                figures[(*key, rule)].append(counted[number][params])
        return figures

    @staticmethod
    def _names(files: Files) -> set[str]:
        return {name for cases in files.values() for name, _ in cases}

    # -- rows --------------------------------------------------------------------------------------------------

    def _ranked(
        self, number: int, score: str, chosen: Mapping[str, Chosen], tag: str
    ) -> tuple[Ranked, dict[str, int], int]:
        """Return the threshold-free figures, and the healthy voxels above each patient's threshold by rule, and all."""
        spec, plan = self.subjects[number], self.plan
        above = {rule: 0 for rule, choice in chosen.items() if choice.params}
        pools = [Pool()]
        if plan.pools is not None and spec.baseline:
            pools.append(plan.pools.setdefault((spec.name, score, plan.sequence), Pool()))
        for member in self.cohort.part("test"):
            file = self._record(member, number, tag)
            if not file.exists():
                continue
            counts, candidates = read_marks(file, score)
            for pool in pools:
                pool.add(counts, candidates)
            for rule in above:
                threshold = chosen[rule].at(plan.folds.get(member.name, 0)).threshold
                above[rule] += counts.healthy_above(threshold)
        return pools[0].ranked(), above, int(pools[0].counts.healthy.sum())

    def _row(
        self,
        number: int,
        score: str,
        rule: str,
        choice: Chosen,
        figures: Mapping[tuple[int, str, str], Sequence[PatientFigures]],
        ranks: Ranked,
    ) -> Row:
        spec, plan = self.subjects[number], self.plan
        name, method = spec.name, ""
        if spec.baseline:
            method = BASELINES[spec.baseline].explained(score, self._chosen_by.get(number, 0))
        if not choice.params:
            return Row(name, score, rule, None, note=choice.note, sequence=plan.sequence, method=method)
        return Row.of(
            name,
            score,
            rule,
            choice.at(0) if len(set(choice.params)) == 1 else None,
            [
                replace(found, trained_on=self._trained_on.get((number, found.name)))
                for found in figures[number, score, rule]
            ],
            chosen_on=choice.chosen_on,
            chosen_by=choice.chosen_by,
            edge=choice.edge,
            folds=choice.params if len(choice.params) > 1 else (),
            note=choice.note,
            ranking=(ranks.auroc, ranks.average_precision),
            dice_ceiling=ranks.dice_ceiling,
            aupro=ranks.aupro,
            froc=ranks.froc,
            method=method,
            resamples=plan.resamples,
            seed=plan.seed,
            sequence=plan.sequence,
        )

    def _curve(
        self, number: int, score: str, histograms: ScoreHistograms, own: Sequence[tuple[float, float]]
    ) -> Curve:
        raw, every = histograms.dice(), BINS // CURVE
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
