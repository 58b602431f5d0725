import json
import threading

import nibabel as nib
import numpy as np
import pytest

import napari_cead as cead
from model_folders import two_heads
from napari_cead.errors import Cancelled, CeadError, MaskError, ParameterError
from napari_cead.exploring import Corrections, Session
from patience import PATIENCE
from scans import brain_of


@pytest.fixture
def session(patient_folder, model_folder):
    session = Session()
    session.open(patient_folder)
    session.detect(model_folder, "intensity", device="cpu")
    return session


def direct(session, **changes):
    """Mask by the public functions, from scratch."""
    params = cead.PostprocessParams().replace(**changes)
    return cead.postprocess(session.anomaly_map, params, session.patient.spacing, brain_of(session.patient))


def test_detection_starts_with_what_the_model_suggests(patient_folder, model_folder):
    session = Session()
    session.open(patient_folder)
    assert session.dice is session.mask is session.anomaly_map is session.score is None
    session.detect(model_folder, device="cpu")
    assert session.score == "positive-residual"
    assert session.params.threshold == 0.7
    result = cead.detect(session.patient, cead.load_model(model_folder, device="cpu"))
    np.testing.assert_array_equal(session.mask, result.mask)
    assert session.dice == pytest.approx(result.dice, nan_ok=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 0.9},
        {"threshold": 0.5, "closing_radius": 0},
        {"area_fraction": 0.1},
        {"dilation_radius": 4},
        {"threshold": 0.95, "closing_radius": 5, "area_fraction": 0.9, "dilation_radius": 0},
    ],
)
def test_figures_equal_those_of_the_public_functions(session, changes):
    session.set(**changes)
    expected = direct(session, **changes)
    np.testing.assert_array_equal(session.mask, expected)
    reference = session.patient.lesion_mask
    assert session.dice == cead.dice(expected, reference)
    for z in range(len(expected)):
        one = cead.dice(expected[z], reference[z])
        assert session.slice_dice(z) == pytest.approx(one, nan_ok=True)
        np.testing.assert_array_equal(session.slice_mask(z), expected[z])
    assert session.volume_ml == pytest.approx(expected.sum() * 1.5 * 0.95 * 0.9 / 1000)


def test_a_look_at_a_slice_changes_nothing(session):
    before = session.mask.copy()
    params = session.params.replace(threshold=0.95)
    np.testing.assert_array_equal(session.slice_mask(6, params), direct(session, threshold=0.95)[6])
    np.testing.assert_array_equal(session.mask, before)
    assert session.params.threshold == 0.2


def test_a_value_out_of_range_changes_nothing(session):
    before = session.params
    with pytest.raises(ParameterError, match="threshold"):
        session.set(threshold=7)
    assert session.params is before


def test_reset_goes_back_to_the_suggestion(session):
    session.set(threshold=0.9, dilation_radius=5)
    session.reset()
    assert session.params == cead.PostprocessParams()
    session.set_score("positive-residual")
    session.set(threshold=0.1)
    session.reset()
    assert session.params.threshold == 0.7


def test_another_score_is_the_same_reconstruction(session):
    made = session.analysis.reconstruction
    session.set_score("squared")
    assert session.analysis.reconstruction is made
    assert session.score == "squared"
    expected = np.square(made.stack.scaled - made.volume()).clip(0, 1)
    np.testing.assert_allclose(session.anomaly_map, expected, atol=1e-6)


def test_without_a_reference_everything_but_dice_works(session):
    session.set_reference(None)
    session.set(threshold=0.5)
    assert session.dice is None
    assert session.slice_dice(6) is None
    assert session.volume_ml > 0


def test_a_reference_can_come_later(session):
    _, before = session.set_reference(None), session.mask.copy()
    reference = np.zeros(session.patient.shape, bool)
    reference[6, 20:40, 10:30] = True
    session.set_reference(reference)
    assert session.dice == cead.dice(before, reference)
    with pytest.raises(MaskError):
        session.set_reference(np.zeros((2, 2, 2)))


def test_two_empty_masks_give_nan(session):
    session.set_reference(np.zeros(session.patient.shape, bool))
    session.set(threshold=1.0)
    assert np.isnan(session.dice)
    assert np.isnan(session.slice_dice(3))


