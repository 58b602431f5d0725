"""Several analyses of a patient by model and score, their settings, undo, and what is not computed twice."""

import numpy as np
import pytest

import napari_cead as cead
from model_folders import save
from napari_cead.detection import MapOptions
from napari_cead.errors import Cancelled, CeadError, ParameterError
from napari_cead.exploring import Session
from napari_cead.exploring import session as session_module
from napari_cead.zoo import Detector
from scans import brain_of

FIRST, SECOND = ("tiny-vae", "intensity"), ("tiny-vae", "residual")


@pytest.fixture
def session(patient_folder, vae_folder):
    session = Session()
    session.open(patient_folder)
    session.detect(vae_folder, "intensity", device="cpu")
    return session


@pytest.fixture
def passes(monkeypatch):
    """Slices that pass through networks: how many were reconstructed, and of how many the gradient was taken."""
    done = {"repair": 0, "kl_gradient": 0}
    for name in done:
        original = getattr(Detector, name)

        def counted(self, batch, *, _name=name, _original=original):
            done[_name] += len(batch)
            return _original(self, batch)

        monkeypatch.setattr(Detector, name, counted)
    return done


def cut(session, **changes):
    params, patient = session.params.replace(**changes), session.patient
    return cead.postprocess(session.anomaly_map, params, patient.spacing, brain_of(patient))


def keys(session):
    return [one.key for one in session.analyses]


# -- several analyses --------------------------------------------------------------------------------------


def test_every_analysis_keeps_its_own_settings(session, vae_folder, model_folder):
    session.set(threshold=0.8)
    session.set_options(smoothing_mm=1.0)
    session.detect(vae_folder, "residual", options=MapOptions(), device="cpu")
    assert session.params.threshold == 0.7
    session.set(threshold=0.75, dilation_radius=2)
    session.detect(model_folder, "intensity", device="cpu")
    assert keys(session) == [FIRST, SECOND, ("tiny", "intensity")]

    seen = []
    session.params_changed.connect(lambda params: seen.append(params.threshold))
    session.analysis_changed.connect(lambda analysis: seen.append(analysis.key))
    back = session.select(FIRST)
    assert seen == [0.8, FIRST]
    assert (session.params.threshold, session.options) == (0.8, MapOptions(smoothing_mm=1.0))
    assert session.analysis is back
    np.testing.assert_array_equal(session.mask, cut(session))
    session.select(SECOND)
    assert (session.params.threshold, session.params.dilation_radius) == (0.75, 2)
    assert session.options == MapOptions()
    np.testing.assert_array_equal(session.mask, cut(session))
    assert keys(session) == [FIRST, SECOND, ("tiny", "intensity")], "the order stays"


def test_only_the_current_analysis_moves(session, vae_folder):
    session.detect(vae_folder, "residual", device="cpu")
    other = session.analyses[0]
    session.set(threshold=0.9)
    session.correct(np.ones(session.patient.shape))
    assert session.analyses[0] is other


def test_select_and_forget(session, vae_folder):
    with pytest.raises(CeadError, match="run this model first"):
        session.select(SECOND)
    session.detect(vae_folder, "residual", device="cpu")
    seen = []
    session.analyses_changed.connect(lambda analyses: seen.append([one.key for one in analyses]))
    session.forget(SECOND)
    assert keys(session) == [FIRST, SECOND], "the current one stays"
    session.forget(("nobody", "residual"))
    assert seen == []
    session.forget(FIRST)
    assert seen == [[SECOND]]
    assert keys(session) == [SECOND]
    assert session.analysis.key == SECOND


def test_a_new_patient_has_no_analyses(session, vae_folder, patient_folder):
    session.set_options(erosion_radius=2)
    session.open(patient_folder)
    assert session.analyses == ()
    assert session.analysis is None
    assert not session.can_undo
    session.detect(vae_folder, "intensity", device="cpu")
    assert session.analysis.options == MapOptions(erosion_radius=2), (
        "options are the user's, not the patient's"
    )


def test_the_one_unused_for_longest_goes_when_there_are_too_many(session, monkeypatch):
    monkeypatch.setattr(session_module, "MOST_ANALYSES", 3)
    session.set_score("squared")
    session.set_score("residual")
    session.select(FIRST)
    session.set_score("positive-residual")
    assert keys(session) == [FIRST, SECOND, ("tiny-vae", "positive-residual")]


