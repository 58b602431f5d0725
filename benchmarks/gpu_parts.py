"""The parts of ``gpu.py``: each looks at one thing and gives rows; a row with ``ok`` false is something wrong."""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import training as loops
from gpu_lines import Hits, recorded
from harness import SAMPLE
from napari_cead import load_model, load_patient
from napari_cead.detection import detect
from napari_cead.detection import run as detect_run
from napari_cead.devices import pick_device
from napari_cead.errors import ParameterError
from napari_cead.models import build
from napari_cead.slices import slice_stack
from napari_cead.training import Hardware, SliceStore, train
from napari_cead.training.presets import training_settings
from napari_cead.zoo import Detector
from napari_cead.zoo.finding import DEFAULT_MODEL

SAME = 1e-3
"""Largest difference between a processor and a GPU in single precision; intensities lie in [0, 1]."""

Row = dict[str, Any]
Add = Callable[..., None]


@dataclass
class Bench:
    """What a part has at hand.

    Attributes:
        device: The device.
        tiny: Whether sizes are those of a test of the script itself.
        models: The designs to look at.
        seconds: Time for the part.
        hits: Lines that ran, of the parts that record them.
    """

    device: torch.device
    tiny: bool
    models: tuple[str, ...]
    seconds: float
    hits: Hits = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    def left(self) -> float:
        return self.seconds - (time.perf_counter() - self.began)

    @property
    def size(self) -> str:
        return "small" if self.tiny else "paper"

    @property
    def product(self) -> int:
        """Side of the large product whose speed counts as the device's peak."""
        return 64 if self.tiny else 8192 if self.device.type == "cuda" else 1024

    @property
    def side(self) -> int:
        return 32 if self.tiny else 196

    def network(self, name: str) -> nn.Module:
        """Return a network with random weights, on the processor."""
        torch.manual_seed(0)
        return build(name, size=self.size, image_size=self.side).eval().requires_grad_(False)

    def detector(self, name: str, device: str | torch.device) -> Detector:
        """Return it as a model that the package detects with."""
        bundled, network = load_model(name, "cpu"), self.network(name)
        card = bundled.card.model_copy(
            update={"spec": network.spec, "statistics": (), "suggestions": (), "sha256": ""}
        )
        return replace(bundled, card=card, module=network, statistics={}).on(device)

    def slices(self, count: int) -> Tensor:
        """Return (count, 1, S, S): slices of the sample patient with brain, repeated if need be, on the processor."""
        stack = slice_stack(load_patient(SAMPLE))
        images = torch.from_numpy(stack.images[stack.occupied])
        images = images[len(images) // 3 :]  # from the middle on: the lowest are nearly empty
        images = images[torch.arange(count) % len(images), None]
        return nn.functional.interpolate(images, self.side) if self.side != images.shape[-1] else images

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def per_second(self, function: Callable[[], int], longest: float) -> float:
        """Return how many slices a second a function does; it is called for at most so many seconds, or once."""
        function()  # kernels are chosen, memory is taken
        self.wait()
        done, start = 0, time.perf_counter()
        while not done or (time.perf_counter() - start < longest and not self.tiny):
            done += function()
            self.wait()
        return done / (time.perf_counter() - start)


@dataclass(frozen=True)
class Part:
    """A part: what it is called, its share of the time, and what does it."""

    title: str
    share: float
    work: Callable[[Bench, Add], None]
    recorded: bool = False


PARTS: dict[str, Part] = {}


def part(title: str, share: float, *, record: bool = False) -> Callable[..., Any]:
    def register(work: Callable[[Bench, Add], None]) -> Callable[[Bench, Add], None]:
        PARTS[work.__name__] = Part(title, share, work, record)
        return work

    return register


def far(one: Tensor, other: Tensor) -> float:
    return float((one.float().cpu() - other.float().cpu()).abs().max())


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether products and convolutions may round their factors to 10 bits, as cuDNN does unless told otherwise."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@part("The device", 10)
def about(bench: Bench, add: Add) -> None:
    add(what="PyTorch", value=torch.__version__)
    if bench.device.type != "cuda":
        add(what="device", value=f"the processor, {torch.get_num_threads()} threads")
        return
    found = torch.cuda.get_device_properties(bench.device)
    add(what="device", value=found.name)
    add(what="memory, GiB", value=round(found.total_memory / 2**30, 1))
    add(what="compute capability", value=f"{found.major}.{found.minor}")
    add(what="CUDA, cuDNN", value=f"{torch.version.cuda}, {torch.backends.cudnn.version()}")
    add(what="bf16 of its own", value=str(torch.cuda.is_bf16_supported(including_emulation=False)))
    add(what="processors", value=os.cpu_count())


def scan(bench: Bench, folder: Path) -> Path:
    """Return the folder of the sample patient; if all has to be small, of a few of its slices, within ``folder``."""
    place = folder / "patient"
    if not bench.tiny:
        return SAMPLE
    if not place.exists():
        import nibabel as nib

        volume = nib.load(SAMPLE / "flair.nii.gz")
        middle = volume.shape[2] // 2
        place.mkdir()
        nib.save(volume.slicer[:, :, middle : middle + 3], place / "flair.nii.gz")
    return place


@part("The same as on the processor", 60)
def agreement(bench: Bench, add: Add) -> None:
    """Reconstructions in single precision, as detection makes them, and what half precision would change."""
    images = bench.slices(2 if bench.tiny else 8)
    cases: list[tuple[str, str, Callable[[str | torch.device], Detector]]] = []
    for name in bench.models:
        cases.append(
            (name, f"{bench.size}, random weights", lambda place, name=name: bench.detector(name, place))
        )
    if not bench.tiny:  # trained weights: the maps of real slices
        for name in (*bench.models, DEFAULT_MODEL):
            cases.append((name, "as bundled", lambda place, name=name: load_model(name, place)))
    for name, kind, load in cases:
        there, here = load(bench.device), load("cpu")
        side = there.card.spec.image_size
        batch = nn.functional.interpolate(images, side) if side != images.shape[-1] else images
        expected, found = here.reconstruct(batch), there.reconstruct(batch)
        with tf32(False):
            exact = there.reconstruct(batch)
        with torch.no_grad(), torch.autocast(bench.device.type, torch.bfloat16):
            half = there.module(batch.to(bench.device), sample=False).reconstruction
        full = there.module(batch.to(bench.device), sample=False).reconstruction
        row: Row = {
            "model": name,
            "size": kind,
            "fp32": far(found, expected),
            "fp32 without TF32": far(exact, expected),
            "bf16, largest": far(half, full),
            "bf16, mean": float((half.float() - full.float()).abs().mean()),
        }
        agrees = row["fp32"] <= SAME
        if there.card.spec.network.divergent:
            one, other = here.kl_gradient(batch), there.kl_gradient(batch)
            row["KL gradient, relative"] = far(one, other) / float(one.abs().max())
            agrees = agrees and row["KL gradient, relative"] <= 10 * SAME
        add(**row, ok=agrees and bool(torch.isfinite(half).all()))


@part("Lines that only a GPU runs: what makes them run", 60, record=True)
def lines(bench: Bench, add: Add) -> None:
    """Every use of the package that takes another way on a GPU, each by itself."""

    def attempt(what: str, function: Callable[[], Any]) -> None:
        try:
            found = function()
        except Exception as error:  # one broken way must not hide the others
            add(what=what, result=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}", ok=False)
        else:
            add(what=what, result="as it should be" if found is None else str(found), ok=True)

    device = bench.device
    with tempfile.TemporaryDirectory() as name, recorded(bench.hits):
        folder = Path(name)
        for what, function in _uses(bench, folder).items():
            attempt(what, function)
        attempt("names of the device", lambda: _names(device))


def _names(device: torch.device) -> str:
    from napari_cead.detection.provenance import device_name, threads_on

    assert (threads_on(str(device)) is None) == (device.type != "cpu")
    return device_name(str(device))


def _uses(bench: Bench, folder: Path) -> dict[str, Callable[[], Any]]:
    device = bench.device
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    models = ("ae", "ce-vae1", "ce-vq-vae") if len(bench.models) > 1 else bench.models

    def refused(function: Callable[[], Any]) -> str:
        try:
            function()
        except ParameterError as error:
            return f"refused: {error}"
        raise AssertionError("it was not refused")

    def chosen() -> None:
        assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else pick_device("auto").type)
        assert pick_device(str(device)) == device

    def workers() -> str:
        from napari_cead.tasks import _environment, _gpus

        assert _gpus("cpu") == []
        found = _gpus("auto")
        assert len(found) == count and (not count or _gpus("cuda:0") == found[:1])
        return f"a worker per GPU: {[_environment(1, gpu) for gpu in found] or 'none'}"

    def corruptions() -> str:
        from napari_cead.corruption.mixtures import corrupt, corruption_called, corruption_names
        from napari_cead.training import Augmentation, augment

        images = bench.slices(2).to(device)
        source = torch.Generator(device).manual_seed(0)
        for kind in corruption_names():
            with torch.autocast(device.type, torch.bfloat16):
                made = corrupt(images, corruption_called(kind), source).images
            assert made.device == images.device and bool(torch.isfinite(made).all()), kind
        assert augment(images, Augmentation(), source).device == images.device
        return ", ".join(corruption_names())

    def half() -> str:
        from napari_cead.models.resampling import resampling_matrix

        with torch.autocast(device.type, torch.bfloat16):
            matrix = resampling_matrix(5, 9, torch.zeros(1, device=device))
        assert matrix.dtype == torch.float32
        return "distances and resampling stay in single precision"

    def scores() -> str:
        from napari_cead.detection import available_scores

        patient, found = load_patient(scan(bench, folder)), []
        for name in ("ce-vae1",) if bench.tiny else ("ce-vae1", DEFAULT_MODEL):
            detector = load_model(name, device)
            wanted = available_scores(detector.card)
            made = detect_run(patient, detector, score=wanted)
            again = detect_run(patient, load_model(name, device), score=wanted)
            assert made.device == str(device) and not made.warnings
            for score in wanted:
                one, other = made.anomaly_map(score), again.anomaly_map(score)
                assert np.isfinite(one).all() and np.array_equal(one, other), (
                    f"{score} does not repeat exactly"
                )
                found.append(score)
        return f"{len(found)} maps, the second time bit for bit the same"

    def trains(model: str, **more: Any) -> Callable[[], str]:
        return lambda: _trained(bench, folder, model, **more)

    def too_many() -> str:
        store = _store(bench, folder)
        settings = _settings(bench, models[0])
        many = Hardware(device=device.type, devices=count + 1)
        return refused(lambda: train(settings, store, folder / "many", hardware=many))

    uses: dict[str, Callable[[], Any]] = {
        "the device by name": chosen,
        "corruptions and augmentation, in bf16": corruptions,
        "what stays in single precision": half,
        "all scores of a model, twice": scores,
        "one worker of a cluster per GPU": workers,
        f"training {models[0]}, slices read as needed": trains(models[0], data="loader"),
    }
    if count:
        uses["a GPU that there is not"] = lambda: refused(lambda: pick_device(f"cuda:{count}"))
        uses["more GPUs than there are"] = too_many
        uses[f"training {models[0]} on cuda:0, slices where they fit"] = trains(
            models[0], data="auto", place="cuda:0"
        )
    for model in models if bench.tiny else (*models, DEFAULT_MODEL):
        uses[f"training {model}, bf16"] = trains(model, precision="bf16")
    uses[f"training {models[0]}, fp32, stopped and resumed"] = trains(models[0], precision="32", again=True)
    if not bench.tiny:
        uses["stripping a skull"] = lambda: _stripped(device)
    return uses


