"""A cohort on a cluster started by its commands, where a worker is killed in mid-run and another one joins."""

import importlib
import sys
from pathlib import Path

import pytest

from napari_cead.json_files import read_json

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SCANS = 14


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # maps depend on it in their last bits
    yield importlib.import_module("cluster")
    for name in ("cluster", "harness"):
        sys.modules.pop(name)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_worker_and_a_new_one_leave_the_results_of_one_process(cluster, tmp_path):
    scans, alone, together = tmp_path / "scans", tmp_path / "alone", tmp_path / "together"
    cluster.write_scans(scans, SCANS)
    assert cluster.detect(scans, alone, "ce-vae1").wait() == 0
    found = cluster.on_cluster(
        scans, together, "ce-vae1", tmp_path / "cluster", events={0.2: "kill", 0.4: "add"}
    )
    assert (found["exit"], found["done"]) == (0, SCANS)
    assert len(found["by_worker"]) == 3  # the killed one, the one that stayed and the new one
    # What a worker had put in place before it died is kept: nothing is made twice, and nothing is left undone.
    assert found["made_twice"] == 0 and sum(found["by_worker"]) == SCANS
    assert cluster.masks(together) == cluster.masks(alone)
    for place in together.glob("scan-*"):
        assert {file.name for file in place.iterdir() if not file.name.startswith(".")} == {
            "anomaly_map.nii.gz",
            "reconstruction.nii.gz",
            "mask.nii.gz",
            "detection.json",
        }
        assert (
            read_json(place / "detection.json")["sha256"]
            == read_json(alone / place.name / "detection.json")["sha256"]
        )
    table = (together / "detections.tsv").read_text().splitlines()[1:]
    assert [line.split("\t")[2] for line in table] == ["done"] * SCANS
