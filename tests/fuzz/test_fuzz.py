"""The fuzz job's memory, and a short, repeatable slice of it; the job itself is ``make fuzz``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("zarr")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the guard against hangs needs SIGALRM")

if sys.platform != "win32":
    from hypothesis import HealthCheck, Phase, given, seed, settings

    from fuzz import trying
    from fuzz.recipes import spoil
    from fuzz.spoiling import recipes
    from fuzz.targets import TARGETS
else:
    TARGETS = {}

CORPUS = [
    (file.stem, entry)
    for file in sorted((Path(__file__).parent / "corpus").glob("*.json"))
    for entry in json.loads(file.read_text(encoding="utf-8"))
]
EXAMPLES = 16


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_not_spoilt_is_used(target, tmp_path):
    assert trying.attempt(target, [], tmp_path) is None


@pytest.mark.parametrize(
    ("target", "entry"), CORPUS, ids=[f"{name}: {entry['was']}" for name, entry in CORPUS]
)
def test_what_once_broke_it_does_not_any_more(target, entry, tmp_path):
    good = trying.seed(target)
    assert spoil(good, entry["recipe"]) != good, "the recipe does nothing to this seed"
    found = trying.attempt(target, entry["recipe"], tmp_path)
    assert not isinstance(found, trying.Finding), found


@pytest.mark.parametrize("target", TARGETS)
def test_spoilt_inputs_are_used_or_refused_in_a_sentence(target, tmp_path_factory):
    home = tmp_path_factory.mktemp("fuzz")

    @seed(20)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(recipe=recipes(list(trying.seed(target))))
    def spoiling(recipe):
        found = trying.attempt(target, recipe, home)
        assert not isinstance(found, trying.Finding), f"{found}\n{json.dumps(recipe)}"

    spoiling()


def test_the_guard_notices_what_must_not_happen(tmp_path, monkeypatch):
    import time
    import warnings

    from fuzz.targets import Target
    from napari_cead.errors import CeadError, PatientError, UnreadableError

    def outcome(use):
        monkeypatch.setitem(TARGETS, "split", Target(TARGETS["split"].make, use))
        return trying.attempt("split", [], tmp_path)

    def fail(error):
        def use(folder):
            raise error

        return use

    monkeypatch.setattr(trying, "LIMIT", 0.05)
    assert outcome(lambda folder: all(number == 0 for number in iter(int, 1))).what == "hang"
    monkeypatch.setattr(trying, "LIMIT", 10)
    monkeypatch.setattr(trying, "PATIENCE", 0.05)
    assert outcome(lambda folder: time.sleep(5)).what == "hang"
    monkeypatch.undo()
    assert outcome(fail(KeyError("x"))).what == "exception"
    assert outcome(lambda folder: warnings.warn("odd", RuntimeWarning, stacklevel=1)).what == "warning"
    assert outcome(fail(CeadError("no"))).words.startswith("names no file")
    assert outcome(fail(PatientError("no", file="a"))).words.startswith("names no mend")
    assert isinstance(outcome(fail(UnreadableError("no", file="a", hint="b"))), UnreadableError)
