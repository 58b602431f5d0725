import subprocess
import sys
from datetime import timedelta

import numpy as np
import pytest
import torch
from torch import distributed

from batch_losses import objective
from napari_cead.errors import ParameterError
from napari_cead.models import ModelSpec, build
from napari_cead.models.codebook import CodebookTracker
from napari_cead.models.vqvae import QuantisedOutput
from patience import PATIENCE

CODES, DIMENSIONS = 16, 3


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(seed=0):
    torch.manual_seed(seed)
    architecture = ModelSpec(
        name="tiny",
        family="vqvae",
        feature_maps=(4, 4, 4),
        latent=DIMENSIONS,
        codes=CODES,
        residual_maps=2,
        residual_layers=1,
        image_size=16,
    )
    module = build(architecture)
    torch.nn.init.normal_(module.codebook.weight)
    return module


def answer(module, vectors):
    """What the network returns for vectors (N, D, H, W), but for the image."""
    indices = module.nearest(vectors)
    quantised = module.codebook(indices).movedim(-1, 1)
    return QuantisedOutput(torch.zeros(len(vectors), 1, 1, 1), vectors, quantised, indices)


def batches(count, seed=0, shift=0.0):
    return torch.randn(count, 4, DIMENSIONS, 5, 5, generator=generator(seed)) + shift


def using(module, *codes):
    """What the network returns where the vectors are these codes themselves."""
    return answer(
        module, module.codebook.weight.detach()[list(codes)].T.reshape(1, DIMENSIONS, 1, -1).clone()
    )


def test_moving_averages_are_those_of_the_publication():
    """Against appendix A.1 of van den Oord et al. 2017 with Laplace smoothing, written with loops."""
    module = network()
    tracker = CodebookTracker(module, decay=0.9)
    codes = module.codebook.weight.detach().double().numpy().copy()
    sizes, sums = np.ones(CODES), codes.copy()
    for vectors in batches(3):
        tracker.update(answer(module, vectors))
        z = vectors.double().movedim(1, -1).reshape(-1, DIMENSIONS).numpy()
        number, total = np.zeros(CODES), np.zeros((CODES, DIMENSIONS))
        for vector in z:
            nearest = ((codes - vector) ** 2).sum(1).argmin()
            number[nearest] += 1
            total[nearest] += vector
        sizes = 0.9 * sizes + 0.1 * number
        sums = 0.9 * sums + 0.1 * total
        smoothed = (sizes + 1e-5) / (sizes.sum() + CODES * 1e-5) * sizes.sum()
        codes = sums / smoothed[:, None]
        np.testing.assert_allclose(module.codebook.weight.detach(), codes, rtol=1e-4, atol=1e-5)


def test_averages_end_at_the_mean_of_the_vectors_of_each_code():
    module = network()
    with torch.no_grad():
        module.codebook.weight[:2] = torch.tensor([[5.0, 0, 0], [-5.0, 0, 0]])
        module.codebook.weight[2:] = 100
    tracker, vectors = CodebookTracker(module, decay=0.5), batches(1)[0]
    vectors[:2, 0] += 20
    vectors[2:, 0] -= 20
    for _ in range(60):
        tracker.update(answer(module, vectors))
    means = vectors.movedim(1, -1).reshape(2, -1, DIMENSIONS).mean(1)
    torch.testing.assert_close(module.codebook.weight.detach()[:2], means, rtol=1e-4, atol=1e-4)


def test_a_code_nobody_used_stays_for_a_while():
    module = network()
    before = module.codebook.weight.detach().clone()
    tracker = CodebookTracker(module, decay=0.99)
    for _ in range(20):
        tracker.update(using(module, 3, 4, 4))
    unused = torch.tensor([code not in (3, 4) for code in range(CODES)])
    torch.testing.assert_close(module.codebook.weight.detach()[unused], before[unused], rtol=1e-3, atol=0)


def test_the_codebook_learns_in_one_way_only():
    module = network()
    CodebookTracker(module, decay=0.99)
    objective(module, torch.rand(2, 1, 16, 16), codebook="ema").total.backward()
    assert module.codebook.weight.grad is None and not module.codebook.weight.requires_grad
    tracker = CodebookTracker(module)
    losses = objective(module, torch.rand(2, 1, 16, 16))
    losses.total.backward()
    assert module.codebook.weight.grad.abs().sum() > 0
    before = module.codebook.weight.detach().clone()
    tracker.update(losses.codes)
    assert torch.equal(module.codebook.weight.detach(), before)


def test_used_codes_are_counted_over_the_epoch():
    module = network()
    tracker = CodebookTracker(module)
    tracker.update(using(module, 3, 3, 7))
    tracker.update(using(module, 7, 9))
    assert tracker.end_epoch() == 3
    tracker.update(using(module, 1))
    assert tracker.end_epoch() == 1
    assert tracker.end_epoch() == 0


@pytest.mark.parametrize("decay", [None, 0.9])
def test_dead_codes_move_onto_recent_vectors(decay):
    module = network()
    tracker = CodebookTracker(module, decay=decay, reset_dead=True)
    seen = batches(10)
    with torch.no_grad():
        module.codebook.weight[5:] = 1000.0 + torch.arange(CODES - 5)[:, None]
    tracker = CodebookTracker(module, decay=decay, reset_dead=True)
    for vectors in seen:
        tracker.update(answer(module, vectors), generator())
    before = module.codebook.weight.detach().clone()
    assert tracker.end_epoch(generator()) == 5
    after = module.codebook.weight.detach().clone()
    assert torch.equal(after[:5], before[:5])
    # The last eight batches give two vectors each for sixteen codes.
    candidates = seen[-8:].movedim(2, -1).reshape(-1, DIMENSIONS)
    assert all(bool((candidates == code).all(1).any()) for code in after[5:])
    assert len(torch.unique(after, dim=0)) == CODES
    # The averages go on from there: unused, they stay there.
    tracker.update(using(module, 0, 1), generator())
    torch.testing.assert_close(module.codebook.weight.detach()[5:], after[5:], rtol=1e-3, atol=0)


