import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.distributions import kl_divergence as closed_form

from batch_losses import objective
from napari_cead.models import ModelSpec, UNetOptions, build
from napari_cead.models.outputs import Output
from napari_cead.models.terms import (
    FEW,
    brain_error,
    bright_spots,
    corruption_weights,
    kl_divergence,
    lesion_error,
    squared_error,
)
from napari_cead.models.unet import RARE
from napari_cead.models.vae import VariationalOutput
from napari_cead.models.vqvae import QuantisedOutput


def test_divergence_is_the_closed_form():
    torch.manual_seed(0)
    mu, log_std = torch.randn(2, 5, 7, dtype=torch.float64)
    expected = closed_form(Normal(mu, log_std.exp()), Normal(torch.zeros_like(mu), torch.ones_like(mu)))
    torch.testing.assert_close(kl_divergence(mu, log_std), expected)
    assert kl_divergence(torch.zeros(1, 3), torch.zeros(1, 3)).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (1.5, 0.5), (-2.0, 1.7)])
def test_divergence_is_the_integral(mean, deviation):
    """The definition, ∫ q log(q / p), by quadrature."""
    z, width = np.linspace(-20, 20, 40_001, retstep=True)
    log_q = -0.5 * ((z - mean) / deviation) ** 2 - np.log(deviation * np.sqrt(2 * np.pi))
    log_p = -0.5 * z**2 - np.log(np.sqrt(2 * np.pi))
    expected = (np.exp(log_q) * (log_q - log_p)).sum() * width
    value = kl_divergence(torch.tensor(mean), torch.tensor(deviation).log()).item()
    assert value == pytest.approx(expected, abs=1e-6)


def test_divergence_of_half_precision_is_computed_in_single():
    torch.manual_seed(0)
    mu, log_std = (1e-2 * torch.randn(2, 64, 128)).bfloat16()  # 1 + small - 1: hopeless in half precision
    value = kl_divergence(mu, log_std)
    m, s = mu.double().numpy(), np.exp(log_std.double().numpy())
    expected = 0.5 * (m**2 + s**2 - np.log(s**2) - 1)
    assert value.dtype == torch.float32
    assert value.sum().item() == pytest.approx(expected.sum(), rel=1e-3)


def test_squared_error_sums_over_pixels_and_averages_over_the_batch():
    images = torch.zeros(4, 1, 3, 3)
    reconstruction = images.clone()
    reconstruction[1, 0, 2, 2], reconstruction[3, 0, 0] = 3.0, 1.0
    assert squared_error(reconstruction, images).item() == (9 + 3) / 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_squared_error_of_half_precision_is_summed_in_single(dtype):
    torch.manual_seed(0)
    images = torch.rand(2, 1, 196, 196)
    reconstruction = torch.rand(2, 1, 196, 196).to(dtype)
    value = squared_error(reconstruction, images)
    expected = ((reconstruction.double() - images.double()) ** 2).sum() / 2
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)  # 13,000: in steps of 64 in bfloat16


