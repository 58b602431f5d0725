"""Undo and redo of settings and strokes."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")

LONGEST = 200
"""Number of steps kept."""


class History(Generic[T]):
    """The user's states, with undo and redo.

    Args:
        start: The first state.
    """

    def __init__(self, start: T) -> None:
        self._states = [start]
        self._now = 0
        self._gesture: object = None

    @property
    def now(self) -> T:
        """The current state."""
        return self._states[self._now]

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier state."""
        return self._now > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is a later state."""
        return self._now + 1 < len(self._states)

    def record(self, state: T, gesture: object = None) -> None:
        """Add a state after the current one; undone states are forgotten.

        Args:
            state: The new state.
            gesture: States of one gesture, such as a drag of a slider, form one step; None is a step of its own.
        """
        if state == self.now:
            return
        del self._states[self._now + 1 :]
        if gesture is not None and gesture == self._gesture:
            self._states[self._now] = state
            if self._now and state == self._states[self._now - 1]:  # back at the start: there is no step
                del self._states[self._now]
                self._now, self._gesture = self._now - 1, None
            return
        self._states.append(state)
        del self._states[:-LONGEST]
        self._now = len(self._states) - 1
        self._gesture = gesture

    def amend(self, state: T) -> None:
        """Let the current state be another one, without a step."""
        self._states[self._now] = state

    def revisit(self, state: T) -> bool:
        """Go one state back or forward if that one is equal to ``state``; return whether there is one."""
        for step in (-1, 1):
            place = self._now + step
            if 0 <= place < len(self._states) and self._states[place] == state:
                self._go(step)
                return True
        return False

    def undo(self) -> T:
        """Go one state back, if there is one, and return it."""
        return self._go(-1)

    def redo(self) -> T:
        """Go one state forward, if there is one, and return it."""
        return self._go(1)

    def _go(self, step: int) -> T:
        self._gesture = None
        self._now = min(max(self._now + step, 0), len(self._states) - 1)
        return self.now
