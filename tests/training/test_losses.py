import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.distributions import kl_divergence as closed_form

from napari_cead.models import build
from napari_cead.models.outputs import Output, QuantisedOutput, VariationalOutput
from napari_cead.training import kl_divergence, objective, squared_error


def test_divergence_is_the_closed_form():
    torch.manual_seed(0)
    mu, log_std = torch.randn(2, 5, 7, dtype=torch.float64)
    expected = closed_form(Normal(mu, log_std.exp()), Normal(torch.zeros_like(mu), torch.ones_like(mu)))
    torch.testing.assert_close(kl_divergence(mu, log_std), expected)
    assert kl_divergence(torch.zeros(1, 3), torch.zeros(1, 3)).tolist() == [[0, 0, 0]]


def test_squared_error_sums_over_pixels_and_averages_over_the_batch():
    images = torch.zeros(4, 1, 3, 3)
    reconstruction = images.clone()
    reconstruction[1, 0, 2, 2], reconstruction[3, 0, 0] = 3.0, 1.0
    assert squared_error(reconstruction, images).item() == (9 + 3) / 4


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


def test_vqvae_gradients_go_where_they_should():
    torch.manual_seed(0)
    module = build("vq-vae", "small", 32)
    x = torch.rand(2, 1, 32, 32)
    objective(module, x, commitment=0).latent.backward()
    assert not any(parameter.grad.any() for parameter in module.encoder.parameters())
    assert module.codebook.weight.grad.abs().sum() > 0
