"""Comparing models on a cohort: validation patients choose the settings, test patients are reported."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..atomic import make_folder
from ..detection import SCORES, available_scores, check_score, suggested
from ..detection.provenance import versions
from ..errors import OutputError, ParameterError, PatientError
from ..training.splits import PARTS
from ..zoo import ModelCard, Preprocessing, damaged_models, find_model, find_models, load_card, load_model
from .measuring import BASELINE_SCORE, Subject
from .passes import Cohort, Outcome, Plan, Steps, run_subject
from .report import write_report
from .results import NOTHING, Evaluation, ModelSummary, Row
from .rules import QUANTILE, RULES, Progress, Rule, Stop
from .splits import split_cohort


def evaluate(
    cohort: str | Path,
    models: Sequence[str | Path] | Literal["all"],
    out: str | Path,
    *,
    split: str | Path | None = None,
    scores: Sequence[str] | None = None,
    rules: Sequence[Rule] = RULES,
    sequence: str | None = None,
    png_spacing: tuple[float, float, float] | None = None,
    quantile: float = QUANTILE,
    device: str = "auto",
    seed: int = 0,
    resamples: int = 1000,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> Evaluation:
    """Evaluate models on a cohort beside two free baselines, and write the results.

    Every model is run under each of its scores, and the settings of the post-processing are chosen by each of the
    rules: on validation patients (`healthy-quantile`, `validation`), never on those reported, except by `oracle`,
    which is optimistic and says so. Without validation patients the first two are those on the model's card; where
    the card has none either, the row stays empty. The baselines are raw intensity under the same rules, seen on the
    same grid as by the first model, and a detector that finds nothing.

    Memory: one patient at a time. What `oracle` and `validation` have to look at again lies in a temporary folder in
    ``out``: about 5 MB of disk for each patient of 150 slices and each score of the model at work.

    Args:
        cohort: Folder whose descendants are patients.
        models: Names or folders of models, or ``"all"``: every bundled or installed one. May be empty.
        out: Folder for ``results.json``, ``results.csv``, ``per_patient.csv`` and ``table.md``.
        split: Split file with the names of the patients of ``train``, ``validation`` and ``test`` (see
            :func:`~napari_cead.training.splits.read_split`), or a prepared store, whose split it takes. None: all
            patients are reported.
        scores: Anomaly scores, each with the models that can give it; None: each model's suggested one, and
            ``residual``, that of the paper.
        rules: Threshold rules.
        sequence: Sequence to use; None: that of the store, else FLAIR.
        png_spacing: (z, y, x) in mm of PNG slices; None: that of the store, else the default.
        quantile: Share of the healthy brain voxels below the threshold of `healthy-quantile`.
        device: See :func:`~napari_cead.devices.pick_device`.
        seed: Seed of the bootstrap.
        resamples: Resamples of the bootstrap.
        on_progress: Called with (steps done, steps in all).
        should_stop: Asked between groups of slices, and between patients of a search.

    Returns:
        What was written. Patients that cannot be used are listed in it and never end an evaluation.

    Raises:
        PatientError: If there is no patient, or none that can be reported.
        ModelError: If there is no such model, or it is damaged.
        ParameterError: If a score or rule is unknown, no model can give any of the scores, or the quantile is not
            in [0, 1].
        StoreError: If the split or the store cannot be read.
        OutputError: If the folder cannot be written.
        Cancelled: If ``should_stop`` returned true; nothing is written then.
    """
    _check(scores, rules, quantile)
    chosen, notes = _models(models, scores)
    split_of = split_cohort(cohort, split, sequence=sequence, png_spacing=png_spacing)
    members = Cohort(split_of)
    plan = Plan(
        sequence=split_of.sequence,
        png_spacing=split_of.png_spacing,
        rules=tuple(dict.fromkeys(rules)),
        quantile=quantile,
        seed=seed,
        resamples=resamples,
        assume_healthy=split_of.assume_healthy,
    )
    if split is None and chosen:
        notes.append(_NO_SPLIT)
    looks = sum(1 + len(model.scores) for model in chosen) + 2
    steps = Steps(looks * len(members.usable), on_progress)

    first = chosen[0].card.preprocessing if chosen else Preprocessing()
    baseline = Subject(f"{plan.sequence}-threshold", (BASELINE_SCORE,), preprocessing=first)
    outcomes: list[Outcome] = []
    summaries: list[ModelSummary] = []
    with _scratch(Path(out)) as folder:
        # First, because it meets the patients that cannot be used: all rows are then over the same ones.
        free = run_subject(baseline, (), members, plan, folder / "baseline", steps, should_stop)
        if not free.nothing:
            raise _nobody(members, Path(cohort))
        for number, model in enumerate(chosen):
            detector = load_model(model.folder, device)
            subject = Subject(model.name, model.scores, detector, model.card.preprocessing)
            suggestions = model.card.suggestions
            done = run_subject(subject, suggestions, members, plan, folder / str(number), steps, should_stop)
            outcomes.append(done)
            summaries.append(
                ModelSummary(
                    name=model.name,
                    architecture=model.card.spec.name,
                    folder=model.folder,
                    sha256=model.card.sha256,
                    device=str(detector.device),
                    quality=done.quality.means(),
                )
            )
        steps.finish()
        detects_nothing = Row.of(
            NOTHING, None, "none", None, free.nothing, resamples=plan.resamples, seed=plan.seed
        )
        evaluation = Evaluation(
            cohort=Path(cohort),
            sequence=plan.sequence,
            split=split_of.source,
            seed=seed,
            resamples=resamples,
            quantile=quantile,
            rows=(*(row for done in outcomes for row in done.rows), *free.rows, detects_nothing),
            models=tuple(summaries),
            parts={part: tuple(member.name for member in members.part(part)) for part in PARTS},
            skipped=tuple(members.skipped),
            warnings=(*notes, *split_of.warnings, *members.notes()),
            versions=versions(),
        )
    write_report(evaluation, out)
    return evaluation


_NO_SPLIT = (
    "no split: all patients are reported, and a patient that a model was trained or calibrated on makes its figures "
    "optimistic"
)


@dataclass(frozen=True)
class _Model:
    name: str
    folder: Path
    card: ModelCard
    scores: tuple[str, ...]


def _check(scores: Sequence[str] | None, rules: Sequence[Rule], quantile: float) -> None:
    if not 0 <= quantile <= 1:
        raise ParameterError(f"a quantile lies from 0 to 1, not {quantile!r}")
    for score in scores or ():
        if score not in SCORES:
            raise ParameterError(f"unknown score {score!r}", mend=f"use one of {', '.join(SCORES)}")
    for rule in rules:
        if rule not in RULES:
            raise ParameterError(f"unknown threshold rule {rule!r}", mend=f"use one of {', '.join(RULES)}")


def _models(
    models: Sequence[str | Path] | Literal["all"], scores: Sequence[str] | None
) -> tuple[list[_Model], list[str]]:
    """Return the models with the scores to run each under, and what is left out: damaged models, scores they lack.

    Raises:
        ParameterError: If no model can give any of the scores.
    """
    notes = []
    wanted: Sequence[str | Path]
    if models == "all":
        wanted = list(find_models())
        notes = [f"the model {name} is left out: {error}" for name, error in damaged_models().items()]
    else:
        wanted = [models] if isinstance(models, str | Path) else list(models)
    found: list[_Model] = []
    unable: list[ModelCard] = []
    for name in wanted:
        folder = find_model(name)
        card = load_card(folder)
        own = dict.fromkeys(scores if scores is not None else (suggested(card)[0], "residual"))
        label = str(name) if find_models().get(str(name)) == folder else card.name
        possible = tuple(score for score in own if score in available_scores(card))
        notes += [f"{label} cannot give {score}, which is left out" for score in own if score not in possible]
        if possible or not own:
            found.append(_Model(label, folder, card, possible))
        else:
            unable.append(card)
    if unable and not found:
        for score in scores or ():
            check_score(score, unable[0])
    count = Counter(model.name for model in found)
    return [
        model
        if count[model.name] == 1
        else _Model(f"{model.name} ({model.folder})", model.folder, model.card, model.scores)
        for model in found
    ], notes


def _nobody(members: Cohort, cohort: Path) -> PatientError:
    first = (
        f" (for instance {members.skipped[0].name}: {members.skipped[0].reason})" if members.skipped else ""
    )
    return PatientError(
        f"no patient can be reported{first}", file=cohort, mend="give test patients with a lesion mask"
    )


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """Give a temporary folder in the output folder, removed at the end.

    Raises:
        OutputError: If it cannot be written.
    """
    target = make_folder(out)
    try:
        with tempfile.TemporaryDirectory(dir=target, prefix=".part-", ignore_cleanup_errors=True) as name:
            yield Path(name)
    except OSError as error:
        raise OutputError(
            f"the folder cannot be written ({error.strerror or error})",
            file=target,
            mend="choose a folder that can be written and has space left",
        ) from error
