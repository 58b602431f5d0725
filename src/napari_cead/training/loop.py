"""The loop itself: one process's share of a training."""

from __future__ import annotations

import math
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from ..errors import RunError
from ..progress import Stop
from ..runs.events import Listener
from ..runs.requests import Requests
from ..runs.run_folder import Epoch, RunFolder
from ..runs.training_settings import Hardware, TrainingSettings, rate
from ..store.store import SliceStore
from ..zoo import load_model
from .batches import batches_of, chances, order_of
from .network import TERMS
from .preview import Previews
from .record import Record
from .updating import Updater

if TYPE_CHECKING:
    from lightning_fabric import Fabric

TICK = 1.0
"""Seconds between two reads of the loss: each makes the CPU wait for the device."""

NAMES = ("loss", *TERMS[1:])
"""Names of the objective's terms in the log."""

CHEAP = 10
"""An epoch's checkpoint is left out if the last one took more than a tenth of the time since it was written."""


class Job(BaseModel):
    """The job of a training process; with several processes it is pickled.

    Not a dataclass: Lightning takes those apart on their way to another process, and refuses frozen ones.

    Attributes:
        settings: The settings that determine the weights.
        store: Path of the slice store.
        run: The run's folder.
        init_from: Model to start from.
        hardware: The hardware to run on.
        listeners: Called with each event by the first process.
        should_stop: Whether to stop.
        requests_since: Requests older than this (seconds since 1970) are ignored.
        loggers: Names of the loggers beside ``log.csv``.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    settings: TrainingSettings
    store: Path
    run: Path
    init_from: str | None = None
    hardware: Hardware = Hardware()
    listeners: tuple[Listener, ...] = ()
    should_stop: Stop | None = None
    requests_since: float = 0.0
    loggers: tuple[str, ...] = ()


class Asked(Exception):
    """A request to end: ``stop`` (this program), ``pause``, ``finish`` or ``discard``."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def work(fabric: Fabric, job: Job) -> dict[str, Any]:
    """Run one process's share of a training; see :meth:`Loop.run`."""
    return Loop(fabric, job).run()


