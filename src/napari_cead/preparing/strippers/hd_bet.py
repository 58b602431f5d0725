"""HD-BET, where its command is installed.

It is neither imported nor installed by this package: its dependencies are many, and belong into an environment of their
own (``pipx install hd-bet``) or beside this package (``pip install hd-bet``). It runs on this machine; on its first run
it downloads its weights.

Source: Isensee et al., *Automated brain extraction of multisequence MRI using artificial neural networks*, Human Brain
Mapping (2019), doi:10.1002/hbm.24750.
"""

from __future__ import annotations

import shutil

import numpy as np
from numpy.typing import NDArray

from ...devices import pick_device
from ...errors import MaskError, MissingExtraError, PatientError
from ...patients.volumes import read_volume
from ...progress import Progress, Stop
from .extractor import HeadScan
from .packaged import Packaged
from .running import run_tool, scan_file

HOW_TO_INSTALL = "run: pip install hd-bet (or pipx install hd-bet, which keeps it apart)"

_NAMES = ("out_bet.nii.gz", "out_mask.nii.gz")  # of the mask, by version 2 and version 1
_HINT = "give a brain mask file"


class HdBet(Packaged):
    """Runs the command ``hd-bet``. On the CPU, test-time augmentation is left out."""

    name = package = "hd-bet"
    title = "HD-BET (a command of its own)"

    def missing(self) -> str | None:
        """Return what has to be installed or done before it can run here; None if nothing."""
        return None if shutil.which("hd-bet") is not None else HOW_TO_INSTALL

    def extract(
        self,
        scan: HeadScan,
        *,
        device: str = "auto",
        on_progress: Progress | None = None,
        should_stop: Stop | None = None,
    ) -> NDArray[np.bool_]:
        """Find the brain: see `BrainExtractor`."""
        program, where = shutil.which("hd-bet"), pick_device(device).type
        if program is None:
            raise MissingExtraError(
                "Skull-stripping needs HD-BET, which is not installed", hint=HOW_TO_INSTALL
            )
        with scan_file(scan) as given:  # a copy, which carries no text of the header
            command = [program, "-i", str(given), "-o", str(given.with_name("out.nii.gz")), "-device", where]
            command += ["--save_bet_mask", "--no_bet_image", *(["--disable_tta"] if where == "cpu" else [])]
            hint = f"try --device cpu, or {_HINT}" if where == "cuda" else _HINT
            run_tool(
                command,
                "HD-BET",
                scan.place,
                should_stop=should_stop,
                hint=hint,
                how_to_install=HOW_TO_INSTALL,
            )
            mask = next((file for name in _NAMES if (file := given.with_name(name)).is_file()), None)
            if mask is None:
                raise PatientError(
                    "HD-BET ended without a brain mask",
                    file=scan.place,
                    hint="update it: pip install -U hd-bet",
                )
            try:
                return np.asarray(read_volume(mask).data > 0)
            except PatientError as error:
                raise MaskError(
                    f"HD-BET's mask cannot be used ({error.reason})", file=scan.place, hint=_HINT
                ) from error


OFFERED = (HdBet(),)
