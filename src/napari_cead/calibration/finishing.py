"""From the last checkpoint of a training to a usable model: card, calibration, installation."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..detection.choosing import Suggested
from ..errors import CeadWarning, ModelError, StoreError
from ..progress import Progress, Stop
from ..runs.run_folder import Plan, RunFolder
from ..runs.training_settings import TrainingSettings
from ..store.preprocessing import preprocessing_in
from ..store.store import SliceStore
from ..training.network import initial_network
from ..wording import counted
from ..zoo import (
    CARD_FILE,
    ModelCard,
    Parent,
    Suggestion,
    check_name,
    damaged_models,
    find_models,
    install_model,
    load_card,
    load_model,
    save_model,
)
from ..zoo.card import Recognised
from ..zoo.recognising import recognised
from .calibration import calibrate
from .contrast_range import contrast_range
from .rules import quantile_of

if TYPE_CHECKING:
    from torch import nn

_DRAFT = ".part-model"
"""Folder of the model during its calibration."""


def finish(
    run: RunFolder | str | Path,
    store: SliceStore | str | Path | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    half: bool = False,
    mirror_average: bool | None = None,
    calibrate_on: SliceStore | str | Path | None = None,
    start: Sequence[Suggestion] = (),
    quantile: float | None = None,
    device: str = "auto",
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> Path:
    """Write the model folder of a training run: the weights of its best epoch, its card, and suggested settings.

    The settings are chosen on the stored weights, after rounding to half precision if requested.

    Args:
        run: The training run.
        store: The store it was trained on; None takes the one that the run names.
        name: Name of the model; None takes that of the run's folder.
        description: Description of the model; None makes a sentence from the run.
        half: Whether to store the weights in half precision.
        mirror_average: Whether the model averages over slices and their mirror images; None: if it is a denoiser that
            does not already see the mirrored slice.
        calibrate_on: Store whose validation slices choose the settings, prepared in the same way, for instance one that
            also holds patients with lesions; none of its validation patients may be a training patient. None: the
            training store.
        start: Settings whose score, radii and areas stay, so that only thresholds are chosen; empty: those of the base
            model, if there is one.
        quantile: Share of the healthy voxels below the threshold of rule ``healthy-quantile``; None: that of the base
            model, or the usual one.
        device: See :func:`~napari_cead.devices.pick_device`.
        on_progress: Called with (steps done, total steps) of the calibration.
        should_stop: Called between the steps.

    Returns:
        The model folder.

    Raises:
        RunError: If there is no run with a finished epoch.
        StoreError: If the store is missing, damaged or another one.
        OutputError: If the model cannot be written.
        ParameterError: If the name cannot be a model's.
        Cancelled: If ``should_stop`` returned true.
    """
    run = run if isinstance(run, RunFolder) else RunFolder(run)
    plan, parent = run.plan(), run.parent()
    slices = (
        store if isinstance(store, SliceStore) else SliceStore.open(plan.data if store is None else store)
    )
    others = slices
    if calibrate_on is not None:
        others = _calibration_store(calibrate_on, slices)
    network = initial_network(plan.settings)
    network.load_state_dict(run.load_best())
    called = check_name(name) if name else default_name(run.path)
    spec = plan.settings.spec
    card = ModelCard(
        name=called,
        spec=spec,
        description=description or _description(plan, slices),
        preprocessing=preprocessing_in(slices.settings),
        training=_summary(plan, slices, run.load_checkpoint() or {}),
        parents=tuple(Parent.model_validate(parent) for parent in plan.parents),
        trained_on=_trained_on(slices, parent),
        mirror_average=spec.network.mirrors(spec) if mirror_average is None else mirror_average,
    )
    if parent is not None:
        start = start or parent.suggestions
        quantile = quantile_of(parent) if quantile is None else quantile
    return calibrated(
        network,
        card,
        run.model,
        slices,
        others,
        half=half,
        start=start,
        quantile=quantile,
        device=device,
        on_progress=on_progress,
        should_stop=should_stop,
    )


def calibrated(
    network: nn.Module,
    card: ModelCard,
    folder: Path,
    store: SliceStore,
    calibrate_on: SliceStore,
    *,
    half: bool,
    start: Sequence[Suggestion] = (),
    quantile: float | None = None,
    device: str = "auto",
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> Path:
    """Write a model folder with suggested settings; ``store`` is the one it was trained on. See :func:`finish`."""
    # In a temporary place until it is calibrated: a model in its place is a finished one.
    draft = folder.parent / _DRAFT
    try:
        save_model(network, card, draft, half=half)
        found = calibrate(
            load_model(draft, device),
            calibrate_on,
            start=start,
            quantile=quantile,
            on_progress=on_progress,
            should_stop=should_stop,
        )
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    card = card.model_copy(
        update={
            "score_scales": dict(found.score_scales),
            "suggestions": tuple(found.suggestions),
            "tails": dict(found.tails),
            "training": {**card.training, "calibration": found.figures},
            "contrast": contrast_range(store),
        }
    )
    return save_model(network, card, folder, half=half, statistics=found.statistics)


def kept_settings(parent: ModelCard, card: ModelCard) -> str:
    """Return in a sentence what a fine-tuned model's suggestion keeps of its parent's."""
    if not (parent.suggestions and card.suggestions):
        return f"{parent.name} suggests no settings: the suggested settings are chosen from scratch"
    before, now = (Suggested.of(each.suggestions[0]).params for each in (parent, card))
    old, new = parent.suggestions[0], card.suggestions[0]
    shape = (
        f"closing {now.closing_radius} px, area {now.area_fraction:.0%}, dilation {now.dilation_radius} px"
    )
    return (
        f"the suggested settings are those of {parent.name} ({shape}), with a new threshold: {new.score} above "
        f"{now.threshold:.4g} by {new.rule}, before {old.score} above {before.threshold:.4g} by {old.rule}"
    )


def is_finished(
    run: RunFolder | str | Path,
    settings: TrainingSettings,
    store: SliceStore,
    *,
    half: bool = False,
    installed: bool = True,
) -> bool:
    """Whether nothing is left to do for a run: it is trained to its last epoch, calibrated, and installed.

    Args:
        run: The training run.
        settings: Its intended training settings.
        store: Its intended training store.
        half: Whether its weights should be stored in half precision.
        installed: Whether its model should be installed.

    Raises:
        RunError: If its description or its checkpoint is damaged.
    """
    run = run if isinstance(run, RunFolder) else RunFolder(run)
    if not (run.exists() and (run.model / CARD_FILE).is_file()):
        return False
    try:
        card = load_card(run.model)
    except ModelError:
        return False
    plan, trained = run.plan(), card.training
    done = run.epochs_done() if run.has_checkpoint() else trained.get("epochs")
    return (
        plan.current == settings
        and plan.fingerprint == store.fingerprint == trained.get("data_fingerprint")
        and (trained.get("epochs"), trained.get("planned_epochs")) == (done, settings.epochs)
        and "calibration" in trained
        and (card.dtype == "float16") == half
        and (not installed or any(load_card(found).sha256 == card.sha256 for found in find_models().values()))
    )


def _trained_on(store: SliceStore, parent: ModelCard | None) -> tuple[Recognised, ...]:
    """Return the marks of the training scans of a model and of its base models."""
    known = () if parent is None else parent.trained_on
    patients = store.patients_of("train")
    if not all(patient.marks for patient in patients):
        warnings.warn(
            f"the slices in {store.path} were prepared by an earlier version, so the model will not recognise its "
            "training scans; prepare them again to change that",
            CeadWarning,
            stacklevel=3,
        )
        return known
    return (recognised(patient.marks for patient in patients), *known)


def _calibration_store(place: SliceStore | str | Path, trained: SliceStore) -> SliceStore:
    """Return the store to calibrate on.

    Raises:
        StoreError: If it was prepared differently, or would judge a model by its training patients.
    """
    store = place if isinstance(place, SliceStore) else SliceStore.open(place)
    for name in ("sequence", "intensity", "spacing", "image_size"):
        here, there = getattr(store.settings, name), getattr(trained.settings, name)
        if here != there:
            raise StoreError(
                f"this store was prepared with {name} {here}, the training store with {there}",
                file=store.path,
                hint="prepare it in the same way",
            )
    seen = {patient.fingerprint for patient in trained.patients_of("train")}
    if both := [patient.name for patient in store.patients_of("validation") if patient.fingerprint in seen]:
        raise StoreError(
            f"{both[0]} is a validation patient here, but was trained on",
            file=store.path,
            hint="prepare it with a split file that keeps the same patients apart",
        )
    return store


def default_name(run: Path) -> str:
    """Return a name for the model of a run: that of its folder, without characters that a name cannot have."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", run.resolve().name).strip("-._")[:60]
    return name or "model"