class Loop(Updater):
    """One process's share of a training.

    Args:
        fabric: Lightning Fabric, launched.
        job: The job.
    """

    def __init__(self, fabric: Fabric, job: Job) -> None:
        self.job, settings, device = job, job.settings, fabric.device
        self.folder, store = RunFolder(job.run), SliceStore.open(job.store)
        self.folder.listeners = job.listeners
        self.record = Record(self.folder, fabric.global_rank == 0, job.loggers)
        self.data = batches_of(store, "train", device, job.hardware.data, job.hardware.workers)
        self.validation = batches_of(store, "validation", device, job.hardware.data, job.hardware.workers)
        self.batch = min(settings.batch_size, len(self.data))
        self.steps = len(self.data) // self.batch
        self.likely = chances(store, "train") if settings.balance == "folders" else None

        state = self.folder.load_checkpoint()
        weights = None
        if state is None and job.init_from is not None:
            weights = load_model(job.init_from, "cpu").module.state_dict()
        super().__init__(
            fabric,
            settings,
            store.settings.spacing,
            self.batch,
            weights,
            compile=job.hardware.compile,
            say=lambda message: self.record.say("note", message=message),
            run=job.run,
        )

        self.epoch = self.step_in_epoch = self.step = 0
        self.history: list[Epoch] = []
        self.best: dict[str, Tensor] | None = None
        self.best_epoch, self.best_loss, self.seconds = 0, math.inf, 0.0
        if state is not None:
            self._restore(state)
        self.started = self.saved = self.ticked = time.monotonic()
        self.checkpoint_cost = self.overhead = 0.0
        self.store = store
        self.requests = Requests(job.run, job.requests_since)
        spoil = self.spoil.again if settings.spec.denoising else None
        self.previews = Previews(job.run, store, spoil)

    def run(self) -> dict[str, Any]:
        """Train to the end, or until a request to end; then a checkpoint is written.

        Returns:
            ``history``, ``best_epoch``, ``early`` (the validation loss no longer fell) and ``asked``: None, or
            ``"stop"`` (``should_stop``), ``"pause"``, ``"finish"`` or ``"discard"`` (a request).

        Raises:
            RunError: If the loss is no longer finite.
        """
        settings = self.settings
        self.record.say(
            "start",
            model=settings.spec.name,
            size=settings.spec.size,
            family=settings.spec.family,
            settings=settings.model_dump(mode="json"),
            data=str(self.job.store),
            patients=len(self.store.patients_of("train")),
            validation_patients=len(self.store.patients_of("validation")),
            pid=os.getpid(),
            host=socket.gethostname(),
            slices=len(self.data),
            validation_slices=len(self.validation),
            epochs=settings.epochs,
            steps_per_epoch=self.steps,
            epoch=self.epoch,
            device=str(self.fabric.device),
            processes=self.fabric.world_size,
            precision=str(self.fabric._precision.precision),
            resumed=self.step > 0,
            best_epoch=self.best_epoch,
            best_loss=self.best_loss if self.best_epoch else None,
            train_loss=self.history[-1]["train_loss"] if self.history else None,
            validation_loss=self.history[-1]["validation_loss"] if self.history else None,
        )
        self.record.open_logs(settings.model_dump(mode="json"), self.epoch)
        early, asked = self._waited_enough(), None
        if early and self.epoch < settings.epochs:
            self.record.say(
                "note",
                message=f"training ended early: no epoch since {self.best_epoch} had a smaller validation loss, and "
                f"the patience is {settings.patience}; a larger --patience continues it",
            )
        try:
            while self.epoch < settings.epochs and not early:
                self._train_epoch()
                early = self._waited_enough()
        except Asked as request:
            asked = request.what
        finally:  # entries logged before a stop are not logged again
            self.record.close_logs()
        if asked == "finish" and not self.best_epoch:
            self.record.say("note", message="no epoch is finished, so there is no model to keep yet: paused")
            asked = "pause"
        if asked == "discard":
            self.record.say("discarded")
        elif asked in ("pause", "stop"):
            by = "request" if asked == "pause" else "interrupt"
            self.record.say("paused", epoch=self.epoch, step=self.step, by=by)
        else:
            self.record.say(
                "finish",
                epochs=self.epoch,
                best_epoch=self.best_epoch,
                early=early,
                asked=asked == "finish",
            )
        return {"history": self.history, "best_epoch": self.best_epoch, "early": early, "asked": asked}

    def _train_epoch(self) -> None:
        epoch, settings = self.epoch + 1, self.settings
        self.network.train()
        began, done_before = time.monotonic(), self.step_in_epoch
        rank, world = self.fabric.global_rank, self.fabric.world_size
        order = order_of(len(self.data), self.batch, settings.seed, epoch, rank, world, self.likely)
        learning_rate = self._rate(max(0, self.step - 1))
        for images in self.data.draw(order[self.step_in_epoch :]):
            if self.fabric.world_size == 1:
                self._obey(self._asked())
            learning_rate = self._rate(self.step)
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate
            self.update(images)
            self.step += 1
            self.step_in_epoch += 1
            now = time.monotonic()
            if now - self.ticked > TICK:
                self.ticked = now
                self._tick(began, done_before, learning_rate)
            if now - self.saved > 60 * self.job.hardware.checkpoint_minutes and self.fabric.world_size == 1:
                self._checkpoint()
        train_terms = self._mean(self.running / max(1, self.step_in_epoch))
        trained = time.monotonic()
        speed = (self.step_in_epoch - done_before) * self.batch / max(1e-9, trained - began)
        if self.step_in_epoch == done_before and self.history:  # it had been stopped during validation
            speed = self.history[-1]["slices_per_second"]
        validation_terms = self._validate()
        used = None if self.tracker is None else self.tracker.end_epoch(generator=self.generator)
        self._check_finite((*train_terms, *validation_terms))
        self.epoch, self.step_in_epoch = epoch, 0
        self.running.zero_()
        entry: Epoch = {
            "epoch": epoch,
            "step": self.step,
            "learning_rate": learning_rate,
            "train_loss": train_terms[0],
            "train_reconstruction": train_terms[1],
            "train_latent": train_terms[2],
            "train_context": train_terms[3],
            "validation_loss": validation_terms[0],
            "validation_reconstruction": validation_terms[1],
            "validation_latent": validation_terms[2],
            "seconds": round(self._elapsed(), 3),
            "slices_per_second": round(speed, 1),
        }
        entry |= settings.spec.network.epoch_figures(
            settings, dict(zip(TERMS, validation_terms, strict=True))
        )
        if settings.spec.predicts_lesion:
            entry["train_lesion"], entry["validation_lesion"] = train_terms[4], validation_terms[4]
        if self.tracker is not None and used is not None:
            entry[self.tracker.figure] = used
        self.history.append(entry)
        if validation_terms[0] < self.best_loss:
            self.best_loss, self.best_epoch = validation_terms[0], epoch
            self.best = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        last = epoch == self.settings.epochs or self._waited_enough()
        preview = None
        if self.record.first:
            autocast = self.fabric.autocast()
            preview = self.previews.draw(self.network, epoch, self.fabric.device, autocast, last=last)
        self.record.epoch(
            self.history,
            best_epoch=self.best_epoch,
            best_loss=self.best_loss,
            epochs=settings.epochs,
            preview=preview,
        )
        asked = self._asked() if self.fabric.world_size > 1 and not last else None
        if last or (asked is None and time.monotonic() - self.saved >= CHEAP * self.checkpoint_cost):
            self._checkpoint()
        self.overhead = time.monotonic() - trained
        self._obey(asked)

    @torch.no_grad()
    def _validate(self) -> list[float]:
        """Return the loss on healthy validation slices, all :data:`TERMS`.

        Without randomness; a denoiser's slices are corrupted in the same way in each epoch.
        """
        self.network.eval()
        fixed = self.spoil.fixed()
        count = len(self.validation)
        world, rank = self.fabric.world_size, self.fabric.global_rank
        mine = np.arange(rank, count, world)
        total = torch.zeros(len(TERMS), device=self.fabric.device, dtype=torch.float64)
        chunks = [mine[start : start + self.micro] for start in range(0, len(mine), self.micro)]
        for images in self.validation.draw(chunks):
            if world == 1:
                self._obey(self.requests.pending())
            total += self.judge(images, fixed).double() * len(images)
        if world > 1:
            total = self.fabric.all_reduce(total, reduce_op="sum")  # type: ignore[assignment]
        return [float(value) for value in total.cpu() / count]

    def _mean(self, terms: Tensor) -> list[float]:
        if self.fabric.world_size > 1:
            terms = self.fabric.all_reduce(terms.clone(), reduce_op="mean")  # type: ignore[assignment]
        return [float(value) for value in terms.cpu()]

    def _check_finite(self, values: tuple[float, ...]) -> None:
        if not all(math.isfinite(value) for value in values):
            raise RunError(
                f"the loss of {self.settings.spec.name} is no longer a finite number (epoch {self.epoch + 1}, "
                f"step {self.step})",
                file=self.job.run,
                hint="its last checkpoint is intact: start again with a lower --lr or with --clip 1",
            )

    def _waited_enough(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.epoch - self.best_epoch >= patience

    def _rate(self, step: int) -> float:
        settings = self.settings
        return settings.learning_rate * rate(step, settings.epochs * self.steps, settings.schedule)

    def _asked(self) -> str | None:
        """Return the request, the same in all processes."""
        asked: str | None = None
        if self.job.should_stop is not None and self.job.should_stop():
            asked = "stop"
        elif self.record.first:
            asked = self.requests.pending()
        if self.fabric.world_size > 1:
            asked = self.fabric.broadcast(asked)
        return asked

    def _obey(self, asked: str | None) -> None:
        """Leave the loop on a request, with a checkpoint if the run is to be resumed or kept."""
        if asked is None:
            return
        if asked != "discard":
            self._checkpoint()
        raise Asked(asked)

    def _elapsed(self) -> float:
        return self.seconds + time.monotonic() - self.started

    def _checkpoint(self) -> None:
        """Write everything needed to resume."""
        began = time.monotonic()
        states = self.generator.get_state()[None]
        running = self.running[None]
        if self.fabric.world_size > 1:
            states = self.fabric.all_gather(self.generator.get_state().to(self.fabric.device))  # type: ignore[assignment]
            running = self.fabric.all_gather(self.running)  # type: ignore[assignment]
        if self.record.first:
            state = {
                "epoch": self.epoch,
                "step": self.step,
                "step_in_epoch": self.step_in_epoch,
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "generators": states.cpu(),
                "running": running.cpu(),
                "tracker": {} if self.tracker is None else self.tracker.state_dict(),
                "history": self.history,
                "best_epoch": self.best_epoch,
                "best_loss": self.best_loss,
                "micro": self.micro,
                "seconds": self._elapsed(),
            }
            self._check_finite(tuple(float(value) for value in self.running.cpu()))
            self.folder.save_checkpoint(state, self.best, self.best_epoch, self.epoch, self.step)
            self.record.say("checkpoint", epoch=self.epoch, step=self.step)
        self.fabric.barrier()
        self.saved = time.monotonic()
        self.checkpoint_cost = self.saved - began

    def _restore(self, state: dict[str, Any]) -> None:
        rank = self.fabric.global_rank
        if len(state["generators"]) != self.fabric.world_size:
            raise RunError(
                f"the run was computed by {len(state['generators'])} processes, not {self.fabric.world_size}",
                file=self.job.run,
                hint="resume it with the same --devices and --num-nodes",
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generators"][rank].clone())  # its own storage: a view is misread
        self.running.copy_(state["running"][rank])
        if self.tracker is not None:
            self.tracker.load_state_dict(state["tracker"])
        self.epoch, self.step, self.step_in_epoch = state["epoch"], state["step"], state["step_in_epoch"]
        self.history, self.seconds = list(state["history"]), state["seconds"]
        self.best_epoch, self.best_loss, self.micro = state["best_epoch"], state["best_loss"], state["micro"]
        if self.record.first and self.best_epoch:
            self.best = self.folder.load_best()

    def _tick(self, began: float, done_before: int, learning_rate: float) -> None:
        terms = [float(value) / self.step_in_epoch for value in self.running.cpu()]
        self._check_finite((terms[0],))
        speed = (self.step_in_epoch - done_before) * self.batch / max(1e-9, time.monotonic() - began)
        left = (self.settings.epochs * self.steps - self.step) * self.batch / max(speed, 1e-9)
        left += (self.settings.epochs - self.epoch) * self.overhead
        self.record.say(
            "step",
            epoch=self.epoch + 1,
            step=self.step,
            steps=self.settings.epochs * self.steps,
            **{f"train_{name}": value for name, value in zip(NAMES, terms, strict=True)},
            learning_rate=learning_rate,
            slices_per_second=round(speed, 1),
            seconds_left=round(left, 1),
        )
