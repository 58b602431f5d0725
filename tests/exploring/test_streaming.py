"""A run under way: what arrives when, and what becomes of it."""

import threading

import numpy as np
import pytest

import napari_cead as cead
from napari_cead.detection import MapOptions
from napari_cead.errors import Cancelled, ParameterError
from napari_cead.exploring import Session
from napari_cead.exploring import session as session_module
from scans import brain_of


@pytest.fixture
def session(patient_folder):
    session = Session()
    session.open(patient_folder)
    return session


def detect(session, model, score="intensity", **others):
    return session.detect(model, score, device="cpu", batch_size=2, **others)


def mask_of(session, params):
    return cead.postprocess(session.anomaly_map, params, session.patient.spacing, brain_of(session.patient))


def test_the_slice_on_screen_comes_first_then_its_neighbours(session, vae_folder):
    arrived = []
    session.slices_arrived.connect(lambda streaming, indices: arrived.append(indices.tolist()))
    detect(session, vae_folder, first=7)
    assert 7 in arrived[0]
    every = [z for group in arrived for z in group]
    assert sorted(every) == session.analysis.reconstruction.stack.occupied.tolist(), "each comes once"
    middles = [np.mean(group) for group in arrived]
    distances = [abs(middle - middles[0]) for middle in middles]
    assert distances == sorted(distances), "outwards to both sides"


@pytest.mark.parametrize("score", ["residual", "kl-gradient"])
def test_what_is_seen_during_the_run_is_what_it_ends_with(session, vae_folder, score):
    seen, maps, settings = {}, {}, cead.PostprocessParams(threshold=0.4, dilation_radius=1)

    def look(streaming, indices):
        assert session.streaming is streaming
        assert session.analysis is None
        for z in indices.tolist():
            seen[z] = session.slice_mask(z)
            maps[z] = streaming.anomaly_map[z].copy()
        for z in np.flatnonzero(~streaming.arrived):
            assert session.slice_mask(z) is None

    session.slices_arrived.connect(look)
    analysis = detect(
        session, vae_folder, score, params=settings, options=MapOptions(smoothing_mm=1.0, erosion_radius=2)
    )
    assert session.streaming is None
    occupied = analysis.reconstruction.stack.occupied
    assert sorted(seen) == occupied.tolist()
    assert not np.delete(analysis.mask, occupied, axis=0).any()
    for z, mask in seen.items():
        np.testing.assert_array_equal(mask, analysis.mask[z])
        np.testing.assert_array_equal(maps[z], analysis.anomaly_map[z])
    assert any(mask.any() for mask in seen.values())
    whole = analysis.reconstruction.anomaly_map(score, analysis.options)
    np.testing.assert_array_equal(whole, analysis.anomaly_map)
    np.testing.assert_array_equal(analysis.reconstructed, analysis.reconstruction.volume())


def test_cancelling_brings_back_what_was_there(session, vae_folder, model_folder):
    first = detect(session, vae_folder)
    session.set(threshold=0.8, dilation_radius=2)
    session.set_options(smoothing_mm=1.0)
    before, shown = session.analysis, []
    session.analysis_changed.connect(shown.append)
    arrived = threading.Event()
    session.slices_arrived.connect(lambda *_: arrived.set())
    with pytest.raises(Cancelled):
        detect(
            session,
            model_folder,
            "residual",
            params=cead.PostprocessParams(threshold=0.1),
            options=MapOptions(),
            should_stop=arrived.is_set,
        )
    assert shown == [None, before]
    assert session.analysis is before
    assert first.key == before.key
    assert session.params == before.params == first.params.replace(threshold=0.8, dilation_radius=2)
    assert session.options == before.options == MapOptions(smoothing_mm=1.0)
    assert session.streaming is None
    np.testing.assert_array_equal(session.slice_mask(6), before.mask[6])


def test_cancelling_the_first_run_leaves_nothing_and_says_so(session, vae_folder):
    shown, arrived = [], threading.Event()
    session.slices_arrived.connect(lambda *_: arrived.set())
    session.analysis_changed.connect(lambda analysis: shown.append((analysis, session.streaming)))
    with pytest.raises(Cancelled):
        detect(session, vae_folder, should_stop=arrived.is_set)
    assert shown == [(None, None), (None, None)]
    assert session.analysis is session.streaming is None
    assert session.slice_mask(6) is None


def test_a_score_that_the_model_cannot_give_leaves_all_as_it_was(session, vae_folder, model_folder):
    before = detect(session, vae_folder)
    with pytest.raises(ParameterError, match="kl-gradient"):
        detect(session, model_folder, "kl-gradient")
    assert session.analysis is before
    assert [one.key for one in session.analyses] == [before.key]


def test_settings_changed_while_the_network_runs_are_in_the_result(session, vae_folder):
    changed = []

    def change(streaming, indices):
        if not changed:
            changed.append(True)
            session.set(threshold=0.83, closing_radius=1)
            session.set_options(erosion_radius=3)
            np.testing.assert_array_equal(
                session.slice_mask(int(indices[0])),
                cead.postprocess(
                    streaming.anomaly_map, session.params, session.patient.spacing, brain_of(session.patient)
                )[indices[0]],
            )

    session.slices_arrived.connect(change)
    analysis = detect(session, vae_folder, params=cead.PostprocessParams(threshold=0.5))
    wanted = cead.PostprocessParams(threshold=0.83, closing_radius=1)
    assert analysis.params == session.params == wanted
    assert analysis.options == session.options == MapOptions(erosion_radius=3)
    expected = analysis.reconstruction.anomaly_map("intensity", MapOptions(erosion_radius=3))
    np.testing.assert_array_equal(session.anomaly_map, expected)
    np.testing.assert_array_equal(session.mask, mask_of(session, wanted))
    assert not session.can_undo, "the result starts with them"


def test_a_reference_that_comes_during_the_run_counts(session, vae_folder):
    reference = np.zeros(session.patient.shape, bool)
    reference[5:8, 20:40, 10:30] = True
    session.slices_arrived.connect(lambda *_: session.set_reference(reference))
    analysis = detect(session, vae_folder)
    assert session.dice == cead.dice(analysis.mask, reference)


def test_a_patient_opened_during_the_run_stays(session, vae_folder, patient_folder, monkeypatch):
    """The patient comes in the very last moment: when the network is done and its map is being cut."""
    made = session_module.AnalysisState.of

    def late(*arguments, **keywords):
        opened = made(*arguments, **keywords)
        session.open(patient_folder)
        return opened

    monkeypatch.setattr(session_module.AnalysisState, "of", late)
    with pytest.raises(Cancelled):
        detect(session, vae_folder)
    assert session.analysis is session.streaming is None
    assert session.analyses == ()
