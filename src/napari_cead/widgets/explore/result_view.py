"""The figures of the Explore dock, and the line on the origin of its settings."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ...detection import PostprocessParams
from ...detection.choosing import Suggested
from ...detection.rules import title_of
from ...exploring import Analysis, Figures, Session
from ...metrics import volume_ml
from ...wording import UNDEFINED, number
from ..canvas.canvas_notes import CanvasNotes
from ..canvas.layer_view import LayerView
from .comparison import Comparison
from .curve_and_figures import Insight
from .explore_form import ExploreForm
from .figures_view import PENDING


class ResultView:
    """Shows the figures of the current analysis.

    Args:
        form: Has their labels.
        on_canvas: Shows the Dice on the canvas.
        session: The session.
        layers: Its layers.
        insight: Source of the figures of the volume.
        compare: Side by side, each tile shows its own Dice.
    """

    def __init__(
        self,
        form: ExploreForm,
        on_canvas: CanvasNotes,
        session: Session,
        layers: LayerView,
        insight: Insight,
        compare: Comparison,
    ) -> None:
        self.form, self.on_canvas, self.session = form, on_canvas, session
        self.layers, self.insight, self.compare = layers, insight, compare

    def show(self, mask: NDArray[np.bool_] | None = None, settled: bool = True) -> None:
        """Show the figures of slice and volume.

        Args:
            mask: Mask (Y, X) of the visible slice while it is ahead of the volume.
            settled: Whether the mask of the volume matches the sliders.
        """
        form = self.form
        # Once: a thread that opens another patient takes the analysis away at any moment.
        analysis, z = self.session.analysis, self.layers.current_slice()
        if analysis is None:
            form.dice_label.value = form.volume_label.value = UNDEFINED
            self.on_canvas.write("")
            form.figures.show_slice(None)
            form.figures.show_volume(None)
            return
        form.show_rule(settings_text(analysis.suggestions, self.session.params), analysis.suggestions)
        if settled:
            self.insight.go_on()
        patient = analysis.reconstruction.patient
        reference = None if patient.lesion_mask is None or z is None else patient.lesion_mask[z]
        if settled and z is not None:
            mask = analysis.mask[z]
        here = None if mask is None else Figures.of_slice(mask, reference, patient.spacing)
        form.figures.show_slice(here)
        whole = self.insight.figures_of(analysis) if settled else None
        form.figures.show_volume(whole, pending=not settled or whole is None)
        of_slice = number(None if here is None else here.dice)
        of_volume = _volume_dice(analysis) if settled else PENDING
        form.dice_label.value = f"slice {of_slice} · volume {of_volume}"
        both = f"Dice\nslice {of_slice}\nvolume {of_volume}"  # short lines leave the letter above to itself
        # Side by side, the corner belongs to the title of the first tile, and every title has its Dice.
        self.compare.write_dice(settled)
        alone = patient.lesion_mask is not None and not self.compare.active
        self.on_canvas.write(both if alone else "")
        form.volume_label.value = (
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
