from dataclasses import replace

import numpy as np
import pytest

import napari_cead as cead
from napari_cead.detection import ReconstructionCache, run
from napari_cead.detection.cache import Cached, CacheKey
from napari_cead.errors import Cancelled
from napari_cead.patients import Patient
from napari_cead.zoo import Detector, ModelCard, Preprocessing, save_model
from scans import make_brain
from small_stores import CE_VAE, SIZE

SCALES = {"kl-gradient": 1.0, "combined": 1.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from model_folders import network

    card = ModelCard(
        name="vae", spec=CE_VAE, preprocessing=Preprocessing(image_size=SIZE), score_scales=SCALES
    )
    return save_model(network(3, CE_VAE), card, tmp_path_factory.mktemp("models") / "vae")


@pytest.fixture
def calls(monkeypatch):
    """Every pass through any network."""
    seen = []
    for name in ("repair", "kl_gradient"):
        real = getattr(Detector, name)

        def counted(self, batch, name=name, real=real):
            seen.append(name)
            return real(self, batch)

        monkeypatch.setattr(Detector, name, counted)
    return seen


def make_patient(seed=0):
    volume, lesion = make_brain((20, 36, 34), seed=seed)
    return Patient.from_arrays({"flair": volume}, lesion_mask=lesion, spacing=(1.0, 0.94, 0.94))


def load(folder):
    return cead.load_model(folder, device="cpu")


def entry(bytes_):
    return Cached(np.zeros(bytes_ // 4, np.float32), "cpu", 16)


def key(number):
    return CacheKey(str(number), "sha", "cpu", 16, "reconstruction")


def test_a_patient_is_not_computed_twice(folder, calls):
    cache = ReconstructionCache()
    first = run(make_patient(), load(folder), cache=cache)
    assert calls and not first.from_cache
    calls.clear()
    slices, progress = [], []
    again = run(
        make_patient(),  # loaded again, and so is the model
        load(folder),
        cache=cache,
        on_progress=lambda *step: progress.append(step),
        on_slices=lambda made, indices: slices.append((made, indices)),
    )
    assert calls == []
    assert again.from_cache
    np.testing.assert_array_equal(again.slices, first.slices)
    ((made, indices),) = slices
    assert made is again
    np.testing.assert_array_equal(indices, again.stack.occupied)
    assert progress == [(len(indices), len(indices))]


def test_a_score_that_needs_the_gradient_adds_only_that(folder, calls):
    cache = ReconstructionCache()
    first = run(make_patient(), load(folder), cache=cache)
    calls.clear()
    second = run(make_patient(), load(folder), score="combined", cache=cache)
    assert set(calls) == {"kl_gradient"} and not second.from_cache
    np.testing.assert_array_equal(first.slices, second.slices)
    calls.clear()
    assert run(make_patient(), load(folder), score="kl-gradient", cache=cache).from_cache
    assert run(make_patient(), load(folder), cache=cache).ingredients == {}
    assert calls == []
    alone = run(make_patient(), load(folder), score="combined")
    np.testing.assert_array_equal(alone.ingredients["gradient"], second.ingredients["gradient"])


@pytest.mark.parametrize("change", ["patient", "model", "batch_size"])
def test_anything_else_is_computed(folder, calls, change, tmp_path):
    cache = ReconstructionCache()
    run(make_patient(), load(folder), cache=cache)
    calls.clear()
    detector = load(folder)
    if change == "model":
        from model_folders import network

        other = save_model(network(4, CE_VAE), detector.card, tmp_path / "other")
        detector = load(other)
    patient = make_patient(seed=1 if change == "patient" else 0)
    found = run(patient, detector, cache=cache, batch_size=8 if change == "batch_size" else 16)
    assert calls and not found.from_cache
    np.testing.assert_array_equal(found.slices, run(patient, detector, batch_size=found.batch_size).slices)


def test_a_stop_is_heeded_even_if_nothing_has_to_be_computed(folder):
    cache = ReconstructionCache()
    run(make_patient(), load(folder), cache=cache)
    with pytest.raises(Cancelled):
        run(make_patient(), load(folder), cache=cache, should_stop=lambda: True)


def test_a_model_that_was_never_saved_is_not_kept(folder):
    cache, detector = ReconstructionCache(), load(folder)
    unsaved = replace(detector, card=detector.card.model_copy(update={"sha256": ""}))
    run(make_patient(), unsaved, cache=cache)
    assert len(cache) == 0


def test_what_is_kept_cannot_be_changed(folder):
    cache = ReconstructionCache()
    made = run(make_patient(), load(folder), cache=cache)
    with pytest.raises(ValueError, match="read-only"):
        made.slices[0] = 1


def test_the_least_recently_used_goes_first():
    cache = ReconstructionCache(max_bytes=3000)
    for number in range(3):
        cache.put(key(number), entry(1000))
    assert cache.nbytes == 3000
    cache.get(key(0))
    cache.put(key(3), entry(1000))
    assert [number for number in range(4) if cache.get(key(number)) is not None] == [0, 2, 3]
    cache.put(key(4), entry(2400))
    assert [number for number in range(5) if cache.get(key(number)) is not None] == [4]
    assert cache.nbytes == 2400


def test_what_is_larger_than_the_bound_is_not_kept():
    cache = ReconstructionCache(max_bytes=3000)
    cache.put(key(0), entry(1000))
    cache.put(key(1), entry(3004))
    assert cache.get(key(1)) is None and cache.get(key(0)) is not None
    cache.put(key(0), entry(3004))  # the old one is no longer true
    assert cache.get(key(0)) is None
    assert cache.nbytes == 0


def test_the_same_key_again_takes_the_place_of_the_old_one():
    cache = ReconstructionCache(max_bytes=3000)
    cache.put(key(0), entry(1000))
    new = entry(2000)
    cache.put(key(0), new)
    assert cache.get(key(0)) is new and cache.nbytes == 2000
    cache.clear()
    assert cache.get(key(0)) is None and cache.nbytes == len(cache) == 0
