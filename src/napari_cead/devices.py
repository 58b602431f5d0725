"""Choose the device to compute on, and tell when its memory ran out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import ParameterError

if TYPE_CHECKING:
    import torch


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """Return the requested torch device, after checking that this machine has it.

    Args:
        device: ``"auto"`` (CUDA, else Apple's MPS, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.

    Raises:
        ParameterError: If there is no such device.
    """
    import torch

    name = str(device).strip().lower()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (":" in name and not number.isdecimal()):
        raise ParameterError(
            f"there is no device called {device!r}", hint="use auto, cpu, cuda, cuda:N or mps"
        )
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise ParameterError(
                f"the device {name} was requested, but PyTorch sees no CUDA GPU here",
                hint="use --device auto or cpu, or install a CUDA build of PyTorch",
            )
        if number and int(number) >= count:
            raise ParameterError(
                f"the device {name} was requested, but PyTorch sees only {count} CUDA GPU(s)",
                hint=f"use a number from 0 to {count - 1}",
            )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ParameterError(
            "the device mps was requested, but this machine has none", hint="use auto or cpu"
        )
    return torch.device(name if kind == "cuda" else kind)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: CUDA's own, those of its libraries, of Apple's GPUs and of the CPU."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(
        words in text for words in ("out of memory", "ALLOC_FAILED", "can't allocate memory")
    )
