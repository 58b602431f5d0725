"""What a training would cost, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import CeadError
from ..wording import counted, duration

if TYPE_CHECKING:
    from ..evaluation.making import Making
    from ..runs.training_settings import TrainingSettings
    from ..store.foreseeing import Foreseen
    from ..store.store import SliceStore
    from ..training.cost import Cost, Slices
    from ..training.recipe import Recipe

SOME = 1000
"""Slices of an epoch whose time is given while the real number is not known."""


def described(making: Making) -> Iterator[str]:
    """Yield the data, split, settings, memory and time of a planned training; nothing is written.

    Raises:
        CeadError: If there are no patients.
        OutOfMemoryError: If not even one slice fits into memory.
    """
    from ..training.cost import cost_of

    recipe, store = making.recipe, making.store
    yield f"data: {recipe.data}"
    if store is not None:
        how = {"patient": "by patient", "slice": "by slice", "file": "from a file"}[store.split_kind]
        yield f"split {how}: {store.summary()}"
        slices = slices_of(making, store)
    else:
        found = _foreseen(making)
        kind = f"fixed split of layout {recipe.layout}" if recipe.layout else "split by patient"
        yield (
            f"{counted(len(found.parts), 'patient')} by the names of the files, prepared before the training; "
            f"{found.left_out} left out"
        )
        yield f"{kind}: {found.summary}"
        slices = _slices_in(found)
        if slices is not None:
            yield (
                f"about {slices[0]:,} training and {slices[1]:,} validation slices (an estimate; those with lesion are "
                "still among them)"
            )
    for settings in making.plans:
        spec = settings.spec
        cost = cost_of(
            settings,
            recipe.hardware,
            making.wanted.spacing,
            most=None if slices is None else slices[0],
        )
        yield ""
        pixels = f"slices of {spec.image_size} x {spec.image_size} pixels"
        yield f"{spec.name} (size {spec.size}): {cost.weights / 1e6:.1f} million weights, {pixels}"
        yield f"settings (all of them: --print-config): {', '.join(_shown(recipe.resolved(settings)))}"
        yield f"memory: {_memory(cost)}"
        updates = f"{cost.updates} update{'' if cost.updates == 1 else 's'}"
        yield f"time on {cost.device}, measured with {updates}: {_time(cost, slices, estimated=store is None)}"
    yield ""
    yield "nothing was started (--dry-run)"


def announced(making: Making, store: SliceStore | None) -> list[str] | None:
    """Return sentences about trainings at full size that take very long on a processor.

    Args:
        making: The planned trainings; what has begun is not announced again.
        store: Their slices; None: they have to be prepared first.

    Returns:
        The sentences, none if nothing takes long; None if the number of slices cannot be estimated yet.

    Raises:
        OutOfMemoryError: If not even one slice fits into memory.
    """
    from ..runs.run_folder import RunFolder
    from ..training.cost import LONG, cost_of, in_words, is_costly, smaller

    recipe, spacing = making.recipe, making.wanted.spacing
    hardware = recipe.hardware
    runs: dict[str, list[TrainingSettings]] = {}  # those that differ only by their seed or fold cost the same
    for run in making.runs:
        folder = RunFolder(run.recipe.out)
        if is_costly(run.settings, hardware) and not (folder.has_checkpoint() or folder.model.exists()):
            key = run.settings.model_copy(update={"seed": 0}).model_dump_json()
            runs.setdefault(key, []).append(run.settings)
    if not runs:
        return []
    try:
        slices = slices_of(making, store)
    except CeadError:  # the preparation says what is wrong
        return None
    if slices is None:
        return None
    costs = {key: cost_of(own[0], hardware, spacing, most=slices[0]) for key, own in runs.items()}
    total = sum(costs[key].total(*slices) * len(own) for key, own in runs.items())
    if total < LONG:
        return []
    said = []
    for key, (settings, *_) in runs.items():
        text = in_words(settings, costs[key], slices)
        small = None if recipe.init_from else smaller(settings, hardware, spacing, most=slices[0])
        said.append(
            f"{text}; use a GPU, or fewer --epochs"
            if small is None
            else f"{text}; with --size small about {duration(small.cost.total(*slices))}, "
            f"with --preset small {small.preset(slices)}"
        )
    if (count := sum(map(len, runs.values()))) > 1:
        said.append(f"all {count} trainings one after the other take about {duration(total)}")
    return said


def slices_of(making: Making, store: SliceStore | None) -> Slices | None:
    """Return the number of training and validation slices of a job; estimated before they are prepared.

    Args:
        making: The job.
        store: Its slices; None: they have to be prepared first.

    Returns:
        The numbers; None if they cannot be estimated.
    """
    if store is not None:
        return len(store.healthy_rows("train")), len(store.healthy_rows("validation"))
    return _slices_in(_foreseen(making))


def _foreseen(making: Making) -> Foreseen:
    from ..store.foreseeing import foresee

    recipe = making.recipe
    return foresee(recipe.data, recipe.sequence, assume_healthy=recipe.assume_healthy, layout=recipe.layout)


def _slices_in(found: Foreseen) -> Slices | None:
    usable = found.slices is not None and found.slices["train"]
    return (found.slices["train"], found.slices["validation"]) if found.slices and usable else None


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


def _time(cost: Cost, slices: Slices | None, *, estimated: bool) -> str:
    if slices is None:
        return f"about {duration(cost.total(SOME, 0))} for {cost.epochs} epochs of {SOME:,} slices each"
    most = "at most about" if estimated else "about"
    return (
        f"{most} {duration(cost.epoch(*slices))} per epoch, {duration(cost.total(*slices))} for {cost.epochs} "
        f"epochs, without the preparation and calibration{' (an estimate)' if estimated else ''}"
    )
