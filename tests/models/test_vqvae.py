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


def test_nearest_is_the_brute_force_nearest():
    module = network()
    vectors = torch.randn(3, 6, 5, 7)
    distances = (vectors.movedim(1, -1)[..., None, :] - module.codebook.weight).square().sum(-1)
    assert torch.equal(module.nearest(vectors), distances.argmin(-1))


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
