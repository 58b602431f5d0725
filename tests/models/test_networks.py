import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_cead.errors import ParameterError
from napari_cead.models import MODEL_NAMES, build, parameter_count, spec
from napari_cead.models.blocks import CoordConv, coordinate_map, down, up

# Counted by hand from the layer table of each design.
COUNTS = {
    ("ae", True): 80_582_176,
    ("ae", False): 80_249_344,
    ("vae1", True): 118_478_368,
    ("vae1", False): 117_998_080,
    ("vae2", False): 114_558_976,
    ("vae2", True): 115_464_224,
    ("vq-vae", False): 2_757_889,
}


@pytest.mark.parametrize("prefix", ["", "ce-"])
@pytest.mark.parametrize(("base", "coord_conv"), COUNTS)
def test_parameter_counts(prefix, base, coord_conv):
    architecture = spec(prefix + base).model_copy(update={"coord_conv": coord_conv})
    with torch.device("meta"):
        module = build(architecture)
    assert parameter_count(module) == COUNTS[base, coord_conv]
    assert sum(t.numel() for t in module.state_dict().values()) == COUNTS[base, coord_conv]


def test_coordinates_are_on_where_the_paper_has_them():
    assert [spec(name).coord_conv for name in ("ae", "vae1", "vae2", "vq-vae")] == [True, True, False, False]


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_small_is_small(name):
    with torch.device("meta"):
        assert parameter_count(build(name, "small")) <= 2_400_000


def keeps_its_size(name, size, side):
    with torch.device("meta"):
        module = build(name, size, side)
    images = torch.empty(2, 1, side, side, device="meta")
    return module(images).reconstruction.shape == images.shape


# What is odd on the way down depends on the side modulo 2 ** halvings. All sides for each number of halvings (2 to 5);
# steps of 5 meet every case of the others.
@pytest.mark.parametrize(
    ("name", "size", "step"),
    [
        ("ae", "paper", 5),
        ("vae1", "paper", 1),
        ("vae2", "paper", 1),
        ("vq-vae", "paper", 1),
        ("ae", "small", 1),
        ("vae1", "small", 5),
        ("vae2", "small", 5),
        ("vq-vae", "small", 5),
    ],
)
def test_output_has_the_size_of_the_input(name, size, step):
    with torch.no_grad():
        assert all(keeps_its_size(name, size, side) for side in range(32, 257, step))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODEL_NAMES)
@pytest.mark.parametrize("size", ["paper", "small"])
def test_every_output_has_the_size_of_the_input(name, size):
    with torch.no_grad():
        assert all(keeps_its_size(name, size, side) for side in range(32, 257))


@pytest.mark.parametrize("base", ["ae", "vae1", "vae2", "vq-vae"])
@pytest.mark.parametrize("size", ["paper", "small"])
def test_twins_have_the_same_weights(base, size):
    with torch.device("meta"):
        plain, twin = (build(name, size).state_dict() for name in (base, f"ce-{base}"))
    assert {key: value.shape for key, value in plain.items()} == {
        key: value.shape for key, value in twin.items()
    }


@pytest.mark.parametrize("side", [32, 33, 47, 63, 64, 100, 129, 151, 196, 255])
def test_real_forward_of_small(side):
    torch.manual_seed(0)
    for name in ("ae", "vae1", "vae2", "vq-vae"):
        output = build(name, "small", side)(torch.rand(2, 1, side, side))
        assert output.reconstruction.shape == (2, 1, side, side)
        assert bool(torch.isfinite(output.reconstruction).all())


@pytest.mark.parametrize("name", ["ae", "vae1", "vq-vae"])
def test_wrong_images_are_refused(name):
    module = build(name, "small", 64)
    for shape in ((2, 1, 65, 64), (2, 3, 64, 64), (1, 64, 64)):
        with pytest.raises(ParameterError, match="64"):
            module(torch.zeros(shape))


def test_coordinate_map_is_y_then_x():
    y, x = coordinate_map(5, 3, torch.zeros(1, dtype=torch.float64))[0].numpy()
    np.testing.assert_allclose(y, np.repeat([[-1], [-0.5], [0], [0.5], [1]], 3, axis=1))
    np.testing.assert_allclose(x, np.repeat([[-1, 0, 1]], 5, axis=0))
    assert coordinate_map(1, 1, torch.zeros(1)).flatten().tolist() == [-1, -1]


def with_coordinates(x):
    """Concatenate the two channels, as the definition of CoordConv has it."""
    y, xx = np.meshgrid(np.linspace(-1, 1, x.shape[2]), np.linspace(-1, 1, x.shape[3]), indexing="ij")
    extra = torch.from_numpy(np.stack([y, xx])).to(x.dtype).expand(len(x), -1, -1, -1)
    return torch.cat([x, extra], 1)


