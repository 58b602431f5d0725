"""Preparing the current patient before a run: the logic behind the banner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject

from ..patients import Patient
from ..preparing import DEFAULT_STRIPPER, SAME, needs_even, needs_register, needs_strip
from ..progress import Stop
from .jobs import spared_core
from .latest import Latest
from .preferences import preferences

if TYPE_CHECKING:
    from .explore import ExploreWidget


class Needs(NamedTuple):
    """The needs of a scan, each a clause; empty if there is none."""

    strip: str
    even: str


class Preparing(QObject):
    """Checks each new patient in a thread, and prepares it on request.

    Args:
        dock: The dock.
    """

    def __init__(self, dock: ExploreWidget) -> None:
        super().__init__(dock)
        self.dock, self.session, self.banner = dock, dock.session, dock.banner
        self._looking = Latest(self, pause_ms=0)
        self._patient: Patient | None = None
        self.needs = Needs("", "")
        self.banner.strip.changed.connect(self.strip)
        self.banner.register.changed.connect(self.register)
        self.banner.even.changed.connect(self.even_out)
        self.banner.use_brain.changed.connect(self.use_brain)

    @property
    def busy(self) -> bool:
        """Whether the patient is still being checked."""
        return self._looking.busy

    def stop(self) -> None:
        """Stop checking."""
        self._looking.stop()

    def patient_changed(self, patient: Patient) -> None:
        """Check a patient, unless it was checked already."""
        before, self._patient = self._patient, patient
        if (
            before is not None
            and before.sequences is patient.sequences
            and before.sequence == patient.sequence
        ):
            return
        self.needs = Needs("", "")
        self.show()

        def look(should_stop: Stop) -> Needs:
            with spared_core():
                strip = needs_strip(patient)
                return Needs(strip, "" if strip or should_stop() else needs_even(patient))

        def found(needs: Needs) -> None:
            if self.session.patient is patient:
                self.needs = needs
                self.show()

        self._looking.ask(look, found)

    def show(self) -> None:
        """Show what is needed and what was done."""
        patient = self.session.patient
        made = None if patient is None else patient.prepared
        parts = []
        apart = "" if patient is None else needs_register(patient)
        if patient is not None:
            self.banner.offer_sequences(list(patient.sequences), patient.sequence)
        if self.needs.strip:
            parts.append(f"{_sentence(self.needs.strip)} Outside the brain an anomaly map has no meaning.")
        if self.needs.even:
            parts.append(f"{_sentence(self.needs.even)} A model may take that for a lesion.")
        if apart:
            parts.append(f"{_sentence(apart)} A head that moved in between is not told by them.")
        if made is not None and made.changed:
            parts += [_sentence(note) for note in made.notes]
        if made is not None and made.brain_mask is not None:
            parts.append("The layer “brain mask” can be repaired with napari's brush and then used.")
        self.banner.show_needs(
            " ".join(parts),
            strip=bool(self.needs.strip),
            even=bool(self.needs.even),
            use_brain=made is not None and made.brain_mask is not None,
            register=bool(apart),
        )
        self.update_enabled()

    def update_enabled(self) -> None:
        """Disable the buttons while something runs."""
        for button in self.banner.buttons:
            button.enabled = not self.dock.running

    def strip(self) -> None:
        """Strip the skull of the patient, in a thread."""
        job, patient = self.dock.job, self.session.patient
        chosen = self.banner.strip_from.value
        sequence = SAME if patient is None or chosen in (None, patient.sequence) else str(chosen)
        self._start(
            lambda: self.session.strip(
                DEFAULT_STRIPPER,
                sequence,
                device=preferences().device,
                on_progress=job.report,
                should_stop=job.stopping,
            )
        )

    def register(self) -> None:
        """Move the other sequences onto the one that detection uses, in a thread."""
        job = self.dock.job
        self._start(lambda: self.session.register(on_progress=job.report, should_stop=job.stopping))

    def even_out(self) -> None:
        """Correct the bias field of the patient's scan, in a thread."""
        self._start(lambda: self.session.even_out(should_stop=self.dock.job.stopping))

    def use_brain(self) -> None:
        """Use the brain mask in the viewer, in a thread."""
        layer = self.dock.layers.brain_layer()
        if not isinstance(layer, Labels):
            show_warning("There is no layer with a brain mask any more: strip the skull again.")
            return
        data = np.asarray(layer.data) > 0
        brain = data[None] if data.ndim == 2 else data
        self._start(lambda: self.session.use_brain(brain, should_stop=self.dock.job.stopping))

    def _start(self, work: Any) -> None:
        def spared() -> Any:
            with spared_core():
                return work()

        if not self.dock.running:
            self.dock.live.stop()
            self.dock.insight.stop()
            self.dock.start(spared)


def _sentence(clause: str) -> str:
    return f"{clause[:1].upper()}{clause[1:]}."
