"""HD-BET, where its command is installed: see :mod:`napari_cead.patients.skull_stripping`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...devices import pick_device
from ...patients.skull_stripping import HOW_TO_INSTALL, hd_bet_command, strip_with_hd_bet
from ...patients.volumes import read_volume
from ...progress import Progress, Stop
from .extractor import HeadScan
from .packaged import Packaged
from .running import scan_file


class HdBet(Packaged):
    """Runs the command ``hd-bet``."""

    name = package = "hd-bet"
    title = "HD-BET (a command of its own)"

    def missing(self) -> str | None:
        """Return what has to be installed or done before it can run here; None if nothing."""
        return None if hd_bet_command() is not None else HOW_TO_INSTALL

    def extract(
        self,
        scan: HeadScan,
        *,
        device: str = "auto",
        on_progress: Progress | None = None,
        should_stop: Stop | None = None,
    ) -> NDArray[np.bool_]:
        """Find the brain: see `BrainExtractor`."""
        with scan_file(scan) as given:
            mask = strip_with_hd_bet(
                given,
                given.with_name("mask.nii.gz"),
                device=pick_device(device).type,
                should_stop=should_stop,
            )
            return np.asarray(read_volume(mask).data > 0)


OFFERED = (HdBet(),)
