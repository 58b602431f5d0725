"""Disks that are full, read-only or gone, odd names and loops of links: one sentence, exit 2, nothing half-written."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from napari_cead.cli.app import run
from napari_cead.patients import find_patients
from napari_cead.patients.formats import nifti
from scans import make_brain, write_nifti

OUTPUTS = {"anomaly_map.nii.gz", "reconstruction.nii.gz", "mask.nii.gz", "detection.json", "config.yaml"}


@pytest.fixture
def detect(model_folder, capsys):
    def call(patient, out, *more):
        status = run(
            [
                "detect",
                str(patient),
                "--model",
                str(model_folder),
                "--out",
                str(out),
                "--device",
                "cpu",
                *more,
            ]
        )
        return status, capsys.readouterr().err

    return call


def one_line(error: str) -> str:
    (line,) = [line for line in error.splitlines() if not line.startswith("warning:")]
    assert line.startswith("error: ")
    assert ";" in line
    return line


@pytest.mark.parametrize(
    "name", ["with spaces  in it", "Ünïcødé 脑部 мозг", 'quote\'s "and" $HOME', "n" * 200, "-o", "a\tb"]
)
def test_odd_names(detect, patient_folder, tmp_path, name):
    place = tmp_path / "in" / name
    shutil.copytree(patient_folder, place)
    status, error = detect(place, tmp_path / "out" / name)
    assert status == 0, error
    assert {file.name for file in (tmp_path / "out" / name).iterdir()} == OUTPUTS
    kept = tmp_path / "out" / name / "config.yaml"
    assert yaml.safe_load(kept.read_text("utf-8"))["patient"] == str(place)
    assert run(["detect", "--config", str(kept), "--out", str(tmp_path / "again")]) == 0


def test_a_name_that_is_too_long_is_one_sentence(detect, patient_folder, tmp_path):
    status, error = detect(patient_folder, tmp_path / ("n" * 300))
    assert status == 2
    assert "too long" in one_line(error)
    status, error = detect(tmp_path / ("n" * 300), tmp_path / "out")
    assert status == 2
    one_line(error)


def test_loops_of_links(detect, patient_folder, tmp_path):
    cohort = patient_folder.parent
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (patient_folder / "again").symlink_to(cohort)
    (cohort / "loop").symlink_to(cohort)
    status, error = detect(tmp_path / "a", tmp_path / "out")
    assert status == 2
    assert "no such file or folder" in one_line(error)
    assert not (tmp_path / "out").exists()
    assert list(find_patients(cohort)) == [patient_folder]
    (patient_folder / "flair.nii.gz").unlink()
    (patient_folder / "flair.nii.gz").symlink_to("flair.nii.gz")
    status, error = detect(patient_folder, tmp_path / "out")
    assert status == 2
    one_line(error)


def test_a_folder_in_the_place_of_a_file(detect, patient_folder, tmp_path):
    (patient_folder / "flair.nii.gz").unlink()
    (patient_folder / "flair.nii.gz").mkdir()
    for place in (patient_folder, patient_folder / "flair.nii.gz"):
        status, error = detect(place, tmp_path / "out")
        assert status == 2
        one_line(error)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_network_folder_that_goes_away_after_the_header(detect, tmp_path, monkeypatch, number, suffix):
    file = write_nifti(tmp_path / f"flair{suffix}", make_brain()[0].T, np.diag([1.0, 1, 1, 1]))

    def gone(target, path):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(nifti._File, "check_size", lambda self: monkeypatch.setattr(nifti, "_fill", gone))
    status, error = detect(file, tmp_path / "out")
    assert status == 2
    assert os.strerror(number) in one_line(error)
    assert str(file) in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["cut", "removed"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_file_that_is_cut_or_removed_between_header_and_data(detect, tmp_path, monkeypatch, suffix, what):
    file = write_nifti(tmp_path / f"flair{suffix}", make_brain()[0].T, np.diag([1.0, 1, 1, 1]))

    def meanwhile(self):
        if what == "removed":
            file.unlink()
        else:
            os.truncate(file, file.stat().st_size // 2)

    monkeypatch.setattr(nifti._File, "check_size", meanwhile)
    status, error = detect(file, tmp_path / "out")
    assert status == 2
    assert ("data end after" if what == "cut" else "No such file") in one_line(error)
    assert not (tmp_path / "out").exists()


def test_a_pair_whose_image_is_cut_does_not_end_the_process(tmp_path):
    nib.save(nib.Nifti1Pair(make_brain()[0].T, np.eye(4)), tmp_path / "flair.hdr")
    code = (
        "import os, sys; from napari_cead.patients import volumes; from napari_cead.patients.formats import nifti\n"
        "from pathlib import Path\n"
        "at = Path(sys.argv[1]); cut = lambda self: os.truncate(at.with_suffix('.img'), 4096)\n"
        "nifti._Other.check_size = cut\n"
        "from napari_cead.errors import PatientError\n"
        "try: volumes.read_volume(at)\n"
        "except PatientError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "flair.hdr"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be read" in done.stdout


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("where", ["mkdtemp", "write", "replace"])
def test_a_disk_that_refuses(detect, patient_folder, tmp_path, monkeypatch, number, where):
    out = tmp_path / "out"
    assert detect(patient_folder, out)[0] == 0
    before = {file.name: file.read_bytes() for file in out.iterdir()}

    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    if where == "mkdtemp":
        monkeypatch.setattr("tempfile.mkdtemp", refuse)
    elif where == "write":
        monkeypatch.setattr("nibabel.save", refuse)
    else:
        monkeypatch.setattr(Path, "replace", refuse)
        monkeypatch.setattr(os, "replace", refuse)
    status, error = detect(patient_folder, out, "--threshold", "0.33")
    monkeypatch.undo()
    assert status == 2
    assert os.strerror(number) in one_line(error)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 128 KiB, where this process may make one."""
    place = tmp_path / "disk"
    place.mkdir()
    made = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", place], capture_output=True
    )
    if not made or made.returncode:
        pytest.skip("this process may not mount a file system")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_in_earnest(detect, patient_folder, tiny_disk):
    (tiny_disk / "filler").write_bytes(bytes(100_000))
    status, error = detect(patient_folder, tiny_disk / "out")
    assert status == 2
    assert "No space left" in one_line(error)
    left = [file for file in tiny_disk.rglob("*") if file.is_file()]
    assert left == [tiny_disk / "filler"]
