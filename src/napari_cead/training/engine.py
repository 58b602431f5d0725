"""The training engine: Lightning Fabric for devices, precision and processes, and a short loop of our own.

The loop is our own because the slices lie on the device, and because a resumed run must be identical bit for bit: the
order of the slices depends only on seed and epoch, and all other random numbers come from generators whose states are
part of the checkpoint.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..devices import pick_device
from ..errors import (
    Cancelled,
    CeadError,
    CeadWarning,
    ModelError,
    ParameterError,
    RunError,
    RunNotFoundError,
    StoreError,
    extra,
    why,
)
from ..models import build
from ..progress import Stop
from ..runs.events import EventFile, Listener
from ..runs.requests import Discarded, Paused, clear
from ..runs.run_folder import Epoch, RunFolder
from ..runs.training_settings import Hardware, TrainingSettings
from ..store.preprocessing import check_prepared
from ..store.store import SliceStore
from ..zoo import ModelCard, Parent, find_model, load_card, load_model
from .loggers import loggers_of
from .loop import Job, work

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training.

    Attributes:
        run: The run's folder, with the weights of the best epoch.
        history: One entry per epoch, as in its log.
        best_epoch: The epoch with the smallest loss on healthy validation slices.
        early: Whether it ended before the last epoch because that loss no longer fell.
        asked: Whether it ended before the last epoch on a request to keep the best epoch so far.
    """

    run: RunFolder
    history: list[Epoch]
    best_epoch: int
    early: bool
    asked: bool = False


def train(
    settings: TrainingSettings,
    data: SliceStore | str | Path,
    out: str | Path | RunFolder,
    *,
    init_from: str | Path | None = None,
    resume: bool = False,
    hardware: Hardware | None = None,
    events: str | Path | None = None,
    on_event: Listener | None = None,
    should_stop: Stop | None = None,
    requests_since: float | None = None,
    loggers: str | None = None,
) -> TrainingResult:
    """Train a network on the healthy slices of a store and keep its best epoch by the loss on validation slices.

    Args:
        settings: The settings that determine the weights.
        data: The slice store, or its path.
        out: The run's folder, or a run whose lock is already held.
        init_from: Model to start from (fine-tuning): a name or a folder; None: random weights.
        resume: Whether to continue the run in ``out`` from its last checkpoint.
        hardware: The hardware to run on.
        events: File to append events to, a line of JSON each.
        on_event: Called with each event in the process of rank 0; picklable if there are several processes.
        should_stop: Called before each update (with several processes: after each epoch); if true a checkpoint is
            written and ``Cancelled`` raised.
        requests_since: Requests to this run (:mod:`~napari_cead.runs.requests`) before this time, in seconds since
            1970, are ignored; None: before this call.
        loggers: Names of loggers with commas, beside ``log.csv``; None: TensorBoard, if it is installed.

    Raises:
        StoreError: If the store is damaged, holds no healthy slices to train or to validate on, or was prepared
            differently from the slices of the model to start from.
        ParameterError: If its slices do not have the network's size, or there is no such logger.
        MissingExtraError: If a logger is asked for that is not installed.
        RunError: If another run or process is in ``out``, if the run to resume has other settings or data, if its
            checkpoint is damaged, or if the loss is no longer finite.
        ModelError: If the model to start from cannot be used.
        OutputError: If the run cannot be written.
        Cancelled: If ``should_stop`` returned true.
        Paused: On a request to pause, or to keep a model of a run without a finished epoch.
        Discarded: On a request to discard the run; whoever made it removes the folder.
    """
    hardware = hardware or Hardware()
    store = data if isinstance(data, SliceStore) else SliceStore.open(data)
    run = out if isinstance(out, RunFolder) else RunFolder(out)
    again = resume and run.exists()
    fabric = check_start(settings, store, init_from=init_from, hardware=hardware, resumed=again)
    launched = rank_of_launcher()
    if resume and launched == 0:
        check_resume(run, settings, store)
        if run.is_over():
            raise _over(run)
    parent = None if init_from is None else _parent(init_from, store)
    listeners = [*run.listeners, *([on_event] if on_event else []), *([EventFile(events)] if events else [])]
    job = Job(
        settings=settings,
        store=store.path,
        run=run.path,
        init_from=None if init_from is None else str(init_from),
        hardware=hardware,
        listeners=tuple(listeners),
        should_stop=should_stop,
        requests_since=time.time() if requests_since is None else requests_since,
        loggers=loggers_of(loggers),
    )
    if launched:  # another process of this training holds the lock
        return _result(run, fabric.launch(work, job))  # type: ignore[arg-type]
    with run.locked():
        if resume and run.exists():
            run.replan(settings)
        else:
            chain = (
                () if parent is None else (Parent(name=parent.name, sha256=parent.sha256), *parent.parents)
            )
            run.create(settings, store.path, store.fingerprint, chain, parent)
        return _result(run, _guarded(fabric, job))


