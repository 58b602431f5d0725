import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open

from model_folders import CARD, WEIGHTS, card, network, one_sentence, save
from napari_cead import zoo
from napari_cead.errors import ModelError, OutputError, ParameterError
from napari_cead.models import spec


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
        assert detector.statistics[name].dtype == torch.float32
        assert torch.equal(detector.statistics[name], values.half().float())  # stored like the weights
    with pytest.raises(ModelError):
        zoo.save_model(network(), card(), tmp_path / "x", statistics={"residual-mean": torch.rand(3, 3)})


@pytest.mark.parametrize("name", ["ce-ae", "vae1", "vae2", "vq-vae"])
def test_named_designs_round_trip(tmp_path, name):
    architecture = spec(name, "small")
    module = network(1, architecture).eval()
    folder = zoo.save_model(module, zoo.ModelCard(name=name, spec=architecture), tmp_path / name)
    x = torch.rand(1, 1, 196, 196)
    torch.testing.assert_close(zoo.load_model(folder, "cpu").reconstruct(x), module(x).reconstruction)


@pytest.mark.parametrize("name", ["ae", "vq-vae", "ce-unet"])
def test_a_model_is_loaded_without_the_compiler_of_pytorch(tmp_path, name):
    """It takes seconds to import."""
    architecture = spec(name, "small")
    zoo.save_model(network(1, architecture), zoo.ModelCard(name=name, spec=architecture), tmp_path / name)
    code = (
        "import sys; from napari_cead import zoo; zoo.load_model(sys.argv[1], 'cpu'); "
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / name)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False"]


def test_reconstruct_refuses_other_sizes(tmp_path):
    detector = zoo.load_model(save(tmp_path / "mine"), "cpu")
    with pytest.raises(ParameterError, match=r"\(N, 1, 20, 20\)"):
        detector.reconstruct(torch.zeros(1, 1, 21, 20))


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
