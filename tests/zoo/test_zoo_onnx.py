import json
import logging
import sys

import numpy as np
import pytest
import torch

from model_folders import CARD, SPEC, WEIGHTS, card, network, one_sentence, save
from napari_cead import zoo
from napari_cead.errors import MissingExtraError, ModelError, OutputError
from napari_cead.models import ModelSpec, UNetOptions

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SPECS = {
    "coordconv vae": SPEC,
    "ae": ModelSpec(name="a", family="ae", feature_maps=(4, 8), latent=5, image_size=21),
    "vqvae": ModelSpec(
        name="v", family="vqvae", feature_maps=(4, 8, 8), latent=6, codes=9, residual_maps=3,
        residual_layers=1, image_size=22,
    ),
    "unet": ModelSpec(
        name="d", family="unet", feature_maps=(4, 8), latent=0, image_size=29,
        unet=UNetOptions(working_size=18, stem=2, mirror_input=True, joining="add"),
    ),
}  # fmt: skip


def trained(spec):
    """Fixed weights; the codes of a VQ-VAE are where its vectors are, so that many are in use.

    A decoder starts near 0, where a mistake would hide below the tolerances: here it is as strong as a trained one.
    """
    module = network(0, spec).eval()
    if spec.family in ("ae", "vae"):
        with torch.no_grad():
            module.decoder.dense.weight.mul_(10)
    if spec.family == "vqvae":
        with torch.no_grad():
            vectors = module.encode(torch.rand(1, 1, spec.image_size, spec.image_size)).movedim(1, -1)
            vectors = vectors.reshape(-1, spec.latent)
            module.codebook.weight.copy_(vectors[:: len(vectors) // spec.codes][: spec.codes])
    return module


@pytest.mark.parametrize("family", SPECS)
def test_the_file_gives_what_the_model_gives(tmp_path, family, capfd, recwarn):
    spec = SPECS[family]
    side = spec.image_size
    module = trained(spec)
    module.train()  # what is exported is deterministic whatever state the network was saved in
    preprocessing = zoo.Preprocessing(
        sequence="t2", spacing=(0.5, 0.75), intensity="slice-max", image_size=side
    )
    folder = zoo.save_model(
        module, zoo.ModelCard(name="mine", spec=spec, preprocessing=preprocessing), tmp_path / "mine"
    )
    level = logging.getLogger("torch.onnx").level
    file = zoo.export_onnx(folder, tmp_path / "new" / "model.onnx")
    assert file == tmp_path / "new" / "model.onnx"
    assert [path.name for path in file.parent.iterdir()] == ["model.onnx"]
    assert tuple(capfd.readouterr()) == ("", "")
    assert not recwarn.list
    assert logging.getLogger("torch.onnx").level == level

    session = runtime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    for ends, name in ((session.get_inputs(), "image"), (session.get_outputs(), "reconstruction")):
        assert [(end.name, end.shape, end.type) for end in ends] == [
            (name, ["N", 1, side, side], "tensor(float)")
        ]
    for seed, count in enumerate((1, 2, 5)):
        x = torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(seed))
        (found,) = session.run(None, {"image": x.numpy()})
        with torch.no_grad():
            expected = module(x, sample=False).reconstruction
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert np.ptp(found) > 1e-3

    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts.pop("spacing")) == [0.5, 0.75]
    sha256 = zoo.load_card(folder).sha256
    assert facts == {"model": "mine", "sha256": sha256, "sequence": "t2", "intensity": "slice-max"}
    assert (
        b".py" not in file.read_bytes()
    )  # where the source code lay when it was exported is nobody's business