def _stripped(device: torch.device) -> str:
    from napari_cead.preparing.strippers import HeadScan, find_stripper

    patient = load_patient(SAMPLE)
    scan = HeadScan(patient.volume(), patient.grid, patient.sequence, patient.name)
    stripper = find_stripper("deepbet")
    one, other = (stripper.extract(scan, device=place) for place in (str(device), "cpu"))
    shared = 2 * (one & other).sum() / max(1, one.sum() + other.sum())
    assert shared > 0.99, f"Dice of the two brains {shared:.3f}"
    return f"Dice of the brains of both devices {shared:.4f}"


def _settings(bench: Bench, model: str, **more: Any) -> Any:
    size = {"size": "small", "image_size": bench.side} if bench.tiny else {"size": "small"}
    values: dict[str, Any] = {"epochs": 2, "batch_size": 4, "precision": "32", "schedule": "constant"}
    if model != DEFAULT_MODEL:
        values |= size
    return training_settings(model, **(values | more))


def _store(bench: Bench, folder: Path, side: int | None = None) -> SliceStore:
    place = folder / f"store{side or bench.side}"
    if place.is_dir():
        return SliceStore.open(place)
    images = bench.slices(16 if bench.tiny else 64)
    if side and side != images.shape[-1]:
        images = nn.functional.interpolate(images, side)
    return loops.write_store(place, (255 * images[:, 0]).round().byte().numpy())


