import dataclasses
import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from heads import add_head, make_stripped
from napari_cead.cli.app import run
from napari_cead.errors import CeadWarning, ParameterError, StoreError
from napari_cead.store.prepare import prepare
from napari_cead.store.scan_list import ScanList, read_scan_list, write_scan_list
from napari_cead.store.scans import ScanSource
from napari_cead.store.store import SliceStore
from scans import write_nifti

SPACING = np.diag([2.0, 2.0, 4.0, 1.0])
OPTIONS = {"image_size": 112, "spacing": (2.0, 2.0)}


def nifti(path, volume):
    return write_nifti(path, np.transpose(volume, (2, 1, 0)), SPACING)


@pytest.fixture
def sources(tmp_path):
    """Three healthy scans, one with a lesion mask."""
    made = []
    for number in range(4):
        volume = make_stripped((8, 96, 80), number)
        file = nifti(tmp_path / "data" / f"Anna_{number}_flair.nii", volume)
        mask = None
        if number == 3:
            lesion = np.zeros(volume.shape, np.uint8)
            lesion[3:5, 40:44, 40:44] = 1
            mask = nifti(tmp_path / "data" / "Anna_3_seg.nii", lesion)
        made.append(ScanSource(f"Anna_{number}", file, mask, healthy=number < 3))
    return made


