"""Running a network over the slices of a patient, group by group, as much at a time as fits into memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..devices import is_out_of_memory
from ..errors import OutOfMemoryError, ParameterError
from ..progress import Progress, Stop, check_stop, tell
from ..slices import SliceStack
from ..zoo import Detector
from .cache import Cached, ReconstructionCache, cache_keys
from .members import given_by, one_pass
from .scores import RECONSTRUCTION, Ingredient

if TYPE_CHECKING:
    import torch
    from torch import Tensor

GROUP = 32
"""Slices per forward pass. Groups are fixed and aligned, so that a slice always meets the same company."""

MAX_GROUP = 4096
"""Most slices per forward pass: more than any scan has."""


@dataclass(frozen=True, eq=False)
class NetworkPasses:
    """What a network made of a stack; filled in place as it goes.

    Attributes:
        slices: (Z, S, S) float32 reconstruction, 0 in slices without brain.
        ingredients: What else it gave or was asked for, by name, (Z, S, S) float32, likewise.
        device: Where it ran.
        batch_size: Slices at a time.
        from_cache: Whether nothing had to be computed.
        warnings: What was said about a lack of memory.
    """

    slices: NDArray[np.float32] = field(repr=False)
    ingredients: Mapping[str, NDArray[np.float32]] = field(repr=False)
    device: str
    batch_size: int
    from_cache: bool = False
    warnings: tuple[str, ...] = ()


OnGroup = Callable[[NetworkPasses, NDArray[np.int64]], None]


def check_batch_size(batch_size: int) -> None:
    """Check a number of slices at a time.

    Raises:
        ParameterError: If it is not a whole number of at least 1.
    """
    whole = isinstance(batch_size, int | np.integer) and not isinstance(batch_size, bool)
    if not whole or not 1 <= batch_size <= MAX_GROUP:
        raise ParameterError(
            f"the batch size must be a whole number from 1 to {MAX_GROUP}, not {batch_size!r}",
            hint="leave it out for the usual number",
        )


def groups(
    occupied: NDArray[np.int64], batch_size: int = GROUP, first: int | None = None
) -> list[NDArray[np.int64]]:
    """Return which slices pass through the network together, in the order in which they do.

    The groups are the same whatever the order: the occupied slices cut every ``batch_size``.

    Args:
        occupied: Indices of the slices with brain, increasing.
        batch_size: Slices of a group; the last one may have fewer.
        first: Index of the slice to start with, then outwards to both sides in turn; if it holds no brain, the
            nearest one that does. None: from the lowest to the highest.
    """
    cut = [occupied[start : start + batch_size] for start in range(0, len(occupied), batch_size)]
    if first is None or not cut:
        return cut
    nearest = int(np.argmin(np.abs(occupied - first)))
    return [cut[number] for number in _outwards(nearest // batch_size, len(cut))]


def reconstruct(
    stack: SliceStack,
    detector: Detector,
    *,
    ingredients: Iterable[Ingredient] = (),
    batch_size: int = GROUP,
    first: int | None = None,
    only: Collection[int] | None = None,
    cache: ReconstructionCache | None = None,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
    on_group: OnGroup | None = None,
) -> NetworkPasses:
    """Reconstruct every slice that holds brain.

    Where the memory of a GPU is too small for a group, everything starts again with groups of half the size, so
    that each slice has the company that it would have had with that size from the start; where it is too small for
    a single slice, on the CPU.

    Args:
        stack: Slices on the model grid.
        detector: A loaded model; it stays as it is.
        ingredients: What takes passes of its own and is wanted too.
        batch_size: Slices at a time.
        first: Index of the slice to start with, see `groups`.
        only: Indices of the slices that are wanted: a group without any of them is left out and stays 0. None: all.
        cache: Where to look for the results first, and to keep them; None computes them. Not used with ``only``.
        on_progress: Called with (slices done, total slices) after every group, and within it where slices pass
            through the network a few at a time.
        should_stop: Called before every group, and likewise within it.
        on_group: Called with what there is so far and the indices of the new slices after every group, once for
            all if they come from the cache.

    Raises:
        ModelError: If not even a single slice fits into the memory of the CPU.
        ParameterError: If the batch size is out of range, or the model lacks an ingredient.
        Cancelled: If ``should_stop`` returned true.
    """
    import torch

    check_batch_size(batch_size)
    # A model without a checksum was never saved: nothing tells it from another one.
    wanted = {one.name: one for one in (*given_by(detector.card), *ingredients)}
    place, threads = str(detector.device), torch.get_num_threads()
    keys = (
        cache_keys(stack, _fingerprint(detector), place, batch_size, threads, wanted)
        if cache is not None and detector.sha256 and only is None
        else {}
    )
    known: dict[str, Cached] = {}
    for kind in wanted:
        entry = cache.get(keys[kind]) if cache is not None and keys else None
        # Results belong together only if they were computed in the same groups on the same device.
        if entry is not None and all(_alike(entry, other) for other in known.values()):
            known[kind] = entry
    attempt = _Attempt(detector, batch_size, batch_size)
    if known:
        entry = next(iter(known.values()))
        attempt = attempt.like(entry, move=len(known) < len(wanted))
    run = _Run(stack, wanted, first, only, on_progress, should_stop, on_group)
    while (passes := run.through(attempt, known)) is None:
        attempt, known = attempt.smaller(), {}
    if cache is not None and keys:
        for kind, values in {RECONSTRUCTION.name: passes.slices, **passes.ingredients}.items():
            if kind not in known:
                cache.put(keys[kind], Cached(values, passes.device, passes.batch_size, passes.warnings))
    return passes


@dataclass(frozen=True)
class _Attempt:
    """Where and how much at a time the network runs.

    Attributes:
        detector: The model, on its device.
        asked: Slices at a time that were asked for.
        batch_size: Slices at a time.
        place: Name of the device.
        warnings: What was given up so far.
    """

    detector: Detector
    asked: int
    batch_size: int
    place: str = ""
    warnings: tuple[str, ...] = ()

    def like(self, entry: Cached, move: bool) -> _Attempt:
        """Return the attempt that gave a cached result; the model moves only if it still has to compute."""
        moved = move and entry.device != str(self.detector.device)
        detector = self.detector.on(entry.device) if moved else self.detector
        return replace(
            self,
            detector=detector,
            batch_size=entry.batch_size,
            place=entry.device,
            warnings=entry.warnings,
        )

    @property
    def device(self) -> str:
        return self.place or str(self.detector.device)

    def smaller(self) -> _Attempt:
        """Return the next attempt after a lack of memory.

        Raises:
            ModelError: If there is nothing left to try.
        """
        device = self.detector.device
        if device.type == "cuda":
            import torch

            torch.cuda.empty_cache()
        if self.batch_size > 1:
            half = self.batch_size // 2
            note = f"the memory of {device} is too small for {self.asked} slices at a time: {half} were taken"
            return replace(self, batch_size=half, warnings=(*self._notes_before(device), note))
        if device.type == "cpu":
            raise OutOfMemoryError(
                f"the memory of this computer is too small for {self.detector.name}, even for one slice at a time",
                hint="close other programs or use a smaller model",
            )
        note = f"the memory of {device} is too small for {self.detector.name}: the CPU was taken"
        return _Attempt(self.detector.on("cpu"), self.asked, self.asked, warnings=(note,))

    def _notes_before(self, device: torch.device) -> tuple[str, ...]:
        """What was said about another device; what was said about this one is replaced."""
        return tuple(note for note in self.warnings if not note.startswith(f"the memory of {device} "))


@dataclass(frozen=True, eq=False)
class _Run:
    """Passing a stack through a network."""

    stack: SliceStack
    wanted: Mapping[str, Ingredient]
    first: int | None
    only: Collection[int] | None
    on_progress: Progress | None
    should_stop: Stop | None
    on_group: OnGroup | None

    def through(self, attempt: _Attempt, known: Mapping[str, Cached]) -> NetworkPasses | None:
        """Compute missing slices; None if they did not fit into memory."""
        images, occupied = self.stack.images, self.stack.occupied
        # New arrays for each attempt: cached ones are shared and must not change.
        arrays = {
            kind: known[kind].values if kind in known else np.zeros_like(images) for kind in self.wanted
        }
        missing = [one for kind, one in self.wanted.items() if kind not in known]
        passes = NetworkPasses(
            slices=arrays[RECONSTRUCTION.name],
            ingredients={kind: values for kind, values in arrays.items() if kind != RECONSTRUCTION.name},
            device=attempt.device,
            batch_size=attempt.batch_size,
            from_cache=not missing,
            warnings=attempt.warnings,
        )
        done = 0
        order = groups(occupied, attempt.batch_size, self.first) if missing else iter((occupied,))
        for indices in order:
            if self.only is not None and not set(self.only).intersection(indices.tolist()):
                continue
            check_stop(self.should_stop)
            if missing and not self._pass(attempt.detector, missing, arrays, indices, done):
                return None
            done += len(indices)
            if self.on_group is not None:
                self.on_group(passes, indices)
            tell(self.on_progress, done, len(occupied))
        return passes

    def _pass(
        self,
        detector: Detector,
        missing: Collection[Ingredient],
        results: Mapping[str, NDArray[np.float32]],
        indices: NDArray[np.int64],
        done: int,
    ) -> bool:
        """Compute a group of slices, telling how far it is in between; false if the memory is too small."""
        step = detector.at_once(len(indices))
        for start in range(0, len(indices), step):
            if start:
                tell(self.on_progress, done + start, len(self.stack.occupied))
                check_stop(self.should_stop)
            part = indices[start : start + step]
            if not _fits(detector, missing, self.stack.images[part], results, part):
                return False
        return True


def _fits(
    detector: Detector,
    missing: Collection[Ingredient],
    images: NDArray[np.float32],
    results: Mapping[str, NDArray[np.float32]],
    indices: NDArray[np.int64],
) -> bool:
    """Compute some slices (N, S, S) and put them into the results (Z, S, S); false if the memory is too small."""
    import torch

    batch = torch.from_numpy(images)[:, None]
    found: dict[str, Tensor] = {}
    try:
        if any(one.compute is None for one in missing):
            found = one_pass(detector, batch)
        for one in missing:
            values = found[one.name] if one.compute is None else one.compute(detector, batch)
            results[one.name][indices] = values[:, 0].float().cpu().numpy()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return False  # and the error goes, with all that its frames hold on to
    return True


def _fingerprint(detector: Detector) -> str:
    """Return what tells apart models that make different things of the same slices."""
    card = detector.card
    return f"{detector.sha256}-{card.spec.voices}" + ("-mirror-average" if card.mirror_average else "")


def _alike(one: Cached, other: Cached) -> bool:
    return (one.device, one.batch_size) == (other.device, other.batch_size)


def _outwards(start: int, count: int) -> Iterator[int]:
    """Give ``start``, then its neighbours at growing distance, above before below."""
    yield start
    for step in range(1, count):
        for number in (start + step, start - step):
            if 0 <= number < count:
                yield number