def check_start(
    settings: TrainingSettings,
    data: SliceStore | None = None,
    *,
    init_from: str | Path | None = None,
    hardware: Hardware | None = None,
    resumed: bool = False,
) -> Fabric:
    """Refuse a training that cannot begin, before anything is written for it.

    Args:
        settings: The settings that determine the weights.
        data: The slice store; None: it is not prepared yet.
        init_from: Model to start from.
        hardware: The hardware to run on.
        resumed: Whether it resumes a run, which knows its starting point.

    Returns:
        Fabric for the requested devices.

    Raises:
        StoreError: If the store holds no healthy slices to train or to validate on, or was prepared differently from
            the slices of the model to start from.
        ParameterError: If its slices do not have the network's size, if there are no such devices, or if a frozen
            encoder would have random weights.
        ModelError: If the model to start from has other layers.
    """
    if settings.freeze_encoder and init_from is None and not resumed:
        raise ParameterError(
            "the encoder that would stay as it is (--freeze-encoder) has learned nothing yet",
            hint="name the model to fine-tune (--init-from), or train the encoder too",
        )
    if init_from is not None:
        card = load_card(find_model(init_from))
        if data is not None:
            check_prepared(data.settings, card.preprocessing, card.name, data.path)
        _check_layers(card, init_from, settings)
    if data is not None:
        _check_store(data, settings)
    with extra("train", "Training"):
        return _fabric(settings, hardware or Hardware())


def _check_layers(card: ModelCard, init_from: str | Path, settings: TrainingSettings) -> None:
    if not card.spec.network.trainable:
        raise ModelError(
            "an ensemble is not trained itself", file=init_from, hint="start from one of its members"
        )
    with torch.device("meta"):
        shapes, wanted = (
            {name: tensor.shape for name, tensor in build(spec).state_dict().items()}
            for spec in (card.spec, settings.spec)
        )
    if shapes != wanted:
        raise ModelError(
            f"it has other layers than {settings.spec.name} of size {settings.spec.size}",
            file=init_from,
            hint=f"train {card.spec.name} --size {card.spec.size}, or start from another model",
        )


def _guarded(fabric: Fabric, job: Job) -> dict[str, Any]:
    """Launch the work; an error in another process becomes one sentence here, too."""
    from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

    try:
        result: dict[str, Any] = fabric.launch(work, job)  # type: ignore[arg-type]
    except (CeadError, Cancelled, KeyboardInterrupt):
        raise
    except ProcessRaisedException as error:
        last = str(error).strip().splitlines()[-1]
        raise RunError(re.sub(r"^[\w.]+: ", "", last)) from error
    except ProcessExitedException as error:
        raise RunError(
            f"a training process ended unexpectedly ({error})", file=job.run, hint="add --resume to continue"
        ) from error
    return result


def _result(run: RunFolder, found: dict[str, Any]) -> TrainingResult:
    asked = found["asked"]
    if asked == "discard":  # the request stays until the requester has removed the run
        raise Discarded
    clear(run.path)
    if asked == "pause":
        raise Paused
    if asked == "stop":
        raise Cancelled
    return TrainingResult(run, found["history"], found["best_epoch"], found["early"], asked == "finish")


def rank_of_launcher() -> int:
    """Return this process's rank if a launcher (torchrun, SLURM) started several, else 0."""
    for name in ("RANK", "SLURM_PROCID"):
        if os.environ.get(name, "").isdecimal():
            return int(os.environ[name])
    return 0


def _check_store(store: SliceStore, settings: TrainingSettings) -> None:
    if store.settings.image_size != settings.spec.image_size:
        raise ParameterError(
            f"the slices are {store.settings.image_size} pixels wide, but the network takes {settings.spec.image_size}",
            hint=f"give --image-size {store.settings.image_size}, or prepare another store with --image-size "
            f"{settings.spec.image_size}",
        )
    for part, count in (
        ("train", len(store.healthy_rows("train"))),
        ("validation", len(store.healthy_rows("validation"))),
    ):
        if not count:
            raise StoreError(
                f"there are no healthy slices in the {part} part",
                file=store.path,
                hint="prepare more patients, or add --assume-healthy if the unlabelled ones are healthy",
            )


