import importlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import napari_cead as cead
from napari_cead.errors import Cancelled, CeadWarning, OutputError, ParameterError, StoreError
from napari_cead.slices import slice_marks, slice_stack
from napari_cead.store.parts import read_split, write_split
from napari_cead.store.store import SliceStore
from scans import make_brain, write_nifti

# The module, whose name is that of the function too.
module = importlib.import_module("napari_cead.store.prepare")
OPTIONS = {"image_size": 48, "validation": 0.25, "test": 0.25}


def prepare(cohort, out, **changes):
    return module.prepare(cohort, out, **{**OPTIONS, **changes})


def add_patient(folder, seed, *, mask=True, empty=False, names=("flair", "t1_gd")):
    """A patient of 8 slices in the NIfTI layout; lesion in the middle slices, or an empty mask, or none."""
    volume, lesion = make_brain((8, 40, 36), seed)
    for factor, name in enumerate(names, 1):
        write_nifti(
            folder / f"{name}.nii", np.transpose(volume * factor + factor, (2, 1, 0)) * (volume.T > 0)
        )
    if mask:
        labels = np.transpose(lesion & (not empty), (2, 1, 0)).astype(np.uint8)
        write_nifti(folder / "seg.nii", labels)
    return folder


@pytest.fixture
def cohort(tmp_path):
    root = tmp_path / "cohort"
    for number in range(4):
        add_patient(root / "train" / f"Mets_{number:03d}", number)
    return root


def pictures(folder, count, size=(40, 36), first=0):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        volume, _ = make_brain((3, *size), number)
        Image.fromarray(np.clip(volume[1], 0, 255).astype(np.uint8)).save(folder / f"{number:04d}.png")
    return folder


def check(store, **options):
    """Compare all that is stored with what loading and slicing each patient again gives."""
    settings = store.settings
    for stored in store.patients:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            patient = cead.load_patient(stored.source, settings.sequence, **options)
        stack = slice_stack(
            patient, scaling=settings.intensity, model_spacing=settings.spacing, size=settings.image_size
        )
        found = store.slices(stored.name)
        z = [index for index in range(patient.shape[0]) if stack.brain[index].any()]
        assert list(stored.numbers) == z
        assert np.abs(found.images - stack.images[z] * 255.0).max() <= 0.5001  # rounded, not cut
        brain = stack.geometry.labels_to_model(stack.brain)[z]
        np.testing.assert_allclose(stored.brain, brain.mean(axis=(1, 2)), atol=1e-6)
        assert stored.labelled == (patient.lesion_mask is not None)
        if not stored.labelled:
            assert found.masks is None
            assert set(stored.labels) == {2}
            continue
        np.testing.assert_array_equal(found.masks, stack.geometry.labels_to_model(patient.lesion_mask)[z])
        assert list(stored.labels) == [int(patient.lesion_mask[index].any()) for index in z]


@pytest.mark.parametrize("intensity", ["volume-percentile", "slice-max"])
@pytest.mark.parametrize("sequence", ["flair", "t1_gd"])
def test_what_is_stored_is_what_loading_and_slicing_gives(cohort, tmp_path, sequence, intensity):
    store = prepare(cohort, tmp_path / "store", sequence=sequence, intensity=intensity)
    assert [patient.name for patient in store.patients] == [f"Mets_{number:03d}" for number in range(4)]
    check(store)
    opened = SliceStore.open(tmp_path / "store")
    assert (opened.patients, opened.settings, opened.fingerprint) == (
        store.patients,
        store.settings,
        store.fingerprint,
    )
    assert {set(patient.parts).pop() for patient in store.patients} == {"train", "validation", "test"}
    codes = np.concatenate([patient.labels for patient in store.patients])
    assert {0, 1} == set(codes.tolist())
    rows = store.healthy_rows("train")
    (index,) = {int(row[0]) for row in rows} if len({int(row[0]) for row in rows}) == 1 else {int(rows[0, 0])}
    first = store.patients[index]
    np.testing.assert_array_equal(
        store.healthy_slices("train")[0], store.slices(first.name).images[rows[0, 1]]
    )


