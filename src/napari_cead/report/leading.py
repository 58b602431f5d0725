"""The rule that an evaluation leads with, and its rows: what the report opens with and the long files hold."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..calibration.rules import rule_order
from .results import Evaluation, Row


def most_trusted(rules: Collection[str], choosers: int) -> str | None:
    """Return the first of these rules in the order of trust; None if none of them is known here."""
    return next((rule for rule in rule_order(choosers) if rule in rules), None)


def leading_rule(evaluation: Evaluation) -> str:
    """Return the first rule, in the order of trust, under which any model has a figure.

    That is `validation` only if enough patients chose: see :func:`~napari_cead.calibration.rules.rule_order`.
    """
    models = {model.name for model in evaluation.models}
    order = (*rule_order(evaluation.choosers), "none")
    there = [rule for rule in order if any(row.rule == rule for row in evaluation.rows)] or ["none"]
    for rule in there:
        if any(
            row.rule in (rule, "none") and row.model in models and row.averages for row in evaluation.rows
        ):
            return rule
    return there[0]


def leading_rows(evaluation: Evaluation, *, every_rule: bool = False) -> Sequence[Row]:
    """Return the rows of the leading rule; of a model without figures under it, those of its next rule with some.

    Args:
        evaluation: The evaluation.
        every_rule: Return all rows instead.
    """
    if every_rule:
        return evaluation.rows
    rule = leading_rule(evaluation)
    order = [rule, *(other for other in (*rule_order(evaluation.choosers), "none") if other != rule)]
    first: dict[tuple[str, str], str] = {}
    for row in sorted(evaluation.rows, key=lambda row: order.index(row.rule)):
        if row.averages is not None:
            first.setdefault((row.model, row.sequence), row.rule)
    return [row for row in evaluation.rows if first.get((row.model, row.sequence)) == row.rule]
