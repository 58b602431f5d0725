"""Export, and taking it over again: the settings, the options, the score and what was painted."""

import json
import shutil

import numpy as np
import pytest

import napari_cead as cead
from model_folders import save
from napari_cead.errors import Cancelled, CeadError, MaskError, ModelError, ParameterError
from napari_cead.exploring import Session
from napari_cead.zoo import models_folder


@pytest.fixture
def session(patient_folder, vae_folder):
    session = Session()
    session.open(patient_folder)
    session.detect(vae_folder, "intensity", device="cpu")
    return session


@pytest.fixture
def exported(session, vae_folder, tmp_path):
    """An export with another score than the model's own, corrections, options, and odd settings."""
    home = models_folder() / "tiny-vae"
    home.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(vae_folder, home)
    session.detect("tiny-vae", "kl-gradient", device="cpu")
    session.set(threshold=0.4321, closing_radius=2, area_fraction=0.25, dilation_radius=1, min_area_mm2=3.0)
    session.set_options(smoothing_mm=0.8, erosion_radius=2)
    painted = session.mask.copy()
    painted[5, 2:5, 2:5], painted[6, 30, 25] = True, ~painted[6, 30, 25]
    session.correct(painted)
    session.export(tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("name", ["", "settings.json"])
def test_an_export_comes_back_in_another_session(session, exported, patient_folder, name):
    before = session.analysis
    fresh = Session()
    fresh.open(patient_folder)
    assert fresh.restore(exported / name, device="cpu") == ()
    after = fresh.analysis
    assert after.key == before.key == ("tiny-vae", "kl-gradient")
    assert (fresh.params, fresh.options) == (before.params, before.options)
    np.testing.assert_array_equal(after.anomaly_map, before.anomaly_map)
    np.testing.assert_array_equal(after.automatic, before.automatic)
    np.testing.assert_array_equal(after.corrections.added, before.corrections.added)
    np.testing.assert_array_equal(after.corrections.removed, before.corrections.removed)
    np.testing.assert_array_equal(after.mask, before.mask)
    assert after.dice == before.dice


def test_restoring_takes_the_place_of_what_was_painted_since(session, exported):
    wanted = session.mask
    session.discard_corrections()
    session.set(threshold=0.9)
    session.restore(exported, device="cpu")
    np.testing.assert_array_equal(session.mask, wanted)
    session.undo()
    assert session.params.threshold == 0.9


def test_restoring_for_another_scan_says_so(session, exported):
    patient = session.patient
    other = cead.Patient.from_arrays(
        {"flair": patient.volume() ** 1.1}, spacing=patient.spacing, name="other"
    )
    session.use(other)
    (exported / "corrections.nii.gz").unlink()
    settings = json.loads((exported / "settings.json").read_text()) | {"corrections": None}
    (exported / "settings.json").write_text(json.dumps(settings))
    notes = session.restore(exported, device="cpu")
    assert any("another scan" in note for note in notes)
    assert any("lesion mask" in note for note in notes)
    assert session.params.threshold == 0.4321


def test_restoring_with_other_weights_says_so(session, exported, patient_folder):
    shutil.rmtree(models_folder() / "tiny-vae")
    save(models_folder() / "tiny-vae", seed=3, score_scales={"kl-gradient": 0.01})
    fresh = Session()
    fresh.open(patient_folder)
    assert any("other weights" in note for note in fresh.restore(exported, device="cpu"))


def test_what_cannot_be_restored_changes_nothing(session, exported, tmp_path):
    before = session.analysis
    with pytest.raises(CeadError, match="open a patient first"):
        Session().restore(exported)
    with pytest.raises(ParameterError):
        session.restore(tmp_path / "nowhere")
    (tmp_path / "settings.json").write_text('{"schema_version": 1}')
    with pytest.raises(ParameterError, match=r"settings\.json"):
        session.restore(tmp_path)
    with pytest.raises(Cancelled):
        session.restore(exported, device="cpu", should_stop=lambda: True)
    assert session.analysis is before
    (exported / "corrections.nii.gz").write_bytes(b"changed")
    with pytest.raises(MaskError, match="changed"):
        session.restore(exported)
    shutil.rmtree(models_folder() / "tiny-vae")
    (exported / "corrections.nii.gz").unlink()
    assert session.analysis is before


def test_a_model_that_is_gone_is_a_sentence(session, exported, patient_folder):
    shutil.rmtree(models_folder() / "tiny-vae")
    fresh = Session()
    fresh.open(patient_folder)
    with pytest.raises(ModelError, match="tiny-vae"):
        fresh.restore(exported)
    assert fresh.analysis is None


def test_restoring_with_a_model_that_was_calibrated_anew_says_so(session, exported, patient_folder):
    card = models_folder() / "tiny-vae" / "model.json"
    values = json.loads(card.read_text())
    values["score_scales"] = {name: 2 * scale for name, scale in values["score_scales"].items()} or {"x": 1.0}
    card.write_text(json.dumps(values))
    fresh = Session()
    fresh.open(patient_folder)
    assert any("calibrated anew" in note for note in fresh.restore(exported, device="cpu"))


def test_the_network_does_not_run_again_for_an_analysis_that_is_still_there(session, exported, monkeypatch):
    wanted, params, options = session.mask, session.params, session.options
    session.discard_corrections()
    session.set(threshold=0.9)
    session.set_options(smoothing_mm=0.0)

    def never(*_, **__):
        raise AssertionError("the network ran")

    monkeypatch.setattr("napari_cead.exploring.session.run", never)
    assert session.restore(exported, device="cpu") == ()
    assert (session.params, session.options) == (params, options)
    np.testing.assert_array_equal(session.mask, wanted)
    assert session.analysis.key == ("tiny-vae", "kl-gradient")


def test_a_brain_that_is_there_is_not_prepared_again(session, tmp_path, monkeypatch):
    brain = session.patient.volume() > 0
    brain[:3] = False
    session.use_brain(brain)
    session.detect("ce-vae1", device="cpu")
    session.export(tmp_path / "within")
    session.set(threshold=0.9)
    patient, wanted = session.patient, session.analysis.key

    def never(*_, **__):
        raise AssertionError("it was prepared again, or the network ran again")

    for name in ("run", "prepare_patient"):
        monkeypatch.setattr(f"napari_cead.exploring.session.{name}", never)
    session.restore(tmp_path / "within", device="cpu")
    assert session.patient is patient and session.analysis.key == wanted
    assert session.params.threshold != 0.9
