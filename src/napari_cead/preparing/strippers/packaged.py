"""Base classes of strippers from packages: the version, and for networks the device, axes and memory."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...devices import pick_device
from ...errors import OutOfMemoryError
from ...patients.brain import largest_piece
from ...progress import Progress, Stop
from .extractor import HeadScan

if TYPE_CHECKING:
    import torch


class Packaged:
    """A stripper that is a package.

    Attributes:
        package: Its name on PyPI.
    """

    package: str

    def version(self) -> str:
        """Return the version of the package, if it is installed beside this one."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return "unknown"


class Networks(Packaged):
    """Networks that run in this process."""

    def find(
        self,
        volume: NDArray[np.float32],
        spacing: tuple[float, float, float],
        where: torch.device,
        on_progress: Progress,
        should_stop: Stop | None,
    ) -> NDArray[np.bool_]:
        """Return the brain in a volume whose slices lie as those of RAS files do: row 0 posterior, column 0 left.

        Args:
            volume: (Z, Y, X) float32.
            spacing: (z, y, x) in mm.
            where: The device.
            on_progress: Called with (steps done, total steps).
            should_stop: As for `extract`.
        """
        raise NotImplementedError

    def extract(
        self,
        scan: HeadScan,
        *,
        device: str = "auto",
        on_progress: Progress | None = None,
        should_stop: Stop | None = None,
    ) -> NDArray[np.bool_]:
        """Find the brain: see `BrainExtractor`. Apple's GPU is left out: it lacks operations in three dimensions."""
        import torch

        where = pick_device(device)
        if where.type == "mps":
            where = torch.device("cpu")
        volume = np.ascontiguousarray(scan.volume[:, ::-1, ::-1])
        tell = on_progress or (lambda done, total: None)
        try:
            inside = self.find(volume, scan.spacing, where, tell, should_stop)
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
                raise
            raise OutOfMemoryError(
                "the memory is too small to strip the skull", file=scan.place, hint="close other programs"
            ) from error
        brain = largest_piece(inside) if inside.any() else inside
        return np.ascontiguousarray(brain[:, ::-1, ::-1])
