"""The interface of a skull stripper, which finds the brain in a scan of the whole head."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ...patients import Grid
from ...progress import Progress, Stop

COMMAND = "command:"
"""Beginning of the name of a stripper that is a command."""


@dataclass(frozen=True, eq=False)
class HeadScan:
    """One scan of a head, the input of a stripper.

    Attributes:
        volume: (Z, Y, X) float32 in canonical LPS order, finite.
        grid: The positions of its voxels; nothing but geometry may be passed on from its header.
        sequence: Its sequence, for instance ``"flair"``.
        place: The file or the patient's name, for error messages.
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
        name: Its name on the command line and in saved files.
        title: Its description in a few words.
    """

    name: str
    title: str

    def missing(self) -> str | None:
        """Return what has to be installed or done before it can run here, in one clause; None if nothing."""

    def version(self) -> str:
        """Return its version: cached masks of another version are not used."""

    def extract(
        self,
        scan: HeadScan,
        *,
        device: str = "auto",
        on_progress: Progress | None = None,
        should_stop: Stop | None = None,
    ) -> NDArray[np.bool_]:
        """Find the brain.

        Args:
            scan: The scan.
            device: See :func:`~napari_cead.devices.pick_device`.
            on_progress: Called with (steps done, total steps).
            should_stop: Called several times a second, or between steps if that is impossible.

        Returns:
            (Z, Y, X) bool on the grid of the scan; empty if there is no brain.

        Raises:
            CeadError: If it cannot run or fails.
            Cancelled: If ``should_stop`` returned true.
        """
