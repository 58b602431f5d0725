"""Connected components at the cost of a mask's own voxels: masks are a small share of the scan around them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .overlap import as_masks

_DENSE = 40
"""SciPy labels a whole box in about the time in which so small a share of its voxels finds its neighbours here."""


class Voxels:
    """The voxels of a mask, numbered in the order of the array.

    Args:
        mask: The mask, of any shape.

    Attributes:
        mask: The mask.
        places: (N,) the place of each voxel in the flat array, increasing.
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.mask = mask
        self.places = np.flatnonzero(mask)
        self._labels: dict[int, tuple[NDArray[np.integer[Any]], int]] = {}

    def __len__(self) -> int:
        return len(self.places)

    @cached_property
    def axes(self) -> tuple[NDArray[np.intp], ...]:
        """For each axis, the indices (N,) of the voxels."""
        return np.unravel_index(self.places, self.mask.shape)

    @cached_property
    def box(self) -> tuple[slice, ...]:
        """The slices that enclose all of them; empty slices if there is none."""
        if not len(self):
            return (slice(0, 0),) * len(self.axes)
        return tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in self.axes)

    def neighbours(self, rank: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int32]]]:
        """Yield the pairs of voxels that are neighbours, by their numbers, each pair once.

        They come in several parts; in each of them no voxel is first twice, nor second twice.

        Args:
            rank: Number of axes in which neighbours may differ, by one voxel each.
        """
        # One voxel of room behind each axis: a step across a border ends there.
        shape = [side.stop - side.start + 1 for side in self.box]
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        inside = [axis - side.start for axis, side in zip(self.axes, self.box, strict=True)]
        where = sum(axis * stride for axis, stride in zip(inside, strides, strict=True))
        number = np.full(math.prod(shape), -1, np.int32)
        number[where] = np.arange(len(self), dtype=np.int32)
        for step in product((-1, 0, 1), repeat=len(shape)):
            if step > (0,) * len(shape) and np.count_nonzero(step) <= rank:
                there = number[where + int(np.dot(step, strides))]
                first = np.flatnonzero(there >= 0)
                yield first, there[first]

    def labels(self, rank: int) -> tuple[NDArray[np.integer[Any]], int]:
        """Return the number of the component (N,) of each voxel, from 1, and the number of components.

        The components are numbered in the order in which the array first meets them.

        Args:
            rank: Number of axes in which neighbours may differ, by one voxel each.
        """
        if rank not in self._labels:
            self._labels[rank] = self._labelled(rank)
        return self._labels[rank]

    def _labelled(self, rank: int) -> tuple[NDArray[np.integer[Any]], int]:
        if len(self) * _DENSE > math.prod(side.stop - side.start for side in self.box):
            mask, structure = self.mask[self.box], ndimage.generate_binary_structure(self.mask.ndim, rank)
            labels, count = ndimage.label(mask, structure)
            return labels[mask], count
        pairs = [*self.neighbours(rank)]
        first, second = (np.concatenate(side) for side in zip(*pairs, strict=True))
        graph = coo_array((np.ones(len(first), np.bool_), (first, second)), (len(self),) * 2)
        count, found = connected_components(graph, directed=False)
        return found + 1, int(count)

    @cached_property
    def on_surface(self) -> NDArray[np.bool_]:
        """Which voxels (N,) have a face neighbour outside; beyond the array is outside.

        A volume (1, Y, X) is a plane: its surface is its outline.
        """
        beside = np.zeros(len(self), np.int8)
        for first, second in self.neighbours(1):
            beside[first] += 1
            beside[second] += 1
        return np.asarray(beside < 2 * self.points.shape[1])

    @cached_property
    def points(self) -> NDArray[np.intp]:
        """The indices (N, axes) of the voxels, without the slice of a plane."""
        plane = self.mask.ndim == 3 and len(self.mask) == 1
        return np.stack(self.axes[1:] if plane else self.axes, axis=1)


Mask = ArrayLike | Voxels
"""A mask, values > 0 in it; as voxels if several figures are wanted: what they share is then found once."""


def as_voxels(mask: Mask, reference: Mask) -> tuple[Voxels, Voxels]:
    """Return the voxels of both masks.

    Raises:
        ValueError: If the shapes differ.
    """
    found = [each.mask if isinstance(each, Voxels) else each for each in (mask, reference)]
    pairs = zip((mask, reference), as_masks(*found), strict=True)
    one, other = (each if isinstance(each, Voxels) else Voxels(array) for each, array in pairs)
    return one, other
