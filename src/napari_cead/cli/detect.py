"""The verb that runs a model over one patient or many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CeadError, OutputError, ParameterError
from .console import Side, number, print_json, progress

if TYPE_CHECKING:
    from ..detection import PostprocessParams

FLAGS = {
    "threshold": "--threshold",
    "closing_radius": "--closing",
    "area_fraction": "--area-fraction",
    "dilation_radius": "--dilation",
    "min_area_mm2": "--min-area",
}
"""Post-processing settings and the flags that change them."""


def detect(
    patient: Annotated[Path, typer.Argument(help="A patient's folder or file, or a folder of patients.")],
    model: Annotated[str, typer.Option(help="Name or folder of the model.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    sequence: Annotated[str, typer.Option(help="Sequence to use.")] = "flair",
    mask: Annotated[Path | None, typer.Option(help="Lesion mask to compare with.")] = None,
    threshold: Annotated[float | None, typer.Option(help="0 to 1.")] = None,
    closing: Annotated[int | None, typer.Option(help="Radius in pixels.")] = None,
    area_fraction: Annotated[
        float | None, typer.Option(help="0 to 1, of the slice's largest component.")
    ] = None,
    dilation: Annotated[int | None, typer.Option(help="Radius in pixels.")] = None,
    min_area: Annotated[float | None, typer.Option(help="Smallest component in mm².")] = None,
    score: Annotated[
        str | None,
        typer.Option(
            help="residual, positive-residual, squared or intensity; the model's suggestion if left out."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    png_first_column: Annotated[
        Side, typer.Option(help="Side of the patient that column 0 of PNG slices shows.")
    ] = Side.LEFT,
    json: Annotated[bool, typer.Option("--json", help="Print detection.json.")] = False,
) -> None:
    """Write anomaly map, reconstruction and mask (NIfTI, source grid) and detection.json."""
    from ..patients import find_patients, is_patient

    given = zip(FLAGS, (threshold, closing, area_fraction, dilation, min_area), strict=True)
    changes = {name: value for name, value in given if value is not None}
    several = patient.is_dir() and not is_patient(patient)
    paths = list(find_patients(patient)) if several else [patient]
    if several and mask is not None:
        raise ParameterError("--mask goes with one patient", mend="name the patient's folder")
    one = _Detect(model, score, changes, sequence, png_first_column.value, device)
    if not several or not paths:
        described = one(patient, mask, out)
        if json:
            print_json(described)
        else:
            typer.echo(_line(described, out))
        return
    results, skipped = [], []
    for path in paths:
        try:
            results.append(one(path, None, out / path.relative_to(patient).with_suffix("")))
        except OutputError:
            raise
        except CeadError as error:
            skipped.append({"patient": str(path), "reason": str(error)})
            typer.echo(f"skipped: {error}", err=True)
            continue
        if not json:
            typer.echo(_line(results[-1], out / path.relative_to(patient)))
    if json:
        print_json({"schema_version": 1, "results": results, "skipped": skipped})
    else:
        typer.echo(f"{len(results)} patients done, {len(skipped)} skipped")


class _Detect:
    """Detection with fixed settings; the model is loaded once."""

    def __init__(
        self, model: str, score: str | None, changes: dict[str, Any], sequence: str, side: Any, device: str
    ) -> None:
        from ..detection import SCORES, suggested
        from ..zoo import find_model, load_card, load_model

        card = load_card(find_model(model))
        if score is not None and score not in SCORES:
            raise ParameterError(f"unknown score {score!r}", mend=f"use one of {', '.join(SCORES)}")
        self.score, params, _ = suggested(card, score)
        self.params = _replace(params, changes) if changes else None
        self.detector = load_model(model, device)
        self.sequence, self.side = sequence, side

    def __call__(self, path: Path, mask: Path | None, out: Path) -> dict[str, Any]:
        from ..detection import check_output, save_detection
        from ..detection import detect as run_detection
        from ..patients import load_patient

        patient = load_patient(path, self.sequence, mask, only=True, png_first_column=self.side)
        check_output(out, patient)
        with progress(patient.name) as on_progress:
            result = run_detection(patient, self.detector, self.params, self.score, on_progress=on_progress)
        for note in result.warnings:
            if note not in patient.warnings:  # those were told when it was loaded
                typer.echo(f"warning: {note}", err=True)
        return save_detection(result, out)


def _replace(params: PostprocessParams, changes: dict[str, Any]) -> PostprocessParams:
    """Change settings; an error speaks of the flag that was typed."""
    try:
        return params.replace(**changes)
    except ParameterError as error:
        reason = error.reason
        for name, flag in FLAGS.items():
            reason = reason.replace(name, flag)
        raise ParameterError(reason, mend=error.mend) from None


def _line(described: dict[str, Any], out: Path) -> str:
    params = described["params"]
    return (
        f"{described['patient']}: {described['model']}, {described['score']}, threshold {params['threshold']:g} "
        f"({described['rule']}): Dice {number(described['dice'])} (volume), {described['volume_ml']:.2f} mL "
        f"detected; {out}"
    )
