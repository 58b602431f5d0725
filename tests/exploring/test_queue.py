import json
import shutil
import threading

import nibabel as nib
import numpy as np
import pytest

import napari_cead as cead
from napari_cead.detection.options import MapOptions
from napari_cead.errors import CeadError, ModelError, OutputError, ParameterError, PatientError
from napari_cead.exploring.queue import PER_PATIENT, DetectionQueue, RunSettings
from patience import PATIENCE


@pytest.fixture
def cohort(patient_folder, tmp_path):
    """Three patients; the scan of the second is cut off in the middle."""
    for name in ("a", "b", "c"):
        shutil.copytree(patient_folder, tmp_path / "cohort" / name)
    broken = tmp_path / "cohort" / "b" / "flair.nii.gz"
    broken.write_bytes(broken.read_bytes()[:500])
    return tmp_path / "cohort"


@pytest.fixture
def settings(model_folder):
    params = cead.PostprocessParams(threshold=0.75)
    return RunSettings(str(model_folder), "intensity", params, device="cpu", batch_size=4)


def states(queue):
    return {item.name: item.state for item in queue.items}


def recorded(out):
    return json.loads((out / "queue.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_folders_of_patients_are_expanded_and_duplicates_ignored(cohort, patient_folder):
    queue = DetectionQueue()
    changes = []
    queue.items_changed.connect(lambda: changes.append(len(queue.items)))
    assert [item.name for item in queue.add([cohort])] == ["a", "b", "c"]
    fresh = queue.add([cohort / "c", cohort.parent / "cohort" / ".." / "cohort", patient_folder])
    assert [item.path for item in fresh] == [patient_folder]
    assert [item.name for item in queue.items] == ["a", "b", "c", "Mets_001"]
    assert changes == [3, 4]
    queue.remove([cohort / "b"])
    assert list(states(queue)) == ["a", "c", "Mets_001"]


def test_what_is_no_patient_is_refused_and_the_others_are_added(cohort, tmp_path):
    queue = DetectionQueue()
    (tmp_path / "empty").mkdir()
    note = tmp_path / "note.txt"
    note.write_text("no scan")
    with pytest.raises(PatientError, match=r"empty: the folder is empty"):
        queue.add([tmp_path / "empty", cohort / "a", note, cohort / "c" / "flair.nii.gz"])
    assert [item.path.name for item in queue.items] == ["a", "flair.nii.gz"]
    with pytest.raises(PatientError, match="nowhere"):
        queue.add([tmp_path / "nowhere"])


def test_a_search_for_patients_can_be_stopped(cohort):
    queue = DetectionQueue()
    assert len(queue.add([cohort], should_stop=lambda: len(queue.items) > 0)) == 1


def test_results_are_those_of_detect_and_a_broken_patient_stops_nobody(cohort, settings, tmp_path):
    queue, out, seen, steps = DetectionQueue(), tmp_path / "out", [], []
    queue.item_changed.connect(lambda item: seen.append((item.name, item.state)))
    queue.add([cohort])
    result = queue.run(settings, out, on_progress=lambda *step: steps.append(step))

    assert (result.done, result.failed, result.waiting, result.cancelled) == (2, 1, 0, False)
    assert seen == [
        ("a", "running"),
        ("a", "done"),
        ("b", "running"),
        ("b", "failed"),
        ("c", "running"),
        ("c", "done"),
    ]
    first, broken, _ = queue.items
    patient = cead.load_patient(cohort / "a")
    direct = cead.detect(
        patient, cead.load_model(settings.model, device="cpu"), settings.params, settings.score
    )
    assert first.dice == direct.dice > 0
    assert first.volume_ml == pytest.approx(direct.mask.sum() * np.prod(patient.spacing) / 1000)
    assert first.seconds > 0
    mask, source = nib.load(first.out / "mask.nii.gz"), nib.load(cohort / "a" / "flair.nii.gz")
    assert first.out == out / "a"
    assert np.asarray(mask.dataobj).sum() == direct.mask.sum()
    np.testing.assert_allclose(mask.affine, source.affine)
    assert "b/flair.nii.gz: the image data cannot be read" in broken.reason.replace("\\", "/")
    assert broken.line.startswith("failed: flair.nii.gz: the image data cannot be read")
    assert "\n" not in broken.line
    assert not (out / "b").exists()

    done, totals = zip(*steps, strict=True)
    assert list(done) == sorted(done)
    assert set(totals) == {3 * PER_PATIENT}
    assert steps[-1] == (3 * PER_PATIENT, 3 * PER_PATIENT)
    assert any(0 < step < PER_PATIENT for step in done)


def test_the_list_on_disk_is_complete_after_every_patient(cohort, settings, tmp_path):
    queue, out, snapshots = DetectionQueue(), tmp_path / "out", []

    def look(item):
        if item.state == "running":  # what an interruption at this moment would leave
            snapshots.append([entry["state"] for entry in recorded(out)["items"]])

    queue.item_changed.connect(look)
    queue.add([cohort])
    queue.run(settings, out)
    assert snapshots == [
        ["waiting", "waiting", "waiting"],
        ["done", "waiting", "waiting"],
        ["done", "failed", "waiting"],
    ]
    final = recorded(out)
    assert final["schema_version"] == 1
    assert final["settings"]["model"] == settings.model
    assert final["settings"]["params"]["threshold"] == 0.75
    assert final["settings"]["options"] == MapOptions().model_dump()
    first, broken, _ = final["items"]
    described = json.loads((out / "a" / "detection.json").read_text(encoding="utf-8"))
    assert (first["dice"], first["volume_ml"]) == (described["dice"], described["volume_ml"])
    assert first["settings"] == final["settings"]
    assert first["out"] == str(out / "a")
    assert broken["reason"] == queue.items[1].reason
    assert broken["dice"] is None
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []


def test_another_queue_into_the_same_folder_keeps_the_first_ones_list(cohort, settings, tmp_path):
    out = tmp_path / "out"
    for name in ("a", "c"):
        queue = DetectionQueue()
        queue.add([cohort / name])
        queue.run(settings, out)
    assert [(item["name"], item["state"]) for item in recorded(out)["items"]] == [
        ("a", "done"),
        ("c", "done"),
    ]
    (out / "queue.json").write_text("[]")  # whatever it is, it does not stop a queue
    queue.retry([cohort / "c"])
    assert queue.run(settings, out).done == 1
    assert [item["name"] for item in recorded(out)["items"]] == ["c"]


def test_cancel_leaves_the_current_one_cancelled_and_the_rest_waiting(cohort, settings, tmp_path):
    queue, out, stop = DetectionQueue(), tmp_path / "out", threading.Event()
    queue.add([cohort / "a", cohort / "c"])

    def progress(done, total):
        if 0 < done < PER_PATIENT:  # in the middle of the first one's slices
            stop.set()

    result = queue.run(settings, out, should_stop=stop.is_set, on_progress=progress)
    assert result.cancelled
    assert (result.done, result.waiting) == (0, 2)
    assert states(queue) == {"a": "cancelled", "c": "waiting"}
    assert [item["state"] for item in recorded(out)["items"]] == ["cancelled", "waiting"]
    assert not (out / "a").exists()
    queue.retry()
    assert queue.run(settings, out).done == 2
    assert states(queue) == {"a": "done", "c": "done"}


def test_a_stop_before_the_start_changes_nothing(cohort, settings, tmp_path):
    queue = DetectionQueue()
    queue.add([cohort])
    assert queue.run(settings, tmp_path / "out", should_stop=lambda: True).cancelled
    assert set(states(queue).values()) == {"waiting"}
    assert not (tmp_path / "out").exists()


def test_patients_may_be_added_and_removed_while_it_runs(cohort, settings, tmp_path):
    queue, totals = DetectionQueue(), []
    queue.add([cohort / "a", cohort / "b"])

    def look(item):
        if (item.name, item.state) == ("a", "running"):
            queue.remove([cohort / "a", cohort / "b"])  # the one under way stays
            queue.add([cohort / "c"])

    queue.item_changed.connect(look)
    result = queue.run(settings, tmp_path / "out", on_progress=lambda done, total: totals.append(total))
    assert (result.done, result.failed) == (2, 0)
    assert states(queue) == {"a": "done", "c": "done"}
    assert max(totals) == 2 * PER_PATIENT
    queue.clear_done()
    assert queue.items == ()


def test_something_more_urgent_goes_first(cohort, settings, tmp_path):
    queue, urgent, waiting = DetectionQueue(), threading.Event(), threading.Event()
    queue.add([cohort / "a"])

    def wait():
        waiting.set()
        assert urgent.wait(20 * PATIENCE)

    worker = threading.Thread(target=queue.run, args=(settings, tmp_path / "out"), kwargs={"wait": wait})
    worker.start()
    assert waiting.wait(20 * PATIENCE)
    assert states(queue) == {"a": "waiting"}
    assert queue.running
    with pytest.raises(CeadError, match="running already"):
        queue.run(settings, tmp_path / "out")
    urgent.set()
    worker.join(20)
    assert states(queue) == {"a": "done"}
    assert not queue.running


def test_patients_of_the_same_name_get_folders_of_their_own(patient_folder, settings, tmp_path):
    places = [tmp_path / site / "Mets_001" for site in ("here", "there")]
    for place in places:
        shutil.copytree(patient_folder, place)
    queue, out = DetectionQueue(), tmp_path / "out"
    queue.add(places)
    queue.run(settings, out)
    assert [item.out for item in queue.items] == [out / "Mets_001", out / "Mets_001-2"]
    sources = [
        json.loads((item.out / "detection.json").read_text())["sources"]["flair"]["path"]
        for item in queue.items
    ]
    assert sources == [str(place / "flair.nii.gz") for place in places]


def test_a_result_is_replaced_by_its_own_repetition_alone(patient_folder, settings, tmp_path):
    queue, out = DetectionQueue(), tmp_path / "out"
    queue.add([patient_folder])
    folders = []
    other = RunSettings(settings.model, "residual", settings.params, device="cpu")
    smooth = RunSettings(
        settings.model, "intensity", settings.params, device="cpu", options=MapOptions(smoothing_mm=2.0)
    )
    for chosen in (settings, settings, other, other, smooth):
        queue.retry([patient_folder])
        queue.run(chosen, out)
        folders.append(queue.items[0].out.name)
    assert folders == ["Mets_001", "Mets_001", "Mets_001-2", "Mets_001-2", "Mets_001-3"]


@pytest.mark.parametrize("where", [".", "a", "a/results", "c/../a"])
def test_nothing_is_written_among_the_patients_own_files(cohort, settings, where):
    before = sorted(cohort.rglob("*"))
    queue = DetectionQueue()
    queue.add([cohort])
    with pytest.raises(OutputError, match="among the patients' own files"):
        queue.run(settings, cohort / where)
    assert sorted(cohort.rglob("*")) == before
    assert set(states(queue).values()) == {"waiting"}


def test_a_folder_of_a_patient_outside_the_queue_is_refused(cohort, settings, patient_folder):
    queue = DetectionQueue()
    queue.add([cohort / "a"])
    with pytest.raises(OutputError, match="own files"):
        queue.run(settings, patient_folder)
    assert not (patient_folder / "queue.json").exists()


def test_an_output_folder_that_fails_ends_the_run_and_the_patient_waits(
    cohort, settings, tmp_path, monkeypatch
):
    queue = DetectionQueue()
    queue.add([cohort / "a", cohort / "c"])

    def full(*_args, **_kwargs):
        raise OutputError("the results cannot be written (No space left on device)", file=tmp_path)

    with monkeypatch.context() as patched:
        patched.setattr("napari_cead.detection.cohort.save_detection", full)
        with pytest.raises(OutputError, match="No space left"):
            queue.run(settings, tmp_path / "out")
    assert states(queue) == {"a": "waiting", "c": "waiting"}
    assert queue.run(settings, tmp_path / "out").done == 2


def test_an_unexpected_error_is_one_patients_failure(cohort, settings, tmp_path, monkeypatch):
    from napari_cead.detection import cohort as module

    real = module.load_patient

    def strange(path, *args, **kwargs):
        if path.name == "a":
            raise ZeroDivisionError("a bug\nin two lines")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(module, "load_patient", strange)
    queue = DetectionQueue()
    queue.add([cohort / "a", cohort / "c"])
    assert queue.run(settings, tmp_path / "out").failed == 1
    assert states(queue) == {"a": "failed", "c": "done"}
    assert queue.items[0].reason.endswith(
        "unexpected ZeroDivisionError: a bug in two lines; please report this"
    )


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"model": "nothing-like-it"}, ModelError),
        ({"score": "luck"}, ParameterError),
        ({"score": "kl-gradient"}, ParameterError),
        ({"batch_size": 0}, ParameterError),
        ({"device": "abacus"}, ParameterError),
    ],
)
def test_settings_that_cannot_run_are_no_patients_fault(cohort, settings, tmp_path, changes, error):
    queue = DetectionQueue()
    queue.add([cohort / "a"])
    with pytest.raises(error):
        queue.run(RunSettings(**{**vars(settings), **changes}), tmp_path / "out")
    assert states(queue) == {"a": "waiting"}
    assert not (tmp_path / "out").exists()


def test_a_missing_sequence_is_said(cohort, settings, tmp_path):
    queue = DetectionQueue()
    queue.add([cohort / "a"])
    queue.run(RunSettings(**{**vars(settings), "sequence": "bravo"}), tmp_path / "out")
    assert "there is no bravo scan, only flair, t1_gd" in queue.items[0].reason


def test_settings_in_one_line():
    assert RunSettings("ce-vae1").line == "ce-vae1 · suggested score · default settings · flair"
    assert "suggested settings" in RunSettings("ce-vae1", params="suggested").line
    params = cead.PostprocessParams(threshold=0.123, closing_radius=0, inside_brain=False)
    options = MapOptions(smoothing_mm=1.5)
    settings = RunSettings("/models/tiny", "residual", params, device="cpu", options=options)
    assert settings.line == (
        "tiny · residual · threshold 0.123 · area opening 60 % · dilation radius 1 px · stay inside the brain: no · "
        "smoothing 1.5 mm · flair · cpu"
    )