def _trained(
    bench: Bench,
    folder: Path,
    model: str,
    *,
    again: bool = False,
    precision: str = "32",
    data: str = "device",
    place: str | None = None,
) -> str:
    """Train for two epochs; ``again``: the second one after a break, and both ways have to come to the same loss."""
    settings = _settings(bench, model, precision=precision)
    store = _store(bench, folder, settings.spec.image_size)
    hardware = Hardware(
        device=place or str(bench.device),
        data=data,  # type: ignore[arg-type]
        workers=0 if bench.tiny else 2,
    )
    made = train(settings, store, folder / f"{model}-{precision}-{data}", hardware=hardware)
    losses = [entry["train_loss"] for entry in made.history]
    assert np.isfinite(losses).all() and made.run.load_checkpoint() is not None
    if again:
        run = folder / f"{model}-again"
        train(settings.model_copy(update={"epochs": 1}), store, run, hardware=hardware)
        rest = train(settings, store, run, hardware=hardware, resume=True)
        resumed = rest.history[-1]["train_loss"]
        assert abs(resumed - losses[-1]) <= SAME * abs(losses[-1]), f"loss {resumed}, unbroken {losses[-1]}"
    return f"loss {losses[0]:.4g}, then {losses[-1]:.4g}"


@contextmanager
def shortage(bench: Bench, module: nn.Module, slices: int, room: int = 0) -> Iterator[None]:
    """Let memory end: a GPU gives ``room`` bytes more; elsewhere passes of more than ``slices`` slices fail."""
    if bench.device.type == "cuda":
        gc.collect()  # what an earlier run left in circles would come free meanwhile
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(bench.device).total_memory
        most = torch.cuda.memory_reserved(bench.device) + room
        torch.cuda.set_per_process_memory_fraction(min(1.0, most / total), bench.device)
        taken = [] if room else _everything(bench.device)
        try:
            yield
        finally:
            taken.clear()
            torch.cuda.set_per_process_memory_fraction(1.0, bench.device)
            torch.cuda.empty_cache()
        return

    def refuse(module: nn.Module, arguments: tuple[Any, ...], *rest: Any) -> None:
        if len(arguments[0]) > slices:
            raise torch.OutOfMemoryError(f"CUDA out of memory (simulated, {len(arguments[0])} slices)")

    hook = module.register_forward_pre_hook(refuse)
    try:
        yield
    finally:
        hook.remove()


