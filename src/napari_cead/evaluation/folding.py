"""Cross-validation: models trained on all folds of the patients but two, measured on one of these, and pooled."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..atomic import make_folder, write_text
from ..errors import OutputError, ParameterError, disk_errors
from ..metrics.overlap import NAN
from ..progress import Progress, Stop, tell
from ..report.report import write_report
from ..report.results import Evaluation, Row
from ..store.cohort_split import folds_of
from ..store.index import INDEX_FILE, StoreIndex, group_name, read_index, write_index
from ..store.parts import PARTS, Part
from ..store.store import SliceStore
from ..zoo import load_card
from .comparison import evaluate
from .ranking import Pool, Pools, Ranked

FEWEST_FOLDS = 3
"""One fold is reported, one chooses the settings, and the rest trains."""


@dataclass(frozen=True)
class Folded:
    """A model of a cross-validation.

    Attributes:
        base: Name of the model as a whole.
        fold: The fold that it is measured on, from 0.
        model: Its folder.
    """

    base: str
    fold: int
    model: Path


def fold_stores(store: SliceStore, folder: Path, count: int, seed: int = 0) -> tuple[SliceStore, ...]:
    """Write one store for each fold with the slices of a store, split by fold. Files are linked where possible.

    In store number k the patients of fold k are the test patients and those of the next fold validate.

    Args:
        store: The slices.
        folder: Where to write them; stores of the same folds that are there already are kept.
        count: Number of folds.
        seed: Seed of the assignment of patients to folds.

    Raises:
        ParameterError: If there are fewer than three folds, or fewer patients than folds.
        StoreError: If the store is damaged.
        OutputError: If the stores cannot be written.
    """
    check_folds(count)
    folds = folds_of((patient.name for patient in store.patients), count, seed)
    index = read_index(store.path)
    return tuple(
        _fold_store(store, index, folds, fold, count, folder / f"fold{fold}") for fold in range(count)
    )


def check_folds(count: int) -> None:
    """Refuse a number of folds that leaves nothing to train on.

    Raises:
        ParameterError: If it does.
    """
    if count < FEWEST_FOLDS:
        raise ParameterError(
            f"{count} folds leave none to train on: one is reported and one chooses the settings",
            hint=f"give --folds {FEWEST_FOLDS} or more",
        )


def _fold_store(
    store: SliceStore, index: StoreIndex, folds: Mapping[str, int], fold: int, count: int, folder: Path
) -> SliceStore:
    of_fold: dict[int, Part] = {fold: "test", (fold + 1) % count: "validation"}
    parts: dict[str, Part] = {name: of_fold.get(number, "train") for name, number in folds.items()}
    wanted = index.model_copy(
        update={
            "split": index.split.model_copy(update={"kind": "file", "parts": parts}),
            "patients": tuple(
                replace(patient, parts=(parts[patient.name],) * len(patient.numbers))
                for patient in index.patients
            ),
        }
    )
    if (folder / INDEX_FILE).is_file():
        before = SliceStore.open(folder)
        if before.fingerprint != SliceStore.of_index(folder, wanted).fingerprint:
            raise ParameterError(
                "the folds here are those of other data, or of another number or seed",
                file=folder,
                hint="choose another --out",
            )
        return before
    make_folder(folder)
    hint = "choose an --out that can be written and has space left"
    with disk_errors(OutputError, "the folds cannot be written", folder, hint):
        for patient in index.patients:
            group = group_name(patient.name, patient.fingerprint, index.settings)
            shutil.copytree(store.path / group, folder / group, copy_function=_linked, dirs_exist_ok=True)
    write_index(folder, wanted)
    return SliceStore.open(folder)


def _linked(source: str, target: str) -> None:
    """Link a file, or copy it where there are no links."""
    if Path(target).exists():
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def cross_validate(
    models: Sequence[Folded],
    stores: Sequence[SliceStore],
    out: str | Path,
    *,
    device: str = "auto",
    seed: int = 0,
    report: bool = True,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> Evaluation:
    """Measure each model on the patients of its fold, and write the results of all patients together.

    Settings are chosen on the validation patients of each fold, which the model was not trained on either. Each patient
    is reported once. The figures by rank (AUROC, average precision, AUPRO, Dice ceiling, FROC) put one threshold to all
    patients, and the models of two folds do not share a scale of scores: only the baselines have them, whose maps do
    not depend on the fold. The healthy share above the threshold is that of each patient's own fold.

    Args:
        models: The models by fold.
        stores: The stores of the folds.
        out: Folder for the results, as for :func:`~napari_cead.evaluation.comparison.evaluate`; those of each fold lie
            below it.
        device: See :func:`~napari_cead.devices.pick_device`.
        seed: Seed of the bootstrap.
        report: Whether to write ``report.html``.
        on_progress: Called with (steps done, total steps).
        should_stop: Called between patients.

    Raises:
        CeadError: As ``evaluate``.
        Cancelled: If ``should_stop`` returned true.
    """
    cohort = Path(os.path.commonpath([patient.source for patient in stores[0].patients]))
    found = []
    pools: Pools = {}
    for fold, store in enumerate(stores):
        own = [each.model for each in models if each.fold == fold]

        def progress(done: int, total: int, before: int = fold) -> None:
            tell(on_progress, before * total + done, len(stores) * total)

        found.append(
            evaluate(
                cohort,
                own,
                Path(out) / f"fold{fold}",
                split=store.path,
                device=device,
                seed=seed,
                report=False,
                on_progress=progress,
                should_stop=should_stop,
                pools=pools,
            )
        )
    evaluation = _pooled(found, {load_card(each.model).name: each.base for each in models}, pools)
    write_report(evaluation, out)
    if report:
        from ..report.html import html_report

        write_text(Path(out) / "report.html", html_report(evaluation))
    return evaluation


def _pooled(
    folds: Sequence[Evaluation], bases: Mapping[str, str], pools: Mapping[tuple[str, str, str], Pool]
) -> Evaluation:
    """Return the figures of all folds together."""
    first = folds[0]
    groups: dict[tuple[str, str | None, str, str], list[Row]] = {}
    for each in folds:
        for row in each.rows:
            # The validation patients of a fold choose one score of a baseline: the choice is part of the method.
            score = row.score if row.model in bases else None
            key = (bases.get(row.model, row.model), score, row.rule, row.sequence)
            groups.setdefault(key, []).append(row)
    ranks = {key: pool.ranked() for key, pool in pools.items()}
    names = {part: [name for each in folds for name in each.parts[part]] for part in PARTS}
    note = (
        f"cross-validation in {len(folds)} folds: each patient is reported once, under the models that were neither "
        "trained on it nor on the patients that chose its settings"
    )
    texts = (text for each in folds for text in each.warnings)
    return replace(
        first,
        split=None,
        rows=tuple(_together(name, rows, first, ranks) for (name, *_), rows in groups.items()),
        models=tuple(model for each in folds for model in each.models),
        parts={"train": (), "validation": (), "test": tuple(names["test"])},
        skipped=tuple(dict.fromkeys(item for each in folds for item in each.skipped)),
        warnings=tuple(dict.fromkeys((note, *texts))),
        twins=(),
        curves=(),
        pictures=(),
        folds=tuple(tuple(each.parts["test"]) for each in folds),
    )


def _together(
    name: str, rows: Sequence[Row], first: Evaluation, ranks: Mapping[tuple[str, str, str], Ranked]
) -> Row:
    """Return the row of all folds of one model, score and rule; ``ranks`` are the figures by rank of one map."""
    one = rows[0]
    scores = [*dict.fromkeys(row.score for row in rows if row.score)]
    if len(scores) > 1:
        score = ", ".join(scores)
        one = replace(
            one,
            score=score,
            method=f"{one.method.split(';')[0]}; {score}, as each fold's validation patients chose",
        )
    if not all(row.averages is not None for row in rows):
        note = next(row.note for row in rows if row.averages is None)
        return Row(name, one.score, one.rule, None, note=note, sequence=one.sequence, method=one.method)
    choosers = [row.chosen_by for row in rows if row.chosen_by is not None]
    settings = tuple(row.params for row in rows if row.params is not None)
    found = ranks.get((name, one.score or "", one.sequence))
    healthy = sum(row.healthy_voxels for row in rows)
    above = sum(row.healthy_above * row.healthy_voxels for row in rows if row.healthy_voxels)
    return Row.of(
        name,
        one.score,
        one.rule,
        settings[0] if settings and len(set(settings)) == 1 else None,
        [patient for row in rows for patient in row.patients],
        chosen_on=one.chosen_on,
        chosen_by=min(choosers) if choosers else None,
        edge=next((row.edge for row in rows if row.edge), ""),
        folds=settings if len(set(settings)) > 1 else (),
        note=one.note,
        ranking=(NAN, NAN) if found is None else (found.auroc, found.average_precision),
        dice_ceiling=NAN if found is None else found.dice_ceiling,
        aupro=NAN if found is None else found.aupro,
        froc=() if found is None else found.froc,
        healthy_above=above / healthy if healthy else NAN,
        healthy_voxels=healthy,
        method=one.method,
        sequence=one.sequence,
        resamples=first.resamples,
        seed=first.seed,
    )
