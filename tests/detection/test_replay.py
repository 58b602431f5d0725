"""The command in a saved result makes the identical files."""

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace

import nibabel as nib
import nibabel.processing
import numpy as np
import pytest
import torch
from PIL import Image

import model_folders
import napari_cead as cead
from napari_cead.cli import run
from napari_cead.detection import MapOptions, ReconstructionCache, save_detection
from napari_cead.detection import run as run_network
from napari_cead.detection.corrections import Corrections, corrected
from napari_cead.detection.replay import Origin, find_origin, model_argument
from napari_cead.errors import OutputError
from napari_cead.patients import Patient
from scans import make_brain

RESULTS = ("mask.nii.gz", "anomaly_map.nii.gz", "reconstruction.nii.gz")


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    return model_folders.save(
        tmp_path_factory.mktemp("models") / "tiny-vae", score_scales={"kl-gradient": 1e-4}
    )


@pytest.fixture
def png_folder(tmp_path):
    """A patient in BrainMetShare's PNG layout; FLAIR is the folder 3."""
    volume, lesion = make_brain()
    folder = tmp_path / "png" / "Mets_007"
    for name, data in (("3", volume.clip(0, 255)), ("seg", lesion * 255)):
        (folder / name).mkdir(parents=True)
        for z, pixels in enumerate(data.astype(np.uint8)):
            Image.fromarray(pixels).save(folder / name / f"{z:03d}.png")
    return folder


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def painted_on(result):
    """Corrections that add and erase something."""
    painted = result.mask.copy()
    painted[5, 2:5, 2:6] = True
    z, y, x = np.argwhere(result.mask)[0]
    painted[z, y, x] = False
    return Corrections.between(result.mask, painted)


def export(patient, model, out, paint=False, **how):
    result = cead.detect(patient, cead.load_model(model, device="cpu"), **how)
    if not paint:
        return save_detection(result, out)
    corrections = painted_on(result)
    return save_detection(corrected(result, corrections), out, corrections=corrections, automatic=result.mask)


def replay(facts, out, capsys):
    """Run the command in this process; return what its own summary says."""
    program, *arguments = facts["command"]["argv"]
    assert program == "napari-cead"
    assert run(arguments) == 0, capsys.readouterr().err
    for name in RESULTS:
        assert sha256(out / "replay" / name) == sha256(out / name) == facts["files"][name], name
    return json.loads((out / "replay" / "detection.json").read_text())


VARIANTS = {
    "as suggested": {},
    "every setting": {
        "params": cead.PostprocessParams(
            threshold=0.1 + 0.2,
            closing_radius=1,
            area_fraction=1 / 3,
            dilation_radius=2,
            min_area_mm2=np.pi,
        )
    },
    "smoothed and eroded": {"options": MapOptions(smoothing_mm=1.1, erosion_radius=2), "score": "residual"},
    "batches of 4": {"batch_size": 4},
    "painted": {"paint": True, "params": cead.PostprocessParams(threshold=0.3), "score": "intensity"},
}


