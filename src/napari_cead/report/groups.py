"""Groups of patients by scanner, site, age or sex, as a table of the cohort or its layout tells them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import why
from ..store.cohort_split import Member, person_of
from .leading import leading_rows
from .results import Evaluation, Row

TABLES = ("participants.tsv", "patients.tsv", "participants.csv", "patients.csv")
"""Tables of patients that are looked for in the folder of a cohort, the first that is there."""

NAMES = ("participant_id", "patient_id", "patient", "subject", "subject_id", "name", "id")
"""What the column with the patients' names may be called."""

COLUMNS: Mapping[str, str] = {
    **dict.fromkeys(("scanner", "manufacturersmodelname", "scanner_model", "manufacturer"), "scanner"),
    **dict.fromkeys(("site", "center", "centre", "hospital"), "site"),
    **dict.fromkeys(("magneticfieldstrength", "field_strength", "tesla"), "field strength"),
    **dict.fromkeys(("age", "age_years"), "age"),
    **dict.fromkeys(("sex", "gender"), "sex"),
}
"""Columns of such a table by which figures are given apart, and what they are called here."""

AGES = ((0, 40), (40, 60), (60, 80), (80, 200))
"""Ages in years, from and to below."""

MOST_GROUPS = 20
"""A column with more values tells single patients apart, not groups."""

UNKNOWN = "not known"

_LARGEST = 16 << 20

Groups = dict[str, dict[str, str]]
"""By what is known, each patient's group by its name."""


def groups_of(cohort: str | Path, members: Sequence[Member]) -> tuple[Groups, tuple[str, ...]]:
    """Return what is known of the patients of a cohort, and what could not be read.

    Args:
        cohort: The folder; one of `TABLES` in it has a line for each patient, or for each person.
        members: The patients; the layout may tell their sites.
    """
    names = tuple(dict.fromkeys(member.name for member in members))
    found: Groups = {}
    if any(member.site for member in members):
        found["site"] = {member.name: member.site or UNKNOWN for member in members}
    notes: tuple[str, ...] = ()
    file = next((Path(cohort) / name for name in TABLES if (Path(cohort) / name).is_file()), None)
    if file is not None:
        try:
            found = {**_read(file, names), **found}
        except (OSError, ValueError, csv.Error) as error:
            notes = (f"{file.name} is not used: {why(error)}",)
    return {name: groups for name, groups in found.items() if _useful(groups)}, notes


def _useful(groups: Mapping[str, str]) -> bool:
    return 1 < len(set(groups.values())) <= MOST_GROUPS and set(groups.values()) != {UNKNOWN}


def _read(file: Path, names: Sequence[str]) -> Groups:
    if file.stat().st_size > _LARGEST:
        raise ValueError(f"it has more than {_LARGEST:,} bytes")
    with file.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.reader(stream, delimiter="\t" if file.suffix == ".tsv" else ","))
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    own = next((header.index(name) for name in NAMES if name in header), None)
    if own is None:
        raise ValueError(f"no column is called {NAMES[0]}")
    wanted = {COLUMNS[name]: place for place, name in reversed([*enumerate(header)]) if name in COLUMNS}
    by_name = {row[own].strip(): row for row in rows[1:] if len(row) == len(header)}

    def line(name: str) -> Sequence[str] | None:
        options = (name, person_of(name), person_of(name).removeprefix("sub-"), name.rpartition("/")[2])
        return next((by_name[option] for option in options if option in by_name), None)

    lines = {name: line(name) for name in names}
    return {
        what: {
            name: UNKNOWN if found is None else _group(what, found[place].strip())
            for name, found in lines.items()
        }
        for what, place in wanted.items()
    }


def _group(what: str, text: str) -> str:
    if text.lower() in ("", "n/a", "na", "nan", "unknown"):
        return UNKNOWN
    if what != "age":
        return text
    try:
        age = float(text)
    except ValueError:
        return UNKNOWN
    low, high = next(((low, high) for low, high in AGES if low <= age < high), (0, 0))
    if high == 0:
        return UNKNOWN
    return f"{low} years and older" if (low, high) == AGES[-1] else f"{low} to {high - 1} years"


def by_group(evaluation: Evaluation, *, every_rule: bool = False) -> list[tuple[str, str, Row]]:
    """Return the figures of each group of patients: what is known, the group, and the row of its patients alone.

    Figures of the maps (AUROC and the like) are those of all patients, so they are left out. The settings are those
    of the whole row.

    Args:
        evaluation: The evaluation.
        every_rule: Under every rule, not under the leading one alone.
    """
    found = []
    for what, groups in evaluation.groups.items():
        for group in sorted(set(groups.values()), key=lambda group: (group == UNKNOWN, group)):
            for row in leading_rows(evaluation, every_rule=every_rule):
                patients = [one for one in row.patients if groups.get(one.name, UNKNOWN) == group]
                if patients:
                    part = Row.of(
                        row.model,
                        row.score,
                        row.rule,
                        row.params,
                        patients,
                        resamples=evaluation.resamples,
                        seed=evaluation.seed,
                        sequence=row.sequence,
                    )
                    found.append((what, group, part))
    return found
