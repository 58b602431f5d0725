import hashlib
import json
import pickle
import shutil
import sys

import numpy as np
import pytest

from napari_cead.errors import OutputError, ParameterError, StoreError
from napari_cead.store import store as store_module
from napari_cead.store.index import READING, Split, StoreIndex, group_name, write_index
from napari_cead.store.store import SliceStore, StoredPatient, StoreSettings, write_patient

SETTINGS = StoreSettings(image_size=16, min_brain=0.2)


def stored(name, labels, brain=None, part="train", **changes):
    count = len(labels)
    values = {
        "name": name,
        "source": f"/cohort/{name}",
        "fingerprint": hashlib.sha256(name.encode()).hexdigest(),
        "labelled": 2 not in labels,
        "spacing": (1.0, 0.94, 0.94),
        "numbers": tuple(range(10, 10 + count)),
        "labels": tuple(labels),
        "brain": tuple(brain or [0.5] * count),
        "parts": (part,) * count if isinstance(part, str) else part,
        "reading": READING,
    }
    return StoredPatient(**{**values, **changes})


@pytest.fixture
def made(tmp_path):
    """A store of three patients written from known arrays, without ``prepare``; the first has three chunks."""
    rng = np.random.default_rng(0)
    patients = (
        stored("a", [0, 1] * 35, [0.1] + [0.5] * 69),
        stored("b/2", [0, 0, 1], part=("validation", "train", "validation")),
        stored("c", [2, 2], part="validation"),
    )
    arrays = {}
    (tmp_path / "store").mkdir()
    for patient in patients:
        shape = (len(patient.numbers), 16, 16)
        images = rng.integers(0, 256, shape).astype(np.uint8)
        masks = rng.random(shape) > 0.9 if patient.labelled else None
        write_patient(tmp_path / "store", SETTINGS, patient, images, masks)
        arrays[patient.name] = (images, masks)
    index = StoreIndex(settings=SETTINGS, split=Split(seed=4), patients=patients)
    write_index(tmp_path / "store", index)
    return tmp_path / "store", index, arrays


def test_a_store_opens_as_its_index_says(made):
    path, index, _ = made
    store = SliceStore.open(path)
    assert store.patients == index.patients
    assert (store.settings, store.split_kind, store.seed, store.skipped) == (SETTINGS, "patient", 4, ())
    assert [patient.name for patient in store.patients_of("train")] == ["a", "b/2"]
    assert [patient.name for patient in store.patients_of("validation")] == ["b/2", "c"]
    assert store.patients_of("test") == ()


def test_healthy_rows_are_healthy_hold_brain_and_lie_in_the_part(made):
    store = SliceStore.open(made[0])
    expected = [(0, row) for row in range(2, 70, 2)] + [(1, 1)]  # row 0 of a has too little brain
    assert store.healthy_rows("train").tolist() == [list(row) for row in expected]
    assert store.healthy_rows("train").dtype == np.int64
    assert store.healthy_rows("validation").tolist() == [[1, 0]]
    assert store.healthy_rows("test").shape == (0, 2)


def test_unlabelled_slices_are_healthy_only_where_that_is_assumed(made):
    path, index, _ = made
    settings = SETTINGS.model_copy(update={"assume_healthy": True})
    write_index(path, index.model_copy(update={"settings": settings}))
    assert SliceStore.open(path).healthy_rows("validation").tolist() == [[1, 0], [2, 0], [2, 1]]


def test_slices_come_in_the_order_of_the_rows(made):
    path, _, arrays = made
    store = SliceStore.open(path)
    expected = np.concatenate([arrays["a"][0][2::2], arrays["b/2"][0][1:2]])
    np.testing.assert_array_equal(store.healthy_slices("train"), expected)
    rows = np.random.default_rng(1).permutation(
        [[0, row] for row in range(70)] + [[1, 0], [2, 1], [1, 0], [0, 69]]
    )
    expected = np.stack([arrays[store.patients[index].name][0][row] for index, row in rows])
    np.testing.assert_array_equal(store.read(rows), expected)
    assert store.read(np.empty((0, 2), int)).shape == (0, 16, 16)


@pytest.mark.parametrize("row", [(3, 0), (1, 3), (0, -1), (-1, 0)])
def test_rows_outside_are_refused(made, row):
    with pytest.raises(ParameterError, match="outside the slice store"):
        SliceStore.open(made[0]).read(np.array([row]))


def test_no_healthy_slice_in_a_part_is_an_error(made):
    with pytest.raises(StoreError, match="no healthy slice in the part 'test'"):
        SliceStore.open(made[0]).healthy_slices("test")


def test_the_slices_of_a_patient_come_with_its_mask(made):
    path, index, arrays = made
    store = SliceStore.open(path)
    for patient in index.patients:
        found = store.slices(patient.name)
        assert found.patient == patient
        np.testing.assert_array_equal(found.images, arrays[patient.name][0])
        assert found.images.dtype == np.uint8
        if patient.labelled:
            np.testing.assert_array_equal(found.masks, arrays[patient.name][1])
            assert found.masks.dtype == bool
        else:
            assert found.masks is None
    with pytest.raises(StoreError, match=r"no patient 'd'.*a, b/2, c"):
        store.slices("d")


def test_other_programs_read_it_as_zarr(made):
    import zarr

    path, index, arrays = made
    root = zarr.open_group(path, mode="r")
    assert root.metadata.zarr_format == 3
    assert root.attrs["schema_version"] == 1
    assert [patient["name"] for patient in root.attrs["patients"]] == ["a", "b/2", "c"]
    group = root[group_name("a", index.patients[0].fingerprint, SETTINGS)]
    np.testing.assert_array_equal(group["masks"][:], arrays["a"][1])
    assert group["images"].chunks == (32, 16, 16)


