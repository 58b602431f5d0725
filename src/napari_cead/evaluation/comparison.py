"""Comparing models on a cohort: validation patients choose the settings, test patients are reported."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from ..atomic import make_folder, to_json, write_text
from ..calibration.rules import QUANTILE, quantile_of
from ..detection import SCORES, PostprocessParams, available_scores, check_score, suggested
from ..detection.baselines import BASELINES
from ..detection.provenance import versions
from ..detection.rules import RULES
from ..devices import pick_device
from ..errors import OutputError, ParameterError, PatientError, extra
from ..metrics import ImageQuality
from ..metrics.patient_figures import PatientFigures
from ..patients.datasets import Layout, find_layout
from ..preparing import RAW, Preparation
from ..progress import Progress, Stop
from ..report.groups import groups_of
from ..report.paired_comparison import compare_twins
from ..report.report import write_report
from ..report.results import NOTHING, Evaluation, ModelSummary, Row, SlicePicture, choosers
from ..report.seeds import over_seeds
from ..report.seen import trained_on_warnings
from ..store.cohort_split import Split, folds_of, split_cohort
from ..store.parts import PARTS
from ..tasks import Tasks, tasks
from ..zoo import (
    PAPER_EXTRA,
    ModelCard,
    damaged_models,
    find_model,
    find_models,
    load_card,
    missing_models,
)
from .cohort_progress import Cohort, Steps
from .evaluation_run import BASELINE, Outcome, Pass, Plan
from .evaluation_tasks import SubjectSpec, let_models_go
from .example_slices import picture_jobs, take_pictures
from .maps import ARCHITECTURE, SCORE, ScoreMaps, find_maps
from .ranking import Pools, RankCounts

KEPT = ".evaluation"
"""Folder of the measurements in the output folder; removed at the end."""

TOGETHER = 256 * 2**20
"""Limit on the weights of the models in memory together, in bytes."""


def evaluate(
    cohort: str | Path,
    models: Sequence[str | Path] | Literal["all"],
    out: str | Path,
    *,
    maps: Mapping[str, str | Path] | Sequence[str | Path] = (),
    maps_pattern: str | None = None,
    split: str | Path | None = None,
    scores: Sequence[str] | None = None,
    rules: Sequence[str] | None = None,
    sequence: str | Sequence[str] | None = None,
    png_spacing: tuple[float, float, float] | None = None,
    quantile: float | None = None,
    device: str = "auto",
    seed: int = 0,
    resamples: int = 1000,
    report: bool = True,
    every_rule: bool = False,
    workers: int | None = 1,
    scheduler: str | None = None,
    folds: int | None = None,
    on_progress: Progress | None = None,
    preparation: Preparation = RAW,
    layout: Layout | str | Path | None = None,
    should_stop: Stop | None = None,
    pools: Pools | None = None,
) -> Evaluation:
    """Evaluate models on a cohort beside baselines without a network, and write the results.

    Every model runs under each of its scores, and each of the rules chooses the settings of the post-processing: on
    validation patients (`healthy-quantile`, `validation`), never on the reported ones, except by `oracle`, which is
    optimistic and says so. Without validation patients the first two are those on the model's card; if the card has
    none either, the row stays empty. With ``folds`` the reported patients choose for each other: those of the other
    folds for each fold. The baselines (:mod:`~napari_cead.detection.baselines`) go through the same rules on the
    scan's own grid, independent of the models; one more detector finds nothing.

    Patients are measured one by one, here or by the workers of a cluster, each under a group of models, and the
    measurements go to files in ``out`` at once (about 15 MB of disk for each patient of 150 slices under each model and
    score). After any interruption, a call with the same arguments continues from there; the files are removed at the
    end. Results do not depend on the workers or the order of the work.

    Args:
        cohort: Folder whose descendants are patients.
        models: Names or folders of models, or ``"all"``: every bundled or installed one. May be empty.
        out: Folder for ``results.json``, ``results.csv``, ``per_patient.csv``, ``table.md`` and ``report.html``; models
            called ``NAME.seedN`` are also averaged, in ``seeds.csv``.
        maps: Folders with the score maps of other methods, one NIfTI file per patient, by name or each as
            ``NAME=FOLDER`` or just a folder; see :func:`~napari_cead.evaluation.maps.find_maps`. They go through the
            same rules as a model, on the scan's own grid.
        maps_pattern: Place of a map in its folder, with ``{patient}`` for the name and ``*`` for any letters; None: the
            file with the name in it.
        split: Split file with the names of the patients of ``train``, ``validation`` and ``test`` (see
            :func:`~napari_cead.store.parts.read_split`), or a prepared store, whose split it uses. None: all
            patients are reported.
        scores: Anomaly scores, each with the models that support it; None: each model's suggested one, and
            ``residual``, that of the paper.
        rules: Names of threshold rules; None: all.
        sequence: Sequence to use, or several: each has rows of its own; None: that of the store, else FLAIR.
        png_spacing: (z, y, x) in mm of PNG slices; None: that of the store, else the default.
        quantile: Share of the healthy brain voxels below the threshold of `healthy-quantile`; None: 0.99, for
            denoisers 0.997, or what their cards say (see :func:`~napari_cead.calibration.rules.quantile_of`).
        device: See :func:`~napari_cead.devices.pick_device`.
        seed: Seed of the bootstrap, and of the folds.
        resamples: Resamples of the bootstrap.
        report: Whether to write ``report.html`` (which needs the extra ``evaluate``).
        every_rule: Whether ``per_lesion.csv`` and ``by_group.csv`` hold all rules, not only the leading one.
        workers: Number of worker processes; 1: only this one; None: one for each GPU or else processor core. Several
            are started like Python's ``multiprocessing`` with ``spawn``: scripts need ``if __name__ ==
            "__main__":`` around the call.
        scheduler: Address of a running Dask cluster to use instead; its workers see the same files.
        folds: Number of folds if there are no validation patients.
        preparation: Preparation of each scan.
        layout: Layout of the cohort, its name or its file (see :mod:`~napari_cead.patients.datasets`); without
            ``split`` and ``folds`` its fixed split counts. None: names are read as they are.
        on_progress: Called with (steps done, total steps).
        should_stop: Called between patients.
        pools: The maps of the baselines are added here too, by name, score and sequence, so that several evaluations
            have figures by rank together.

    Returns:
        The results. Unusable patients are listed in them and never end an evaluation.

    Raises:
        PatientError: If there is no patient, or none that can be reported, or one has no score map.
        ModelError: If there is no such model, or it is damaged.
        ParameterError: If a score or rule is unknown, no model supports any of the scores, the quantile is not in
            [0, 1], or the number of folds is impossible.
        StoreError: If the split or the store cannot be read.
        OutputError: If the folder cannot be written.
        MissingExtraError: If several processes or the report need a package that is not installed.
        Cancelled: If ``should_stop`` returned true; there are no results then, and the next call continues.
    """
    rules = RULES.names if rules is None else rules
    _check(scores, rules, quantile)
    if report:
        _check_packages()
    chosen, notes = _models(models, scores)
    where = str(pick_device(device))
    wanted = (sequence,) if sequence is None or isinstance(sequence, str) else tuple(dict.fromkeys(sequence))
    if preparation.mask_file is not None:
        raise ParameterError("a brain mask file goes with one patient", hint="name a stripper, or auto")
    known = layout if layout is None or isinstance(layout, Layout) else find_layout(layout)
    splits = [
        split_cohort(cohort, split, sequence=name, png_spacing=png_spacing, layout=known).prepared(
            preparation
        )
        for name in wanted
    ]
    if folds is not None:
        splits = [found.all_reported() for found in splits]
    cohorts = [Cohort(found) for found in splits]
    usable = [member.name for found in cohorts for member in found.usable]
    foreign = find_maps(maps, usable, maps_pattern)
    if split is None and not splits[0].layout and (chosen or foreign):
        notes.append(_NO_SPLIT if folds is None else _IN_FOLDS)
    parts = [
        _Part(members, found, _subjects(chosen, foreign, found.sequence, device, quantile))
        for members, found in zip(cohorts, splits, strict=True)
    ]
    _check_names(parts[0].subjects)
    fold = _folds(parts, folds, seed)
    steps = Steps(sum(part.steps(rules, bool(fold)) for part in parts), on_progress)
    rules = tuple(dict.fromkeys(rules))
    with _kept(Path(out), _identity(parts, chosen, foreign, rules, quantile, where, preparation)) as folder:
        steps.begin()
        try:
            with tasks(workers, scheduler, device=device) as crew:
                for part in parts:
                    plan = Plan(
                        sequence=part.split.sequence,
                        png_spacing=part.split.png_spacing,
                        rules=rules,
                        seed=seed,
                        resamples=resamples,
                        assume_healthy=part.split.assume_healthy,
                        folds=fold,
                        pools=pools,
                        pictures=report,
                    )
                    part.run(chosen, plan, folder / part.split.sequence, crew, steps, should_stop)
                    if not part.outcomes[BASELINE].nothing:
                        raise _nobody(part.cohort, Path(cohort))
                pictures = [
                    picture
                    for part in (parts if report else [])
                    for picture in part.pictures(crew, fold, should_stop)
                ]
        finally:
            let_models_go()
        steps.finish()
        rows = tuple(row for part in parts for row in part.rows(resamples, seed))
        first = parts[0]
        groups, unread = groups_of(cohort, first.cohort.part("test"))
        evaluation = Evaluation(
            cohort=Path(cohort),
            sequence=first.split.sequence,
            preparation=preparation.as_dict(),
            sequences=tuple(part.split.sequence for part in parts),
            split=first.split.source,
            seed=seed,
            resamples=resamples,
            quantile=quantile,
            rows=rows,
            models=tuple(
                ModelSummary(
                    name=model.name,
                    architecture=model.card.spec.name,
                    folder=model.folder,
                    sha256=model.card.sha256,
                    device=where,
                    quality=first.outcomes[number].quality.means(),
                )
                for number, model in enumerate(chosen, start=len(BASELINES))
            )
            + tuple(
                ModelSummary(each.name, ARCHITECTURE, each.folder, "", "", ImageQuality.empty().means())
                for each in foreign
            ),
            parts={part: tuple(member.name for member in first.cohort.part(part)) for part in PARTS},
            skipped=tuple(dict.fromkeys(item for part in parts for item in part.cohort.skipped)),
            warnings=tuple(
                dict.fromkeys(
                    (
                        *notes,
                        *unread,
                        *trained_on_warnings(rows),
                        *(text for part in parts for text in (*part.split.warnings, *part.cohort.notes())),
                    )
                )
            ),
            versions=versions(),
            twins=compare_twins(
                rows,
                {model.name: model.card.spec.name for model in chosen},
                resamples,
                seed,
                parents={model.name: _parents(model, chosen) for model in chosen},
            ),
            curves=tuple(curve for part in parts for done in part.outcomes for curve in done.curves),
            pictures=tuple(pictures),
            folds=_by_fold(first.cohort, fold),
            layout=first.split.layout,
            mixture=None if known is None else known.mixture,
            groups=groups,
            over_seeds=over_seeds(rows, resamples, seed),
        )
    write_report(evaluation, out, every_rule=every_rule)
    if report:
        from ..report.html import html_report

        write_text(Path(out) / "report.html", html_report(evaluation))
    return evaluation


class _Part:
    """The evaluation of one sequence."""

    def __init__(self, cohort: Cohort, split: Split, subjects: list[SubjectSpec]) -> None:
        self.cohort, self.split, self.subjects = cohort, split, subjects
        self.outcomes: list[Outcome] = []
        self.folder = Path()

    def steps(self, rules: Sequence[str], in_folds: bool) -> int:
        """Return the number of steps, as `Steps` counts them, if no search can be left out."""
        validation, test = (len(self.cohort.part(part)) for part in ("validation", "test"))
        found = [RULES.find(rule) for rule in rules]
        every = sum(len(subject.scores) for subject in self.subjects)
        # Baselines keep one of their scores, which is chosen first.
        kept = sum(1 if subject.baseline else len(subject.scores) for subject in self.subjects)
        passes = 2
        if in_folds:
            searched = passes * any(rule.by_lesions for rule in found)
            return test * (len(self.subjects) + (searched + 1) * kept)
        looks = test + validation * any(not rule.optimistic for rule in found)
        chosen = every * any(rule.by_lesions and not rule.optimistic for rule in found)
        bound = kept * any(rule.optimistic for rule in found)
        return looks * len(self.subjects) + validation * passes * chosen + test * (passes + 1) * bound

    def run(
        self,
        models: Sequence[_Model],
        plan: Plan,
        folder: Path,
        crew: Tasks,
        steps: Steps,
        should_stop: Stop | None,
    ) -> None:
        """Measure, choose and count."""
        self.folder = folder
        cards = {number: model.card for number, model in enumerate(models, start=len(BASELINES))}
        groups = _groups(self.subjects)
        self.outcomes = Pass(
            self.subjects, groups, cards, self.cohort, plan, folder, crew, steps, should_stop
        ).run()

    def rows(self, resamples: int, seed: int) -> list[Row]:
        """Return the rows of the models, then those of the baselines."""
        free, models = self.outcomes[: len(BASELINES)], self.outcomes[len(BASELINES) :]
        nothing = Row.of(
            NOTHING,
            None,
            "none",
            None,
            free[BASELINE].nothing,
            method="nothing is ever detected",
            resamples=resamples,
            seed=seed,
            sequence=self.split.sequence,
        )
        return [*(row for done in (*models, *free) for row in done.rows), nothing]

    def pictures(self, crew: Tasks, folds: Mapping[str, int], should_stop: Stop | None) -> list[SlicePicture]:
        """Take pictures of slices under each model."""
        rows = [row for done in self.outcomes for row in done.rows]
        members = {member.name: member for member in self.cohort.part("test")}
        models = [subject for subject in self.subjects if subject.folder is not None]
        jobs = picture_jobs(
            rows,
            models,
            members,
            {
                (subject.name, score, name): file
                for subject, done in zip(self.subjects, self.outcomes, strict=True)
                for score, cases in done.cases.items()
                for name, file in cases.items()
            },
            self.split.png_spacing,
            self.folder,
            choosers=choosers(rows),
            folds=folds,
        )
        return take_pictures(jobs, crew, should_stop)


def _folds(parts: Sequence[_Part], count: int | None, seed: int) -> dict[str, int]:
    """Return the fold of each reported patient; empty without folds.

    Unlabelled patients choose nothing and are not reported: they would make the folds uneven.

    Raises:
        ParameterError: If there are validation patients, or not enough others.
    """
    if count is None:
        return {}
    if any(part.split.part("validation") for part in parts):
        raise ParameterError(
            "the split has validation patients, which choose the settings",
            hint="leave out either the split or --folds",
        )
    return folds_of({member.name for part in parts for member in part.cohort.part("test")}, count, seed)


def _parents(model: _Model, others: Sequence[_Model]) -> list[str]:
    """Return the names of the others that a model was fine-tuned from."""
    known = {parent.sha256 for parent in model.card.parents}
    return [other.name for other in others if other.card.sha256 in known]


def _by_fold(cohort: Cohort, folds: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
    names = [member.name for member in cohort.part("test") if folds]
    return tuple(
        tuple(name for name in names if folds[name] == fold)
        for fold in range(max(folds.values(), default=-1) + 1)
    )


def _subjects(
    models: Sequence[_Model],
    maps: Sequence[ScoreMaps],
    sequence: str,
    device: str,
    quantile: float | None,
) -> list[SubjectSpec]:
    """Return the evaluated subjects: the baselines, then the models, then the score maps of other methods."""
    usual = QUANTILE if quantile is None else quantile
    return [
        *(
            SubjectSpec(
                baseline.title(sequence),
                tuple(baseline.maps),
                baseline=name,
                quantile=usual,
            )
            for name, baseline in BASELINES.items()
        ),
        *(
            SubjectSpec(
                model.name,
                model.scores,
                model.folder,
                device=device,
                quantile=quantile_of(model.card) if quantile is None else quantile,
            )
            for model in models
        ),
        *(SubjectSpec(each.name, (SCORE,), maps=each, quantile=usual) for each in maps),
    ]


def _check_names(subjects: Sequence[SubjectSpec]) -> None:
    names = Counter([NOTHING, *(subject.name for subject in subjects)])
    for subject in subjects:
        if names[subject.name] > 1 and subject.maps is not None:
            raise ParameterError(
                f"there is another row called {subject.name}",
                hint="name the maps otherwise: --maps NAME=FOLDER",
            )


def _groups(subjects: Sequence[SubjectSpec]) -> list[list[int]]:
    """Return the numbers of the subjects that fit into memory together; the baselines join the first model."""
    groups: list[list[int]] = [[]]
    taken = 0
    for number, subject in enumerate(subjects):
        size = 0 if subject.folder is None else sum(file.stat().st_size for file in subject.folder.iterdir())
        if groups[-1] and taken and taken + size > TOGETHER:
            groups.append([])
            taken = 0
        groups[-1].append(number)
        taken += size
    return groups


def _identity(
    parts: Sequence[_Part],
    models: Sequence[_Model],
    maps: Sequence[ScoreMaps],
    rules: Sequence[str],
    quantile: float | None,
    device: str,
    preparation: Preparation,
) -> str:
    """Return a hash of everything that the measurements depend on, except the patients."""
    return hashlib.sha256(
        to_json(
            {
                "models": [[model.name, model.card.sha256, list(model.scores)] for model in models],
                **({"maps": [each.state() for each in maps]} if maps else {}),
                "preprocessing": [model.card.preprocessing.model_dump(mode="json") for model in models],
                "parts": [
                    [part.split.sequence, part.split.png_spacing, part.split.assume_healthy] for part in parts
                ],
                "rules": list(rules),
                "quantile": quantile,
                "device": device,
                "preparation": preparation.as_dict(),
                "versions": versions(),
                # A step added in a development version changes masks before the version number changes.
                "steps": list(PostprocessParams.names()),
                "figures": [
                    each.name for kind in (PatientFigures, RankCounts, ImageQuality) for each in fields(kind)
                ],
            }
        ).encode()
    ).hexdigest()[:16]


_NO_SPLIT = (
    "no split: all patients are reported, and a patient that a model was trained or calibrated on makes its figures "
    "optimistic"
)


_IN_FOLDS = (
    "no split: all patients are reported, each with settings chosen by those of the other folds; a patient that a "
    "model was trained on makes its figures optimistic"
)


@dataclass(frozen=True)
class _Model:
    name: str
    folder: Path
    card: ModelCard
    scores: tuple[str, ...]


def _check_packages() -> None:
    """Say before the work what the report lacks."""
    for name in ("jinja2", "matplotlib"):
        with extra("evaluate", "An evaluation"):
            if find_spec(name) is None:
                raise ModuleNotFoundError(name=name)


def _check(scores: Sequence[str] | None, rules: Sequence[str], quantile: float | None) -> None:
    if quantile is not None and not 0 <= quantile <= 1:
        raise ParameterError(f"a quantile lies from 0 to 1, not {quantile!r}", hint="0.995 is usual")
    for score in scores or ():
        SCORES.find(score)
    for rule in rules:
        RULES.find(rule)


def _models(
    models: Sequence[str | Path] | Literal["all"], scores: Sequence[str] | None
) -> tuple[list[_Model], list[str]]:
    """Return the models with their scores, and what is left out: damaged models and unsupported scores.

    Raises:
        ParameterError: If no model supports any of the scores.
    """
    notes = []
    wanted: Sequence[str | Path]
    if models == "all":
        wanted = list(find_models())
        notes = [f"the model {name} is left out: {error}" for name, error in damaged_models().items()]
        if missing := missing_models():
            notes.append(f"{', '.join(missing)} are not installed and left out: {PAPER_EXTRA}")
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
        f"no patient can be reported{first}", file=cohort, hint="give test patients with a lesion mask"
    )


@contextmanager
def _kept(out: Path, identity: str) -> Iterator[Path]:
    """Yield a folder in the output folder for the measurements: removed at the end, kept after an interruption.

    Files of another evaluation in it are removed.

    Raises:
        OutputError: If it cannot be written.
    """
    target = make_folder(out)
    kept = target / KEPT
    try:
        if kept.is_dir():
            for other in kept.iterdir():
                if other.name != identity:
                    shutil.rmtree(other, ignore_errors=True)
        folder = kept / identity
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        shutil.rmtree(kept, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"the folder cannot be written ({error.strerror or error})",
            file=target,
            hint="choose a folder that can be written and has space left",
        ) from error
