"""Calibration of a newly trained model: scales of its scores, healthy statistics, and suggested settings.

Everything is measured on the validation slices of the model's training store, on the model grid, and never on its test
slices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..atomic import strict
from ..detection import SCORES, PostprocessParams, anomaly_score
from ..detection.choosing import Suggested
from ..detection.evidence import Seen, Tails, kinds_of
from ..detection.members import differs, given_by, median, members, one_pass
from ..detection.reconstruct import GROUP
from ..detection.rules import VALIDATION, Choice, reported_rules
from ..detection.scores import (
    LESION,
    RECONSTRUCTION,
    TAILS,
    Evidence,
    Ingredient,
    Score,
    computed_for,
    kind_of_network,
    lacks,
    suits,
)
from ..detection.thresholds import ScoreHistograms
from ..metrics import ImageQuality
from ..progress import Progress, Stop, check_stop, tell
from ..slices import brain_mask
from ..slices.symmetry import midline
from ..zoo import Detector, Suggestion
from .candidates import MORPHOLOGIES
from .cases import BINS, Case
from .rules import QUANTILE, quantile_of, search, threshold_of_healthy
from .statistics import HealthyStatistics

if TYPE_CHECKING:
    from torch import Tensor

    from ..store.store import PatientSlices, SliceStore

_SAMPLE = 16  # every 16th healthy brain pixel is sampled for a score that needs scaling


@dataclass(frozen=True)
class Calibration:
    """The results that go to a model's card and weights file.

    Attributes:
        score_scales: By name, the constant that a score is divided by; only scores that need one.
        statistics: Maps (S, S) float32 ``residual_mean`` and ``residual_std`` of |x - x̂| over healthy validation
            slices; none without such slices.
        tails: By kind of evidence, the values of healthy voxels, with equal weight for each folder of patients.
        suggestions: Suggested settings, the default first: by rule ``validation`` the score with the highest
            Dice, then the other, then those by rule ``healthy-quantile`` of all scores that the model supports.
        figures: The results as strict JSON values: ``grid`` (always ``"model"``), numbers of patients and
            slices, ``validation_dice_patient`` by score (optimistic: settings and Dice from the same patients),
            ``validation_edges`` of the scores whose threshold is the lowest or highest one tried, and
            the means over healthy validation slices ``psnr``, ``psnr_brain`` and ``ssim``.
    """

    score_scales: Mapping[str, float] = field(default_factory=dict)
    statistics: Mapping[str, Tensor] = field(default_factory=dict)
    tails: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    suggestions: tuple[Suggestion, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


def calibrate(
    detector: Detector,
    store: SliceStore,
    *,
    start: Sequence[Suggestion] = (),
    quantile: float | None = None,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> Calibration:
    """Measure a trained model on the validation slices of its store.

    Of an ensemble, what healthy tissue gives (statistics, tables) is that of all members together; whatever is of a
    map (scales, thresholds), of the median of their maps.

    Memory: the slices of one patient; four bytes for each brain voxel of the validation patients and each searched
    score (about 8 MB for a patient of 150 slices and a score); and a sixteenth of the healthy brain voxels for the
    scores that need scaling (about 3 MB). Of an ensemble the first and the last count for each member. The scale of
    some searched scores of denoisers is known only after all patients: then each patient passes through the network
    twice.

    Args:
        detector: The model, as it will be used.
        store: The store that it was trained on.
        start: The suggestions of its base model. Then their radii and areas stay, and their score stays the default:
            only thresholds and scales are chosen anew.
        quantile: Share of the healthy voxels below the threshold of rule ``healthy-quantile``; None: the usual one.
        on_progress: Called with (steps done, total steps); a patient is one step, and one more for each score.
        should_stop: Called between batches of slices and between patients of a search.

    Returns:
        The calibration; without validation slices an empty one.

    Raises:
        StoreError: If the store is damaged.
        Cancelled: If ``should_stop`` returned true.
    """
    import torch

    names = [patient.name for patient in store.patients_of("validation")]
    kept_below = quantile_of(detector.card) if quantile is None else quantile
    usable_scores, kind = (
        [score for score in SCORES if suits(score, detector.card)],
        kind_of_network(detector.card),
    )
    searched_scores = [score for score in usable_scores if kind in score.searched_for]
    searched = [score.name for score in searched_scores]
    default = max(usable_scores, key=lambda score: score.default_for.get(kind, 0)).name
    shapes = Shapes(start)
    # Known only after all patients: the constant of some scores, and the values of healthy tissue.
    later = [score.name for score in searched_scores if score.measured]
    at_once = [score for score in searched if score not in later]
    total = len(names) * (1 + bool(later) + len(searched))
    index = {patient.name: number for number, patient in enumerate(store.patients)}
    usable = store.healthy_rows("validation")

    statistics = HealthyStatistics(store.settings.image_size)
    quality = ImageQuality.empty()
    cases: dict[str, list[Case]] = {score: [] for score in searched}
    samples = [_Samples(usable_scores) for _ in range(detector.card.spec.voices)]
    rare = any(TAILS in score.ingredients for score in searched_scores)
    tails = Tails(kinds_of(LESION.had_by(detector.card))) if rare else None
    healthy_values: dict[str, ScoreHistograms] = {
        score.name: ScoreHistograms.empty(BINS) for score in usable_scores if not score.measured
    }
    # Of the healthy slices alone, where no score needs them of whole patients.
    everywhere = computed_for(score for score in usable_scores if score.volume or score in searched_scores)
    on_healthy = [one for one in computed_for(usable_scores) if one not in everywhere]
    for done, name in enumerate(names, start=1):
        found = _Looked.at(store, name, detector, index, usable, everywhere, should_stop)
        healthy, brain = found.healthy, found.brain[found.healthy]
        more = _computed(on_healthy, detector, found.images[healthy], should_stop)
        calm = [each.calm(more) for each in found.members]

        for turn, each in enumerate(found.members):
            if tails is not None:
                source = Path(found.found.patient.source).parent
                here = healthy[:, None, None] & found.brain
                tails.add(each.seen, _every(here, len(calm), turn), str(source))
            statistics.add(calm[turn].image, calm[turn].reconstruction, brain)
            samples[turn].add(calm[turn], brain)
        quality += ImageQuality.of(found.images[healthy], found.made[healthy], brain)
        for score in at_once:
            cases[score].append(found.case(score))
        for score in healthy_values:
            if score in at_once:
                healthy_values[score] += cases[score][-1].healthy
            elif SCORES.find(score).volume:  # of the whole patient: it looks through slices
                healthy_values[score] += found.case(score).healthy
            else:
                healthy_values[score] += _healthy_values(score, calm, brain)
        tell(on_progress, done, total)

    maps = statistics.maps()
    scales: dict[str, float] = {}
    for found_by in zip(*(each.scores(maps) for each in samples), strict=True):
        score, values = found_by[0][0], [values for _, values in found_by]
        quantile = float(np.quantile(median(values), QUANTILE))
        if quantile > 0:
            scales[score] = SCORES.find(score).headroom * quantile
            scaled = median([np.clip(each / np.float32(scales[score]), 0, 1) for each in values])
            healthy_values[score] = ScoreHistograms.of(scaled, np.zeros(scaled.shape, np.bool_), bins=BINS)
    tables = {} if tails is None else tails.table()
    known = [
        score for score in later if score in scales or (tables and TAILS in SCORES.find(score).ingredients)
    ]
    for done, name in enumerate(names if later else (), start=1):
        again = _Looked.at(store, name, detector, index, usable, everywhere, should_stop)
        for score in known:
            cases[score].append(again.case(score, scales, tables))
            if score not in scales:
                healthy_values.setdefault(score, ScoreHistograms.empty(BINS))
                healthy_values[score] += cases[score][-1].healthy
        tell(on_progress, len(names) + done, total)

    by_lesions = [rule for rule in reported_rules() if rule.by_lesions]
    chosen: dict[str, dict[str, Choice | None]] = {rule.name: {} for rule in by_lesions}
    before = 1 + bool(later)
    for number, score in enumerate(searched):
        for rule in by_lesions:
            chosen[rule.name][score] = search(
                cases[score],
                rule=rule,
                morphologies=shapes.tried(score, MORPHOLOGIES),
                on_progress=_shifted(on_progress, (before + number) * len(names), total),
                should_stop=should_stop,
            )
    return Calibration(
        score_scales=scales,
        statistics={name: torch.from_numpy(values) for name, values in maps.items()},
        tails=tables,
        suggestions=_suggestions(chosen, healthy_values, default, kept_below, shapes),
        figures=strict(
            {
                "grid": "model",
                "validation_patients": len(names),
                "validation_lesion_patients": sum(case.has_lesion for case in cases[at_once[0]]),
                "healthy_quantile": kept_below,
                "validation_dice_patient": {
                    score: choice.dice_patient
                    for score, choice in chosen[VALIDATION].items()
                    if choice is not None
                },
                "validation_edges": {
                    score: choice.edge
                    for score, choice in chosen[VALIDATION].items()
                    if choice is not None and choice.edge
                },
                **{f"healthy_{name}": value for name, value in quality.means().items()},
            }
        ),
    )


@dataclass(frozen=True, eq=False)
class _Looked:
    """One validation patient and the network's output for it.

    Attributes:
        found: The stored slices.
        images: (N, S, S) float32 in [0, 1].
        made: (N, S, S) float32.
        ingredients: What else scores are made from, by name, (N, S, S) float32.
        brain: (N, S, S) bool.
        part: Which slices are validation slices (N,).
        healthy: Which of them are healthy (N,).
    """

    found: PatientSlices
    images: NDArray[np.float32]
    made: NDArray[np.float32]
    ingredients: Mapping[str, NDArray[np.float32]]
    brain: NDArray[np.bool_]
    part: NDArray[np.bool_]
    healthy: NDArray[np.bool_]

    @classmethod
    def at(
        cls,
        store: SliceStore,
        name: str,
        detector: Detector,
        index: Mapping[str, int],
        usable: NDArray[np.int64],
        computed: Sequence[Ingredient],
        should_stop: Stop | None,
    ) -> _Looked:
        found = store.slices(name)
        images = found.images.astype(np.float32) / np.float32(255)
        ingredients = passed(images, detector, should_stop)
        made = ingredients.pop(RECONSTRUCTION.name)
        ingredients |= _computed(computed, detector, images, should_stop)
        healthy = np.zeros(len(images), dtype=np.bool_)
        healthy[usable[usable[:, 0] == index[name], 1]] = True
        part = np.array([where == "validation" for where in found.patient.parts])
        # The brain of all slices, before dropping those of other parts: it is one piece in 3-D.
        return cls(found, images, made, ingredients, brain_mask(found.images), part, healthy)

    @property
    def spacing(self) -> tuple[float, float, float]:
        return self.found.patient.spacing

    @cached_property
    def members(self) -> tuple[_Looked, ...]:
        """The members of an ensemble, each as if it were alone; of one network itself."""
        found = members(self.made, self.ingredients)
        return tuple(replace(self, made=made, ingredients=rest) for made, rest in found)

    def calm(self, more: Mapping[str, NDArray[np.float32]]) -> Evidence:
        """Return the healthy slices as the inputs of a score.

        Args:
            more: What was computed of these alone, by name.
        """
        at = self.healthy
        own = {name: values[at] for name, values in self.ingredients.items()}
        return Evidence(self.images[at], self.made[at], {**own, **more}, spacing=self.spacing[1:])

    @property
    def seen(self) -> Seen:
        """The patient as the source of evidence, on the model's grid."""
        lesion = self.ingredients.get(LESION.name)
        return Seen(self.images, self.made, lesion, self.spacing, midline(self.brain))

    def case(
        self,
        score: str,
        scales: Mapping[str, float] | None = None,
        tails: Mapping[str, Sequence[float]] | None = None,
    ) -> Case:
        """Return the data of the patient for a search under a score."""
        axis = midline(self.brain)
        values = median(
            [
                anomaly_score(
                    score,
                    self.images,
                    each.made,
                    scales,
                    ingredients=each.ingredients,
                    spacing=self.spacing[1:],
                    depth=self.spacing[0],
                    midline=axis,
                    tails=tails,
                )
                for each in self.members[: None if differs(score) else 1]
            ]
        )
        values, part = np.where(self.brain, values, np.float32(0)), self.part
        reference = None if self.found.masks is None else self.found.masks[part]
        name = self.found.patient.name
        return Case.of(name, values[part], reference, self.brain[part], self.spacing, self.healthy[part])


