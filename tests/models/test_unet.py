"""The denoising U-Net."""

import math
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from napari_cead.errors import ParameterError
from napari_cead.models import DENOISER_NAMES, ModelSpec, UNetOptions, build, parameter_count, spec
from napari_cead.models.resampling import resample
from napari_cead.models.unet import RARE

SMALL = {"family": "unet", "feature_maps": (4, 6, 8), "latent": 0}


def unet(side=32, **options):
    torch.manual_seed(0)
    values = UNetOptions(**({"working_size": 0} | options))
    return build(ModelSpec(name="mine", image_size=side, unet=values, **SMALL))


def counted(maps):
    """Weights of a U-Net that concatenates: two 3x3 convolutions and two pairs of normalisation a level."""

    def level(inner, outer):
        return 9 * outer * (inner + outer) + 4 * outer

    down = sum(level(inner, outer) for inner, outer in pairwise((1, *maps)))
    up = sum(level(deep + here, here) for here, deep in pairwise(maps))
    return down + up + 9 * maps[0] + 1


def counted_additive(maps, channels, pixels, heads):
    """The same of one that adds: a 1x1 convolution narrows the maps before they are enlarged."""
    down = sum(9 * outer * (inner + outer) + 4 * outer for inner, outer in pairwise((channels, *maps)))
    up = sum(18 * here**2 + 4 * here + deep * here + here for here, deep in pairwise(maps))
    return down + up + heads * pixels * (9 * maps[0] + 1)


def test_parameters_of_the_small_ce_unet():
    """Two slices (one mirrored) of four pixels each go in; two heads give four pixels each."""
    with torch.device("meta"):
        count = parameter_count(build("ce-unet", "small"))
    assert count == 1_267_376 == counted_additive((24, 48, 96, 128, 128), 8, 4, 2)


@pytest.mark.parametrize(
    ("name", "size", "count", "head"),
    [
        ("dae", "small", 386_337, 0),
        ("dae", "paper", 7_785_089, 0),
        ("ce-unet", "paper", 7_785_666, 9 * 64 + 1),
    ],
)
def test_parameter_counts(name, size, count, head):
    with torch.device("meta"):
        assert parameter_count(build(name, size)) == count == counted(spec(name, size).feature_maps) + head


def test_a_second_head_says_where_a_lesion_is_and_changes_nothing_else():
    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        one, two = unet(adds_input=True), unet(adds_input=True, predicts_lesion=True)
        two.load_state_dict(one.state_dict(), strict=False)
        made = two(images)
        assert torch.equal(made.reconstruction, one(images).reconstruction)
        assert not hasattr(one(images), "lesion_logit")
        # Before it has learnt anything it holds a lesion for rare, everywhere alike.
        assert made.lesion_logit.shape == images.shape and made.lesion_logit.unique().tolist() == [RARE]


@pytest.mark.parametrize(("side", "stem", "before"), [(40, 1, 0), (34, 2, 3), (32, 4, 0)])
def test_the_second_head_gives_the_pixels_of_a_stem_in_their_places(side, stem, before):
    module = unet(side, stem=stem, predicts_lesion=True)
    head = module.lesion_head
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.arange(stem**2))
        logit = module(torch.rand(1, 1, side, side)).lesion_logit
    place = (torch.arange(side) + before) % stem
    torch.testing.assert_close(logit[0, 0], (place[:, None] * stem + place).float())


def test_at_a_working_size_the_log_odds_are_enlarged():
    module, x = unet(50, working_size=32, predicts_lesion=True), torch.rand(1, 1, 50, 50)
    with torch.no_grad():
        torch.nn.init.normal_(module.lesion_head.weight)
        reduced = functional.interpolate(x, size=32, mode="bilinear", antialias=True)
        _, small = module.restore(reduced)
        expected = functional.interpolate(small, size=50, mode="bilinear")
        torch.testing.assert_close(module(x).lesion_logit, expected, atol=1e-5, rtol=1e-4)


def test_specs_without_a_second_head_are_as_earlier_versions_wrote_them():
    assert "predicts_lesion" not in spec("dae", "small").model_dump(mode="json")["unet"]
    again = ModelSpec.model_validate(spec("ce-unet", "small").model_dump(mode="json"))
    assert again == spec("ce-unet", "small") and again.predicts_lesion


# How much is padded depends on the side modulo the stem times 2 ** halvings, 16 at most here: steps of 11 meet all.
@pytest.mark.parametrize(
    ("options", "step"), [({}, 1), ({"stem": 4}, 11), ({"working_size": 64}, 33), ({"joining": "add"}, 33)]
)
def test_output_has_the_size_of_the_input(options, step):
    with torch.no_grad():
        for side in range(32, 257, step):
            images = torch.zeros(1, 1, side, side)
            assert unet(side, **options)(images).reconstruction.shape == images.shape


@pytest.mark.parametrize("name", DENOISER_NAMES)
@pytest.mark.parametrize("size", ["small", "paper"])
def test_the_named_ones_have_the_size_of_the_input_and_their_working_size(name, size):
    with torch.device("meta"), torch.no_grad():
        for side in (32, 100, 196, 255):
            images = torch.empty(1, 1, side, side)
            assert build(name, size, side)(images).reconstruction.shape == images.shape
            working = 192 if (name, size) == ("ce-unet", "small") else 128
            assert spec(name, size, side).side == min(side, working)


