"""Many patients with one model: what is done again, and what is not."""

import gc
import json
import shutil
import weakref

import pytest

import napari_cead as cead
from napari_cead.detection.cohort import detect_cohort
from napari_cead.detection.options import MapOptions
from napari_cead.errors import OutputError
from napari_cead.exploring.queue import DetectionQueue, RunSettings
from napari_cead.zoo import LoadedModels

OWN = cead.PostprocessParams(threshold=0.4)


@pytest.fixture
def cohort(patient_folder, tmp_path):
    shutil.copytree(patient_folder, tmp_path / "cohort" / "a")
    return tmp_path / "cohort"


@pytest.fixture
def model(model_folder, tmp_path):
    shutil.copytree(model_folder, tmp_path / "mine")
    return tmp_path / "mine"


def change(file, **changes):
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, **changes}))


def test_a_model_that_was_calibrated_anew_answers_anew(cohort, model, tmp_path):
    """The weights, the score and the typed threshold are the same; the map is not."""

    def run():
        return detect_cohort(cohort, model, tmp_path / "out", OWN, "intensity", device="cpu")

    assert run().kept == 0
    assert run().kept == 1
    change(model / "model.json", score_scales={"intensity": 0.5, "squared": 0.25})
    again = run()
    assert again.kept == 0
    card = json.loads((model / "model.json").read_text())
    assert again.results[0]["sha256"] == card["sha256"]
    change(model / "model.json", description="other words")
    assert run().kept == 1, "what does not make the map does not count"


def test_a_step_that_was_installed_or_removed_meanwhile_starts_nothing_anew(cohort, model, tmp_path):
    def run():
        return detect_cohort(cohort, model, tmp_path / "out", OWN, "residual", device="cpu").kept

    assert run() == 0
    file = tmp_path / "out" / "a" / "detection.json"
    described = json.loads(file.read_text())
    for settings in (described["params"], described["origins"]):  # as before a step was there
        settings.pop("min_area_mm2")
    file.write_text(json.dumps(described))
    assert run() == 1
    described["params"]["grown_by"], described["origins"]["grown_by"] = 0, "default"  # with one that is gone
    file.write_text(json.dumps(described))
    assert run() == 1
    described["params"]["grown_by"], described["origins"]["grown_by"] = 2, "given"
    file.write_text(json.dumps(described))
    assert run() == 0, "it did something then"


def test_a_queue_keeps_what_is_there_and_a_cohort_has_the_same_results(cohort, model, tmp_path):
    def run(**changes):
        queue = DetectionQueue()
        queue.add([cohort])
        asked = {"score": "residual", "params": OWN, "device": "cpu", **changes}
        queue.run(RunSettings(str(model), **asked), tmp_path / "queue")
        return queue.items[0]

    first = run()
    written = (first.out / "mask.nii.gz").stat().st_mtime_ns
    again = run()
    assert (again.out, again.dice, again.volume_ml) == (first.out, first.dice, first.volume_ml)
    assert (first.out / "mask.nii.gz").stat().st_mtime_ns == written
    (first.out / "mask.nii.gz").unlink()
    assert run().out == first.out and (first.out / "mask.nii.gz").is_file(), "half a result is made again"
    assert run(batch_size=2).out == first.out, "computed otherwise, and still the same result"
    assert (first.out / "mask.nii.gz").stat().st_mtime_ns != written
    assert run(options=MapOptions(smoothing_mm=1.0)).out == first.out.with_name("a-2")
    (result,) = detect_cohort(cohort, model, tmp_path / "out", OWN, "residual", device="cpu").results
    assert (result["dice"], result["volume_ml"]) == (first.dice, first.volume_ml)


def test_the_results_of_another_model_are_not_replaced(cohort, model, vae_folder, tmp_path):
    detect_cohort(cohort, model, tmp_path / "out", OWN, "intensity", device="cpu")
    before = (tmp_path / "out" / "a" / "detection.json").read_bytes()
    with pytest.raises(OutputError, match="the result of tiny for a lies here"):
        detect_cohort(cohort, vae_folder, tmp_path / "out", OWN, "intensity", device="cpu")
    assert (tmp_path / "out" / "a" / "detection.json").read_bytes() == before


def test_a_model_stays_loaded_until_it_changes_or_another_is_wanted(model, vae_folder):
    loaded = LoadedModels()
    first = loaded.get(model, "cpu")
    assert loaded.get(str(model), "cpu") is first
    assert loaded.get(vae_folder, "cpu", [model]) is not first
    assert loaded.get(model, "cpu") is first, "it stayed beside the other"
    assert loaded.folder_of(first.sha256) == first.folder
    change(model / "model.json", score_scales={"intensity": 0.5})
    assert loaded.get(model, "cpu").card.score_scales == {"intensity": 0.5}
    loaded.clear()
    assert loaded.folder_of(first.sha256) is None


def test_a_model_that_the_window_keeps_is_not_loaded_again_by_its_queue(model):
    window, queue = LoadedModels(), LoadedModels()
    first = weakref.ref(window.get(model, "cpu"))
    assert queue.get(model, "cpu") is first()
    change(model / "model.json", score_scales={"intensity": 0.5})
    assert queue.get(model, "cpu") is not first(), "calibrated anew meanwhile"
    assert window.folder_of(first().sha256) == first().folder, "the window goes on with what it has"
    window.clear()
    gc.collect()
    assert first() is None, "nothing holds on to its weights"
