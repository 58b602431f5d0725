"""FROC: the share of lesions found at given numbers of false positives per patient (Bunch et al. 1977).

Policy:

- A *candidate* is a connected component of ``map > t``, for every threshold t, 26-connected in 3-D and 8-connected in
  2-D, without post-processing. Matching is that of :mod:`~napari_cead.metrics.lesions`: a lesion is found if any
  candidate overlaps it, a candidate is false if it overlaps none.
- One threshold holds for all patients. It is lowered until the false candidates first exceed the requested number;
  the sensitivity is that of the last threshold before.
- In each patient only the brightest tenth of the brain's voxels can be candidates. Further down, components merge
  until one of them covers the brain, and with it every lesion.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from .components import Voxels
from .overlap import NAN, as_mask, bounding_box

FALSE_POSITIVES: tuple[float, ...] = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)
"""False positives per patient at which the sensitivity is read."""

SHARE = 0.1
"""Share of a brain's voxels, the brightest of its map, that can be candidates."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """The candidates of one patient over all thresholds.

    Attributes:
        scores: (E,) float32, descending: the scores at which the number of false candidates changes.
        changes: (E,) the change of this number once voxels of this score are above the threshold.
        lesions: (L,) float32, the highest score in each lesion; 0 if no part of it can be a candidate.
    """

    scores: NDArray[np.float32]
    changes: NDArray[np.int64]
    lesions: NDArray[np.float32]


def candidates(
    anomaly_map: ArrayLike, reference: ArrayLike, brain: ArrayLike | None = None, share: float = SHARE
) -> Candidates:
    """Return the candidates of one patient.

    Args:
        anomaly_map: Anomaly of each voxel, (Z, Y, X) or (Y, X); 0 and below is never a candidate.
        reference: Lesion mask of the same shape; values > 0 are in it.
        brain: Voxels that count, same shape; None takes all.
        share: Share of the voxels that can be candidates.

    Raises:
        ValueError: If the shapes differ.
    """
    scores, lesion = np.asarray(anomaly_map, dtype=np.float32), as_mask(reference)
    inside = np.ones(scores.shape, np.bool_) if brain is None else as_mask(brain)
    if not scores.shape == lesion.shape == inside.shape:
        raise ValueError(
            f"map {scores.shape}, reference {lesion.shape} and brain {inside.shape} differ in shape"
        )
    kept = inside & (scores > _cut(scores[inside], share))
    box = bounding_box(lesion)
    labels, count = ndimage.label(lesion[box], np.ones((3,) * lesion.ndim))
    highest = np.zeros(count + 1, np.float32)
    shown = lesion[box] & kept[box]
    np.maximum.at(highest, labels[shown], scores[box][shown])

    voxels = Voxels(kept)
    values = scores.flat[voxels.places]
    # Positive floats are ordered like their bits, and sorting whole numbers takes a quarter of the time of an argsort.
    low_bits = (1 << 32) - 1
    keys = (~values.view(np.uint32)).astype(np.uint64) << np.uint64(32) | np.arange(
        len(values), dtype=np.uint64
    )
    order = (np.sort(keys) & np.uint64(low_bits)).astype(np.int64)
    false = _untouched(voxels, order, lesion.flat[voxels.places])

    values = values[order]
    last = np.flatnonzero(np.diff(values, append=-np.inf))  # voxels of one score pass the threshold together
    changes = np.diff(false[last], prepend=0)
    changed = np.flatnonzero(changes)
    return Candidates(values[last][changed], changes[changed].astype(np.int64), highest[1:])


def froc(cohort: Iterable[Candidates], at: Sequence[float] = FALSE_POSITIVES) -> tuple[float, ...]:
    """Return the share of all lesions found at the given numbers of false positives per patient.

    Args:
        cohort: Candidates of each patient; may be a generator.
        at: Mean numbers of false positives per patient.

    Returns:
        One sensitivity for each; NaN without lesions.
    """
    parts = list(cohort)
    lesions = np.concatenate([part.lesions for part in parts] or [np.zeros(0, np.float32)])
    if not lesions.size:
        return (NAN,) * len(at)
    scores, where = np.unique(np.concatenate([part.scores for part in parts]), return_inverse=True)
    changes = np.zeros(len(scores), np.int64)
    np.add.at(changes, where, np.concatenate([part.changes for part in parts]))
    false, scores = np.cumsum(changes[::-1]), scores[::-1]
    found = []
    for allowed in at:
        too_many = np.flatnonzero(false > allowed * len(parts))
        lowest = scores[too_many[0]] if too_many.size else np.float32(0)
        found.append(float(np.count_nonzero(lesions > lowest) / lesions.size))
    return tuple(found)


def _cut(values: NDArray[np.float32], share: float) -> float:
    """Return the lowest threshold, at least 0, with at most a share of the values above it."""
    most = int(share * values.size)
    if most >= values.size:
        return 0.0
    values = np.where(np.isnan(values), np.float32(0), values)
    return max(float(np.partition(values, values.size - most - 1)[values.size - most - 1]), 0.0)


def _untouched(voxels: Voxels, order: NDArray[np.int64], hit: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the number of components (N,) that overlap no lesion, once each voxel is above the threshold.

    A voxel without a higher neighbour begins a component. All others go uphill, each to its highest neighbour, and so
    belong to one of these tops whatever the threshold. Components grow together where two hills meet; those that touch
    a lesion are one more component, that of all lesions. So the meetings that count form a minimum spanning tree.

    Args:
        voxels: The voxels.
        order: (N,) their numbers from the highest to the lowest.
        hit: (N,) whether a voxel is lesion.
    """
    count = len(voxels)
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    pairs = [*voxels.neighbours(voxels.mask.ndim)]
    highest = rank.copy()
    for one, other in pairs:
        here, there = rank[one], rank[other]
        highest[one] = np.minimum(highest[one], there)
        highest[other] = np.minimum(highest[other], here)
    top = highest[order]
    while not np.array_equal(further := top[top], top):
        top = further
    begins = top == np.arange(count)
    tops = np.flatnonzero(begins)
    hill, lesion = (np.cumsum(begins) - 1)[top][rank], len(tops)

    # Hills meet at the lower of two neighbours; a hill meets the lesions at its highest lesion voxel.
    meetings = [(hill[hit], np.full(np.count_nonzero(hit), lesion), rank[hit])]
    for one, other in pairs:
        here, there = hill[one], hill[other]
        apart = np.flatnonzero(here != there)
        meetings.append((here[apart], there[apart], np.maximum(rank[one[apart]], rank[other[apart]])))
    one, other, when = (np.concatenate(column) for column in zip(*meetings, strict=True))
    pair, when = _first(np.minimum(one, other) * (lesion + 1) + np.maximum(one, other), when, max(count, 1))
    graph = coo_array((when + 1.0, np.divmod(pair, lesion + 1)), (lesion + 1,) * 2)  # 0 would be no edge
    changes = np.zeros(count, np.int64)
    changes[tops] = 1
    np.subtract.at(changes, minimum_spanning_tree(graph.tocsr()).data.astype(np.int64) - 1, 1)
    return np.cumsum(changes)


def _first(
    pair: NDArray[np.int64], when: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each pair once, with the first time it meets, of ``count`` possible ones."""
    if int(pair.max(initial=0)) < np.iinfo(np.int64).max // count - 1:
        pair, when = np.divmod(np.sort(pair * count + when), count)  # much faster than to sort by two keys
    else:
        order = np.lexsort((when, pair))
        pair, when = pair[order], when[order]
    new = np.flatnonzero(np.diff(pair, prepend=-1))
    return pair[new], when[new]
