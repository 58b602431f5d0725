"""The report on phantoms with BrainMetShare's metastases, on tiny ones."""

import csv
import json

import pytest

import metastases

pytest.importorskip("nilearn", reason="the phantom needs the extra phantom")


def test_the_page_has_each_rule_with_the_model_and_the_baselines(tmp_path, model_folder):
    out = tmp_path / "page.md"
    command = ["--work", tmp_path / "work", "--out", out, "--patients", 3, "--models", model_folder]
    command += ["--json", tmp_path / "rows.json"]
    arguments = [str(part) for part in (*command, "--shape", 30, 48, 48)]
    metastases.main(arguments)
    text = out.read_text(encoding="utf-8")
    assert "Reported: 3 patients" in text and "mL in all" in text
    with (tmp_path / "work" / "results" / "results.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["rule"] == "oracle"]
    best = max(rows, key=lambda row: float(row["dice_patient"] or -1))
    table = text.split("## `oracle`")[1].splitlines()[6]
    assert f"`{best['model']}`" in table and f"{float(best['dice_patient']):.3g}" in table
    assert all(name in text for name in ("`tiny`", "flair-tissue", "flair-threshold"))

    (tmp_path / "work" / "results" / "results.csv").touch()
    stored = json.loads((tmp_path / "rows.json").read_text())
    assert stored["phantoms"] is True
    assert {row["rule"] for row in stored["rows"]} == {*metastases.RULES, "none"}
    metastases.main(arguments)  # goes on from what is there
    assert out.read_text(encoding="utf-8") == text