class Fixed(nn.Module):
    """A network of two hand-made answers: adds 1 to what it sees; its posterior is N(3, 2²) in two dimensions."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.seen = kind, []

    def forward(self, x, *, sample=None, generator=None):
        self.seen.append((x, sample))
        if self.kind == "ae":
            return Output(x + 1)
        if self.kind == "vae":
            mu = torch.full((len(x), 2), 3.0)
            return VariationalOutput(x + 1, mu, torch.full((len(x), 2), 2.0).log(), mu)
        ones = torch.ones(len(x), 2, 2, 2)
        return QuantisedOutput(x + 1, ones, 3 * ones, torch.zeros(len(x), 2, 2))


def batch():
    clean = torch.zeros(2, 1, 3, 3)
    corrupted = clean.clone()
    corrupted[0, 0, 0, :2] = 0.5  # restored as 1.5 there, 1 elsewhere
    return clean, corrupted


KL = 2 * 0.5 * (9 + 4 - torch.tensor(4.0).log().item() - 1)
RESTORED = ((2 * 1.5**2 + 7) + 9) / 2  # against the clean zeros


def test_autoencoder():
    clean, corrupted = batch()
    losses = objective(Fixed("ae"), clean, corrupted)
    assert losses.reconstruction.item() == 9
    assert losses.latent.item() == 0
    assert losses.context.item() == RESTORED
    assert losses.total.item() == 9 + RESTORED
    assert objective(Fixed("ae"), clean).total.item() == 9


def test_vae_with_beta():
    clean, corrupted = batch()
    losses = objective(Fixed("vae"), clean, corrupted, beta=0.5)
    assert losses.latent.item() == pytest.approx(0.5 * KL)
    assert losses.total.item() == pytest.approx(9 + 0.5 * KL + RESTORED)


def test_context_branch_sees_the_corrupted_images_and_decodes_the_mean():
    clean, corrupted = batch()
    network = Fixed("vae")
    objective(network, clean, corrupted)
    (first, sampled), (second, mean) = network.seen
    assert torch.equal(first, clean) and sampled is None
    assert torch.equal(second, corrupted) and mean is False


def test_real_vae_context_term_is_that_of_the_mean():
    torch.manual_seed(0)
    module = build("ce-vae1", "small", 32).train()
    clean, corrupted = torch.rand(2, 3, 1, 32, 32)
    losses = objective(module, clean, corrupted, generator=torch.Generator().manual_seed(0))
    mu, _ = module.encode(corrupted)
    torch.testing.assert_close(losses.context, (module.decode(mu) - clean).square().flatten(1).sum(1).mean())
    again = objective(module, clean, corrupted, generator=torch.Generator().manual_seed(1))
    assert torch.equal(losses.context, again.context)
    assert not torch.equal(losses.reconstruction, again.reconstruction)


def test_vqvae_terms_are_means():
    clean, corrupted = batch()
    losses = objective(Fixed("vqvae"), clean, corrupted, commitment=0.25)
    assert losses.reconstruction.item() == 1
    assert losses.latent.item() == 4 + 0.25 * 4
    assert losses.context.item() == pytest.approx(RESTORED / 9)
    assert losses.codes is not None and losses.codes.encoded.shape == (2, 2, 2, 2)
    assert objective(Fixed("ae"), clean).codes is None and objective(Fixed("vae"), clean).codes is None


def test_moving_averages_leave_out_the_codebook_term():
    clean, corrupted = batch()
    losses = objective(Fixed("vqvae"), clean, corrupted, commitment=0.25, codebook="ema")
    assert losses.latent.item() == 0.25 * 4
    assert losses.total.item() == pytest.approx(1 + 0.25 * 4 + RESTORED / 9)


def test_the_codes_are_those_of_the_clean_images():
    torch.manual_seed(0)
    module = build("ce-vq-vae", "small", 32)
    clean, corrupted = torch.rand(2, 3, 1, 32, 32)
    codes = objective(module, clean, corrupted).codes
    torch.testing.assert_close(codes.encoded, module.encode(clean), rtol=0, atol=0)


def spread_network():
    """A small VQ-VAE whose codes lie where its vectors are."""
    torch.manual_seed(0)
    module, x = build("ce-vq-vae", "small", 32), torch.rand(2, 1, 32, 32)
    vectors = module.encode(x).detach().movedim(1, -1).flatten(0, -2)
    codes = vectors[torch.randperm(len(vectors))[:128]] + 0.02 * torch.randn(128, 32)
    with torch.no_grad():
        module.codebook.weight.copy_(codes)
    return module, x


@pytest.mark.parametrize("codebook", ["loss", "ema"])
def test_vqvae_gradients_are_those_of_the_formula(codebook):
    """The codebook learns by |sg(z) - e|² alone, the encoder by commitment and the decoder's gradient, copied."""
    module, x = spread_network()
    losses = objective(module, x, commitment=0.3, codebook=codebook)
    codes = losses.codes
    codes.encoded.retain_grad()
    losses.total.backward()

    z, e = codes.encoded.detach().double().numpy(), codes.quantised.detach().double().numpy()
    expected = np.zeros((128, 32))
    for n, y, column in np.ndindex(*codes.indices.shape):
        expected[codes.indices[n, y, column]] += 2 / z.size * (e - z)[n, :, y, column]
    if codebook == "loss":
        np.testing.assert_allclose(module.codebook.weight.grad, expected, atol=1e-8, rtol=1e-4)
        assert np.abs(expected).max() > 1e-5
    else:
        assert module.codebook.weight.grad is None

    copied = codes.quantised.detach().clone().requires_grad_()
    (module.decode(copied) - x).square().mean().backward()
    towards = copied.grad.double().numpy() + 0.3 * 2 / z.size * (z - e)
    np.testing.assert_allclose(codes.encoded.grad, towards, atol=1e-7, rtol=1e-3)


