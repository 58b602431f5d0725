import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.morphology import disk

from napari_cead.detection.params import PostprocessParams
from napari_cead.detection.postprocessing import StagedPostprocessor, postprocess
from napari_cead.detection.steps import _patch
from napari_cead.detection.steps.closing import Closing
from napari_cead.detection.steps.dilation import Dilation
from napari_cead.errors import Cancelled, ParameterError


def oracle(pixels, params, pixel_area=1.0, brain=None):
    """The definition of one slice, call by call."""
    mask = pixels > params.threshold
    radius = params.closing_radius
    if radius:
        mask = ndimage.binary_closing(np.pad(mask, radius), disk(radius))[radius:-radius, radius:-radius]
    mask = ndimage.binary_fill_holes(mask)
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    if count:
        areas = np.bincount(labels.ravel())
        areas[0] = 0
        dropped = (areas < params.area_fraction * areas.max()) | (areas * pixel_area < params.min_area_mm2)
        dropped[0] = True
        mask = ~dropped[labels]
    if params.dilation_radius:
        mask = ndimage.binary_dilation(mask, disk(params.dilation_radius))
    return mask & brain if params.inside_brain and brain is not None else mask


def noise(rng, shape):
    return rng.random(shape)


def blobs(rng, shape):
    smooth = ndimage.gaussian_filter(rng.random(shape), rng.choice([1.0, 2.0, 4.0]))
    return (smooth - smooth.min()) / max(np.ptp(smooth), 1e-9)


def sparse(rng, shape):
    return rng.random(shape) * (rng.random(shape) < 0.03)


def dense(rng, shape):
    return np.where(rng.random(shape) < 0.97, 1.0, rng.random(shape))


def frames(rng, shape):
    """Rings that touch the borders, with gaps that are open only diagonally or not at all."""
    image = np.zeros(shape)
    for _ in range(6):
        y, x = rng.integers(-5, shape[0]), rng.integers(-5, shape[1])
        h, w = rng.integers(2, 25, 2)
        top, left = max(y, 0), max(x, 0)
        image[top : max(y + h, 0), left : max(x + w, 0)] = 1
        image[top + 1 : max(y + h - 1, 0), left + 1 : max(x + w - 1, 0)] = 0
        if image.any() and rng.random() < 0.7:
            image[tuple(rng.choice(np.argwhere(image)))] = 0
    return image


def diagonals(rng, shape):
    """One-pixel lines, diamonds whose inside only a diagonal step could leave, crossings."""
    image = np.zeros(shape)
    y, x = np.indices(shape)
    for _ in range(4):
        a, b, r = rng.integers(0, shape[0]), rng.integers(0, shape[1]), rng.integers(1, 12)
        line = rng.choice(3)
        hit = (abs(y - a) + abs(x - b) == r, y - x == a - b, y + x == a + b)[line]
        image[hit] = 1
    return image


def ties(rng, shape):
    """Equal squares, so that several components have the largest area, and areas at simple fractions of it."""
    image = np.zeros(shape)
    for _ in range(8):
        y, x, side = rng.integers(0, shape[0]), rng.integers(0, shape[1]), rng.choice([5, 5, 4, 3])
        image[y : y + side, x : x + side] = 1
    return image


def steps(rng, shape):
    """Values that are thresholds themselves, as float32 rounds them."""
    return rng.choice([0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0], shape).astype(np.float32)


def with_nan(rng, shape):
    image = blobs(rng, shape)
    image[rng.random(shape) < 0.05] = np.nan
    image[rng.random(shape) < 0.01] = np.inf
    return image


KINDS = [noise, blobs, sparse, dense, frames, diagonals, ties, steps, with_nan]
SHAPES = [(40, 40), (31, 17), (7, 52), (1, 30), (30, 1), (2, 25), (25, 2), (1, 1), (3, 3)]


def random_params(rng):
    return PostprocessParams(
        threshold=float(rng.choice([0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0])),
        closing_radius=int(rng.choice([0, 0, 1, 2, 2, 3, 5, 9])),
        area_fraction=float(rng.choice([0.0, 0.2, 0.36, 0.6, 0.64, 1.0, rng.random()])),
        dilation_radius=int(rng.choice([0, 1, 1, 2, 4, 9])),
        min_area_mm2=float(rng.choice([0.0, 0.0, 1.0, 4.0, 9.0, 30.5])),
        inside_brain=bool(rng.random() < 0.7),
    )


