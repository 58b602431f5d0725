import json
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from napari_cead import zoo
from napari_cead.errors import ModelError, OutputError, ParameterError
from napari_cead.models import ModelSpec, build, spec

SPEC = ModelSpec(name="tiny", family="vae", feature_maps=(4, 8), latent=5, coord_conv=True, image_size=20)
WEIGHTS, CARD = "model.safetensors", "model.json"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_CEAD_HOME", str(tmp_path / "home"))
    bundle = tmp_path / "bundle"
    (bundle / "models").mkdir(parents=True)
    monkeypatch.setattr("napari_cead.zoo.finding.sample_data", lambda: bundle)
    return tmp_path / "home" / "models"


@pytest.fixture
def bundled(tmp_path):
    return tmp_path / "bundle" / "models"


def network(seed=0, architecture=SPEC):
    torch.manual_seed(seed)
    return build(architecture)


def card(name="mine", **more):
    preprocessing = zoo.Preprocessing(image_size=20)
    return zoo.ModelCard(**({"name": name, "spec": SPEC, "preprocessing": preprocessing} | more))


def save(folder, seed=0, half=False, **more):
    return zoo.save_model(network(seed), card(folder.name, **more), folder, half=half)


def one_sentence(error):
    text = str(error.value)
    assert "\n" not in text and ";" in text, text  # what is wrong; how to mend it
    return text


# --- round trip ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [False, True])
def test_round_trip(tmp_path, half):
    module = network().eval()
    suggestions = (
        zoo.Suggestion(
            score="residual", rule="healthy-quantile", params={"threshold": 0.25, "closing_radius": 2}
        ),
    )
    original = card(
        "mine",
        description="Grün",
        training={"seed": 3, "losses": [1.5, float("nan")], "folder": None},
        score_scales={"kl-gradient": 3.5},
        suggestions=suggestions,
        parents=(zoo.Parent(name="old", sha256="a" * 64),),
    )
    folder = zoo.save_model(module, original, tmp_path / "mine", half=half)
    detector = zoo.load_model(folder, device="cpu")

    x = torch.rand(3, 1, 20, 20)
    expected = module
    if half:
        expected = network().eval()
        expected.load_state_dict({k: v.half().float() for k, v in module.state_dict().items()})
    torch.testing.assert_close(detector.reconstruct(x), expected(x).reconstruction)
    assert detector.reconstruct(x).dtype == torch.float32 and not detector.reconstruct(x).requires_grad
    assert not detector.module.training
    assert {p.dtype for p in detector.module.parameters()} == {torch.float32}
    assert detector.name == "mine" and detector.folder == folder and detector.device == torch.device("cpu")

    assert detector.card.training == {"seed": 3, "losses": [1.5, None], "folder": None}
    assert type(detector.card.suggestions[0].params["closing_radius"]) is int
    assert detector.card.suggestions == suggestions
    assert detector.card.dtype == ("float16" if half else "float32")
    assert detector.card.parameters == sum(p.numel() for p in module.parameters())
    filled = {"sha256", "dtype", "parameters", "training"}
    assert detector.card.model_dump(exclude=filled) == original.model_dump(exclude=filled)
    digest = subprocess.run(
        ["sha256sum", folder / WEIGHTS], capture_output=True, text=True, check=False
    ).stdout
    assert detector.sha256 == detector.card.sha256 and (not digest or digest.startswith(detector.sha256))


def test_what_is_on_disk(tmp_path):
    folder = save(tmp_path / "mine", half=True)
    assert sorted(p.name for p in folder.iterdir()) == [CARD, WEIGHTS]
    with safe_open(folder / WEIGHTS, "pt") as stored:
        assert {stored.get_slice(key).get_dtype() for key in stored.keys()} == {"F16"}  # noqa: SIM118
    values = json.loads((folder / CARD).read_text("utf-8"), parse_constant=lambda name: pytest.fail(name))
    assert values["schema_version"] == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_usual_permissions(tmp_path):
    folder = save(tmp_path / "mine")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "file").touch()
    for ours, plain in ((folder, "plain"), (folder / WEIGHTS, "plain/file"), (folder / CARD, "plain/file")):
        assert ours.stat().st_mode == (tmp_path / plain).stat().st_mode


def test_weights_on_disk_can_go_while_the_model_is_in_use(tmp_path):
    folder = save(tmp_path / "mine")
    detector = zoo.load_model(folder, "cpu")
    x = torch.rand(1, 1, 20, 20)
    before = detector.reconstruct(x)
    (folder / WEIGHTS).write_bytes(b"\0" * (folder / WEIGHTS).stat().st_size)
    torch.testing.assert_close(detector.reconstruct(x), before, rtol=0, atol=0)


