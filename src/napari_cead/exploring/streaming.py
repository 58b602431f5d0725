"""A run in progress: slices appear as the network finishes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..detection import MapOptions, PostprocessParams, Reconstruction, postprocess
from ..detection.scores import looks_through
from ..patients import Patient


class Streaming:
    """The slices of a run that have arrived. Filled in the thread of the run, read from any.

    Attributes:
        patient: The patient of the run.
        model: Name of the model.
        score: The anomaly score.
        options: Processing of the map.
        reconstruction: (Z, Y, X) float32, 0 for slices that have not arrived.
        anomaly_map: (Z, Y, X) float32, 0 for slices that are not in ``scored``.
        brain: (Z, Y, X) bool, False for slices that have not arrived.
        arrived: (Z,) bool.
        scored: (Z,) bool: the slices that have a map. A score that looks through slices is computed anew when all have
            arrived: until then only the first ones have it, and those that are asked for.
    """

    def __init__(self, patient: Patient, model: str, score: str, options: MapOptions) -> None:
        self.patient, self.model, self.score, self.options = patient, model, score, options
        self.reconstruction: NDArray[np.float32] = np.zeros(patient.shape, np.float32)
        self.anomaly_map: NDArray[np.float32] = np.zeros(patient.shape, np.float32)
        self.brain: NDArray[np.bool_] = np.zeros(patient.shape, np.bool_)
        self.arrived = np.zeros(patient.shape[0], np.bool_)
        self.scored = np.zeros(patient.shape[0], np.bool_)
        self._made: Reconstruction | None = None
        self._cut: tuple[NDArray[np.int64], PostprocessParams, NDArray[np.bool_]] | None = None

    def take(self, made: Reconstruction, indices: NDArray[np.int64], params: PostprocessParams) -> None:
        """Take over the slices that a run has just finished, and cut them: here, not in the thread that shows them.

        Args:
            made: The result so far.
            indices: The slices that are new.
            params: The settings as they are now.
        """
        if made is not self._made:  # after a lack of memory a run starts again
            self._made = made
            self.arrived[:] = self.scored[:] = False
        self.reconstruction[indices] = made.volume_slices(indices)
        self.brain[indices] = made.stack.brain[indices]
        if not (self.scored.any() and looks_through(self.score)):
            self._score(indices)
            self._cut = indices, params, self._masks(indices, params)
        self.arrived[indices] = True

    def _score(self, indices: NDArray[np.int64]) -> None:
        assert self._made is not None
        self.anomaly_map[indices] = self._made.anomaly_slices(self.score, indices, self.options, alone=True)
        self.scored[indices] = True

    def masks(self, indices: NDArray[np.int64], params: PostprocessParams) -> NDArray[np.bool_]:
        """Return the masks (n, Y, X) of slices that have arrived; at once for those that were scored last."""
        if self._cut is not None:
            cut, settings, masks = self._cut
            if settings == params and np.array_equal(cut, indices):
                return masks
        return self._masks(indices, params)

    def _masks(self, indices: NDArray[np.int64], params: PostprocessParams) -> NDArray[np.bool_]:
        if len(missing := indices[~self.scored[indices]]):
            self._score(missing)
        return postprocess(self.anomaly_map[indices], params, self.patient.spacing, self.brain[indices])

    def slice_mask(self, z: int, params: PostprocessParams) -> NDArray[np.bool_] | None:
        """Return the mask (Y, X) of a slice that has arrived, else None."""
        if not self.arrived[z]:
            return None
        mask: NDArray[np.bool_] = self._masks(np.array([z]), params)[0]
        return mask
