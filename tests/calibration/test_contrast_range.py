"""The contrast of the training patients, on the card of what was trained on them."""

import json

import numpy as np
import pytest

import napari_cead as cead
from heads import make_stripped
from napari_cead.calibration.contrast_range import contrast_range
from napari_cead.calibration.finishing import finish
from napari_cead.detection.scan_warnings import contrast_doubt
from napari_cead.patients import Patient
from napari_cead.slices import contrast_figures, slice_stack
from napari_cead.store.prepare import prepare
from napari_cead.training import train
from scans import write_nifti
from small_stores import AE, settings

SIZE = 120


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Five patients whose scans look like T1, whatever their files are called."""
    folder = tmp_path_factory.mktemp("contrast")
    for number in range(5):
        volume = make_stripped(contrast="t1", seed=number)
        place = folder / "cohort" / f"p{number}"
        write_nifti(place / "flair.nii.gz", volume.T, np.diag([0.94, 0.94, 3, 1]))
        write_nifti(place / "seg.nii.gz", np.zeros(volume.T.shape, np.uint8), np.diag([0.94, 0.94, 3, 1]))
    return prepare(
        folder / "cohort", folder / "store", image_size=SIZE, validation=0.2, test=0, min_brain=0.05
    )


def test_the_range_is_that_of_the_training_patients(store):
    found = contrast_range(store)
    rims = []
    for patient in store.patients_of("train"):
        number = int(patient.name.removeprefix("p"))
        volume = make_stripped(contrast="t1", seed=number)
        rims.append(contrast_figures(volume, volume > 0, (3, 0.94, 0.94)).rim)
    assert found.rim == pytest.approx((min(rims), max(rims)), abs=0.03)
    assert found.skewness[0] <= found.skewness[1] < 1


def test_training_writes_it_and_what_looks_like_it_is_not_doubted(store, tmp_path):
    network = AE.model_copy(update={"image_size": SIZE})
    folder = finish(train(settings(network, epochs=1), store, tmp_path / "run").run)
    assert set(json.loads((folder / "model.json").read_text())["contrast"]) == {"skewness", "rim"}
    card = cead.load_model(str(folder), "cpu").card
    assert card.contrast == contrast_range(store)
    for contrast, told in (("t1", False), ("t2", True)):
        patient = Patient.from_arrays(
            {"flair": make_stripped(contrast=contrast, seed=9)}, spacing=(3, 0.94, 0.94)
        )
        doubt = contrast_doubt(patient, slice_stack(patient, size=SIZE), card)
        assert (doubt is not None) == told
