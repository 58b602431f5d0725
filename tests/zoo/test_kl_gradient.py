"""The KL gradient of a VAE, and moving a model to another device."""

import numpy as np
import pytest
import torch

from model_folders import network, one_sentence
from napari_cead import zoo
from napari_cead.errors import ParameterError
from napari_cead.models import ModelSpec, build
from small_stores import AE, CE_VAE, CE_VQ

SIZE = 20
VAE = ModelSpec(name="tiny", family="vae", feature_maps=(4, 8), latent=5, coord_conv=True, image_size=SIZE)


def load(tmp_path, architecture, module=None, **more):
    card = zoo.ModelCard(
        name="mine", spec=architecture, preprocessing=zoo.Preprocessing(image_size=architecture.image_size)
    )
    module = network(0, architecture) if module is None else module
    return zoo.load_model(zoo.save_model(module, card, tmp_path / "mine", **more), "cpu")


def images(count=3, size=SIZE):
    return torch.from_numpy(np.random.default_rng(0).random((count, 1, size, size), dtype=np.float32))


def test_a_linear_encoder_has_the_gradient_of_the_closed_formula(tmp_path):
    """With positive weights and images nothing is cut by the LeakyReLUs: mu = A x and log s = B x."""
    linear = ModelSpec(name="tiny", family="vae", feature_maps=(3,), latent=2, image_size=8)
    module = build(linear)
    with torch.no_grad():
        for weights in module.encoder.parameters():
            weights.copy_(torch.rand_like(weights) / 10)
    detector = load(tmp_path, linear, module)
    x = images(4, 8)
    matrix = torch.stack(
        [torch.cat(module.encode(unit.reshape(1, 1, 8, 8)), dim=1)[0].detach() for unit in torch.eye(64)]
    ).double()
    flat = x.flatten(1).double()
    mu, log_std = (flat @ matrix).chunk(2, dim=1)
    a, b = matrix.chunk(2, dim=1)
    # d/dx of 0.5 (mu^2 + s^2 - log s^2 - 1), s = exp(log s)
    expected = (mu @ a.T + (torch.exp(2 * log_std) - 1) @ b.T).abs().reshape(x.shape)
    torch.testing.assert_close(detector.kl_gradient(x).double(), expected, rtol=1e-4, atol=1e-6)


def test_it_is_the_slope_that_finite_differences_find(tmp_path):
    detector = load(tmp_path, VAE)
    module = network(0, VAE).double()
    x = images(1).double()

    def divergence(x):
        mu, log_std = module.encode(x)
        normal = torch.distributions.Normal(0.0, 1.0)
        return torch.distributions.kl_divergence(torch.distributions.Normal(mu, log_std.exp()), normal).sum()

    found = detector.kl_gradient(x)
    for row, column in [(0, 0), (3, 17), (10, 10), (19, 5)]:
        step = torch.zeros_like(x)
        step[0, 0, row, column] = 1e-6
        with torch.no_grad():
            slope = (divergence(x + step) - divergence(x - step)) / 2e-6
        assert float(found[0, 0, row, column]) == pytest.approx(abs(float(slope)), rel=1e-3, abs=1e-7)


def test_each_slice_has_its_own(tmp_path):
    detector, x = load(tmp_path, VAE), images()
    together = detector.kl_gradient(x)
    for number in range(3):
        alone = detector.kl_gradient(x[number : number + 1])[0]
        torch.testing.assert_close(together[number], alone, rtol=1e-4, atol=1e-6)


def test_it_leaves_nothing_behind(tmp_path):
    detector, x = load(tmp_path, VAE), images()
    with torch.no_grad():  # whoever calls
        found = detector.kl_gradient(x)
    assert (found.shape, found.dtype, found.requires_grad) == (x.shape, torch.float32, False)
    assert (found >= 0).all() and found.any()
    assert not x.requires_grad
    assert all(weights.grad is None for weights in detector.module.parameters())
    assert torch.equal(found, detector.kl_gradient(x.double()))


@pytest.mark.parametrize("architecture", [AE, CE_VQ])
def test_other_models_have_none(tmp_path, architecture):
    detector = load(tmp_path, architecture)
    with pytest.raises(ParameterError, match="which mine is not") as caught:
        detector.kl_gradient(images(1, architecture.image_size))
    one_sentence(caught)


@pytest.mark.parametrize("architecture", [AE, CE_VAE, CE_VQ])
def test_a_model_on_another_device_is_the_same_and_leaves_the_first_alone(tmp_path, architecture):
    size = architecture.image_size
    detector = load(tmp_path, architecture, statistics={"residual_mean": torch.rand(size, size)})
    x = images(2, size)
    before = detector.reconstruct(x)
    moved = detector.on("cpu")
    assert torch.equal(moved.reconstruct(x), before)
    assert (moved.name, moved.card, moved.folder) == (detector.name, detector.card, detector.folder)
    assert torch.equal(moved.statistics["residual_mean"], detector.statistics["residual_mean"])
    assert not moved.module.training and not any(p.requires_grad for p in moved.module.parameters())
    with torch.no_grad():
        for weights in moved.module.parameters():
            weights.zero_()
    assert torch.equal(detector.reconstruct(x), before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine")
def test_a_gpu_gives_the_same_gradient_each_time(tmp_path):
    detector, x = load(tmp_path, VAE), images()
    gpu = detector.on("cuda")
    assert torch.equal(gpu.kl_gradient(x), gpu.kl_gradient(x))
    torch.testing.assert_close(gpu.kl_gradient(x).cpu(), detector.kl_gradient(x), rtol=1e-2, atol=1e-4)
    assert torch.equal(gpu.on("cpu").kl_gradient(x), detector.kl_gradient(x))
