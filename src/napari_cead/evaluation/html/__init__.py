"""The page of an evaluation that a person would rather look at than read."""

from __future__ import annotations

from .page import html_report

__all__ = ["html_report"]
