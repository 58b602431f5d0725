import numpy as np
import pytest

from napari_cead.detection import SCORES, anomaly_score
from napari_cead.errors import ParameterError

IMAGE = np.array([0.0, 0.2, 0.9, 1.0], np.float32)
MADE = np.array([0.1, -0.1, 0.4, 2.5], np.float32)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("residual", [0.1, 0.3, 0.5, 1.0]),  # the last one, 1.5, is clipped
        ("positive-residual", [0.0, 0.3, 0.5, 0.0]),
        ("squared", [0.01, 0.09, 0.25, 1.0]),
        ("intensity", [0.0, 0.2, 0.9, 1.0]),
    ],
)
def test_scores_follow_their_formulas(name, expected):
    score = anomaly_score(name, IMAGE, MADE)
    np.testing.assert_allclose(score, expected, atol=1e-6)
    assert score.dtype == np.float32


def test_a_score_does_not_depend_on_the_rest_of_the_map():
    """Min-max scaling would: a threshold must mean the same on every slice and patient."""
    for name in SCORES:
        alone = anomaly_score(name, IMAGE[1:2], MADE[1:2])
        assert alone[0] == anomaly_score(name, IMAGE, MADE)[1]


def test_an_unknown_score_names_the_known_ones():
    with pytest.raises(ParameterError, match="positive-residual"):
        anomaly_score("loss", IMAGE, MADE)