def test_a_store_can_be_sent_to_another_process(made):
    store = pickle.loads(pickle.dumps(SliceStore.open(made[0])))
    assert store.healthy_slices("train").shape == (35, 16, 16)


def test_the_fingerprint_depends_on_settings_patients_and_parts_alone(made, tmp_path):
    path, index, _ = made
    fingerprint = SliceStore.open(path).fingerprint
    moved = shutil.copytree(path, tmp_path / "moved")
    assert SliceStore.open(moved).fingerprint == fingerprint
    first, *rest = index.patients
    changed = [
        {"patients": (stored("a", first.labels, part="validation"), *rest)},
        {"patients": (stored("a", first.labels, fingerprint="0" * 64), *rest)},
        {"patients": tuple(rest)},
        {"settings": SETTINGS.model_copy(update={"min_brain": 0.3})},
    ]
    found = {fingerprint}
    for change in changed:
        found.add(SliceStore.of_index(path, index.model_copy(update=change)).fingerprint)
    assert len(found) == 5
    elsewhere = (stored("a", first.labels, source="/elsewhere"), *rest)
    same = SliceStore.of_index(path, index.model_copy(update={"patients": elsewhere}))
    assert same.fingerprint == fingerprint


def test_what_is_no_store_is_one_sentence(tmp_path, made):
    import zarr

    path, index, _ = made
    with pytest.raises(StoreError, match=r"there is no slice store.*napari-cead prepare"):
        SliceStore.open(tmp_path / "nowhere")
    zarr.open_group(tmp_path / "other", mode="w")
    with pytest.raises(StoreError, match="not a slice store"):
        SliceStore.open(tmp_path / "other")
    write_index(path, index.model_copy(update={"complete": False}))
    with pytest.raises(StoreError, match="not complete; run the same prepare"):
        SliceStore.open(path)


def edit(path, change):
    document = json.loads((path / "zarr.json").read_text())
    change(document["attributes"])
    (path / "zarr.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda index: index.update(schema_version=2), "schema version 2, this program reads 1"),
        (lambda index: index.update(schema_version=True), "schema version True, this program reads 1"),
        (lambda index: index["split"].update(seed=True), r"damaged.*split\.seed"),
        (lambda index: index["patients"][0]["numbers"].__setitem__(0, False), r"damaged.*numbers\.0"),
        (lambda index: index.pop("patients") and index.update(patients=[{}]), "damaged.*name"),
        (lambda index: index["patients"][0]["labels"].pop(), "damaged.*different lengths"),
        (lambda index: index["patients"][0].update(parts=["training"] * 70), "damaged"),
        (lambda index: index["settings"].update(sequence=5), r"damaged.*settings\.sequence"),
    ],
)
def test_a_damaged_index_is_one_sentence(made, change, words):
    edit(made[0], change)
    with pytest.raises(StoreError, match=words):
        SliceStore.open(made[0])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"attributes": 3}', '{"attributes": null}', "\udcff"])
def test_an_index_that_is_no_json_is_one_sentence(made, text):
    (made[0] / "zarr.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(StoreError, match="damaged"):
        SliceStore.open(made[0])


def test_lost_slices_are_noticed(made):
    path, index, _ = made
    group = path / group_name("a", index.patients[0].fingerprint, SETTINGS)
    store = SliceStore.open(path)
    (group / "images" / "1.0.0").write_bytes(b"")
    with pytest.raises(StoreError, match=r"cannot be read.*delete this folder"):
        store.slices("a")
    (group / "images" / "1.0.0").unlink()  # zarr itself would read zeros
    with pytest.raises(StoreError, match="some slices are missing"):
        store.healthy_slices("train")
    shutil.rmtree(group)
    with pytest.raises(StoreError):
        store.healthy_slices("train")
    with pytest.raises(StoreError, match="slices of a are missing; run the same prepare"):
        SliceStore.open(path)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    import zarr

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zarr.Group, "create_array", full)
    with pytest.raises(OutputError, match="slices of a cannot be written \\(No space left"):
        write_patient(tmp_path, SETTINGS, stored("a", [0]), np.zeros((1, 16, 16), np.uint8), None)
    assert list(tmp_path.iterdir()) == []


def test_without_zarr_the_extra_is_named(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ImportError, match=r"slice store needs zarr.*napari-cead\[train\]"):
        SliceStore.open(made[0])


def test_a_group_name_is_one_folder_on_any_system():
    names = ["a/b", "a:b", "A/b", "..", "ü" * 300, ""]
    made = [group_name(name, "0", SETTINGS) for name in names]
    assert len({name.lower() for name in made}) == len(names)
    assert all(
        set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") for name in made
    )
    assert max(map(len, made)) < 100
    assert store_module.LABELS == ("healthy", "lesion", "unlabelled")


def test_a_chunk_that_was_cut_or_changed_is_one_sentence(made):
    path, _, _ = made
    store = SliceStore.open(path)
    chunk = next(path.glob("*/images/0.0.0"))
    whole = chunk.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    for content in (whole[: len(whole) // 2], bytes(changed), b""):
        chunk.write_bytes(content)
        with pytest.raises(StoreError) as error:
            for patient in store.patients:
                store.slices(patient.name)
        assert "\n" not in str(error.value) and ";" in str(error.value)
