"""The word on scores without a network, against Dice at every threshold."""

import re

import numpy as np
import pytest
from scipy import ndimage

import napari_cead as cead
from model_folders import two_heads
from napari_cead.exploring import Session
from napari_cead.exploring.network_free import better_without
from napari_cead.patients import Patient
from scans import make_brain


@pytest.fixture
def session(tmp_path):
    """A patient with one bright lesion, and a network that knows nothing."""
    volume, lesion = make_brain(shape=(20, 60, 50))
    volume = ndimage.gaussian_filter(volume, 0.5) * (volume > 0)
    volume[lesion] *= 1.5
    session = Session()
    session.use(Patient.from_arrays({"flair": volume}, lesion_mask=lesion, spacing=(2.0, 0.94, 0.94)))
    session.detect(two_heads(tmp_path / "two"), "lesion-probability", device="cpu")
    return session


def best(anomaly_map, lesion):
    return max(cead.dice(anomaly_map > k / 256, lesion) for k in range(256))


def test_the_better_score_is_named_with_both_figures(session):
    sentence = better_without(session.analysis)
    made, lesion = session.analysis.reconstruction, session.patient.lesion_mask
    free = {name: best(made.anomaly_map(name), lesion) for name in ("brightness", "asymmetry")}
    name = max(free, key=free.get)
    assert name in sentence and "lesion-probability" in sentence
    figures = [float(text) for text in re.findall(r"[01]\.\d\d", sentence)]
    assert figures == pytest.approx([free[name], best(session.anomaly_map, lesion)], abs=0.005)
    assert figures[0] > figures[1]


def test_nothing_is_said_where_it_is_not_better_or_cannot_be_told(session, model_folder):
    session.set_score("brightness")
    assert better_without(session.analysis) is None
    session.set_score("lesion-probability")
    session.set_reference(np.zeros(session.patient.shape, np.bool_))
    assert better_without(session.analysis) is None
    session.set_reference(session.anomaly_map > session.anomaly_map.max() * 0.9)  # what the map itself says
    assert better_without(session.analysis) is None
    session.detect(model_folder, device="cpu")  # scaled in another way: no tissue to be brighter than
    assert better_without(session.analysis) is None
