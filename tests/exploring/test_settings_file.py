import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import napari_cead as cead
from model_folders import one_sentence
from napari_cead.cli import run
from napari_cead.detection import MapOptions, save_detection
from napari_cead.detection.corrections import Corrections, corrected
from napari_cead.errors import MaskError, ParameterError
from napari_cead.exploring import Session
from napari_cead.exploring.settings_file import (
    Source,
    check_same_patient,
    export_analysis,
    load_corrections,
    read_settings,
)
from napari_cead.patients import Patient
from scans import make_brain, write_nifti

PARAMS = cead.PostprocessParams(threshold=0.1 + 0.2, closing_radius=0, min_area_mm2=1 / 3)
OPTIONS = MapOptions(smoothing_mm=0.9, erosion_radius=1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, model_folder):
    """A patient and an export with corrections: (patient's folder, export's folder, corrections)."""
    here = tmp_path_factory.mktemp("exported")
    volume, lesion = make_brain()
    for name, data in (("flair", volume), ("t1_gd", volume * 0.5), ("seg", lesion.astype(np.uint8))):
        stored = np.transpose(data, (2, 1, 0))[::-1, ::-1]
        write_nifti(here / "Mets_001" / f"{name}.nii.gz", stored, np.diag([0.9, 0.95, 1.5, 1]))
    patient = cead.load_patient(here / "Mets_001")
    detector = cead.load_model(model_folder, device="cpu")
    result = cead.detect(patient, detector, PARAMS, "intensity", options=OPTIONS, batch_size=5)
    painted = result.mask.copy()
    painted[5, 2:4, 2:4] = ~painted[5, 2:4, 2:4]
    painted[6, 30, 25] = ~painted[6, 30, 25]
    corrections = Corrections.between(result.mask, painted)
    better = corrected(result, corrections)
    export_analysis(better, here / "export", corrections=corrections, automatic=result.mask)
    return here / "Mets_001", here / "export", corrections


@pytest.fixture
def patient(exported):
    return cead.load_patient(exported[0])


@pytest.fixture
def painted(exported, tmp_path):
    """A copy of the export, and its corrections."""
    _, folder, corrections = exported
    return shutil.copytree(folder, tmp_path / "export"), corrections


def edit(folder, **changes):
    file = folder / "settings.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return file


def test_settings_come_back_as_they_were(painted, model_folder):
    folder, _ = painted
    settings = read_settings(folder)
    assert settings == read_settings(folder / "settings.json")
    assert (settings.params, settings.options) == (PARAMS, OPTIONS)
    assert (settings.model, settings.score, settings.sequence) == ("tiny", "intensity", "flair")
    assert (settings.batch_size, settings.device, settings.patient) == (5, "cpu", "Mets_001")
    assert settings.sha256 == cead.load_model(model_folder, device="cpu").sha256
    assert settings.corrections_file == folder / "corrections.nii.gz"
    assert set(settings.sources) == {"flair", "seg"}


def test_what_was_painted_comes_back(painted, patient):
    folder, corrections = painted
    again = load_corrections(read_settings(folder), patient)
    np.testing.assert_array_equal(again.volume(), corrections.volume())


def test_an_export_can_be_moved(painted, patient, tmp_path):
    folder, corrections = painted
    moved = folder.rename(tmp_path / "elsewhere")
    again = load_corrections(read_settings(moved), patient)
    np.testing.assert_array_equal(again.volume(), corrections.volume())


def test_the_summary_of_the_command_line_is_read_too(patient, model_folder, tmp_path):
    result = cead.detect(patient, cead.load_model(model_folder, device="cpu"), PARAMS)
    save_detection(result, tmp_path / "out")
    settings = read_settings(tmp_path / "out")
    assert settings.file.name == "detection.json"
    assert (settings.params, settings.options) == (PARAMS, MapOptions())
    assert load_corrections(settings, patient) is None


def brain_in_memory():
    volume, lesion = make_brain()
    return Patient.from_arrays({"a layer": volume}, lesion_mask=lesion, spacing=(1.5, 0.94, 0.94))


def brain_in_pictures(folder):
    for z, pixels in enumerate(make_brain()[0].clip(0, 255).astype(np.uint8)):
        (folder / "3").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "3" / f"{z:03d}.png")
    return cead.load_patient(folder)


