"""What others build on changes only where the changelog says so."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def tool():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import public_surface
    finally:
        sys.path.pop(0)
    return public_surface


def test_every_change_since_the_last_release_is_named_in_the_changelog(tool):
    found = tool.changes(tool.released()["surface"], tool.surface())
    unsaid = tool.unsaid(found, tool.unreleased())
    assert unsaid == [], (
        "name each in CHANGELOG.md under Unreleased; docs/explanation/promises.md has the rule"
    )


def test_the_released_surface_is_that_of_the_newest_version_in_the_changelog(tool):
    versions = re.findall(r"(?m)^## \[(\d+\.\d+\.\d+)\]", tool.CHANGELOG.read_text(encoding="utf-8"))
    assert tool.released()["version"] == versions[0]


def test_changes_are_seen_and_their_names_are_looked_for_as_whole_words(tool):
    before = {"options": {"detect": ["--model", "--out"]}, "python": {"dice": "(a)", "Patient.raw": "(self)"}}
    now = {"options": {"detect": ["--out", "--out-folder"]}, "python": {"dice": "(a, b)"}}
    found = tool.changes(before, now)
    assert found == {
        ("options", "detect", "--model"): "removed",
        ("options", "detect", "--out-folder"): "added",
        ("python", "Patient.raw"): "removed",
        ("python", "dice"): "was (a), is (a, b)",
    }
    text = "`detect --model` is gone; `dice(b=)`; --out is as it was, and raw_dice too"
    assert [line.split(":")[0] for line in tool.unsaid(found, text)] == [
        "options / detect / --out-folder",
        "python / Patient.raw",
    ]
