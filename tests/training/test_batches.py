import numpy as np
import pytest
import torch

from napari_cead.store.prepare import prepare
from napari_cead.store.store import SliceStore
from napari_cead.training.batches import (
    DeviceBatches,
    LoaderBatches,
    as_images,
    batches_of,
    chances,
    order_of,
)
from small_stores import SIZE, write_patients

CPU = torch.device("cpu")


@pytest.mark.parametrize("world", [1, 2, 3])
def test_an_epoch_shows_every_slice_at_most_once(world):
    ranks = [order_of(50, 8, seed=1, epoch=2, rank=rank, world=world) for rank in range(world)]
    assert {len(order) for order in ranks} == {6}
    seen = np.concatenate([batch for order in ranks for batch in order])
    assert len(seen) == 48 == len(set(seen.tolist())) and set(seen.tolist()) <= set(range(50))
    whole = order_of(50, 8, seed=1, epoch=2, rank=0, world=1)
    for update, batch in enumerate(whole):
        assert set(batch.tolist()) == set(np.concatenate([order[update] for order in ranks]).tolist())


def test_order_depends_on_seed_and_epoch():
    orders = [
        np.concatenate(order_of(64, 8, seed=seed, epoch=epoch, rank=0, world=1))
        for seed, epoch in ((0, 1), (0, 2), (1, 1), (0, 1))
    ]
    assert (orders[0] == orders[3]).all()
    assert (orders[0] != orders[1]).any() and (orders[0] != orders[2]).any()


def test_both_sources_give_the_same_batches(small_store):
    slices = small_store.healthy_slices("train")
    batches = order_of(len(slices), 4, seed=0, epoch=1, rank=0, world=1)
    device = list(DeviceBatches(slices, CPU).draw(batches))
    loader = list(LoaderBatches(small_store, "train", CPU, workers=0).draw(batches))
    assert len(device) == len(loader) == len(batches)
    for numbers, first, second in zip(batches, device, loader, strict=True):
        assert torch.equal(first, second)
        assert np.array_equal(first[:, 0].numpy(), slices[numbers].astype(np.float32) / 255)


def test_reading_processes_give_the_same(small_store):
    batches = [np.array([3, 1]), np.array([0, 2])]
    found = list(LoaderBatches(small_store, "train", CPU, workers=1).draw(batches))
    slices = small_store.healthy_slices("train")
    assert torch.equal(found[0], as_images(torch.from_numpy(slices[[3, 1]])))
    assert torch.equal(found[1], as_images(torch.from_numpy(slices[[0, 2]])))


def test_slices_lie_on_the_device_if_they_fit(small_store, monkeypatch):
    from napari_cead.training import batches

    assert isinstance(batches_of(small_store, "train", CPU, "auto", 0), DeviceBatches)
    monkeypatch.setattr(batches, "_free_memory", lambda device: 1000)
    assert isinstance(batches_of(small_store, "train", CPU, "auto", 0), LoaderBatches)


def test_folders_of_patients_weigh_the_same_however_many_slices_they_gave(tmp_path):
    write_patients(tmp_path / "cohort" / "many", 10)
    write_patients(tmp_path / "all", 12)
    (tmp_path / "cohort" / "few").mkdir()
    for name in ("Mets_011", "Mets_012"):
        (tmp_path / "all" / name).rename(tmp_path / "cohort" / "few" / name)
    prepare(tmp_path / "cohort", tmp_path / "store", validation=0.2, test=0, image_size=SIZE)
    store = SliceStore.open(tmp_path / "store")
    likely = chances(store, "train")
    from_few = ["few" in store.patients[place].source for place in store.healthy_rows("train")[:, 0]]
    assert 0 < sum(from_few) < len(from_few) / 2
    assert likely.sum() == pytest.approx(1) and likely[from_few].sum() == pytest.approx(0.5)
    epochs = [np.concatenate(order_of(len(likely), 4, 0, epoch, 0, 1, likely)) for epoch in range(1, 200)]
    shown = np.isin(np.concatenate(epochs), np.flatnonzero(from_few)).mean()
    assert 0.46 < shown < 0.54
    assert (epochs[0] == np.concatenate(order_of(len(likely), 4, 0, 1, 0, 1, likely))).all()
