"""Visits whose sequences do not lie on one another, on the command line; and what is no scan of a whole head."""

import importlib.util
import json
import shlex
import shutil
import stat
import sys

import nibabel as nib
import numpy as np
import pytest

from made_up import FLAIR, SPACING, T1, angiogram, brain_of_head, ct, head, knee
from napari_cead.cli import run as run_cli
from scans import write_nifti

SHIFT = (8.0, -6.0, 4.0)
"""By how much the T1, and what was drawn on it, lie beside the FLAIR: RAS+ mm."""


def run(*arguments):
    return run_cli([str(argument) for argument in arguments])


def affine(volume, shift=(0, 0, 0)):
    z, y, x = SPACING
    made = np.diag([-x, -y, z, 1.0])
    made[:3, 3] = np.array([x * volume.shape[2], y * volume.shape[1], -z * volume.shape[0]]) / 2 + shift
    return made


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("visits") / "Mets_007"
    flair, t1 = head(FLAIR), head(T1)
    lesion = np.zeros(flair.shape, np.uint8)
    lesion[50:55, 40:48, 30:38] = 1
    write_nifti(folder / "flair.nii.gz", flair.T, affine(flair))
    for name, volume in (("t1_pre", t1), ("seg", lesion)):
        write_nifti(folder / f"{name}.nii.gz", volume.T, affine(volume, SHIFT))
    return folder


@pytest.fixture
def visit(written, tmp_path):
    """A FLAIR, and a T1 with a lesion mask on its own grid whose headers are wrong by SHIFT."""
    return shutil.copytree(written, tmp_path / "cohort" / "Mets_007")


@pytest.fixture
def finder(tmp_path):
    """A stripper that knows where the brain is in the T1."""
    if sys.platform == "win32":
        pytest.skip("the stand-in for a stripper is a script with a shebang")
    brain, script = brain_of_head().astype(np.uint8), tmp_path / "finder"
    mask = write_nifti(tmp_path / "brain.nii.gz", brain.T, affine(brain, SHIFT))
    script.write_text(f"#!{sys.executable}\nimport shutil, sys\nshutil.copy({str(mask)!r}, sys.argv[2])\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return f"command:{script} {{input}} {{output}}"


def test_a_visit_is_registered_recorded_and_repeated(visit, finder, model_folder, tmp_path, capsys):
    out = tmp_path / "out"
    asked = ("--strip", finder, "--strip-from", "t1_pre", "--register", "rigid")
    assert run("detect", visit, "--model", model_folder, "--out", out, "--device", "cpu", *asked) == 0
    said = capsys.readouterr().err
    assert "t1_pre was registered to flair: moved by" in said
    assert "the lesion mask was moved with t1_pre" in said
    described = json.loads((out / "detection.json").read_text())
    assert described["preparation"]["asked"]["register"] == "rigid"
    move = described["preparation"]["registered"]["t1_pre"]
    assert np.allclose(np.array(move["matrix"])[:3, 3], np.negative(SHIFT), atol=0.7)
    assert move["mm"] == pytest.approx(np.linalg.norm(SHIFT), abs=0.5)
    brain = nib.load(out / "brain_mask.nii.gz").get_fdata().T > 0
    truth = brain_of_head()
    assert 2 * np.count_nonzero(brain & truth) / (brain.sum() + truth.sum()) > 0.97

    command = shlex.split(described["command"]["shell"])
    assert command[command.index("--register") + 1] == "rigid"
    assert run(*command[1:]) == 0
    again = json.loads((out / "replay" / "detection.json").read_text())
    assert again["dice"] == described["dice"]
    assert again["preparation"]["registered"] == described["preparation"]["registered"]
    for name in ("mask", "anomaly_map", "brain_mask"):
        one, two = (nib.load(place / f"{name}.nii.gz").get_fdata() for place in (out, out / "replay"))
        assert np.array_equal(one, two), name

    more = ("--model", model_folder, "--out", tmp_path / "many", "--workers", 1)
    assert run("detect", visit.parent, *more, *asked) == 0
    (of_cohort,) = (tmp_path / "many").glob("**/detection.json")
    assert (
        json.loads(of_cohort.read_text())["preparation"]["registered"]
        == described["preparation"]["registered"]
    )


def test_without_being_asked_nothing_moves(visit, finder, model_folder, tmp_path, capsys):
    assert run("detect", visit, "--model", model_folder, "--out", tmp_path / "out", "--strip", finder) == 0
    assert "registered" not in capsys.readouterr().err
    described = json.loads((tmp_path / "out" / "detection.json").read_text())
    assert described["preparation"]["asked"]["register"] == "never"
    command = described["command"]["argv"]
    assert command[command.index("--register") + 1] == "never"


def test_a_store_is_prepared_from_registered_scans(visit, finder, tmp_path, capsys):
    asked = ("--strip", finder, "--strip-from", "t1_pre", "--register", "rigid")
    assert run("prepare", visit.parent, "--out", tmp_path / "store", *asked, "--split", "slice") == 0
    assert "the lesion mask was moved with t1_pre" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--register", "affine"), "'affine' is not one of"),
        (("--strip", "never", "--strip-from", "t1_pre"), "nothing looks for the brain"),
        (("--strip", "deepbet", "--strip-from", "t2"), "there is no 't2' sequence"),
    ],
)
def test_what_makes_no_sense_is_one_line(visit, model_folder, tmp_path, capsys, options, said):
    assert run("detect", visit, "--model", model_folder, "--out", tmp_path / "out", *options) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(importlib.util.find_spec("deepbet") is None, reason="deepbet is not installed")
@pytest.mark.parametrize(
    ("volume", "said"),
    [
        (ct, "a CT by its values"),
        # test_mask_doubts.py judges these as well; here deepbet's networks look for the brain.
        pytest.param(angiogram, "an angiogram", marks=pytest.mark.slow),
        pytest.param(knee, "cut through the brain", marks=pytest.mark.slow),
        (lambda: head()[:45], "cut through the brain: it ends inside it at the top"),
        pytest.param(
            lambda: head()[45:],
            "cut through the brain: it ends inside it at the bottom",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_is_no_mri_of_a_whole_head_is_one_sentence_and_nothing_written(
    volume, said, model_folder, tmp_path, capsys
):
    data = volume()
    scan = write_nifti(tmp_path / "odd_flair.nii.gz", data.T, affine(data))
    assert run("detect", scan, "--model", model_folder, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and said in error and str(scan) in error
    assert not (tmp_path / "out").exists()


def test_check_says_what_cannot_be_registered_and_what_is_not_there(visit, finder, tmp_path, capsys):
    run("check", visit.parent, "--strip", finder, "--strip-from", "t1_pre", "--register", "rigid")
    said = capsys.readouterr().out
    assert "cannot be registered" not in said and "preparation" not in said
    run("check", visit.parent, "--strip", finder, "--strip-from", "t2")
    assert "there is no t2 scan to look for the brain in" in capsys.readouterr().out
    noise = np.random.default_rng(0).normal(100, 10, head().shape).astype(np.float32)
    write_nifti(visit / "t1_pre.nii.gz", noise.T, affine(noise))
    assert run("check", visit.parent, "--register", "rigid") == 2
    assert "t1_pre cannot be registered" in capsys.readouterr().out
