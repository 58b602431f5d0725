"""A model as an ONNX file, for programs without PyTorch."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..atomic import atomic_path, make_folder
from ..errors import ModelError, OutputError, extra
from .finding import find_model, load_model
from .storage import repaired

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .card import ModelCard
    from .storage import Detector

SUFFIX = ".onnx"
INPUT, OUTPUT, BATCH = "image", "reconstruction", "N"
TOLERANCE = 1e-4
"""Largest difference between the reconstructions of the file and of PyTorch; intensities are in [0, 1]."""

_PRODUCER = "napari-cead"
_LARGEST = (1 << 31) - (1 << 24)  # a protobuf file ends at 2 GiB; some of it is not weights
_LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
_UPDATE = "update torch and onnxscript, or export a folder or zip file"


def is_onnx(path: Path) -> bool:
    """Whether a path names an ONNX file."""
    return path.suffix.lower() == SUFFIX


def export_onnx(name_or_folder: str | Path, file: str | Path) -> Path:
    """Write a model as one ONNX file that turns images into their reconstructions.

    Its input ``image`` and its output ``reconstruction`` are float32 (N, 1, S, S) for any N; the input is a slice
    prepared as ``preprocessing`` on the model's card says. It is deterministic: a VAE decodes its mean, and the mean
    with the mirror image is taken if the card says so. Before the file replaces anything, ONNX Runtime runs it and must
    give the same as PyTorch. Its metadata hold the name (``model``), the ``sha256`` of the weights, ``sequence``,
    ``spacing`` (mm, y and x) and ``intensity``.

    Args:
        name_or_folder: The model.
        file: Where to write it; a file written by this function is replaced.

    Returns:
        The file.

    Raises:
        MissingExtraError: If the extra ``onnx`` is not installed.
        ModelError: If there is no such model, it is damaged, larger than an ONNX file can be, or the file does not
            reproduce it.
        OutputError: If the file cannot be written, or is anything else.
    """
    with extra("onnx", "An ONNX file"):
        import onnx  # type: ignore[import-untyped, import-not-found, unused-ignore]
        import onnxruntime  # type: ignore[import-untyped, import-not-found, unused-ignore]  # noqa: F401
        import onnxscript  # type: ignore[import-untyped, import-not-found, unused-ignore]  # noqa: F401

    target, folder = Path(file).expanduser(), find_model(name_or_folder)
    detector = load_model(name_or_folder, "cpu")
    size = 4 * detector.card.parameters
    if size > _LARGEST:
        raise ModelError(
            f"its weights take {size / 1e9:.1f} GB, and an ONNX file holds at most 2 GB",
            file=folder,
            mend="export a folder or zip file",
        )
    if target.exists() and not _is_ours(target):
        raise OutputError(
            "this is not a previously exported model",
            file=target,
            mend="choose another file name",
        )
    with _quiet():
        model = _convert(detector)
        onnx.helper.set_model_props(model, _metadata(detector.card))
        content: bytes = model.SerializeToString()
        difference = _difference(detector, content)
    if not difference <= TOLERANCE:  # NaN is a difference too
        raise ModelError(f"as ONNX it differs by {difference:.2g} from the model", file=folder, mend=_UPDATE)
    make_folder(target.parent)
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)
    return target


def _metadata(card: ModelCard) -> dict[str, str]:
    preprocessing = card.preprocessing
    return {
        "model": card.name,
        "sha256": card.sha256,
        "sequence": preprocessing.sequence,
        "spacing": json.dumps(preprocessing.spacing),
        "intensity": preprocessing.intensity,
    }


def _convert(detector: Detector) -> Any:
    """Return the network as an ``onnx.ModelProto``."""
    import torch

    side = detector.card.spec.image_size
    plain = detector.module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # PyTorch's stub lacks it
    network = _reconstructing(plain, detector.card)
    try:
        # Exported by Dynamo: a plain trace takes the len() of the example's batch as a constant.
        program = torch.export.export(
            network,
            (torch.zeros(2, 1, side, side),),
            dynamic_shapes={INPUT: {0: torch.export.Dim(BATCH)}},
            strict=True,
        )
        exported = torch.onnx.export(
            program, (), input_names=[INPUT], output_names=[OUTPUT], dynamo=True, verbose=False
        )
    except RuntimeError as error:
        raise ModelError(
            f"the network cannot be written as ONNX ({_first_line(error)})",
            file=detector.folder,
            mend=_UPDATE,
        ) from error
    assert exported is not None
    model: Any = exported.model_proto
    return _tidy(model)


def _reconstructing(network: nn.Module, card: ModelCard) -> nn.Module:
    """Return the network as a module with one input and one output."""
    from torch import nn

    class Reconstructing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: Tensor) -> Tensor:
            return repaired(self.network, image, card)[0]

    return Reconstructing().eval()


def _tidy(model: Any) -> Any:
    """Name the batch dimension, and remove notes on the source code (with paths of this computer)."""
    graph = model.graph
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    graph.ClearField("value_info")
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    model.producer_name, model.producer_version = _PRODUCER, __version__
    return model


def _difference(detector: Detector, content: bytes) -> float:
    """Return the largest difference between an ONNX file and its model.

    Zeros and noise are tried, one image and three. In a VQ-VAE rounding decides between two equally near codes; noise
    of 196 x 196 pixels has such a tie in up to one image of five, which says nothing about the file, so other noise is
    tried.
    """
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()

    def difference(batch: Tensor) -> float:
        (found,) = session.run([OUTPUT], {INPUT: batch.numpy()})
        return float((torch.from_numpy(found) - detector.reconstruct(batch)).abs().max())

    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no other base
        raise ModelError(
            f"ONNX Runtime cannot run the network ({_first_line(error)})",
            file=detector.folder,
            mend="update onnxruntime",
        ) from error
    side, random = detector.card.spec.image_size, torch.Generator().manual_seed(0)
    differences = []
    for count in (1, 3):
        differences.append(difference(torch.zeros(count, 1, side, side)))
        for _ in range(1 if detector.card.spec.network.continuous else 16):
            noisy = difference(torch.rand(count, 1, side, side, generator=random))
            if noisy <= TOLERANCE:
                break
        differences.append(noisy)
    return float(torch.tensor(differences).max())  # NaN if one of them is


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _is_ours(file: Path) -> bool:
    """Whether a file was exported by this program."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped, import-not-found, unused-ignore]

    try:
        producer: str = onnx.load_model(str(file), load_external_data=False).producer_name
    except (OSError, DecodeError, ValueError):
        return False
    return producer == _PRODUCER


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the exporter's advice to its developers."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
