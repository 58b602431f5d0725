"""The documentation names what the program has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from napari_cead.detection import SCORES
from napari_cead.widgets.shortcuts import SHORTCUTS

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), DOCS.parent / "README.md"])


def test_every_key_and_every_score_is_explained():
    page = (DOCS / "exploring.md").read_text(encoding="utf-8")
    keys = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| "))
    explained = {key.strip() for key in re.split(r"[,\s]+", keys)} | ({"F1"} if "or F1" in page else set())
    assert {shortcut.label for shortcut in SHORTCUTS} <= explained
    assert all(f"| `{name}` |" in page for name in SCORES)


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(DOCS.parent)) for page in PAGES])
def test_links_and_pictures_are_there(page):
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []
