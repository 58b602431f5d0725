"""Preparing the current patient before a run: the logic behind the banner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, QTimer

from ...exploring import Session
from ...patients import Patient
from ...preparing import DEFAULT_STRIPPER, SAME, needs_even, needs_register, needs_strip
from ...progress import Stop
from ..canvas.layer_view import LayerView
from ..common.jobs import spared_core
from ..common.latest import Latest
from ..common.preferences import preferences
from ..common.preparation_banner import PreparationBanner
from .work import Work


class Needs(NamedTuple):
    """The needs of a scan, each a clause; empty if there is none."""

    strip: str
    even: str


class Preparing(QObject):
    """Checks each new patient in a thread, and prepares it on request.

    Args:
        banner: Words and buttons.
        session: The session.
        layers: Its layers; one is the brain mask.
        work: Does it in a thread.
        pause: Stops what is computed beside the mask: its patient goes.
    """

    def __init__(
        self,
        banner: PreparationBanner,
        session: Session,
        layers: LayerView,
        work: Work,
        pause: Callable[[], None],
    ) -> None:
        super().__init__(banner)
        self.banner, self.session, self.layers, self.work, self._pause = banner, session, layers, work, pause
        self._looking = Latest(self, pause_ms=0)
        self._patient: Patient | None = None
        self._judged: tuple[Patient, str] | None = None
        self.needs = Needs("", "")
        self._next: Callable[[], None] | None = None
        self._once_over = QTimer(self, singleShot=True, interval=0)  # after all others have seen the end
        self._once_over.timeout.connect(self._start_next)
        work.job.ended.connect(self._once_over.start)
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
        self._next = None
        self._looking.stop()

    def judge(self, patient: Patient) -> None:
        """Check for a skull in the thread that opens a patient, so that the banner appears together with the scan."""
        self._judged = patient, needs_strip(patient)

    def patient_changed(self, patient: Patient) -> None:
        """Check a patient, unless it was checked already."""
        before, self._patient = self._patient, patient
        if (
            before is not None
            and before.sequences is patient.sequences
            and before.sequence == patient.sequence
        ):
            return
        judged, self._judged = self._judged, None
        known = judged[1] if judged is not None and judged[0] is patient else None
        self.needs = Needs(known or "", "")
        self.show()

        def look(should_stop: Stop) -> Needs:
            with spared_core():
                strip = needs_strip(patient) if known is None else known
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
        """Disable the buttons while something runs, but for a run of a model, which a press ends."""
        for button in self.banner.buttons:
            button.enabled = not self.work.running or (self.work.gives_way and self._next is None)

    def strip(self) -> None:
        """Strip the skull of the patient, in a thread."""
        job, patient = self.work.job, self.session.patient
        chosen = self.banner.strip_from.value
        sequence = SAME if patient is None or chosen in (None, patient.sequence) else str(chosen)
        self._start(
            "Stripping the skull",
            lambda: self.session.strip(
                DEFAULT_STRIPPER,
                sequence,
                device=preferences().device,
                on_progress=job.report,
                should_stop=job.stopping,
            ),
        )

    def register(self) -> None:
        """Move the other sequences onto the one that detection uses, in a thread."""
        job = self.work.job
        self._start(
            "Moving the sequences",
            lambda: self.session.register(on_progress=job.report, should_stop=job.stopping),
        )

    def even_out(self) -> None:
        """Correct the bias field of the patient's scan, in a thread."""
        self._start(
            "Correcting the bias field", lambda: self.session.even_out(should_stop=self.work.job.stopping)
        )

    def use_brain(self) -> None:
        """Use the brain mask in the viewer, in a thread."""
        layer = self.layers.brain_layer()
        if not isinstance(layer, Labels):
            show_warning("There is no layer with a brain mask any more: strip the skull again.")
            return
        data = np.asarray(layer.data) > 0
        brain = data[None] if data.ndim == 2 else data
        self._start(
            "Using the brain mask",
            lambda: self.session.use_brain(brain, should_stop=self.work.job.stopping),
        )

    def _start(self, stage: str, work: Any) -> None:
        def spared() -> Any:
            with spared_core():
                return work()

        def start() -> None:
            if not self.work.running:
                self._pause()
                self.work.start(spared, stage=stage)

        if self.work.running and self.work.gives_way:
            self._next = start
            self.work.cancel()
            self.update_enabled()
        else:
            start()

    def _start_next(self) -> None:
        following, self._next = self._next, None
        if following is not None:
            following()


def _sentence(clause: str) -> str:
    return f"{clause[:1].upper()}{clause[1:]}."
