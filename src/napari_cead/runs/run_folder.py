"""The folder of a training run: settings, log, checkpoint, lock.

Its files are listed in :mod:`~napari_cead.runs.run_files`. A process that is killed at any moment leaves a
``checkpoint.json`` with complete files.
"""

from __future__ import annotations

import csv
import errno
import io
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from pydantic import Field, ValidationError

from ..atomic import atomic_path, make_folder, to_json, write_text
from ..checksums import file_sha256
from ..corruption.mixtures import REMOVED, absent_kind
from ..errors import (
    Cancelled,
    CeadError,
    OutputError,
    RunBusyError,
    RunDamagedError,
    RunError,
    RunNotFoundError,
)
from ..json_files import Saved, from_saved, shown, warn_of
from ..models.networks import absent_network
from ..models.specs import ModelSpec
from .events import EventFile, Listener
from .folder_lock import alone_in
from .run_files import (
    BEGUN,
    CHECKPOINTS,
    EVENTS_FILE,
    PARENT_FILE,
    PLANS,
    SCHEMA_VERSION,
    STATUS_FILE,
    check_folder,
    read_plan,
    read_pointer,
)
from .run_info import RunInfo, read_status, write_status
from .training_settings import TrainingSettings, belongs

if TYPE_CHECKING:
    from ..zoo import ModelCard, Parent

Epoch = dict[str, float | int]
State = dict[str, Any]


PATIENCE = 1.0
"""Seconds to wait for the lock: another process may just be checking whether it is held."""


class Plan(Saved):
    """The starting point of a run.

    Attributes:
        settings: The settings that determine the weights.
        data: Path of the store.
        fingerprint: The store's fingerprint.
        parents: The models it was fine-tuned from, the nearest first.
        created: When, in UTC.
        versions: Versions of the packages.
        changed: Settings changed when it was resumed: more epochs, another patience.
        schema_version: Version of this layout.
    """

    UNWRITTEN: ClassVar[frozenset[str]] = frozenset({"changed"})

    schema_version: int = SCHEMA_VERSION
    settings: TrainingSettings
    data: str
    fingerprint: str
    parents: tuple[dict[str, str], ...] = ()
    created: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    changed: dict[str, int | None] = Field(default_factory=dict)

    @property
    def current(self) -> TrainingSettings:
        """The settings that it continues with."""
        return self.settings.model_copy(update=self.changed)