def random_brain(rng, shape):
    """A piece with a ragged rim, and now and then none: not known."""
    return None if rng.random() < 0.2 else blobs(rng, shape) > rng.choice([0.0, 0.4, 0.6, 1.0])


@pytest.mark.parametrize("outlines", [0, 3, 256], ids="outlines<={}".format)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_equals_the_definition_on_thousands_of_masks(kind, outlines, monkeypatch):
    monkeypatch.setattr(_patch, "_MAX_OUTLINES", outlines)  # 0: labels only
    rng = np.random.default_rng([KINDS.index(kind), outlines])
    filled = 0
    for case in range(150):
        shape = SHAPES[0] if case % 2 else SHAPES[case // 2 % len(SHAPES)]
        image = kind(rng, shape).astype(rng.choice([np.float32, np.float64]))
        params = random_params(rng)
        spacing = tuple(rng.choice([0.5, 0.94, 1.0, 2.0], 3))
        brain = random_brain(rng, shape)
        expected = oracle(image, params, spacing[1] * spacing[2], brain)
        result = postprocess(image, params, spacing, brain)
        assert result.dtype == np.bool_
        np.testing.assert_array_equal(result, expected, err_msg=f"case {case}: {shape} {params}")
        filled += expected.any()
    assert filled > 25


@settings(max_examples=150, deadline=None)
@given(
    mask=hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)),
    closing=st.integers(0, 6),
    fraction=st.sampled_from([0.0, 0.5, 0.6, 1.0]),
    dilation=st.integers(0, 6),
    outlines=st.booleans(),
)
def test_equals_the_definition_on_small_masks(mask, closing, fraction, dilation, outlines):
    params = PostprocessParams(closing_radius=closing, area_fraction=fraction, dilation_radius=dilation)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_patch, "_MAX_OUTLINES", 256 if outlines else 0)
        result = postprocess(mask.astype(np.float32), params)
    np.testing.assert_array_equal(result, oracle(mask.astype(np.float32), params))


@pytest.mark.parametrize("radius", [12, 25])
def test_radii_larger_than_the_image(radius):
    rng = np.random.default_rng(radius)
    for shape in ((9, 9), (1, 20), (20, 1), (4, 11)):
        image = (rng.random(shape) < 0.1).astype(np.float32)
        for params in (
            PostprocessParams(closing_radius=radius, dilation_radius=0),
            PostprocessParams(closing_radius=radius, dilation_radius=radius, area_fraction=0),
        ):
            np.testing.assert_array_equal(postprocess(image, params), oracle(image, params))


def test_large_noise_with_more_labels_than_16_bits_could_hold():
    image = np.zeros((514, 514), dtype=np.float32)
    image[::2, ::2] = 1  # 66,049 components of one pixel
    params = PostprocessParams(closing_radius=0, area_fraction=1, dilation_radius=0)
    np.testing.assert_array_equal(postprocess(image, params), image > 0)
    np.testing.assert_array_equal(
        postprocess(image, params.replace(min_area_mm2=1.5)), np.zeros_like(image, bool)
    )


def test_a_real_sized_slice_with_both_forms_of_components(monkeypatch):
    rng = np.random.default_rng(3)
    image = ndimage.gaussian_filter(rng.random((256, 256)), 1.5).astype(np.float32)
    image = (image - image.min()) / np.ptp(image)
    for limit in (0, 10**6):
        monkeypatch.setattr(_patch, "_MAX_OUTLINES", limit)
        for closing in (0, 2):
            params = PostprocessParams(threshold=0.65, closing_radius=closing, area_fraction=0.1)
            np.testing.assert_array_equal(postprocess(image, params), oracle(image, params))


def test_a_volume_is_its_slices_one_by_one():
    rng = np.random.default_rng(4)
    volume = np.stack([kind(rng, (40, 33)) for kind in KINDS * 3]).astype(np.float32)
    volume[5] = 0
    params = PostprocessParams(closing_radius=1, min_area_mm2=3, dilation_radius=9)
    expected = np.stack([oracle(pixels, params, 0.5) for pixels in volume])
    for workers in (None, 1, 2, 5, 100):
        result = postprocess(volume, params, (3.0, 1.0, 0.5), workers=workers)
        np.testing.assert_array_equal(result, expected)