def test_slices_with_little_brain_are_stored_but_do_not_train(cohort, tmp_path):
    store = prepare(cohort, tmp_path / "store", min_brain=0.25)
    shares = np.concatenate([patient.brain for patient in store.patients])
    assert (shares < 0.25).any()
    for part in ("train", "validation", "test"):
        for index, row in store.healthy_rows(part):
            assert store.patients[index].brain[row] >= 0.25


def test_a_resampled_patient_has_the_spacing_of_its_slices(tmp_path):
    volume, lesion = make_brain((6, 30, 24))
    for number in range(2):
        folder = tmp_path / "c" / str(number)
        write_nifti(folder / "flair.nii", volume.T * (number + 1), np.diag([1.5, 1.5, 3, 1]))
        write_nifti(folder / "seg.nii", (lesion & False).T.astype(np.uint8), np.diag([1.5, 1.5, 3, 1]))
    with pytest.warns(CeadWarning, match=r"resampled to the model's.*\(0 and 1 more\)"):
        store = prepare(tmp_path / "c", tmp_path / "store", spacing=(1.0, 1.0))
    check(store)
    assert store.patients[0].spacing == pytest.approx((3, 1, 1))


def test_a_lesion_outside_the_model_image_still_makes_a_lesion_slice(tmp_path):
    volume, _ = make_brain((6, 30, 24))
    wide = np.pad(volume, ((0, 0), (0, 0), (0, 40)))
    lesion = np.zeros_like(wide, dtype=np.uint8)
    lesion[2, 15, 60] = 1
    for number in range(2):
        write_nifti(tmp_path / "c" / str(number) / "flair.nii", wide.T + number * (wide.T > 0))
        write_nifti(tmp_path / "c" / str(number) / "seg.nii", lesion.T)
    with pytest.warns(CeadWarning, match="1 lesion voxels lie outside"):
        store = prepare(tmp_path / "c", tmp_path / "store", image_size=32)
    patient = store.patients[0]
    assert [number for number, label in zip(patient.numbers, patient.labels, strict=True) if label == 1] == [
        2
    ]
    assert not store.slices(patient.name).masks.any()


def test_the_png_layout(tmp_path):
    for number in range(3):
        volume, lesion = make_brain((6, 40, 36), number)
        for name, stack in (("3", np.clip(volume, 0, 255)), ("2", volume > 0), ("seg", lesion * 255)):
            folder = tmp_path / "c" / f"Mets_{number}" / name
            folder.mkdir(parents=True)
            for z, pixels in enumerate(stack):
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{z}.png")
    with pytest.warns(CeadWarning, match="patient's right"):
        store = prepare(tmp_path / "c", tmp_path / "s", png_first_column="right", png_spacing=(2.0, 1.0, 1.0))
    check(store, png_first_column="right", png_spacing=(2.0, 1.0, 1.0))
    assert store.patients[0].spacing == (2.0, 1.0, 1.0)


@pytest.mark.parametrize("where", ["flair", "any name"])
def test_plain_pictures_are_patients_of_one_slice(tmp_path, where, quiet):
    pictures(tmp_path / where, 6)
    given = tmp_path / where if where == "any name" else tmp_path
    with pytest.raises(
        StoreError, match=r"none of the 6 patients.*unlabelled is not healthy; use --assume-healthy"
    ):
        prepare(given, tmp_path / "s")
    assert not (tmp_path / "s").exists()
    store = prepare(given, tmp_path / "s", assume_healthy=True)
    assert [patient.name for patient in store.patients] == [f"{number:04d}" for number in range(6)]
    check(store)
    assert [len(store.healthy_rows(part)) for part in ("train", "validation", "test")] == [4, 2, 0]


def test_pictures_of_another_sequence_are_no_patients(tmp_path, quiet):
    pictures(tmp_path / "flair", 3)
    pictures(tmp_path / "t1_gd", 2, first=5)
    store = prepare(tmp_path, tmp_path / "s", assume_healthy=True, sequence="t1_gd")
    assert [patient.name for patient in store.patients] == ["0005", "0006"]
    with pytest.raises(StoreError, match="no patient with a t2 scan"):
        prepare(tmp_path, tmp_path / "s2", sequence="t2")


