"""The page docs/reference/inputs.md, from what the tests recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

OUTCOMES = ("opened", "opened with a warning", "refused")

HEAD = """# Odd inputs and their outcomes

Written by `make docs-inputs` from the tests themselves (`tests/inputs_matrix.py`, `tests/test_inputs.py`): each line
is an input that the test run makes, opens with `load_patient`, passes to `check` and, if it opens, to `detect` with
a bundled model. *Opened with a warning* means that something was assumed or repaired, and the warning says so.
*Refused* means one sentence with the file and the fix, exit status 2, and never a traceback.
"""


def _cell(text: str) -> str:
    text = " ".join(text.split()).replace("|", "\\|")
    return text if len(text) <= 240 else f"{text[:239]}…"


def page(rows: Iterable[tuple[str, ...]]) -> str:
    """Return the page.

    Args:
        rows: Family, given, outcome, what was said, codes that `check` finds, whether detection ran.
    """
    families: dict[str, dict[str, tuple[str, ...]]] = {}
    for family, *row in rows:
        families.setdefault(family, {})[row[0]] = tuple(row)
    counts = {family: Counter(row[1] for row in found.values()) for family, found in families.items()}
    lines = [HEAD, "| input | " + " | ".join(OUTCOMES) + " | all |", "| --- | --: | --: | --: | --: |"]
    for family, found in counts.items():
        numbers = " | ".join(str(found[outcome]) for outcome in OUTCOMES)
        lines.append(f"| {family} | {numbers} | {found.total()} |")
    total = sum(counts.values(), Counter())
    numbers = " | ".join(str(total[outcome]) for outcome in OUTCOMES)
    lines.append(f"| **all** | {numbers} | {total.total()} |")
    for family, found in families.items():
        lines += ["", f"## {family}", "", "| given | outcome | `check` finds | detection | what is said |"]
        lines.append("| --- | --- | --- | --- | --- |")
        for given, outcome, said, check, detected in found.values():
            lines.append("| " + " | ".join(map(_cell, (given, outcome, check, detected, said))) + " |")
    return "\n".join(lines) + "\n"
