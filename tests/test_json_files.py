import json

import pytest

from napari_cead.json_files import parse_json, read_json

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
