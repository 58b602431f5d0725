"""Results of an evaluation, written by hand."""

from __future__ import annotations

AVERAGES = {"dice_patient": 0.5124, "dice_pooled": 0.61}
INTERVALS = {"dice_patient": [0.4, 0.6], "dice_pooled": [0.55, 0.66]}


def result_row(model, rule="validation", score="residual", **values):
    found = {
        "lesion_sensitivity": 0.75,
        "lesion_f1": 0.44,
        "false_positives_per_patient": 12.34,
        "patients": 2,
    }
    found |= {"model": model, "rule": rule, "score": score, "optimistic": rule == "oracle", "note": None}
    return found | AVERAGES | {"intervals": INTERVALS} | values


RESULTS = {
    "schema_version": 2,
    "models": [{"name": "tiny"}],
    "rows": [
        result_row("tiny"),
        result_row("tiny", "oracle", dice_patient=0.7),
        result_row("flair-threshold", score="intensity", dice_patient=0.2, note="one patient has no brain"),
        result_row("nothing", "none", None, dice_patient=None, intervals={}, dice_pooled=0.0),
    ],
    "skipped": [{"name": "Mets_009", "path": "x", "part": "", "reason": "there is no lesion mask"}],
    "warnings": ["no split was given"],
}