@pytest.mark.parametrize("kind", ["files", "pictures", "layers"])
def test_a_session_is_repeated_by_the_command(patient, model_folder, tmp_path, capsys, kind):
    session = Session()
    chosen = {
        "files": lambda: patient,
        "pictures": lambda: brain_in_pictures(tmp_path / "Mets_002"),
        "layers": brain_in_memory,
    }
    session.use(chosen[kind]())
    session.detect(model_folder, "intensity", device="cpu")
    session.set(threshold=1 / 3, dilation_radius=0)
    painted = session.mask.astype(np.uint8)
    painted[5, 2:4, 2:4] = 1 - painted[5, 2:4, 2:4]
    session.correct(painted)
    facts = session.export(tmp_path / "out")
    assert run(list(facts["command"]["argv"][1:])) == 0, capsys.readouterr().err
    for name in ("mask.nii.gz", "mask_automatic.nii.gz", "corrections.nii.gz", "anomaly_map.nii.gz"):
        assert (tmp_path / "out" / "replay" / name).read_bytes() == (tmp_path / "out" / name).read_bytes(), (
            name
        )
    settings = read_settings(tmp_path / "out")
    assert settings.params == session.params
    assert check_same_patient(settings, session.patient) == []
    np.testing.assert_array_equal(
        load_corrections(settings, session.patient).apply(session.analysis.automatic), painted > 0
    )


def test_the_same_patient_is_known_by_its_voxels(painted, patient):
    settings = read_settings(painted[0])
    assert check_same_patient(settings, patient) == []
    # Other files, or none, with the same values are the same patient.
    assert check_same_patient(settings, replace(patient, files={})) == []


def test_what_differs_is_said(painted, patient):
    settings = read_settings(painted[0])
    changed = patient.volume().copy()
    changed[6, 30, 25] += 1
    other = replace(patient, sequences={"flair": changed}, name="Mets_002")
    (note,) = check_same_patient(settings, other)
    assert "another scan (Mets_001) than Mets_002" in note
    (note,) = check_same_patient(settings, patient.with_lesion_mask(~patient.lesion_mask))
    assert "lesion mask" in note
    (note,) = check_same_patient(settings, patient.with_lesion_mask(None))
    assert "lesion mask" in note
    (note,) = check_same_patient(settings, patient.select("t1_gd"))
    assert "made for flair, this is t1_gd" in note


def test_without_checksums_of_voxels_the_files_are_compared(painted, exported, tmp_path):
    settings = read_settings(painted[0])
    folder = shutil.copytree(exported[0], tmp_path / "copy")
    patient = cead.load_patient(folder)
    files_only = {name: Source(sha256=source.sha256) for name, source in settings.sources.items()}
    old = replace(settings, sources=files_only)
    assert check_same_patient(old, patient) == []
    with (folder / "flair.nii.gz").open("ab") as file:
        file.write(b"x")
    assert len(check_same_patient(old, patient)) == 1


def bad_files():
    good = {
        "threshold": 0.5,
        "closing_radius": 1,
        "area_fraction": 0.5,
        "dilation_radius": 1,
        "min_area_mm2": 0.0,
    }
    return {
        "another version": ({"schema_version": 2}, "schema version 2"),
        "true is no version": ({"schema_version": True}, "schema version"),
        "no params": ({"params": None}, "params"),
        "a string for a number": ({"params": good | {"threshold": "0.5"}}, "threshold must be a number"),
        "a bool for a number": ({"params": good | {"closing_radius": True}}, "closing_radius must be"),
        "out of range": ({"params": good | {"threshold": 7}}, "threshold must be a number from 0 to 1"),
        "odd options": ({"options": {"smoothing_mm": -1.0, "erosion_radius": 0}}, "smoothing_mm must be"),
        "no batch": ({"batch_size": 0}, "batch_size"),
        "batch of a word": ({"batch_size": "16"}, "batch_size"),
        "a path for a model": ({"model": "../elsewhere/model"}, "model"),
        "an absolute path": ({"model": "/etc"}, "model"),
        "no checksum": ({"sha256": "f00"}, "sha256"),
        "no such device": ({"device": "cpu; rm"}, "device"),
        "sources are a list": ({"sources": []}, "sources"),
        "a source is a word": ({"sources": {"flair": "x"}}, "sources.flair"),
        "corrections elsewhere": ({"corrections": {"file": "../corrections.nii.gz"}}, "corrections.file"),
        "corrections anywhere": ({"corrections": {"file": "/tmp/c.nii.gz"}}, "corrections.file"),
        "corrections hidden": ({"corrections": {"file": "..\\c.nii.gz"}}, "corrections.file"),
        "corrections of a drive": ({"corrections": {"file": "C:c.nii.gz"}}, "corrections.file"),
        "corrections of another kind": ({"corrections": {"file": "passwd"}}, "corrections.file"),
    }


def without(folder, *keys):
    """Take a key out of the exported settings."""
    file = folder / "settings.json"
    values = json.loads(file.read_text())
    part = values
    for key in keys[:-1]:
        part = part[key]
    del part[keys[-1]]
    file.write_text(json.dumps(values))