class RunFolder:
    """A training run on disk.

    Args:
        path: Its folder.

    Attributes:
        listeners: Called with its events, beside its own file of them.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.listeners: tuple[Listener, ...] = ()
        self._held = False

    @property
    def model(self) -> Path:
        """The folder of the finished model."""
        return self.path / "model"

    @property
    def log(self) -> Path:
        """The log with one line per epoch."""
        return self.path / "log.csv"

    def exists(self) -> bool:
        """Whether a run was started here."""
        return (self.path / "run.json").is_file()

    def create(
        self,
        settings: TrainingSettings,
        data: Path,
        fingerprint: str,
        parents: Sequence[Parent],
        parent: ModelCard | None = None,
    ) -> Plan:
        """Write the starting point of the run.

        Args:
            settings: The settings that determine the weights.
            data: The slice store.
            fingerprint: That of the store.
            parents: The models to start from, the nearest first.
            parent: The card of the nearest.

        Raises:
            RunError: If there is a run here, or the folder holds other files.
            OutputError: If it cannot be written.
        """
        from ..detection.provenance import versions

        make_folder(self.path)
        self.check_new()
        check_folder(self.path, BEGUN if self.exists() else frozenset())
        plan = Plan(
            settings=settings,
            data=str(data),
            fingerprint=fingerprint,
            parents=tuple({"name": parent.name, "sha256": parent.sha256} for parent in parents),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=versions(),
        )
        if parent is not None:
            write_text(self.path / PARENT_FILE, to_json(parent.model_dump(mode="json")))
        self._write(plan)
        facts: State = {"model": settings.spec.name, "size": settings.spec.size, "epochs": settings.epochs}
        named = parents[0].name if parents else None
        write_status(replace(self._status(), data=str(data), parent=named, **facts))
        return plan

    def check_new(self) -> None:
        """Refuse a folder with a run that has got somewhere.

        Raises:
            RunError: If there is one.
        """
        if self.exists() and (self.has_checkpoint() or self.is_over()):
            raise RunError(
                "there is a training run here", file=self.path, hint="add --resume, or choose another --out"
            )

    def is_over(self) -> bool:
        """Whether the run is finished and has not kept its checkpoint: nothing can be resumed."""
        return (self.model / "model.json").is_file() and not self.has_checkpoint()

    def plan(self) -> Plan:
        """Read the starting point of the run.

        Raises:
            RunError: If there is no run here, or its description is damaged.
        """
        file = self.path / "run.json"
        values = read_plan(self.path)
        if values is None:
            raise RunNotFoundError(
                "there is no training run here", file=self.path, hint="check --out, or leave out --resume"
            )
        try:
            if absent := absent_network(values["settings"]["spec"]):
                raise RunError(absent[0], file=file, hint=absent[1])
            if (kind := absent_kind(values["settings"].get("corruption"))) is not None:
                if kind in REMOVED:
                    raise RunError(
                        f"it was trained with the corruption {shown(kind)}, which napari-cead no longer has, so it "
                        "cannot be resumed",
                        file=file,
                        hint="start a new run with another --corruption, with --init-from if this one left a model",
                    )
                raise RunError(
                    f"its corruption {shown(kind)} comes from a package that is not installed, or not usable",
                    file=file,
                    hint="install that package",
                )
            plan, notes = from_saved(Plan, {**values, "settings": _used(values["settings"])}, strict=True)
            warn_of(notes, file)
            return plan
        except ValidationError as error:
            raise PLANS.wrong(error, file) from error
        except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
            raise PLANS.damaged(file) from error

    def parent(self) -> ModelCard | None:
        """Return the card of the model that the run started from; None: from none, or no longer known.

        Raises:
            ModelError: If it is damaged.
        """
        from ..zoo.card import parse_card

        file = self.path / PARENT_FILE
        try:
            return parse_card(file.read_bytes(), file)
        except FileNotFoundError:
            return None

    def replan(self, settings: TrainingSettings) -> None:
        """Write the settings that a run continues with: other epochs or patience.

        Raises:
            RunError: If its description is damaged.
            OutputError: If it cannot be written.
        """
        plan = self.plan()
        if plan.current != settings:
            now = {name: getattr(settings, name) for name in ("epochs", "patience")}
            first = {name: getattr(plan.settings, name) for name in now}
            changed = {name: value for name, value in now.items() if value != first[name]}
            self._write(plan.model_copy(update={"changed": changed}))

    def _write(self, plan: Plan) -> None:
        write_text(self.path / "run.json", to_json(plan.model_dump(mode="json")))

    def say(self, event: str, **values: Any) -> None:
        """Write down what happened, and the state of the run after it.

        Args:
            event: Its kind; see :mod:`~napari_cead.runs.events`.
            values: What belongs to it.

        Raises:
            OutputError: If it cannot be written.
        """
        made = {"time": round(time.time(), 3), "event": event, **values}
        EventFile(self.path / EVENTS_FILE)(made)
        write_status(self._status().after(made))
        for listener in self.listeners:
            listener({"event": event, **values})

    def _status(self) -> RunInfo:
        return read_status(self.path) or RunInfo(self.path, self.path.absolute().name, "paused")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Prevent other processes from training in this folder; the lock ends with the process in any case.

        Within such a block, this object gives the lock again at once. A process that ends before it has done anything
        leaves the state of the run as it was.

        Raises:
            RunError: If another process holds the lock; the message names it.
            OutputError: If the folder cannot be written.
        """
        if self._held:
            yield
            return
        with alone_in(self.path, self._busy, PATIENCE):
            before = read_status(self.path)
            began = self._status().by(os.getpid(), "running")
            write_status(began)
            self._held = True
            try:
                yield
            except BaseException as error:
                with suppress(OutputError):
                    self._end(before, began, error)
                raise
            else:
                self._end(before, began, None)
            finally:
                self._held = False

    def _busy(self) -> RunBusyError:
        return RunBusyError(
            f"{self._status().process} is training here",
            file=self.path,
            hint="wait for it, stop it, or choose another --out",
        )

    def _end(self, before: RunInfo | None, began: RunInfo, error: BaseException | None) -> None:
        """Write the state in which a process leaves the run, unless its last event did."""
        now = read_status(self.path)
        if now is None or not now.active:
            return
        started = before is not None and before.state == "starting"  # somebody waits for its first word
        if now.updated == began.updated and not started:
            if before is None:
                (self.path / STATUS_FILE).unlink()
            else:
                write_status(before)
        elif isinstance(error, KeyboardInterrupt | Cancelled):
            self.say("paused", by="interrupt")
        elif error is not None:
            self.say("error", message=sentence(error))
        else:  # a program has trained
            done = now.phase == "calibrating" or (self.model / "model.json").is_file()
            write_status(now.ended("finished" if done else "paused"))

    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint to resume from.

        Raises:
            RunError: If it is damaged.
        """
        return read_pointer(self.path) is not None

    def epochs_done(self) -> int:
        """Return the number of complete epochs in the last checkpoint.

        Raises:
            RunError: If it is damaged.
        """
        pointer = read_pointer(self.path)
        return 0 if pointer is None else int(pointer.get("epoch", 0))

    def save_checkpoint(
        self, state: State, best: Mapping[str, Any] | None, best_epoch: int, epoch: int, step: int
    ) -> None:
        """Write a checkpoint; the previous one stays until this one is complete.

        Args:
            state: Everything needed to resume; tensors, numbers, strings and containers of them.
            best: Weights of the best epoch.
            best_epoch: Its number from 1; 0: there is none yet.
            epoch: Complete epochs done.
            step: Updates done.

        Raises:
            OutputError: If it cannot be written; the previous checkpoint is still there.
        """
        previous = read_pointer(self.path)
        files = {"last": f"step-{step}-{uuid4().hex[:6]}.checkpoint"}  # never the previous name
        digests = {files["last"]: _save(state, self.path / files["last"])}
        if best is not None and best_epoch:
            files["best"] = f"best-{best_epoch}.checkpoint"
            known = {} if previous is None else previous["sha256"]
            digests[files["best"]] = known.get(files["best"]) or _save(best, self.path / files["best"])
        pointer = {"schema_version": SCHEMA_VERSION, "epoch": epoch, "step": step, **files, "sha256": digests}
        write_text(self.path / "checkpoint.json", to_json(pointer))
        for file in self.path.glob("*.checkpoint"):
            if file.name not in digests:
                with suppress(OSError):
                    file.unlink()

    def drop_checkpoint(self) -> None:
        """Remove the checkpoint of a finished run; its model has the weights."""
        for file in (self.path / "checkpoint.json", *self.path.glob("*.checkpoint")):
            with suppress(OSError):
                file.unlink()

    def load_checkpoint(self) -> State | None:
        """Read the last checkpoint; None if there is none yet.

        Raises:
            RunError: If it is damaged.
        """
        pointer = read_pointer(self.path)
        try:
            return None if pointer is None else self._load(pointer, "last")
        except RunDamagedError:
            if read_pointer(self.path) == pointer:
                raise
            return self.load_checkpoint()  # the process that trains has just replaced it

    def load_best(self) -> State:
        """Read the weights of the best epoch.

        Raises:
            RunError: If there is none, or they are damaged.
        """
        pointer = read_pointer(self.path)
        if pointer is None or "best" not in pointer:
            raise RunError("no epoch has been finished here", file=self.path, hint="resume the training")
        return self._load(pointer, "best")

    def save_log(self, history: Sequence[Epoch]) -> None:
        """Write one line per epoch as CSV.

        Raises:
            OutputError: If it cannot be written.
        """
        if not history:
            return
        text = io.StringIO()
        columns = dict.fromkeys(name for entry in history for name in entry)  # earlier versions had fewer
        writer = csv.DictWriter(text, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        write_text(self.log, text.getvalue())

    def _load(self, pointer: Mapping[str, Any], which: str) -> State:
        import torch

        file = self.path / Path(str(pointer[which])).name
        try:
            if file_sha256(file) != pointer["sha256"].get(file.name):
                raise CHECKPOINTS.damaged(file)
            state: State = torch.load(file, map_location="cpu", weights_only=True)
        except RunError:
            raise
        except Exception as error:
            raise CHECKPOINTS.damaged(file) from error
        return state


def _used(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with the defaults of those that do not apply to their design: earlier versions kept any value."""
    design = ModelSpec.model_validate(settings["spec"])
    usual = TrainingSettings(spec=design).model_dump(mode="json")
    return {name: value if belongs(name, design) else usual[name] for name, value in settings.items()}


def _save(state: Mapping[str, Any], file: Path) -> str:
    import torch

    with atomic_path(file) as temporary:
        try:
            with temporary.open("wb") as stream:
                torch.save(dict(state), stream)
                stream.flush()
                os.fsync(stream.fileno())
        except RuntimeError as error:  # PyTorch's zip writer reports a full disk this way
            raise OSError(
                errno.EIO, "writing failed, probably for lack of space; make room and add --resume"
            ) from error
        return file_sha256(temporary)


def sentence(error: BaseException) -> str:
    """Return an error as one sentence."""
    if isinstance(error, CeadError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory; close other programs or use a smaller model"
    return " ".join(f"{type(error).__name__}: {error}".split())
