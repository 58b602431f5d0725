"""The figures of the Explore dock, and the line on the origin of its settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..detection import PostprocessParams
from ..detection.choosing import Suggested
from ..detection.rules import title_of
from ..exploring import Analysis, Figures
from ..metrics import volume_ml
from ..wording import UNDEFINED, number
from .figures_view import PENDING

if TYPE_CHECKING:
    from .explore import ExploreWidget


class ResultView:
    """Shows the figures of the current analysis.

    Args:
        dock: The dock.
    """

    def __init__(self, dock: ExploreWidget) -> None:
        self.dock = dock

    def show(self, mask: NDArray[np.bool_] | None = None, settled: bool = True) -> None:
        """Show the figures of slice and volume.

        Args:
            mask: Mask (Y, X) of the visible slice while it is ahead of the volume.
            settled: Whether the mask of the volume matches the sliders.
        """
        dock = self.dock
        # Once: a thread that opens another patient takes the analysis away at any moment.
        analysis, z = dock.session.analysis, dock.layers.current_slice()
        if analysis is None:
            dock.dice_label.value = dock.volume_label.value = UNDEFINED
            dock.on_canvas.write("")
            dock.figures.show_slice(None)
            dock.figures.show_volume(None)
            return
        dock.show_rule(analysis.suggestions, dock.live.wanted)
        if settled:
            dock.insight.go_on()
        patient = analysis.reconstruction.patient
        reference = None if patient.lesion_mask is None or z is None else patient.lesion_mask[z]
        if settled and z is not None:
            mask = analysis.mask[z]
        here = None if mask is None else Figures.of_slice(mask, reference, patient.spacing)
        dock.figures.show_slice(here)
        whole = dock.insight.figures_of(analysis) if settled else None
        dock.figures.show_volume(whole, pending=not settled or whole is None)
        of_slice = number(None if here is None else here.dice)
        of_volume = _volume_dice(analysis) if settled else PENDING
        dock.dice_label.value = f"slice {of_slice} · volume {of_volume}"
        both = f"Dice\nslice {of_slice}\nvolume {of_volume}"  # short lines leave the letter above to itself
        # Side by side, the corner belongs to the name of the first tile, and the table has every Dice.
        alone = patient.lesion_mask is not None and not dock.compare.active
        dock.on_canvas.write(both if alone else "")
        dock.volume_label.value = (
            f"{volume_ml(analysis.mask, patient.spacing):.2f} mL" if settled else PENDING
        )


def settings_text(suggestions: Iterable[Suggested], params: PostprocessParams) -> str:
    """Return the origin of settings, in words.

    Args:
        suggestions: The model's suggestions.
        params: The settings.
    """
    for one in suggestions:
        for start, settings in (("suggested", one.params), ("default", one.start)):
            if params == settings:
                return _rule_text(one.rule, start)
    return "Your settings"


def _rule_text(rule: str, start: str) -> str:
    if rule == "default":
        return "Default settings"
    words = title_of(rule)
    return (
        f"Suggested: {words}" if start == "suggested" else f"Default settings, suggested threshold: {words}"
    )


def _volume_dice(analysis: Analysis) -> str:
    reference = analysis.reconstruction.patient.lesion_mask
    return number(analysis.dice if reference is not None and reference.any() else None)
