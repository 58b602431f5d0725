"""Anomaly scores and their ingredients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from ...zoo import Detector, ModelCard

Values = NDArray[np.float32]

NetworkKind = Literal["autoencoder", "denoiser"]
"""How a network was trained: to compress healthy slices, or to repair corrupted ones."""

TISSUE_SCALING = "volume-tissue"
"""The scaling under which a score knows the brightness of tissue."""

RESIDUAL_MEAN, RESIDUAL_STD = "residual_mean", "residual_std"
"""Names of the maps of healthy statistics that a model may carry."""

BRIGHT_HEADROOM = 10.0
"""Headroom of the scores of bright lesions, which far exceed the small residual of a good denoiser elsewhere."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """The inputs of a score. Arrays of one shape, or shapes that broadcast.

    Attributes:
        image: Intensities in [0, 1].
        reconstruction: The network's output for them.
        ingredients: Other outputs of the network, by the name of the :class:`Ingredient`.
        statistics: The model's maps ``residual_mean`` and ``residual_std`` (S, S) over healthy slices.
        spacing: Size of a pixel (y, x) in mm, for scores that look at a pixel's neighbours.
        depth: Distance of two slices in mm, for scores that look through slices.
        midline: Twice the column of the brain's midline, likewise.
        tails: By kind of evidence, the values of healthy tissue: see :mod:`~napari_cead.detection.evidence`.
    """

    image: Values
    reconstruction: Values
    ingredients: Mapping[str, Values] = field(default_factory=dict)
    statistics: Mapping[str, Values] = field(default_factory=dict)
    spacing: tuple[float, float] = (0.94, 0.94)
    depth: float = 1.0
    midline: int = 0
    tails: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Ingredient:
    """An input of a score beside the image.

    Attributes:
        name: Key in :attr:`Evidence.ingredients` and in the cache, unique among all ingredients.
        what: Its description: ``"the KL gradient"``.
        models: Which models have it, as a plural: ``"variational autoencoders"``.
        lacking: What a model without it lacks, ``{model}`` for its name: ``"a variational autoencoder, which {model} is
            not"``.
        had_by: Whether a model has it.
        compute: From a model and a batch of slices (N, 1, S, S) to values (N, 1, S, S), in a pass of its own; None if
            it comes with the reconstruction, or from the card.
        given: Whether the evidence holds it; None: by its name among the ingredients.
        measured: Whether a calibration measures it, so that an uncalibrated model may still get it.
    """

    name: str
    what: str
    models: str
    lacking: str
    had_by: Callable[[ModelCard], bool]
    compute: Callable[[Detector, Tensor], Tensor] | None = None
    given: Callable[[Evidence], bool] | None = None
    measured: bool = False

    def there(self, evidence: Evidence) -> bool:
        """Whether the evidence holds it."""
        return self.name in evidence.ingredients if self.given is None else self.given(evidence)


RECONSTRUCTION = Ingredient(
    "reconstruction",
    "the reconstruction",
    "all models",
    "a network, which {model} is not",
    had_by=lambda card: True,
    given=lambda evidence: True,
)
LESION = Ingredient(
    "lesion",
    "the probability of a lesion",
    "networks that say where a lesion is",
    "the probability of a lesion, which {model} does not say",
    had_by=lambda card: card.spec.predicts_lesion,
)
GRADIENT = Ingredient(
    "gradient",
    "the KL gradient",
    "variational autoencoders",
    "a variational autoencoder, which {model} is not",
    had_by=lambda card: card.spec.network.divergent,
    compute=lambda detector, batch: detector.kl_gradient(batch),
)
STATISTICS = Ingredient(
    "statistics",
    "healthy statistics",
    "models with healthy statistics",
    "healthy statistics, which {model} does not carry",
    had_by=lambda card: {RESIDUAL_MEAN, RESIDUAL_STD} <= set(card.statistics),
    given=lambda evidence: {RESIDUAL_MEAN, RESIDUAL_STD} <= set(evidence.statistics),
    measured=True,
)
TAILS = Ingredient(
    "tails",
    "tables of what healthy tissue gives",
    "models with tables of what healthy tissue gives",
    "tables of what healthy tissue gives, which {model} does not carry",
    had_by=lambda card: bool(card.tails),
    given=lambda evidence: bool(evidence.tails),
    measured=True,
)
TISSUE = Ingredient(
    "tissue",
    "the brightness of tissue",
    "models of scans scaled by their tissue",
    "a model of scans that are scaled by their tissue, which {model} is not",
    had_by=lambda card: card.preprocessing.intensity == TISSUE_SCALING,
    given=lambda evidence: True,
)


@dataclass(frozen=True, eq=False)
class Score:
    """An anomaly score.

    Attributes:
        name: Name on the command line and in files.
        description: One line for menus and help.
        compute: From the evidence to the raw score, before any constant and before clipping to [0, 1].
        ingredients: Its inputs beside the image.
        scaled: Whether the score is divided by a constant that the model carries. Scores of images in
            [0, 1] that stay in [0, 1] need none, so that a threshold means the same for every patient.
        headroom: The constant is this multiple of the score's 99 % quantile over healthy slices, so that lesions stay
            below 1, where differences would be lost.
        whole: Whether it looks at a pixel's neighbours: then the evidence has to be whole slices (..., S, S).
        volume: Whether it looks through slices: then the evidence is a volume (Z, Y, X), best on the patient's own
            grid, and reaches :data:`~napari_cead.detection.evidence.REACH_MM` above and below a slice.
        like: Name of the measured quantity: a threshold carries over between scores of one name. Empty: to none.
        searched_for: For which networks a search on lesion masks chooses its settings; for others it has those of
            healthy slices alone.
        default_for: By kind of network, its priority as the default if no lesion masks can tell which score is better;
            the highest wins among those that a model supports.
        compared: Whether comparisons of two models on healthy slices use it.
        place: Its position in lists of this package's scores.
    """

    name: str
    description: str
    compute: Callable[[Evidence], Values]
    ingredients: tuple[Ingredient, ...] = (RECONSTRUCTION,)
    scaled: bool = False
    headroom: float = 4.0
    whole: bool = False
    volume: bool = False
    like: str = ""
    searched_for: frozenset[NetworkKind] = frozenset()
    default_for: Mapping[NetworkKind, int] = field(default_factory=dict)
    compared: bool = False
    place: int = 0

    @property
    def computed(self) -> tuple[Ingredient, ...]:
        """The ingredients that need a pass of their own."""
        return tuple(one for one in self.ingredients if one.compute is not None)

    @property
    def measured(self) -> bool:
        """Whether a calibration has to measure something before a model supports it."""
        return self.scaled or any(one.measured for one in self.ingredients)


def residual(of: Evidence) -> Values:
    """Return |x - x̂|."""
    difference = np.asarray(of.image - of.reconstruction)
    return np.asarray(np.abs(difference, out=difference))


def positive_residual(of: Evidence) -> Values:
    """Return max(x - x̂, 0)."""
    return np.asarray(np.maximum(of.image - of.reconstruction, np.float32(0)))
