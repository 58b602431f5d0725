"""Evidence for a lesion, weighed by how rare it is in healthy tissue.

Each kind of evidence is a number per voxel on a scale of its own: the probability of a lesion, how much brighter a
voxel is than its repair, than the tissue, than the voxel across the midline. None of these scales means the same for
two kinds, or for two networks. What can be compared is how rare a value is where nothing is wrong: a model's card
keeps, for each kind, the values that 1 in 10, 1 in 100, … of the healthy voxels exceed. The kinds are then added as
-log10 of that share, as Fisher's method adds independent tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..metrics.overlap import bounding_box
from ..slices.symmetry import mirrored
from .smoothing import smoothed_in_brain, weight_of, widely

Values = NDArray[np.float32]

TISSUE = 0.5
"""Where the median of the tissue lies under the scaling ``volume-tissue``."""

SHARES: NDArray[np.float64] = 10.0 ** -np.linspace(0, 4.5, 46)
"""Shares of the healthy voxels whose values a card keeps, from all to one in 32,000."""

CEILING = 8.0
"""Rarity at which a fused score is 1: one healthy voxel in a hundred million."""

SMOOTH_MM = 2.0
"""Sigma of the Gaussian that smooths a lesion's probability before calm voxels are chosen."""

COIL_MM = 20.0
"""Sigma of the Gaussian that tells an uneven coil: it varies over half a head, not over a lesion."""

SUSPECT = 0.1
"""Probability of a lesion above which a voxel says nothing of the coil."""

FAINT = 0.025
"""Weight with which a coil counts as even where hardly a voxel can be asked."""

TINY = 1e-6
"""Against division by 0 far from the brain."""

LEVEL = "level"
"""Name under which a card keeps how rare the bulk of a healthy volume is."""

BULK, FIRST, LIMIT = 0.9, 3.0, 2.0
"""The bulk of a volume ends at this share of its voxels, but for those above so many times the third quartile (first)
or the bulk itself (then): these may be lesions."""

STRETCH = 0.75, 1.33
"""How far a volume's own level changes its evidence, at most."""

SLICES = 20
"""Slices of brain from which a volume's own level can be told: a large lesion fills a fifth of a single one."""

LAST = 15
"""Steps of the table along whose slope rarity goes on beyond its end."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A scan as evidence is taken from it. Arrays are (Z, Y, X) on one grid.

    Attributes:
        image: Intensities in [0, 1], the median of the tissue at 0.5, 0 outside the brain.
        repair: What the network makes of it, 0 outside the brain.
        lesion: The network's probability of a lesion; None if it does not say it.
        spacing: Size of a voxel (z, y, x) in mm.
        midline: Twice the column of the brain's midline, see :func:`~napari_cead.slices.symmetry.midline`.
    """

    image: Values
    repair: Values
    lesion: Values | None
    spacing: tuple[float, float, float]
    midline: int

    def cut(self, box: tuple[slice, ...]) -> Seen:
        """Return the part inside a box around the brain: no evidence depends on anything outside."""
        lesion = None if self.lesion is None else self.lesion[box]
        return Seen(self.image[box], self.repair[box], lesion, self.spacing, self.midline - 2 * box[2].start)

    @property
    def brighter(self) -> Values:
        """How much brighter it is than the network's repair, at least 0."""
        return np.asarray(np.maximum(self.image - self.repair, np.float32(0)))

    @cached_property
    def even(self) -> Values:
        """The image without the unevenness of a coil, which the network has learnt to take out.

        The coil is what the image has beside the repair, smoothed widely, from voxels alone that no lesion is
        suspected in. Without a network that says where a lesion is, a large one cannot be told from a coil: the
        image stays as it is.
        """
        if self.lesion is None:
            return self.image
        brain = self.brain
        calm = (self.smooth(self.lesion, SMOOTH_MM) < SUSPECT) & (self.repair > 0)  # a slice may be to come
        parts = (self.image * calm, self.repair * calm, brain.astype(np.float32))
        shown, repaired, weight = widely(parts, self.spacing, COIL_MM)
        coil = (shown + FAINT * weight + TINY) / (repaired + FAINT * weight + TINY)
        coil /= np.median(coil[brain]) if brain.any() else np.float32(1)
        return np.asarray(self.image / np.clip(coil, 0.4, 2.5), dtype=np.float32)

    def smooth(self, values: Values, sigma_mm: float) -> Values:
        """Smooth values inside the brain, through the slices too."""
        if sigma_mm not in self._weights:  # several kinds of evidence have the same sigma
            self._weights[sigma_mm] = weight_of(self.brain, self.spacing, sigma_mm)
        return smoothed_in_brain(values, self.brain, self.spacing, sigma_mm, weight=self._weights[sigma_mm])

    @cached_property
    def brain(self) -> NDArray[np.bool_]:
        """(Z, Y, X) bool."""
        return np.asarray(self.image > 0)

    @cached_property
    def _weights(self) -> dict[float, Values]:
        return {}


