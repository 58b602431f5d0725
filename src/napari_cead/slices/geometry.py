"""Patient grid to model grid and back: one in-plane shift, a square crop, and resampling only if necessary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metrics.overlap import bounding_box

RESAMPLE_BEYOND = 0.10
"""In-plane voxel sizes that differ from the model's by more than this share are resampled."""


@dataclass(frozen=True)
class SliceGeometry:
    """Position of the model's square in the slices of a patient.

    Model pixel ``(v, u)`` shows patient position ``start + (v, u) / zoom`` (pixel centres). With zoom 1 this
    is a whole-pixel crop, and the way back is exact.

    Attributes:
        shape: (Z, Y, X) of the patient.
        size: Side of the model's square image in pixels.
        zoom: Model pixels per patient pixel (y, x); (1, 1) means no resampling.
        start: Patient position (y, x) that model pixel (0, 0) shows; whole numbers where zoom is 1.
        reason: Why slices are resampled, or "" if they are not.
        shrunk: Whether they are smaller than in the model's training, because the brain is larger than its image.
    """

    shape: tuple[int, int, int]
    size: int
    zoom: tuple[float, float]
    start: tuple[float, float]
    reason: str = ""
    shrunk: bool = False

    def pixel(self, spacing: tuple[float, float, float]) -> tuple[float, float]:
        """Return the size of a model pixel (y, x) in mm, given the patient's voxel size (z, y, x)."""
        return spacing[1] / self.zoom[0], spacing[2] / self.zoom[1]

    @classmethod
    def fit(
        cls,
        brain: NDArray[np.bool_],
        spacing: tuple[float, float, float],
        model_spacing: tuple[float, float] = (0.94, 0.94),
        size: int = 196,
        what: str = "brain",
    ) -> SliceGeometry:
        """Centre the bounding box of the brain in the slice with the most brain, as in the paper.

        Args:
            brain: (Z, Y, X) bool, not empty.
            spacing: Patient (z, y, x) in mm.
            model_spacing: In-plane (y, x) in mm of the model's training slices.
            size: Side of the model's image in pixels.
            what: What the reason calls it, for a scan that shows a whole head.
        """
        rows, columns = np.asarray(brain.any(axis=(0, 2))), np.asarray(brain.any(axis=(0, 1)))
        most = brain[int(brain.sum(axis=(1, 2)).argmax())]
        centre = (_middle(most.any(axis=1)), _middle(most.any(axis=0)))

        ratio = (spacing[1] / model_spacing[0], spacing[2] / model_spacing[1])
        reason = ""
        zoom = (1.0, 1.0)
        if any(abs(value - 1) > RESAMPLE_BEYOND for value in ratio):
            zoom = ratio
            reason = (
                f"in-plane voxels of {spacing[1]:.3g} x {spacing[2]:.3g} mm resampled to the model's "
                f"{model_spacing[0]:.3g} x {model_spacing[1]:.3g} mm"
            )
        # Pixels needed so that no brain falls outside, counted from the centre to the farther side.
        need = max(
            2 * factor * _reach(occupied, middle)
            for factor, occupied, middle in zip(zoom, (rows, columns), centre, strict=True)
        )
        if need > size:
            shrink = size / need
            zoom = (zoom[0] * shrink, zoom[1] * shrink)
            reason = f"the {what} is larger than the model's image, shrunk in plane to {shrink:.0%}" + (
                f" ({reason})" if reason else ""
            )
        offset = (size - 1) / 2
        start = (centre[0] - offset / zoom[0], centre[1] - offset / zoom[1])
        if zoom == (1.0, 1.0):
            start = (math.floor(start[0] + 0.5), math.floor(start[1] + 0.5))
        _, height, width = brain.shape
        return cls((brain.shape[0], height, width), size, zoom, start, reason, bool(need > size))

    @property
    def resampled(self) -> bool:
        """Whether slices are resampled in plane rather than cropped."""
        return self.zoom != (1.0, 1.0)

    def to_model(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Bring intensities (Z, Y, X) onto the model grid (Z, size, size); outside the patient is 0."""
        if not self.resampled:
            return self._crop(volume)
        rows, columns = (self._forward(axis) for axis in (0, 1))
        return np.asarray((rows @ np.asarray(volume, dtype=np.float32)) @ columns.T, dtype=np.float32)

    def labels_to_model(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Bring a mask or label volume (Z, Y, X) onto the model grid, nearest neighbour."""
        if not self.resampled:
            return self._crop(labels)
        return self._gather(labels, self._nearest_forward(0), self._nearest_forward(1))

    def to_patient(self, stack: NDArray[Any]) -> NDArray[Any]:
        """Bring values (Z, size, size) back onto the patient grid (Z, Y, X); outside the crop is 0.

        A pure crop goes back exactly, a resampled one by linear interpolation.
        """
        if not self.resampled:
            return self._paste(stack)
        rows, columns = (self._backward(axis) for axis in (0, 1))
        return np.asarray((rows @ np.asarray(stack, dtype=np.float32)) @ columns.T, dtype=np.float32)

    def labels_to_patient(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Bring a mask or label volume (Z, size, size) back onto the patient grid, nearest neighbour."""
        if not self.resampled:
            return self._paste(labels)
        return self._gather(labels, self._nearest_backward(0), self._nearest_backward(1))

    def inside(self) -> NDArray[np.bool_]:
        """Return which pixels (Y, X) of the patient's slices the model sees."""
        rows, columns = self._nearest_backward(0) >= 0, self._nearest_backward(1) >= 0
        return np.asarray(rows[:, None] & columns[None, :])

    def cut_off(self, mask: NDArray[np.bool_]) -> int:
        """Count the voxels of a (Z, Y, X) mask that fall outside the crop."""
        return int((mask & ~self.inside()).sum())

    def _windows(self) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Slices into the patient and into the model image for the same pixels, for rows and columns."""
        pairs = []
        for axis in (0, 1):
            first, length = int(self.start[axis]), self.shape[axis + 1]
            low, high = max(first, 0), min(first + self.size, length)
            high = max(high, low)
            pairs.append((slice(low, high), slice(low - first, high - first)))
        return pairs[0], pairs[1]

    def _crop(self, volume: NDArray[Any]) -> NDArray[Any]:
        (rows, model_rows), (columns, model_columns) = self._windows()
        stack = np.zeros((volume.shape[0], self.size, self.size), dtype=volume.dtype)
        stack[:, model_rows, model_columns] = volume[:, rows, columns]
        return stack

    def _paste(self, stack: NDArray[Any]) -> NDArray[Any]:
        (rows, model_rows), (columns, model_columns) = self._windows()
        volume = np.zeros((stack.shape[0], *self.shape[1:]), dtype=stack.dtype)
        volume[:, rows, columns] = stack[:, model_rows, model_columns]
        return volume

    def _forward(self, axis: int) -> NDArray[np.float32]:
        """(size, length) weights: linear, widened to the pixel spacing when shrinking, so nothing aliases."""
        positions = self.start[axis] + np.arange(self.size) / self.zoom[axis]
        weights = _triangle(positions, self.shape[axis + 1], max(1.0, 1.0 / self.zoom[axis]))
        total = weights.sum(axis=1, keepdims=True)
        outside = (positions < -0.5) | (positions > self.shape[axis + 1] - 0.5)
        weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        weights[outside] = 0
        return np.asarray(weights, dtype=np.float32)

    def _backward(self, axis: int) -> NDArray[np.float32]:
        """(length, size) weights of linear interpolation in the model image."""
        positions = (np.arange(self.shape[axis + 1]) - self.start[axis]) * self.zoom[axis]
        weights = _triangle(np.clip(positions, 0, self.size - 1), self.size, 1.0)
        weights[(positions < -0.5) | (positions > self.size - 0.5)] = 0
        return weights.astype(np.float32)

    def _nearest_forward(self, axis: int) -> NDArray[np.int64]:
        positions = np.floor(self.start[axis] + np.arange(self.size) / self.zoom[axis] + 0.5).astype(np.int64)
        return np.where((positions >= 0) & (positions < self.shape[axis + 1]), positions, -1)

    def _nearest_backward(self, axis: int) -> NDArray[np.int64]:
        positions = (np.arange(self.shape[axis + 1]) - self.start[axis]) * self.zoom[axis]
        nearest = np.floor(positions + 0.5).astype(np.int64)
        return np.where((nearest >= 0) & (nearest < self.size), nearest, -1)

    @staticmethod
    def _gather(volume: NDArray[Any], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[Any]:
        """Pick rows and columns by index; index -1 lies outside and gives 0."""
        picked = volume[:, np.maximum(rows, 0)][:, :, np.maximum(columns, 0)]
        outside = (rows < 0)[:, None] | (columns < 0)[None, :]
        picked[:, outside] = 0
        return picked


def _middle(occupied: NDArray[np.bool_]) -> float:
    (side,) = bounding_box(occupied)
    return float(side.start + side.stop - 1) / 2


def _reach(occupied: NDArray[np.bool_], middle: float) -> float:
    """Distance in pixels from the centre to the outer edge of the farthest occupied pixel."""
    (side,) = bounding_box(occupied)
    # The start is rounded to whole pixels, so count whole pixels on the farther side.
    return float(max(middle - side.start, side.stop - 1 - middle)) + 0.5


def _triangle(positions: NDArray[np.float64], length: int, width: float) -> NDArray[np.float64]:
    distance = np.abs(positions[:, None] - np.arange(length)[None, :]) / width
    return np.asarray(np.maximum(0.0, 1.0 - distance))
