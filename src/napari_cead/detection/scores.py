"""Anomaly scores: what turns an image and what a network says of it into an anomaly map in [0, 1].

A score is never scaled by a map's own minimum or maximum, so that a threshold means the same on every slice and
patient. Scores that do not lie in [0, 1] by themselves are divided by a constant that the model carries.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError
from .evidence import KINDS, Seen, above_tissue, fused
from .options import smoothed

if TYPE_CHECKING:
    from ..zoo.card import ModelCard

Values = NDArray[np.float32]

Need = Literal["network", "gradient", "lesion", "statistics", "tails", "tissue"]
"""What a score is made from beside the image: a reconstruction, a KL gradient, the probability of a lesion, healthy
statistics, tables of what healthy tissue gives, tissue at 0.5."""

TISSUE_SCALING = "volume-tissue"
"""The scaling under which a score can tell how bright tissue is."""

SMOOTHING_MM = 2.0
"""Sigma of the Gaussian of smoothed scores: about a box of 5 x 5 pixels on a grid of 1.4 mm."""

MEDIAN = 5
"""Side in pixels of the square of ``median-residual``: of its median filter, and of what the brain is eroded by."""

EXCESS_MM, CHANGE_MM, DARK_MM = 1.5, 3.75, 3.0
"""Sigmas of ``bright-and-changed``: of the brightness, of what is brighter than its reconstruction, and darker."""

BRIGHT_HEADROOM = 10.0
"""Headroom of the scores of bright lesions, which lie far above the little that a good denoiser leaves elsewhere."""

RESIDUAL_MEAN, RESIDUAL_STD = "residual_mean", "residual_std"
"""Names of the maps of healthy statistics that a model may carry."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a score may look at. Arrays of one shape, or shapes that broadcast.

    Attributes:
        image: Intensities in [0, 1].
        reconstruction: What the network made of them.
        gradient: |d KL / d image| of the posterior to the standard normal; None if it was not computed.
        statistics: The model's maps ``residual_mean`` and ``residual_std`` (S, S) over healthy slices.
        spacing: Size of a pixel (y, x) in mm, for scores that look at a pixel's neighbours.
        lesion: The probability of a lesion; None if the network does not say it.
        depth: Distance of two slices in mm, for scores that look through slices.
        midline: Twice the column of the brain's midline, likewise.
        tails: By kind of evidence, what healthy tissue gives: see :mod:`~napari_cead.detection.evidence`.
    """

    image: Values
    reconstruction: Values
    gradient: Values | None = None
    statistics: Mapping[str, Values] = field(default_factory=dict)
    spacing: tuple[float, float] = (0.94, 0.94)
    lesion: Values | None = None
    depth: float = 1.0
    midline: int = 0
    tails: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """An anomaly score.

    Attributes:
        name: Name on the command line and in files.
        description: One line for menus and help.
        compute: From the evidence to the raw score, before any constant and before clipping to [0, 1].
        scaled: Whether the score is divided by a constant that the model carries. Scores of images in
            [0, 1] that stay in [0, 1] need none, so that a threshold means the same for every patient.
        needs: What it is made from.
        headroom: The constant is so many times the score's 99 % quantile over healthy slices, so that lesions stay
            below 1, where all would be alike.
        whole: Whether it looks at a pixel's neighbours: then the evidence has to be whole slices (..., S, S).
        volume: Whether it looks through slices: then the evidence is a volume (Z, Y, X), best on the patient's own
            grid, and reaches :data:`~napari_cead.detection.evidence.REACH_MM` above and below a slice.
    """

    name: str
    description: str
    compute: Callable[[Evidence], Values]
    scaled: bool = False
    needs: frozenset[Need] = frozenset({"network"})
    headroom: float = 4.0
    whole: bool = False
    volume: bool = False


def _residual(of: Evidence) -> Values:
    difference = np.asarray(of.image - of.reconstruction)
    return np.asarray(np.abs(difference, out=difference))


def _positive_residual(of: Evidence) -> Values:
    return np.asarray(np.maximum(of.image - of.reconstruction, np.float32(0)))


def _in_brain(of: Evidence, values: Values, sigma_mm: float) -> Values:
    """Smooth values within the slice and the brain."""
    planes = values.reshape(-1, *values.shape[-2:])
    brain = np.broadcast_to(of.image > 0, values.shape).reshape(planes.shape)
    return smoothed(planes, brain, (sigma_mm / of.spacing[0], sigma_mm / of.spacing[1])).reshape(values.shape)


def _median_residual(of: Evidence) -> Values:
    residual = _residual(of)
    result = np.zeros_like(residual)
    brain = np.broadcast_to(of.image > 0, residual.shape).astype(np.uint8)
    square = np.ones((MEDIAN, MEDIAN), np.uint8)
    for index in np.ndindex(residual.shape[:-2]):
        inside = cv2.erode(brain[index], square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        result[index] = cv2.medianBlur(residual[index] * inside, MEDIAN) * inside
    return result


def _smoothed_residual(of: Evidence) -> Values:
    return _in_brain(of, _positive_residual(of), SMOOTHING_MM)


def _bright_and_changed(of: Evidence) -> Values:
    """Harmonic mean of two kinds of evidence, high where both are; and half of what became darker, old cavities."""
    change = _in_brain(of, _positive_residual(of), CHANGE_MM)
    excess = _in_brain(of, above_tissue(of.image), EXCESS_MM)
    dark = _in_brain(of, np.maximum(of.reconstruction - of.image, np.float32(0)), DARK_MM)
    both = 2 * change * excess / np.maximum(change + excess, np.float32(1e-4))
    return np.asarray(both + 0.5 * dark, dtype=np.float32)


def _residual_times_intensity(of: Evidence) -> Values:
    return np.asarray(_positive_residual(of) * of.image)


def _smoothed_times_intensity(of: Evidence) -> Values:
    return np.asarray(_smoothed_residual(of) * of.image)


def _squared(of: Evidence) -> Values:
    return np.asarray(np.square(of.image - of.reconstruction))


def _residual_z(of: Evidence) -> Values:
    mean, std = of.statistics[RESIDUAL_MEAN], of.statistics[RESIDUAL_STD]
    return np.asarray(np.maximum((_residual(of) - mean) / std, np.float32(0)))


def _kl_gradient(of: Evidence) -> Values:
    assert of.gradient is not None
    return of.gradient


def _combined(of: Evidence) -> Values:
    return np.asarray(_residual(of) * _kl_gradient(of))


def _lesion_probability(of: Evidence) -> Values:
    assert of.lesion is not None
    return of.lesion


def _scan(of: Evidence) -> Seen:
    return Seen(of.image, _positive_residual(of), of.lesion, (of.depth, *of.spacing), of.midline)


def _fused(of: Evidence) -> Values:
    return fused(_scan(of), of.tails)


def _brightness(of: Evidence) -> Values:
    return KINDS["brightness"].compute(_scan(of))


def _asymmetry(of: Evidence) -> Values:
    return KINDS["asymmetry"].compute(_scan(of))


def _intensity(of: Evidence) -> Values:
    return of.image


SCORES: Mapping[str, Score] = {
    score.name: score
    for score in (
        Score("residual", "absolute difference between image and reconstruction (the paper)", _residual),
        Score("positive-residual", "brighter than its reconstruction", _positive_residual),
        Score("squared", "squared difference between image and reconstruction", _squared),
        Score(
            "median-residual",
            f"residual under a {MEDIAN} x {MEDIAN} median filter, without the brain's rim (Kascenas et al. 2022)",
            _median_residual,
            whole=True,
        ),
        Score(
            "smoothed-residual",
            f"positive-residual smoothed by a Gaussian of {SMOOTHING_MM:g} mm within the slice",
            _smoothed_residual,
            scaled=True,
            headroom=BRIGHT_HEADROOM,
            whole=True,
        ),
        Score(
            "residual-times-intensity",
            "positive-residual times the image: what is both unexpected and bright",
            _residual_times_intensity,
            scaled=True,
            headroom=BRIGHT_HEADROOM,
        ),
        Score(
            "smoothed-times-intensity",
            "smoothed-residual times the image",
            _smoothed_times_intensity,
            scaled=True,
            headroom=BRIGHT_HEADROOM,
            whole=True,
        ),
        Score(
            "bright-and-changed",
            "harmonic mean of the smoothed positive residual and the brightness above the tissue's, and half of the "
            "smoothed negative residual",
            _bright_and_changed,
            needs=frozenset({"network", "tissue"}),
            whole=True,
        ),
        Score(
            "lesion-probability",
            "the network's own probability of a lesion, learnt from simulated ones",
            _lesion_probability,
            needs=frozenset({"network", "lesion"}),
        ),
        Score(
            "fused",
            "how rare in healthy tissue: probability of a lesion, change, brightness and asymmetry together",
            _fused,
            needs=frozenset({"network", "tails", "tissue"}),
            whole=True,
            volume=True,
        ),
        Score(
            "residual-z",
            "residual in standard deviations above that of healthy slices at the same place",
            _residual_z,
            scaled=True,
            needs=frozenset({"network", "statistics"}),
        ),
        Score(
            "kl-gradient",
            "how fast the latent code leaves the normal one as a pixel changes (VAEs; Zimmerer et al. 2018)",
            _kl_gradient,
            scaled=True,
            needs=frozenset({"gradient"}),
        ),
        Score(
            "combined",
            "residual times kl-gradient (VAEs; Zimmerer et al. 2018)",
            _combined,
            scaled=True,
            needs=frozenset({"network", "gradient"}),
        ),
        Score(
            "brightness",
            "brighter than the tissue, smoothed by a Gaussian of 1 mm in 3-D: no network",
            _brightness,
            needs=frozenset({"tissue"}),
            whole=True,
            volume=True,
        ),
        Score(
            "asymmetry",
            "brighter than the tissue and than the mirrored side, smoothed by a Gaussian of 3 mm in 3-D: no network",
            _asymmetry,
            needs=frozenset({"tissue"}),
            whole=True,
            volume=True,
        ),
        Score(
            "intensity",
            "the image itself: a baseline that uses no network",
            _intensity,
            needs=frozenset(),
        ),
    )
}
"""All scores by name."""


def score_of(name: str) -> Score:
    """Return a score by its name.

    Raises:
        ParameterError: If there is none of that name.
    """
    score = SCORES.get(name)
    if score is None:
        raise ParameterError(f"unknown score {name!r}", mend=f"use one of {', '.join(SCORES)}")
    return score


def lacks(
    score: Score,
    gradient: bool,
    statistics: Container[str],
    *,
    lesion: bool = False,
    tails: bool = False,
) -> Need | None:
    """Return what is missing for a score, None if nothing is.

    Args:
        score: The score.
        gradient: Whether there is a KL gradient.
        statistics: Names of the maps of healthy statistics that there are.
        lesion: Whether there is a probability of a lesion.
        tails: Whether there are tables of what healthy tissue gives.
    """
    if "lesion" in score.needs and not lesion:
        return "lesion"
    if "tails" in score.needs and not tails:
        return "tails"
    if "gradient" in score.needs and not gradient:
        return "gradient"
    if "statistics" in score.needs and not all(name in statistics for name in (RESIDUAL_MEAN, RESIDUAL_STD)):
        return "statistics"
    return None


def suits(score: Score, card: ModelCard) -> bool:
    """Whether a model's images have their tissue where a score looks for it."""
    return "tissue" not in score.needs or card.preprocessing.intensity == TISSUE_SCALING