def test_names_that_clash_become_paths(tmp_path, quiet):
    pictures(tmp_path / "a" / "flair", 2)
    pictures(tmp_path / "b" / "flair", 2, first=1)
    store = prepare(tmp_path, tmp_path / "s", assume_healthy=True)
    assert [patient.name for patient in store.patients] == ["0000", "a/flair/0001", "b/flair/0001", "0002"]
    assert read_split(tmp_path / "s" / "split.json").keys() == {patient.name for patient in store.patients}
    assert store.slices("b/flair/0001").images.shape == (1, 48, 48)


def test_a_patient_keeps_its_name_when_another_of_that_name_comes(cohort, tmp_path):
    before = prepare(cohort, tmp_path / "s")
    add_patient(cohort / "later" / "Mets_000", 50)
    after = prepare(cohort, tmp_path / "s")
    assert [patient.name for patient in after.patients] == [
        "later/Mets_000",
        *(patient.name for patient in before.patients),
    ]
    assert parts(before).items() <= parts(after).items()


def test_an_unlabelled_patient_is_left_out_and_said(cohort, tmp_path):
    add_patient(cohort / "test" / "Mets_900", 90, mask=False)
    with pytest.warns(CeadWarning, match="1 patient left out: no lesion mask, and unlabelled is not healthy"):
        store = prepare(cohort, tmp_path / "s")
    assert len(store.patients) == 4
    (skipped,) = store.skipped
    assert skipped.source.endswith("Mets_900")
    assert "--assume-healthy" in skipped.reason
    assumed = prepare(cohort, tmp_path / "s2", assume_healthy=True)
    unlabelled = next(patient for patient in assumed.patients if patient.name == "Mets_900")
    assert set(unlabelled.labels) == {2}
    assert set(unlabelled.parts) <= {"train", "validation"}
    assert len(assumed.patients) == 5
    index = assumed.patients.index(unlabelled)
    usable = [row for row, share in enumerate(unlabelled.brain) if share >= 0.15]
    found = assumed.healthy_rows(unlabelled.parts[0])
    assert found[found[:, 0] == index, 1].tolist() == usable


def parts(store):
    return {patient.name: patient.parts for patient in store.patients}


@pytest.fixture
def reads(monkeypatch):
    """Names of the patients that were read."""
    seen = []
    read = module.read_files

    def counting(files, sequence, place, **kwargs):
        seen.append(Path(place).name)
        return read(files, sequence, place, **kwargs)

    monkeypatch.setattr(module, "read_files", counting)
    return seen


