"""Saving a model folder, and loading one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from ..atomic import make_folder, to_json
from ..checksums import file_sha256
from ..devices import pick_device
from ..errors import ModelDamagedError, ModelError, OutputError, ParameterError, disk_errors, why
from ..models.building import build, parameter_count
from .card import CARD_FILE, HUB_CARD_FILE, MODEL_FILES, README_FILE, WEIGHTS_FILE, ModelCard, load_card
from .readme import readme
from .weights import (
    STATISTICS,
    check_header,
    check_sha256,
    expected_layout,
    find_weights,
    type_code,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

IN_CACHE = 8
"""Batch size of a U-Net on a CPU."""

Repaired: TypeAlias = "tuple[Tensor, Tensor | None]"
"""A reconstruction and the probability of a lesion; None: the network does not say it."""


@dataclass(frozen=True)
class Detector:
    """A model ready to reconstruct.

    Attributes:
        name: Name of the model.
        card: Its card.
        module: The network in evaluation mode, float32, on the device.
        device: The device it runs on.
        folder: The folder it was loaded from.
        statistics: Maps (S, S) of healthy statistics, float32, on the device.
    """

    name: str
    card: ModelCard
    module: nn.Module
    device: torch.device
    folder: Path
    statistics: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Checksum of the weights file."""
        return self.card.sha256

    def reconstruct(self, batch: Tensor) -> Tensor:
        """Return the reconstruction of a batch of slices; deterministic (a VAE decodes its mean).

        If the card says ``mirror_average``, it is the mean over the slices and their mirror images. A denoiser learns
        only inside the brain: elsewhere its reconstruction is 0, as the slice is.

        Args:
            batch: (N, 1, S, S), intensities in [0, 1], on any device.

        Returns:
            (N, 1, S, S) float32 on the detector's device.

        Raises:
            ParameterError: If the shape is not the model's.
        """
        return self.repair(batch)[0]

    def repair(self, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the result of :meth:`reconstruct`, and the lesion probability, from one pass.

        Args:
            batch: (N, 1, S, S), intensities in [0, 1], on any device.

        Returns:
            Both (N, 1, S, S) float32 on the detector's device: the reconstruction, and the probability from 0 to 1
            that a pixel belongs to a lesion, 0 outside the brain; None for a network without such a head.

        Raises:
            ParameterError: If the shape is not the model's.
        """
        return joined(self.repair_each(batch))

    def repair_each(self, batch: Tensor) -> list[Repaired]:
        """Return the result of :meth:`repair` of each network whose map counts: an ensemble's members as if alone.

        Args:
            batch: (N, 1, S, S), intensities in [0, 1], on any device.

        Returns:
            What `repair` returns, once for each of ``card.spec.voices``.

        Raises:
            ParameterError: If the shape is not the model's.
        """
        import torch

        with torch.no_grad(), _repeatable(self.device):
            made = [
                repaired_by_each(self.module, part.to(self.device, torch.float32), self.card)
                for part in torch.split(batch, self.at_once(len(batch)))
            ]
        return [_in_a_row(parts) for parts in zip(*made, strict=True)]

    def at_once(self, slices: int) -> int:
        """Return how many of a number of slices pass through the network together."""
        # On a CPU small batches stay in its caches: a seventh faster for a U-Net.
        few = self.device.type == "cpu" and self.card.spec.denoising
        return min(slices, IN_CACHE) if few else slices

    def kl_gradient(self, batch: Tensor) -> Tensor:
        """Return how strongly each pixel pulls the posterior away from the standard normal: |d KL / d x|.

        The KL divergence of a slice is summed over the latent dimensions, as in Zimmerer et al. 2018,
        *Context-encoding Variational Autoencoder for Unsupervised Anomaly Detection*. Deterministic: nothing is
        sampled, and the decoder does not run.

        Args:
            batch: (N, 1, S, S), intensities in [0, 1], on any device.

        Returns:
            (N, 1, S, S) float32 on the detector's device.

        Raises:
            ParameterError: If the model is not a variational autoencoder, or the shape is not the model's.
        """
        import torch

        family = self.card.spec.network
        if not family.divergent:
            raise ParameterError(
                f"the KL gradient needs a variational autoencoder, which {self.name} is not",
                hint="use another model or score",
            )
        with torch.enable_grad(), _repeatable(self.device):
            x = batch.detach().to(self.device, torch.float32).requires_grad_()
            (gradient,) = torch.autograd.grad(family.divergence(self.module, x), x)
        return gradient.abs()

    def on(self, device: str | torch.device) -> Detector:
        """Return the same model on another device; this one stays unchanged.

        Args:
            device: See :func:`~napari_cead.devices.pick_device`.

        Raises:
            ParameterError: If there is no such device.
        """
        import torch

        place = pick_device(device)
        # Filled from outside, not copied in place: there may be no memory left for a second one.
        module = skeleton(self.card).to_empty(device=place).eval().requires_grad_(False)
        with torch.no_grad():
            weights = self.module.state_dict()
            for key, tensor in module.state_dict().items():
                tensor.copy_(weights[key])
        statistics = {name: values.to(place) for name, values in self.statistics.items()}
        return replace(self, module=_laid_out(module, place), device=place, statistics=statistics)


def repaired(network: nn.Module, images: Tensor, card: ModelCard) -> Repaired:
    """Return a network's output for images (N, 1, S, S), as its card says; see :meth:`Detector.repair`."""
    return joined(repaired_by_each(network, images, card))


def repaired_by_each(network: nn.Module, images: Tensor, card: ModelCard) -> list[Repaired]:
    """Return the output of each network whose map counts; see :meth:`Detector.repair_each`."""
    networks = cast("nn.ModuleList", network.members) if card.spec.voices > 1 else (network,)
    return [_repaired(one, images, card) for one in networks]


def joined(each: Sequence[Repaired]) -> Repaired:
    """Return the median of what networks made of the same images; what one alone made as it is."""
    if len(each) == 1:
        return each[0]
    from ..models.ensemble import median

    lesions = [lesion for _, lesion in each if lesion is not None]
    return median([made for made, _ in each]), median(lesions) if lesions else None


def _in_a_row(parts: Sequence[Repaired]) -> Repaired:
    import torch

    lesions = [lesion for _, lesion in parts if lesion is not None]
    return torch.cat([made for made, _ in parts]), torch.cat(lesions) if lesions else None


def _repaired(network: nn.Module, images: Tensor, card: ModelCard) -> Repaired:
    made, lesion = _once(network, images)
    if card.mirror_average:
        other, seen = _once(network, images.flip(-1))
        made = (made + other.flip(-1)) / 2
        lesion = None if lesion is None or seen is None else (lesion + seen.flip(-1)) / 2
    brain = images != 0
    lesion = None if lesion is None else lesion * brain
    return (made * brain if card.spec.denoising else made), lesion


def _once(network: nn.Module, images: Tensor) -> Repaired:
    from ..models.outputs import LesionOutput

    output = network(images, sample=False)
    lesion = output.lesion_logit.sigmoid() if isinstance(output, LesionOutput) else None
    return output.reconstruction, lesion


def save_model(
    module: nn.Module,
    card: ModelCard,
    folder: str | Path,
    *,
    half: bool = False,
    statistics: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a model folder; a reader sees the old one or the new one, never a mixture.

    Args:
        module: The network of the card's spec.
        card: Its card; the checksum, number and type of the weights are filled in.
        folder: Where to write it; an existing model folder is replaced.
        half: Whether to store the weights in half precision.
        statistics: Maps (S, S) of healthy statistics by name, stored like the weights.

    Returns:
        The folder.

    Raises:
        ModelError: If the weights do not fit the card's spec, or are not finite.
        OutputError: If the folder cannot be written, or holds anything but a model.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    complete = card.model_copy(
        update={
            "dtype": "float16" if half else "float32",
            "parameters": parameter_count(module),
            "statistics": tuple(statistics or ()),
        }
    )
    dtype = torch.float16 if half else torch.float32
    tensors = _on_disk(module.state_dict(), dtype)
    maps = _on_disk({f"{STATISTICS}{name}": map for name, map in (statistics or {}).items()}, dtype)
    layout = {
        name: (type_code(tensor.dtype), tuple(tensor.shape)) for name, tensor in (tensors | maps).items()
    }
    if layout != expected_layout(complete, skeleton(complete)):
        raise ModelError(
            f"the weights are not those of the spec of {card.name}", hint="save the network with its own spec"
        )
    for name, tensor in (tensors | maps).items():
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(
                f"the weights of {card.name} are not finite in {name}",
                hint="train it again" + (" or store it in single precision" if half else ""),
            )
    with replacing_folder(Path(folder)) as temporary:
        try:
            save_file(tensors | maps, temporary / WEIGHTS_FILE, metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(str(error)) from error
        complete = complete.model_copy(update={"sha256": file_sha256(temporary / WEIGHTS_FILE)})
        (temporary / CARD_FILE).write_text(to_json(complete.model_dump(mode="json")), encoding="utf-8")
        load_card(temporary)
    return Path(folder)


def _on_disk(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    import torch

    return {
        name: tensor.detach().to("cpu", dtype).contiguous(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def check_model(folder: str | Path) -> ModelCard:
    """Check a model folder without loading the weights and return its card.

    Raises:
        ModelError: If anything in it is missing, damaged or does not fit.
    """
    path = Path(folder)
    card = load_card(path)
    file = find_weights(path)
    check_header(file, expected_layout(card, skeleton(card)))
    check_sha256(file, card)
    return card


def load_folder(folder: Path, name: str, device: str | torch.device = "auto") -> Detector:
    """Load a model folder. Nothing in it can run code.

    Args:
        folder: The model folder.
        name: The name for the detector.
        device: See :func:`~napari_cead.devices.pick_device`.

    Raises:
        ModelError: If anything in it is missing, damaged or does not fit.
        ParameterError: If there is no such device.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    place = pick_device(device)
    card = check_model(folder)
    file = find_weights(folder)
    module = skeleton(card).eval()
    try:
        # Copied one by one: a tensor that stays mapped to the file would prevent its replacement.
        with safe_open(file, framework="pt", device="cpu") as stored:
            weights = {
                key: stored.get_tensor(key).to(place, tensor.dtype, copy=True)
                for key, tensor in module.state_dict().items()
            }
            statistics = {
                key: stored.get_tensor(f"{STATISTICS}{key}").to(place, torch.float32, copy=True)
                for key in card.statistics
            }
    except (SafetensorError, OSError) as error:
        raise ModelDamagedError(
            f"the weights cannot be read ({why(error)})", file=file, hint="install or save the model again"
        ) from error
    # Assigned, not filled in: `to_empty` would import sympy, which takes longer than all of this.
    module.load_state_dict(weights, assign=True)
    module.requires_grad_(False)
    return Detector(name, card, _laid_out(module, place), place, folder, statistics)


def _laid_out(module: nn.Module, place: torch.device) -> nn.Module:
    """Return a network as it is fast on its device: its weights in another order in memory, what it can join joined."""
    import torch

    settle = getattr(module, "settle", None)
    if settle is not None:
        settle()
    if place.type == "cpu":
        # glibc gives memory back as soon as a layer is done, which in a fresh process costs up to a seventh of a pass.
        # It keeps chunks as large as the largest that was ever freed; it counts those of less than 32 MB.
        torch.empty((32 << 20) - (64 << 10), dtype=torch.uint8)
    if place.type == "mps":  # not reliable on Apple's GPUs
        return module
    moved: nn.Module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # 15 % faster on CPUs
    return moved


@contextmanager
def _repeatable(device: torch.device) -> Iterator[None]:
    """Make CUDA's convolutions repeatable bit for bit, including transposed and backward ones."""
    import torch

    cudnn = torch.backends.cudnn
    if device.type != "cuda":
        yield
        return
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


def copy_model(
    source: Path,
    target: Path,
    name: str | None = None,
    change: Callable[[ModelCard], ModelCard] | None = None,
    *,
    hub: bool = False,
) -> Path:
    """Check a model folder and copy it; a reader of ``target`` never sees half of it.

    Args:
        source: The model folder.
        target: The folder to write.
        name: A new name for the copy's card; None keeps it.
        change: Makes the copy's card from the source's; None keeps it.
        hub: Whether to write the layout of the Hugging Face hub: ``config.json``, and a ``README.md``.

    Raises:
        ModelError: If the source is not a complete model.
        OutputError: If the target cannot be written.
    """
    card = check_model(source)
    card = card if name is None else card.model_copy(update={"name": name})
    card = card if change is None else change(card)
    with replacing_folder(target) as temporary:
        shutil.copyfile(source / WEIGHTS_FILE, temporary / WEIGHTS_FILE)
        text = to_json(card.model_dump(mode="json"))
        (temporary / (HUB_CARD_FILE if hub else CARD_FILE)).write_text(text, encoding="utf-8")
        if hub:
            (temporary / README_FILE).write_text(readme(card), encoding="utf-8")
        check_model(temporary)
    return target


def skeleton(card: ModelCard) -> nn.Module:
    """Return the network of a card's spec on the meta device: shapes without memory."""
    import torch
    from torch.overrides import TorchFunctionMode

    class Unfilled(TorchFunctionMode):
        """No random numbers where there is no memory: PyTorch would load its compiler for them, for two seconds."""

        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            given = kwargs or {}
            return given["tensor"] if function is torch.nn.init.normal_ else function(*args, **given)

    with torch.device("meta"), Unfilled():
        return build(card.spec)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``folder``; on success it replaces it, on failure it is removed.

    Raises:
        OutputError: If it cannot be written, or ``folder`` holds anything but a model.
    """
    temporary: Path | None = None
    try:
        with disk_errors(OutputError, "the model cannot be written", folder):
            target = folder.resolve()  # for a link, replace its target, not the link
            make_folder(target.parent)
            if target.exists() and not _replaceable(target):
                raise OutputError(
                    "there is something here that is not a model",
                    file=folder,
                    hint="choose a new folder for the model",
                )
            temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".part-"))
            yield temporary
            mask = os.umask(0)
            os.umask(mask)
            for path in (temporary, *temporary.iterdir()):  # created private; give them the usual permissions
                path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)
            _swap(temporary, target)
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _replaceable(folder: Path) -> bool:
    """Whether ``folder`` is empty or holds a model and nothing else."""
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else {""}
    return names <= MODEL_FILES and (not names or bool(names & {CARD_FILE, WEIGHTS_FILE}))


def _swap(new: Path, target: Path) -> None:
    """Replace ``target`` by ``new``; a folder that is not empty cannot be replaced in one step."""
    if not target.exists():
        new.rename(target)
        return
    old = Path(tempfile.mkdtemp(dir=target.parent, prefix=".old-")) / target.name
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        with suppress(OSError):
            old.rename(target)
            old.parent.rmdir()
        raise
    shutil.rmtree(old.parent, ignore_errors=True)
