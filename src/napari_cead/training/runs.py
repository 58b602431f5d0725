"""The folder of a training run: settings, log, checkpoint, lock.

Its files are listed in :mod:`~napari_cead.training.run_files`. A process that is killed at any moment leaves a
``checkpoint.json`` with complete files.
"""

from __future__ import annotations

import csv
import errno
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from pydantic import Field, ValidationError

from ..atomic import atomic_path, make_folder, to_json, write_text
from ..checksums import file_sha256
from ..errors import RunDamagedError, RunError, RunNotFoundError
from ..json_files import NEWER, Saved, from_saved, read_json, shown, unknown_keys, version_of, warn_of
from ..models.networks import absent_network
from ..models.specs import ModelSpec
from .belonging import belongs
from .corruption import absent_kind
from .run_files import BEGUN, PARENT_FILE, SCHEMA_VERSION, STARTED_IT, check_folder
from .run_lock import hold
from .settings import TrainingSettings

if TYPE_CHECKING:
    from ..zoo import ModelCard, Parent

Epoch = dict[str, float | int]
State = dict[str, Any]


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
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
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
        if self.exists() and self._pointer() is not None:
            raise RunError(
                "there is a training run here", file=self.path, mend="add --resume, or choose another --out"
            )
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
        return plan

    def plan(self) -> Plan:
        """Read the starting point of the run.

        Raises:
            RunError: If there is no run here, or its description is damaged.
        """
        file = self.path / "run.json"
        try:
            values = read_json(file)
            if (version := version_of(values)) != SCHEMA_VERSION:
                raise RunDamagedError(
                    f"the run has schema version {version}, this program reads {SCHEMA_VERSION}",
                    file=file,
                    mend=STARTED_IT,
                )
            if absent := absent_network(values["settings"]["spec"]):
                raise RunError(absent[0], file=file, mend=absent[1])
            if (kind := absent_kind(values["settings"].get("corruption"))) is not None:
                raise RunError(
                    f"its corruption {shown(kind)} comes from a package that is not installed, or not usable",
                    file=file,
                    mend="install that package",
                )
            plan, notes = from_saved(Plan, {**values, "settings": _used(values["settings"])}, strict=True)
            warn_of(notes, file)
            return plan
        except FileNotFoundError:
            raise RunNotFoundError(
                "there is no training run here", file=self.path, mend="check --out, or leave out --resume"
            ) from None
        except (OSError, ValueError, AttributeError, KeyError, TypeError, ValidationError) as error:
            reason = "the description of the run is damaged"
            if isinstance(error, ValidationError) and (unknown := unknown_keys(error)):
                raise RunDamagedError(
                    f"{unknown}: not known to this version", file=file, mend=NEWER
                ) from None
            raise RunDamagedError(
                reason, file=file, mend="start the training again in another folder"
            ) from error

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
        values = plan.model_dump(mode="json")
        if not plan.changed:  # versions without this field can read it
            del values["changed"]
        write_text(self.path / "run.json", to_json(values))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Prevent other processes from training in this folder; the lock ends with the process in any case.

        Within such a block, this object gives the lock again at once.

        Raises:
            RunError: If another process holds the lock; the message names it.
            OutputError: If the folder cannot be written.
        """
        if self._held:
            yield
            return
        with hold(self.path):
            self._held = True
            try:
                yield
            finally:
                self._held = False

    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint to resume from.

        Raises:
            RunError: If it is damaged.
        """
        return self._pointer() is not None

    def epochs_done(self) -> int:
        """Return the number of complete epochs in the last checkpoint.

        Raises:
            RunError: If it is damaged.
        """
        pointer = self._pointer()
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
        previous = self._pointer()
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

    def load_checkpoint(self) -> State | None:
        """Read the last checkpoint; None if there is none yet.

        Raises:
            RunError: If it is damaged.
        """
        pointer = self._pointer()
        return None if pointer is None else self._load(pointer, "last")

    def load_best(self) -> State:
        """Read the weights of the best epoch.

        Raises:
            RunError: If there is none, or they are damaged.
        """
        pointer = self._pointer()
        if pointer is None or "best" not in pointer:
            raise RunError("no epoch has been finished here", file=self.path, mend="resume the training")
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

    def _pointer(self) -> dict[str, Any] | None:
        file = self.path / "checkpoint.json"
        try:
            pointer = read_json(file)
            if (version := version_of(pointer)) != SCHEMA_VERSION:
                raise RunDamagedError(
                    f"the checkpoint has schema version {version}, this program reads {SCHEMA_VERSION}",
                    file=file,
                    mend=STARTED_IT,
                )
            if not isinstance(pointer["sha256"][pointer["last"]], str):
                raise ValueError
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(file) from error
        found: dict[str, Any] = pointer
        return found

    def _load(self, pointer: Mapping[str, Any], which: str) -> State:
        import torch

        file = self.path / Path(str(pointer[which])).name
        try:
            if file_sha256(file) != pointer["sha256"].get(file.name):
                raise _damaged(file)
            state: State = torch.load(file, map_location="cpu", weights_only=True)
        except RunError:
            raise
        except Exception as error:
            raise _damaged(file) from error
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


def _damaged(file: Path) -> RunError:
    return RunDamagedError(
        "the checkpoint is damaged: it is not what was written",
        file=file,
        mend="restore the run's folder from a backup, or start again in another folder",
    )