def test_only_what_changed_is_read_again(cohort, tmp_path, reads):
    before = prepare(cohort, tmp_path / "s")
    assert reads == ["Mets_000", "Mets_001", "Mets_002", "Mets_003"]
    reads.clear()
    assert prepare(cohort, tmp_path / "s").fingerprint == before.fingerprint
    (cohort / "train" / "Mets_001" / "flair.nii").touch()  # written again, the same
    assert prepare(cohort, tmp_path / "s").fingerprint == before.fingerprint
    add_patient(cohort / "train" / "Mets_002", 77, names=("t1_gd",), mask=False)  # not what was read
    assert prepare(cohort, tmp_path / "s").fingerprint == before.fingerprint
    assert reads == []

    file = cohort / "train" / "Mets_001" / "flair.nii"
    content = bytearray(file.read_bytes())
    inside = np.flatnonzero(np.frombuffer(bytes(content[352:]), np.float32))
    content[352 + 4 * int(inside[len(inside) // 2]) + 2] ^= 1  # one voxel, by under a percent
    file.write_bytes(content)
    add_patient(cohort / "train" / "Mets_009", 9)
    shutil.rmtree(cohort / "train" / "Mets_003")
    after = prepare(cohort, tmp_path / "s")
    assert reads == ["Mets_001", "Mets_009"]
    assert [patient.name for patient in after.patients] == ["Mets_000", "Mets_001", "Mets_002", "Mets_009"]
    assert after.fingerprint != before.fingerprint
    check(after)
    groups = [entry for entry in (tmp_path / "s").iterdir() if entry.is_dir()]
    assert len(groups) == 4
    old, new = parts(before), parts(after)
    assert {name: old[name] for name in old if name in new} == {
        name: new[name] for name in old if name in new
    }


def test_every_slice_has_its_mark_and_a_store_without_them_is_read_again(cohort, tmp_path, reads):
    store = prepare(cohort, tmp_path / "store")
    for patient in store.patients:
        volume = cead.load_patient(patient.source, "flair").volume()
        assert patient.marks == slice_marks(volume[list(patient.numbers)]) and any(patient.marks)
    before = store.fingerprint
    for file in [tmp_path / "store" / "zarr.json", *(tmp_path / "store").glob("*/zarr.json")]:
        values = json.loads(file.read_text())  # as an earlier version wrote it
        attributes = values["attributes"]
        for patient in attributes["patients"] if "patients" in attributes else [attributes["patient"]]:
            del patient["marks"], patient["reading"]
        file.write_text(json.dumps(values))
    old = SliceStore.open(tmp_path / "store")
    assert not any(patient.marks for patient in old.patients) and old.fingerprint == before
    reads.clear()
    again = prepare(cohort, tmp_path / "store")
    assert again.patients == store.patients and len(reads) == len(store.patients)


def test_a_store_of_an_earlier_version_says_so_and_the_next_prepare_reads_it_again(cohort, tmp_path, reads):
    store = prepare(cohort, tmp_path / "store")
    first = store.patients[0]
    for file in [tmp_path / "store" / "zarr.json", *(tmp_path / "store").glob(f"{first.name}*/zarr.json")]:
        values = json.loads(file.read_text())
        attributes = values["attributes"]
        patient = attributes["patients"][0] if "patients" in attributes else attributes["patient"]
        del patient["reading"]  # as an earlier version wrote it
        file.write_text(json.dumps(values))
    said = r"1 of 4 patients were prepared by an earlier version, which took masks of the brain .* run the same prepare"
    with pytest.warns(CeadWarning, match=said):
        assert SliceStore.open(tmp_path / "store").fingerprint == store.fingerprint
    reads.clear()
    assert prepare(cohort, tmp_path / "store").patients == store.patients
    assert reads == [first.name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SliceStore.open(tmp_path / "store")


def test_a_cohort_that_moved_is_not_read_again(cohort, tmp_path, reads):
    before = prepare(cohort, tmp_path / "s")
    reads.clear()
    cohort.rename(tmp_path / "elsewhere")
    after = prepare(tmp_path / "elsewhere", tmp_path / "s")
    assert reads == []
    assert (after.fingerprint, parts(after)) == (before.fingerprint, parts(before))
    assert "elsewhere" in after.patients[0].source


def test_a_patient_that_comes_back_has_its_old_part(cohort, tmp_path):
    before = prepare(cohort, tmp_path / "s")
    (gone,) = (patient.name for patient in before.patients_of("test"))
    (cohort / "train" / gone).rename(tmp_path / "kept")
    assert gone not in parts(prepare(cohort, tmp_path / "s"))
    (tmp_path / "kept").rename(cohort / "train" / gone)
    assert parts(prepare(cohort, tmp_path / "s")) == parts(before)


def test_a_changed_mask_is_a_changed_patient(cohort, tmp_path, reads):
    before = prepare(cohort, tmp_path / "s")
    reads.clear()
    add_patient(cohort / "train" / "Mets_002", 2, empty=True)
    after = prepare(cohort, tmp_path / "s")
    assert reads == ["Mets_002"]
    assert before.fingerprint != after.fingerprint
    assert 1 not in after.patients[2].labels
    assert parts(before) == parts(after)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sequence": "t1_gd"}, "prepared with sequence flair, not t1_gd"),
        ({"spacing": (1.0, 1.0)}, r"prepared with spacing \(0\.94, 0\.94\), not \(1\.0, 1\.0\)"),
        ({"image_size": 64}, "image_size 48, not 64"),
        ({"min_brain": 0.2}, "min_brain"),
        ({"assume_healthy": True}, "assume_healthy False"),
        ({"seed": 1}, "seed 0, not 1"),
        ({"test": 0.1}, r"test 0\.25, not 0\.1"),
        ({"split": "slice"}, "split patient, not slice"),
    ],
)
def test_another_way_of_preparing_needs_another_store(cohort, tmp_path, change, words):
    store = prepare(cohort, tmp_path / "s")
    with pytest.raises(StoreError, match=rf"{words}.*; choose another --out"):
        prepare(cohort, tmp_path / "s", **change)
    assert SliceStore.open(tmp_path / "s").fingerprint == store.fingerprint


def test_parts_do_not_change_when_patients_come(cohort, tmp_path):
    before = prepare(cohort, tmp_path / "s")
    for number in range(10, 18):
        add_patient(cohort / "train" / f"Mets_{number:03d}", number)
    after = prepare(cohort, tmp_path / "s")
    assert parts(before).items() <= parts(after).items()
    counts = {part: len(after.patients_of(part)) for part in ("train", "validation", "test")}
    assert counts == {"train": 6, "validation": 3, "test": 3}
    split = read_split(tmp_path / "s" / "split.json")
    assert split == {patient.name: patient.parts[0] for patient in after.patients}
    assert parts(prepare(cohort, tmp_path / "again")) != {}
    other = prepare(cohort, tmp_path / "other", seed=1)
    assert parts(other) != parts(after)


def test_a_split_by_slice_leaks_and_says_so(cohort, tmp_path):
    with pytest.warns(
        CeadWarning, match="slices of one patient lie in training and in validation: they leak"
    ):
        store = prepare(cohort, tmp_path / "s", split="slice", validation=0.4)
    assert store.split_kind == "slice"
    assert any({"train", "validation"} <= set(patient.parts) for patient in store.patients)
    assert not (tmp_path / "s" / "split.json").exists()
    add_patient(cohort / "train" / "Mets_009", 9)
    with pytest.warns(CeadWarning, match="leak"):
        after = prepare(cohort, tmp_path / "s", split="slice", validation=0.4)
    assert parts(store).items() <= parts(after).items()


def test_a_split_file(cohort, tmp_path):
    file = tmp_path / "mine.json"
    write_split(file, {"Mets_000": "validation", "Mets_001": "train", "Mets_003": "test"})
    store = prepare(cohort, tmp_path / "s", split=file)
    assert store.split_kind == "file"
    assert {name: set(values) for name, values in parts(store).items()} == {
        "Mets_000": {"validation"},
        "Mets_001": {"train"},
        "Mets_003": {"test"},
    }
    assert [(Path(skip.source).name, "no list of the split" in skip.reason) for skip in store.skipped] == [
        ("Mets_002", True)
    ]
    assert read_split(tmp_path / "s" / "split.json") == read_split(file)
    write_split(file, {"Mets_000": "validation", "Mets_001": "train", "Mets_002": "train"})
    assert len(prepare(cohort, tmp_path / "s", split=str(file)).patients) == 3
    write_split(file, {"Mets_000": "train", "Mets_001": "train", "Mets_002": "validation"})
    with pytest.raises(
        StoreError, match="Mets_000 is in validation in this store, but in train in the split file"
    ):
        prepare(cohort, tmp_path / "s", split=file)
    write_split(file, {"Mets_000": "train", "Mets_005": "validation"})
    with pytest.raises(StoreError, match=r"mine\.json: Mets_005 is no patient of this cohort.*Mets_000"):
        prepare(cohort, tmp_path / "s2", split=file)
    with pytest.raises(StoreError, match=r"split file cannot be read.*give patient, slice or"):
        prepare(cohort, tmp_path / "s2", split="patients")
    write_split(file, {"Mets_000": "train"})
    with pytest.raises(StoreError, match=r"no healthy slice is left for the part 'validation'.*split file"):
        prepare(cohort, tmp_path / "s2", split=file)


def test_unreadable_patients_are_skipped_each_with_a_warning(cohort, tmp_path):
    train = cohort / "train"
    (train / "Mets_001" / "flair.nii").write_bytes(b"nonsense")
    (train / "Mets_002" / "flair.nii").unlink()
    add_patient(train / "Mets_003", 3)
    write_nifti(train / "Mets_003" / "seg.nii", np.random.default_rng(0).random((36, 40, 8)))
    for number in (5, 6):
        add_patient(train / f"Mets_{number:03d}", number)
    with pytest.warns(CeadWarning) as caught:
        store = prepare(cohort, tmp_path / "s")
    assert [patient.name for patient in store.patients] == ["Mets_000", "Mets_005", "Mets_006"]
    assert [Path(skip.source).name for skip in store.skipped] == ["Mets_001", "Mets_002", "Mets_003"]
    reasons = [skip.reason for skip in store.skipped]
    assert "flair.nii" in reasons[0]
    assert "there is no flair scan, only t1_gd" in reasons[1]
    assert "image, not a mask" in reasons[2]
    said = [str(warning.message) for warning in caught]
    assert all(f"skipped: {reason}" in said for reason in reasons)
    assert SliceStore.open(tmp_path / "s").skipped == store.skipped


def test_what_cannot_be_prepared_is_one_sentence(tmp_path):
    with pytest.raises(StoreError, match="no such folder"):
        prepare(tmp_path / "nowhere", tmp_path / "s")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="no patient with a flair scan"):
        prepare(tmp_path / "empty", tmp_path / "s")
    add_patient(tmp_path / "one" / "Mets_001", 1)
    with pytest.raises(StoreError, match=r"one patient cannot be split.*add patients, or give a split file"):
        prepare(tmp_path / "one", tmp_path / "s1")
    with pytest.raises(StoreError, match="no healthy slice with at least 99% brain"):
        prepare(tmp_path / "one", tmp_path / "s2", min_brain=0.99)
    (tmp_path / "one" / "Mets_001" / "flair.nii").write_bytes(b"")
    with (
        pytest.warns(CeadWarning, match="skipped"),
        pytest.raises(StoreError, match=r"none of the 1 patients can be used: .*flair\.nii"),
    ):
        prepare(tmp_path / "one", tmp_path / "s3")
    assert not (tmp_path / "s3").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": "t9"},
        {"validation": 0.0},
        {"validation": 0.6, "test": 0.4},
        {"test": float("nan")},
        {"min_brain": 1.5},
        {"spacing": (0.0, 1.0)},
        {"spacing": (1.0,)},
        {"image_size": 0},
        {"intensity": "max"},
        {"png_first_column": "up"},
        {"png_spacing": (1.0, float("inf"), 1.0)},
    ],
)
def test_settings_out_of_range(cohort, tmp_path, change):
    with pytest.raises(ParameterError):
        prepare(cohort, tmp_path / "s", **change)
    assert not (tmp_path / "s").exists()


