"""Numbers as text."""

import math

import pytest

from napari_cead.wording import UNDEFINED, counted, number, span


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_no_figure_is_a_dash(value):
    assert number(value) == number(value, 1, signed=True) == UNDEFINED


def test_figures_have_the_digits_and_the_sign_asked_for():
    assert (number(0.12345), number(2), number(2, 0)) == ("0.123", "2.000", "2")
    assert (number(1.25, 1, signed=True), number(-0.5, 2, signed=True)) == ("+1.2", "-0.50")


def test_an_interval_without_ends_is_no_text():
    assert (span(None), span((None, 0.5))) == ("", "")
    assert span((0.1, 0.25), 2) == "[0.10, 0.25]"
    assert span([-0.1, 0.25], 1, signed=True) == "[-0.1, +0.2]"


def test_one_thing_is_not_several():
    assert [counted(count, "patient") for count in (0, 1, 2)] == ["0 patients", "1 patient", "2 patients"]
