"""The columns of every table of an evaluation: one list for the files, the report, the dock and the terminal.

They read rows as they stand in ``results.json`` (:func:`row_values`), so that a table can be made from an evaluation
and from its file alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from fractions import Fraction
from typing import Any

from ..atomic import strict
from ..detection import PostprocessParams
from ..metrics import FALSE_POSITIVES, INTERVALS
from ..wording import UNDEFINED, number, span
from .figures import PatientFigures
from .paper import PAPER_DICE
from .results import Evaluation, Row, chosen_by
from .strata import SIZES, Size

Values = Mapping[str, Any]
"""A row by name, as in ``results.json``."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its name in ``results.csv``.
        title: Its title for readers; empty if it is in files only.
        tip: What it means.
        value: The value of a row; None if it is undefined.
        text: The value as text.
        below: A note to the value, as its interval; may be empty.
        short: The title where there is little room.
    """

    name: str
    title: str
    tip: str
    value: Callable[[Values], Any]
    text: Callable[[Values], str]
    below: Callable[[Values], str]
    short: str

    def cell(self, row: Values) -> str:
        """Return the text with its note."""
        return " ".join(filter(None, (self.text(row), self.below(row))))


def column(
    name: str,
    title: str = "",
    tip: str = "",
    digits: int = 3,
    *,
    value: Callable[[Values], Any] | None = None,
    text: Callable[[Values], str] | None = None,
    below: Callable[[Values], str] | None = None,
    short: str = "",
) -> Column:
    """Return a column of numbers; ``value`` is looked up by ``name`` unless given."""
    of = value or (lambda row: row.get(name))
    return Column(
        name,
        title,
        tip,
        of,
        text or (lambda row: number(of(row), digits)),
        below or (lambda row: ""),
        short or title,
    )


def _average(name: str, tip: str, short: str = "") -> Column:
    return column(name, name, tip, below=lambda row: span(_interval(row, name)), short=short)


def _interval(row: Values, name: str) -> Sequence[float | None] | None:
    found: Sequence[float | None] | None = (row.get("intervals") or {}).get(name)
    return found


def _end(name: str, side: int) -> Column:
    return column(
        f"{name}_{('low', 'high')[side]}", value=lambda row: (_interval(row, name) or (None, None))[side]
    )


def _of_size(figure: str, size: Size) -> Column:
    def stratum(row: Values) -> Values:
        return next((one for one in row.get("strata") or () if one["label"] == size.label), {})

    def below(row: Values) -> str:
        found = stratum(row)
        counts = f"({found['found']} of {found['lesions']})" if found.get("lesions") else ""
        return " ".join(filter(None, (span(found.get("interval")), counts)))

    tip = "share of the lesions of this diameter that were found"
    return column(
        f"{figure}_{size.column}", size.label, tip, value=lambda row: stratum(row).get(figure), below=below
    )


def _of_params(name: str) -> Column:
    return column(name, value=lambda row: (row.get("params") or {}).get(name))


def _froc(point: float) -> Column:
    def value(row: Values) -> Any:
        found = (one for one in row.get("froc") or () if one["false_positives_per_patient"] == point)
        return next((one["sensitivity"] for one in found), None)

    tip = (
        f"share of the lesions found at {Fraction(point)} false positives per patient, before post-processing"
    )
    return column(f"froc_{point:g}", f"FROC at {Fraction(point)}", tip, value=value)


def _of_patients(count: str) -> Callable[[Values], str]:
    return lambda row: f"(n = {row[count]})" if row.get(count) else ""


def _thresholds(row: Values) -> list[float]:
    settings = row.get("folds") or [row["params"]] if row.get("params") or row.get("folds") else []
    return [params["threshold"] for params in settings]


def _threshold(row: Values) -> str:
    """Return the threshold, from the lowest to the highest of all folds; below 1 it never reads as 1."""
    values = _thresholds(row)
    ends = [_short(value) for value in (min(values), max(values))] if values else [UNDEFINED]
    return "–".join(dict.fromkeys(ends))


def _short(value: float) -> str:
    short = f"{value:.4g}"
    return short if float(short) < 1 or value >= 1 else f"{value:.9g}"


def _chosen(row: Values) -> str:
    return chosen_by(row.get("chosen_on") or "", row.get("chosen_by"), row.get("edge") or "")


def _rule(row: Values) -> str:
    """Return the rule with its marks: optimistic, or trained on reported patients."""
    marks = ["optimistic"] if row.get("optimistic") else []
    if row.get("trained_on_patients"):
        marks.append(f"trained on {row['trained_on_patients']} of {row['patients']}")
    return " ".join((str(row["rule"]), *(f"({mark})" for mark in marks)))


COLUMNS: tuple[Column, ...] = (
    column(
        "model", "model", "the model, or a baseline without a network", text=lambda row: str(row["model"])
    ),
    column("rule", "rule", "the rule that chose the settings", text=_rule),
    column("score", "score", "anomaly score", text=lambda row: row.get("score") or UNDEFINED),
    _average("dice_pooled", "one Dice of all voxels of all patients", "Dice\npooled"),
    _average(
        "dice_patient",
        "mean over patients of the Dice of the whole volume; patients with neither lesion nor detection are left out",
        "Dice\npatient",
    ),
    _average("dice_lesion_slices", "mean over the slices with lesion"),
    _average(
        "dice_all_slices",
        "mean over all slices with brain, where a slice with neither lesion nor detection counts 1: a detector that "
        "finds nothing scores high here",
    ),
    _average("precision", "share of the detected voxels that are lesion, all patients together"),
    _average("recall", "share of the lesion voxels that are detected, all patients together"),
    column("patients"),
    column("lesion_patients"),
    column(
        "lesion_sensitivity",
        "lesion_sensitivity",
        "share of all lesions with at least one detected voxel",
        short="Lesions\nfound",
    ),
    column(
        "false_positives_per_patient",
        "FP / patient",
        "false positives: detections without a lesion voxel, mean over patients",
        1,
        short="FP per\npatient",
    ),
    column("detected_ml", "detected (mL)", "volume of the detected mask, mean over patients", 2),
    column(
        "auroc",
        "AUROC",
        "area under the receiver operating characteristic curve, over the brain voxels of all patients, before any "
        "threshold",
    ),
    column("average_precision"),
    column(
        "auprc", "AUPRC", "area under the precision-recall curve (average precision), over the same voxels"
    ),
    *(_of_params(name) for name in PostprocessParams.names()),
    column(
        "chosen_on", "chosen by", "the data that chose the settings", text=lambda row: _chosen(row) or "–"
    ),
    column("optimistic"),
    *(_end(name, side) for name in INTERVALS for side in (0, 1)),
    column("both_empty_patients"),
    column("lesion_slices"),
    column("brain_slices"),
    column("both_empty_slices"),
    column("psnr", "PSNR (dB)", "peak signal-to-noise ratio of the healthy slices", 2),
    column("psnr_brain", "PSNR in the brain (dB)", "the same inside the brain", 2),
    column("ssim", "SSIM", "structural similarity of the healthy slices"),
    column("note"),
    column("sequence", "sequence", "the sequence given to the model", text=lambda row: str(row["sequence"])),
    column(
        "hd95",
        "HD95 (mm)",
        "95th percentile Hausdorff distance between the surfaces of the two masks, mean over the n patients with both "
        "lesion and detection",
        1,
        below=_of_patients("hd95_patients"),
    ),
    column("hd95_patients", "patients with HD95", "patients with both lesion and detection", 0),
    column(
        "lesion_precision",
        "lesion_precision",
        "share of all detections (connected components) that touch a lesion",
    ),
    *(_of_size(figure, size) for size in SIZES for figure in ("sensitivity", "lesions")),
    column("chosen_by"),
    column("edge"),
    column(
        "fold_thresholds",
        value=lambda row: " ".join(str(params["threshold"]) for params in row.get("folds") or ()) or None,
    ),
    column(
        "lesion_f1",
        "lesion_f1",
        "harmonic mean of lesion_sensitivity and lesion_precision",
        short="F1",
    ),
    *(_froc(point) for point in FALSE_POSITIVES),
    column(
        "froc_mean",
        "FROC mean",
        "mean of the share of the lesions found at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives per patient, before "
        "post-processing",
    ),
    column("healthy_patients"),
    column(
        "healthy_ml",
        "FP mL, healthy",
        "volume of the detected mask in the n patients without lesion, all of it false, mean over these patients",
        2,
        below=_of_patients("healthy_patients"),
    ),
    column("method"),
    column("trained_on_patients"),
)
"""The columns of ``results.csv`` in their order; those with a title are also shown to readers."""

_THRESHOLD = column(
    "threshold",
    "threshold",
    "voxels of the anomaly map above it are detected, before the morphology; the data that chose it stand below",
    text=_threshold,
    below=_chosen,
)
_RESIDUAL = column("residual", "residual in the brain", "mean of |x - x̂| inside the brain of healthy slices")
_PAPER = column("paper", "paper", "Dice of this architecture in the paper, on another data set")
_NAMED = {one.name: one for one in (*COLUMNS, _THRESHOLD, _RESIDUAL, _PAPER)}

AVERAGES = ("dice_patient", "dice_pooled", "dice_lesion_slices", "dice_all_slices")
"""The averages of Dice in display order: the one for comparing models first."""

FROC = (*(f"froc_{point:g}" for point in FALSE_POSITIVES), "froc_mean")
"""The columns of the FROC."""


def columns(*names: str) -> tuple[Column, ...]:
    """Return columns by name."""
    return tuple(_NAMED[name] for name in names)


def plain(*names: str) -> tuple[Column, ...]:
    """Return columns by name, without the notes to their values."""
    return tuple(replace(one, below=lambda row: "") for one in columns(*names))


_APART = ("params", "averages", "patients", "strata", "froc", "folds")


def row_values(evaluation: Evaluation, row: Row) -> dict[str, Any]:
    """Return a row by name as strict JSON values, without its patients; what is empty is None."""
    model = next((model for model in evaluation.models if model.name == row.model), None)
    # Summaries of models describe only the first sequence.
    quality = {} if model is None or row.sequence != evaluation.sequence else model.quality
    averages: dict[str, Any] = (
        dict.fromkeys(INTERVALS) | {"patients": 0} if row.averages is None else row.averages.as_dict()
    )
    own = {one.name: getattr(row, one.name) for one in fields(row) if one.name not in _APART}
    values: dict[str, Any] = strict(
        {
            **{name: None if value == "" else value for name, value in own.items()},
            **averages,
            **{name: quality.get(name) for name in ("psnr", "psnr_brain", "ssim")},
            "auprc": row.average_precision,
            "params": None if row.params is None else row.params.model_dump(mode="json"),
            "folds": [params.model_dump(mode="json") for params in row.folds],
            "optimistic": row.optimistic,
            "lesion_f1": row.lesion_f1,
            "froc": [
                {"false_positives_per_patient": point, "sensitivity": sensitivity}
                for point, sensitivity in zip(FALSE_POSITIVES, row.froc, strict=False)
            ],
            "froc_mean": row.froc_mean,
            "strata": [asdict(stratum) for stratum in row.strata],
            "trained_on": row.trained_on,
            "trained_on_patients": None if row.trained_on is None else len(row.trained_on),
            "paper": None if model is None else PAPER_DICE.get(model.architecture),
        }
    )
    return values


LESION = (
    *("patient", "model", "rule", "score", "sequence"),
    *("lesion", "diameter_mm", "volume_mm3", "overlap_mm3", "found"),
)
"""The columns of ``per_lesion.csv``."""


def lesion_values(row: Row, patient: PatientFigures) -> Iterable[dict[str, Any]]:
    """Yield the lesions of a patient under a row by the names of `LESION`, numbered from 1."""
    for lesion, record in enumerate(patient.lesion_records, start=1):
        yield {
            "patient": patient.name,
            "model": row.model,
            "rule": row.rule,
            "score": row.score,
            "sequence": row.sequence,
            "lesion": lesion,
            **asdict(record),
        }