def test_an_output_folder_that_is_something_else_is_left_alone(cohort, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match="neither empty nor a slice store; choose another --out"):
        prepare(cohort, tmp_path / "mine")
    assert [entry.name for entry in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    with pytest.raises(StoreError, match="neither empty nor a slice store"):
        prepare(cohort, cohort)
    with pytest.raises(OutputError):
        prepare(cohort, tmp_path / "mine" / "thesis.txt")
    with pytest.raises(OutputError):
        prepare(cohort, tmp_path / "mine" / "thesis.txt" / "store")


def test_progress_and_cancel_then_going_on(cohort, tmp_path, reads):
    seen = []
    with pytest.raises(Cancelled):
        prepare(
            cohort,
            tmp_path / "s",
            on_progress=lambda done, total: seen.append((done, total)),
            should_stop=lambda: len(seen) == 2,
        )
    assert seen == [(1, 4), (2, 4)]
    with pytest.raises(StoreError, match="not complete"):
        SliceStore.open(tmp_path / "s")
    reads.clear()
    check(prepare(cohort, tmp_path / "s"))
    assert reads == ["Mets_002", "Mets_003"]


def test_a_full_disk_ends_it_and_leaves_the_old_store(cohort, tmp_path, monkeypatch):
    import zarr

    before = prepare(cohort, tmp_path / "s")
    add_patient(cohort / "train" / "Mets_009", 9)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zarr.Group, "create_array", full)
        with pytest.raises(OutputError, match=r"Mets_009 cannot be written .*No space left"):
            prepare(cohort, tmp_path / "s")
    assert SliceStore.open(tmp_path / "s").fingerprint == before.fingerprint
    check(SliceStore.open(tmp_path / "s"))
    assert len(prepare(cohort, tmp_path / "s").patients) == 5


