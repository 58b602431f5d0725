"""What a training would cost, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..wording import duration

if TYPE_CHECKING:
    from ..evaluation.making import Making
    from ..training.cost import Cost
    from ..training.recipe import Recipe
    from ..training.settings import Hardware, TrainingSettings
    from ..training.store import SliceStore

LONG = 3600.0
"""A training on a processor that takes longer than this many seconds is announced before it begins."""

SOME = 1000
"""Slices of an epoch whose time is given while the real number is not known."""


def described(making: Making) -> Iterator[str]:
    """Yield the data, split, settings, memory and time of a planned training; nothing is written.

    Raises:
        OutOfMemoryError: If not even one slice fits into memory.
    """
    from ..patients import find_patients
    from ..patients.datasets import find_layout
    from ..training.cost import cost_of

    recipe, store = making.recipe, making.store
    yield f"data: {recipe.data}"
    if store is not None:
        how = {"patient": "by patient", "slice": "by slice", "file": "from a file"}[store.split_kind]
        yield f"split {how}: {store.summary()}"
    elif recipe.data.is_dir():
        if recipe.layout is not None:
            count = len(find_layout(recipe.layout).patients(recipe.data))
            yield f"{count} patients of layout {recipe.layout}, prepared with its fixed split before the training"
        else:
            count = sum(1 for _ in find_patients(recipe.data))
            yield f"{count} patients, prepared and split by patient before the training"
    else:
        yield "a list of scans, prepared and split by patient before the training"
    for settings in making.plans:
        spec = settings.spec
        found = cost_of(
            settings,
            recipe.hardware,
            making.wanted.spacing,
            most=None if store is None else len(store.healthy_rows("train")),
        )
        yield ""
        pixels = f"slices of {spec.image_size} x {spec.image_size} pixels"
        yield f"{spec.name} (size {spec.size}): {found.weights / 1e6:.1f} million weights, {pixels}"
        yield f"settings (all of them: --print-config): {', '.join(_shown(recipe.resolved(settings)))}"
        yield f"memory: {_memory(found)}"
        updates = f"{found.updates} update{'' if found.updates == 1 else 's'}"
        yield f"time on {found.device}, measured with {updates}: {_time(found, store)}"
    yield ""
    yield "nothing was started (--dry-run)"


def announced(settings: TrainingSettings, store: SliceStore, hardware: Hardware, tuned: bool) -> str | None:
    """Return a sentence about a training at full size that takes very long on a processor; None: it does not.

    Args:
        settings: The training.
        store: Its slices.
        hardware: Its hardware.
        tuned: Whether it starts from a model, whose size it has.

    Raises:
        OutOfMemoryError: If not even one slice fits into memory.
    """
    from ..devices import pick_device
    from ..models.networks import find_design
    from ..models.specs import spec
    from ..training.cost import cost_of
    from ..training.presets import training_settings

    own = settings.spec
    if pick_device(hardware.device).type != "cpu" or own.size != "paper":
        return None
    spacing, counts = (
        store.settings.spacing,
        [len(store.healthy_rows(part)) for part in ("train", "validation")],
    )
    found = cost_of(settings, hardware, spacing, most=counts[0])
    if found.total(*counts) < LONG:
        return None
    text = (
        f"{own.name} at full size ({found.weights / 1e6:.0f} million weights) takes about "
        f"{duration(found.epoch(*counts))} per epoch on this processor, {duration(found.total(*counts))} for "
        f"{settings.epochs}"
    )
    if tuned or find_design(own.name)[1].small is None:
        return f"{text}; use a GPU, or fewer --epochs"
    small = settings.model_copy(update={"spec": spec(own.name, "small", own.image_size)})
    least = cost_of(small, hardware, spacing, most=counts[0])
    preset = training_settings(own.name, preset="small", image_size=own.image_size)
    return (
        f"{text}; with --size small about {duration(least.total(*counts))}, with --preset small "
        f"({preset.epochs} epochs) about {duration(preset.epochs * least.epoch(*counts))}"
    )


def _shown(recipe: Recipe) -> Iterator[str]:
    """Yield the settings of a complete recipe that a line can hold."""
    for name, value in recipe.model_dump(exclude={"model", "data", "out", "size"}).items():
        field = type(recipe).model_fields[name]
        if value not in (None, False, field.default) and not str(value).startswith("{"):
            yield f"{name.replace('_', ' ')} {f'{value:g}' if isinstance(value, float) else value}"


def _memory(found: Cost) -> str:
    import psutil
    import torch

    if found.device.startswith("cuda"):
        free, where = torch.cuda.get_device_properties(found.device).total_memory, "the GPU's"
    else:
        free, where = psutil.virtual_memory().total, "this computer's"
    return f"about {found.memory / 2**30:.1f} of {where} {free / 2**30:.0f} GiB"


def _time(found: Cost, store: SliceStore | None) -> str:
    if store is None:
        return f"about {duration(found.total(SOME, 0))} for {found.epochs} epochs of {SOME:,} slices each"
    counts = [len(store.healthy_rows(part)) for part in ("train", "validation")]
    return (
        f"about {duration(found.epoch(*counts))} per epoch, {duration(found.total(*counts))} for {found.epochs} "
        "epochs, without the preparation and calibration"
    )
