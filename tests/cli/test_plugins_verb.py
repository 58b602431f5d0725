"""``napari-cead plugins``: what there is, and what is wrong with what other packages offer."""

import json
from importlib.metadata import EntryPoint

from napari_cead import plugins


def test_every_kind_is_listed(call):
    status, out, err = call("plugins", "--json")
    assert (status, err) == (0, "")
    kinds = json.loads(out)["kinds"]
    assert set(kinds) == {
        "networks",
        "corruptions",
        "scores",
        "steps",
        "rules",
        "formats",
        "strippers",
        "loggers",
    }
    assert "fused" in kinds["scores"] and "nifti" in kinds["formats"] and "deepbet" in kinds["strippers"]


def test_the_corruptions_listed_are_those_that_a_training_takes(call):
    listed = json.loads(call("plugins", "--json")[1])["kinds"]["corruptions"]
    err = call("train", "dae", "--data", "store", "--out", "run", "--corruption", "none-such")[2]
    assert "scanners" in listed and f"use one of {', '.join(listed)}, or a JSON file" in " ".join(err.split())


def test_what_another_package_adds_is_listed_with_its_package(call, plugin):
    status, out, _ = call("plugins")
    assert status == 0
    assert out.count("of cead-example 1.0") == 8


def test_a_broken_package_is_listed_with_the_reason_and_stops_nothing(call, monkeypatch):
    def offered(group):
        return (EntryPoint("ghost", "no_such_package:Ghost", group),) if group.endswith(".scores") else ()

    monkeypatch.setattr(plugins, "entry_points", offered)
    plugins.refresh_all()
    try:
        status, out, _ = call("plugins")
    finally:
        monkeypatch.undo()
        plugins.refresh_all()
    assert status == 0
    assert "ghost, of no_such_package cannot be used" in out and "ModuleNotFoundError" in out
