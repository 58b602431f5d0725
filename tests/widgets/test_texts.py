"""The table of texts and the table of keys, and the help that is written from them."""

from __future__ import annotations

import re
from html import escape

from napari_cead.detection import SCORES
from napari_cead.detection.options import MAP_OPTIONS
from napari_cead.detection.params import PARAMETERS
from napari_cead.detection.rules import RULES
from napari_cead.widgets.common.texts import of_parameter, texts, tip, title
from napari_cead.widgets.explore.help import TERMS, help_html
from napari_cead.widgets.explore.shortcuts import SHORTCUTS


def test_every_setting_has_the_texts_of_its_own_table():
    for parameter in (*PARAMETERS, *MAP_OPTIONS):
        assert texts()[parameter.name] == of_parameter(parameter)
        assert title(parameter.name) == parameter.title
        assert parameter.description in tip(parameter.name)
        assert parameter.range in tip(parameter.name)
        assert texts()[parameter.name].unit == parameter.unit


def test_tooltips_explain_and_end_without_a_full_stop():
    for name, text in texts().items():
        if name == "research_only":
            continue
        assert text.title.strip() == text.title != ""
        assert len(text.tip) >= 10, name
        assert not text.tip.endswith("."), name


def test_the_score_tells_about_every_score():
    assert all(score.name in tip("score") and score.description in tip("score") for score in SCORES)


def test_keys_and_actions_are_there_once():
    assert len({shortcut.key for shortcut in SHORTCUTS}) == len(SHORTCUTS)
    assert len({shortcut.action for shortcut in SHORTCUTS}) == len(SHORTCUTS)


def test_the_help_says_every_bound_key_once_and_no_other():
    html = help_html(SHORTCUTS[:3])
    rows = re.findall(r"<b>([^<]+)</b>(?:&nbsp;)*</td><td>([^<]+)</td>", html)
    keys = [row for row in rows if row in {(shortcut.label, shortcut.text) for shortcut in SHORTCUTS}]
    assert keys == [(shortcut.label, shortcut.text) for shortcut in SHORTCUTS[:3]]


def test_the_help_explains_every_control_once():
    explained = [name for names in TERMS.values() for name in names]
    assert len(set(explained)) == len(explained)
    elsewhere, not_on_screen = {"score", "help", "research_only"}, {"min_area_mm2"}
    assert set(texts()) - set(explained) == elsewhere | not_on_screen
    html = help_html()
    for name in explained:
        assert escape(title(name)) in html and escape(tip(name)) in html
    assert all(escape(rule.title) in html for rule in RULES)