KILLED = """
import importlib, os, sys
from pathlib import Path
module = importlib.import_module("napari_cead.store.prepare")
where, cohort, out = sys.argv[1:]
calls = []

def die(*args, **kwargs):
    calls.append(args)
    if len(calls) == (2 if where == "rename" else 1):
        os._exit(9)
    return real(*args, **kwargs)

if where == "rename":
    real, Path.rename = Path.rename, die
elif where == "create_array":
    import zarr
    zarr.Group.create_array = die
else:
    real = getattr(module, where)
    if where == "write_index":
        def real_index(folder, index):
            return die() if index.complete else real(folder, index)
        module.write_index = real_index
    else:
        setattr(module, where, die)
module.prepare(cohort, out, image_size=48, validation=0.25, test=0.25)
"""


@pytest.mark.parametrize(
    ("where", "again"),
    [
        ("rename", False),
        ("write_index", False),
        ("create_array", True),
        ("write_index", True),
        ("clear", True),
    ],
)
def test_killed_at_any_place_it_goes_on(cohort, tmp_path, where, again):
    before = None
    if again:
        before = prepare(cohort, tmp_path / "s")
        for number in (1, 2):
            add_patient(cohort / "train" / f"Mets_{number:03d}", number + 30)
        shutil.rmtree(cohort / "train" / "Mets_003")
    command = [sys.executable, "-c", KILLED, where, str(cohort), str(tmp_path / "s")]
    assert subprocess.run(command, check=False).returncode == 9
    if where == "clear":  # the index is written: the new store is there
        assert len(SliceStore.open(tmp_path / "s").patients) == (3 if again else 4)
    elif before is None:
        with pytest.raises(StoreError, match=r"not complete|no slice store"):
            SliceStore.open(tmp_path / "s")
    else:
        opened = SliceStore.open(tmp_path / "s")
        assert opened.fingerprint == before.fingerprint
        assert opened.healthy_slices("train").shape[0] > 0
        for patient in opened.patients:
            opened.slices(patient.name)
    after = prepare(cohort, tmp_path / "s")
    check(SliceStore.open(tmp_path / "s"))
    left = sorted(entry.name for entry in (tmp_path / "s").iterdir() if not entry.is_dir())
    assert left == [".lock", "split.json", "zarr.json"]
    assert len(list((tmp_path / "s").iterdir())) == len(after.patients) + 3