def test_dead_codes_do_not_crowd_into_the_background():
    """An image's background gives the same vector over and over: one code there is enough."""
    module = network()
    tracker = CodebookTracker(module, reset_dead=True)
    before = module.codebook.weight.detach().clone()
    for _ in range(10):
        tracker.update(answer(module, torch.full((2, DIMENSIONS, 6, 6), 0.25)), generator())
    assert tracker.end_epoch(generator()) == 1
    moved = (module.codebook.weight.detach() != before).any(1)
    assert moved.sum() == 1
    assert module.codebook.weight.detach()[moved].tolist() == [[0.25] * DIMENSIONS]


def test_an_epoch_without_batches_resets_nothing():
    module = network()
    before = module.codebook.weight.detach().clone()
    assert CodebookTracker(module, reset_dead=True).end_epoch(generator()) == 0
    assert torch.equal(module.codebook.weight.detach(), before)


@pytest.mark.parametrize("decay", [None, 0.9])
def test_going_on_from_a_saved_state_is_bit_exact(tmp_path, decay):
    whole = network()
    with torch.no_grad():
        whole.codebook.weight[10:] += 50  # dead
    tracker, draws = CodebookTracker(whole, decay=decay, reset_dead=True), generator(5)
    data = batches(6)
    for vectors in data[:3]:
        tracker.update(answer(whole, vectors), draws)
    state = {"network": whole.state_dict(), "tracker": tracker.state_dict(), "draws": draws.get_state()}
    torch.save(state, tmp_path / "state.pt")

    def rest(module, tracker, draws):
        for vectors in data[3:]:
            tracker.update(answer(module, vectors), draws)
        return tracker.end_epoch(draws), module.codebook.weight.detach()

    used, expected = rest(whole, tracker, draws)
    resumed = network(seed=9)
    other = CodebookTracker(resumed, decay=decay, reset_dead=True)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed.load_state_dict(state["network"])
    other.load_state_dict(state["tracker"])
    draws = torch.Generator()
    draws.set_state(state["draws"])
    again, result = rest(resumed, other, draws)
    assert again == used <= 10
    assert torch.equal(result, expected)
    assert all(torch.equal(other.state_dict()[key], value) for key, value in tracker.state_dict().items())


def test_a_state_is_a_copy_and_belongs_to_its_codebook():
    tracker = CodebookTracker(network(), decay=0.9)
    state = tracker.state_dict()
    tracker.update(answer(network(), batches(1)[0]))
    assert not state["counts"].any()
    with pytest.raises(ParameterError, match="another codebook"):
        tracker.load_state_dict(state | {"sums": torch.zeros(3, 3)})
    with pytest.raises(ParameterError, match="another codebook"):
        tracker.load_state_dict({})


@pytest.mark.parametrize("decay", [0, 1, -0.5, float("nan")])
def test_impossible_decays_are_refused(decay):
    with pytest.raises(ParameterError, match="between 0 and 1"):
        CodebookTracker(network(), decay=decay)


SECOND_RANK = """
import datetime, importlib.util, pathlib, sys, torch
from torch import distributed
meeting, result, tests = sys.argv[1:]
sys.path.insert(0, str(pathlib.Path(tests).parents[1]))  # as pytest does
spec = importlib.util.spec_from_file_location("codebook_test", tests)
test = importlib.util.module_from_spec(spec)
spec.loader.exec_module(test)
distributed.init_process_group(
    "gloo", init_method=meeting, rank=1, world_size=2, timeout=datetime.timedelta(seconds=60)
)
torch.save(test.epoch_of(test.batches(4, seed=1, shift=0.3), seed=1), result)
distributed.destroy_process_group()
"""


def epoch_of(data, seed):
    module = network()
    with torch.no_grad():
        module.codebook.weight[6:] += 50.0
    tracker, draws = CodebookTracker(module, decay=0.8, reset_dead=True), generator(seed)
    for vectors in data:
        tracker.update(answer(module, vectors), draws)
    averaged = module.codebook.weight.detach().clone()
    used = torch.tensor(tracker.end_epoch(draws))
    return {
        "averaged": averaged,
        "used": used,
        "reset": module.codebook.weight.detach(),
        "sums": tracker.sums,
    }


@pytest.mark.skipif(not distributed.is_available(), reason="this PyTorch has no torch.distributed")
def test_two_ranks_move_as_one(tmp_path):
    meeting, result = (tmp_path / "meeting").as_uri(), tmp_path / "second.pt"
    command = [sys.executable, "-c", SECOND_RANK, meeting, str(result), __file__]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as second:
        distributed.init_process_group(
            "gloo", init_method=meeting, rank=0, world_size=2, timeout=timedelta(seconds=60 * PATIENCE)
        )
        try:
            ours = epoch_of(batches(4, seed=0), seed=0)
        finally:
            distributed.destroy_process_group()
        _, message = second.communicate(timeout=60 * PATIENCE)
    assert second.returncode == 0, message
    theirs = torch.load(result, weights_only=True)
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
    both = torch.cat([batches(4, seed=0), batches(4, seed=1, shift=0.3)], dim=1)
    alone = epoch_of(both, seed=0)
    torch.testing.assert_close(ours["averaged"], alone["averaged"], rtol=1e-4, atol=1e-5)
    assert ours["used"] == alone["used"] < CODES
