"""The loop itself: one process's share of a training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from ..errors import Cancelled, RunError
from ..models.vqvae import VectorQuantisedAutoencoder
from ..zoo import load_model
from .augmentation import augment
from .batches import batches_of, order_of
from .codebook import CodebookTracker
from .corruption import corrupt
from .events import Listener
from .network import Objective, initial_network, quantised
from .record import Record
from .runs import Epoch, RunFolder
from .settings import Hardware, TrainingSettings, rate
from .store import SliceStore

if TYPE_CHECKING:
    from lightning.fabric import Fabric

TICK = 1.0
"""Seconds between two looks at the loss: each makes the processor wait for the device."""

CHEAP = 10
"""An epoch's checkpoint is left out if the last one took more than a tenth of the time since it was written."""


class Job(BaseModel):
    """What a process of a training is told; with several processes it is pickled.

    No dataclass: Lightning takes those apart on their way to another process, and refuses frozen ones.

    Attributes:
        settings: What decides the weights.
        store: Path of the slice store.
        run: The run's folder.
        init_from: Model to start from.
        hardware: Where to compute.
        listeners: Called with each event by the first process.
        should_stop: Asked whether to stop.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    settings: TrainingSettings
    store: Path
    run: Path
    init_from: str | None = None
    hardware: Hardware = Hardware()
    listeners: tuple[Listener, ...] = ()
    should_stop: Callable[[], bool] | None = None


def work(fabric: Fabric, job: Job) -> dict[str, Any]:
    """Do one process's share of a training and return its history, best epoch, and whether it ended early."""
    return Loop(fabric, job).run()