def test_running_the_same_again_replaces_it_and_can_be_undone(session, vae_folder):
    session.set(threshold=0.8)
    session.detect(vae_folder, "intensity", params=cead.PostprocessParams(threshold=0.4), device="cpu")
    assert keys(session) == [FIRST]
    assert session.params.threshold == 0.4
    session.undo()
    assert session.params.threshold == 0.8
    np.testing.assert_array_equal(session.mask, cut(session))


def test_a_reference_that_comes_later_counts_for_all(session):
    session.set_score("residual")
    reference = np.zeros(session.patient.shape, bool)
    reference[6, 20:40, 10:30] = True
    session.set_reference(reference)
    for one in session.analyses:
        assert one.dice == cead.dice(one.mask, reference)


# -- scores ------------------------------------------------------------------------------------------------


def test_another_score_keeps_what_makes_sense(session):
    session.set_score("residual")
    session.set(threshold=0.65, dilation_radius=3)
    session.set_options(smoothing_mm=1.2, erosion_radius=1)
    options = session.options
    session.set_score("positive-residual")
    assert (session.params.threshold, session.params.dilation_radius) == (0.65, 3)
    assert session.options == session.analysis.options == options
    expected = session.analysis.reconstruction.anomaly_map("positive-residual", options)
    np.testing.assert_array_equal(session.anomaly_map, expected)
    np.testing.assert_array_equal(session.mask, cut(session))
    session.set_score("kl-gradient")
    assert (session.params.threshold, session.params.closing_radius) == (0.5, 2), "the threshold as suggested"
    assert session.params.dilation_radius == 3, "as chosen"
    assert session.options == options


def test_a_score_that_was_shown_before_has_its_own_settings_back(session):
    session.set(threshold=0.81)
    session.set_score("residual")
    session.set(threshold=0.5)
    session.set_options(smoothing_mm=2.0)
    back = session.set_score("intensity")
    assert (back.params.threshold, back.options) == (0.81, MapOptions())
    assert session.set_score("residual").params.threshold == 0.5
    assert session.options == MapOptions(smoothing_mm=2.0)


def test_an_unknown_or_impossible_score_changes_nothing(session, model_folder):
    session.detect(model_folder, "intensity", device="cpu")
    before = session.analysis
    for score in ("nonsense", "kl-gradient", "residual-z"):
        with pytest.raises(ParameterError, match=score):
            session.set_score(score)
    assert session.analysis is before


def test_cancelling_another_score_changes_nothing(session):
    before = session.analysis
    with pytest.raises(Cancelled):
        session.set_score("kl-gradient", should_stop=lambda: True)
    assert session.analysis is before
    assert keys(session) == [FIRST]


def test_the_gradient_is_all_that_is_computed_for_a_score_that_needs_it(session, vae_folder, passes):
    slices = len(session.analysis.reconstruction.stack.occupied)
    session.set_score("residual")
    assert passes == {"repair": 0, "kl_gradient": 0}
    session.set_score("kl-gradient")
    assert passes == {"repair": 0, "kl_gradient": slices}
    session.set_score("combined")
    session.set_score("squared")
    session.select(FIRST)
    assert passes == {"repair": 0, "kl_gradient": slices}
    afresh = cead.detect(session.patient, cead.load_model(vae_folder, device="cpu"), score="kl-gradient")
    np.testing.assert_array_equal(session.set_score("kl-gradient").anomaly_map, afresh.anomaly_map)


# -- what is not computed twice ----------------------------------------------------------------------------


def test_a_patient_is_not_computed_twice(session, vae_folder, patient_folder, tmp_path, passes):
    before = session.mask
    again = session.detect(vae_folder, "residual", device="cpu")
    assert again.reconstruction.from_cache
    session.open(patient_folder)  # read anew: other arrays with the same content
    session.detect(vae_folder, "intensity", device="cpu")
    assert passes["repair"] == 0
    np.testing.assert_array_equal(session.mask, before)

    session.use(session.patient.select("t1_gd"))
    session.detect(vae_folder, "intensity", device="cpu")
    slices = len(session.analysis.reconstruction.stack.occupied)
    # The slices are scaled: half as bright is the same to the network.
    assert passes["repair"] in (0, slices)


