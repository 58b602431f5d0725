"""Stores, runs and settings that anybody may have written: one sentence, no code, no memory."""

import json
import pickle
from pathlib import Path

import pytest

from napari_cead.errors import CeadError, StoreError
from napari_cead.runs.registry import registry_file
from napari_cead.runs.requests import asked
from napari_cead.runs.run_folder import RunFolder
from napari_cead.runs.run_info import look, read_status
from napari_cead.store.parts import read_split
from napari_cead.store.scan_list import read_scan_list
from napari_cead.store.store import SliceStore
from napari_cead.training.launching import recipe_of

DEEP = b"[" * 100_000
HOSTILE = [
    b"",
    b"NaN",
    b"null",
    b"5",
    b"[]",
    b'"x"',
    b"{}",
    DEEP,
    b'{"a":' * 100_000,
    b"\xff\xfe\x00",
    pickle.dumps([1]),
]


@pytest.fixture
def store(small_store, tmp_path):
    import shutil

    shutil.copytree(small_store.path if hasattr(small_store, "path") else small_store, tmp_path / "store")
    return tmp_path / "store"


def arrays(store: Path) -> list[Path]:
    return sorted(store.glob("*/images"))


def readable(store: Path) -> None:
    opened = SliceStore.open(store)
    for patient in opened.patients:
        opened.slices(patient.name)


@pytest.mark.parametrize("content", HOSTILE)
def test_the_index_of_a_store(store, content):
    (store / "zarr.json").write_bytes(content)
    with pytest.raises(StoreError) as error:
        SliceStore.open(store)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", HOSTILE)
def test_the_description_of_an_array(store, content):
    (arrays(store)[0] / "zarr.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"delete this folder"):
        readable(store)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": [10**9, 10**9, 10**9]}, "some slices are missing"),
        ({"data_type": "float64"}, "its values are not uint8"),
        ({"codecs": [{"name": "pickle"}]}, r"unsupported way \(pickle\)"),
        ({"codecs": [{"name": "numcodecs.pickle"}, {"name": "bytes"}]}, r"numcodecs.pickle"),
        ({"codecs": 5}, "damaged"),
        ({"codecs": [5]}, "damaged"),
        (
            {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [10**9, 4, 4]}}},
            "groups of slices",
        ),
        ({"chunk_grid": {}}, "damaged"),
        ({"zarr_format": 2}, "not an array of Zarr version 3"),
        ({"node_type": "group"}, "not an array of Zarr version 3"),
        ({"storage_transformers": [{"name": "x"}]}, "unsupported way"),
    ],
)
def test_an_array_that_is_none_of_ours(store, change, words):
    file = arrays(store)[0] / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(StoreError, match=words):
        readable(store)


class Bomb:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return (Path.touch, (self.place,))


def test_an_array_of_pickles_in_the_older_format_runs_nothing(store, tmp_path):
    place = arrays(store)[0]
    shape = json.loads((place / "zarr.json").read_text())["shape"]
    (place / "zarr.json").unlink()
    for codec in ({"compressor": {"id": "pickle"}}, {"filters": [{"id": "pickle"}]}):
        described = {
            "zarr_format": 2,
            "shape": shape,
            "chunks": shape,
            "dtype": "|O",
            "fill_value": 0,
            "order": "C",
        }
        described |= {"compressor": None, "filters": None} | codec
        (place / ".zarray").write_text(json.dumps(described))
        (place / "0.0.0").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
        with pytest.raises(StoreError):
            readable(store)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", HOSTILE)
def test_the_files_of_a_run(tmp_path, content):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("run.json", "checkpoint.json", "status.json", "request.json", "config.yaml"):
        (run / name).write_bytes(content)
    for attempt in (RunFolder(run).plan, RunFolder(run).load_checkpoint, lambda: recipe_of(run)):
        with pytest.raises(CeadError) as error:
            attempt()
        assert "\n" not in str(error.value)
    assert asked(run) is None
    assert read_status(run) is None
    assert look(run).state == "damaged"


@pytest.mark.parametrize("content", HOSTILE)
def test_lists_of_scans_and_patients(tmp_path, content):
    (tmp_path / "list.json").write_bytes(content)
    for read in (read_scan_list, read_split):
        try:
            read(tmp_path / "list.json")
        except CeadError as error:
            assert "list.json" in str(error) and "\n" not in str(error)
        else:
            assert content == b"{}"


def test_the_list_of_runs(tmp_path):
    from napari_cead.runs.registry import known_runs

    for content in HOSTILE:
        registry_file().parent.mkdir(parents=True, exist_ok=True)
        registry_file().write_bytes(content)
        assert list(known_runs()) == []
