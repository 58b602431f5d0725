"""What the losses say, on made-up histories."""

import math

import pytest

from napari_cead.training.training_warnings import advice


def history(train, validation, **more):
    entries = []
    for number, (first, second) in enumerate(zip(train, validation, strict=True)):
        entry = {"epoch": number + 1, "train_loss": first, "validation_loss": second}
        entries.append(entry | {name: values[number] for name, values in more.items()})
    return entries


FALLING = [100 * 0.9**n + 20 for n in range(30)]
NOISY = [value * (1 + 0.01 * (-1) ** n) for n, value in enumerate(FALLING)]


def test_a_healthy_training_is_left_alone():
    assert advice([]) == []
    assert advice(history(FALLING[:1], FALLING[:1])) == []
    assert advice(history(FALLING, NOISY, kl_per_dimension=[0.4] * 30)) == []
    flat = [20 + 0.05 * math.sin(n) for n in range(30)]  # it has settled
    assert advice(history(flat, flat)) == []


@pytest.mark.parametrize("last", [math.nan, None, math.inf])
@pytest.mark.parametrize("which", ["train", "validation"])
def test_a_loss_that_is_no_number(last, which):
    broken = [*FALLING[:5], last]
    losses = (broken, FALLING[:6]) if which == "train" else (FALLING[:6], broken)
    (sentence,) = advice(history(*losses))
    assert which in sentence and "no longer a number" in sentence


def test_divergence():
    (sentence,) = advice(history([*FALLING[:10], 500.0], FALLING[:11]))
    assert "train loss is 8.5 times its best" in sentence  # 500 / (100 * 0.9**9 + 20)
    assert advice(history([*FALLING[:10], 150.0], FALLING[:11])) == []


def test_over_fitting():
    validation = [*FALLING[:10], *(FALLING[9] * 1.01**n for n in range(1, 11))]
    train = FALLING[:20]
    (sentence,) = advice(history(train, validation))
    assert "not fallen for 10 epochs" in sentence and "keep epoch 10" in sentence
    assert advice(history(train[:14], validation[:14])) == []  # too early to say
    rising = [*FALLING[:10], *(FALLING[9] * 1.01**n for n in range(1, 11))]
    assert advice(history(rising, validation)) == []  # both rise: that is no over-fitting


def test_posterior_collapse():
    small = [0.5, 0.1, 0.005, 0.001]
    (sentence,) = advice(history(FALLING[:4], FALLING[:4], kl_per_dimension=small))
    assert "posterior has collapsed (0.001 nats" in sentence
    assert advice(history(FALLING[:2], FALLING[:2], kl_per_dimension=[0.0, 0.0])) == []  # just begun


def test_a_lost_codebook():
    (sentence,) = advice(history(FALLING[:3], FALLING[:3], used_codes=[100, 30, 3]))
    assert "Only 3 codes" in sentence
    assert advice(history(FALLING[:3], FALLING[:3], used_codes=[100, 90, 80])) == []