class Loop:
    """One process's share of a training.

    Args:
        fabric: Lightning Fabric, launched.
        job: What to do.
    """

    def __init__(self, fabric: Fabric, job: Job) -> None:
        self.fabric, self.job, self.settings = fabric, job, job.settings
        self.folder, store = RunFolder(job.run), SliceStore.open(job.store)
        self.record = Record(self.folder, job.listeners, first=fabric.global_rank == 0)
        settings, device = self.settings, fabric.device
        self.data = batches_of(store, "train", device, job.hardware.data, job.hardware.workers)
        self.validation = batches_of(store, "validation", device, job.hardware.data, job.hardware.workers)
        self.batch = min(settings.batch_size, len(self.data))
        self.micro = math.ceil(self.batch / fabric.world_size)
        self.steps = len(self.data) // self.batch

        state = self.folder.load_checkpoint()
        weights = None
        if state is None and job.init_from is not None:
            weights = load_model(job.init_from, "cpu").module.state_dict()
        self.network = initial_network(settings, weights)
        if isinstance(self.network, VectorQuantisedAutoencoder):
            self.network.codebook.requires_grad_(settings.codebook_decay is None)
        if device.type != "mps":  # not reliable on Apple's GPUs
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective = Objective(self.network, settings)
        learning = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(learning, lr=settings.learning_rate, fused=device.type == "cuda")
        compiled: nn.Module = torch.compile(self.objective) if job.hardware.compile else self.objective  # type: ignore[assignment]
        self.module, self.optimizer = fabric.setup(compiled, optimizer)
        self.tracker: CodebookTracker | None = None
        if isinstance(self.network, VectorQuantisedAutoencoder):
            self.tracker = CodebookTracker(
                self.network, decay=settings.codebook_decay, reset_dead=settings.reset_dead_codes
            )
        seed = np.random.SeedSequence((settings.seed, fabric.global_rank)).generate_state(1, np.uint64)[0]
        self.generator = torch.Generator(device).manual_seed(int(seed >> np.uint64(1)))

        self.epoch = self.step_in_epoch = self.step = 0
        self.running = torch.zeros(4, device=device)
        self.history: list[Epoch] = []
        self.best: dict[str, Tensor] | None = None
        self.best_epoch, self.best_loss, self.seconds = 0, math.inf, 0.0
        if state is not None:
            self._restore(state)
        self.started = self.saved = self.ticked = time.monotonic()
        self.checkpoint_cost = 0.0

    def run(self) -> dict[str, Any]:
        """Train to the end.

        Raises:
            RunError: If the loss is no longer finite.
            Cancelled: If it was asked to stop; a checkpoint is written.
        """
        settings = self.settings
        self.record.say(
            "start",
            model=settings.spec.name,
            size=settings.spec.size,
            slices=len(self.data),
            validation_slices=len(self.validation),
            epochs=settings.epochs,
            steps_per_epoch=self.steps,
            epoch=self.epoch,
            device=str(self.fabric.device),
            processes=self.fabric.world_size,
            precision=str(self.fabric._precision.precision),
            resumed=self.step > 0,
        )
        self.record.open_board(self.epoch)
        early = self._waited_enough()
        try:
            while self.epoch < settings.epochs and not early:
                self._train_epoch()
                early = self._waited_enough()
        finally:  # what was logged before a stop is not logged again
            self.record.close_board()
        self.record.say("finish", epochs=self.epoch, best_epoch=self.best_epoch, early=early)
        return {"history": self.history, "best_epoch": self.best_epoch, "early": early}

    def _train_epoch(self) -> None:
        epoch, settings = self.epoch + 1, self.settings
        self.network.train()
        began, done_before = time.monotonic(), self.step_in_epoch
        order = order_of(
            len(self.data), self.batch, settings.seed, epoch, self.fabric.global_rank, self.fabric.world_size
        )
        learning_rate = settings.learning_rate
        for images in self.data.draw(order[self.step_in_epoch :]):
            if self.fabric.world_size == 1 and self._asked_to_stop():
                self._checkpoint()
                raise Cancelled
            learning_rate = settings.learning_rate * rate(
                self.step, settings.epochs * self.steps, settings.schedule
            )
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate
            self._update(images)
            self.step += 1
            self.step_in_epoch += 1
            now = time.monotonic()
            if now - self.ticked > TICK:
                self.ticked = now
                self._tick(began, done_before)
            if now - self.saved > 60 * self.job.hardware.checkpoint_minutes and self.fabric.world_size == 1:
                self._checkpoint()
        train_terms = self._mean(self.running / max(1, self.step_in_epoch))
        speed = (self.step_in_epoch - done_before) * self.batch / max(1e-9, time.monotonic() - began)
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
        if used is not None:
            entry["used_codes"] = used
        self.history.append(entry)
        if validation_terms[0] < self.best_loss:
            self.best_loss, self.best_epoch = validation_terms[0], epoch
            self.best = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        self.record.epoch(self.history, best_epoch=self.best_epoch, epochs=settings.epochs)
        last = epoch == self.settings.epochs or self._waited_enough()
        stop = self.fabric.world_size > 1 and self._asked_to_stop()
        if last or stop or time.monotonic() - self.saved >= CHEAP * self.checkpoint_cost:
            self._checkpoint()
        if stop:
            raise Cancelled

    def _update(self, images: Tensor) -> None:
        """Make one update; if the device has too little memory, in smaller pieces that add up to the same."""
        before = self.generator.get_state()
        while True:
            try:
                return self._attempt(images)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                if self.micro == 1 or self.fabric.world_size > 1:
                    raise RunError(
                        f"out of memory with {self.micro} slices at a time on {self.fabric.device}",
                        file=self.job.run,
                        mend="use a smaller --batch-size, more --devices, or --size small, and add --resume",
                    ) from error
            self.optimizer.zero_grad(set_to_none=True)
            self.micro = math.ceil(self.micro / 2)
            self.generator.set_state(before)
            if self.fabric.device.type == "cuda":
                torch.cuda.empty_cache()
            self.record.say(
                "note",
                message=f"out of memory: going on with {self.micro} slices at a time, adding up the gradients",
            )

    def _attempt(self, images: Tensor) -> None:
        settings = self.settings
        if settings.augmentation is not None:
            images = augment(images, settings.augmentation, self.generator)
        corrupted = None
        if settings.spec.context_encoding:
            corrupted = corrupt(images, settings.corruption, self.generator).images
        self.optimizer.zero_grad(set_to_none=True)
        pieces = torch.split(images, self.micro)
        others = [None] * len(pieces) if corrupted is None else torch.split(corrupted, self.micro)
        found, terms = [], torch.zeros_like(self.running)
        for piece, other in zip(pieces, others, strict=True):
            share = len(piece) / len(images)
            total, piece_terms, *codes = self.module(piece, other, generator=self.generator)
            self.fabric.backward(total if share == 1 else total * share)
            terms += piece_terms * share
            if self.tracker is not None:
                found.append(codes)
        if settings.clip is not None:
            self.fabric.clip_gradients(
                self.module, self.optimizer, max_norm=settings.clip, error_if_nonfinite=False
            )
        self.optimizer.step()
        self.running += terms
        if self.tracker is not None:
            joined = quantised(*(torch.cat(part) for part in zip(*found, strict=True)))
            assert joined is not None
            self.tracker.update(joined, generator=self.generator)

    @torch.no_grad()
    def _validate(self) -> list[float]:
        """Return the loss on healthy validation slices without randomness: total, reconstruction, latent."""
        self.network.eval()
        count = len(self.validation)
        world, rank = self.fabric.world_size, self.fabric.global_rank
        mine = np.arange(rank, count, world)
        total = torch.zeros(4, device=self.fabric.device, dtype=torch.float64)
        chunks = [mine[start : start + self.micro] for start in range(0, len(mine), self.micro)]
        for images in self.validation.draw(chunks):
            with self.fabric.autocast():
                total += self.objective(images)[1].double() * len(images)
        if world > 1:
            total = self.fabric.all_reduce(total, reduce_op="sum")  # type: ignore[assignment]
        return [float(value) for value in total.cpu() / count][:3]

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
                mend="its last checkpoint is whole: start again with a lower --lr or with --clip 1",
            )

    def _waited_enough(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.epoch - self.best_epoch >= patience

    def _asked_to_stop(self) -> bool:
        asked = self.job.should_stop is not None and self.job.should_stop()
        if self.fabric.world_size > 1:
            asked = bool(self.fabric.broadcast(asked))
        return asked

    def _elapsed(self) -> float:
        return self.seconds + time.monotonic() - self.started

    def _checkpoint(self) -> None:
        """Write everything needed to go on."""
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
                mend="resume it with the same --devices and --num-nodes",
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

    def _tick(self, began: float, done_before: int) -> None:
        loss = float(self.running[0].cpu()) / self.step_in_epoch
        self._check_finite((loss,))
        speed = (self.step_in_epoch - done_before) * self.batch / max(1e-9, time.monotonic() - began)
        left = (self.settings.epochs * self.steps - self.step) * self.batch / max(speed, 1e-9)
        self.record.say(
            "step",
            epoch=self.epoch + 1,
            step=self.step,
            steps=self.settings.epochs * self.steps,
            train_loss=loss,
            slices_per_second=round(speed, 1),
            seconds_left=round(left, 1),
        )


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