def test_after_another_patient_in_between_it_is_still_there(session, vae_folder, patient_folder, passes):
    patient = session.patient
    other = cead.Patient.from_arrays(
        {"flair": patient.volume()[:, ::-1] ** 1.5}, spacing=patient.spacing, name="other"
    )
    session.use(other)
    session.detect(vae_folder, "intensity", device="cpu")
    computed = passes["repair"]
    assert computed > 0, "another scan is computed"
    session.open(patient_folder)
    session.detect(vae_folder, "intensity", device="cpu")
    assert passes["repair"] == computed


def test_the_patient_before_comes_back_with_all_that_was_made_of_it(session, vae_folder, passes):
    patient = session.patient
    session.detect(vae_folder, "residual", device="cpu")
    session.set(threshold=0.61)
    painted = session.mask.copy()
    painted[5, 2:4, 2:4] = True
    session.correct(painted)
    wanted, computed, told = session.mask, passes["repair"], []
    other = cead.Patient.from_arrays(
        {"flair": patient.volume()[:, ::-1] ** 1.5}, spacing=patient.spacing, name="other"
    )
    session.use(other)
    assert session.analysis is None and session.analyses == ()
    session.patient_changed.connect(lambda now: told.append((now, session.params.threshold)))
    session.use(patient)
    assert told == [(patient, 0.61)]
    assert session.analysis.key == SECOND and keys(session) == [FIRST, SECOND]
    assert session.params.threshold == session.analysis.params.threshold == 0.61
    np.testing.assert_array_equal(session.mask, wanted)
    assert passes["repair"] == computed, "nothing is computed again"
    session.undo()
    assert session.analysis.corrections is None and session.params.threshold == 0.61
    session.undo()
    assert session.params.threshold != 0.61
    session.use(other)
    assert session.analysis is None
    session.use(patient.select("t1_gd"))
    assert session.analysis is None, "another sequence of it"


def test_a_patient_that_is_prepared_does_not_take_the_place_of_the_one_before_it(session):
    patient, analyses = session.patient, session.analyses
    painted = session.mask.copy()
    painted[5, 2:4, 2:4] = True
    session.correct(painted)
    raw = session.use(cead.Patient.from_arrays({"flair": patient.volume()[:, ::-1]}, spacing=patient.spacing))
    prepared = session.use_brain(raw.volume() > 0)
    assert prepared.sequences is not raw.sequences
    session.use(patient)
    assert keys(session) == [one.key for one in analyses]
    np.testing.assert_array_equal(session.mask, painted)


def test_the_prepared_patient_comes_back_after_the_one_before_it(session, model_folder):
    patient = session.patient
    raw = session.use(cead.Patient.from_arrays({"flair": patient.volume()[:, ::-1]}, spacing=patient.spacing))
    prepared = session.use_brain(raw.volume() > 0)
    mask = session.detect(model_folder, "intensity", device="cpu").mask
    session.use(patient)
    session.use(prepared)
    np.testing.assert_array_equal(session.mask, mask)


def test_another_model_of_the_same_name_is_computed(session, vae_folder, tmp_path, passes):
    other = save(tmp_path / "tiny-vae", seed=5)
    session.detect(other, "intensity", device="cpu")
    assert passes["repair"] > 0


# -- map options -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"smoothing_mm": 1.4}, {"erosion_radius": 3}, {"smoothing_mm": 2.0, "erosion_radius": 1}]
)
def test_options_change_the_map_as_they_say(session, options):
    plain = session.anomaly_map
    session.set(threshold=0.7)
    told = []
    session.options_changed.connect(told.append)
    session.set_options(**options)
    brain = session.analysis.reconstruction.stack.brain
    expected = MapOptions(**options).apply(plain, brain, session.patient.spacing)
    np.testing.assert_allclose(session.anomaly_map, expected, atol=1e-6)
    assert not np.array_equal(plain, expected)
    np.testing.assert_array_equal(session.mask, cut(session))
    np.testing.assert_array_equal(session.slice_mask(6), session.mask[6])
    assert told[0] == told[-1] == MapOptions(**options)
    session.set_options(smoothing_mm=0.0, erosion_radius=0)
    np.testing.assert_array_equal(session.anomaly_map, plain)


