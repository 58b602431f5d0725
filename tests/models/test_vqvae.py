import numpy as np
import pytest
import torch

from napari_cead.models import ModelSpec, build
from napari_cead.models.vqvae import ResidualStack


def network():
    torch.manual_seed(0)
    architecture = ModelSpec(
        name="tiny",
        family="vqvae",
        feature_maps=(4, 8, 8),
        latent=6,
        codes=16,
        residual_maps=4,
        residual_layers=2,
        image_size=34,
    )
    module = build(architecture)
    torch.nn.init.normal_(module.codebook.weight)
    return module


def brute_force(vectors, codes):
    """Squared distances (M, K) in double precision."""
    z, e = (x.detach().double().numpy() for x in (vectors, codes))
    return np.stack([((z - code) ** 2).sum(1) for code in e], 1)


@pytest.mark.parametrize("scale", [1.0, 1 / 16, 0.01])
def test_nearest_is_the_brute_force_nearest(scale):
    """The codebook starts close to the origin, far from the vectors: the hardest case for the expanded square."""
    module = network()
    torch.nn.init.uniform_(module.codebook.weight, -scale, scale)
    encoded = torch.randn(3, 6, 25, 7)
    indices = module.nearest(encoded)
    assert indices.shape == (3, 25, 7) and indices.dtype == torch.int64
    distances = brute_force(encoded.movedim(1, -1).flatten(0, 2), module.codebook.weight)
    assert np.array_equal(indices.flatten().numpy(), distances.argmin(1))


def test_nearest_at_the_size_of_the_paper():
    """512 codes of 256 numbers: the code found is as near as the nearest, but for single precision's rounding."""
    torch.manual_seed(0)
    with torch.device("meta"):
        module = build("vq-vae")
    module.codebook.weight = torch.nn.Parameter(torch.empty(512, 256).uniform_(-1 / 512, 1 / 512))
    encoded = torch.randn(1, 256, 10, 10)
    chosen = module.nearest(encoded).flatten().numpy()
    distances = brute_force(encoded.movedim(1, -1).flatten(0, 2), module.codebook.weight)
    excess = distances[np.arange(100), chosen] - distances.min(1)
    assert excess.max() < 1e-5 * np.ptp(distances, axis=1).min()
    assert np.mean(chosen == distances.argmin(1)) > 0.98


def test_nearest_and_the_code_vectors_keep_their_precision_under_autocast():
    module = network()
    torch.nn.init.uniform_(module.codebook.weight, 0.99, 1.01)  # equal to one another in bfloat16
    encoded = torch.randn(2, 6, 20, 20)
    expected = module.nearest(encoded)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module.nearest(encoded), expected)
        output = module(torch.rand(2, 1, 34, 34))
        assert output.encoded.dtype == torch.bfloat16  # autocast was on
        assert torch.equal(module.nearest(output.encoded), output.indices)
    exact = module.codebook.weight[output.indices].movedim(-1, 1)
    assert torch.equal(output.quantised, exact)


def test_decodes_the_code_vectors_with_a_straight_through_gradient():
    module, x = network(), torch.rand(2, 1, 34, 34)
    output = module(x)
    assert output.indices.shape == (2, 8, 8)
    torch.testing.assert_close(output.quantised, module.codebook.weight[output.indices].movedim(-1, 1))
    torch.testing.assert_close(output.reconstruction, module.decode(output.quantised))
    # The encoder's gradient is the one the decoder sends to the code vectors; the codebook gets none from here.
    output.encoded.retain_grad()
    output.reconstruction.square().sum().backward()
    codes = output.quantised.detach().clone().requires_grad_()
    module.decode(codes).square().sum().backward()
    torch.testing.assert_close(output.encoded.grad, codes.grad)
    assert module.codebook.weight.grad is None


def test_residual_layers_add_to_the_rectified_input():
    torch.manual_seed(0)
    stack = ResidualStack(3, 2, 2)
    for block in stack.blocks:
        torch.nn.init.zeros_(block[2].weight)
    x = torch.randn(1, 3, 4, 4)
    torch.testing.assert_close(stack(x), x.clamp(min=0))
