"""The script for a GPU, on the processor: that it measures, reports and survives its parts."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def run(out, *options):
    command = [sys.executable, FOLDER / "gpu.py", "--device", "cpu", "--tiny", "--out", out, *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (out / "gpu.json").is_file(), done.stderr
    report = json.loads((out / "gpu.json").read_text(encoding="utf-8"))
    return done.returncode, {part["part"]: part for part in report["parts"]}, (out / "gpu.md").read_text()


@pytest.fixture(scope="module")
def gpu_lines():
    spec = importlib.util.spec_from_file_location("gpu_lines", FOLDER / "gpu_lines.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_part_that_fails_is_reported_and_the_others_go_on(tmp_path):
    status, parts, page = run(tmp_path, "--models", "ce-vae1", "nonsense", "--parts", "agreement", "about")
    assert status == 1
    assert (parts["about"]["state"], parts["agreement"]["state"]) == ("ok", "failed")
    assert "nonsense" in parts["agreement"]["error"]
    (row,) = parts["agreement"]["rows"]  # the model before it was measured, and is reported
    assert row["model"] == "ce-vae1" and row["ok"]
    assert row["fp32"] == 0, "a processor agrees with itself"
    assert 0 < row["bf16, mean"] < row["bf16, largest"] < 0.1
    assert "1 of 2 parts" in page and "## The same as on the processor" in page


def test_a_part_that_takes_too_long_is_ended(tmp_path):
    status, parts, page = run(tmp_path, "--apart", "--minutes", "0.06", "--parts", "about")
    assert (status, parts["about"]["state"]) == (1, "late")
    assert "out of time" in page


def test_statements_of_a_gpu_are_those_that_name_one_or_stand_under_a_condition_for_one(gpu_lines):
    source = """
NAMES = ("auto", "cuda")
def work(device, tensor):
    "Docs of cuda."
    import torch.cuda
    if device.type == "cuda":
        tensor = prepared(tensor)
    if device.type != "cuda":
        return tensor
    with torch.autocast(device.type):
        tensor = tensor + 1
    return tensor.to(device, non_blocking=True)
"""
    assert [first for first, _, _ in gpu_lines.statements(source)] == [7, 10, 12]


def test_every_statement_that_needs_a_gpu_is_found_and_its_run_recorded(gpu_lines):
    from napari_cead import devices

    hits = {}
    with gpu_lines.recorded(hits):
        devices.pick_device("cpu")
    rows = {row["line"]: row for row in gpu_lines.table(hits, required=True)}
    text = {row["statement"] for row in rows.values()}
    assert {"torch.cuda.empty_cache()", "torch.set_float32_matmul_precision('high')"} <= text
    ran = [row for row in rows.values() if row["ran"] == "yes"]
    assert [row["statement"] for row in ran] == ["return torch.device(name if kind == 'cuda' else kind)"]
    cannot = [row for row in rows.values() if "ok" not in row]
    assert all(row["ran"].startswith("no: ") for row in cannot) and 5 <= len(cannot) <= 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_parts_run_on_the_processor(tmp_path):
    chosen = ("about", "agreement", "lines", "memory", "patient", "two", "detection", "speed", "compiled")
    status, parts, page = run(tmp_path, "--minutes", "25", "--models", "ce-vae1", "--parts", *chosen)
    assert status == 0, page
    assert list(parts) == [*chosen, "ran"]
    assert all(part["state"] == "ok" for part in parts.values())
    for name in ("speed", "compiled"):
        (row,) = parts[name]["rows"]
        assert row["ratio"] > 0 and row["agreement"] < 1e-3
    beside = parts["two"]["rows"][-1]
    assert beside["epochs"] >= 1 and beside["said"] == "the map is bit for bit the lone one"
    assert "1 were taken" in parts["memory"]["rows"][0]["said"]
    assert "adding up the gradients" in parts["memory"]["rows"][1]["said"]