def test_options_survive_another_run_and_another_slider(session, model_folder):
    session.set_options(smoothing_mm=1.0)
    session.set(threshold=0.7)
    session.detect(model_folder, "intensity", device="cpu")
    assert session.analysis.options == MapOptions(smoothing_mm=1.0)
    with pytest.raises(ParameterError, match="smoothing"):
        session.set_options(smoothing_mm=99.0)
    assert session.options == MapOptions(smoothing_mm=1.0)


def test_what_changes_while_the_map_is_made_anew_is_kept(session, monkeypatch):
    """A slider moves, and a brush paints, while smoothing takes its time."""
    make, painted = MapOptions.apply, []

    def meanwhile(self, *arguments):
        if self.smoothing_mm and not painted:
            session.set(threshold=0.77)
            stroke = session.mask.copy()
            stroke[6, :3, :3] = True
            painted.append(stroke)
            session.correct(stroke)
        return make(self, *arguments)

    monkeypatch.setattr(MapOptions, "apply", meanwhile)
    session.set_options(smoothing_mm=1.0)
    assert painted
    assert session.params.threshold == session.analysis.params.threshold == 0.77
    expected = cut(session)
    assert not expected[6, :3, :3].any()
    expected[6, :3, :3] = True
    np.testing.assert_array_equal(session.mask, expected)


def test_a_mask_of_the_map_before_does_not_land_on_the_new_one(session, monkeypatch):
    """The other way round: the map is made anew while the mask of a moved slider is under way."""
    stages = session._now().stages
    volume = stages.volume

    def slow(params, **others):
        mask = volume(params, **others)
        if session.options == MapOptions():
            session.set_options(erosion_radius=4)
        return mask

    monkeypatch.setattr(stages, "volume", slow)
    with pytest.raises(Cancelled):
        session.set(threshold=0.7)
    assert (session.params.threshold, session.options.erosion_radius) == (0.7, 4)
    np.testing.assert_array_equal(session.mask, cut(session))


# -- undo and redo -----------------------------------------------------------------------------------------


def test_undo_and_redo_settings_options_and_gestures(session):
    start, gesture = session.params.threshold, object()
    for threshold in (0.5, 0.6, 0.7):
        session.set(threshold=threshold, gesture=gesture)
    session.set(dilation_radius=2)
    session.set_options(smoothing_mm=1.0)
    session.set(threshold=0.8)

    def state():
        np.testing.assert_array_equal(session.mask, cut(session))
        expected = session.analysis.reconstruction.anomaly_map("intensity", session.options)
        np.testing.assert_array_equal(session.anomaly_map, expected)
        assert (session.analysis.params, session.analysis.options) == (session.params, session.options)
        return session.params.threshold, session.params.dilation_radius, session.options.smoothing_mm

    states = [state()]
    while session.can_undo:
        session.undo()
        states.append(state())
    assert states == [(0.8, 2, 1.0), (0.7, 2, 1.0), (0.7, 2, 0.0), (0.7, 1, 0.0), (start, 1, 0.0)]
    session.undo()
    assert state() == states[-1], "there is nothing before"
    for expected in reversed(states[:-1]):
        session.redo()
        assert state() == expected
    assert not session.can_redo
    session.undo()
    session.set(threshold=0.33)
    assert not session.can_redo


def test_undo_of_a_setting_leaves_what_was_painted_before(session):
    painted = session.mask.copy()
    painted[6, :3, :3] = True
    session.correct(painted)
    session.set(threshold=0.8)
    session.undo()
    expected = cut(session)
    expected[6, :3, :3] = True
    np.testing.assert_array_equal(session.mask, expected)


def test_each_analysis_has_its_own_history(session):
    session.set(threshold=0.8)
    session.set_score("residual")
    assert not session.can_undo
    session.set(threshold=0.4)
    session.select(FIRST)
    session.undo()
    assert session.params.threshold == 0.2
    session.select(SECOND)
    assert session.params.threshold == 0.4
    session.undo()
    assert session.params.threshold == 0.7


def test_before_a_run_there_is_nothing_to_undo(patient_folder):
    session = Session()
    session.open(patient_folder)
    session.set(threshold=0.5)
    assert not session.can_undo
    assert session.undo() == session.redo() == session.params
