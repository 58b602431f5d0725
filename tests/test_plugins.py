"""Registries: one folder of own files, and what other packages offer by entry points."""

from __future__ import annotations

import sys
import textwrap
from importlib.metadata import EntryPoint

import pytest

from napari_cead import plugins
from napari_cead.errors import ParameterError
from napari_cead.plugins import Registry, lacks


@pytest.fixture
def kinds(tmp_path, monkeypatch):
    """A registry of fruit: two own files, and a package that offers one that works and three that do not."""
    own = tmp_path / "orchard"
    own.mkdir()
    for file, text in {
        "__init__": "",
        "pear": "class Pear:\n    name, weight = 'pear', 1\nOFFERED = (Pear(),)",
        "apple": "class Apple:\n    name, weight = 'apple', 2\nOFFERED = (Apple(),)",
        "_press": "raise RuntimeError('no fruit')",
    }.items():
        (own / f"{file}.py").write_text(textwrap.dedent(text))
    (tmp_path / "market.py").write_text(
        "class Fig:\n    name, weight = 'fig', 3\n"
        "class Light:\n    name = 'light'\n"
        "class Other:\n    name, weight = 'apple', 5\n"
        "class Renamed:\n    name, weight = 'quince', 5\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    offered = [
        EntryPoint(name, value, "napari_cead.fruit")
        for name, value in {
            "fig": "market:Fig",
            "light": "market:Light",
            "apple": "market:Other",
            "plum": "market:Renamed",
            "ghost": "no_such_package:Ghost",
        }.items()
    ]
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: offered if group == "napari_cead.fruit" else ()
    )
    yield lambda **given: Registry(
        "fruit", "fruit", "orchard", lambda thing: lacks(thing, "name", "weight"), **given
    )
    for name in ("orchard", "orchard.pear", "orchard.apple", "market"):
        sys.modules.pop(name, None)


def test_every_file_of_the_folder_and_every_whole_plug_in_is_there(kinds):
    fruit = kinds()
    assert fruit.names == ("apple", "pear", "fig")
    assert [each.weight for each in fruit] == [2, 1, 3]
    assert fruit.find("fig").weight == 3
    assert kinds(order=lambda thing: thing.weight).names == ("pear", "apple", "fig")


def test_a_plug_in_that_cannot_be_used_is_listed_with_its_reason_and_stops_nothing(kinds):
    reasons = {origin.name: origin.reason for origin in kinds().origins}
    assert reasons["fig"] is None
    assert reasons["light"] == "it has no weight"
    assert reasons["apple"] == "there is another fruit of that name"
    assert "quince" in reasons["plum"]
    assert "no_such_package" in reasons["ghost"]


def test_a_name_that_cannot_be_found_says_what_there_is_or_which_package_is_broken(kinds):
    with pytest.raises(ParameterError, match=r"no fruit called 'nut'.*apple, pear, fig"):
        kinds().find("nut")
    with pytest.raises(ParameterError, match=r"'ghost' of no_such_package cannot be used"):
        kinds().find("ghost")


def test_a_package_that_comes_later_is_found_after_looking_again(kinds, monkeypatch):
    fruit = kinds()
    assert "fig" in fruit
    monkeypatch.setattr(plugins, "entry_points", lambda group: ())
    assert "fig" in fruit
    fruit.refresh()
    assert "fig" not in fruit
