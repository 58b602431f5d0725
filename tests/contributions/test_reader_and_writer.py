import nibabel as nib
import numpy as np
import pytest
from npe2 import DynamicPlugin, PluginManifest

import napari_cead as cead
from napari_cead.contributions.layers import KEY
from napari_cead.contributions.reader import get_reader
from napari_cead.contributions.writer import write_image, write_labels
from napari_cead.detection import save_detection
from napari_cead.errors import OutputError, PatientError
from napari_cead.patients.marks import kind_of
from scans import make_brain, write_nifti


def test_the_manifest_is_valid_and_every_command_exists():
    manifest = PluginManifest.from_distribution("napari-cead")
    manifest.validate_imports()
    names = [widget.display_name for widget in manifest.contributions.widgets]
    assert names == ["Explore anomalies", "Train a model", "Evaluate a cohort"]
    assert isinstance(DynamicPlugin(manifest.name, manifest=manifest), DynamicPlugin)


def test_folders_and_files_that_are_no_patient_are_not_claimed(tmp_path, patient_folder):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.png").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for path in ("photos", "empty", ".", "nowhere", "photos/1.png"):
        assert get_reader(str(tmp_path / path)) is None
    assert get_reader([str(patient_folder), str(tmp_path / "photos")]) is None
    assert get_reader(str(patient_folder)) is not None
    assert get_reader(str(patient_folder / "flair.nii.gz")) is not None


def test_a_folder_a_file_and_a_list_of_both_are_read(patient_folder):
    def names(path):
        return [keywords["name"] for _, keywords, _ in get_reader(path)(path)]

    assert names(str(patient_folder)) == ["t1_gd", "flair", "lesion mask"]
    assert names(str(patient_folder / "t1_gd.nii.gz")) == ["t1_gd", "lesion mask"]
    both = [str(patient_folder / "flair.nii.gz"), str(patient_folder / "t1_gd.nii.gz")]
    assert names(both) == ["flair", "lesion mask", "t1_gd", "lesion mask"]


def test_a_folder_without_flair_still_opens(patient_folder):
    (patient_folder / "flair.nii.gz").unlink()
    layers = get_reader(str(patient_folder))(str(patient_folder))
    assert [keywords["name"] for _, keywords, _ in layers] == ["t1_gd", "lesion mask"]


def test_a_mask_alone_opens_as_labels(patient_folder, tmp_path):
    path = str(patient_folder / "seg.nii.gz")
    [(data, keywords, kind)] = get_reader(path)(path)
    assert kind == "labels"
    np.testing.assert_array_equal(data > 0, make_brain()[1])
    write_labels(str(tmp_path / "again.nii.gz"), data, keywords)
    again, source = nib.load(tmp_path / "again.nii.gz"), nib.load(path)
    np.testing.assert_array_equal(np.asarray(again.dataobj), np.asarray(source.dataobj))


def test_a_damaged_file_is_one_sentence(tmp_path):
    path = tmp_path / "flair.nii.gz"
    path.write_bytes(b"junk")
    with pytest.raises(PatientError, match=r"flair\.nii\.gz"):
        get_reader(str(path))(str(path))


def test_layers_are_saved_in_the_source_grid(patient_folder, tmp_path):
    layers = get_reader(str(patient_folder))(str(patient_folder))
    for (data, keywords, kind), name in zip(layers, ("t1_gd", "flair", "seg"), strict=True):
        write = write_labels if kind == "labels" else write_image
        [path] = write(str(tmp_path / f"{name}.nii.gz"), data, keywords)
        saved, source = nib.load(path), nib.load(patient_folder / f"{name}.nii.gz")
        np.testing.assert_array_equal(np.asarray(saved.dataobj), np.asarray(source.dataobj))
        np.testing.assert_allclose(saved.affine, source.affine)


