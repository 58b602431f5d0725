"""Reading ``results.json``, what ``evaluate`` found."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_cead.errors import CeadError
from napari_cead.evaluation.baselines import BASELINES

DICE = ("dice_patient", "dice_pooled", "dice_lesion_slices", "dice_all_slices")
"""The averages of Dice by their exact names, the one that settings are chosen by first."""

RULES = ("validation", "healthy-quantile", "oracle")
"""Threshold rules, the one to report first."""

PAPER_SCORE = "residual"
NOTHING = "nothing"

Row = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """An evaluation.

    Attributes:
        values: The content of ``results.json``.
    """

    values: dict[str, Any]

    @classmethod
    def read(cls, file: Path) -> Results:
        """Read a file.

        Raises:
            CeadError: If there is none.
        """
        try:
            return cls(json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise CeadError(
                "there is no evaluation here", file=file, mend="evaluate the models first"
            ) from None

    @property
    def patients(self) -> int:
        """Patients reported."""
        return max(int(row["patients"]) for row in self.values["rows"])

    @property
    def lesion_patients(self) -> int:
        """Patients reported that have lesions."""
        return max(int(row["lesion_patients"]) for row in self.values["rows"])

    def model(self, name: str) -> dict[str, Any]:
        """Return what is said about a model.

        Raises:
            CeadError: If it was not evaluated.
        """
        for model in self.values["models"]:
            if model["name"] == name:
                found: dict[str, Any] = model
                return found
        raise CeadError(f"{name} is not among the evaluated models", mend="evaluate it first")

    def has(self, name: str) -> bool:
        """Whether a model was evaluated."""
        return any(model["name"] == name for model in self.values["models"])

    def scores(self, name: str) -> list[str]:
        """Return the scores that a model was evaluated under, its suggested one first."""
        return list(dict.fromkeys(row["score"] for row in self.values["rows"] if row["model"] == name))

    def row(self, name: str, score: str | None, rule: str) -> Row | None:
        """Return the figures of a model under a score and a rule, if there are some."""
        for row in self.values["rows"]:
            if (row["model"], row["score"], row["rule"]) == (name, score, rule) and row["params"] is not None:
                found: Row = row
                return found
        return None

    def free(self, rule: str) -> list[Row]:
        """Return the figures of the baselines without a network under a rule, in the order of the tables."""
        titles = [baseline.title(self.values["sequence"]) for baseline in BASELINES.values()]
        return [
            row
            for title in titles
            for row in self.values["rows"]
            if (row["model"], row["rule"]) == (title, rule) and row["params"] is not None
        ]

    def strongest(self, rule: str) -> Row | None:
        """Return the baseline with the highest ``dice_patient`` under a rule, what models are compared with."""
        return max(self.free(rule), key=lambda row: row["dice_patient"], default=None)

    def nothing(self) -> Row:
        """Return the figures of a detector that finds nothing."""
        row: Row = next(row for row in self.values["rows"] if row["model"] == NOTHING)
        return row


def dice_by_patient(row: Row | None) -> dict[str, float]:
    """Return the Dice of each patient's volume; those where both masks are empty are missing."""
    if row is None:
        return {}
    return {item["patient"]: item["dice"] for item in row["per_patient"] if item["dice"] is not None}
