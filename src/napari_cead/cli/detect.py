"""The verb that runs a model over one patient or many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import ParameterError
from ..wording import counted
from .config import configurable, keep, when_begun
from .console import Side, figures, print_json, progress, refuse
from .generated import DetectCommand, given_settings, option_values
from .options import (
    Bias,
    BiasField,
    Register,
    Registration,
    Scheduler,
    Strip,
    StripFrom,
    Workers,
    check_workers,
    preparation,
)

if TYPE_CHECKING:
    from ..detection import Detection
    from ..detection.choosing import Settled
    from ..preparing import Preparation

MAX_THREADS = 1024


class Start(StrEnum):
    """Values of the settings without a flag."""

    DEFAULT = "default"
    SUGGESTED = "suggested"


@configurable(first=("out", "model", "sequence", "mask", "strip", "device", "json"))
def detect(
    context: typer.Context,
    patient: Annotated[
        Path,
        typer.Argument(
            help="A patient (folder, scan, DICOM folder or FOLDER#SERIES, zip), or a folder of patients."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    model: Annotated[
        str | None, typer.Option(help="Name or folder of the model (default: that of a new dock).")
    ] = None,
    sequence: Annotated[str, typer.Option(help="Sequence to use.")] = "flair",
    mask: Annotated[Path | None, typer.Option(help="Lesion mask to compare with.")] = None,
    strip: Strip = "auto",
    bias_field: BiasField = Bias.NEVER,
    register: Registration = Register.NEVER,
    strip_from: StripFrom = "same",
    settings: Annotated[
        Start,
        typer.Option(
            help="Values of settings without a flag: the defaults, with the model's suggested threshold; or all "
            "suggested by the model."
        ),
    ] = Start.DEFAULT,
    score: Annotated[str | None, typer.Option()] = None,  # its help: DetectCommand
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    batch_size: Annotated[int | None, typer.Option(help="Slices per batch (default: 32).")] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads on the CPU; the last bits of a map depend on their number.")
    ] = None,
    corrections: Annotated[
        Path | None,
        typer.Option(help="Exported corrections (1 painted, 2 erased) to apply to the mask."),
    ] = None,
    png_first_column: Annotated[
        Side | None,
        typer.Option(help="Side of the patient that column 0 of PNG slices shows (default: left)."),
    ] = None,
    dicom: Annotated[
        bool,
        typer.Option(
            "--dicom",
            help="Also write mask.dcm, a DICOM segmentation, for a scan from a DICOM series.",
        ),
    ] = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    json: Annotated[bool, typer.Option("--json", help="Print detection.json.")] = False,
) -> None:
    """Write anomaly map, reconstruction and mask of patients.

    They are NIfTI files on the grid of the scan; detection.json says how they were made.

    For several patients, each has a folder in OUT, and --workers share the work; after an interruption, the same
    command continues.
    """
    from ..detection import MapOptions, PostprocessParams
    from ..patients import find_patients, is_patient
    from ..patients.places import is_zip
    from ..zoo import DEFAULT_MODEL

    several = (patient.is_dir() or is_zip(patient)) and not is_patient(patient)
    with progress("looking for patients"):
        paths = list(find_patients(patient)) if several else []
    for flag, file in (("--mask", mask), ("--corrections", corrections)):
        if several and file is not None:
            raise ParameterError(f"{flag} goes with one patient", hint="name the patient's folder")
    check_workers(workers, scheduler)
    if not paths and (scheduler is not None or workers not in (None, 1)):
        flag = "--scheduler" if workers is None else "--workers"
        refuse(flag, "for one patient", hint="leave it out, or give a folder of patients")
    if threads is not None and (scheduler is not None or workers not in (None, 1)):
        refuse(
            "--threads", "for workers, which are other processes", hint="give --workers 1, or leave it out"
        )
    if several and dicom:
        raise ParameterError("--dicom goes with one patient", hint="name the patient's folder")
    one = _Detect(
        model or DEFAULT_MODEL,
        settings.value,
        score,
        given_settings(context, PostprocessParams),
        given_settings(context, MapOptions),
        sequence,
        png_first_column,
        device,
        batch_size,
        preparation(strip, bias_field, register, strip_from, several=several),
        dicom,
    )
    with _threads(threads):
        if paths:
            here = threads is not None and workers is None  # the threads are those of this process
            resolved = {**context.params, **one.resolved()}
            _detect_all(one, patient, out, 1 if here else workers, scheduler, json, resolved)
            return
        described = one(patient, mask, out, corrections)
    # What repeats it is found out once: the file holds the options of the command in detection.json.
    more = {**option_values(one.settled.options), "out": out, "dicom": dicom}
    keep(detect, out, more, described["command"]["argv"][2:], cls=DetectCommand)
    if json:
        print_json(described)
    else:
        typer.echo(_line(described, out))


def _detect_all(
    one: _Detect,
    cohort: Path,
    out: Path,
    workers: int | None,
    scheduler: str | None,
    json: bool,
    options: Mapping[str, Any],
) -> None:
    """Process all patients of a cohort, and keep the options in the folder of the results."""
    from ..detection.cohort import detect_cohort
    from ..patients import place_below

    def tell(path: Path, found: Mapping[str, Any] | str) -> None:
        if isinstance(found, str):
            typer.echo(f"skipped: {found}", err=True)
        elif not json:
            typer.echo(_line(found, out / place_below(path, cohort)))

    with progress("patients") as on_progress:
        found = detect_cohort(
            cohort,
            one.model,
            out,
            one.settled,
            sequence=one.sequence,
            png_first_column=one.side.value,
            device=one.device,
            batch_size=one.batch_size,
            preparation=one.preparation,
            workers=workers,
            scheduler=scheduler,
            on_patient=tell,
            on_progress=when_begun(lambda: keep(detect, out, options, cls=DetectCommand), on_progress),
        )
    if json:
        skipped = [{"patient": str(path), "reason": reason} for path, reason in found.skipped]
        print_json({"schema_version": 1, "results": found.results, "skipped": skipped})
    else:
        again = f", {found.kept} of them before" if found.kept else ""
        typer.echo(f"{counted(len(found.results), 'patient')} done{again}, {len(found.skipped)} skipped")


class _Detect:
    """Detection with fixed settings; the model is loaded once."""

    def __init__(
        self,
        model: str,
        start: Literal["default", "suggested"],
        score: str | None,
        params: dict[str, Any],
        options: dict[str, Any],
        sequence: str,
        side: Side | None,
        device: str,
        batch_size: int | None,
        preparation: Preparation,
        dicom: bool = False,
    ) -> None:
        from ..detection.reconstruct import GROUP, check_batch_size

        self.model, self.device, self.preparation = model, device, preparation
        self.dicom = dicom
        self.settled = _settled(model, start, score, params, options)
        self.batch_size = GROUP if batch_size is None else batch_size
        check_batch_size(self.batch_size)
        self.sequence, self.side, self.side_given = sequence, side or Side.LEFT, side is not None

    def resolved(self) -> dict[str, Any]:
        """Return the options of the command with what was left to the model or the program."""
        from ..detection.replay import model_argument
        from ..zoo import find_model

        return {
            "model": model_argument(self.model, find_model(self.model)),
            "score": self.settled.score,
            **option_values(self.settled.params),
            **option_values(self.settled.options),
            "batch_size": self.batch_size,
            "png_first_column": self.side,
        }

    def __call__(self, path: Path, mask: Path | None, out: Path, painted: Path | None) -> dict[str, Any]:
        from ..detection import check_output, save_detection
        from ..detection import detect as run_detection
        from ..detection.corrections import corrected, read_corrections
        from ..detection.dicom_seg import check_dicom
        from ..detection.replay import Origin
        from ..detection.saving import check_no_other
        from ..patients import is_pictures, load_patient
        from ..preparing import prepare_patient
        from ..zoo import load_model

        with progress(path.name) as on_progress:
            detector = load_model(self.model, self.device)
            loaded = load_patient(
                path,
                self.sequence,
                mask,
                only=not self.preparation.needs_others,
                png_first_column=self.side.value,
            )
            if self.side_given and not is_pictures(loaded.files[loaded.sequence]):
                refuse("--png-first-column", f"for {path}, which is not a PNG and states its own orientation")
            check_output(out, loaded)
            check_no_other(out, loaded.name, detector.name)
            if self.dicom:
                check_dicom(loaded)
            patient = prepare_patient(loaded, self.preparation, device=self.device, on_progress=on_progress)
            corrections = None if painted is None else read_corrections(painted, patient)
            result = run_detection(
                patient,
                detector,
                self.settled,
                batch_size=self.batch_size,
                on_progress=on_progress,
            )
        for note in result.warnings:
            if note not in loaded.warnings:  # those were printed when it was loaded
                typer.echo(f"warning: {note}", err=True)
        final = result if corrections is None else corrected(result, corrections)
        described = save_detection(
            final,
            out,
            corrections=corrections,
            automatic=None if corrections is None else result.mask,
            origin=Origin.given(path, patient, self.side.value),
        )
        if self.dicom:
            _write_dicom(final, out)
        return described


def _write_dicom(result: Detection, out: Path) -> None:
    """Write the mask as DICOM; without a detection there is none, and a line says so."""
    from ..detection.dicom_seg import BRAIN, LESION, save_dicom

    file = out.expanduser() / "mask.dcm"
    if not result.mask.any():
        file.unlink(missing_ok=True)
        typer.echo("warning: no voxel was detected, so there is no mask.dcm", err=True)
        return
    segments = {LESION: result.mask}
    made = result.patient.prepared
    if made is not None and made.brain_mask is not None:
        segments[BRAIN] = made.brain_mask
    save_dicom(segments, result.patient, file, model=result.model)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Compute with the given number of threads on the CPU; None leaves the choice to PyTorch."""
    if count is None:
        yield
        return
    import torch

    if not 1 <= count <= MAX_THREADS:
        raise ParameterError(
            f"--threads must be a whole number from 1 to {MAX_THREADS}, not {count}",
            hint="give such a number, or leave --threads out",
        )
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _settled(
    model: str,
    start: Literal["default", "suggested"],
    score: str | None,
    params: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Settled:
    """Return the settings; an error names the flag that was typed."""
    from ..detection import MapOptions, PostprocessParams
    from ..detection.choosing import settle_given
    from ..detection.settings import flags_of
    from ..zoo import find_model, load_card

    try:
        return settle_given(load_card(find_model(model)), start, score, params, options)
    except ParameterError as error:
        reason = error.reason
        for name, flag in {**flags_of(PostprocessParams), **flags_of(MapOptions)}.items():
            reason = reason.replace(name, flag)
        raise ParameterError(reason, hint=error.hint) from None


def _line(described: Mapping[str, Any], out: Path) -> str:
    from ..detection.choosing import settings_line

    return (
        f"{described['patient']}: {described['model']}, {settings_line(described)}: "
        f"{figures(described['dice'], described['volume_ml'])}; {out}"
    )
