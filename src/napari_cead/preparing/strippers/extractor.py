"""What a skull stripper is: something that finds the brain in a scan of the whole head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ...patients import Grid

COMMAND = "command:"
"""What a stripper's name begins with that is a command."""

OnProgress = Callable[[int, int], None]
ShouldStop = Callable[[], bool]


@dataclass(frozen=True, eq=False)
class HeadScan:
    """One scan of a head, as a stripper gets it.

    Attributes:
        volume: (Z, Y, X) float32 in canonical LPS order, finite.
        grid: Where its voxels lie; of its header nothing but geometry may be passed on.
        sequence: What it shows, for instance ``"flair"``.
        place: The file or the patient's name, for the message of an error.
    """

    volume: NDArray[np.float32] = field(repr=False)
    grid: Grid = field(repr=False)
    sequence: str
    place: str

    @property
    def spacing(self) -> tuple[float, float, float]:
        """(z, y, x) in mm."""
        return self.grid.spacing


@runtime_checkable
class BrainExtractor(Protocol):
    """A skull stripper. Other packages add one with an entry point in the group ``napari_cead.strippers``.

    Attributes:
        name: How it is called on the command line and in saved files.
        title: What it is, in a few words.
    """

    name: str
    title: str

    def missing(self) -> str | None:
        """Return what has to be done before it can run here, in one clause; None if it can."""

    def version(self) -> str:
        """Return the version of what finds the brain: masks of another version are not taken from the cache."""

    def extract(
        self,
        scan: HeadScan,
        *,
        device: str = "auto",
        on_progress: OnProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> NDArray[np.bool_]:
        """Find the brain.

        Args:
            scan: The scan.
            device: See :func:`~napari_cead.devices.pick_device`.
            on_progress: Called with (steps done, total steps).
            should_stop: Called several times a second, or between steps where that cannot be.

        Returns:
            (Z, Y, X) bool on the grid of the scan; empty if there is no brain.

        Raises:
            CeadError: If it cannot run, or fails.
            Cancelled: If ``should_stop`` returned true.
        """
