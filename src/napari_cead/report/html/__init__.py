"""The visual report of an evaluation, ``report.html``."""

from __future__ import annotations

from .page import html_report

__all__ = ["html_report"]