def test_healthy_statistics_travel_with_the_weights(tmp_path):
    maps = {"residual-mean": torch.rand(20, 20), "residual-std": torch.full((20, 20), 1e-6)}
    folder = zoo.save_model(network(), card(), tmp_path / "mine", half=True, statistics=maps)
    detector = zoo.load_model(folder, "cpu")
    assert set(detector.statistics) == set(maps) == set(detector.card.statistics)
    for name, values in maps.items():  # single precision also beside weights in half precision
        assert torch.equal(detector.statistics[name], values)
    with pytest.raises(ModelError):
        zoo.save_model(network(), card(), tmp_path / "x", statistics={"residual-mean": torch.rand(3, 3)})


@pytest.mark.parametrize("name", ["ce-ae", "vae1", "vae2", "vq-vae"])
def test_named_designs_round_trip(tmp_path, name):
    architecture = spec(name, "small")
    module = network(1, architecture).eval()
    folder = zoo.save_model(module, zoo.ModelCard(name=name, spec=architecture), tmp_path / name)
    x = torch.rand(1, 1, 196, 196)
    torch.testing.assert_close(zoo.load_model(folder, "cpu").reconstruct(x), module(x).reconstruction)


def test_reconstruct_refuses_other_sizes(tmp_path):
    detector = zoo.load_model(save(tmp_path / "mine"), "cpu")
    with pytest.raises(ParameterError, match=r"\(N, 1, 20, 20\)"):
        detector.reconstruct(torch.zeros(1, 1, 21, 20))


# --- saving ----------------------------------------------------------------------------------------------------


def test_saving_replaces_a_model_and_leaves_nothing_beside_it(tmp_path):
    first = zoo.load_model(save(tmp_path / "mine", seed=0), "cpu").sha256
    second = zoo.load_model(save(tmp_path / "mine", seed=1), "cpu").sha256
    assert first != second
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize(
    "where", ["safetensors.torch.save_file", "pathlib.Path.write_text", "pathlib.Path.rename"]
)
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_model_whole(tmp_path, monkeypatch, where, failure):
    folder = save(tmp_path / "mine", seed=0)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def fail(*arguments, **more):
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(where, fail)
        with pytest.raises(OutputError if isinstance(failure, OSError) else KeyboardInterrupt) as caught:
            save(tmp_path / "mine", seed=1)
    if isinstance(failure, OSError):
        assert "No space left" in one_sentence(caught) and str(folder) in str(caught.value)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".part-")]


def test_a_failed_swap_puts_the_old_model_back(tmp_path, monkeypatch):
    folder = save(tmp_path / "mine", seed=0)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    rename = Path.rename

    def fail_for_the_new_one(self, target):
        if self.name.startswith(".part-"):
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail_for_the_new_one)
        with pytest.raises(OutputError, match="Permission denied"):
            save(tmp_path / "mine", seed=1)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(OutputError) as caught:
        save(tmp_path / "thesis")
    assert "thesis" in one_sentence(caught)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    save(tmp_path / "mine")
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError):
        save(tmp_path / "mine")
    (tmp_path / "empty").mkdir()
    assert zoo.check_model(save(tmp_path / "empty"))


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_behind_a_link_the_model_is_replaced_not_the_link(tmp_path):
    real = save(tmp_path / "real", seed=0)
    link = tmp_path / "link"
    link.symlink_to(real, target_is_directory=True)
    save(link, seed=1)
    assert link.is_symlink()
    assert zoo.load_model(link, "cpu").sha256 == zoo.load_model(real, "cpu").sha256


def test_weights_that_do_not_fit_or_are_not_finite_are_not_saved(tmp_path):
    with pytest.raises(ModelError, match="not those of the spec"):
        zoo.save_model(network(0, spec("ae", "small", 32)), card(), tmp_path / "mine")
    module = network()
    module.encoder.dense.weight.data[0, 0] = float("nan")
    with pytest.raises(ModelError, match=r"not finite in encoder\.dense\.weight"):
        zoo.save_model(module, card(), tmp_path / "mine")
    module.encoder.dense.weight.data[0, 0] = 1e5
    with pytest.raises(ModelError, match="single precision"):
        zoo.save_model(module, card(), tmp_path / "mine", half=True)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../up"},
        {"name": ""},
        {"score_scales": {"squared": 0.0}},
        {"score_scales": {"squared": float("inf")}},
        {"preprocessing": zoo.Preprocessing(image_size=196)},
        {"suggestions": ({"score": "residual", "rule": "r", "params": {"threshold": float("nan")}},)},
        {"likes": "cats"},
    ],
)
def test_impossible_cards_are_refused(change):
    with pytest.raises(ValidationError):
        card(**change)


# --- refusals --------------------------------------------------------------------------------------------------


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
    values["sha256"] = zoo.weights.file_sha256(folder / WEIGHTS)
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
    monkeypatch.setattr(torch.nn.Module, "to_empty", lambda *a, **k: pytest.fail("memory was allocated"))
    with pytest.raises(ModelError, match="tensor") as caught:
        zoo.load_model(folder, "cpu")
    assert WEIGHTS in one_sentence(caught)


