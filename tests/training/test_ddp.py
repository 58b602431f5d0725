"""Two processes on the CPU train as one."""

import pytest
import torch
from lightning_fabric import Fabric

from napari_cead.training import Hardware, RunFolder, train
from napari_cead.training.loop import Job
from small_stores import AE, CE_VQ, settings, weights, weights_of_all_ranks

pytestmark = pytest.mark.slow  # each starts processes and trains in them


def test_both_processes_end_with_equal_weights(small_store, tmp_path):
    wanted = settings(CE_VQ, codebook_decay=0.9, reset_dead_codes=True, epochs=2)
    run = RunFolder(tmp_path / "run")
    run.create(wanted, small_store.path, small_store.fingerprint, ())
    job = Job(settings=wanted, store=small_store.path, run=run.path)
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn")
    found = fabric.launch(weights_of_all_ranks, job)
    assert len(found) == 2 and len(found[0]) > 1000
    assert found[0] == found[1]


def test_two_processes_do_what_one_does(small_store, tmp_path):
    # Nothing random but the order of the slices: two half batches have the gradient of the whole one.
    plain = settings(AE, augmentation=None)
    one = train(plain, small_store, tmp_path / "one")
    two = train(plain, small_store, tmp_path / "two", hardware=Hardware(device="cpu", devices=2))
    for name, tensor in weights(one.run).items():
        torch.testing.assert_close(weights(two.run)[name], tensor, rtol=1e-3, atol=1e-5)
    for first, second in zip(one.history, two.history, strict=True):
        for key in ("train_loss", "validation_loss"):
            assert abs(first[key] - second[key]) < 1e-3 * first[key]


def test_two_processes_resume(small_store, tmp_path):
    pair = Hardware(device="cpu", devices=2)
    whole = train(settings(epochs=2), small_store, tmp_path / "whole", hardware=pair)
    train(settings(epochs=1), small_store, tmp_path / "parts", hardware=pair)
    parts = train(settings(epochs=2), small_store, tmp_path / "parts", resume=True, hardware=pair)
    for name, tensor in weights(whole.run).items():
        assert torch.equal(weights(parts.run)[name], tensor), name