@dataclass(frozen=True)
class Kind:
    """A kind of evidence.

    Attributes:
        name: Its name on a card.
        description: What it measures, in words.
        compute: From a scan to a value per voxel (Z, Y, X), high where a lesion is.
        lesion: Whether it needs a network that says where a lesion is (True), stands in for that where it does not
            (False), or serves all (None).
        weight: How much it counts beside the others (research/README.md).
    """

    name: str
    description: str
    compute: Callable[[Seen], Values]
    lesion: bool | None = None
    weight: float = 1.0


def _lesion(of: Seen) -> Values:
    assert of.lesion is not None
    return of.smooth(of.lesion, 1.0)


def _change(of: Seen) -> Values:
    return of.smooth(of.brighter, 3.75)


def above_tissue(image: Values) -> Values:
    """Return how much brighter than the tissue's median each voxel is, at least 0."""
    return np.asarray(np.maximum(image - np.float32(TISSUE), np.float32(0)))


def _brightness(of: Seen) -> Values:
    return of.smooth(above_tissue(of.even), 1.0)


def asymmetry(image: Values, brain: NDArray[np.bool_], axis: int) -> Values:
    """Return the geometric mean of how much brighter a voxel is than tissue, and than the voxel across the midline.

    Args:
        image: (Z, Y, X), the median of the tissue at 0.5, 0 outside the brain.
        brain: (Z, Y, X) bool.
        axis: As :func:`~napari_cead.slices.symmetry.midline` gives it.
    """
    other, there = mirrored(image, axis), mirrored(brain, axis)
    above_other = np.where(there, np.maximum(image - other, np.float32(0)), np.float32(0))
    return np.asarray(np.sqrt(above_tissue(image) * above_other), dtype=np.float32)


def _asymmetry(of: Seen) -> Values:
    return of.smooth(asymmetry(of.even, of.brain, of.midline), 3.0)


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("lesion", "the network's probability of a lesion, smoothed by 1 mm", _lesion, lesion=True),
        # Beside the probability of the same network it took away more than it gave: research/README.md.
        Kind("change", "brighter than its repair, smoothed by 3.75 mm", _change, lesion=False),
        Kind("brightness", "brighter than the tissue, smoothed by 1 mm", _brightness),
        Kind(
            "asymmetry",
            "brighter than tissue and than the mirrored side, smoothed by 3 mm",
            _asymmetry,
            weight=0.5,
        ),
    )
}
"""All kinds of evidence by name. To add one, add an object here; cards measured before do not know it."""

REACH_MM = 4 * 3.75
"""How far above and below a slice its evidence reaches, but for what the whole volume says: its coil and its level."""


def kinds_of(lesion: bool) -> tuple[str, ...]:
    """Return the kinds that are fused for a network that gives the probability of a lesion, or does not."""
    return tuple(name for name, kind in KINDS.items() if kind.lesion in (None, lesion))


