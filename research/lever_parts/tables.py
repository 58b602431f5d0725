"""The measurements as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Line = dict[str, Any]
HEAD = "`dice_pooled` | difference | AUPRC | difference"
AGAINST = ("", ", to raw FLAIR", ", to raw FLAIR with its levers")
PATIENT = "MS patient: Dice `oracle` | AUPRC"


def markdown(lines: Sequence[Line]) -> str:
    """Return the tables of all parts."""
    parts: list[str] = []
    plain = [line for line in lines if line["part"] == "plain"]
    count = plain[0]["patients"]
    parts += [
        f"### Plain residuals, {count} validation patients",
        table(
            ["map", "`dice_pooled`", "AUPRC", *PATIENT.split(" | ")],
            [[name_of(one), *with_interval(one), *patient(one)] for one in plain],
        ),
    ]
    for model in dict.fromkeys(line["model"] for line in lines if line["part"] == "alone"):
        base = next(line for line in plain if line["model"] == model)
        rows = [["plain", *gained(base), *patient(base)]]
        rows += [
            [line["lever"], *gained(line), *patient(line)]
            for line in lines
            if line["part"] == "alone" and line["model"] == model
        ]
        parts += [
            f"### {name_of(base)}: each lever alone, {count} validation patients",
            table(["lever", *HEAD.split(" | "), *PATIENT.split(" | ")], rows),
        ]
    ensembles = [line for line in lines if line["part"] == "ensemble"]
    if ensembles:
        first = ensembles[0]
        parts += [
            f"### {len(first['models'])} models as one, against `residual` of `{first['against']}`, "
            f"{count} validation patients",
            f"Models: {', '.join(f'`{name}`' for name in first['models'])}.",
            table(
                ["map", *HEAD.split(" | "), *PATIENT.split(" | ")],
                [[line["lever"], *gained(line), *patient(line)] for line in ensembles],
            ),
        ]
    steps = [line for line in lines if line["part"] == "together"]
    parts += [
        f"### Together, {count} validation patients",
        table(
            ["map", "step", "lever added", *HEAD.split(" | "), *PATIENT.split(" | ")],
            [[name_of(one), str(one["step"]), one["lever"], *gained(one), *patient(one)] for one in steps],
        ),
    ]
    test = [line for line in lines if line["part"] == "test"]
    if test:
        parts += [
            f"### {test[0]['patients']} test patients",
            table(
                ["map", "levers", *(f"{name}{to}" for name in ("`dice_pooled`", "AUPRC") for to in AGAINST)],
                [[name_of(one), "; ".join(one["levers"]), *tested(one)] for one in test],
            ),
        ]
    return "\n\n".join(parts) + "\n"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *map(list, rows)])


def name_of(line: Line) -> str:
    model = str(line["model"])
    return model if " " in model else f"`{model}`"


def span(values: Sequence[float], signed: bool = False) -> str:
    form = "+.3f" if signed else ".3f"
    return f"[{values[0]:{form}}, {values[1]:{form}}]"


def with_interval(line: Line) -> list[str]:
    return [f"{line[name]:.3f} {span(line[name + '_interval'])}" for name in ("dice_pooled", "auprc")]


def difference(line: Line, name: str, to: str = "") -> str:
    key = f"{name}_difference{to}"
    if key not in line:
        return "–"
    values = line[f"{key}_interval"]
    text = f"{line[key]:+.3f} {span(values, signed=True)}"
    return f"**{text}**" if values[0] > 0 else text


def gained(line: Line) -> list[str]:
    return [
        text for name in ("dice_pooled", "auprc") for text in (f"{line[name]:.3f}", difference(line, name))
    ]


def tested(line: Line) -> list[str]:
    return [
        text
        for name, value in zip(("dice_pooled", "auprc"), with_interval(line), strict=True)
        for text in (value, difference(line, name), difference(line, name, "_to_raw_with_levers"))
    ]


def patient(line: Line) -> list[str]:
    if "patient26_dice_oracle" not in line:
        return ["–", "–"]
    return [f"{line['patient26_dice_oracle']:.3f}", f"{line['patient26_auprc']:.3f}"]