@pytest.mark.parametrize("name", ["ce-ae", "ce-vae1", "ce-vae2", "ce-vq-vae"])
def test_autocast_costs_less_than_a_hundredth(name):
    torch.manual_seed(0)
    clean = torch.rand(4, 1, 64, 64)
    corrupted = clean * (torch.rand(4, 1, 64, 64) > 0.2)
    module = build(name, "small", 64).eval()
    if name == "ce-vq-vae":
        torch.nn.init.normal_(module.codebook.weight, std=0.2)
    with torch.no_grad():
        exact = objective(module, clean, corrupted)
        with torch.autocast("cpu", torch.bfloat16):
            cast = objective(module, clean, corrupted)
    for term in ("total", "reconstruction", "latent", "context"):
        value = getattr(cast, term)
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(getattr(exact, term).item(), rel=0.01), term


@pytest.mark.parametrize(("kind", "expected"), [("absolute", (0.2 + 0.4 + 0.1) / 5), ("squared", 0.21 / 5)])
def test_a_denoisers_error_is_the_mean_over_the_brain(kind, expected):
    images = torch.zeros(2, 1, 3, 3)
    images[0, 0, 0, :2], images[1, 0, 2] = 0.5, 0.5  # five pixels of brain
    restored = images.clone()
    restored[0, 0, 0, 0], restored[1, 0, 2, 0], restored[1, 0, 2, 2] = 0.7, 0.1, 0.6
    restored[0, 0, 2, 2] = 9.0  # outside the brain
    assert brain_error(restored, images, kind).item() == pytest.approx(expected, abs=1e-6)
    assert brain_error(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), kind).item() == 0


def test_a_denoiser_sees_the_corrupted_images_alone():
    clean, corrupted = batch()
    clean = clean + 0.5
    network = Fixed("ae")
    losses = objective(network, clean, corrupted, denoising="absolute")
    assert [torch.equal(seen, corrupted) for seen, _ in network.seen] == [True]
    assert losses.total.item() == losses.reconstruction.item() == pytest.approx((16 * 0.5 + 2 * 1.0) / 18)
    assert losses.latent.item() == losses.context.item() == 0
    assert objective(network, clean, denoising="squared").total.item() == pytest.approx(1.0)


def test_bright_spots_of_healthy_slices_do_not_count():
    images = torch.full((1, 1, 12, 12), 0.5)
    images[0, 0, 4:7, 4:7] = 0.9
    spots = bright_spots(images, 1.3)
    assert bool(spots[0, 0, 4:7, 4:7].all()) and not bool(spots[0, 0, 8:].any())
    restored = images.clone()
    restored[0, 0, 5, 5] = 0.5
    assert brain_error(restored, images, "absolute").item() > 0
    assert brain_error(restored, images, "absolute", 1.3).item() == 0
    assert brain_error(restored, images, "absolute", 2.0).item() > 0