@pytest.fixture
def quick(monkeypatch):
    """Take a ready model for the one that is exported, so that a test needs no export."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT

    def give(scale):
        def convert(detector):
            shape = ["N", 1, 20, 20]
            graph = helper.make_graph(
                [helper.make_node("Mul", ["image", "scale"], ["reconstruction"])],
                "graph",
                [helper.make_tensor_value_info("image", kind, shape)],
                [helper.make_tensor_value_info("reconstruction", kind, shape)],
                [helper.make_tensor("scale", kind, [], [scale])],
            )
            return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)

        monkeypatch.setattr("napari_cead.zoo.onnx._convert", convert)

    return give


def test_the_mean_with_the_mirror_image_is_in_the_file(tmp_path):
    spec = SPECS["ae"]
    description = {"spec": spec, "preprocessing": zoo.Preprocessing(image_size=21), "mirror_average": True}
    folder = zoo.save_model(trained(spec), zoo.ModelCard(name="mine", **description), tmp_path / "mine")
    file = zoo.export_onnx(folder, tmp_path / "mine.onnx")
    session = runtime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    x, detector = torch.rand(3, 1, 21, 21), zoo.load_model(folder, "cpu")
    (found,) = session.run(None, {"image": x.numpy()})
    np.testing.assert_allclose(found, detector.reconstruct(x), atol=1e-5)
    with torch.no_grad():
        assert np.abs(found - detector.module(x).reconstruction.numpy()).max() > 1e-3


@pytest.mark.parametrize("scale", [1.0, float("nan")])
def test_a_file_that_gives_something_else_is_not_written(tmp_path, quick, scale):
    quick(scale)
    folder = save(tmp_path / "mine")
    with pytest.raises(ModelError, match="differs") as caught:
        zoo.export_onnx(folder, tmp_path / "new" / "m.onnx")
    assert str(folder) in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_an_exporter_that_fails_is_one_sentence(tmp_path, monkeypatch):
    def fail(*arguments, **more):
        raise torch.onnx.OnnxExporterError("This is why.\nAnd pages of advice")

    monkeypatch.setattr("torch.onnx.export", fail)
    with pytest.raises(ModelError, match=r"\(This is why\.\); update"):
        zoo.export_onnx(save(tmp_path / "mine"), tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_only_a_file_exported_before_is_replaced(tmp_path, quick, monkeypatch):
    quick(0.0)
    monkeypatch.setattr(zoo.Detector, "reconstruct", lambda self, x: torch.zeros_like(x))
    folder = save(tmp_path / "mine")
    target = tmp_path / "m.onnx"
    foreign = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []), producer_name="other")
    for content in (b"", b"years of work", foreign.SerializeToString()):
        target.write_bytes(content)
        with pytest.raises(OutputError, match="not a previously exported model"):
            zoo.export_onnx(folder, target)
        assert target.read_bytes() == content
    ours = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []), producer_name="napari-cead")
    target.write_bytes(ours.SerializeToString())
    assert zoo.export_model(folder, target) == target  # the ending decides what is written
    assert {entry.key: entry.value for entry in onnx.load(target).metadata_props}["model"] == "mine"


def test_a_damaged_model_and_one_too_large_are_refused(tmp_path, monkeypatch):
    folder = save(tmp_path / "mine")
    with monkeypatch.context() as patch:
        patch.setattr("napari_cead.zoo.onnx._LARGEST", 4 * zoo.load_card(folder).parameters - 1)
        with pytest.raises(ModelError, match="2 GB"):
            zoo.export_onnx(folder, tmp_path / "m.onnx")
    with (folder / WEIGHTS).open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(ModelError, match=WEIGHTS):
        zoo.export_onnx(folder, tmp_path / "m.onnx")
    (folder / CARD).unlink()
    with pytest.raises(ModelError, match=CARD):
        zoo.export_onnx(folder, tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".onnx"] == []


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_names_the_extra(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"napari-cead\[onnx\]"):
        zoo.export_onnx(save(tmp_path / "mine"), tmp_path / "m.onnx")


def test_a_runtime_that_cannot_run_the_file_is_one_sentence(tmp_path, monkeypatch):
    empty = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []), ir_version=9999)
    monkeypatch.setattr("napari_cead.zoo.onnx._convert", lambda detector: empty)
    with pytest.raises(ModelError, match="ONNX Runtime") as caught:
        zoo.export_onnx(save(tmp_path / "mine"), tmp_path / "m.onnx")
    one_sentence(caught)
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize(("family", "tried"), [("vqvae", [1, 1, 3, 3]), ("vae", None)])
def test_only_ties_of_codes_are_not_held_against_the_file(tmp_path, quick, monkeypatch, family, tried):
    """Every other draw of noise is made to differ, as where two codes are equally near."""
    quick(0.0)
    spec = SPECS["vqvae"].model_copy(update={"image_size": 20}) if family == "vqvae" else SPEC
    folder = zoo.save_model(network(0, spec), card("mine", spec=spec), tmp_path / "mine")
    calls = []

    def tied(self, batch):
        if not batch.any():
            return torch.zeros_like(batch)
        calls.append(len(batch))
        return torch.full_like(batch, 0.5 * (len(calls) % 2))

    monkeypatch.setattr(zoo.Detector, "reconstruct", tied)
    if tried is None:
        with pytest.raises(ModelError, match=r"differs by 0\.5"):
            zoo.export_onnx(folder, tmp_path / "m.onnx")
    else:
        zoo.export_onnx(folder, tmp_path / "m.onnx")
        assert calls == tried