def available_scores(card: ModelCard) -> tuple[str, ...]:
    """Return the names of the scores that a model can give, in the order of `SCORES`."""
    return tuple(name for name in SCORES if _refusal(name, card) is None)


def check_score(name: str, card: ModelCard) -> None:
    """Check that a model can give a score.

    Raises:
        ParameterError: If the score is unknown, or the model lacks what it needs.
    """
    score_of(name)
    reason = _refusal(name, card)
    if reason is not None:
        raise ParameterError(reason, mend=f"use one of {', '.join(available_scores(card))}")


def looks_through(name: str) -> bool:
    """Whether a score looks through slices.

    Raises:
        ParameterError: If the score is unknown.
    """
    return score_of(name).volume


def needs_gradient(name: str) -> bool:
    """Whether a score needs the KL gradient.

    Raises:
        ParameterError: If the score is unknown.
    """
    return "gradient" in score_of(name).needs


def anomaly_score(
    name: str,
    image: Values,
    reconstruction: Values,
    scales: Mapping[str, float] | None = None,
    *,
    gradient: Values | None = None,
    lesion: Values | None = None,
    statistics: Mapping[str, Values] | None = None,
    spacing: tuple[float, float] = (0.94, 0.94),
    depth: float = 1.0,
    midline: int = 0,
    tails: Mapping[str, Sequence[float]] | None = None,
    model: str = "the model",
) -> Values:
    """Return the anomaly score of every pixel, in [0, 1].

    Never scaled by the map's own minimum or maximum: a threshold means the same on every slice and patient.

    Args:
        name: One of ``SCORES``.
        image: Intensities in [0, 1], any shape; (..., S, S) for a score that needs statistics or looks at
            neighbours.
        reconstruction: What the network made of it, same shape.
        scales: The model's constants by score name.
        gradient: |d KL / d image|, same shape, for a score that needs it.
        lesion: Probability of a lesion, same shape, for a score that needs it.
        statistics: The model's maps (S, S) ``residual_mean`` and ``residual_std``, for a score that needs them.
        spacing: Size of a pixel (y, x) in mm, for a score that looks at neighbours.
        depth: Distance of two slices in mm, for a score that looks through slices.
        midline: Twice the column of the brain's midline, likewise.
        tails: By kind of evidence, what healthy tissue gives, for a score that needs it.
        model: Name of the model, for the message of an error.

    Raises:
        ParameterError: If the score is unknown, or what it needs is not given.
    """
    score, statistics = score_of(name), statistics or {}
    missing = lacks(score, gradient is not None, statistics, lesion=lesion is not None, tails=bool(tails))
    if missing == "gradient":
        raise ParameterError(
            f"{name} needs the KL gradient of {model}, which was not computed",
            mend="run a variational autoencoder with this score",
        )
    if missing == "statistics":
        raise ParameterError(_no_statistics(name, model), mend=f"use {', '.join(_without_needs())}")
    if missing in ("lesion", "tails"):
        raise ParameterError(_cannot(name, missing, model), mend=f"use {', '.join(_without_needs())}")
    values = score.compute(
        Evidence(image, reconstruction, gradient, statistics, spacing, lesion, depth, midline, tails or {})
    )
    if score.scaled:
        scale = (scales or {}).get(name)
        if scale is None:
            raise ParameterError(_no_scale(name, model), mend=f"use {', '.join(_without_needs())}")
        values = values / np.float32(scale)
    return np.asarray(np.clip(values, 0, 1), dtype=np.float32)


