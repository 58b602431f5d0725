"""What networks made of slices, kept in memory so that the same slices are not computed twice."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..slices import SliceStack


@dataclass(frozen=True)
class CacheKey:
    """What a result depends on.

    Attributes:
        content: Checksum of the slices that went in.
        sha256: Checksum of the model's weights, and what else decides what it makes of slices.
        device: The device asked for.
        batch_size: The batch size asked for.
        kind: Name of what was computed.
        threads: PyTorch's number of threads: how a sum is split may change its last digit.
    """

    content: str
    sha256: str
    device: str
    batch_size: int
    kind: str
    threads: int = 1


@dataclass(frozen=True, eq=False)
class Cached:
    """A result.

    Attributes:
        values: (Z, S, S) float32, read-only.
        device: Where it was computed, another one than asked for if the memory of that was too small.
        batch_size: Slices at a time, fewer than asked for likewise.
        warnings: What was said about that.
    """

    values: NDArray[np.float32]
    device: str
    batch_size: int
    warnings: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return self.values.nbytes


class ReconstructionCache:
    """A bounded store of results; the least recently used ones go first. Safe to share between threads.

    Args:
        max_bytes: Memory for the arrays in it; one that is larger is not kept.
    """

    def __init__(self, max_bytes: int = 1 << 30) -> None:
        self.max_bytes = max_bytes
        self._entries: OrderedDict[CacheKey, Cached] = OrderedDict()
        self._nbytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Memory that its arrays take."""
        return self._nbytes

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: CacheKey) -> Cached | None:
        """Return a result and mark it as used; None if it is not there."""
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def put(self, key: CacheKey, result: Cached) -> None:
        """Keep a result in the place of an older one; from now on its array is read-only."""
        with self._lock:
            old = self._entries.pop(key, None)
            self._nbytes -= 0 if old is None else old.nbytes
            if result.nbytes > self.max_bytes:
                return
            result.values.setflags(write=False)
            self._entries[key] = result
            self._nbytes += result.nbytes
            while self._nbytes > self.max_bytes:
                _, oldest = self._entries.popitem(last=False)
                self._nbytes -= oldest.nbytes

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._nbytes = 0


def cache_keys(
    stack: SliceStack, sha256: str, device: str, batch_size: int, threads: int, kinds: Iterable[str]
) -> Mapping[str, CacheKey]:
    """Return the keys of a model's output for a stack.

    Args:
        stack: The slices that go in.
        sha256: Checksum of the model's weights, and what else decides what it makes of slices.
        device: Where it runs.
        batch_size: Slices at a time: which ones go together may change the last digit.
        threads: PyTorch's number of threads, likewise.
        kinds: Names of what is computed.
    """
    digest = blake2b(digest_size=32)
    for array in (stack.images, stack.occupied):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    content = digest.hexdigest()
    return {kind: CacheKey(content, sha256, device, batch_size, kind, threads) for kind in kinds}
