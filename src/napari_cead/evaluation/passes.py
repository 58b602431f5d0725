"""One model over a cohort: first its validation patients, which choose the settings, then the reported ones."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..detection import PostprocessParams
from ..detection.thresholds import ScoreHistograms
from ..errors import CeadError
from ..metrics import ImageQuality
from ..patients import find_files
from ..training.splits import Part
from ..zoo import Suggestion
from .cases import BINS, CasesOnDisk
from .measuring import UNLABELLED, Measured, Settings, Subject, figures_of, measure
from .ranking import ranking
from .results import PatientFigures, Row, SkippedPatient
from .rules import Progress, Rule, Stop, choose
from .splits import Member, Split


@dataclass(frozen=True)
class Plan:
    """What holds for all models of an evaluation.

    Attributes:
        sequence: Sequence to use.
        png_spacing: (z, y, x) in mm of PNG slices.
        rules: Threshold rules.
        quantile: Quantile of rule `healthy-quantile`.
        seed: Seed of the bootstrap.
        resamples: Resamples of the bootstrap.
        assume_healthy: Whether slices of unlabelled validation patients count as healthy.
    """

    sequence: str
    png_spacing: tuple[float, float, float]
    rules: tuple[Rule, ...]
    quantile: float
    seed: int
    resamples: int
    assume_healthy: bool = False


class Cohort:
    """The patients that an evaluation can use, fewer whenever one turns out to be broken.

    Args:
        split: The patients by part.
    """

    def __init__(self, split: Split) -> None:
        self.skipped: list[SkippedPatient] = []
        self._members: list[Member] = []
        self._notes: dict[str, set[str]] = defaultdict(set)
        for name, path in split.unassigned:
            self.skipped.append(SkippedPatient(name, path, "", "the split does not name it"))
        for member in split.members:
            reason = None if member.part == "train" else self._unusable(member, split.assume_healthy)
            if reason is None:
                self._members.append(member)
            else:
                self.skip(member, reason)

    @staticmethod
    def _unusable(member: Member, assume_healthy: bool) -> str | None:
        """Say why a patient cannot be used, as far as the names of its files tell."""
        try:
            labelled = find_files(member.path).mask is not None
        except CeadError as error:
            return str(error)
        return None if labelled or (assume_healthy and member.part == "validation") else UNLABELLED

    @property
    def usable(self) -> tuple[Member, ...]:
        """Validation and test patients."""
        return (*self.part("validation"), *self.part("test"))

    def part(self, part: Part) -> tuple[Member, ...]:
        """Return the patients of one part."""
        return tuple(member for member in self._members if member.part == part)

    def skip(self, member: Member, reason: str) -> None:
        """Leave a patient out from now on."""
        if member in self._members:
            self._members.remove(member)
        self.skipped.append(SkippedPatient(member.name, member.path, member.part, reason))

    def note(self, member: Member, text: str) -> None:
        """Remember a warning about a patient."""
        self._notes[text].add(member.name)

    def notes(self) -> tuple[str, ...]:
        """Return the warnings, each once with the patient or the number of patients that it is about."""
        return tuple(
            f"{text} ({next(iter(names)) if len(names) == 1 else f'{len(names)} patients'})"
            for text, names in self._notes.items()
        )


class Steps:
    """Progress of an evaluation: each patient is one step under each model, and one more under each of its scores.

    Args:
        total: Steps in all.
        on_progress: Called with (steps done, steps in all).
    """

    def __init__(self, total: int, on_progress: Progress | None) -> None:
        self._total, self._on_progress, self._done = total, on_progress, 0

    def advance(self, steps: int = 1) -> None:
        """Go on by some steps."""
        self._done = min(self._done + steps, self._total)
        if self._on_progress is not None:
            self._on_progress(self._done, self._total)

    def each(self) -> Progress:
        """Return a callback for a part of the work that goes on by one step a call."""
        return lambda done, total: self.advance()

    def finish(self) -> None:
        """Go to the end: searches that were not needed count as done."""
        self.advance(self._total - self._done)


@dataclass(eq=False)
class Outcome:
    """One model over the reported patients.

    Attributes:
        rows: Figures by score and rule.
        quality: PSNR and SSIM of the healthy slices of the reported patients.
        nothing: Figures of an empty mask of each patient, of the baseline alone.
    """

    rows: list[Row] = field(default_factory=list)
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


def run_subject(
    subject: Subject,
    suggestions: Sequence[Suggestion],
    cohort: Cohort,
    plan: Plan,
    folder: Path,
    steps: Steps,
    should_stop: Stop | None = None,
) -> Outcome:
    """Choose the settings of one model on validation patients, and count on the reported ones.

    Args:
        subject: The model and its scores.
        suggestions: Settings on the model's card, for rules that the validation patients cannot serve.
        cohort: The patients; those that turn out to be broken are skipped from then on.
        plan: What holds for all models.
        folder: A folder of its own for what has to be looked at again; removed at the end.
        steps: Progress.
        should_stop: Asked between groups of slices and between patients of a search.

    Raises:
        Cancelled: If ``should_stop`` returned true.
    """
    folder.mkdir()
    cases = {score: CasesOnDisk(folder / f"validation-{score}") for score in subject.scores}
    fixed = [rule for rule in plan.rules if rule != "oracle"]
    if fixed:
        for measured in _measured(subject, "validation", cohort, plan, {}, True, steps, should_stop):
            for score, case in measured.cases.items():
                cases[score].append(case)
    chosen: dict[str, dict[Rule, _Chosen]] = {
        score: {
            rule: _choose(subject, rule, score, cases[score], suggestions, plan, steps, should_stop)
            for rule in fixed
        }
        for score in subject.scores
    }
    settings: dict[str, dict[str, PostprocessParams]] = {
        score: {rule: choice.params for rule, choice in by_rule.items() if choice.params is not None}
        for score, by_rule in chosen.items()
    }

    outcome = Outcome()
    reported = {score: CasesOnDisk(folder / f"test-{score}") for score in subject.scores}
    histograms = dict.fromkeys(subject.scores, ScoreHistograms.empty(BINS))
    figures: dict[tuple[str, str], list[PatientFigures]] = defaultdict(list)
    oracle = "oracle" in plan.rules
    for measured in _measured(subject, "test", cohort, plan, settings, oracle, steps, should_stop):
        outcome.quality += measured.quality
        if measured.nothing is not None:
            outcome.nothing.append(measured.nothing)
        for score in subject.scores:
            histograms[score] += measured.histograms[score]
            for rule, found in measured.figures[score].items():
                figures[score, rule].append(found)
            if oracle:
                reported[score].append(measured.cases[score])
    for score in subject.scores:
        if oracle:
            best = choose("oracle", reported[score], on_progress=steps.each(), should_stop=should_stop)
            if best is None:
                chosen[score]["oracle"] = _Chosen(None, note=_NO_SETTINGS["oracle"])
            else:
                chosen[score]["oracle"] = _Chosen(best, "reported patients", _OPTIMISTIC)
                figures[score, "oracle"] = list(_at(reported[score], best))
        outcome.rows += [
            _row(subject, score, rule, chosen[score][rule], figures[score, rule], histograms[score], plan)
            for rule in plan.rules
        ]
    shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _measured(
    subject: Subject,
    part: Part,
    cohort: Cohort,
    plan: Plan,
    settings: Settings,
    keep_cases: bool,
    steps: Steps,
    should_stop: Stop | None,
) -> Iterator[Measured]:
    """Measure the patients of one part one after the other; broken ones are skipped."""
    for member in cohort.part(part):
        try:
            measured = measure(
                subject,
                member,
                plan.sequence,
                settings,
                png_spacing=plan.png_spacing,
                keep_cases=keep_cases,
                assume_healthy=plan.assume_healthy and part == "validation",
                should_stop=should_stop,
            )
        except (CeadError, OSError) as error:
            if subject.detector is None:
                cohort.skip(member, str(error))
            else:
                cohort.note(member, f"left out of the rows of {subject.name}: {error}")
            steps.advance()
            continue
        for text in measured.warnings:
            cohort.note(member, text)
        steps.advance()
        yield measured


def _choose(
    subject: Subject,
    rule: Rule,
    score: str,
    cases: CasesOnDisk,
    suggestions: Sequence[Suggestion],
    plan: Plan,
    steps: Steps,
    should_stop: Stop | None,
) -> _Chosen:
    """Choose on the validation patients, or take over what the model's card says."""
    params = choose(rule, cases, quantile=plan.quantile, on_progress=steps.each(), should_stop=should_stop)
    if params is not None:
        return _Chosen(params, "validation patients", _NOTHING_ABOVE if params.threshold >= 1 else "")
    for suggestion in suggestions:
        if (suggestion.score, suggestion.rule) == (score, rule):
            return _Chosen(PostprocessParams().replace(**suggestion.params), "model card")
    on_card = f", and {subject.name} suggests none" if subject.detector is not None else ""
    return _Chosen(None, note=_NO_SETTINGS[rule] + on_card)


def _at(cases: CasesOnDisk, params: PostprocessParams) -> Iterator[PatientFigures]:
    """Give the figures of each case at one setting."""
    for case in cases:
        assert case.reference is not None  # reported patients are labelled
        mask = case.mask(params)
        yield figures_of(case.name, case.counts(mask), mask, case.reference, case.spacing)


def _row(
    subject: Subject,
    score: str,
    rule: Rule,
    choice: _Chosen,
    figures: Sequence[PatientFigures],
    histograms: ScoreHistograms,
    plan: Plan,
) -> Row:
    if choice.params is None:
        return Row(subject.name, score, rule, None, note=choice.note)
    return Row.of(
        subject.name,
        score,
        rule,
        choice.params,
        figures,
        chosen_on=choice.chosen_on,
        note=choice.note,
        ranking=ranking(histograms),
        resamples=plan.resamples,
        seed=plan.seed,
    )