def by_hand(module, x, joining):
    """The forward pass from the weights, level by level."""

    def level(block, x):
        for convolution, norm in ((block[0], block[1]), (block[3], block[4])):
            x = functional.conv2d(x, convolution.weight, padding=1)
            groups = x.view(len(x), norm.num_groups, -1)
            mean, var = groups.mean(-1, keepdim=True), groups.var(-1, unbiased=False, keepdim=True)
            x = ((groups - mean) / (var + norm.eps).sqrt()).view_as(x)
            x = x * norm.weight[:, None, None] + norm.bias[:, None, None]
            x = x * torch.sigmoid(x)
        return x

    maps = [level(module.encoder[0], x)]
    for block in module.encoder[1:]:
        halved = maps[-1].unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
        maps.append(level(block, halved))
    x = maps.pop()
    for number, block in enumerate(module.decoder):
        large = functional.interpolate(x, size=maps[-1].shape[-2:], mode="bilinear")
        if joining == "add":
            large = functional.conv2d(large, module.narrow[number].weight, module.narrow[number].bias)
            x = level(block, large + maps.pop())
        else:
            x = level(block, torch.cat([large, maps.pop()], 1))
    return functional.conv2d(x, module.head.weight, module.head.bias, padding=1)


@pytest.mark.parametrize("joining", ["concat", "add"])
def test_the_network_is_a_unet(joining):
    module = unet(32, joining=joining).double()
    x = torch.rand(2, 1, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(module(x).reconstruction, by_hand(module, x, joining))
    assert [norm[1].num_groups for norm in module.encoder] == [math.gcd(8, maps) for maps in (4, 6, 8)]


def test_padding_is_zeros_around_that_are_cut_off_again():
    module, x = unet(30), torch.rand(1, 1, 30, 30)
    padded = functional.pad(x, (1, 1, 1, 1))
    expected = by_hand(module, padded, "concat")[..., 1:31, 1:31]
    torch.testing.assert_close(module(x).reconstruction, expected)


def test_at_a_working_size_the_change_is_what_is_enlarged():
    module, x = unet(50, working_size=32), torch.rand(2, 1, 50, 50)
    reduced = functional.interpolate(x, size=32, mode="bilinear", antialias=True)
    change = by_hand(module, reduced, "concat") - reduced
    expected = x + functional.interpolate(change, size=50, mode="bilinear")
    torch.testing.assert_close(module(x).reconstruction, expected, atol=1e-5, rtol=1e-4)


def test_a_network_that_adds_its_input_starts_as_the_identity():
    x = torch.rand(2, 1, 41, 41)
    for options in ({}, {"working_size": 16}, {"stem": 2, "mirror_input": True}):
        made = unet(41, adds_input=True, **options)(x).reconstruction
        torch.testing.assert_close(made, x, atol=1e-6, rtol=0)


def test_the_mirror_image_is_seen():
    module = unet(32, mirror_input=True)
    x, other = torch.rand(2, 1, 1, 32, 32)
    halves = torch.cat([x[..., :16], other[..., 16:]], -1)
    made = module(x).reconstruction, module(halves).reconstruction
    # With a reach of less than half the image the far left could not tell which right half there is.
    assert not torch.allclose(made[0][..., :2], made[1][..., :2])
    assert spec("dae", "small").unet.mirror_input is False


@pytest.mark.parametrize("target", [20, 64, 128, 196, 250])
def test_resampling_is_the_antialiased_bilinear_one(target):
    x = torch.rand(2, 3, 196, 196)
    expected = functional.interpolate(x, size=target, mode="bilinear", antialias=True)
    torch.testing.assert_close(resample(x, target), expected, atol=1e-5, rtol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(resample(x, target), resample(x, target).float())
        torch.testing.assert_close(resample(x, target), expected, atol=1e-5, rtol=1e-5)


def test_both_denoisers_are_one_family():
    one, other = (spec(name, "paper").model_dump() for name in DENOISER_NAMES)
    assert {key for key in one if one[key] != other[key]} == {"name", "context_encoding", "unet"}
    assert one["unet"] | {"predicts_lesion": True} == other["unet"]  # the second head is all that differs
    assert all(spec(name).denoising and spec(name).corrupts for name in DENOISER_NAMES)
    assert spec("ce-ae").corrupts and not spec("ae").corrupts and not spec("ce-ae").denoising


def test_the_spec_survives_json_and_refuses_what_is_no_unet():
    original = spec("dae", "small")
    assert ModelSpec.model_validate_json(original.model_dump_json(), strict=True) == original
    for change in ({"latent": 3}, {"coord_conv": True}, {"unet": None}, {"family": "ae", "latent": 4}):
        with pytest.raises(ValidationError):
            ModelSpec.model_validate(original.model_dump() | change)
    with pytest.raises(ValidationError):
        UNetOptions(stem=3)
    with pytest.raises(ParameterError, match=r"too small.*8 pixels"):
        build("dae", "small", 7)


def test_wrong_images_are_refused():
    with pytest.raises(ParameterError, match="64"):
        build("dae", "small", 64)(torch.zeros(1, 1, 65, 65))


@pytest.mark.parametrize("options", [{}, {"joining": "add"}, {"stem": 2, "mirror_input": True}])
@pytest.mark.parametrize("lesion", [False, True])
def test_a_settled_network_gives_the_same_and_has_the_same_weights(options, lesion):
    network, settled = (
        unet(adds_input=True, predicts_lesion=lesion, **options).eval().requires_grad_(False)
        for _ in range(2)
    )
    for one in (network, settled):
        torch.manual_seed(1)
        for weights in one.parameters():
            torch.nn.init.normal_(weights, std=0.3)
    settled.settle()
    images = torch.rand(3, 1, 32, 32)
    with torch.no_grad():
        plain, quick = network(images), settled(images)
    torch.testing.assert_close(quick.reconstruction, plain.reconstruction, atol=1e-5, rtol=1e-5)
    if lesion:
        torch.testing.assert_close(quick.lesion_logit, plain.lesion_logit, atol=1e-5, rtol=1e-5)
    assert settled.state_dict().keys() == network.state_dict().keys()