def test_a_hole_open_only_diagonally_is_filled():
    image = np.array([[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]], dtype=float)
    params = PostprocessParams(closing_radius=0, area_fraction=0, dilation_radius=0)
    assert postprocess(image, params)[1, 1]
    image[0, 1] = 0  # now a side is open
    assert not postprocess(image, params)[1, 1]


def test_an_island_in_a_hole_adds_to_its_component():
    image = np.zeros((20, 20))
    image[1:10, 1:10], image[2:9, 2:9], image[5, 5] = 1, 0, 1  # filled: 81 pixels
    image[12:18, 12:18] = 1  # 36 pixels: more than the ring's 32 alone
    params = PostprocessParams(closing_radius=0, area_fraction=0.6, dilation_radius=0)
    result = postprocess(image, params)
    assert result[1:10, 1:10].all()
    assert result.sum() == 81


def test_area_fraction_keeps_a_component_of_just_that_size():
    image = np.zeros((10, 30))
    image[1, 1:11], image[4, 1:7], image[7, 1:6] = 1, 1, 1  # 10, 6 and 5 pixels
    params = PostprocessParams(closing_radius=0, area_fraction=0.6, dilation_radius=0)
    assert postprocess(image, params).sum() == 16
    assert postprocess(image, params.replace(area_fraction=0.61)).sum() == 10
    assert postprocess(image, params.replace(area_fraction=0.5)).sum() == 21


def test_smallest_area_is_in_square_millimetres_of_the_plane():
    image = np.zeros((12, 12))
    image[1:4, 1:4], image[7:9, 7:9] = 1, 1  # 9 and 4 pixels
    params = PostprocessParams(closing_radius=0, area_fraction=0, dilation_radius=0, min_area_mm2=5)
    for spacing, pixels in {(1, 1): 9, (1, 1, 1): 9, (99, 1, 1): 9, (2, 1): 13, (0.5, 1.0, 0.5): 0}.items():
        assert postprocess(image, params, spacing).sum() == pixels
        assert postprocess(image[None], params, spacing).sum() == pixels


def test_the_mask_ends_where_the_brain_ends_unless_told_otherwise():
    brain = np.zeros((20, 20), bool)
    brain[5:15, 5:15] = True
    image = np.where(brain, 0.5, 0)
    image[8:12, 5:7] = 0.9  # at the rim: a dilation leaves the brain
    image[5:7, 8], image[5:7, 12] = 0.9, 0.9
    params = PostprocessParams(threshold=0.6, closing_radius=0, area_fraction=0, dilation_radius=3)
    whole = postprocess(image, params)
    assert (whole & ~brain).any()
    inside = postprocess(image, params, brain=brain)
    np.testing.assert_array_equal(inside, whole & brain)
    np.testing.assert_array_equal(postprocess(image, params.replace(inside_brain=False), brain=brain), whole)
    np.testing.assert_array_equal(postprocess(image[None], params, (1, 1, 1), brain[None])[0], inside)
    staged = StagedPostprocessor(image[None], brain=brain[None])
    for inside_brain, expected in ((True, inside), (False, whole), (True, inside)):
        np.testing.assert_array_equal(staged.slice(0, params.replace(inside_brain=inside_brain)), expected)


def test_a_closing_does_not_leave_the_brain_either():
    brain = np.ones((9, 9), bool)
    brain[:4, 4] = False  # a fissure
    image = np.where(brain, 1.0, 0.0)
    params = PostprocessParams(threshold=0.5, closing_radius=2, dilation_radius=0)
    assert postprocess(image, params)[2, 4]
    np.testing.assert_array_equal(postprocess(image, params, brain=brain), brain)


def test_a_brain_of_another_shape_is_refused():
    for call in (postprocess, lambda image, params, brain: StagedPostprocessor(image, brain=brain)):
        with pytest.raises(ParameterError, match="differ in shape"):
            call(np.zeros((3, 4, 4)), PostprocessParams(), brain=np.ones((4, 4)))


def test_threshold_is_exclusive_and_compares_as_numpy_does():
    image = np.full((4, 4), 0.2, dtype=np.float32)
    params = PostprocessParams(threshold=0.2, dilation_radius=0)
    assert not postprocess(image, params).any()
    assert not postprocess(image, PostprocessParams(threshold=np.float64(0.2), dilation_radius=0)).any()
    assert postprocess(np.nextafter(image, np.float32(1)), params).all()


