"""deepbet: two small networks, one that locates the brain and one that outlines it.

Only the weights of the package ``deepbet`` are used, which are in its wheel: its Python code imports fill_voids and
connected-components-3d, and its window customtkinter, for what SciPy does here. The steps and the masks are the same.

Source: Fisch et al., *deepbet: Fast brain extraction of T1-weighted MRI using Convolutional Neural Networks*, Computers
in Biology and Medicine (2024), doi:10.1016/j.compbiomed.2024.108845; MIT licence.
"""

from __future__ import annotations

import threading
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ...checksums import file_sha256
from ...errors import MissingExtraError
from ...patients.brain import largest_component
from ...progress import Progress, Stop
from .packaged import Networks
from .running import interruptible

if TYPE_CHECKING:
    import torch

WEIGHTS = {
    "bbox_model.pt": "39a7b2b5f799faa1391ea97bfcdc0b9299f20d84f2316a4ff8918dc4685e40aa",
    "model.pt": "de8ee7c69654d0dd3935dc4a5d84571d8ecf4637a6bfc01df399c4c2bc86e0fd",
}
"""Files of deepbet 1.0.2 and their sha256: TorchScript is a program, and only this one is run."""

MEND = 'run: pip install "napari-cead[strip]"'

COARSE, FINE = (128, 128, 128), (256, 256, 256)
"""Voxels of the grids on which the brain is looked for, and outlined."""

MARGIN = 0.1
"""Share of the brain's size by which the box around it is larger, to each side."""

_LEAST_SHARE = 0.02  # of a plane of the coarse grid, below which it does not count as brain
_STEPS = 3


class DeepBet(Networks):
    """Runs deepbet's networks."""

    name = package = "deepbet"
    title = "deepbet (two small networks, 10 MB)"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: tuple[str, tuple[Any, Any]] | None = None

    def missing(self) -> str | None:
        """Return what has to be installed or done before it can run here; None if nothing."""
        return None if _folder() is not None else MEND

    def find(
        self,
        volume: NDArray[np.float32],
        spacing: tuple[float, float, float],
        where: torch.device,
        on_progress: Progress,
        should_stop: Stop | None,
    ) -> NDArray[np.bool_]:
        """Find the brain: see `Networks`. It takes 1 GB of memory."""
        import torch

        on_progress(0, _STEPS)
        coarse, fine = self._loaded(str(where))
        on_progress(1, _STEPS)
        # Its networks saw (X, Y, Z).
        values = torch.from_numpy(np.ascontiguousarray(volume.transpose(2, 1, 0))).to(where)
        box, low, high = interruptible(lambda: _find(coarse, values), should_stop)
        on_progress(2, _STEPS)
        found = np.zeros(tuple(values.shape), bool)
        if box is not None:
            found[box] = interruptible(lambda: _outline(fine, values[box], low, high), should_stop)
        on_progress(_STEPS, _STEPS)
        return found.transpose(2, 1, 0)

    def _loaded(self, device: str) -> tuple[Any, Any]:
        with self._lock:
            if self._models is None or self._models[0] != device:
                self._models = device, (_load("bbox_model.pt", device), _load("model.pt", device))
            return self._models[1]


def _folder() -> Path | None:
    """Return the location of the weights, without importing the package."""
    found = find_spec("deepbet")
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parents[1] / "data" / "models"
    return folder if all((folder / name).is_file() for name in WEIGHTS) else None


def _load(name: str, device: str) -> Any:
    import torch

    folder = _folder()
    if folder is None:
        raise MissingExtraError("Skull-stripping needs deepbet, which is not installed", hint=MEND)
    file = folder / name
    if file_sha256(file) != WEIGHTS[name]:
        raise MissingExtraError(
            f"{file} is not what deepbet 1.0.2 brings along",
            hint="run: pip install --force-reinstall deepbet==1.0.2",
        )
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # TorchScript is deprecated, but the only format of the weights
        return torch.jit.load(str(file), map_location=device).eval()  # type: ignore[no-untyped-call]


def _resized(values: Any, shape: tuple[int, ...]) -> Any:
    from torch.nn.functional import interpolate

    return interpolate(values[None, None], shape, mode="nearest-exact")[0, 0]


def _scaled(values: Any, low: Any, high: Any) -> Any:
    values = ((values - low) / (high - low)).clamp(min=0, max=1)
    return 0.226 * (values - values.mean()) / values.std() + 0.449


def _find(network: Any, values: Any) -> tuple[tuple[slice, ...] | None, Any, Any]:
    """Return the box around the brain (None: there is none), and the intensities that become 0 and 1."""
    import torch

    with torch.inference_mode():
        small = _resized(values, COARSE)
        low, high = small.quantile(0.005), small.quantile(0.995)
        if not bool(high > low):
            return None, low, high
        inside = (network(_scaled(small, low, high)[None, None])[0, 1] > 0.5).cpu().numpy()
    if not inside.any():
        return None, low, high
    return _box(largest_component(inside, faces_only=False), tuple(values.shape)), low, high


def _box(inside: NDArray[np.bool_], shape: tuple[int, ...]) -> tuple[slice, ...] | None:
    box = []
    for axis, size in enumerate(shape):
        others = tuple(other for other in range(3) if other != axis)
        occupied = np.flatnonzero(inside.mean(axis=others) > _LEAST_SHARE)
        if not len(occupied):
            return None
        first, last = int(occupied[0]), int(occupied[-1])
        # Single precision and rounding half to even, as deepbet's own: the box is the same to the voxel.
        factor = np.float32(size) / np.float32(inside.shape[axis])
        centre = float(np.round(factor * np.float32((last + 1 + first) / 2)))
        length = float(
            np.round(np.float32(1 + 2 * np.float32(MARGIN)) * (factor * np.float32(last + 1 - first)))
        )
        box.append(slice(max(0, int(centre - length / 2)), min(size, int(centre + length / 2))))
    return tuple(box)


def _outline(network: Any, values: Any, low: Any, high: Any) -> NDArray[np.bool_]:
    import torch

    with torch.inference_mode():
        large = _scaled(_resized(values, FINE), low, high)
        share = network(large[None, None])[0, 1]
        return cast("NDArray[np.bool_]", (_resized(share, tuple(values.shape)) > 0.5).cpu().numpy())


OFFERED = (DeepBet(),)