def test_a_spec_larger_than_the_file_is_refused_before_anything_is_allocated(tmp_path, monkeypatch):
    folder = save(tmp_path / "mine")
    values = json.loads((folder / CARD).read_text())
    values["spec"] |= {"feature_maps": [65536, 65536], "latent": 65536}  # 137 TB of weights
    (folder / CARD).write_text(json.dumps(values))
    monkeypatch.setattr(torch.nn.Module, "to_empty", lambda *a, **k: pytest.fail("memory was allocated"))
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
    with pytest.raises(ModelError, match="not a whole safetensors") as caught:
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
        {"likes": "cats"},
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


# --- finding ---------------------------------------------------------------------------------------------------


def test_installed_models_hide_bundled_ones_of_the_same_name(home, bundled):
    save(bundled / "a", seed=0)
    save(bundled / "b", seed=0)
    save(home / "b", seed=1)
    assert zoo.find_models() == {"a": bundled / "a", "b": home / "b"}
    assert [(line.name, line.where) for line in zoo.list_models()] == [("a", "bundled"), ("b", "installed")]
    assert zoo.load_model("b", "cpu").folder == home / "b"
    assert zoo.load_model("a", "cpu").folder == bundled / "a"


def test_a_line_of_the_list(home):
    suggestion = zoo.Suggestion(score="positive-residual", rule="healthy-quantile", params={"threshold": 0.3})
    folder = save(home / "a", description="A tiny one.", suggestions=(suggestion,))
    (line,) = zoo.list_models()
    assert (line.family, line.description, line.score) == ("vae", "A tiny one.", "positive-residual")
    assert line.parameters == sum(p.numel() for p in network().parameters())
    assert line.size == sum(p.stat().st_size for p in folder.iterdir())


def test_damaged_folders_are_told_apart_and_break_nothing(home, bundled):
    save(bundled / "good")
    save(home / "bad")
    (home / "bad" / CARD).write_text("{")
    save(home / "weightless")
    (home / "weightless" / WEIGHTS).unlink()
    (home / "empty").mkdir()
    (home / "file").touch()
    (home / ".part-1").mkdir()
    if os.name != "nt":
        (home / "dangling").symlink_to(home / "nowhere")
    assert list(zoo.find_models()) == ["good"]
    assert set(zoo.damaged_models()) == {"bad", "weightless", "empty"}
    assert "JSON" in str(zoo.damaged_models()["bad"])


def test_a_damaged_installed_model_is_never_silently_another(home, bundled):
    save(bundled / "a")
    save(home / "a")
    (home / "a" / CARD).write_text("{")
    with pytest.raises(ModelError, match="JSON"):
        zoo.load_model("a", "cpu")


def test_no_models_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_CEAD_HOME", str(tmp_path / "nowhere"))
    assert zoo.find_models() == {} and zoo.list_models() == []
    with pytest.raises(ModelError, match="none"):
        zoo.load_model("ae", "cpu")


def test_a_file_of_the_folder_means_the_folder(tmp_path):
    folder = save(tmp_path / "mine")
    for wish in (folder / CARD, str(folder / WEIGHTS), str(folder), folder):
        assert zoo.load_model(wish, "cpu").folder == folder


def test_install_and_export(home, tmp_path):
    source = save(tmp_path / "mine")
    assert zoo.install_model(source) == home / "mine"
    assert zoo.install_model(source, "yours") == home / "yours"
    detector = zoo.load_model("yours", "cpu")
    assert detector.name == detector.card.name == "yours"
    assert detector.sha256 == zoo.load_card(source).sha256
    with pytest.raises(OutputError, match="is installed"):
        zoo.install_model(source)
    zoo.install_model(source, replace=True)
    assert zoo.check_model(zoo.export_model("yours", tmp_path / "out")).sha256 == detector.sha256
    for name in ("a/b", "..", ".hidden", "x" * 65):
        with pytest.raises(ParameterError, match="name"):
            zoo.install_model(source, name)


def test_damaged_models_are_not_installed(home, tmp_path):
    source = save(tmp_path / "mine")
    with (source / WEIGHTS).open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(ModelError):
        zoo.install_model(source)
    assert not (home / "mine").exists()


def test_listing_models_does_not_import_torch(home):
    save(home / "a")
    code = (
        "import sys, napari_cead.zoo as z; assert [m.name for m in z.list_models() if m.where == 'installed'] == ['a'];"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- devices ---------------------------------------------------------------------------------------------------


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert zoo.pick_device("auto") == zoo.pick_device("cpu") == zoo.pick_device(torch.device("cpu"))
    for name in ("cuda", "cuda:0", "mps", "tpu", "cuda:x", ""):
        with pytest.raises(ParameterError) as caught:
            zoo.pick_device(name)
        one_sentence(caught)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert zoo.pick_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert zoo.pick_device("auto") == torch.device("cuda")
    assert zoo.pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ParameterError, match="only 2"):
        zoo.pick_device("cuda:2")


def test_a_detector_moves_its_input(tmp_path):
    detector = zoo.load_model(save(tmp_path / "mine"), "cpu")
    x = np.random.default_rng(0).random((2, 1, 20, 20))
    assert detector.reconstruct(torch.from_numpy(x)).shape == (2, 1, 20, 20)