@pytest.mark.parametrize("how", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.usefixtures("quiet")
def test_the_command_makes_the_identical_files(patient_folder, model_folder, tmp_path, capsys, how):
    out = tmp_path / "export"
    facts = export(cead.load_patient(patient_folder), model_folder, out, **how)
    again = replay(facts, out, capsys)
    same = (
        "params",
        "options",
        "score",
        "sha256",
        "batch_size",
        "device",
        "dice",
        "volume_ml",
        "preprocessing",
    )
    assert {name: again[name] for name in same} == {name: facts[name] for name in same}
    assert facts["command"]["argv"][2] == str(patient_folder)
    assert not (out / "scan.nii.gz").exists()
    # The command of the replay is the same but for where it writes, and where the painting lies.
    mine, other = facts["command"]["argv"], again["command"]["argv"]
    assert [a for a, b in zip(mine, other, strict=True) if a != b] == [
        *([str(out / "corrections.nii.gz")] if "paint" in how else []),
        str(out / "replay"),
    ]


@pytest.mark.usefixtures("quiet")
def test_the_gradient_of_a_vae_is_repeated_too(patient_folder, vae, tmp_path, capsys):
    out = tmp_path / "export"
    params = cead.PostprocessParams(threshold=0.3)
    facts = export(cead.load_patient(patient_folder), vae, out, params=params, score="kl-gradient")
    assert replay(facts, out, capsys)["score"] == "kl-gradient"
    assert 0 < np.asarray(nib.load(out / "mask.nii.gz").dataobj).mean() < 0.9


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.usefixtures("quiet")
def test_png_slices_keep_their_side(png_folder, model_folder, tmp_path, capsys, side):
    out = tmp_path / "export"
    patient = cead.load_patient(png_folder, png_first_column=side)
    params = cead.PostprocessParams(threshold=0.4)
    facts = export(patient, model_folder, out, paint=True, params=params, score="intensity")
    argv = facts["command"]["argv"]
    assert argv[argv.index("--png-first-column") + 1] == side
    assert argv[argv.index("--mask") + 1] == str(png_folder / "seg")
    assert replay(facts, out, capsys)["dice"] == facts["dice"]


@pytest.mark.usefixtures("quiet")
def test_png_slices_of_another_voxel_size_are_written_as_a_scan(png_folder, model_folder, tmp_path, capsys):
    out = tmp_path / "export"
    patient = cead.load_patient(png_folder, png_spacing=(2.0, 1.3, 1.3))
    facts = export(patient, model_folder, out, params=cead.PostprocessParams(min_area_mm2=20.0))
    assert facts["command"]["argv"][2] == str(out / "scan.nii.gz")
    replay(facts, out, capsys)


# 0.5 is exact in single precision, the others are not; 1.3 mm is resampled in plane, where sizes matter.
@pytest.mark.parametrize("spacing", [(1.5, 0.5, 0.5), (1.0, 0.94, 0.94), (1.1, 1.3, 1.2)])
@pytest.mark.usefixtures("quiet")
def test_layers_of_a_viewer_are_written_and_used(model_folder, tmp_path, capsys, spacing):
    volume, lesion = make_brain()
    patient = Patient.from_arrays({"my scan [1]": volume}, lesion_mask=lesion, spacing=spacing, name="layer")
    out = tmp_path / "ex port"
    facts = export(
        patient,
        model_folder,
        out,
        paint=True,
        options=MapOptions(smoothing_mm=0.7),
        params=cead.PostprocessParams(threshold=0.2, min_area_mm2=3.0),
    )
    argv = facts["command"]["argv"]
    assert argv[2] == str(out / "scan.nii.gz")
    assert argv[argv.index("--mask") + 1] == str(out / "reference.nii.gz")
    assert shlex.split(facts["command"]["shell"]) == argv
    assert facts["sources"]["my scan [1]"]["sha256"] == sha256(out / "scan.nii.gz")
    assert replay(facts, out, capsys)["dice"] == facts["dice"]


@pytest.mark.usefixtures("quiet")
def test_another_reference_than_the_file_is_written_and_used(patient_folder, model_folder, tmp_path, capsys):
    patient = cead.load_patient(patient_folder)
    reference = np.zeros(patient.shape, bool)
    reference[4:8, 20:40, 10:30] = True
    out = tmp_path / "export"
    facts = export(patient.with_lesion_mask(reference), model_folder, out, score="intensity")
    argv = facts["command"]["argv"]
    assert argv[2] == str(patient_folder)
    assert argv[argv.index("--mask") + 1] == str(out / "reference.nii.gz")
    assert replay(facts, out, capsys)["dice"] == facts["dice"] != 0


@pytest.mark.usefixtures("quiet")
def test_a_scan_that_changed_on_disk_is_not_trusted(patient_folder, model_folder, tmp_path, capsys):
    patient = cead.load_patient(patient_folder)
    shutil.copyfile(patient_folder / "t1_gd.nii.gz", patient_folder / "flair.nii.gz")
    assert find_origin(patient) is None
    out = tmp_path / "export"
    facts = export(patient, model_folder, out)
    assert facts["command"]["argv"][2] == str(out / "scan.nii.gz")
    replay(facts, out, capsys)


@pytest.mark.usefixtures("quiet")
def test_a_sequence_resampled_onto_another_is_not_that_on_disk(
    patient_folder, model_folder, tmp_path, capsys
):
    source = nib.load(patient_folder / "t1_gd.nii.gz")
    coarse = nib.processing.resample_to_output(source, (1.8, 1.9, 1.5), order=1)
    nib.save(coarse, patient_folder / "t1_gd.nii.gz")
    patient = cead.load_patient(patient_folder).select("t1_gd")
    out = tmp_path / "export"
    facts = export(patient, model_folder, out)
    assert facts["command"]["argv"][2] == str(out / "scan.nii.gz")
    replay(facts, out, capsys)


@pytest.mark.usefixtures("quiet")
def test_where_a_patient_can_be_loaded_from(patient_folder, png_folder, tmp_path):
    mask = patient_folder / "seg.nii.gz"
    folder = cead.load_patient(patient_folder)
    assert find_origin(folder) == Origin(patient_folder, mask)
    assert find_origin(folder.with_lesion_mask(None)) == Origin(patient_folder)
    assert find_origin(folder.select("t1_gd")) == Origin(patient_folder, mask)
    single = tmp_path / "single" / "sub-01.nii.gz"
    single.parent.mkdir()
    shutil.copyfile(patient_folder / "flair.nii.gz", single)
    assert find_origin(cead.load_patient(single)) == Origin(single)
    assert find_origin(cead.load_patient(png_folder)) == Origin(png_folder, png_folder / "seg", "left")
    picture = tmp_path / "pictures" / "flair" / "one.png"
    picture.parent.mkdir(parents=True)
    shutil.copyfile(png_folder / "3" / "006.png", picture)
    assert find_origin(cead.load_patient(picture)) == Origin(picture, None, "left")
    assert find_origin(Patient.from_arrays({"flair": folder.volume()})) is None


def test_a_listed_model_goes_by_its_name_and_another_by_its_folder(model_folder, tmp_path, monkeypatch):
    assert model_argument("tiny", model_folder) == str(model_folder)
    monkeypatch.setenv("NAPARI_CEAD_HOME", str(tmp_path))
    installed = shutil.copytree(model_folder, tmp_path / "models" / "tiny")
    assert model_argument("tiny", installed) == "tiny"
    # The same weights, but its card may be another one.
    assert model_argument("tiny", model_folder) == str(model_folder)


@pytest.mark.usefixtures("quiet")
def test_the_card_that_was_used_is_used_again(patient_folder, vae, tmp_path, capsys, monkeypatch):
    """A copy with a constant of its own has the weights, and the name, of an installed model without one."""
    monkeypatch.setenv("NAPARI_CEAD_HOME", str(tmp_path))
    model_folders.save(tmp_path / "models" / "tiny-vae")
    out = tmp_path / "export"
    facts = export(cead.load_patient(patient_folder), vae, out, score="kl-gradient")
    assert replay(facts, out, capsys)["sha256"] == cead.load_model("tiny-vae", device="cpu").sha256


@pytest.mark.usefixtures("quiet")
def test_a_second_export_leaves_nothing_of_the_first(model_folder, tmp_path):
    volume, lesion = make_brain()
    patient = Patient.from_arrays({"flair": volume}, lesion_mask=lesion)
    export(patient, model_folder, tmp_path / "out", paint=True, score="intensity")
    extras = {"corrections.nii.gz", "mask_automatic.nii.gz", "reference.nii.gz"}
    assert extras < {path.name for path in (tmp_path / "out").iterdir()}
    facts = export(patient.with_lesion_mask(None), model_folder, tmp_path / "out")
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {*facts["files"], "detection.json"} == {*RESULTS, "scan.nii.gz", "detection.json"}


def test_a_scan_of_the_users_is_never_replaced(model_folder, tmp_path):
    patient = Patient.from_arrays({"flair": make_brain()[0]})
    (tmp_path / "scan.nii.gz").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"scan\.nii\.gz"):
        export(patient, model_folder, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["scan.nii.gz"]
    assert (tmp_path / "scan.nii.gz").read_bytes() == b"mine"


def test_a_patient_that_no_file_can_hold_has_no_command(model_folder, tmp_path):
    patient = Patient.from_arrays({"flair": make_brain()[0]}, spacing=(1.5, 0.94, 0.94))
    odd = replace(patient, spacing=(1.0, 1.0, 1.0))
    facts = export(odd, model_folder, tmp_path / "out")
    assert facts["command"] is None
    assert "no command repeats" in facts["warnings"][-1]
    assert set(facts["files"]) == set(RESULTS)


def test_the_threads_are_those_of_the_run_and_tell_results_apart(model_folder, tmp_path):
    """A window computes with one thread less than an export from a script."""
    patient, cache = Patient.from_arrays({"flair": make_brain()[0]}), ReconstructionCache()
    detector, before = cead.load_model(model_folder, device="cpu"), torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        made = run_network(patient, detector, cache=cache)
        result = cead.detect(patient, detector)
    finally:
        torch.set_num_threads(before)
    assert made.threads == result.threads == before + 1
    argv = save_detection(result, tmp_path / "out")["command"]["argv"]
    assert argv[argv.index("--threads") + 1] == str(before + 1)
    assert not run_network(patient, detector, cache=cache).from_cache
    assert run_network(patient, detector, cache=cache).from_cache


@pytest.mark.usefixtures("quiet")
def test_the_shell_line_runs_as_a_program_of_its_own(patient_folder, model_folder, tmp_path):
    out = tmp_path / "it's an export"
    facts = export(cead.load_patient(patient_folder), model_folder, out, paint=True, score="intensity")
    _, *arguments = shlex.split(facts["command"]["shell"])
    done = subprocess.run(
        [sys.executable, "-m", "napari_cead", *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert sha256(out / "replay" / "mask.nii.gz") == sha256(out / "mask.nii.gz")
    assert sha256(out / "replay" / "mask_automatic.nii.gz") == sha256(out / "mask_automatic.nii.gz")


@pytest.mark.usefixtures("quiet")
def test_the_real_patient_is_repeated_with_the_bundled_model(real_data, tmp_path, capsys):
    out = tmp_path / "export"
    facts = export(cead.load_patient(real_data / "patient26"), "ce-vae1", out)
    argv = facts["command"]["argv"]
    assert argv[argv.index("--model") + 1] == "ce-vae1"
    replay(facts, out, capsys)