def test_a_layer_of_anybody_is_saved_with_its_scale(tmp_path):
    data = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)
    [path] = write_image(str(tmp_path / "a.nii"), data, {"scale": (3, 2, 1), "metadata": {}})
    saved = nib.load(path)
    assert saved.header.get_zooms() == pytest.approx((1, 2, 3))
    again = get_reader(path)(path)[0]
    np.testing.assert_array_equal(again[0], data)
    [path] = write_labels(str(tmp_path / "b.nii"), np.eye(3, dtype=int), {"scale": (1, 1)})
    assert nib.load(path).shape == (3, 3, 1)


def test_what_is_no_volume_is_refused(tmp_path):
    with pytest.raises(OutputError, match="not a volume"):
        write_image(str(tmp_path / "a.nii"), np.zeros((2, 3, 4, 5)), {})
    assert list(tmp_path.iterdir()) == []


def test_a_masked_scan_next_to_another_is_not_mixed_up(tmp_path):
    volume, lesion = make_brain()
    write_nifti(tmp_path / "a_flair.nii", volume)
    write_nifti(tmp_path / "b_seg.nii", lesion.astype(np.uint8))
    layers = get_reader(str(tmp_path / "a_flair.nii"))(str(tmp_path / "a_flair.nii"))
    assert [kind for _, _, kind in layers] == ["image"]


@pytest.fixture
def results(patient_folder, model_folder, tmp_path):
    """What a detection wrote, in a folder inside the patient's own."""
    result = cead.detect(cead.load_patient(patient_folder), cead.load_model(model_folder, device="cpu"))
    out = patient_folder / "out"
    save_detection(result, out)
    return result, out


def shown(path):
    """Name, kind and role of each layer that a path opens as."""
    return [
        (keywords["name"], kind, keywords["metadata"][KEY].role)
        for _, keywords, kind in get_reader(str(path))(str(path))
    ]


def test_results_open_as_what_they_are(results, tmp_path):
    result, out = results
    expected = {
        "anomaly_map": ("anomaly map", "image", "anomaly map"),
        "reconstruction": ("reconstruction", "image", "reconstruction"),
        "mask": ("detected mask", "labels", "detected mask"),
    }
    for name, layer in expected.items():
        assert shown(out / f"{name}.nii.gz") == [layer]
        renamed = tmp_path / f"anna_{name}_flair_seg.nii.gz"
        renamed.write_bytes((out / f"{name}.nii.gz").read_bytes())
        assert shown(renamed) == [layer]
    assert shown(out) == [expected["reconstruction"], expected["anomaly_map"], expected["mask"]]
    [(data, keywords, _)] = get_reader(str(out / "anomaly_map.nii.gz"))(str(out / "anomaly_map.nii.gz"))
    np.testing.assert_array_equal(data, result.anomaly_map)
    assert keywords["colormap"].name == "anomaly"
    assert keywords["visible"]
    assert keywords["scale"] == pytest.approx((1.5, 0.95, 0.9))


def test_a_result_that_is_saved_again_is_still_one(results, tmp_path):
    _, out = results
    for name in ("anomaly_map", "reconstruction", "mask"):
        [(data, keywords, kind)] = get_reader(str(out / f"{name}.nii.gz"))(str(out / f"{name}.nii.gz"))
        write = write_labels if kind == "labels" else write_image
        [path] = write(str(tmp_path / f"{name}.nii.gz"), data, keywords)
        assert kind_of(path) == kind_of(out / f"{name}.nii.gz")
        np.testing.assert_array_equal(
            np.asarray(nib.load(path).dataobj), nib.load(out / f"{name}.nii.gz").dataobj
        )


def test_the_patient_around_results_is_opened_without_them(results, patient_folder):
    assert [name for name, *_ in shown(patient_folder)] == ["t1_gd", "flair", "lesion mask"]
    (patient_folder / "seg.nii.gz").unlink()
    (results[1] / "mask.nii.gz").rename(patient_folder / "mask.nii.gz")
    assert [name for name, *_ in shown(patient_folder)] == ["t1_gd", "flair"]