def test_two_at_once_do_not_mix(cohort, tmp_path):
    def second(done, total):
        with pytest.raises(
            StoreError, match=rf"another prepare is writing this store \(process {os.getpid()} on"
        ):
            prepare(cohort, tmp_path / "s")

    prepare(cohort, tmp_path / "s", on_progress=second)
    check(SliceStore.open(tmp_path / "s"))


def test_the_same_scan_twice_is_said(cohort, tmp_path):
    shutil.copytree(cohort / "train" / "Mets_000", cohort / "train" / "copy")
    with pytest.warns(CeadWarning, match="Mets_000 and copy are the same scan"):
        prepare(cohort, tmp_path / "s")


def test_an_edited_index_of_a_damaged_group_is_made_anew(cohort, tmp_path, reads):
    store = prepare(cohort, tmp_path / "s")
    group = next(path for path in (tmp_path / "s").iterdir() if path.name.startswith("Mets_001"))
    shutil.rmtree(group)
    reads.clear()
    assert prepare(cohort, tmp_path / "s").fingerprint == store.fingerprint
    assert reads == ["Mets_001"]
    (group / "zarr.json").write_text(json.dumps({"attributes": {}}))
    check(prepare(cohort, tmp_path / "s"))


def test_real_lesion_free_slices(real_data, tmp_path):
    source = sorted((real_data / "soop_axial" / "lesion_free" / "flair").glob("*.png"))[:8]
    (tmp_path / "c" / "flair").mkdir(parents=True)
    for path in source:
        (tmp_path / "c" / "flair" / path.name).symlink_to(path)
    spacing = (1.0, 1.0, 1.0)
    with pytest.warns(CeadWarning, match="1 x 1 x 1 mm assumed"):
        store = module.prepare(tmp_path / "c", tmp_path / "s", assume_healthy=True, png_spacing=spacing)
    check(store, png_spacing=spacing)
    assert [patient.name for patient in store.patients] == [path.stem for path in source]
    assert (len(store.healthy_rows("train")), len(store.healthy_rows("validation"))) == (7, 1)
    assert 0.3 < np.mean(store.healthy_slices("train") > 0) < 0.7