def test_nan_is_never_above_and_raises_no_warning():
    image = np.full((3, 8, 8), np.nan, dtype=np.float32)
    image[1, 2:5, 2:5] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = postprocess(image, PostprocessParams(threshold=0, dilation_radius=0))
    assert result.sum() == 9


@pytest.mark.parametrize(
    "arrange",
    [
        np.asfortranarray,
        lambda volume: volume[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
        lambda volume: np.ascontiguousarray(volume.transpose(2, 1, 0)).transpose(2, 1, 0),
        lambda volume: np.repeat(volume, 2, axis=2)[:, :, ::2],
        lambda volume: volume.astype(">f4"),
        lambda volume: volume.astype(np.float64),
        lambda volume: volume.tolist(),
    ],
    ids=["fortran", "flipped", "transposed", "strided", "big-endian", "double", "lists"],
)
def test_memory_layout_does_not_matter(arrange):
    rng = np.random.default_rng(5)
    volume = np.round(np.stack([blobs(rng, (30, 25)) for _ in range(4)]) * 64).astype(np.float32) / 64
    params = PostprocessParams(threshold=0.55)
    np.testing.assert_array_equal(postprocess(arrange(volume), params), postprocess(volume, params))


def test_the_map_is_left_alone_even_if_read_only():
    image = np.random.default_rng(6).random((3, 30, 30)).astype(np.float32)
    before = image.copy()
    image.flags.writeable = False
    postprocess(image, PostprocessParams())
    StagedPostprocessor(image).volume(PostprocessParams())
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("shape", [(0, 5, 5), (3, 0, 4), (3, 4, 0), (0, 4), (4, 0)])
def test_maps_without_voxels(shape):
    assert postprocess(np.zeros(shape), PostprocessParams()).shape == shape


def test_wrong_input_is_refused():
    params = PostprocessParams()
    for shape in ((), (5,), (2, 2, 2, 2)):
        with pytest.raises(ParameterError, match="dimensions"):
            postprocess(np.zeros(shape), params)
    with pytest.raises(ParameterError, match="dimensions"):
        StagedPostprocessor(np.zeros((4, 4)))
    with pytest.raises(ParameterError, match="real numbers"):
        postprocess(np.zeros((4, 4), dtype=complex), params)
    for spacing in ((1,), (1, 1, 1, 1), (1, 0, 1), (1, -1), (1, np.nan, 1), (1, 1, np.inf)):
        with pytest.raises(ParameterError, match="spacing"):
            postprocess(np.zeros((4, 4)), params, spacing)
        with pytest.raises(ParameterError, match="spacing"):
            StagedPostprocessor(np.zeros((4, 4, 4)), spacing)


def small_volume(seed=7, depth=12):
    rng = np.random.default_rng(seed)
    volume = np.stack([KINDS[z % len(KINDS)](rng, (36, 29)) for z in range(depth)]).astype(np.float32)
    volume[3] = 0
    return volume


def test_stages_give_the_same_masks_after_any_sequence_of_moves():
    volume, rng = small_volume(), np.random.default_rng(8)
    spacing = (1.0, 0.9, 0.8)
    brain = np.stack([blobs(rng, volume.shape[1:]) > 0.4 for _ in volume])
    staged = StagedPostprocessor(volume, spacing, brain)
    params = PostprocessParams()
    for _ in range(80):
        target = random_params(rng).model_dump()
        name = str(rng.choice(list(target)))
        params = params.replace(**{name: target[name]})
        z = int(rng.integers(len(volume)))
        np.testing.assert_array_equal(staged.slice(z, params), oracle(volume[z], params, 0.9 * 0.8, brain[z]))
        if rng.random() < 0.4:
            np.testing.assert_array_equal(staged.volume(params), postprocess(volume, params, spacing, brain))


def test_a_move_redoes_only_what_it_invalidates(monkeypatch):
    calls = {Closing: 0, Dilation: 0}
    for step in calls:

        def counted(self, *args, step=step, original=step.run):
            calls[step] += 1
            return original(self, *args)

        monkeypatch.setattr(step, "run", counted)

    def cost(params):
        calls.update(dict.fromkeys(calls, 0))
        staged.volume(params)
        return calls[Closing], calls[Dilation]

    volume = np.zeros((10, 30, 30), dtype=np.float32)
    volume[:, 2:8, 2:8], volume[:, 12:16, 12:16] = 0.9, 0.8  # 36 and 16 pixels
    staged = StagedPostprocessor(volume, brain=np.ones(volume.shape, bool))
    params = PostprocessParams(closing_radius=1)
    assert cost(params) == (10, 10)
    assert cost(params) == (0, 0)
    assert cost(params.replace(dilation_radius=3)) == (0, 10)
    assert cost(params.replace(dilation_radius=3, area_fraction=0.5)) == (
        0,
        0,
    )  # the same one component stays
    assert cost(params.replace(dilation_radius=3, area_fraction=0.4)) == (0, 10)
    assert cost(params.replace(dilation_radius=3, area_fraction=0.4, min_area_mm2=16)) == (0, 0)
    assert cost(params.replace(threshold=0.85)) == (10, 10)
    assert cost(params.replace(threshold=0.85, closing_radius=2)) == (10, 10)


def test_a_slice_shown_is_not_redone_for_the_volume(monkeypatch):
    seen = []
    original = Closing.run
    monkeypatch.setattr(Closing, "run", lambda *args: (seen.append(args), original(*args))[1])
    volume = small_volume()
    staged = StagedPostprocessor(volume, workers=1)
    params = PostprocessParams()
    staged.slice(4, params)
    staged.volume(params)
    assert len(seen) == len(volume)


def test_results_belong_to_the_caller():
    volume = small_volume()
    staged = StagedPostprocessor(volume)
    for params in (PostprocessParams(), PostprocessParams(dilation_radius=0)):
        expected = postprocess(volume, params)
        staged.volume(params)[:] = True
        staged.slice(0, params)[:] = True
        np.testing.assert_array_equal(staged.volume(params), expected)
        np.testing.assert_array_equal(staged.slice(0, params), expected[0])


def test_one_thread_computes_the_volume_while_another_asks_for_slices():
    volume = small_volume(depth=60)
    staged = StagedPostprocessor(volume, workers=2)
    choices = [PostprocessParams(threshold=t, dilation_radius=d) for t in (0.3, 0.6) for d in (0, 2)]
    expected = {params: postprocess(volume, params) for params in choices}
    wrong = []
    done = threading.Event()

    def work():
        for params in choices * 4:
            if not np.array_equal(staged.volume(params), expected[params]):
                wrong.append(params)
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    rng = np.random.default_rng(9)
    asked = 0
    while not done.is_set() or asked < 100:
        params, z = choices[rng.integers(len(choices))], int(rng.integers(len(volume)))
        np.testing.assert_array_equal(staged.slice(z, params), expected[params][z])
        asked += 1
    worker.join()
    assert not wrong


@pytest.mark.parametrize("workers", [1, 3])
def test_a_volume_can_be_cancelled_and_asked_for_again(workers):
    volume = small_volume(depth=40)
    staged = StagedPostprocessor(volume, workers=workers)
    asked = []

    def should_stop():
        asked.append(None)
        return len(asked) > 5

    with pytest.raises(Cancelled):
        staged.volume(PostprocessParams(), should_stop)
    assert len(asked) < 5 + 1 + 2 * workers  # no thread goes on
    np.testing.assert_array_equal(
        staged.volume(PostprocessParams()), postprocess(volume, PostprocessParams())
    )


def test_what_is_kept_of_each_slice_is_bounded_by_the_map():
    rng = np.random.default_rng(10)
    comb = np.zeros((1, 200, 200))
    comb[:, 0], comb[:, :, ::2] = 1, 1  # one component whose contour is as long as the image has pixels
    checkerboard = np.indices((1, 200, 200)).sum(axis=0) % 2
    for image in (noise(rng, (1, 200, 200)), checkerboard, comb, np.ones((1, 200, 200))):
        staged = StagedPostprocessor(image.astype(np.float32))
        for threshold in (0.1, 0.5, 0.9):
            staged.volume(PostprocessParams(threshold=threshold, closing_radius=0, area_fraction=0))
            results = [result for result in staged._states[0].results if result is not None]
            (components,) = (result for result in results if hasattr(result, "areas"))
            parts = [components.areas, *(result.mask for result in results if hasattr(result, "mask"))]
            if hasattr(components, "contours"):
                parts += components.contours
            else:
                parts += [components.labels, components.order]
            assert sum(part.nbytes for part in parts) <= 1.3 * 4 * image.size


def test_shape_and_slice_numbers():
    staged = StagedPostprocessor(np.zeros((3, 4, 5)))
    assert staged.shape == (3, 4, 5)
    with pytest.raises(IndexError):
        staged.slice(3, PostprocessParams())
