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
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from .overlap import NAN, as_mask

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
    labels, count = ndimage.label(lesion, np.ones((3,) * lesion.ndim))
    highest = np.zeros(count + 1, np.float32)
    np.maximum.at(highest, labels[kept], scores[kept])

    ranked = np.flatnonzero(kept)
    ranked = ranked[np.argsort(-scores.flat[ranked], kind="stable")]  # a node is numbered by its rank
    values = scores.flat[ranked]
    joined = _joined(ranked, scores.shape)
    components = np.arange(1, len(ranked) + 1) - _up_to(joined[:, 1], len(ranked))
    hit = lesion.flat[ranked]
    both = joined[_touch_both(joined, hit), 1]
    false = components - (np.cumsum(hit) - _up_to(both, len(ranked)))

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


def _joined(ranked: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the edges (M, 2) of neighbours along which components grow together, the highest first.

    An edge holds the numbers of its nodes, the smaller one first. It exists from the larger number on: the edges form
    a minimum spanning forest.
    """
    number = np.full(shape, -1, np.int64)
    number.flat[ranked] = np.arange(len(ranked))
    pairs = []
    for offset in product((-1, 0, 1), repeat=len(shape)):
        if offset <= (0,) * len(shape):
            continue  # the opposite edge exists
        sides = list(zip(offset, shape, strict=True))
        one = number[tuple(slice(max(-step, 0), side - max(step, 0)) for step, side in sides)]
        other = number[tuple(slice(max(step, 0), side - max(-step, 0)) for step, side in sides)]
        both = (one >= 0) & (other >= 0)
        pairs.append(np.stack([one[both], other[both]], axis=1))
    edges = np.sort(np.concatenate(pairs), axis=1)
    graph = coo_array((edges[:, 1].astype(np.float64), (edges[:, 0], edges[:, 1])), (len(ranked),) * 2)
    forest: Any = minimum_spanning_tree(graph.tocsr()).tocoo()
    joined = np.sort(np.stack([forest.row, forest.col], axis=1).astype(np.int64), axis=1)
    return np.asarray(joined[np.argsort(joined[:, 1], kind="stable")])


def _touch_both(joined: NDArray[np.int64], hit: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which edges join two components that both overlap a lesion."""
    parent, touched = list(range(len(hit))), hit.tolist()
    result = np.zeros(len(joined), np.bool_)
    for edge, pair in enumerate(joined.tolist()):
        roots = []
        for node in pair:
            while parent[node] != node:
                parent[node] = node = parent[parent[node]]
            roots.append(node)
        one, other = roots
        result[edge] = touched[one] and touched[other]
        parent[other] = one
        touched[one] = touched[one] or touched[other]
    return result


def _up_to(numbers: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return how many of the numbers are at most 0, 1, … ``length - 1``."""
    return np.cumsum(np.bincount(numbers, minlength=length)[:length])
