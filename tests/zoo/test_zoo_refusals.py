import json
import os
import pickle
import struct
from pathlib import Path

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file

from model_folders import CARD, WEIGHTS, one_sentence, save
from napari_cead import zoo
from napari_cead.checksums import file_sha256
from napari_cead.errors import ModelError


def test_unknown_name_lists_the_known_ones(home):
    save(home / "alpha")
    save(home / "beta")
    with pytest.raises(ModelError) as caught:
        zoo.load_model("gamma", "cpu")
    assert "gamma" in one_sentence(caught) and "alpha, beta" in str(caught.value)


@pytest.mark.parametrize("file", [CARD, WEIGHTS])
def test_a_missing_file_is_named(tmp_path, file):
    folder = save(tmp_path / "mine")
    (folder / file).unlink()
    with pytest.raises(ModelError) as caught:
        zoo.load_model(folder, "cpu")
    assert file in one_sentence(caught) and str(folder) in str(caught.value)


@pytest.mark.parametrize("offset", [9, -1, -300])
def test_a_changed_byte_is_found(tmp_path, offset):
    folder = save(tmp_path / "mine")
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[offset] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(ModelError) as caught:
        zoo.load_model(folder, "cpu")
    assert WEIGHTS in one_sentence(caught)
    if offset < 0:
        assert "sha256" in str(caught.value)


@pytest.mark.parametrize("kept", [0, 5, 40, -1])
def test_a_truncated_file_is_found(tmp_path, kept):
    folder = save(tmp_path / "mine")
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:kept])
    with pytest.raises(ModelError) as caught:
        zoo.load_model(folder, "cpu")
    assert WEIGHTS in one_sentence(caught)


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path(os.environ["NAPARI_CEAD_HOME"]).parent / "exploded",))


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.ckpt", "model.pkl", WEIGHTS])
def test_pickles_are_never_loaded(tmp_path, name):
    folder = save(tmp_path / "mine")
    (folder / WEIGHTS).unlink()
    torch.save({"weights": Bomb()}, folder / name)
    (folder / "raw.pkl").write_bytes(pickle.dumps(Bomb()))
    wishes = [folder] if name == WEIGHTS else [folder, folder / name, str(folder / name)]
    for wish in wishes:
        with pytest.raises(ModelError, match="safetensors") as caught:
            zoo.load_model(wish, "cpu")
        one_sentence(caught)
    assert not (tmp_path / "exploded").exists()


def resign(folder):
    """Give the card the checksum of the file as it is now, as someone ill-meaning would."""
    values = json.loads((folder / CARD).read_text())
    values["sha256"] = file_sha256(folder / WEIGHTS)
    (folder / CARD).write_text(json.dumps(values))


def renamed(tensors):
    return {("other" if i == 0 else key): value for i, (key, value) in enumerate(tensors.items())}


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {key: value for key, value in t.items() if key != "decoder.dense.weight"},
        lambda t: t | {"more": torch.zeros(3)},
        lambda t: t | {"decoder.dense.weight": t["decoder.dense.weight"].T.contiguous()},
        lambda t: t | {"decoder.dense.weight": torch.zeros(7, 5)},
        lambda t: t | {"decoder.dense.weight": t["decoder.dense.weight"].double()},
        lambda t: t | {"decoder.dense.weight": t["decoder.dense.weight"].half()},
        lambda t: t | {"statistics.residual-mean": torch.zeros(20, 20)},
        renamed,
    ],
)
def test_tensors_other_than_the_specs_are_refused_before_anything_is_allocated(tmp_path, monkeypatch, change):
    folder = save(tmp_path / "mine")
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS)
    resign(folder)
    monkeypatch.setattr(safetensors, "safe_open", lambda *a, **k: pytest.fail("weights were read"))
    with pytest.raises(ModelError, match="tensor") as caught:
        zoo.load_model(folder, "cpu")
    assert WEIGHTS in one_sentence(caught)


def test_a_spec_larger_than_the_file_is_refused_before_anything_is_allocated(tmp_path, monkeypatch):
    folder = save(tmp_path / "mine")
    values = json.loads((folder / CARD).read_text())
    values["spec"] |= {"feature_maps": [65536, 65536], "latent": 65536}  # 137 TB of weights
    (folder / CARD).write_text(json.dumps(values))
    monkeypatch.setattr(safetensors, "safe_open", lambda *a, **k: pytest.fail("weights were read"))
    with pytest.raises(ModelError, match="tensor"):
        zoo.load_model(folder, "cpu")


HEADERS = [
    b"[]",
    b"{",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"x": 3}',
    b'{"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
    b'{"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
    b'{"x": {"dtype": "F32", "shape": ["2"], "data_offsets": [0, 8]}}',
    b'{"x": {"dtype": "F32", "shape": [2], "data_offsets": [0]}}',
]


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_a_damaged_header_is_one_sentence(tmp_path, header):
    folder = save(tmp_path / "mine")
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(header)) + header)
    resign(folder)
    with pytest.raises(ModelError, match="not a valid safetensors") as caught:
        zoo.load_model(folder, "cpu")
    one_sentence(caught)


def test_overlapping_tensors_are_refused(tmp_path):
    folder = save(tmp_path / "mine")
    data = (folder / WEIGHTS).read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    for entry in header.values():
        if "data_offsets" in entry:
            start, end = entry["data_offsets"]
            entry["data_offsets"] = [0, end - start]
    text = json.dumps(header).encode().ljust(length)
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    resign(folder)
    with pytest.raises(ModelError) as caught:
        zoo.load_model(folder, "cpu")
    one_sentence(caught)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("[1]", "schema version None"),
        ("{}", "schema version None"),
        ('{"schema_version": 2, "anything": NaN}', "JSON.*NaN"),
        ('{"schema_version": 2, "anything": 1}', "schema version 2.*update"),
        ('{"schema_version": true}', "schema version True"),
        ('{"schema_version": 1}', "name"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_a_wrong_card_is_one_sentence(tmp_path, text, words):
    folder = save(tmp_path / "mine")
    (folder / CARD).write_text(text)
    with pytest.raises(ModelError, match=words) as caught:
        zoo.load_model(folder, "cpu")
    assert CARD in one_sentence(caught)


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": ""},
        {"sha256": "A" * 64},
        {"score_scales": {"squared": None}},
        {"dtype": "bfloat16"},
        {"name": "../../etc"},
        {"parameters": "many"},
        {"spec": {"family": "gan"}},
    ],
)
def test_wrong_entries_of_a_card_are_one_sentence(tmp_path, change):
    folder = save(tmp_path / "mine")
    values = json.loads((folder / CARD).read_text()) | change
    (folder / CARD).write_text(json.dumps(values))
    with pytest.raises(ModelError) as caught:
        zoo.load_model(folder, "cpu")
    assert CARD in one_sentence(caught)


def test_a_card_that_is_not_text_is_one_sentence(tmp_path):
    folder = save(tmp_path / "mine")
    (folder / CARD).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError):
        zoo.load_model(folder, "cpu")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "scan.nii.gz").write_bytes(b"")
    with pytest.raises(ModelError, match="not a model"):
        zoo.load_model(tmp_path / "scan.nii.gz", "cpu")
