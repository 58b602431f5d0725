"""What was done to a patient's scans after they were read, kept with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Prepared:
    """How a patient's scans differ from their files.

    Attributes:
        raw: The sequences as they were read, (Z, Y, X) by name.
        asked: What was asked for, as JSON values: ``strip``, ``strip_from``, ``bias_field`` and ``register``.
        brain_mask: (Z, Y, X) bool: outside of it all sequences are 0; None if no skull was stripped.
        stripper: What found the brain; empty if nothing did, ``"given"`` for a mask that somebody gave.
        corrected: Sequences that were freed from their bias field.
        moves: Of each sequence that was registered to the one that detection uses, how it was moved, as JSON values.
        placed: These sequences as they lie after that, before a skull was stripped.
        lesion_masks: (as it was read, as it was moved), if the lesion mask was moved with a sequence.
        facts: More about it, as JSON values: version and device of the stripper, volume of the brain.
        notes: What was done, and what to look at, for the user.
    """

    raw: Mapping[str, NDArray[np.float32]] = field(repr=False)
    asked: Mapping[str, str] = field(default_factory=dict)
    brain_mask: NDArray[np.bool_] | None = field(default=None, repr=False)
    stripper: str = ""
    corrected: tuple[str, ...] = ()
    moves: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    placed: Mapping[str, NDArray[np.float32]] = field(default_factory=dict, repr=False)
    lesion_masks: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = field(default=None, repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the scans differ from their files at all."""
        return self.brain_mask is not None or bool(self.corrected or self.moves)