def test_corrections_survive_a_moved_slider_and_can_be_discarded(session):
    painted = session.mask.astype(np.uint8)
    painted[6, 30, 25], painted[5, 2:4, 2:4] = 0, 1
    removed = session.mask[6, 30, 25]
    assert removed
    session.correct(painted)
    np.testing.assert_array_equal(session.mask, painted > 0)
    assert session.dice == cead.dice(painted > 0, session.patient.lesion_mask)
    session.set(threshold=0.3)
    expected = direct(session, threshold=0.3)
    expected[6, 30, 25], expected[5, 2:4, 2:4] = False, True
    np.testing.assert_array_equal(session.mask, expected)
    np.testing.assert_array_equal(session.slice_mask(5), expected[5])
    session.discard_corrections()
    np.testing.assert_array_equal(session.mask, direct(session, threshold=0.3))


def test_events_come_with_the_state_up_to_date(session):
    seen = []
    session.params_changed.connect(lambda params: seen.append(("params", params is session.params)))
    session.mask_changed.connect(lambda analysis: seen.append(("mask", analysis is session.analysis)))
    session.set(threshold=0.4)
    assert seen == [("params", True), ("mask", True)]


def test_the_newest_setting_wins(session, monkeypatch):
    """A slow older change must not overwrite a newer one."""
    stages, reached, release = session._now().stages, threading.Event(), threading.Event()
    whole = stages.volume

    def slow(params, should_stop=None):
        if params.threshold == 0.3:
            reached.set()
            release.wait(10 * PATIENCE)
        return whole(params, should_stop=should_stop)

    monkeypatch.setattr(stages, "volume", slow)
    outcome = []

    def older():
        try:
            session.set(threshold=0.3)
        except Cancelled:
            outcome.append("cancelled")

    thread = threading.Thread(target=older)
    thread.start()
    assert reached.wait(10 * PATIENCE)
    session.set(threshold=0.9)
    release.set()
    thread.join(10)
    assert outcome == ["cancelled"]
    np.testing.assert_array_equal(session.mask, direct(session, threshold=0.9))


def test_the_same_settings_from_two_sides_do_not_cancel_each_other(session, monkeypatch):
    """A window asks for them, and its thread that follows the sliders does so too."""
    stages = session._now().stages
    whole = stages.volume

    def interrupted(params, should_stop=None):
        monkeypatch.setattr(stages, "volume", whole)
        session.set(threshold=0.3)
        return whole(params, should_stop=should_stop)

    monkeypatch.setattr(stages, "volume", interrupted)
    session.set(threshold=0.3)
    np.testing.assert_array_equal(session.mask, direct(session, threshold=0.3))


def test_a_stop_during_the_last_group_counts(session, model_folder):
    before, asked = session.analysis, []

    def last(done, total):
        if done == total:
            asked.append(True)

    with pytest.raises(Cancelled):
        session.detect(model_folder, device="cpu", on_progress=last, should_stop=lambda: bool(asked))
    assert session.analysis is before


def test_opening_another_patient_voids_the_analysis_and_stops_the_run(session, patient_folder, model_folder):
    def switch(done, total):
        session.open(patient_folder)

    with pytest.raises(Cancelled):
        # The patient is swapped while the network runs; its result must not land on the new one.
        session.detect(model_folder, device="cpu", on_progress=switch)
    assert session.analysis is None


def test_before_a_patient_or_a_run_the_sentence_says_what_to_do(patient_folder, tmp_path):
    session = Session()
    with pytest.raises(CeadError, match="open a patient first"):
        session.detect("tiny")
    session.open(patient_folder)
    for action in (lambda: session.set_score("residual"), lambda: session.export(tmp_path)):
        with pytest.raises(CeadError, match="run a model first"):
            action()
    assert session.set(threshold=0.5).threshold == 0.5


def test_export_writes_mask_map_and_settings(session, tmp_path):
    session.set(threshold=0.4)
    session.export(tmp_path / "out")
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["params"]["threshold"] == 0.4
    assert settings["corrections"] is None
    saved = np.asarray(nib.load(tmp_path / "out" / "mask.nii.gz").dataobj)
    np.testing.assert_array_equal(session.patient.grid.to_canonical(saved) > 0, session.mask)


