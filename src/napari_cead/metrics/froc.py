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
    np.maximum.at(highest, labels[kept[box]], scores[box][kept[box]])

    ranked = np.flatnonzero(kept)
    ranked = ranked[np.argsort(-scores.flat[ranked], kind="stable")]  # a node is numbered by its rank
    values = scores.flat[ranked]
    false = _untouched(*_hills(ranked, scores.shape), lesion.flat[ranked])

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


def _hills(ranked: NDArray[np.intp], shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how components begin and grow together as the threshold falls.

    A node without a higher neighbour begins a component. All others go uphill, each to its highest neighbour, and so
    belong to one of these tops whatever the threshold. Components grow together where two hills meet.

    Returns:
        The top (N,) of each node; and (M, 3), by the third column, two tops and the node at which their hills meet. The
        meetings form a minimum spanning forest.
    """
    count, padded = len(ranked), tuple(side + 2 for side in shape)
    place = np.ravel_multi_index([axis + 1 for axis in np.unravel_index(ranked, shape)], padded)
    number = np.full(int(np.prod(padded)), count, np.int32)
    number[place] = np.arange(count)
    steps = [np.ravel_multi_index(step, padded) for step in product((0, 1, 2), repeat=len(shape))]
    neighbours = np.stack([number[place + (step - steps[len(steps) // 2])] for step in steps], axis=1)
    top = neighbours.min(axis=1, initial=count).astype(np.int64)  # a node is its own neighbour
    while not np.array_equal(further := top[top], top):
        top = further
    node, which = np.nonzero(neighbours < np.arange(count)[:, None])
    one, other = top[neighbours[node, which]], top[node]
    meets = one != other
    pairs = np.sort(np.stack([one[meets], other[meets]]), axis=0)
    _, first = np.unique(pairs[0] * count + pairs[1], return_index=True)
    weights = node[meets][first].astype(np.float64)
    graph = coo_array((weights, tuple(pairs[:, first])), (count,) * 2)
    forest: Any = minimum_spanning_tree(graph.tocsr()).tocoo()
    meetings = np.stack([forest.row, forest.col, forest.data], axis=1).astype(np.int64)
    return top, meetings[np.argsort(meetings[:, 2], kind="stable")]


def _untouched(
    top: NDArray[np.int64], meetings: NDArray[np.int64], hit: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the number of components (N,) that overlap no lesion, once each node is above the threshold."""
    count = len(top)
    changes = (top == np.arange(count)).astype(np.int64)
    np.subtract.at(changes, meetings[:, 2], 1)
    hits = np.flatnonzero(hit)
    lesions, first = np.unique(top[hits], return_index=True)
    parent: dict[int, int] = {}
    touched: set[int] = set()

    def component(node: int) -> int:
        while (above := parent.get(node, node)) != node:
            parent[node] = node = parent.get(above, above)
        return node

    events = [*zip(hits[first].tolist(), lesions.tolist(), lesions.tolist(), strict=True)]
    events += [(when, one, other) for one, other, when in meetings.tolist()]
    for when, one, other in sorted(events):
        one, other = component(one), component(other)
        if one == other:  # a lesion's first voxel
            changes[when] -= one not in touched
            touched.add(one)
            continue
        changes[when] += one in touched and other in touched
        parent[other] = one
        if other in touched:
            touched.add(one)
    return np.cumsum(changes)
