"""The findings in a cohort, as a table."""

from __future__ import annotations

from qtpy.QtCore import Qt

from ...patients.findings import CODES, Finding
from ..common.row_table import RowColumn, RowModel, RowTable

_TOP = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop


class _Findings(RowModel):
    def tip(self, row: Finding, column: RowColumn) -> str:
        return f"{row.patient}\n{row.file}\n{row.sentence}"


class FindingsTable(RowTable):
    """Findings of a check, one row each, in the order of the patients."""

    def __init__(self) -> None:
        # A code may be broken at its hyphens.
        longest = max((word for code in CODES for word in code.replace("-", "- ").split()), key=len)
        columns = (
            RowColumn("Patient", lambda finding: finding.patient, width=longest, align=_TOP),
            RowColumn("What", lambda finding: finding.code, width=longest, align=_TOP),
            RowColumn("Sentence", lambda finding: finding.sentence, align=_TOP),
        )
        super().__init__(_Findings(columns), "What does not fit in the cohort", wrap=True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