def test_corrupted_pixels_may_count_more():
    clean = torch.full((1, 1, 9, 9), 0.5)
    corrupted = clean.clone()
    corrupted[0, 0, 4, 4] = 0.9  # restored as 1.9: an error of 1.4 there and of 1 elsewhere
    losses = objective(Fixed("ae"), clean, corrupted, denoising="absolute", emphasis=5.0)
    # The 3 x 3 pixels around it count as corrupted.
    assert losses.total.item() == pytest.approx((5 * (1.4 + 8) + 72) / (5 * 9 + 72))


def test_grain_does_not_count_as_a_corruption():
    clean = torch.full((1, 1, 64, 64), 0.5)
    noisy = clean + 0.01 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    assert (corruption_weights(noisy, clean, 5.0, 5.0) > 1).float().mean() < 0.01


def test_small_corruptions_count_as_much_more_as_is_allowed():
    clean = torch.full((3, 1, 128, 128), 0.5)
    corrupted = clean.clone()
    corrupted[0, :, 60:63, 60:63] += 0.3
    corrupted[1, :, 58:70, 58:70] += 0.3
    corrupted[2, :, 20:100, 20:100] += 0.3
    weights = corruption_weights(corrupted, clean, 4.0, 3.0)[:, 0, 61, 61] / 4
    # 14 x 14 pixels of 128 x 128 are 0.8 corrupted in a window of 25 x 25: the root of 0.015 over that share.
    assert weights.tolist() == pytest.approx([3.0, (0.015 * 128**2 / 14**2) ** 0.5, 1.0], rel=0.01)
    assert bool((corruption_weights(corrupted, clean, 4.0, 1.0).unique() == torch.tensor([1.0, 4.0])).all())


def test_the_lesion_error_is_cross_entropy_over_the_brain_and_dice():
    torch.manual_seed(0)
    logit, images = torch.randn(3, 1, 8, 8), torch.rand(3, 1, 8, 8) + 0.1
    lesion = torch.rand(3, 1, 8, 8).round()
    images[..., :3], lesion[2] = 0, 0  # background; and an image without lesion
    lesion = lesion * (images > 0)
    found = lesion_error(logit, lesion, images).item()
    expected = []
    for z, y, x in zip(logit.double(), lesion.double(), images, strict=True):
        p, y = z[x > 0].sigmoid().numpy(), y[x > 0].numpy()
        entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
        expected.append(entropy + 1 - (2 * (p * y).sum() + FEW) / ((p**2).sum() + (y**2).sum() + FEW))
    assert found == pytest.approx(np.mean(expected), rel=1e-5)


def test_a_network_with_a_second_head_learns_both():
    network = build(
        ModelSpec(
            name="mine",
            family="unet",
            feature_maps=(4, 8),
            latent=0,
            image_size=16,
            unet=UNetOptions(predicts_lesion=True, adds_input=True),
        )
    )
    clean = torch.rand(2, 1, 16, 16) * 0.4 + 0.1
    lesion = torch.zeros_like(clean)
    lesion[..., 4:8, 4:8] = 1
    corrupted = clean + 0.3 * lesion
    losses = objective(network, clean, corrupted, denoising="absolute", lesion=lesion, lesion_weight=0.5)
    repair = (0.3 * lesion).mean().item()  # it starts as the identity
    assert losses.reconstruction.item() == pytest.approx(repair, rel=1e-5)
    logit = torch.full_like(clean, RARE)
    assert losses.lesion.item() == pytest.approx(0.5 * lesion_error(logit, lesion, clean).item(), rel=1e-5)
    assert losses.total.item() == pytest.approx(losses.reconstruction.item() + losses.lesion.item())
    losses.total.backward()
    assert network.head.weight.grad.any() and network.lesion_head.weight.grad.any()