def test_what_is_written_is_read(sources, tmp_path):
    file = write_scan_list(tmp_path / "scans.json", sources, "flair")
    assert read_scan_list(file) == ScanList(tuple(sources), "flair")
    document = json.loads(file.read_text())
    assert document["schema_version"] == 1
    assert document["scans"][3] == {
        "name": "Anna_3",
        "scan": str(sources[3].scan),
        "lesion_mask": str(sources[3].lesion_mask),
        "brain_mask": None,
        "healthy": False,
    }


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema_version": 2}, "schema version 2, this program reads 1"),
        ({"schema_version": True}, "schema version True"),
        ({"sequence": "ct"}, "unknown sequence 'ct'"),
        ({"scans": []}, "scans: List should have at least 1 item"),
        ({"run": "rm -rf"}, "run: Extra inputs"),
        ({"scans": [{"name": "a", "scan": "b.nii"}]}, "not an absolute path"),
        ({"scans": [{"name": "a", "scan": "/b.nii", "healthy": "yes"}]}, "healthy: Input should be a valid boolean"),
        ({"scans": [{"name": "a", "scan": "/b.nii", "python": "x"}]}, "python: Extra inputs"),
        ({"scans": [{"name": "a\nb", "scan": "/b.nii"}]}, "name: String should match"),
        ({"scans": [{"name": "a", "scan": "/b"}, {"name": "a", "scan": "/c"}]}, "'a' is in the list 2 times"),
    ],
)  # fmt: skip
def test_a_list_is_read_strictly(sources, tmp_path, change, sentence):
    file = write_scan_list(tmp_path / "scans.json", sources)
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(StoreError, match=sentence) as caught:
        read_scan_list(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[1]", "{}", "null", '{"scans": ' + "[" * 100_000])
def test_what_is_no_list(tmp_path, text):
    (tmp_path / "scans.json").write_text(text)
    with pytest.raises(StoreError, match=r"scans\.json"):
        read_scan_list(tmp_path / "scans.json")


def test_a_list_that_cannot_be_read_is_not_written(sources, tmp_path):
    with pytest.raises(ParameterError, match="2 times"):
        write_scan_list(tmp_path / "scans.json", [sources[0], sources[0]])
    with pytest.raises(ParameterError, match="at least 1"):
        write_scan_list(tmp_path / "scans.json", [])
    assert not (tmp_path / "scans.json").exists()


def test_a_store_of_a_list(sources, tmp_path, quiet):
    store = prepare(write_scan_list(tmp_path / "scans.json", sources), tmp_path / "store", **OPTIONS)
    assert [patient.name for patient in store.patients] == [source.name for source in sources]
    assert [patient.labelled for patient in store.patients] == [False, False, False, True]
    assert {label for patient in store.patients[:3] for label in patient.labels} == {
        0
    }  # healthy, as the list says
    by_number = dict(zip(store.patients[3].numbers, store.patients[3].labels, strict=True))
    assert {number for number, label in by_number.items() if label == 1} == {3, 4}
    assert not store.settings.assume_healthy
    assert all(len(set(patient.parts)) == 1 for patient in store.patients)
    assert {patient.parts[0] for patient in store.patients if not patient.labelled} <= {"train", "validation"}
    attributes = json.loads((tmp_path / "store" / "zarr.json").read_text())["attributes"]
    assert attributes["listed"] == {"scans": 4, "healthy": 3, "lesion_masks": 1, "brain_masks": 0}


def test_the_same_list_gives_the_same_store_without_reading_again(sources, tmp_path, quiet, monkeypatch):
    file = write_scan_list(tmp_path / "scans.json", sources)
    first = prepare(file, tmp_path / "store", **OPTIONS)
    module = importlib.import_module("napari_cead.store.prepare")
    monkeypatch.setattr(module, "read_files", None)
    again = prepare(file, tmp_path / "store", **OPTIONS)
    assert again.fingerprint == first.fingerprint
    assert again.patients == first.patients


def test_only_what_the_list_says_is_healthy_is(sources, tmp_path):
    unsaid = [dataclasses.replace(sources[0], healthy=False), *sources[1:]]
    with pytest.warns(CeadWarning, match='1 patient left out: .*"healthy": true'):
        store = prepare(ScanList(tuple(unsaid)), tmp_path / "store", **OPTIONS)
    assert [skipped.source for skipped in store.skipped] == [str(sources[0].scan)]
    first = prepare(ScanList(tuple(unsaid)), tmp_path / "b", assume_healthy=True, **OPTIONS)
    assert set(first.patients[0].labels) == {2}


def test_a_change_of_mind_is_another_store(sources, tmp_path, quiet):
    before = prepare(ScanList(tuple(sources)), tmp_path / "store", **OPTIONS)
    masked = [
        *sources[:2],
        dataclasses.replace(sources[2], healthy=False, lesion_mask=sources[3].lesion_mask),
    ]
    after = prepare(ScanList((*masked, sources[3])), tmp_path / "store", **OPTIONS)
    assert after.fingerprint != before.fingerprint
    assert after.patients[2].labelled
    assert after.patients[0] == before.patients[0]


def test_a_mask_that_the_list_does_not_name_is_not_used(sources, tmp_path, quiet):
    alone = dataclasses.replace(sources[3], lesion_mask=None, healthy=True)
    store = prepare(ScanList((*sources[:3], alone)), tmp_path / "store", **OPTIONS)
    assert not store.patients[3].labelled


def test_the_sequence_is_that_of_the_list(sources, tmp_path, quiet):
    listing = ScanList(tuple(sources), "t2")
    assert prepare(listing, tmp_path / "store", **OPTIONS).settings.sequence == "t2"
    with pytest.raises(ParameterError, match="of t2, not of flair"):
        prepare(listing, tmp_path / "other", sequence="flair", **OPTIONS)


def test_heads_are_left_out_unless_a_brain_mask_or_the_caller_says_so(sources, tmp_path):
    volume = make_stripped((8, 96, 80), 9)
    head = ScanSource("Head", nifti(tmp_path / "head.nii", add_head(volume)), healthy=True)
    inside = nifti(
        tmp_path / "inside.nii", np.pad(volume != 0, ((0, 0), (14, 14), (14, 14))).astype(np.uint8)
    )
    with pytest.warns(CeadWarning, match=r"skipped: .*head\.nii: not skull-stripped.*brain mask"):
        store = prepare(ScanList((*sources, head)), tmp_path / "a", **OPTIONS)
    assert len(store.patients) == 4
    assert "not skull-stripped" in store.skipped[0].reason
    with pytest.warns(CeadWarning, match="not skull-stripped"):
        store = prepare(ScanList((*sources, head)), tmp_path / "b", skull_ok=True, **OPTIONS)
    assert len(store.patients) == 5
    with pytest.raises(StoreError, match="skull_ok True, not False"):
        prepare(ScanList((*sources, head)), tmp_path / "b", **OPTIONS)
    masked = dataclasses.replace(head, brain_mask=inside)
    store = prepare(ScanList((*sources, masked)), tmp_path / "a", **OPTIONS)
    stored = store.slices("Head").images
    bare = nifti(tmp_path / "bare.nii", np.pad(volume, ((0, 0), (14, 14), (14, 14))))
    expected = prepare(ScanList((*sources, dataclasses.replace(head, scan=bare))), tmp_path / "c", **OPTIONS)
    np.testing.assert_array_equal(stored, expected.slices("Head").images)


def test_a_cohort_of_heads_cannot_be_trained_on(tmp_path):
    for number in range(2):
        nifti(tmp_path / "c" / str(number) / "flair.nii", add_head(make_stripped((8, 96, 80), number)))
    with pytest.warns(CeadWarning), pytest.raises(StoreError, match="not skull-stripped"):
        prepare(tmp_path / "c", tmp_path / "store", assume_healthy=True, **OPTIONS)


def test_a_scan_that_is_gone_is_left_out_and_said(sources, tmp_path):
    sources[0].scan.unlink()
    with pytest.warns(CeadWarning, match=r"Anna_0_flair\.nii: there is no such file"):
        assert len(prepare(ScanList(tuple(sources)), tmp_path / "store", **OPTIONS).patients) == 3


def test_a_model_trained_on_a_list_tells_no_name_and_no_place(sources, tmp_path, quiet, capsys):
    file = write_scan_list(tmp_path / "scans.json", sources)
    assert run(["prepare", str(file), "--out", str(tmp_path / "alone")]) == 0
    order = [
        "train",
        "ae",
        "--data",
        str(file),
        "--out",
        str(tmp_path / "run"),
        "--size",
        "small",
        "--epochs",
        "1",
    ]
    assert run([*order, "--no-install", "--device", "cpu", "--name", "local"]) == 0, capsys.readouterr().err
    store = SliceStore.open(tmp_path / "run" / "store")
    assert len(store.patients) == 4
    for card in (tmp_path / "run" / "model").iterdir():
        content = card.read_bytes()
        for secret in ("Anna", str(tmp_path), Path.home().as_posix() + "/", "scans.json"):
            assert secret.encode() not in content
    shutil.rmtree(tmp_path / "run" / "model")
    assert run([*order, "--no-install", "--device", "cpu", "--name", "local", "--resume"]) == 0