class Tails:
    """Measures the values of healthy tissue, scan by scan.

    Args:
        names: The kinds to measure.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._values: dict[str, list[tuple[str, Values]]] = {name: [] for name in names}
        self._volumes: list[bool] = []

    def add(self, scan: Seen, healthy: NDArray[np.bool_], source: str) -> None:
        """Add the healthy voxels of a scan.

        Args:
            scan: The scan.
            healthy: (Z, Y, X) bool.
            source: Where it comes from: all sources weigh the same, however many voxels each has.
        """
        for name, parts in self._values.items():
            parts.append((source, KINDS[name].compute(scan)[healthy]))
        self._volumes.append(_is_volume(healthy))

    def table(self) -> dict[str, tuple[float, ...]]:
        """Return, by kind, the value that each of :data:`SHARES` of the healthy voxels exceeds; none without any.

        Under :data:`LEVEL` stands how rare the bulk of the volumes is, the mean over sources of the mean over volumes,
        if there were any.
        """
        tables = {
            name: _exceeded(parts)
            for name, parts in self._values.items()
            if any(values.size for _, values in parts)
        }
        levels: dict[str, list[float]] = {}
        for place in np.flatnonzero(self._volumes) if tables else ():
            parts = {name: self._values[name][place] for name in tables}
            source = next(iter(parts.values()))[0]
            total = _together({name: values for name, (_, values) in parts.items()}, tables)
            levels.setdefault(source, []).append(_bulk(total))
        if levels:
            tables[LEVEL] = (float(np.mean([np.mean(found) for found in levels.values()])),)
        return tables


def _exceeded(parts: Sequence[tuple[str, Values]]) -> tuple[float, ...]:
    sources = {source: sum(values.size for other, values in parts if other == source) for source, _ in parts}
    values = np.concatenate([values for _, values in parts])
    weights = np.concatenate([np.full(values.size, 1.0 / sources[source]) for source, values in parts])
    order = np.argsort(values)
    below = np.cumsum(weights[order]) / weights.sum()
    places = np.minimum(np.searchsorted(below, 1 - SHARES), values.size - 1)
    return tuple(float(value) for value in values[order][places])


def rarity(values: Values, table: Sequence[float]) -> Values:
    """Return -log10 of the share of healthy voxels above each value.

    Args:
        values: Any shape.
        table: As :class:`Tails` measures it; beyond its end rarity goes on along its last slope.
    """
    steps = np.maximum.accumulate(np.asarray(table) + 1e-7 * np.arange(len(table)))
    digits = -np.log10(SHARES)
    result = np.interp(values, steps, digits)  # flat beyond both ends
    slope = (digits[-1] - digits[-1 - LAST]) / max(float(steps[-1] - steps[-1 - LAST]), 1e-3)
    return np.asarray(result + np.maximum(values - steps[-1], 0) * slope, dtype=np.float32)


def fused(scan: Seen, tables: Mapping[str, Sequence[float]]) -> Values:
    """Return the weighted mean rarity of the kinds of evidence that a card has tables of, :data:`CEILING` at 1.

    What is rare depends on the scanner and the age of a brain. So a volume is measured by itself, too: its evidence is
    divided by how rare the bulk of its own voxels is, beside that of healthy volumes.

    Args:
        scan: The scan.
        tables: By kind, what healthy tissue gives.
    """
    result = np.zeros_like(scan.image)
    if not scan.brain.any():
        return result
    box = bounding_box(scan.brain)
    cut = scan.cut(box)
    brain = cut.brain
    total = _together({name: KINDS[name].compute(cut)[brain] for name in tables if name in KINDS}, tables)
    if LEVEL in tables and _is_volume(brain):
        own = max(_bulk(total), 1e-3)
        total *= np.float32(np.clip(tables[LEVEL][0] / own, *STRETCH))
    result[box][brain] = np.clip(total, 0, 1)
    return result


def _together(values: Mapping[str, Values], tables: Mapping[str, Sequence[float]]) -> Values:
    """Return the weighted mean rarity of kinds of evidence (n,), :data:`CEILING` at 1."""
    weights = {name: KINDS[name].weight for name in values}
    whole = np.float32(CEILING * sum(weights.values()) or 1)
    parts = (np.float32(weights[name]) * rarity(found, tables[name]) for name, found in values.items())
    return np.asarray(sum(parts, start=np.float32(0)) / whole, dtype=np.float32)


def _is_volume(mask: NDArray[np.bool_]) -> bool:
    return int(np.count_nonzero(mask.any(axis=(1, 2)))) >= SLICES


def _bulk(values: Values) -> float:
    """Return the upper end of the bulk of a volume's evidence, whatever lesions lie beyond it."""
    limit = FIRST * float(np.quantile(values, 0.75))
    bulk = limit
    for _ in range(8):
        bulk = float(np.quantile(values[values <= limit], BULK))
        if abs(LIMIT * bulk - limit) < 1e-4:
            break
        limit = LIMIT * bulk
    return bulk
