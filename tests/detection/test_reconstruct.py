"""Streaming, and what happens when memory runs out."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from model_folders import network, two_heads
from napari_cead.detection import ReconstructionCache
from napari_cead.detection.reconstruct import GROUP, groups, reconstruct
from napari_cead.detection.scores import GRADIENT
from napari_cead.devices import is_out_of_memory
from napari_cead.errors import Cancelled, ModelError, ParameterError
from napari_cead.models import ModelSpec
from napari_cead.patients import Patient
from napari_cead.slices import slice_stack
from napari_cead.zoo import Detector, ModelCard, Preprocessing, load_model, save_model
from scans import make_brain

SIZE = 40
VAE = ModelSpec(name="vae1", family="vae", feature_maps=(4, 8), latent=6, coord_conv=True, image_size=SIZE)


@pytest.fixture(scope="module")
def stack():
    volume, _ = make_brain((50, 36, 34))
    patient = Patient.from_arrays({"flair": volume}, spacing=(1.0, 0.94, 0.94))
    return slice_stack(patient, size=SIZE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    card = ModelCard(name="vae", spec=VAE, preprocessing=Preprocessing(image_size=SIZE))
    return save_model(network(1, VAE), card, tmp_path_factory.mktemp("models") / "vae")


@pytest.fixture(scope="module")
def detector(folder):
    return load_model(folder, "cpu")


def test_a_denoiser_tells_and_can_be_stopped_every_few_slices(tmp_path):
    volume, _ = make_brain((50, 36, 34))
    patient = Patient.from_arrays({"flair": volume}, spacing=(1.0, 0.94, 0.94))
    wide = slice_stack(patient, size=64)
    total = len(wide.occupied)
    model, told, arrived = load_model(str(two_heads(tmp_path / "two")), "cpu"), [], []
    passes = reconstruct(
        wide,
        model,
        on_progress=lambda done, of: told.append((done, of)),
        on_group=lambda _, indices: arrived.append(len(indices)),
    )
    assert told[:3] == [(8, total), (16, total), (24, total)]
    assert told[-1] == (total, total)
    assert arrived[0] == GROUP
    batch = torch.from_numpy(wide.images[wide.occupied])[:, None]
    whole, lesion = model.repair(batch)
    np.testing.assert_array_equal(passes.slices[wide.occupied], whole[:, 0].numpy())
    np.testing.assert_array_equal(passes.ingredients["lesion"][wide.occupied], lesion[:, 0].numpy())
    told.clear()
    with pytest.raises(Cancelled):
        reconstruct(
            wide, model, on_progress=lambda *step: told.append(step), should_stop=lambda: len(told) == 2
        )
    assert told == [(8, total), (16, total)]


def test_the_mean_with_the_mirror_image_is_cached_apart(stack, detector):
    cache = ReconstructionCache()
    both = replace(detector, card=detector.card.model_copy(update={"mirror_average": True}))
    plain, mean = (reconstruct(stack, one, cache=cache) for one in (detector, both))
    assert not mean.from_cache and not np.array_equal(plain.slices, mean.slices)
    assert reconstruct(stack, both, cache=cache).from_cache
    flipped = replace(stack, images=np.ascontiguousarray(stack.images[..., ::-1]))
    expected = (plain.slices + reconstruct(flipped, detector).slices[..., ::-1]) / 2
    np.testing.assert_allclose(mean.slices, expected, atol=1e-6)


@dataclass(frozen=True)
class Cramped(Detector):
    """A model on a device whose memory holds only so many slices; ``calls`` are the passes that fitted."""

    room: dict = field(default_factory=dict)
    calls: list = field(default_factory=list)
    error: Exception = field(default_factory=lambda: torch.OutOfMemoryError("no room"))

    def _pass(self, kind, batch):
        if len(batch) > self.room.get((self.device.type, kind), 1 << 30):
            raise self.error
        self.calls.append((kind, str(self.device), len(batch)))
        # The weights of this "GPU" are on the CPU.
        return getattr(replace(self, device=torch.device("cpu")), f"_{kind}")(batch)

    def _repair(self, batch):
        return super().repair(batch)

    def _kl_gradient(self, batch):
        return super().kl_gradient(batch)

    def repair(self, batch):
        return self._pass("repair", batch)

    def kl_gradient(self, batch):
        return self._pass("kl_gradient", batch)


def cramped(detector, device="cuda", error=None, **room):
    """Give a model room for so many slices, for instance ``cuda__kl_gradient=5``; for the rest there is plenty."""
    more = {} if error is None else {"error": error}
    values = {name: getattr(detector, name) for name in ("name", "card", "module", "folder", "statistics")}
    limits = {tuple(key.split("__")): value for key, value in room.items()}
    return Cramped(**values, device=torch.device(device), room=limits, **more)


def plain(stack, detector, batch_size, method="reconstruct"):
    """Pass the occupied slices through the network in order, so many at a time."""
    expected = np.zeros_like(stack.images)
    for start in range(0, len(stack.occupied), batch_size):
        chosen = stack.occupied[start : start + batch_size]
        batch = torch.from_numpy(stack.images[chosen])[:, None]
        expected[chosen] = getattr(detector, method)(batch)[:, 0].numpy()
    return expected


def test_groups_start_at_the_slice_on_screen_and_go_outwards():
    occupied = np.array([3, 4, 5, 8, 9, 10, 11, 12, 13, 14])
    cut = [[3, 4], [5, 8], [9, 10], [11, 12], [13, 14]]

    def order(first):
        return [found.tolist() for found in groups(occupied, 2, first)]

    assert order(None) == cut
    assert order(9) == [cut[2], cut[3], cut[1], cut[4], cut[0]]
    assert order(12) == [cut[3], cut[4], cut[2], cut[1], cut[0]]
    assert order(0) == order(-5) == cut
    assert order(99) == cut[::-1]
    assert order(7)[0] == cut[1]  # not occupied: 8 is nearest
    assert [found.tolist() for found in groups(occupied[:0], 2, 3)] == []


@pytest.mark.parametrize("first", [0, 7, 20, 30, 49])
def test_the_order_does_not_change_a_bit(stack, detector, first):
    straight = reconstruct(stack, detector, ingredients=(GRADIENT,))
    found = reconstruct(stack, detector, ingredients=(GRADIENT,), first=first)
    np.testing.assert_array_equal(found.slices, straight.slices)
    np.testing.assert_array_equal(found.ingredients["gradient"], straight.ingredients["gradient"])
    np.testing.assert_array_equal(straight.slices, plain(stack, detector, GROUP))
    np.testing.assert_array_equal(
        straight.ingredients["gradient"], plain(stack, detector, GROUP, "kl_gradient")
    )


def test_some_slices_alone_are_those_of_the_whole_scan(stack, detector):
    whole, cache = reconstruct(stack, detector, batch_size=7).slices, ReconstructionCache()
    wanted = [20, 31]
    found = reconstruct(stack, detector, batch_size=7, only=wanted, cache=cache).slices
    made = np.concatenate([group for group in groups(stack.occupied, 7) if set(wanted) & {*group.tolist()}])
    np.testing.assert_array_equal(found[made], whole[made])
    assert not np.delete(found, made, axis=0).any()
    assert not len(cache)  # nobody takes a part for the whole later


def test_slices_arrive_group_by_group_and_are_final(stack, detector):
    seen, final = [], plain(stack, detector, 7)

    def arrived(passes, indices):
        seen.append(indices)
        np.testing.assert_array_equal(passes.slices[indices], final[indices])
        missing = np.setdiff1d(np.arange(len(final)), np.concatenate(seen))
        assert not passes.slices[missing].any()

    progress = []
    reconstruct(
        stack,
        detector,
        batch_size=7,
        first=30,
        on_group=arrived,
        on_progress=lambda *step: progress.append(step),
    )
    assert 30 in seen[0]
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), stack.occupied)
    done = np.cumsum([len(indices) for indices in seen]).tolist()
    assert progress == [(count, len(stack.occupied)) for count in done]


def test_the_gradient_is_computed_only_if_it_is_wanted(stack, detector):
    model = cramped(detector, "cpu")
    assert reconstruct(stack, model).ingredients == {}
    assert {kind for kind, *_ in model.calls} == {"repair"}


def test_a_stop_is_asked_for_before_every_group_and_nothing_is_kept(stack, detector):
    seen, cache = [], ReconstructionCache()
    model = cramped(detector, "cpu")
    for _ in range(2):
        seen.clear()
        with pytest.raises(Cancelled):
            reconstruct(
                stack,
                model,
                batch_size=8,
                cache=cache,
                on_group=lambda passes, indices: seen.append(indices),
                should_stop=lambda: len(seen) == 2,
            )
    assert len(model.calls) == 4
    assert len(cache) == 0


@pytest.mark.parametrize("kind", ["repair", "kl_gradient"])
def test_a_small_memory_halves_the_batch_and_starts_again(stack, detector, kind):
    model = cramped(detector, **{f"cuda__{kind}": 5})
    found = reconstruct(stack, model, ingredients=(GRADIENT,), first=30)
    assert (found.device, found.batch_size) == ("cuda", 4)
    np.testing.assert_array_equal(found.slices, plain(stack, detector, 4))
    np.testing.assert_array_equal(found.ingredients["gradient"], plain(stack, detector, 4, "kl_gradient"))
    assert found.warnings == (f"the memory of cuda is too small for {GROUP} slices at a time: 4 were taken",)


def test_a_replay_with_the_smaller_batch_is_identical(stack, detector):
    found = reconstruct(stack, cramped(detector, cuda__repair=3), batch_size=13)
    again = reconstruct(stack, detector, batch_size=found.batch_size)
    np.testing.assert_array_equal(found.slices, again.slices)
    assert found.batch_size == 3
    assert not again.warnings


@pytest.mark.parametrize("kind", ["repair", "kl_gradient"])
def test_where_not_one_slice_fits_the_cpu_takes_over(stack, detector, kind):
    model = cramped(detector, **{f"cuda__{kind}": 0})
    done = []
    found = reconstruct(stack, model, ingredients=(GRADIENT,), on_progress=lambda *step: done.append(step))
    assert (found.device, found.batch_size) == ("cpu", GROUP)
    np.testing.assert_array_equal(found.slices, plain(stack, detector, GROUP))
    np.testing.assert_array_equal(found.ingredients["gradient"], plain(stack, detector, GROUP, "kl_gradient"))
    assert found.warnings == ("the memory of cuda is too small for vae: the CPU was taken",)
    assert done[-1] == (len(stack.occupied), len(stack.occupied))
    # The model given is as it was, and can be used again.
    assert model.device == torch.device("cuda")
    model.room.clear()
    assert reconstruct(stack, model).device == "cuda"


def test_on_the_cpu_the_batch_is_halved_too(stack, detector):
    model = cramped(detector, cuda__repair=0, cpu__repair=8)
    found = reconstruct(stack, model)
    assert (found.device, found.batch_size) == ("cpu", 8)
    assert len(found.warnings) == 2 and "cuda" in found.warnings[0] and "8 were taken" in found.warnings[1]


def test_where_nothing_fits_anywhere_the_error_says_what_to_do(stack, detector):
    model = cramped(detector, cuda__repair=0, cpu__repair=0)
    with pytest.raises(ModelError, match=r"memory.*too small for vae.*; close other programs"):
        reconstruct(stack, model)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB)"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"
        ),
        MemoryError(),
    ],
)
def test_memory_has_many_ways_to_run_out(stack, detector, error):
    assert is_out_of_memory(error)
    model = cramped(detector, "cpu", error=error, cpu__repair=8)
    assert reconstruct(stack, model).batch_size == 8


def test_another_error_is_not_taken_for_a_lack_of_memory(stack, detector):
    model = cramped(detector, error=RuntimeError("CUDA error: an illegal memory access"), cuda__repair=0)
    with pytest.raises(RuntimeError, match="illegal"):
        reconstruct(stack, model)


def test_an_error_of_the_listener_is_not_taken_for_one_either(stack, detector):
    def listener(passes, indices):
        raise MemoryError("mine")

    with pytest.raises(MemoryError, match="mine"):
        reconstruct(stack, detector, on_group=listener)


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True, "8", 5000])
def test_a_batch_size_out_of_range_is_refused(stack, detector, batch_size):
    with pytest.raises(ParameterError, match="batch size must be a whole number"):
        reconstruct(stack, detector, batch_size=batch_size)


def test_what_a_small_memory_gave_is_not_computed_again(stack, detector):
    cache = ReconstructionCache()
    model = cramped(detector, cuda__kl_gradient=0)
    first = reconstruct(stack, model, ingredients=(GRADIENT,), cache=cache)
    model.calls.clear()
    again = reconstruct(stack, model, ingredients=(GRADIENT,), cache=cache)
    assert model.calls == []
    assert (again.device, again.batch_size, again.warnings) == ("cpu", GROUP, first.warnings)
    assert again.from_cache and not first.from_cache


def test_a_gradient_that_does_not_fit_later_makes_both_again(stack, detector):
    cache = ReconstructionCache()
    model = cramped(detector, cuda__kl_gradient=8)
    alone = reconstruct(stack, model, cache=cache)
    before = alone.slices.copy()
    both = reconstruct(stack, model, ingredients=(GRADIENT,), cache=cache)
    assert (alone.batch_size, both.batch_size) == (GROUP, 8)
    np.testing.assert_array_equal(alone.slices, before)  # what was handed out does not change
    np.testing.assert_array_equal(both.slices, plain(stack, detector, 8))
    model.calls.clear()
    assert reconstruct(stack, model, cache=cache).batch_size == 8
    assert model.calls == []


def test_a_gradient_after_a_move_to_the_cpu_is_computed_there(stack, detector):
    cache = ReconstructionCache()
    model = cramped(detector, cuda__repair=0)
    reconstruct(stack, model, cache=cache)
    model.calls.clear()
    found = reconstruct(stack, model, ingredients=(GRADIENT,), cache=cache)
    assert {(kind, device) for kind, device, _ in model.calls} == {("kl_gradient", "cpu")}
    assert found.device == "cpu"
    np.testing.assert_array_equal(found.ingredients["gradient"], plain(stack, detector, GROUP, "kl_gradient"))
