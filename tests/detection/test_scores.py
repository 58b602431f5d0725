import numpy as np
import pytest
from scipy import ndimage

from model_folders import card
from napari_cead.detection import SCORES, anomaly_score, available_scores, check_score
from napari_cead.detection.scores import SMOOTHING_MM
from napari_cead.errors import ParameterError
from napari_cead.models.specs import spec
from napari_cead.zoo import ModelCard, Preprocessing

IMAGE = np.array([0.0, 0.2, 0.9, 1.0], np.float32)
MADE = np.array([0.1, -0.1, 0.4, 2.5], np.float32)
GRADIENT = np.array([0.0, 3.0, 1.0, 8.0], np.float32)
LESION = np.array([0.0, 0.5, 0.9, 0.1], np.float32)
STATISTICS = {
    "residual_mean": np.array([0.2, 0.1, 0.1, 0.5], np.float32),
    "residual_std": np.array([0.1, 0.1, 0.2, 0.1], np.float32),
}
SCALES = {
    "residual-z": 4.0,
    "kl-gradient": 4.0,
    "combined": 2.0,
    "smoothed-residual": 2.0,
    "residual-times-intensity": 0.5,
    "smoothed-times-intensity": 0.5,
}
OF_PIXELS = [score.name for score in SCORES if not score.whole]
MAPS = ("residual_mean", "residual_std")


def score_all(name, chosen=slice(None)):
    return anomaly_score(
        name,
        IMAGE[chosen],
        MADE[chosen],
        SCALES,
        ingredients={"gradient": GRADIENT[chosen], "lesion": LESION[chosen]},
        statistics={key: values[chosen] for key, values in STATISTICS.items()},
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("residual", [0.1, 0.3, 0.5, 1.0]),  # the last one, 1.5, is clipped
        ("positive-residual", [0.0, 0.3, 0.5, 0.0]),
        ("squared", [0.01, 0.09, 0.25, 1.0]),
        ("residual-times-intensity", [0.0, 0.12, 0.9, 0.0]),
        ("residual-z", [0.0, 0.5, 0.5, 1.0]),  # the first one, -1 standard deviation, is no anomaly
        ("kl-gradient", [0.0, 0.75, 0.25, 1.0]),
        ("combined", [0.0, 0.45, 0.25, 1.0]),
        ("lesion-probability", [0.0, 0.5, 0.9, 0.1]),
        ("intensity", [0.0, 0.2, 0.9, 1.0]),
    ],
)
def test_scores_follow_their_formulas(name, expected):
    score = score_all(name)
    np.testing.assert_allclose(score, expected, atol=1e-6)
    assert score.dtype == np.float32


def test_a_score_does_not_depend_on_the_rest_of_the_map():
    """Min-max scaling would: a threshold must mean the same on every slice and patient."""
    for name in OF_PIXELS:
        assert score_all(name, slice(1, 2))[0] == score_all(name)[1]


def test_smoothed_scores_average_over_the_neighbours_in_the_brain_in_mm():
    rng = np.random.default_rng(0)
    image, made = rng.random((2, 3, 24, 20)).astype(np.float32) + 0.1
    image[:, :, :4] = 0  # background
    brain, positive = image > 0, np.maximum(image - made, 0)
    spacing = (1.0, 2.0)
    rows, columns = (
        np.exp(-0.5 * ((np.arange(n)[:, None] - np.arange(n)) * mm / SMOOTHING_MM) ** 2)
        for n, mm in zip(image.shape[1:], spacing, strict=True)
    )
    total, weight = (rows @ (part * brain) @ columns for part in (positive, np.ones_like(positive)))
    expected = np.where(brain, total / np.maximum(weight, 1e-9), 0)
    for name, factor in (("smoothed-residual", 1), ("smoothed-times-intensity", image)):
        found = anomaly_score(name, image, made, SCALES, spacing=spacing)
        np.testing.assert_allclose(found, np.clip(expected * factor / SCALES[name], 0, 1), atol=2e-3)
        one = anomaly_score(name, image[1], made[1], SCALES, spacing=spacing)  # any slice can be had alone
        np.testing.assert_array_equal(one, found[1])


def test_median_residual_is_that_of_another_library_within_the_eroded_brain():
    rng = np.random.default_rng(0)
    image, made = rng.random((2, 2, 3, 24, 20)).astype(np.float32) + 0.1
    image[..., :4] = image[..., 9:11, 12] = 0  # background, and a hole
    square = np.ones((1, 1, 5, 5))
    inside = ndimage.binary_erosion(image > 0, square)
    residual = np.where(inside, np.abs(image - made), 0)
    expected = np.where(inside, ndimage.median_filter(residual, footprint=square), 0)
    found = anomaly_score("median-residual", image, made)
    np.testing.assert_array_equal(found, expected)
    assert found.any() and not found[..., :6].any() and not found[..., -2:].any()
    np.testing.assert_array_equal(anomaly_score("median-residual", image[0, 1], made[0, 1]), found[0, 1])


