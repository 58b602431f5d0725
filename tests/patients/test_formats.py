"""The registry of formats: what it says agrees with the manifest and the docs, and another package's format is one."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

import napari_cead as cead
from napari_cead.errors import UnreadableError, UnsupportedError
from napari_cead.patients import find_patients, is_pictures
from napari_cead.patients.formats import FORMATS, Volume, dialog_filter
from napari_cead.patients.integrity import check_cohort
from napari_cead.patients.places import ZIP
from napari_cead.plugins import Origin
from napari_cead.preparing import Preparation
from napari_cead.store.scans import find_scans
from scans import make_brain

ROOT = Path(__file__).resolve().parents[2]


def write_scan(path: Path, volume: np.ndarray, voxel=(0.9, 1.1, 2.0)) -> Path:
    """Write a volume (Z, Y, X) as the example package's format has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        np.savez(stream, values=volume.T, voxel_mm=np.array(voxel))
    return path


@pytest.fixture
def cohort(tmp_path) -> Path:
    """Two patients whose files only the example package can read."""
    volume, lesion = make_brain()
    for name in ("anna", "bert"):
        write_scan(tmp_path / "cohort" / name / "flair.scan.npz", np.round(volume))
        write_scan(tmp_path / "cohort" / name / "seg.scan.npz", lesion.astype(np.uint8))
    return tmp_path / "cohort"


def test_napari_is_told_of_every_own_ending():
    manifest = yaml.safe_load((Path(cead.__file__).with_name("napari.yaml")).read_text(encoding="utf-8"))
    (reader,) = manifest["contributions"]["readers"]
    # Pictures are opened from the dock alone: other readers show them as what they are.
    endings = {ending for each in FORMATS.own.values() if not each.bare for ending in each.endings}
    assert set(reader["filename_patterns"]) == {f"*{ending}" for ending in (*endings, ZIP)}


def test_the_docs_and_the_file_dialog_name_every_own_ending():
    page = (ROOT / "docs" / "reference" / "formats.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(\.[a-z.]+)`", page))
    for each in FORMATS.own.values():
        assert each.title in page
        assert told.issuperset(each.endings), each.name
        assert all(f"*{ending}" in dialog_filter() for ending in each.endings)


def test_a_format_of_another_package_is_read_like_any_other(plugin, cohort, quiet):
    volume, lesion = make_brain()
    assert "*.scan.npz" in dialog_filter()
    assert [place.name for place in find_patients(cohort)] == ["anna", "bert"]
    for path in (cohort / "anna", cohort / "anna" / "flair.scan.npz"):
        patient = cead.load_patient(path)
        assert patient.name == "anna"
        assert patient.spacing == pytest.approx((2.0, 1.1, 0.9))
        assert patient.grid.axcodes == "LPS"
        np.testing.assert_array_equal(patient.volume(), np.round(volume))
        np.testing.assert_array_equal(patient.lesion_mask, lesion)
    assert Preparation(strip=str(cohort / "anna" / "brain_mask.scan.npz")).mask_file is not None
    assert not is_pictures(cohort / "anna" / "flair.scan.npz")
    assert [(scan.name, scan.lesion_mask.name) for scan in find_scans(cohort)] == [
        ("anna", "seg.scan.npz"),
        ("bert", "seg.scan.npz"),
    ]
    report = check_cohort(cohort)
    assert (report.findings, report.labelled, report.expected) == ((), 2, ("flair",))


def test_a_format_of_another_package_is_read_in_a_zip_too(plugin, cohort, tmp_path, quiet):
    with zipfile.ZipFile(tmp_path / "anna.zip", "w") as archive:
        for file in sorted((cohort / "anna").iterdir()):
            archive.write(file, f"anna/{file.name}")
    patient = cead.load_patient(tmp_path / "anna.zip")
    assert str(patient.files["flair"]) == f"{tmp_path / 'anna.zip'}#anna/flair.scan.npz"
    np.testing.assert_array_equal(patient.volume(), cead.load_patient(cohort / "anna").volume())


def test_whatever_its_reader_raises_is_one_sentence_about_the_file(plugin, cohort):
    file = cohort / "anna" / "flair.scan.npz"
    file.write_bytes(b"junk")
    with pytest.raises(UnreadableError, match=r"flair\.scan\.npz: the file cannot be read as NumPy scan \("):
        cead.load_patient(file)
    report = check_cohort(cohort)
    assert [(finding.patient, finding.code) for finding in report.findings] == [("anna", "unreadable")]
    write_scan(file, np.zeros((3, 4)))
    with pytest.raises(UnreadableError, match="no volume"):
        cead.load_patient(file)


def test_without_the_package_its_files_are_nobody_s(cohort):
    assert list(find_patients(cohort)) == []
    assert "numpy-scan" not in FORMATS


def test_an_ending_that_another_format_has_is_refused(plugin, monkeypatch):
    import sys

    module = plugin / "cead_example" / "clash.py"
    module.write_text(
        "from .format import NumpyScan\nclass Clash(NumpyScan):\n    name, endings = 'clash', ('.nii',)\n"
    )
    points = next(plugin.glob("cead_example-*.dist-info")) / "entry_points.txt"
    before = points.read_text()
    try:
        points.write_text(
            before.replace("[napari_cead.formats]", "[napari_cead.formats]\nclash = cead_example.clash:Clash")
        )
        FORMATS.refresh()
        assert (
            Origin("formats", "clash", "cead-example 1.0", "its ending .nii is that of another format")
            in FORMATS.origins
        )
        assert FORMATS.by_ending[".nii"].name == "nifti"
        with pytest.raises(UnsupportedError, match=r"NumPy scan file.*'clash' of cead-example 1\.0 cannot"):
            cead.load_patient(points)
    finally:
        points.write_text(before)
        module.unlink()
        sys.modules.pop("cead_example.clash", None)


def test_a_volume_in_file_order_comes_back_where_it_belongs():
    values = np.arange(24).reshape(2, 3, 4)
    volume = Volume.of(values, np.diag([-1.0, 2.0, 3.0, 1.0]))
    assert volume.data.shape == (4, 3, 2)
    np.testing.assert_array_equal(volume.grid.to_source(volume.data), values)
    assert volume.grid.spacing == (3.0, 2.0, 1.0)
    for wrong, affine in (
        (values[0], np.eye(4)),
        (values.astype(complex), np.eye(4)),
        (values, np.zeros((4, 4))),
    ):
        with pytest.raises(ValueError, match=r"no volume|affine"):
            Volume.of(wrong, affine)


def test_a_file_of_it_can_be_detected_on(plugin, cohort, model_folder, tmp_path, quiet):
    from napari_cead.cli import run

    out = tmp_path / "out"
    words = ["detect", str(cohort), "--model", str(model_folder), "--out", str(out), "--device", "cpu"]
    assert run([*words, "--strip", "never"]) == 0
    for name in ("anna", "bert"):
        patient = cead.load_patient(cohort / name)
        mask = cead.load_patient(cohort / name, mask=out / name / "mask.nii.gz").lesion_mask
        assert mask is not None
        assert mask.shape == patient.shape
    assert run(["check", str(cohort)]) == 0
