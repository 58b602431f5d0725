"""Check a weights file before loading any of it.

A safetensors file is eight bytes with the length of a JSON header, the header (name, type, shape and offsets of each
tensor), then the numbers: all of it can be checked against the architecture without allocating a tensor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checksums import file_sha256
from ..errors import ModelDamagedError, ModelError
from ..json_files import parse_json
from .card import CARD_FILE, WEIGHTS_FILE, ModelCard

if TYPE_CHECKING:
    from torch import nn

STATISTICS = "statistics."
"""Prefix of the names of the healthy statistics among the tensors."""

PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin")

_ITEM_SIZE = {"F32": 4, "F16": 2}
_CODE = {"float32": "F32", "float16": "F16"}
LONGEST_HEADER = 16 << 20
"""Largest size of the header of a weights file, in bytes."""

_AGAIN = "install or save the model again"

Layout = Mapping[str, tuple[str, tuple[int, ...]]]
"""By tensor name: the type (``"F32"`` or ``"F16"``) and the shape."""


def only_safetensors(path: Path) -> ModelError:
    """Return the error for a file of pickled weights."""
    return ModelDamagedError(
        "this file could run code when loaded, so only safetensors are read",
        file=path,
        hint=f"give a folder with {CARD_FILE} and {WEIGHTS_FILE}",
    )


def find_weights(folder: Path) -> Path:
    """Return the weights file of a model folder.

    Raises:
        ModelError: If there is none.
    """
    file = folder / WEIGHTS_FILE
    if file.is_file():
        return file
    pickles = sorted(p for p in folder.glob("*") if p.suffix.lower() in PICKLES) if folder.is_dir() else []
    if pickles:
        raise only_safetensors(pickles[0])
    raise ModelDamagedError(f"there is no {WEIGHTS_FILE} here", file=folder, hint=_AGAIN)


def type_code(dtype: object) -> str:
    """Return the file format's name of a torch type, or of a type given by name."""
    return _CODE.get(str(dtype).removeprefix("torch."), str(dtype))


def expected_layout(card: ModelCard, skeleton: nn.Module) -> Layout:
    """Return the names, types and shapes that the weights must have.

    Args:
        card: The model's card.
        skeleton: The network of the card's spec, on the meta device.
    """
    code = type_code(card.dtype)
    layout = {name: (code, tuple(tensor.shape)) for name, tensor in skeleton.state_dict().items()}
    side = card.spec.image_size
    return layout | {f"{STATISTICS}{name}": (code, (side, side)) for name in card.statistics}


def layout_size(layout: Layout) -> int:
    """Return the number of bytes of a layout's tensors, without the header."""
    return sum(_ITEM_SIZE[code] * math.prod(shape) for code, shape in layout.values())


def check_header(file: Path, layout: Layout) -> None:
    """Check that a safetensors file holds exactly the tensors of a layout, and has the right length.

    Raises:
        ModelError: If it does not.
    """
    found, length = _read_header(file)
    for name in (*layout, *found):
        if name not in found:
            raise ModelDamagedError(
                f"the tensor {name} of the card's spec is missing", file=file, hint=_AGAIN
            )
        if name not in layout:
            raise ModelDamagedError(
                f"the tensor {name} is not part of the card's spec", file=file, hint=_AGAIN
            )
        if found[name] != layout[name]:
            (code, shape), (wanted_code, wanted_shape) = found[name], layout[name]
            raise ModelDamagedError(
                f"the tensor {name} is {code} {shape}, but the card's spec needs {wanted_code} {wanted_shape}",
                file=file,
                hint=_AGAIN,
            )
    size = layout_size(layout)
    if length != size:
        raise ModelDamagedError(
            f"the file holds {length} bytes of weights where {size} are expected", file=file, hint=_AGAIN
        )


def check_whole(file: Path) -> None:
    """Check that a safetensors file is as long as its header says; fast, and independent of the architecture.

    Raises:
        ModelError: If it is not.
    """
    found, length = _read_header(file)
    if all(code in _ITEM_SIZE for code, _ in found.values()) and layout_size(found) != length:
        raise ModelDamagedError("this is not a valid safetensors file", file=file, hint=_AGAIN)


def _read_header(file: Path) -> tuple[dict[str, tuple[str, tuple[int, ...]]], int]:
    """Return the layout of a file, and the number of bytes after the header."""
    broken = ModelDamagedError("this is not a valid safetensors file", file=file, hint=_AGAIN)
    try:
        total = file.stat().st_size
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if total < 8 or length > min(LONGEST_HEADER, total - 8):
                raise broken
            header: Any = parse_json(stream.read(length))
    except OSError as error:
        raise ModelDamagedError(
            f"the file cannot be read ({error.strerror or error})", file=file, hint=_AGAIN
        ) from error
    except ValueError:
        raise broken from None
    if not isinstance(header, dict):
        raise broken
    header.pop("__metadata__", None)
    layout: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, entry in header.items():
        try:
            code, shape, (start, end) = str(entry["dtype"]), tuple(entry["shape"]), entry["data_offsets"]
            if not all(type(number) is int and number >= 0 for number in (*shape, start, end)):
                raise broken
            if code in _ITEM_SIZE and end - start != _ITEM_SIZE[code] * math.prod(shape):
                raise broken
        except (KeyError, TypeError, ValueError):
            raise broken from None
        layout[name] = (code, shape)
    return layout, total - 8 - length


def check_sha256(file: Path, card: ModelCard) -> None:
    """Check that the weights are the ones the card was written for.

    Raises:
        ModelError: If a byte differs.
    """
    if file_sha256(file) != card.sha256:
        raise ModelDamagedError(
            "the weights are damaged: their sha256 is not that of the card", file=file, hint=_AGAIN
        )
