"""The verb that checks a cohort before any computation."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from ..wording import counted
from .console import print_json, progress
from .options import (
    Bias,
    BiasField,
    Cohort,
    LayoutOption,
    Register,
    Registration,
    Strip,
    StripFrom,
    preparation,
)

if TYPE_CHECKING:
    from ..patients.integrity import CohortCheck


def check(
    cohort: Cohort,
    sequence: Annotated[
        str | None,
        typer.Option(help="A sequence that every patient must have (default: those that most have)."),
    ] = None,
    layout: LayoutOption = None,
    strip: Strip = "auto",
    bias_field: BiasField = Bias.NEVER,
    register: Registration = Register.NEVER,
    strip_from: StripFrom = "same",
    json: Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")] = False,
) -> int:
    """Report missing, unreadable or inconsistent files in a cohort.

    The exit status is 0 if there are none, and 2 if there are.

    --strip auto lists the scans that a run would strip, and whether it can; a named stripper runs on each scan, and its
    mask is kept for the run.
    """
    from functools import partial

    from ..patients.datasets import find_layout
    from ..patients.integrity import check_cohort
    from ..preparing.readiness import readiness

    known = None if layout is None else find_layout(layout)
    ready = partial(readiness, preparation(strip, bias_field, register, strip_from, several=True))
    with progress("checking") as on_progress:
        report = check_cohort(cohort, sequence, layout=known, ready=ready, on_progress=on_progress)
    if known is not None:
        typer.echo(f"note: {known.said}", err=True)
        if others := known.unmatched(cohort):
            typer.echo(
                f"note: {len(others)} scans fit no pattern of the layout and are not used, {others[0]} for instance",
                err=True,
            )
    if json:
        print_json(report.as_dict())
    else:
        _print(report)
    return 0 if report.clean else 2


def _print(report: CohortCheck) -> None:
    for patient in report.patients:
        for finding in patient.findings:
            typer.echo(f"{finding.patient}: {finding.code}: {finding.file}: {finding.sentence}")
    patients = len(report.patients)
    typer.echo(
        f"{counted(patients, 'patient')}, {report.labelled} with a lesion mask, "
        f"{patients - report.labelled} unlabelled; "
        f"expected of each: {', '.join(report.expected) or 'nothing'}"
    )
    needs = Counter(need for patient in report.patients for need in patient.needs)
    for need, count in sorted(needs.items()):
        typer.echo(f"{count} of {patients} patients have {need}")
    counts = ", ".join(f"{count} {code}" for code, count in report.counts().items())
    typer.echo(f"findings: {counts}" if counts else "no findings")