def test_export_keeps_corrections_apart(session, tmp_path):
    painted = session.mask.astype(np.uint8)
    painted[6, 30, 25], painted[5, 2:4, 2:4] = 0, 1
    session.correct(painted)
    session.export(tmp_path)
    settings = json.loads((tmp_path / "settings.json").read_text())
    saved = settings["corrections"]
    assert len(saved.pop("sha256")) == 64
    assert saved == {"file": "corrections.nii.gz", "added_voxels": 4, "removed_voxels": 1}
    to_canonical = session.patient.grid.to_canonical
    labels = to_canonical(np.asarray(nib.load(tmp_path / "corrections.nii.gz").dataobj))
    automatic = to_canonical(np.asarray(nib.load(tmp_path / "mask_automatic.nii.gz").dataobj))
    np.testing.assert_array_equal((automatic.astype(bool) | (labels == 1)) & (labels != 2), session.mask)
    np.testing.assert_array_equal(automatic > 0, direct(session))


def test_corrections_stay_when_the_score_or_the_model_changes(session, model_folder):
    painted = session.mask.astype(np.uint8)
    painted[5, 2:4, 2:4] = 1
    session.correct(painted)
    session.set_score("squared")
    assert session.mask[5, 2:4, 2:4].all()
    session.detect(model_folder, "residual", device="cpu")
    assert session.mask[5, 2:4, 2:4].all()
    session.use(session.patient)
    session.detect(model_folder, device="cpu")
    assert session.analysis.corrections is None


def test_a_run_can_start_with_settings_of_ones_own(session, model_folder):
    own = cead.PostprocessParams(threshold=0.123)
    session.detect(model_folder, params=own, device="cpu")
    assert session.params == own
    assert session.analysis.suggestion.threshold == 0.7
    np.testing.assert_array_equal(session.mask, direct(session, threshold=0.123))


def test_a_score_that_looks_through_slices_is_that_of_the_whole_once_all_are_there(patient_folder, tmp_path):
    """While slices arrive their neighbours are missing; the map that stays is made of all of them."""
    folder, session = two_heads(tmp_path / "two"), Session()
    patient = session.open(patient_folder)
    arrived = []
    session.slices_arrived.connect(lambda streaming, indices: arrived.append(len(indices)))
    session.detect(folder, "fused", device="cpu", batch_size=4, first=3)
    expected = cead.detect(
        session.patient, cead.load_model(folder, "cpu"), session.params, "fused", batch_size=4
    )
    assert len(arrived) > 2 and patient is not None
    np.testing.assert_array_equal(session.anomaly_map, expected.anomaly_map)
    np.testing.assert_array_equal(session.mask, expected.mask)
    assert session.anomaly_map.std() > 0.01


def test_what_looks_through_slices_is_previewed_where_the_user_looks_alone(patient_folder, tmp_path):
    folder, session, seen = two_heads(tmp_path / "two"), Session(), []
    session.open(patient_folder)

    def look(streaming, indices):
        seen.append((indices, streaming.scored[indices].all()))
        if len(seen) == 3:
            z = int(indices[0])  # scrolled to
            mask = session.slice_mask(z)
            assert streaming.scored.sum() == len(seen[0][0]) + 1 and streaming.anomaly_map[z].any()
            np.testing.assert_array_equal(mask, session.slice_mask(z))

    session.slices_arrived.connect(look)
    session.detect(folder, "fused", device="cpu", batch_size=4, first=3)
    assert 3 in seen[0][0] and [scored for _, scored in seen] == [True] + [False] * (len(seen) - 1)
    seen.clear()
    session.detect(folder, "residual", device="cpu", batch_size=4, first=3)
    assert all(scored for _, scored in seen), "what needs no neighbours is final at once"


def painted_in(session):
    """Paint three voxels in; return where."""
    where = (np.full(3, 5), np.arange(3) + 2, np.full(3, 2))
    painted = session.mask.astype(np.uint8)
    painted[where] = 1
    session.correct(painted)
    return where


def test_discarded_corrections_come_back_by_undo_and_settings_after_them_first(session):
    where = painted_in(session)
    session.set(threshold=0.3)
    session.discard_corrections()
    assert session.can_undo
    session.set(threshold=0.4)
    session.undo()
    assert session.params.threshold == 0.3
    assert session.analysis.corrections is None
    session.undo()
    assert session.params.threshold == 0.3
    assert session.mask[where].all()
    session.discard_corrections()
    again = painted_in(session)
    session.undo()  # the stroke; what was discarded before is not mixed in
    assert session.analysis.corrections is None
    session.undo()
    assert session.mask[again].all() and session.params.threshold == 0.3
    session.undo()
    assert session.params.threshold != 0.3 and session.mask[again].all()
    session.undo()
    assert session.analysis.corrections is None and not session.can_undo
    for _ in range(4):
        session.redo()
    assert session.mask[again].all() and not session.can_redo