def _everything(device: torch.device) -> list[Tensor]:
    """Take what is left of the memory that PyTorch holds already."""
    taken: list[Tensor] = []
    for size in (2**24, 2**20, 2**16, 2**9):
        while True:
            try:
                taken.append(torch.empty(size, dtype=torch.uint8, device=device))
            except torch.OutOfMemoryError:
                break
    return taken


def _peak(bench: Bench, function: Callable[[], Any]) -> int:
    """Return how many bytes more than before a function takes at its peak; 0 on a processor."""
    if bench.device.type != "cuda":
        function()
        return 0
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved(bench.device)
    torch.cuda.reset_peak_memory_stats(bench.device)
    function()
    return torch.cuda.max_memory_reserved(bench.device) - before


@part("Memory that ends", 40, record=True)
def memory(bench: Bench, add: Add) -> None:
    """Detection and training with half of the memory that they ask for, and detection with none."""
    with tempfile.TemporaryDirectory() as name, recorded(bench.hits):
        folder = Path(name)
        _detection_short(bench, add, folder, none=False)
        _detection_short(bench, add, folder, none=True)
        _training_short(bench, add, folder)


def _detection_short(bench: Bench, add: Add, folder: Path, *, none: bool) -> None:
    patient, asked = load_patient(scan(bench, folder)), 2 if bench.tiny else 128
    detector = load_model("ce-vae1", bench.device)
    peak = _peak(bench, lambda: detect_run(patient, detector, batch_size=asked))
    if none and bench.device.type == "cpu":
        return
    with shortage(bench, detector.module, asked // 2, 0 if none else peak // 2):
        made = detect_run(patient, detector, batch_size=asked)
    place = "cpu" if none else str(bench.device)
    like = detect_run(patient, load_model("ce-vae1", place), batch_size=made.batch_size)
    same = float(np.abs(made.anomaly_map("residual") - like.anomaly_map("residual")).max())
    taken = f"{made.batch_size} slices at a time on {made.device}"
    moved = made.device == "cpu" if none else made.batch_size < asked
    add(
        what=f"detection, {asked} slices at a time, {'no' if none else 'half the'} memory",
        result=taken,
        said="; ".join(made.warnings),
        difference=same,
        ok=moved and bool(made.warnings) and same == 0.0,
    )


def _training_short(bench: Bench, add: Add, folder: Path) -> None:
    model, batch = ("ae", 4) if bench.tiny else ("ae", 32)
    settings = _settings(bench, model, batch_size=batch, epochs=1)
    store = _store(bench, folder)
    hardware = Hardware(device=str(bench.device))
    free = []
    peak = _peak(bench, lambda: free.append(train(settings, store, folder / "free", hardware=hardware)))
    notes: list[str] = []

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "note":
            notes.append(event["message"])

    from napari_cead.training.network import Objective

    original = Objective.forward

    def forward(self: Objective, images: Tensor, *rest: Any, **named: Any) -> Any:
        if bench.device.type != "cuda" and len(images) > batch // 2:
            raise torch.OutOfMemoryError("CUDA out of memory (simulated)")
        return original(self, images, *rest, **named)

    Objective.forward = forward  # type: ignore[method-assign]
    try:
        with shortage(bench, nn.Identity(), batch, int(0.6 * peak)):
            short = train(settings, store, folder / "short", hardware=hardware, on_event=on_event)
    finally:
        Objective.forward = original  # type: ignore[method-assign]
    one, other = (made.history[-1]["train_loss"] for made in (free[0], short))
    add(
        what=f"training, {batch} slices at a time, 60 % of the memory",
        result=f"loss {other:.6g}, with all memory {one:.6g}",
        said="; ".join(notes),
        difference=abs(one - other) / abs(one),
        ok=any("out of memory" in note for note in notes) and abs(one - other) <= 10 * SAME * abs(one),
    )


def _model(bench: Bench) -> str:
    return "ce-vae1" if bench.tiny else DEFAULT_MODEL


def _command(bench: Bench, out: Path, device: str) -> list[str]:
    return [
        *(sys.executable, "-m", "napari_cead", "detect", str(scan(bench, out.parent))),
        *("--model", _model(bench), "--out", str(out), "--device", device),
    ]


def _map(folder: Path) -> NDArray[np.float32]:
    import nibabel as nib

    (file,) = folder.rglob("anomaly_map.nii.gz")
    return np.asarray(nib.load(file).dataobj, dtype=np.float32)


@part("A patient, from files to files", 40)
def patient(bench: Bench, add: Add) -> None:
    """The command, and a second detection in a process that is warm."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        maps, seconds = {}, {}
        for place in dict.fromkeys((str(bench.device), "cpu")):
            start = time.perf_counter()
            subprocess.run(
                _command(bench, folder / place, place), check=True, capture_output=True, timeout=bench.left()
            )
            seconds[place], maps[place] = time.perf_counter() - start, _map(folder / place)
            kept = next((folder / place).rglob("detection.json"))
            used = json.loads(kept.read_text(encoding="utf-8"))["device"]
            add(what=f"`detect --device {place}`", seconds=round(seconds[place], 2), said=str(used))
        difference = float(np.abs(maps[str(bench.device)] - maps["cpu"]).max())
        share = float((np.abs(maps[str(bench.device)] - maps["cpu"]) > SAME).mean())
        # A score that ranks or looks through slices can jump where two voxels change places.
        add(what="maps of both devices", difference=difference, over=share, ok=share <= 1e-3)
        detector = load_model(_model(bench), bench.device)
        found = load_patient(scan(bench, folder))
        for turn in ("first", "second"):
            start = time.perf_counter()
            detect(found, detector)
            add(what=f"{turn} detection in one process", seconds=round(time.perf_counter() - start, 3))


@part("Two processes on one device", 40)
def two(bench: Bench, add: Add) -> None:
    """Two commands at the same time give what one gives, and so do a training and a detection."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        subprocess.run(
            _command(bench, folder / "alone", str(bench.device)),
            check=True,
            capture_output=True,
            timeout=bench.left(),
        )
        alone = time.perf_counter() - start
        start = time.perf_counter()
        running = [
            subprocess.Popen(
                _command(bench, folder / name, str(bench.device)),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for name in ("one", "other")
        ]
        said = [process.communicate(timeout=max(1.0, bench.left()))[1] for process in running]
        together = time.perf_counter() - start
        if any(process.returncode for process in running):
            add(what="both end well", said=" | ".join(said)[-300:], ok=False)
            return
        expected = _map(folder / "alone")
        same = all(np.array_equal(_map(folder / name), expected) for name in ("one", "other"))
        add(
            what="two detections at once",
            alone_s=round(alone, 2),
            together_s=round(together, 2),
            said="both maps are bit for bit the lone one" if same else "the maps differ from the lone one",
            ok=same,
        )
        _training_beside(bench, add, folder, expected)


def _training_beside(bench: Bench, add: Add, folder: Path, expected: NDArray[np.float32]) -> None:
    """Train for an epoch, and again and again as long as a detection runs in another process."""
    settings = _settings(bench, "ce-vae1", epochs=1)
    store = _store(bench, folder, settings.spec.image_size)
    hardware = Hardware(device=str(bench.device), workers=0)

    def loss() -> float:
        with tempfile.TemporaryDirectory(dir=folder) as run:
            history = train(settings, store, Path(run) / "run", hardware=hardware).history
        return float(history[-1]["train_loss"])

    alone, beside = loss(), list[float]()
    running = subprocess.Popen(
        _command(bench, folder / "beside", str(bench.device)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not beside or running.poll() is None:
        beside.append(loss())
    said = running.communicate()[1]
    if running.returncode:
        add(what="a detection beside a training ends well", said=said[-300:], ok=False)
        return
    same = np.array_equal(_map(folder / "beside"), expected)
    difference = max(abs(each - alone) / abs(alone) for each in beside)
    add(
        what="a training and a detection at once",
        epochs=len(beside),
        difference=difference,
        said="the map is bit for bit the lone one" if same else "the map differs from the lone one",
        ok=same and difference <= SAME,
    )


@part("Detection, slices a second", 60)
def detection(bench: Bench, add: Add) -> None:
    """Groups of 32 as the package sends them, against one slice at a time as PyTorch builds the network."""
    longest = min(1.5, bench.seconds / (4 * len(bench.models)))
    images = bench.slices(2 if bench.tiny else 64)
    peak = _product(bench)
    for name in bench.models:
        network, detector = bench.network(name).to(bench.device), bench.detector(name, bench.device)
        flops = flops_of_pass(detector.module)

        def plain(network: nn.Module = network) -> int:
            few = images[:2] if bench.tiny else images[:16]
            with torch.no_grad():
                for image in few:
                    network(image[None].to(bench.device), sample=False).reconstruction.cpu().numpy()
            return len(few)

        def ours(detector: Detector = detector) -> int:
            for group in images.split(32):
                detector.reconstruct(group).cpu().numpy()
            return len(images)

        def half(detector: Detector = detector) -> int:
            with torch.no_grad(), torch.autocast(bench.device.type, torch.bfloat16):
                for group in images.split(32):
                    detector.module(group.to(bench.device), sample=False).reconstruction.float().cpu().numpy()
            return len(images)

        slow, fast, halved = (bench.per_second(function, longest) for function in (plain, ours, half))
        add(
            model=name,
            plain=round(slow, 1),
            ours=round(fast, 1),
            ratio=round(fast / slow, 2),
            bf16=round(halved, 1),
            gflop_per_slice=round(flops / 1e9, 3),
            share_of_bf16_peak=round(flops * fast / peak, 4),
            share_of_bf16_peak_in_bf16=round(flops * halved / peak, 4),
        )


def flops_of_pass(module: nn.Module) -> int:
    """Count the operations of the products and convolutions of one slice, forwards."""
    side = module.spec.image_size
    with torch.device("meta"):
        network, image = build(module.spec), torch.zeros(1, 1, side, side)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(image, sample=False)
    return int(counter.get_total_flops())


def _product(bench: Bench) -> float:
    timed = loops.product_timer(bench.device, bench.product)
    return max(timed() for _ in range(3))


@part("Training, slices a second", 170)
def speed(bench: Bench, add: Add) -> None:
    """``training.py``, with few updates."""
    _compare(bench, add, bench.models, compiled=False)


@part("Training, compiled", 60)
def compiled(bench: Bench, add: Add) -> None:
    """The same with ``--compile``, of one design."""
    _compare(bench, add, ("ce-vae1",), compiled=True)


FIGURES = (
    "precision",
    "baseline_slices_per_second",
    "ours_slices_per_second",
    "ratio",
    "gflop_per_slice",
    "peak_tflops",
    "share_of_peak",
    "agreement",
    "agreement_chosen",
    "minutes_of_paper_schedule",
)


def _compare(bench: Bench, add: Add, models: tuple[str, ...], *, compiled: bool) -> None:
    arguments = argparse.Namespace(
        device=str(bench.device),
        size=bench.size,
        batch_size=2 if bench.tiny else 64,
        steps=1 if bench.tiny else 12,
        repeats=1 if bench.tiny else 2,
        workers=[0] if bench.tiny else [max(2, min(8, (os.cpu_count() or 2) // 2))],
        compile=compiled,
        product=bench.product,
        no_augmentation=False,
    )
    slices = loops.make_slices(max(loops.VALIDATION, arguments.steps * arguments.batch_size))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loops.write_store(folder / "store", slices)
        loops.write_pngs(folder / "png", slices)
        for model in models:
            try:
                found = loops.compare(model, arguments, folder, slices)
            except (Exception, SystemExit) as error:  # the other designs go on
                add(
                    model=model,
                    said=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
                    ok=False,
                )
                continue
            add(model=model, **{name: found[name] for name in FIGURES})
            if bench.device.type == "cuda":
                torch.cuda.empty_cache()
