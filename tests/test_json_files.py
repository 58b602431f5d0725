import json
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from pydantic import ConfigDict, Field, ValidationError

from napari_cead.errors import CeadWarning
from napari_cead.json_files import (
    Saved,
    first_wrong,
    from_saved,
    parse_json,
    read_json,
    shown,
    unknown_keys,
    version_of,
    warn_of,
)

DEEP = "[" * 200_000 + "]" * 200_000


def test_what_is_strict_is_read(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"ü": [1, 2.5, None, True]}).encode())
    assert read_json(tmp_path / "a.json") == {"ü": [1, 2.5, None, True]}


@pytest.mark.parametrize("text", ["", "{", '{"a": NaN}', "[Infinity]", "-Infinity", DEEP, '{"a":' * 5000])
def test_what_is_not_is_a_value_error(text, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError):
        read_json(tmp_path / "a.json")
    with pytest.raises(ValueError):
        parse_json(text)


def test_bytes_that_are_no_text_are_a_value_error(tmp_path):
    (tmp_path / "a.json").write_bytes(b'"\xff\xfe"')
    with pytest.raises(ValueError):
        read_json(tmp_path / "a.json")


def test_a_file_of_gigabytes_is_not_read(tmp_path):
    with (tmp_path / "a.json").open("wb") as stream:
        stream.truncate(3 << 30)  # takes no room on the disk
    with pytest.raises(ValueError, match="more than 1,000,000 bytes"):
        read_json(tmp_path / "a.json", 1_000_000)


# -- the rule for what the program saved -----------------------------------------------------------------------


class Square(Saved):
    kind: Literal["square"] = "square"
    side: int = 2


class Disk(Saved):
    kind: Literal["disk"] = "disk"
    radius: int = 3


@dataclass(frozen=True)
class Row:
    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    numbers: tuple[int, ...] = ()


class File(Saved):
    UNWRITTEN = frozenset({"seldom"})

    name: str
    size: int = 5
    nothing: str | None = None
    seldom: bool = False
    settings: Square = Square()
    shape: Annotated[Square | Disk, Field(discriminator="kind")] = Disk()
    rows: tuple[Row, ...] = ()
    by_name: dict[str, Square] = Field(default_factory=dict)


def whole(**changes):
    values = {
        "name": "a",
        "size": 1,
        "settings": {"kind": "square", "side": 1},
        "shape": {"kind": "disk", "radius": 1},
        "rows": [{"name": "x", "numbers": [1]}, {"name": "y", "numbers": []}],
        "by_name": {"z": {"kind": "square", "side": 7}},
    }
    return values | changes


def test_a_whole_file_has_nothing_to_be_said_of():
    made, notes = from_saved(File, whole())
    assert (made.size, made.rows[0], notes) == (1, Row("x", (1,)), ())


def test_a_missing_key_is_the_default_and_said():
    values = whole(settings={}, rows=[{"name": "x"}, {"name": "y"}])
    del values["size"]
    made, notes = from_saved(File, values)
    assert (made.size, made.settings.side, made.rows[1].numbers) == (5, 2, ())
    assert notes == (
        "size is missing and taken as 5",
        'settings.kind is missing and taken as "square"',
        "settings.side is missing and taken as 2",
        "rows.numbers is missing and taken as []",
    )


def test_a_missing_key_without_a_default_is_an_error():
    with pytest.raises(ValidationError, match="name"):
        from_saved(File, {"size": 1})


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (whole(future=[1]), "future"),
        (whole(shape={"kind": "disk", "radius": 1, "soft": True}), "shape.disk.soft"),
        (whole(rows=[{"name": "x", "numbers": [], "a": 1}, {"name": "y", "numbers": [], "a": 2}]), "rows.a"),
        (whole(by_name={"z": {"kind": "square", "side": 7, "tilt": 1}}), "by_name.z.tilt"),
    ],
)
def test_an_unknown_key_is_ignored_and_named(values, named):
    before = json.dumps(values)
    made, notes = from_saved(File, values)
    assert notes == (f"{named}: not known to this version, and ignored; update napari-cead to use it",)
    assert made.name == "a"
    assert json.dumps(values) == before


def test_an_unknown_key_of_what_a_network_is_or_learns_is_refused():
    drifting = {"kind": "square", "side": 1, "drift": 2}
    for values in (whole(settings=drifting), whole(future=1, settings=drifting)):
        with pytest.raises(ValidationError) as caught:
            from_saved(File, values)
        assert unknown_keys(caught.value) == "settings.drift"


def test_a_wrong_value_is_an_error_beside_an_unknown_key_too():
    with pytest.raises(ValidationError, match="size"):
        from_saved(File, whole(future=1, size="large"))


def test_notes_become_warnings_that_name_the_file():
    with pytest.warns(CeadWarning, match="a.json: size is missing and taken as 5"):
        warn_of(["size is missing and taken as 5"], "a.json")


@pytest.mark.parametrize("version", [True, False, 1.0, "1", None, [1], {"a": 1}, "x" * 5000])
def test_what_is_no_whole_number_is_no_version(version):
    found = version_of({"schema_version": version})
    assert found != 1 and found != 0
    assert isinstance(found, str) and len(found) <= 40


def test_a_version_is_a_whole_number():
    assert version_of({"schema_version": 3}) == 3
    assert version_of({}) == version_of([1]) == "None"


def test_values_of_files_are_cut_to_what_somebody_reads():
    assert shown("a") == "'a'"
    assert len(shown("x" * 5000)) == 40 and shown("x" * 5000).endswith("…")
    assert shown(json.loads("[" * 900 + "]" * 900)) == "[…]"


def test_the_first_thing_that_is_wrong_is_a_clause_of_bounded_length():
    for values in (whole(**{"k" * 5000: 1}), whole(size="x" * 5000), whole(by_name={"n" * 5000: 3})):
        with pytest.raises(ValidationError) as caught:
            File.model_validate(values)
        assert len(first_wrong(caught.value)) < 450
        assert len(unknown_keys(caught.value)) <= 300
    assert first_wrong(caught.value).startswith("by_name.nnn")
