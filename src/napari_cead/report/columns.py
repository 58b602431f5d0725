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
from ..metrics import FALSE_POSITIVES, INTERVALS, mixture
from ..metrics.lesion_sizes import SIZES, Size
from ..metrics.patient_figures import PatientFigures
from ..wording import UNDEFINED, number, span
from .paper import PAPER_DICE
from .results import Evaluation, Row, chosen_by

Values = Mapping[str, Any]
"""A row by name, as in ``results.json``."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its name in ``results.csv``.
        title: Its title for readers; empty if it is in files only.
        tip: What it means.
        digits: Digits after the point.
        find: Finds the value of a row; None: it is looked up by name.
        write: Writes the value of a row as text; None: as a number.
        note: Writes a note to the value, as its interval; None: there is none.
        narrow: The title where there is little room; empty: the same.
    """

    name: str
    title: str = ""
    tip: str = ""
    digits: int = 3
    find: Callable[[Values], Any] | None = None
    write: Callable[[Values], str] | None = None
    note: Callable[[Values], str] | None = None
    narrow: str = ""

    def value(self, row: Values) -> Any:
        """Return the value of a row; None if it is undefined."""
        return row.get(self.name) if self.find is None else self.find(row)

    def text(self, row: Values) -> str:
        """Return the value of a row as text."""
        return number(self.value(row), self.digits) if self.write is None else self.write(row)

    def below(self, row: Values) -> str:
        """Return the note to the value, which may be empty."""
        return "" if self.note is None else self.note(row)

    def cell(self, row: Values) -> str:
        """Return the text with its note."""
        return " ".join(filter(None, (self.text(row), self.below(row))))


def _average(name: str, tip: str, narrow: str = "") -> Column:
    return Column(name, name, tip, note=lambda row: span(_interval(row, name)), narrow=narrow)


def _interval(row: Values, name: str) -> Sequence[float | None] | None:
    found: Sequence[float | None] | None = (row.get("intervals") or {}).get(name)
    return found


def _end(name: str, side: int) -> Column:
    return Column(
        f"{name}_{('low', 'high')[side]}", find=lambda row: (_interval(row, name) or (None, None))[side]
    )


def _of_size(figure: str, size: Size) -> Column:
    def stratum(row: Values) -> Values:
        return next((one for one in row.get("strata") or () if one["label"] == size.label), {})

    def below(row: Values) -> str:
        found = stratum(row)
        counts = f"({found['found']} of {found['lesions']})" if found.get("lesions") else ""
        return " ".join(filter(None, (span(found.get("interval")), counts)))

    tip = "share of the lesions of this diameter that were found"
    return Column(
        f"{figure}_{size.column}", size.label, tip, find=lambda row: stratum(row).get(figure), note=below
    )


def _of_params(name: str) -> Column:
    return Column(name, find=lambda row: (row.get("params") or {}).get(name))


def _froc(point: float) -> Column:
    def value(row: Values) -> Any:
        found = (one for one in row.get("froc") or () if one["false_positives_per_patient"] == point)
        return next((one["sensitivity"] for one in found), None)

    tip = (
        f"share of the lesions found at {Fraction(point)} false positives per patient, before post-processing"
    )
    return Column(f"froc_{point:g}", f"FROC at {Fraction(point)}", tip, find=value)


def _of_patients(count: str) -> Callable[[Values], str]:
    return lambda row: f"(n = {row[count]})" if row.get(count) else ""


MIXTURE: Mapping[str, tuple[str, str]] = {
    "dice_pooled": ("pooled", "one Dice of all voxels"),
    "dice_patient": ("patient", "mean over patients"),
    "dice_lesion_slices": ("lesion slices", "mean over the slices with lesion alone"),
    "dice_all_slices": ("all slices, empty 1", "mean over all slices; neither lesion nor detection counts 1"),
    "dice_all_slices_zero": ("all slices, empty 0", "the same; neither lesion nor detection counts 0"),
    "dice_nonempty_slices": ("all slices, empty left out", "the same without those slices"),
}
"""The averages in a published mixture of slices: title and meaning of each."""


def _in_mixture(name: str) -> Column:
    title, tip = MIXTURE[name]
    return Column(
        f"mixture_{name}",
        title,
        f"in the mixture: {tip}",
        find=lambda row: (row.get("mixture") or {}).get(name),
    )


def _mixed(row: Values) -> list[float]:
    return [value for value in (row.get("mixture") or {}).values() if value is not None]


