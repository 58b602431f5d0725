"""Preparing raw scans in the list of the Train dock: the logic behind its banner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject

from ...errors import CeadError
from ...preparing import DEFAULT_STRIPPER, N4, RAW, RIGID, SAME, Preparation
from ...store.inspection import ScanReport
from ...store.raw_scans import Beside, beside, prepared_source
from ...store.scans import ScanSource
from ..common.jobs import on_main

if TYPE_CHECKING:
    from .scan_finder import ScanFinder

_SKULL, _UNEVEN = ("skull", "background"), ("uneven",)


class RawScans(QObject):
    """Prepares the scans of the list on request: strips, evens out, registers; always from the given scans.

    Args:
        finder: Adds scans to the list.
    """

    def __init__(self, finder: ScanFinder) -> None:
        super().__init__(finder)
        self.finder, self.form, self.banner = finder, finder.form, finder.form.banner
        self.wanted: dict[Path, Preparation] = {}
        """The requested preparation of each scan, by its place."""
        self._given: dict[Path, ScanSource] = {}
        self._beside: dict[Path, Beside] = {}
        self._made: set[Path] = set()
        self._tell_failure = on_main(self._show_failure)
        self.banner.strip.changed.connect(self.strip)
        self.banner.even.changed.connect(self.even_out)
        self.banner.register.changed.connect(self.register)
        for changed in (self.form.scans.scans.ticked, finder.job.ended):
            changed.connect(self.show)

    def _show_failure(self, message: str) -> None:
        show_warning(message)

    def given(self, source: ScanSource) -> ScanSource:
        """Return the given scan that this one is or was made from."""
        return self._given.get(source.scan, source)

    def look_beside(self, source: ScanSource, sequence: str) -> None:
        """Find the other sequences of a patient beside a scan. Safe in any thread."""
        self._beside[source.scan] = beside(source, sequence)

    def show(self) -> None:
        """Show the needs of the scans."""
        reports = self.finder.model.reports
        skulls, uneven, loose = _with(reports, _SKULL), _with(reports, _UNEVEN), self._loose()
        others = (name for report in reports for name in self._visit(report).sequences)
        names = list(dict.fromkeys((self.form.sequence.value, *others)))
        self.banner.offer_sequences(names, names[0])
        parts = []
        if skulls:
            parts.append(f"{_count(skulls)} a skull, which has to be stripped before anything is learnt.")
        if uneven:
            parts.append(f"{_count(uneven)} one side that is brighter than the other.")
        if loose:
            parts.append(f"{_count(loose)} a mask that may lie on another sequence, as the headers place it.")
        self.banner.show_needs(" ".join(parts), strip=bool(skulls), even=bool(uneven), register=bool(loose))
        for button in self.banner.buttons:
            button.enabled = not self.finder.job.running

    def strip(self) -> None:
        """Strip the scans that show a skull."""
        chosen = self.banner.strip_from.value
        source = SAME if chosen in (None, self.form.sequence.value) else str(chosen)
        self._prepare(_with(self.finder.model.reports, _SKULL), strip=DEFAULT_STRIPPER, strip_from=source)

    def even_out(self) -> None:
        """Correct the bias field of the scans with a brighter side."""
        self._prepare(_with(self.finder.model.reports, _UNEVEN), bias_field=N4)

    def register(self) -> None:
        """Move other sequences onto the scans, with the masks drawn on them or found in them."""
        self._prepare(self._loose(), register=RIGID)

    def _visit(self, report: ScanReport) -> Beside:
        return self._beside.get(self.given(report.source).scan, Beside(one_grid=True))

    def _loose(self) -> list[ScanReport]:
        """Return the scans that registration may change.

        There is a lesion mask, or the brain of another sequence, and the headers do not show one grid for all.
        """
        found = []
        for report in self.finder.model.reports:
            source = self.given(report.source)
            done = self.wanted.get(source.scan, RAW)
            masked = report.source.lesion_mask is not None or done.strip_from != SAME
            apart = self._visit(report).sequences and not self._visit(report).one_grid
            if masked and done.register != RIGID and apart:
                found.append(report)
        return found

    def _prepare(self, reports: Sequence[ScanReport], **changes: str) -> None:
        finder, job, sequence = self.finder, self.finder.job, self.form.sequence.value
        device, sources = self.form.rows.controls["device"].value, [report.source for report in reports]

        def work() -> None:
            for done, source in enumerate(sources):
                job.report(done, len(sources))
                given = self.given(source)
                wanted = self.wanted.get(given.scan, RAW).replace(**changes)
                try:
                    made, _ = prepared_source(
                        self._start(source), sequence, wanted, device=device, should_stop=job.stopping
                    )
                except CeadError as error:
                    self._tell_failure(str(error))
                    continue
                self.wanted[given.scan] = wanted
                self._given[made.scan] = given
                self._made.update(file for file in (made.lesion_mask, made.brain_mask) if file is not None)
                finder.again([made])

        if sources:
            finder.start(work)

    def _start(self, source: ScanSource) -> ScanSource:
        """Return a scan as given, with later given masks, and none that were made here."""
        given = self.given(source)
        lesion, brain = (
            before if now in self._made else now
            for now, before in (
                (source.lesion_mask, given.lesion_mask),
                (source.brain_mask, given.brain_mask),
            )
        )
        return replace(given, lesion_mask=lesion, brain_mask=brain)


def _with(reports: Sequence[ScanReport], codes: tuple[str, ...]) -> list[ScanReport]:
    return [report for report in reports if any(warning.code in codes for warning in report.warnings)]


def _count(reports: Sequence[ScanReport]) -> str:
    return f"{len(reports)} scan{' has' if len(reports) == 1 else 's have'}"