def test_a_stroke_undone_elsewhere_is_that_stroke_undone(session):
    """As napari does by Ctrl+Z: it changes the painted mask itself."""
    session.set(threshold=0.3)
    before = session.mask.copy()
    where, gesture = painted_in(session), object()
    stroke = session.mask.copy()
    session.undo()
    session.correct(stroke, gesture=gesture)
    session.correct(before, gesture=gesture)
    assert session.analysis.corrections is None and session.can_redo
    session.correct(stroke, gesture=gesture)
    assert session.mask[where].all() and not session.can_redo
    session.undo()
    session.undo()
    assert session.params.threshold != 0.3


def test_pieces_of_a_stroke_are_one_step(session):
    before, gesture = session.mask.copy(), object()
    painted = before.copy()
    for x in (2, 3, 4):
        painted[5, 2, x] = True
        session.correct(painted, gesture=gesture)
    session.undo()
    np.testing.assert_array_equal(session.mask, before)
    assert not session.can_undo
    session.redo()
    np.testing.assert_array_equal(session.mask, painted)


def test_kept_corrections_wait_for_the_first_detection(patient_folder, model_folder):
    session = Session()
    patient = session.open(patient_folder)
    added = np.zeros(patient.shape, bool)
    added[5, 2, 2:5] = True
    session.bring_back(Corrections(added, np.zeros_like(added)))
    session.detect(model_folder, "intensity", device="cpu")
    assert session.mask[added].all()
    session.bring_back(Corrections(np.zeros_like(added), added))
    assert not session.mask[added].any()
    session.use(cead.load_patient(patient_folder))
    session.detect(model_folder, "intensity", device="cpu")
    assert session.analysis.corrections is None


@pytest.fixture
def stroke(session):
    """Three voxels beside the brain, as corrections."""
    added = np.zeros(session.patient.shape, bool)
    added[5, 2, 2:5] = True
    return Corrections(added, np.zeros_like(added))


def test_kept_corrections_wait_for_the_prepared_patient_too(patient_folder, model_folder, stroke):
    session = Session()
    patient = session.open(patient_folder)
    session.bring_back(stroke)
    session.use_brain(patient.volume() > 0)
    session.detect(model_folder, "intensity", device="cpu")
    assert session.mask[stroke.added].all()


def test_what_was_painted_stays_when_the_patient_is_prepared_again(session, model_folder, stroke):
    session.bring_back(stroke)
    brain = session.patient.volume() > 0
    for _ in range(2):
        session.use_brain(brain)
        assert session.analysis is None
        session.detect(model_folder, "intensity", device="cpu")
        assert session.mask[stroke.added].all()
    session.discard_corrections()
    session.use_brain(brain)
    session.detect(model_folder, "intensity", device="cpu")
    assert session.analysis.corrections is None
    session.bring_back(stroke)
    session.use(session.patient.select("t1_gd"))
    session.detect(model_folder, "intensity", device="cpu")
    assert session.analysis.corrections is None, "they belong to the scan that they were painted on"


def test_corrections_that_are_brought_back_during_a_detection_count(session, model_folder, stroke):
    def once(stage):
        if session.analysis is None:
            session.bring_back(stroke)

    session.detect(model_folder, "residual", device="cpu", on_stage=once)
    assert session.mask[stroke.added].all()


def test_a_detection_says_its_stages(session, model_folder):
    stages = []
    session.detect(model_folder, "residual", device="cpu", on_stage=stages.append)
    assert stages == ["Loading the model", "Preparing the slices", "Making the mask"]


def test_exports_with_prefixes_lie_beside_each_other_and_come_back(session, tmp_path):
    where = painted_in(session)
    session.export(tmp_path, prefix="anna_tiny_")
    assert session.restore(tmp_path, device="cpu") == ()
    assert session.mask[where].all()
    session.set(threshold=0.9)
    session.discard_corrections()
    session.export(tmp_path, prefix="bert_tiny_")
    with pytest.raises(CeadError, match="2 exports"):
        session.restore(tmp_path)
    session.restore(tmp_path / "anna_tiny_settings.json", device="cpu")
    assert session.mask[where].all()
    settings = json.loads((tmp_path / "anna_tiny_settings.json").read_text())
    assert settings["corrections"]["file"] == "anna_tiny_corrections.nii.gz"
    assert all(name.startswith("anna_tiny_") for name in settings["files"])