class _Samples:
    """Every 16th healthy brain pixel, with all the inputs of the scores that need scaling.

    Args:
        scores: Those that the model suits.
    """

    def __init__(self, scores: Sequence[Score]) -> None:
        self._scores = [score for score in scores if score.scaled]
        self._needed = {one.name for score in self._scores if not score.whole for one in score.ingredients}
        self._parts: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
        self._ingredients: dict[str, list[NDArray[np.float32]]] = {}
        self._places: list[NDArray[np.int32]] = []
        # Scores that use neighbouring pixels are computed on whole slices, the others at the end on the sample.
        self._whole: dict[str, list[NDArray[np.float32]]] = {
            score.name: [] for score in self._scores if score.whole
        }

    def add(self, calm: Evidence, brain: NDArray[np.bool_]) -> None:
        """Add healthy slices (N, S, S)."""
        chosen = np.flatnonzero(brain)[::_SAMPLE]
        self._parts.append((calm.image.ravel()[chosen], calm.reconstruction.ravel()[chosen]))
        for name, whole in calm.ingredients.items():
            if name in self._needed:
                self._ingredients.setdefault(name, []).append(whole.ravel()[chosen])
        for name, values in self._whole.items():
            values.append(SCORES.find(name).compute(calm).ravel()[chosen])
        # The pixel's position in the slice selects its statistics, which are known only at the end.
        self._places.append((chosen % np.prod(brain.shape[1:])).astype(np.int32))

    def scores(self, maps: Mapping[str, NDArray[np.float32]]) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Yield the raw values of each score of the model that needs scaling.

        Args:
            maps: Healthy statistics (S, S), just measured.
        """
        if not sum(map(len, self._places)):
            return
        places = np.concatenate(self._places)
        images, made = (np.concatenate([part[number] for part in self._parts]) for number in (0, 1))
        evidence = Evidence(
            images,
            made,
            {name: np.concatenate(parts) for name, parts in self._ingredients.items()},
            {name: plane.ravel()[places] for name, plane in maps.items()},
        )
        for score in self._scores:
            if score.whole:
                yield score.name, np.concatenate(self._whole[score.name])
            elif lacks(score, evidence) is None:
                yield score.name, score.compute(evidence)


def in_groups(
    images: NDArray[np.float32],
    network: Callable[[Tensor], Tensor | tuple[Tensor, ...]],
    should_stop: Stop | None,
) -> list[NDArray[np.float32]]:
    """Pass (N, S, S) slices through a network in the batches of a detection; return each of its outputs."""
    import torch

    made: list[NDArray[np.float32]] = []
    for start in range(0, len(images), GROUP):
        check_stop(should_stop)
        found = network(torch.from_numpy(images[start : start + GROUP])[:, None])
        given = found if isinstance(found, tuple) else (found,)
        made = made or [np.empty_like(images) for _ in given]
        for result, values in zip(made, given, strict=True):
            result[start : start + GROUP] = values[:, 0].float().cpu().numpy()
    return made or [np.empty_like(images)]


def passed(
    images: NDArray[np.float32], detector: Detector, should_stop: Stop | None
) -> dict[str, NDArray[np.float32]]:
    """Return all that one pass of a model gives of slices (N, S, S), by the names of the ingredients."""
    names = [one.name for one in given_by(detector.card)]

    def network(batch: Tensor) -> tuple[Tensor, ...]:
        found = one_pass(detector, batch)
        return tuple(found[name] for name in names)

    return dict(zip(names, in_groups(images, network, should_stop), strict=True))


def median_score(score: str, calm: Sequence[Evidence]) -> NDArray[np.float32]:
    """Return the median of what a score without a constant gives for each member."""
    return median(
        [
            anomaly_score(
                score, one.image, one.reconstruction, ingredients=one.ingredients, spacing=one.spacing
            )
            for one in calm[: None if differs(score) else 1]
        ]
    )


def _every(mask: NDArray[np.bool_], step: int, first: int) -> NDArray[np.bool_]:
    """Return every so many voxels of a mask: members take turns, so that a table of theirs is no larger."""
    if step == 1:
        return mask
    result = np.zeros_like(mask)
    result.ravel()[np.flatnonzero(mask)[first::step]] = True
    return result


def _computed(
    ingredients: Sequence[Ingredient],
    detector: Detector,
    images: NDArray[np.float32],
    should_stop: Stop | None,
) -> dict[str, NDArray[np.float32]]:
    """Return what takes passes of its own of slices (N, S, S), by name."""
    return {
        one.name: in_groups(images, partial(one.compute, detector), should_stop)[0]
        for one in ingredients
        if one.compute is not None
    }


def _healthy_values(score: str, calm: Sequence[Evidence], brain: NDArray[np.bool_]) -> ScoreHistograms:
    """Return the histogram of a score that needs no scaling over the brain pixels of healthy slices."""
    values = median_score(score, calm)
    return ScoreHistograms.of(values, np.zeros(values.shape, np.bool_), brain, BINS)


class Shapes:
    """The parts of a base model's settings that stay, all but the thresholds.

    Args:
        start: Its suggestions, its default first; empty to choose everything anew.
    """

    def __init__(self, start: Sequence[Suggestion] = ()) -> None:
        self.score = start[0].score if start else None
        self._by_score: dict[str, PostprocessParams] = {}
        for suggestion in start:  # the first one of a score counts
            self._by_score.setdefault(suggestion.score, Suggested.of(suggestion).params)

    def of(self, score: str) -> PostprocessParams | None:
        """Return the radii and areas for a score; None for the usual ones."""
        known = self._by_score
        return known.get(score, known[self.score] if self.score is not None else None)

    def tried(self, score: str, usual: Sequence[PostprocessParams]) -> Sequence[PostprocessParams]:
        """Return the radii and areas that a search tries for a score."""
        kept = self.of(score)
        return usual if kept is None else (kept,)


def _suggestions(
    chosen: Mapping[str, Mapping[str, Choice | None]],
    healthy_values: Mapping[str, ScoreHistograms],
    default: str,
    quantile: float,
    shapes: Shapes,
) -> tuple[Suggestion, ...]:
    """Order the settings: a kept score first, then by rule, by Dice, or by the appearance of lesions on FLAIR."""
    suggestions = []
    for rule, by_score in chosen.items():
        validated = [(score, choice) for score, choice in by_score.items() if choice is not None]
        validated.sort(key=lambda item: item[1].dice_patient, reverse=True)
        suggestions += [
            Suggestion(score=score, rule=rule, params=choice.params.model_dump())
            for score, choice in validated
        ]
    order = list(SCORES.names)
    for own in reported_rules():
        for score in sorted(healthy_values, key=lambda name: (name != default, order.index(name))):
            params = None if own.by_lesions else threshold_of_healthy(healthy_values[score], quantile, own)
            if params is not None:
                params = (shapes.of(score) or params).replace(threshold=params.threshold)
                suggestions.append(Suggestion(score=score, rule=own.name, params=params.model_dump()))
    return tuple(sorted(suggestions, key=lambda suggestion: suggestion.score != shapes.score))


def _shifted(on_progress: Progress | None, before: int, total: int) -> Progress | None:
    """Return a callback for a part of the work that starts after ``before`` steps."""
    if on_progress is None:
        return None
    return lambda done, _: on_progress(before + done, total)
