import numpy as np
import pytest
import torch

from napari_cead.errors import Cancelled, CeadError, ParameterError
from napari_cead.models import ModelSpec, build, spec
from napari_cead.training import Augmentation, ContextEncoding, healthy_loss, squared_error, train

SIDE = 32


@pytest.fixture(scope="module")
def slices():
    """Soft discs of random place, radius and brightness: a world of four numbers."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    cy, cx = rng.uniform(12, 20, (2, 96, 1, 1))
    radius, light = rng.uniform(5, 10, (96, 1, 1)), rng.uniform(0.4, 0.9, (96, 1, 1))
    return (light / (1 + np.exp(np.hypot(y - cy, x - cx) - radius))).astype(np.float32)


def tiny(family="ae", context_encoding=False, **more):
    values = {"feature_maps": (8, 16, 16), "latent": 8, "image_size": SIDE, "coord_conv": family != "vqvae"}
    if family == "vqvae":
        values |= {"codes": 32, "residual_maps": 8, "residual_layers": 1}
    return ModelSpec(name="tiny", family=family, context_encoding=context_encoding, **values, **more)


def fit(slices, family="ae", restore=True, **settings):
    settings = {"steps": 20, "batch_size": 16, "learning_rate": 3e-3, "device": "cpu"} | settings
    return train(tiny(family, restore), slices[:80], slices[80:], **settings)


@pytest.mark.parametrize("family", ["ae", "vae", "vqvae"])
@pytest.mark.parametrize("restore", [False, True])
def test_training_makes_the_error_smaller(slices, family, restore):
    steps = 120 if family == "vqvae" else 80  # a codebook has to spread first
    result = fit(slices, family, restore, steps=steps, schedule="one-cycle", augmentation=Augmentation())
    assert result.history[-1]["step"] == steps and result.history[-1]["epoch"] == steps // 5
    assert not result.stopped and not result.module.training
    healthy = torch.from_numpy(slices[80:, None])
    blank = squared_error(torch.zeros_like(healthy), healthy)  # where an untrained network is
    assert squared_error(result.module(healthy).reconstruction, healthy) < 0.5 * blank


def test_the_seed_decides(slices):
    one, two, other = (fit(slices, "vae", seed=seed) for seed in (5, 5, 6))
    for a, b in zip(one.module.parameters(), two.module.parameters(), strict=True):
        assert torch.equal(a, b)
    losses = [[entry["train_loss"] for entry in result.history] for result in (one, two, other)]
    assert losses[0] == losses[1] != losses[2]


def test_training_leaves_the_global_generator_alone(slices):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    fit(slices, "vae", steps=2)
    assert torch.equal(torch.rand(3), expected)


def test_the_best_epoch_is_kept(slices):
    result = fit(slices, steps=60, learning_rate=3e-2)
    losses = [entry["validation_loss"] for entry in result.history]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    assert healthy_loss(result.module, torch.from_numpy(slices[80:])) == pytest.approx(min(losses), rel=1e-5)


def test_validation_loss_is_the_mean_over_slices_whatever_the_batch(slices):
    torch.manual_seed(0)
    module = build(tiny())
    data = torch.from_numpy(slices[:21])
    expected = squared_error(module(data[:, None]).reconstruction, data[:, None]).item()
    for batch in (1, 8, 21, 64):
        assert healthy_loss(module, data, batch) == pytest.approx(expected, rel=1e-5)


def test_bytes_and_half_precision_train_like_floats(slices):
    rounded = np.round(slices * 255)
    as_bytes = fit(rounded.astype(np.uint8), steps=5)
    as_floats = fit((rounded / 255).astype(np.float32), steps=5)
    as_halves = fit(torch.from_numpy(slices).half(), steps=5)
    losses = [result.history[-1]["validation_loss"] for result in (as_bytes, as_floats, as_halves)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[2] == pytest.approx(losses[1], rel=1e-2)


def test_context_encoding_only_where_the_spec_says_so(slices):
    settings = {"steps": 5, "context_encoding": ContextEncoding(squares=(3, 3))}
    with_squares = fit(slices, "ae", True, **settings).history[-1]["train_loss"]
    without = fit(slices, "ae", False, **settings).history[-1]["train_loss"]
    assert with_squares > 1.5 * without  # a second term of at least the size of the first


def test_going_on_from_a_network(slices):
    first = fit(slices, steps=60)
    second = fit(slices, steps=5, learning_rate=1e-5, init_from=first.module)
    assert second.history[0]["validation_loss"] < 1.2 * first.history[-1]["validation_loss"]
    with pytest.raises(ParameterError, match="other layers"):
        fit(slices, init_from=build("ae", "small", 64))


def test_a_loss_that_is_not_finite_is_one_sentence(slices):
    with pytest.raises(CeadError, match=r"tiny is no longer a finite number.*learning rate") as caught:
        fit(slices, "vae", learning_rate=1e6, steps=200)
    assert "\n" not in str(caught.value)


def test_progress_and_epochs_are_reported(slices):
    progress, epochs = [], []
    result = fit(
        slices, steps=None, epochs=3, on_progress=lambda *p: progress.append(p), on_epoch=epochs.append
    )
    assert progress == [(step, 15) for step in range(1, 16)]
    assert epochs == result.history
    assert [entry["epoch"] for entry in epochs] == [1, 2, 3]
    assert [entry["step"] for entry in epochs] == [5, 10, 15]


def test_stopping_keeps_the_best_or_cancels(slices):
    done = []
    result = fit(
        slices, on_progress=lambda step, total: done.append(step), should_stop=lambda: len(done) >= 12
    )
    assert result.stopped and len(done) == 12 and len(result.history) == 2
    with pytest.raises(Cancelled):
        fit(slices, should_stop=lambda: True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 1}, "either epochs or steps"),
        ({"steps": None}, "either epochs or steps"),
        ({"steps": 0}, "above 0"),
        ({"batch_size": 0}, "above 0"),
        ({"learning_rate": float("nan")}, "above 0"),
        ({"device": "gpu"}, "no device called 'gpu'"),
    ],
)
def test_wrong_settings_are_refused(slices, change, words):
    with pytest.raises(ParameterError, match=words):
        fit(slices, **change)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda s: s[:, :30], r"\(80, 30, 32\)"),
        (lambda s: s[:0], r"\(0, 32, 32\)"),
        (lambda s: s * 100, "scale them"),
        (lambda s: np.where(s > 0.3, np.nan, s).astype(np.float32), "nan"),
        (lambda s: s.astype(np.int64), "int64"),
    ],
)
def test_wrong_slices_are_refused(slices, make, words):
    with pytest.raises(ParameterError, match=words):
        train(tiny(), make(slices[:80]), slices[80:], steps=1, device="cpu")
    with pytest.raises(ParameterError, match="validation"):
        train(tiny(), slices[:80], make(slices[:80]), steps=1, device="cpu")


def test_named_designs_train(slices):
    result = train(spec("ce-vae1", "small", SIDE), slices[:8], slices[80:], steps=1, device="cpu")
    assert result.best_epoch == 1