def test_what_is_exported_is_read_without_a_word(painted):
    assert read_settings(painted[0]).notes == ()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (("params", "area_fraction"), "area_fraction is missing and taken as 0.6"),
        (
            ("params", "inside_brain"),
            "inside_brain is missing and taken as true; the mask may differ at the brain's edge",
        ),
        (("options", "erosion_radius"), "erosion_radius is missing and taken as 0"),
        (("options",), "options is missing and taken as {}"),
        (("batch_size",), "batch_size is missing and taken as 32"),
        (("sources",), "sources is missing and taken as {}"),
    ],
)
def test_a_missing_key_is_the_default_and_said(painted, keys, said):
    without(painted[0], *keys)
    settings = read_settings(painted[0])
    assert settings.notes == (f"settings.json: {said}",)
    if keys[0] == "params":
        default = {keys[1]: getattr(cead.PostprocessParams(), keys[1])}
        assert settings.params == PARAMS.replace(**default)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda values: values.update(contrast="high"), "contrast"),
        (lambda values: values["params"].update(opening=3), "opening"),
        (lambda values: values["options"].update(sharpening_mm=1.0), "sharpening_mm"),
        (lambda values: values["sources"]["flair"].update(md5="0"), "sources.flair.md5"),
        (lambda values: values["corrections"].update(by="somebody"), "corrections.by"),
    ],
)
def test_a_key_of_a_newer_version_is_ignored_and_named(painted, change, named):
    file = painted[0] / "settings.json"
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))
    settings = read_settings(painted[0])
    (note,) = settings.notes
    assert note.startswith(f"settings.json: {named}: not known to this version, and ignored")
    assert (settings.params, settings.options) == (PARAMS, OPTIONS)


def test_restoring_says_what_was_missing(painted, patient, model_folder):
    without(painted[0], "params", "inside_brain")
    session = Session()
    session.use(patient)
    session.detect(model_folder, device="cpu")
    notes = session.restore(painted[0], device="cpu")
    assert any("inside_brain is missing and taken as true" in note for note in notes)
    assert session.params == PARAMS


@pytest.mark.parametrize(("changes", "words"), bad_files().values(), ids=bad_files())
def test_a_file_that_is_not_valid_is_one_sentence(painted, changes, words):
    edit(painted[0], **changes)
    with pytest.raises(ParameterError, match=words) as error:
        read_settings(painted[0])
    assert "settings.json" in one_sentence(error)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"{'schema_version': 1}", "not valid JSON"),
        (b'{"schema_version": 1, "batch_size": NaN}', "NaN"),
        (b"[1]", "schema version"),
        (b"[" * 100_000, "not valid JSON"),
        (b" " * (5 << 20), "too large"),
        (b'{"schema_version": 1}', "model: Field required"),
    ],
)
def test_what_is_no_settings_file_is_one_sentence(tmp_path, content, words):
    (tmp_path / "settings.json").write_bytes(content)
    with pytest.raises(ParameterError, match=words) as error:
        read_settings(tmp_path)
    assert "settings.json" in one_sentence(error)


def test_a_number_too_large_for_a_number_is_one_sentence(painted):
    file = painted[0] / "settings.json"
    text = file.read_text()
    assert '"min_area_mm2": 0.3333333333333333' in text
    file.write_text(text.replace('"min_area_mm2": 0.3333333333333333', '"min_area_mm2": 1e999'))
    with pytest.raises(ParameterError, match="min_area_mm2 must be") as error:
        read_settings(file)
    one_sentence(error)


def test_where_there_are_none_is_one_sentence(tmp_path):
    for path, words in ((tmp_path, "neither"), (tmp_path / "nowhere.json", "no such file")):
        with pytest.raises(ParameterError, match=words) as error:
            read_settings(path)
        one_sentence(error)


def test_values_of_a_later_version_are_passed_over(painted):
    edit(painted[0], mood="good")
    assert read_settings(painted[0]).params == PARAMS


@pytest.mark.parametrize("what", ["missing", "changed", "a link", "another patient"])
def test_corrections_that_cannot_be_trusted_are_one_sentence(painted, patient, tmp_path, what):
    folder, _ = painted
    file = folder / "corrections.nii.gz"
    if what == "missing":
        file.unlink()
    elif what == "changed":
        cead.save_volume(np.ones(patient.shape, np.uint8), patient, file)
    elif what == "a link":
        file.symlink_to(file.rename(tmp_path / "elsewhere.nii.gz"))
    else:
        patient = Patient.from_arrays({"flair": make_brain((5, 20, 20))[0]})
    with pytest.raises(MaskError) as error:
        load_corrections(read_settings(folder), patient)
    assert "corrections.nii.gz" in one_sentence(error)
