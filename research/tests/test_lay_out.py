"""DATA is laid out from clones as the published figures need it: on made-up clones of the same form."""

import csv
import hashlib
import importlib

import numpy as np
import pytest
from PIL import Image

from scans import write_nifti


@pytest.fixture
def laid(tmp_path, monkeypatch):
    """The command, with sources of its own: one file, and two subjects of SOOP, one with a lesion."""
    command = importlib.import_module("lay_out")
    sources, clones = tmp_path / "sources", tmp_path / "clones"
    sources.mkdir()
    scan = clones / "open_ms_data" / "MNI" / "FLAIR.nii.gz"
    scan.parent.mkdir(parents=True)
    scan.write_bytes(b"a scan")
    names = ("patient26/flair.nii.gz", "muschellij2/open_ms_data", "MNI/FLAIR.nii.gz", "copy")
    rows = [
        ("file", "repository", "path", "how", "sha256"),
        (*names, hashlib.sha256(b"a scan").hexdigest()),
    ]
    with (sources / "files.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    (sources / "soop_axial.csv").write_text("soop_subject,folder,cleaner\n3,lesion_free,1\n12,lesion,0\n")
    monkeypatch.setattr(command, "SOURCES", sources)
    return command, clones, tmp_path / "data"


def upstream(clones, number, grey, lesion, at=(7, 4)):
    """Write a subject's lesion volume (x to the right, y to the front) and picture, as upstream does."""
    repository = clones / "StrokeOutcomeOptimizationProjectDemo"
    for part in ("PNG", "NIfTI"):
        (repository / part).mkdir(parents=True, exist_ok=True)
    volume = np.zeros((grey.shape[1], grey.shape[0], 70), np.uint8)
    volume[..., 68] = lesion[::-1].T
    write_nifti(repository / "NIfTI" / f"bwsrsub-{number}_lesion.nii.gz", volume, np.diag([1, 1, 1, 1.0]))
    picture = np.zeros((grey.shape[0] + 20, 3 * grey.shape[1], 3), np.uint8)
    panel = np.repeat(grey[..., None], 3, axis=2)
    red = np.stack([(grey.astype(int) + 255) // 2, grey // 2, grey // 2], axis=2)
    panel[lesion] = red[lesion].astype(np.uint8)
    rows, columns = (slice(at[k], at[k] + grey.shape[k]) for k in (0, 1))
    picture[rows, columns] = panel
    picture[3:9, -9:-3, 0] = 200  # the tint of another view
    Image.fromarray(picture).save(repository / "PNG" / f"rsub-{number}_lesion.nii.png")


def test_data_are_copied_and_cut_out_and_compared(laid, monkeypatch):
    command, clones, data = laid
    random = np.random.default_rng(0)
    grey = random.integers(1, 256, (40, 30)).astype(np.uint8)
    lesion = np.zeros(grey.shape, bool)
    lesion[10:16, 5:12] = True
    lesion[12, 8] = False
    upstream(clones, 12, grey, lesion)
    upstream(clones, 3, grey[::-1].copy(), np.zeros_like(lesion))
    assert list(command.copy_files(clones, data)) == []
    assert (data / "patient26" / "flair.nii.gz").read_bytes() == b"a scan"
    said = list(command.lay_out_slices(clones, data))
    assert len(said) == 3 and all("other pixels" in line for line in said)  # these are not the real slices
    slices = data / "soop_axial"
    assert (np.asarray(Image.open(slices / "lesion" / "flair" / "0012.png")) == grey // 2 * 2).all()
    assert (np.asarray(Image.open(slices / "lesion" / "mask" / "0012.png")) == 255 * lesion).all()
    assert (
        np.asarray(Image.open(slices / "lesion_free" / "flair" / "0003.png")) == grey[::-1] // 2 * 2
    ).all()
    monkeypatch.setattr(command, "PIXELS", {part: command.digest(slices / part) for part in command.PIXELS})
    assert list(command.lay_out_slices(clones, data)) == []


def test_what_is_missing_or_differs_is_named(laid):
    command, clones, data = laid
    target = data / "patient26" / "flair.nii.gz"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"another scan")
    (said,) = command.copy_files(clones, data)
    assert str(target) in said and "another file" in said
    target.unlink()
    (clones / "open_ms_data" / "MNI" / "FLAIR.nii.gz").unlink()
    (said,) = command.copy_files(clones, data)
    assert "not there; clone muschellij2/open_ms_data at 65704901" in said
    said = list(command.lay_out_slices(clones, data))
    assert "no picture or no lesion of subject 12" in said[0]


def test_the_lists_name_every_repository_and_each_file_once(tmp_path):
    command = importlib.import_module("lay_out")
    rows = command.files()
    assert len({row["file"] for row in rows}) == len(rows) == 100
    assert {row["repository"] for row in rows} <= set(command.COMMITS)
    assert all(len(row["sha256"]) == 64 for row in rows)