def _threshold(row: Values) -> str:
    """Return the threshold, from the lowest to the highest of all folds; below 1 it never reads as 1."""
    settings = row.get("folds") or filter(None, [row.get("params")])
    values = sorted({params["threshold"] for params in settings})
    return "–".join(dict.fromkeys(_short(value) for value in (*values[:1], *values[-1:]))) or UNDEFINED


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
    Column(
        "model", "model", "the model, or a baseline without a network", write=lambda row: str(row["model"])
    ),
    Column("rule", "rule", "the rule that chose the settings", write=_rule),
    Column("score", "score", "anomaly score", write=lambda row: row.get("score") or UNDEFINED),
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
    Column("patients", "patients", "number of reported patients", write=lambda row: str(row["patients"])),
    Column("lesion_patients"),
    Column(
        "lesion_sensitivity",
        "lesion_sensitivity",
        "share of all lesions with at least one detected voxel",
        narrow="Lesions\nfound",
    ),
    Column(
        "false_positives_per_patient",
        "FP / patient",
        "false positives: detections without a lesion voxel, mean over patients",
        1,
        narrow="FP per\npatient",
    ),
    Column("detected_ml", "detected (mL)", "volume of the detected mask, mean over patients", 2),
    Column(
        "auroc",
        "AUROC",
        "area under the receiver operating characteristic curve, over the brain voxels of all patients, before any "
        "threshold",
    ),
    Column("average_precision"),
    Column(
        "auprc", "AUPRC", "area under the precision-recall curve (average precision), over the same voxels"
    ),
    *(_of_params(name) for name in PostprocessParams.names()),
    Column(
        "chosen_on", "chosen by", "the data that chose the settings", write=lambda row: _chosen(row) or "–"
    ),
    Column("optimistic"),
    *(_end(name, side) for name in INTERVALS for side in (0, 1)),
    Column("both_empty_patients"),
    Column("lesion_slices"),
    Column("brain_slices"),
    Column("both_empty_slices"),
    Column("psnr", "PSNR (dB)", "peak signal-to-noise ratio of the healthy slices", 2),
    Column("psnr_brain", "PSNR in the brain (dB)", "the same inside the brain", 2),
    Column("ssim", "SSIM", "structural similarity of the healthy slices"),
    Column("note"),
    Column("sequence", "sequence", "the sequence given to the model", write=lambda row: str(row["sequence"])),
    Column(
        "hd95",
        "HD95 (mm)",
        "95th percentile Hausdorff distance between the surfaces of the two masks, mean over the n patients with both "
        "lesion and detection",
        1,
        note=_of_patients("hd95_patients"),
    ),
    Column("hd95_patients", "patients with HD95", "patients with both lesion and detection", 0),
    Column(
        "lesion_precision",
        "lesion_precision",
        "share of all detections (connected components) that touch a lesion",
    ),
    *(_of_size(figure, size) for size in SIZES for figure in ("sensitivity", "lesions")),
    Column("chosen_by"),
    Column("edge"),
    Column(
        "fold_thresholds",
        find=lambda row: " ".join(str(params["threshold"]) for params in row.get("folds") or ()) or None,
    ),
    Column(
        "lesion_f1",
        "lesion_f1",
        "harmonic mean of lesion_sensitivity and lesion_precision",
        narrow="F1",
    ),
    *(_froc(point) for point in FALSE_POSITIVES),
    Column(
        "froc_mean",
        "FROC mean",
        "mean of the share of the lesions found at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives per patient, before "
        "post-processing",
    ),
    Column("healthy_patients"),
    Column(
        "healthy_ml",
        "FP mL, healthy",
        "volume of the detected mask in the n patients without lesion, all of it false, mean over these patients",
        2,
        note=_of_patients("healthy_patients"),
    ),
    Column("method"),
    Column("trained_on_patients"),
    Column(
        "dice_ceiling",
        "Dice ceiling",
        "highest dice_pooled under one threshold without post-processing, whatever the rule; optimistic",
    ),
    Column("aupro", "AUPRO", "area under the per-region overlap, before any threshold"),
    Column("lesionwise_dice", "lesion-wise Dice", "as in BraTS-METS, mean over patients"),
    Column("lesionwise_hd95", "lesion-wise HD95 (mm)", "as in BraTS-METS, mean over patients", 1),
    Column(
        "healthy_above",
        "healthy above (%)",
        "percentage of the brain voxels outside lesions that are above the threshold, before post-processing: what "
        "rule healthy-quantile really lets through",
        write=lambda row: number(None if row.get("healthy_above") is None else 100 * row["healthy_above"], 2),
    ),
    *(_in_mixture(name) for name in MIXTURE),
)
"""The columns of ``results.csv`` in their order; those with a title are also shown to readers."""

_THRESHOLD = Column(
    "threshold",
    "threshold",
    "voxels of the anomaly map above it are detected, before the morphology; the data that chose it stand below",
    write=_threshold,
    note=_chosen,
)
_BRACKET = Column(
    "mixture_range",
    "lowest to highest",
    "of these averages",
    write=lambda row: (
        f"{number(min(_mixed(row)))} to {number(max(_mixed(row)))}" if _mixed(row) else UNDEFINED
    ),
)
_RESIDUAL = Column("residual", "residual in the brain", "mean of |x - x̂| inside the brain of healthy slices")
_PAPER = Column("paper", "paper", "Dice of this architecture in the paper, on another data set")
_NAMED = {one.name: one for one in (*COLUMNS, _THRESHOLD, _BRACKET, _RESIDUAL, _PAPER)}

AVERAGES = ("dice_patient", "dice_pooled", "dice_lesion_slices", "dice_all_slices")
"""The averages of Dice in display order: the one for comparing models first."""

FROC = (*(f"froc_{point:g}" for point in FALSE_POSITIVES), "froc_mean")
"""The columns of the FROC."""


def columns(*names: str) -> tuple[Column, ...]:
    """Return columns by name."""
    return tuple(_NAMED[name] for name in names)


def plain(*names: str) -> tuple[Column, ...]:
    """Return columns by name, without the notes to their values."""
    return tuple(replace(one, note=None) for one in columns(*names))


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
            "mixture": None
            if evaluation.mixture is None
            else mixture([patient.counts for patient in row.patients], *evaluation.mixture).as_dict(),
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