def check_resume(run: RunFolder, settings: TrainingSettings, store: SliceStore | None = None) -> None:
    """Refuse to resume a run with other settings or data.

    Args:
        run: The run.
        settings: The settings to continue with.
        store: The slices; None: they are not known yet.

    Raises:
        RunError: If it was started with others, or there is nothing to continue.
    """
    plan = run.plan() if run.exists() else None
    if plan is None:
        if not run.path.is_dir():
            raise RunNotFoundError(
                "there is no training run here", file=run.path, hint="check --out, or leave out --resume"
            )
        return  # it ended before it began: nothing is lost
    if changed := plan.settings.differences(settings):
        name = changed[0]
        was, now = getattr(plan.settings, name), getattr(settings, name)
        if changed == ["epochs"]:
            raise RunError(
                f"the run here was started with epochs {was}, not {now}: its learning rate falls along them (schedule "
                f"{settings.schedule}), so more of them would be another training",
                file=run.path,
                hint=f"train {now} epochs into another --out, or fine-tune its model with --init-from",
            )
        if name == "spec":
            was, now = f"{was.name} ({was.size})", f"{now.name} ({now.size})"
        raise RunError(
            f"the run here was started with {name.replace('_', ' ')} {was}, not {now}",
            file=run.path,
            hint="resume it with its original settings, or choose another --out",
        )
    if run.is_over() and plan.current != settings:
        raise _over(run)
    if settings.epochs < (done := run.epochs_done()):
        raise RunError(
            f"{done} epochs are done here, more than {settings.epochs}",
            file=run.path,
            hint=f"resume it with --epochs {done} or more, or train {settings.epochs} into another --out",
        )
    if store is not None and plan.fingerprint != store.fingerprint:
        raise RunError(
            f"the run here was started with other data ({plan.data})",
            file=run.path,
            hint="resume it with the same store, unchanged, or choose another --out",
        )


def _over(run: RunFolder) -> RunError:
    return RunError(
        "the run is finished, and its checkpoint was not kept",
        file=run.path,
        hint=f"fine-tune its model with --init-from {run.model}; another time, add --keep-checkpoint",
    )


def _parent(init_from: str | Path, store: SliceStore) -> ModelCard:
    """Return the card of the model to start from, after checking its weights."""
    detector = load_model(init_from, "cpu")
    was, now = detector.card.preprocessing.sequence, store.settings.sequence
    if was != now:
        warnings.warn(
            f"{detector.name} was trained on {was}, the store holds {now}",
            CeadWarning,
            stacklevel=3,
        )
    return detector.card


def _fabric(settings: TrainingSettings, hardware: Hardware) -> Fabric:
    """Return Fabric for the requested devices.

    Raises:
        ParameterError: If there are no such devices.
    """
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # what it set up is in the events
    device = pick_device(hardware.device)
    if hardware.devices < 1 or hardware.num_nodes < 1:
        raise ParameterError("the numbers of devices and machines start at 1", hint="give 1 or more")
    processes = hardware.devices * hardware.num_nodes
    if settings.batch_size < processes:
        raise ParameterError(
            f"a batch of {settings.batch_size} slices cannot be shared by {processes} processes",
            hint="use a larger --batch-size",
        )
    if device.type == "cuda" and hardware.devices > torch.cuda.device_count():
        raise ParameterError(
            f"{hardware.devices} GPUs were requested, but PyTorch sees {torch.cuda.device_count()}",
            hint="use fewer --devices",
        )
    strategy = hardware.strategy
    if strategy == "auto" and processes > 1:
        # Spawned processes return to this one when they are done; a launcher has already started them.
        strategy = "ddp" if hardware.num_nodes > 1 or "RANK" in os.environ else "ddp_spawn"
    devices: int | Sequence[int] = hardware.devices
    if device.type == "cuda" and device.index is not None and hardware.devices == 1:
        devices = [device.index]
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    if sys.platform == "win32":  # PyTorch asks for libuv there, and is built without it
        os.environ.setdefault("USE_LIBUV", "0")
    try:
        return Fabric(
            accelerator=device.type,
            devices=list(devices) if isinstance(devices, Sequence) else devices,
            num_nodes=hardware.num_nodes,
            strategy=strategy,
            precision=precision_of(device, settings.precision),  # type: ignore[arg-type]
        )
    except (ValueError, RuntimeError) as error:
        raise ParameterError(
            f"the devices cannot be set up ({why(error)})", hint="check --devices, --num-nodes and --strategy"
        ) from error


def precision_of(device: torch.device, wish: str) -> str:
    """Return Fabric's name of the precision: bf16 if the device supports it natively, unless ``wish`` differs."""
    native = False
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        native = bool(torch.cpu._is_avx512_bf16_supported())
    return "bf16-mixed" if wish == "bf16" or (wish == "auto" and native) else "32-true"