def _refusal(name: str, card: ModelCard) -> str | None:
    """Say why a model cannot give a score, in one clause; None if it can."""
    score = SCORES[name]
    missing = lacks(
        score,
        card.spec.network.divergent,
        card.statistics,
        lesion=card.spec.predicts_lesion,
        tails=bool(card.tails),
    )
    if missing in ("lesion", "tails"):
        return _cannot(name, missing, card.name)
    if missing == "gradient":
        return f"{name} needs a variational autoencoder, which {card.name} is not"
    if missing == "statistics":
        return _no_statistics(name, card.name)
    if not suits(score, card):
        return f"{name} needs a model of scans that are scaled by their tissue, which {card.name} is not"
    if score.scaled and name not in card.score_scales:
        return _no_scale(name, card.name)
    return None


def _cannot(name: str, missing: Need, model: str) -> str:
    what = "the probability of a lesion" if missing == "lesion" else "tables of what healthy tissue gives"
    return f"{name} needs {what}, which {model} does not {'say' if missing == 'lesion' else 'carry'}"


def _no_statistics(name: str, model: str) -> str:
    return f"{name} needs healthy statistics, which {model} does not carry"


def _no_scale(name: str, model: str) -> str:
    return f"{name} needs a constant measured on healthy slices, which {model} does not carry"


def _without_needs() -> tuple[str, ...]:
    """The scores that every model can give."""
    return tuple(name for name, score in SCORES.items() if not score.scaled and score.needs <= {"network"})
