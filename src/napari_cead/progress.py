"""What long functions report to, and ask whether to go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (steps done, total steps)."""

Stop: TypeAlias = Callable[[], bool]
"""Called several times a second; true ends the work with `Cancelled`."""