def install(folder: Path, name: str | None = None) -> Path:
    """Install a finished model under an unused name, so that no other model is hidden or replaced.

    Args:
        folder: The model folder.
        name: The name for it; None takes the name on its card. If it is taken, a number is added.

    Raises:
        OutputError: If it cannot be written.
    """
    card = load_card(folder)
    wanted, taken, damaged = name or card.name, find_models(), damaged_models()
    called, number = wanted, 1
    while called in damaged or (called in taken and load_card(taken[called]).sha256 != card.sha256):
        number += 1
        called = f"{wanted}-{number}"
    return install_model(folder, called, replace=True)


def _description(plan: Plan, store: SliceStore) -> str:
    spec, patients = plan.settings.spec, counted(len(store.patients_of("train")), "patient")
    size = "" if spec.size == "custom" else f" (size {spec.size})"
    # Only `parents` names the base model: exports leave that out.
    how = "fine-tuned" if plan.parents else "trained"
    return f"{spec.name.upper()}{size} {how} on healthy {store.settings.sequence} slices of {patients}"


def _summary(plan: Plan, store: SliceStore, checkpoint: dict[str, Any]) -> dict[str, Any]:
    history = checkpoint.get("history", [])
    best: dict[str, Any] = next(
        (entry for entry in history if entry["epoch"] == checkpoint.get("best_epoch")), {}
    )
    return {
        "patients": len(store.patients_of("train")),
        "slices": len(store.healthy_rows("train")),
        "validation_patients": len(store.patients_of("validation")),
        "validation_slices": len(store.healthy_rows("validation")),
        "assume_healthy": store.settings.assume_healthy,
        "data_fingerprint": plan.fingerprint,
        **plan.current.model_dump(mode="json", exclude={"spec"}),
        "planned_epochs": plan.current.epochs,
        "epochs": len(history),
        "steps": checkpoint.get("step", 0),
        "best_epoch": checkpoint.get("best_epoch", 0),
        "train_loss": best.get("train_loss"),
        "validation_loss": best.get("validation_loss"),
        "minutes": round(checkpoint.get("seconds", 0) / 60, 1),
        "versions": plan.versions,
        "curve": {
            key: [round(entry[key], 5) for entry in history] for key in ("train_loss", "validation_loss")
        },
    }
