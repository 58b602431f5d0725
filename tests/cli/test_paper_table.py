"""The paper's table from the file in docs/: phantoms, training, evaluation, and every average in its mixture."""

import csv
from pathlib import Path

import yaml

from small_stores import write_patients

FILE = Path(__file__).parents[2] / "docs" / "how-to" / "paper-table.yaml"


def test_one_command_makes_the_papers_table_of_phantoms(call, tmp_path):
    write_patients(tmp_path / "phantoms", 11)  # the fourth chooses, the last is reported
    small = ["--epochs", 1, "--batch-size", 4, "--image-size", 32, "--device", "cpu"]
    places = ["--data", tmp_path / "phantoms", "--out", tmp_path / "out"]
    status, _, err = call("train", "ae,ce-ae", "--config", FILE, *places, *small)
    assert status == 0, err
    assert "layout brainmetshare" in err
    assert yaml.safe_load(FILE.read_text())["model"] == "all"
    results = tmp_path / "out" / "evaluation"
    with (results / "results.csv").open() as stream:
        rows = {(row["model"], row["rule"]): row for row in csv.DictReader(stream)}
    assert {"ae", "ce-ae", "flair-threshold", "nothing"} < {model for model, _ in rows}
    assert float(rows["nothing", "none"]["mixture_dice_all_slices"]) == 204 / 419
    assert "In the mixture of a published test set" in (results / "table.md").read_text()
    assert "215 slices with lesion and 204 without" in (results / "report.html").read_text()