def test_statistics_are_those_of_the_pixel_on_every_slice():
    rng = np.random.default_rng(0)
    images, made = rng.random((2, 3, 4, 4), dtype=np.float32)
    mean, std = rng.random((2, 4, 4), dtype=np.float32) / 4
    found = anomaly_score(
        "residual-z", images, made, SCALES, statistics={"residual_mean": mean, "residual_std": std}
    )
    for n, y, x in np.ndindex(3, 4, 4):
        z = (abs(float(images[n, y, x]) - float(made[n, y, x])) - float(mean[y, x])) / float(std[y, x])
        assert found[n, y, x] == pytest.approx(min(max(z, 0) / 4, 1), rel=1e-4, abs=1e-6)


def test_an_unknown_score_names_the_known_ones():
    for ask in (lambda: anomaly_score("loss", IMAGE, MADE), lambda: check_score("loss", card())):
        with pytest.raises(ParameterError, match=r"no anomaly score called 'loss'.*positive-residual"):
            ask()


@pytest.mark.parametrize("name", [score.name for score in SCORES if score.scaled])
def test_without_a_constant_a_scaled_score_is_refused(name):
    more = {"ingredients": {"gradient": GRADIENT}, "statistics": STATISTICS}
    with pytest.raises(ParameterError, match=f"{name} needs a constant.*which mine does not carry; use "):
        anomaly_score(name, IMAGE[None], MADE[None], {}, model="mine", **more)
    with pytest.raises(ParameterError, match=f"{name} needs a constant.*which mine does not carry; use "):
        check_score(name, card(statistics=MAPS))


@pytest.mark.parametrize(("name", "lacking"), [("residual-z", "statistics"), ("combined", "KL gradient")])
def test_without_its_ingredients_a_score_is_refused(name, lacking):
    with pytest.raises(ParameterError, match=rf"{name} needs .*{lacking}.*mine.*; "):
        anomaly_score(name, IMAGE, MADE, SCALES, model="mine")


FREE = ("residual", "positive-residual", "squared", "median-residual")
BRIGHT = ("smoothed-residual", "residual-times-intensity", "smoothed-times-intensity")


def test_a_model_offers_what_it_can_give():
    assert available_scores(card()) == (*FREE, "intensity")
    assert available_scores(card(score_scales=SCALES)) == (
        *FREE,
        *BRIGHT,
        "kl-gradient",
        "combined",
        "intensity",
    )
    whole = card(score_scales=SCALES, statistics=MAPS, tails={"change": (0.0, 0.1)})
    for_tissue = whole.model_copy(update={"preprocessing": Preprocessing(intensity="volume-tissue")})
    of_a_second_head = {"lesion-probability"}
    assert available_scores(for_tissue) == tuple(
        name for name in SCORES.names if name not in of_a_second_head
    )
    for name in available_scores(for_tissue):
        check_score(name, for_tissue)
    of_tissue = {"bright-and-changed", "fused", "brightness", "asymmetry"}
    assert set(SCORES.names) - set(available_scores(whole)) == of_tissue | of_a_second_head
    with pytest.raises(ParameterError, match="needs tables of what healthy tissue gives"):
        check_score("fused", for_tissue.model_copy(update={"tails": {}}))
    with pytest.raises(ParameterError, match=r"needs the probability of a lesion.*; use one of residual"):
        check_score("lesion-probability", for_tissue)
    with pytest.raises(ParameterError, match="scaled by their tissue"):
        check_score("bright-and-changed", whole)
    assert "residual-z" not in available_scores(card(score_scales=SCALES, statistics=MAPS[:1]))


@pytest.mark.parametrize("design", ["ae", "ce-vq-vae", "dae"])
def test_models_without_a_posterior_have_no_kl_gradient(design):
    plain = ModelCard(
        name="mine",
        spec=spec(design, "small"),
        preprocessing=Preprocessing(),
        score_scales=SCALES,
        statistics=MAPS,
    )
    assert available_scores(plain) == (*FREE, *BRIGHT, "residual-z", "intensity")
    for name in ("kl-gradient", "combined"):
        with pytest.raises(ParameterError) as caught:
            check_score(name, plain)
        assert str(caught.value) == (
            f"{name} needs a variational autoencoder, which mine is not; "
            "use one of residual, positive-residual, squared, median-residual, smoothed-residual, "
            "residual-times-intensity, smoothed-times-intensity, residual-z, intensity"
        )


def test_bright_and_changed_is_the_harmonic_mean_of_both_and_half_of_what_was_dark():
    rng = np.random.default_rng(4)
    brain = np.zeros((2, 40, 44), bool)
    brain[:, 6:34, 8:36] = True
    image = np.where(brain, rng.uniform(0.2, 0.9, brain.shape), 0).astype(np.float32)
    made = np.where(brain, rng.uniform(0.2, 0.9, brain.shape), 0).astype(np.float32)

    def smooth(values, millimetres):
        sigma = (0, millimetres / 1.5, millimetres / 1.5)
        inside = ndimage.gaussian_filter(brain.astype(float), sigma, mode="constant")
        return (
            ndimage.gaussian_filter(np.where(brain, values, 0.0), sigma, mode="constant")[brain]
            / inside[brain]
        )

    q, e = smooth(np.maximum(image - made, 0), 3.75), smooth(np.maximum(image - 0.5, 0), 1.5)
    expected = 2 * q * e / (q + e) + 0.5 * smooth(np.maximum(made - image, 0), 3.0)
    found = anomaly_score("bright-and-changed", image, made, spacing=(1.5, 1.5))
    np.testing.assert_allclose(found[brain], expected, rtol=2e-3, atol=1e-4)
