"""Preferences in napari's settings: what is read, what is refused, and who is told."""

from __future__ import annotations

import warnings

import pytest

from napari_cead.errors import CeadWarning
from napari_cead.exploring import DEFAULT_MODEL
from napari_cead.widgets.common.anatomy import CONVENTIONS
from napari_cead.widgets.common.preferences import (
    DEVICES,
    MAX_BATCH,
    PAGE,
    PLUGIN,
    Preferences,
    on_changed,
    prefer_convention,
    preferences,
)


@pytest.fixture
def page(npe2pm, plugin_settings):
    """The plugin's page in napari's settings, in a settings folder of its own."""
    from napari.settings import get_plugin_settings

    with npe2pm.tmp_plugin(package=PLUGIN):
        yield getattr(get_plugin_settings(PLUGIN), PAGE)


def test_without_the_plugin_the_defaults_hold(npe2pm, plugin_settings):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert preferences() == Preferences("auto", 32, "ce-unet", "radiological")
        prefer_convention("neurological")
        on_changed(lambda _: pytest.fail("nothing can change"))()


def test_the_manifest_offers_what_the_code_takes(page):
    assert preferences() == Preferences()
    properties = type(page).model_json_schema()["properties"]
    assert list(properties) == list(Preferences.__dataclass_fields__)
    assert tuple(properties["device"]["enum"]) == DEVICES
    assert tuple(properties["convention"]["enum"]) == CONVENTIONS
    assert properties["batch_size"]["maximum"] == MAX_BATCH
    assert properties["default_model"]["default"] == DEFAULT_MODEL


def test_what_the_user_chose_is_returned_and_kept_in_a_file(page):
    from napari.settings import get_plugin_settings

    page.device, page.batch_size = "cpu", 4
    prefer_convention("neurological")
    assert preferences() == Preferences("cpu", 4, DEFAULT_MODEL, "neurological")
    written = get_plugin_settings(PLUGIN).config_path.read_text()
    assert "convention: neurological" in written
    assert "batch_size: 4" in written


def test_an_installed_model_may_be_the_default(page, model_folder):
    import shutil

    from napari_cead.zoo import models_folder

    shutil.copytree(model_folder, models_folder() / "tiny")
    page.default_model = "tiny"
    assert preferences().default_model == "tiny"


def test_bad_values_give_the_defaults_and_one_warning(page):
    page.default_model = "gone"
    page.convention = "neurological"
    # A settings file that was written by hand may hold anything.
    page.__dict__["batch_size"] = 0
    with pytest.warns(CeadWarning) as seen:
        found = preferences()
    assert found == Preferences(convention="neurological")
    assert len(seen) == 1
    assert "'gone'" in str(seen[0].message)
    assert "batch_size cannot be 0, using 32" in str(seen[0].message)


def test_changes_are_told_until_it_is_ended(page):
    told = []
    end = on_changed(told.append)
    page.convention = "neurological"
    assert told == [Preferences(convention="neurological")]
    end()
    page.convention = "radiological"
    assert len(told) == 1