def weight(block: CoordConv, dim: int) -> torch.Tensor:
    return torch.cat([block.convolution.weight, block.coordinates.weight], dim)


def test_coord_conv_is_the_convolution_of_the_concatenation():
    torch.manual_seed(0)
    x = torch.rand(3, 4, 9, 9, dtype=torch.float64)
    block = down(4, 6, True).double()
    expected = functional.conv2d(with_coordinates(x), weight(block, 1), stride=2, padding=1)
    torch.testing.assert_close(block(x), expected)
    block = up(4, 6, True, 9, 19).double()
    expected = functional.conv_transpose2d(
        with_coordinates(x), weight(block, 0), stride=2, padding=1, output_padding=1
    )
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("coord_conv", [True, False])
def test_the_network_is_the_convolutional_one_of_the_paper(coord_conv):
    """The dense layers are the convolutions whose kernel is the whole map; every activation is where it belongs."""
    torch.manual_seed(0)
    module = build(spec("vae1", "small", 68).model_copy(update={"coord_conv": coord_conv})).double().eval()
    images = torch.rand(2, 1, 68, 68, dtype=torch.float64)
    join = with_coordinates if coord_conv else (lambda x: x)

    x = images
    for block in module.encoder.down:
        kernel = weight(block, 1) if coord_conv else block.convolution.weight
        x = functional.leaky_relu(functional.conv2d(join(x), kernel, stride=2, padding=1), 0.01)
    side = x.shape[-1]
    assert side == 2
    kernel = module.encoder.dense.weight.unflatten(1, (-1, side, side))
    code = functional.conv2d(join(x), kernel)
    assert code.shape == (2, 256, 1, 1)
    mu, log_std = code[:, :128], code[:, 128:]

    z = mu
    if coord_conv:
        z = torch.cat([mu, -torch.ones(2, 2, 1, 1, dtype=torch.float64)], 1)  # a 1x1 map's coordinates
    kernel = module.decoder.dense.weight.T.unflatten(1, (-1, side, side))
    x = functional.leaky_relu(functional.conv_transpose2d(z, kernel), 0.01)
    for block, target in zip(module.decoder.up, (4, 8, 17, 34, 68), strict=True):
        kernel = weight(block, 0) if coord_conv else block.convolution.weight
        odd = target - 2 * x.shape[-1]
        x = functional.conv_transpose2d(join(x), kernel, stride=2, padding=1, output_padding=odd)
        x = x if target == 68 else functional.leaky_relu(x, 0.01)

    output = module(images)
    torch.testing.assert_close(output.reconstruction, x)
    torch.testing.assert_close(output.mu, mu.flatten(1))
    torch.testing.assert_close(output.log_std, log_std.flatten(1))


def test_coordinates_start_with_the_scale_of_the_concatenation():
    torch.manual_seed(0)
    block = down(62, 64, True)
    bound = 1 / math.sqrt(64 * 16)
    for part in (block.convolution, block.coordinates):
        assert part.weight.abs().max().item() == pytest.approx(bound, rel=0.05)


@pytest.mark.parametrize("name", ["ae", "vae1", "vae2"])
def test_the_decoder_starts_like_the_transposed_convolution_that_it_begins_with(name):
    torch.manual_seed(0)
    chosen = spec(name, "small", 68)
    side = chosen.sizes[-1]
    reference = torch.nn.ConvTranspose2d(
        chosen.latent + 2 * chosen.coord_conv, chosen.feature_maps[-1], side, bias=False
    ).weight
    weights = build(chosen).decoder.dense.weight
    assert weights.numel() == reference.numel()
    assert weights.std().item() == pytest.approx(reference.std().item(), rel=0.02)
    assert weights.abs().max().item() == pytest.approx(reference.abs().max().item(), rel=0.02)


def test_vae_samples_in_training_only():
    torch.manual_seed(0)
    module, x = build("vae1", "small", 64), torch.rand(4, 1, 64, 64)
    module.eval()
    torch.testing.assert_close(module(x).latent, module(x).mu, rtol=0, atol=0)
    module.train()
    one, two, other = (module(x, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    torch.testing.assert_close(one.latent, two.latent, rtol=0, atol=0)
    assert not torch.equal(one.latent, other.latent)
    torch.testing.assert_close(module(x, sample=False).latent, one.mu, rtol=0, atol=0)


def test_vae_samples_have_the_posteriors_mean_and_spread():
    torch.manual_seed(0)
    module = build("vae2", "small", 32)
    module.encode = lambda x: (torch.full((len(x), 64), 2.0), torch.full((len(x), 64), math.log(0.5)))
    z = module(torch.rand(400, 1, 32, 32), sample=True, generator=torch.Generator().manual_seed(0)).latent
    assert z.mean().item() == pytest.approx(2.0, abs=0.02)  # 25,600 samples: standard error 0.003
    assert z.std().item() == pytest.approx(0.5, abs=0.02)
