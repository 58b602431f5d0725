"""One patient with a lesion mask under several models and raw intensity, with the same rules for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..detection import PostprocessParams, Reconstruction, available_scores, postprocess, run, suggested
from ..detection.choosing import Suggested, settle
from ..detection.rules import HEALTHY, ORACLE, is_optimistic
from ..metrics import PatientCounts
from ..patients import Patient
from ..progress import Progress, Stop
from ..zoo import Detector
from .baselines import BASELINES, INTENSITY, Seen
from .cases import Case
from .choosing import FIXED
from .measuring import figures_of
from .results import NOTHING, PatientFigures
from .rules import search

CARD, THRESHOLD, LOCAL, THIS_PATIENT = (
    "model card",
    "model card (threshold alone)",
    "local scans",
    "this patient",
)
"""The data that chose the settings."""

Local = Mapping[str, PostprocessParams]
"""By score, the settings of rule ``healthy-quantile`` on healthy local slices."""


@dataclass(frozen=True)
class LesionRow:
    """The figures of one model on the patient at one setting.

    Attributes:
        model: Name of the model, or of a baseline.
        score: Anomaly score; None for the baseline that detects nothing.
        rule: The rule that chose the settings; ``"none"`` for the baseline that detects nothing.
        chosen_on: `CARD`, `THRESHOLD` (with the defaults), `LOCAL`, `FIXED` or `THIS_PATIENT`; empty without a
            choice.
        params: The settings.
        figures: Figures of the volume.
        default: Whether this is the model's default setting.
    """

    model: str
    score: str | None
    rule: str
    chosen_on: str
    params: PostprocessParams | None
    figures: PatientFigures
    default: bool = False

    @property
    def optimistic(self) -> bool:
        """Whether the lesion mask that measures the settings also chose them."""
        return is_optimistic(self.rule)

    @property
    def dice(self) -> float:
        """Dice of the volume; NaN if both masks are empty."""
        return self.figures.counts.total.dice()

    def described(self) -> dict[str, Any]:
        """Return the row by name."""
        return {
            "model": self.model,
            "score": self.score,
            "rule": self.rule,
            "chosen_on": self.chosen_on,
            "optimistic": self.optimistic,
            "default": self.default,
            "params": None if self.params is None else self.params.model_dump(),
            **{name: value for name, value in self.figures.as_dict().items() if name != "patient"},
        }


def lesion_rows(
    patient: Patient,
    detectors: Sequence[tuple[str, Detector]],
    local: Mapping[str, Local],
    *,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> tuple[LesionRow, ...]:
    """Return the figures of models and of all baselines on one patient.

    Each model runs under the scores that any of them suggests, if it supports them. Its settings are those on its
    card, those of rule `healthy-quantile` on the local scans, and those of rule `oracle`. Baselines have the last two;
    without measurements on the local scans, fixed settings replace the former.

    Args:
        patient: A patient with a lesion mask.
        detectors: The models with their display names.
        local: By model, and for ``"intensity"`` by this name, settings chosen on the local scans.
        on_progress: Called with (slices done, total slices), of all models together.
        should_stop: Called between batches of slices.

    Raises:
        PatientError: If the patient has no usable brain.
        Cancelled: If ``should_stop`` returned true.
    """
    scores = dict.fromkeys(suggested(detector.card)[0] for _, detector in detectors)
    rows: list[LesionRow] = []
    stack = None
    for number, (name, detector) in enumerate(detectors):
        own = tuple(score for score in scores if score in available_scores(detector.card))
        made = run(
            patient,
            detector,
            score=own,
            on_progress=_part(on_progress, number, len(detectors)),
            should_stop=should_stop,
        )
        stack = stack or made.stack
        default = settle(detector.card)
        for score in own:
            chosen = [
                (item.rule, CARD, Suggested.of(item).params)
                for item in detector.card.suggestions
                if item.score == score
            ] or [("default", CARD, PostprocessParams())]
            usual = None
            if score == default.score:
                usual = next((one for one in chosen if one[2] == default.params), None)
                usual = usual or (default.rule, THRESHOLD, default.params)
                chosen = [usual, *(one for one in chosen if one != usual)]
            chosen += _local(local.get(name, {}), score, chosen)
            for row in _rows(name, score, made, patient, chosen, should_stop):
                is_usual = usual == (row.rule, row.chosen_on, row.params)
                rows.append(_as_default(row) if is_usual else row)
    assert stack is not None and patient.lesion_mask is not None
    # The local scans were measured as the models see them: this fits the baseline with the same scaling.
    scaling = detectors[0][1].card.preprocessing.intensity
    for baseline in BASELINES.values():
        score = baseline.default
        same = (baseline.scaling, score) == (scaling, INTENSITY)
        chosen = _local(local.get(INTENSITY, {}), score, []) if same else []
        fixed = baseline.settings(score, HEALTHY, patient.sequence)
        if not chosen and fixed is not None:
            chosen = [(HEALTHY, FIXED, fixed)]
        rows += _rows(
            baseline.title(patient.sequence), score, baseline.seen(patient), patient, chosen, should_stop
        )
    empty = np.zeros_like(patient.lesion_mask)
    rows.append(LesionRow(NOTHING, None, "none", "", None, _figures(patient, empty, stack.brain)))
    return tuple(rows)


def _rows(
    name: str,
    score: str,
    made: Reconstruction | Seen,
    patient: Patient,
    chosen: Sequence[tuple[str, str, PostprocessParams]],
    should_stop: Stop | None,
) -> Iterator[LesionRow]:
    """Yield the rows of one map, the oracle last."""
    brain = made.stack.brain
    anomaly_map = made.anomaly_map(score)
    for rule, chosen_on, params in chosen:
        figures = _figures(patient, postprocess(anomaly_map, params, patient.spacing, brain), brain)
        yield LesionRow(name, score, rule, chosen_on, params, figures)
    none_healthy = np.zeros(len(brain), dtype=np.bool_)
    case = Case.of(patient.name, anomaly_map, patient.lesion_mask, brain, patient.spacing, none_healthy)
    # Since it also tries the choices of the other rules, it is a bound.
    best = search([case], also=[params for *_, params in chosen], should_stop=should_stop)
    if best is not None:
        mask = postprocess(anomaly_map, best.params, patient.spacing, brain)
        yield LesionRow(name, score, ORACLE, THIS_PATIENT, best.params, _figures(patient, mask, brain))


def _local(
    local: Local, score: str, known: Sequence[tuple[str, str, PostprocessParams]]
) -> list[tuple[str, str, PostprocessParams]]:
    """Return the settings chosen on local scans, unless the card has the same."""
    params = local.get(score)
    if params is None or any((rule, same) == (HEALTHY, params) for rule, _, same in known):
        return []
    return [(HEALTHY, LOCAL, params)]


def _figures(patient: Patient, mask: NDArray[np.bool_], brain: NDArray[np.bool_]) -> PatientFigures:
    reference = patient.lesion_mask
    assert reference is not None
    counts = PatientCounts.of(mask, reference, brain)
    return figures_of(patient.name, counts, mask, reference, patient.spacing, distances=False)


def _as_default(row: LesionRow) -> LesionRow:
    return LesionRow(row.model, row.score, row.rule, row.chosen_on, row.params, row.figures, default=True)


def _part(on_progress: Progress | None, number: int, parts: int) -> Progress | None:
    if on_progress is None:
        return None
    return lambda done, total: on_progress(number * total + done, parts * total)
