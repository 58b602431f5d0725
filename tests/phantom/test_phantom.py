"""The phantom: reproducible, with the contrasts of the sequences, and lesions as in the real set."""

from __future__ import annotations

import sys

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from napari_cead.errors import Cancelled, MissingExtraError, OutputError, ParameterError
from napari_cead.metrics import dice
from napari_cead.phantom import make_patient, write_cohort
from napari_cead.phantom.anatomy import make_anatomy, tissue_maps
from napari_cead.phantom.fields import Grid, smooth_field
from napari_cead.phantom.lesions import draw_diameters, make_lesions
from napari_cead.phantom.metastases import METASTASES
from napari_cead.resources import sample_data, sample_patient

pytest.importorskip("nilearn", reason="the phantom needs the extra phantom")

SHAPE = (75, 96, 96)  # the field of view of a full patient in larger voxels
SEQUENCES = ("bravo", "t1_pre", "t1_gd", "flair")


@pytest.fixture(scope="module")
def patient():
    return make_patient(5, 3, lesions=6, shape=SHAPE)


@pytest.fixture(scope="module")
def healthy():
    return make_patient(5, 3, lesions=0, shape=SHAPE)


@pytest.fixture(scope="module")
def anatomy():
    return make_anatomy(5, 3, Grid(SHAPE))


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory):
    out = tmp_path_factory.mktemp("cohorts")
    folders = {
        layout: write_cohort(out / layout, 2, layout, seed=5, lesions=3, shape=SHAPE)
        for layout in ("nifti", "png")
    }
    return folders, make_patient(5, 2, lesions=3, shape=SHAPE)


def same(one, other) -> bool:
    return np.array_equal(one.lesion_mask, other.lesion_mask) and all(
        np.array_equal(one.sequences[name], other.sequences[name]) for name in SEQUENCES
    )


def read_png(folder, name):
    files = sorted((folder / name).iterdir(), key=lambda file: int(file.stem))
    return np.stack([np.asarray(Image.open(file)) for file in files])


def test_same_seed_and_number_give_the_same_patient_and_others_differ(patient):
    assert same(patient, make_patient(5, 3, lesions=6, shape=SHAPE))
    for seed, number in ((6, 3), (5, 4)):
        other = make_patient(seed, number, lesions=6, shape=SHAPE)
        assert not np.array_equal(patient.sequences["flair"] > 0, other.sequences["flair"] > 0)


def test_full_size_patient_has_the_grid_of_the_real_set():
    full = make_patient(0, 1, lesions=1)
    assert full.name == "Mets_001"
    assert full.spacing == pytest.approx((1.0, 0.94, 0.94))
    assert {volume.shape for volume in full.sequences.values()} == {(150, 256, 256)}
    brain = full.sequences["flair"] > 0
    rows, columns = (np.flatnonzero(brain.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    assert 150 < np.ptp(rows) + 1 <= 196, "the brain fits the crop of the models"
    assert 120 < np.ptp(columns) + 1 <= 196
    litres = brain.sum() * np.prod(full.spacing) / 1e6
    assert 1.0 < litres < 2.0


def test_sequences_are_whole_positive_numbers_in_one_brain_and_zero_outside(patient):
    assert sorted(patient.sequences) == sorted(SEQUENCES)
    brain = patient.sequences["flair"] != 0
    for volume in patient.sequences.values():
        assert volume.dtype == np.float32
        assert np.array_equal(volume, np.rint(volume))
        assert volume.min() == 0
        assert 300 < volume.max() < 2000
        assert np.array_equal(volume != 0, brain)
    assert ndimage.label(brain)[1] == 1
    assert ndimage.label(~brain)[1] == 1, "no holes"
    assert not patient.lesion_mask[~brain].any()


def test_tissue_contrast_is_that_of_each_sequence(healthy, anatomy):
    pure = {
        tissue: getattr(anatomy, tissue) * (anatomy.rim > 0.9) * (1 - anatomy.deep) > 0.9
        for tissue in ("grey", "white", "fluid")
    }
    assert min(mask.sum() for mask in pure.values()) > 50
    median = {
        name: {tissue: np.median(volume[anatomy.box][anatomy.brain][mask]) for tissue, mask in pure.items()}
        for name, volume in healthy.sequences.items()
    }
    flair = median.pop("flair")
    assert flair["grey"] > 1.03 * flair["white"]
    assert flair["white"] > 3 * flair["fluid"] > 0
    for contrast in median.values():
        assert contrast["white"] > 1.05 * contrast["grey"]
        assert contrast["grey"] > 1.3 * contrast["fluid"]


def test_volume_is_in_lps_order(healthy):
    # Oracle: the average brain itself, put into LPS by nibabel from another starting order.
    from nilearn.datasets import load_mni152_gm_template

    image = nib.as_closest_canonical(load_mni152_gm_template(resolution=2))
    average = np.asarray(image.dataobj).transpose(2, 1, 0)[:, ::-1, ::-1]
    brain = healthy.sequences["t1_pre"] > 0
    for volume in (average > 0.2, brain):
        z, y, _ = np.nonzero(volume)
        low = z < np.quantile(z, 0.12)
        assert y[low].mean() > y.mean(), "the cerebellum, low, lies behind"
        top = z > np.quantile(z, 0.95)
        assert np.ptp(y[top]) < 0.9 * np.ptp(y), "the vertex is narrower than the middle"


def test_columns_run_from_patient_right_to_left(anatomy):
    _, _, column = np.nonzero(anatomy.brain)
    left = anatomy.place[2]  # mm to the patient's left in the average brain
    assert np.corrcoef(column, left)[0, 1] > 0.99


def test_brains_differ(healthy):
    other = make_patient(5, 4, lesions=0, shape=SHAPE)
    one, two = (patient.sequences["flair"] for patient in (healthy, other))
    both = (one > 0) & (two > 0)
    assert dice(one > 0, two > 0) > 0.75, "the same organ"
    assert np.corrcoef(one[both], two[both])[0, 1] < 0.6, "other gyri"


def test_healthy_patient_has_an_empty_mask(healthy):
    assert not healthy.lesion_mask.any()
    assert healthy.lesion_mask.dtype == bool


def test_number_and_size_of_lesions_are_those_of_metastases():
    cohort = [draw_diameters(11, number, None) for number in range(300)]
    counts = np.array([len(sizes) for sizes in cohort])
    sizes = np.concatenate(cohort)
    assert counts.min() == 1
    assert counts.max() <= 20
    assert np.median(counts) < counts.mean() < 7, "mostly few"
    assert 2 <= sizes.min() <= sizes.max() <= 40
    assert np.mean((sizes >= 3) & (sizes <= 15)) > 0.75
    assert [len(draw_diameters(11, 0, count)) for count in (0, 1, 20)] == [0, 1, 20]


def test_metastases_as_in_brainmetshare_have_the_published_number_and_size():
    """Groups of 41, 30 and 29 %, each within three standard errors of 300 draws; 2 mm to over 4 cm (Grøvik 2020)."""
    cohort = [draw_diameters(11, number, None, METASTASES["brainmetshare"]) for number in range(300)]
    counts = np.array([len(sizes) for sizes in cohort])
    for low, high, share in ((1, 3, 0.41), (4, 10, 0.30), (11, 999, 0.29)):
        found = np.mean((counts >= low) & (counts <= high))
        assert found == pytest.approx(share, abs=3 * np.sqrt(share * (1 - share) / 300))
    sizes = np.concatenate(cohort)
    assert 2 <= sizes.min() < 2.5 and sizes.max() > 40
    assert np.mean(sizes < 10) > 0.5, "most are small"


def test_metastases_as_in_brainmetshare_have_the_published_oedema():
    """865 oedemas around 1,416 metastases, mostly around those above 9.4 mm (Schneider 2017); 2.2 times as wide."""
    metastases, rng = METASTASES["brainmetshare"], np.random.default_rng(0)
    sizes = np.concatenate([draw_diameters(11, number, None, metastases) for number in range(300)])
    reach = np.array([metastases.swelling(rng, size) for size in sizes])
    assert np.mean(reach > 0) == pytest.approx(865 / 1416, abs=0.05)
    assert np.mean(reach[sizes < 9.4] > 0) < 0.5 and np.mean(reach[sizes >= 9.4] > 0) > 0.8
    swollen = reach > 0
    assert np.mean(1 + 2 * reach[swollen] / sizes[swollen]) == pytest.approx(2.2, abs=0.1)


def test_oedema_of_brainmetshare_shows_on_flair_beyond_the_core():
    anatomy = make_anatomy(5, 1, Grid(SHAPE))
    made = make_lesions(5, 1, anatomy, 12, METASTASES["brainmetshare"])
    swollen = [lesion for lesion in made if lesion.oedema.max() > 0.5]
    assert len(made) == 12 and 3 <= len(swollen) < 12
    patient, twin = (
        make_patient(5, 1, lesions=count, shape=SHAPE, metastases="brainmetshare") for count in (12, 0)
    )
    brighter = patient.sequences["flair"] > 1.1 * twin.sequences["flair"]
    oedema = np.zeros(SHAPE, bool)
    for lesion in swollen:
        oedema[anatomy.box][lesion.box] |= lesion.oedema > 0.7
    oedema &= ~patient.lesion_mask
    assert oedema.sum() > patient.lesion_mask.sum()
    assert brighter[oedema].mean() > 0.8


@pytest.mark.parametrize("lesions", [1, 6, 20])
def test_mask_holds_the_lesions_asked_for(lesions):
    made = make_patient(8, 1, lesions=lesions, shape=SHAPE)
    found = ndimage.label(made.lesion_mask, np.ones((3, 3, 3)))[1]
    assert 1 <= found <= lesions
    assert found >= 0.6 * lesions, "few of them touch"
    expected = sum(np.pi / 6 * size**3 for size in draw_diameters(8, 1, lesions))
    volume = made.lesion_mask.sum() * np.prod(made.spacing)
    assert 0.3 * expected < volume < 2 * expected


def test_lesions_enhance_after_contrast_only(patient, healthy):
    wall = patient.lesion_mask & ~ndimage.binary_erosion(patient.lesion_mask)
    around = ndimage.binary_dilation(patient.lesion_mask, iterations=3) & ~patient.lesion_mask
    around &= patient.sequences["bravo"] > 0
    for name in ("bravo", "t1_gd"):
        volume = patient.sequences[name]
        assert np.median(volume[wall]) > 1.25 * np.median(volume[around])
    before = patient.sequences["t1_pre"]
    assert np.median(before[wall]) < 1.1 * np.median(before[around])


def test_large_lesions_have_a_dark_centre():
    ratios = []
    for number in range(4):
        made = make_patient(21, number, lesions=20, shape=SHAPE)
        labels, _ = ndimage.label(made.lesion_mask)
        sizes = np.bincount(labels.ravel())[1:]
        one = labels == 1 + int(np.argmax(sizes))
        depth = ndimage.distance_transform_edt(one, sampling=made.spacing)
        if depth.max() < 7:
            continue
        bravo = made.sequences["bravo"]
        ratios.append(np.median(bravo[depth > 0.8 * depth.max()]) / np.median(bravo[one & (depth < 3)]))
    assert len(ratios) >= 2
    assert np.mean(np.array(ratios) < 0.7) >= 0.5


def test_lesions_are_all_that_sets_a_patient_apart_from_the_healthy_twin(patient, healthy):
    reach = ndimage.distance_transform_edt(~patient.lesion_mask, sampling=patient.spacing)
    for name in SEQUENCES:
        changed = patient.sequences[name] != healthy.sequences[name]
        assert changed[patient.lesion_mask].mean() > 0.9
        assert reach[changed].max() < 80
        assert changed.sum() < 0.3 * (healthy.sequences[name] > 0).sum()


def test_flair_abnormality_is_not_the_mask():
    overlap, outside = [], []
    for number in range(3):
        made, twin = (make_patient(5, number, lesions=count, shape=SHAPE) for count in (8, 0))
        before = twin.sequences["flair"]
        excess = made.sequences["flair"] - before > 0.2 * np.median(before[before > 0])
        overlap.append(dice(excess, made.lesion_mask))
        outside.append((excess & ~made.lesion_mask).sum() / made.lesion_mask.sum())
    assert 0.05 < np.mean(overlap) < 0.85
    assert max(outside) > 0.3, "oedema reaches beyond the core"


def test_nifti_cohort_is_the_patients_whatever_the_cohort_size(cohorts):
    folders, second = cohorts
    assert [folder.name for folder in folders["nifti"]] == ["Mets_001", "Mets_002"]
    folder = folders["nifti"][1]
    assert folder.parent.name == "train"
    names = sorted(file.name for file in folder.iterdir())
    assert names == ["bravo.nii.gz", "flair.nii.gz", "seg.nii.gz", "t1_gd.nii.gz", "t1_pre.nii.gz"]
    assert not list(folder.parent.glob(".*")), "nothing half-written"
    for name in SEQUENCES:
        image = nib.load(folder / f"{name}.nii.gz")
        assert image.get_data_dtype() == np.int16
        assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
        assert np.array_equal(np.asarray(image.dataobj).T, second.sequences[name])
        assert image.header["qform_code"] == image.header["sform_code"] == 1
        assert np.allclose(image.get_qform(), image.get_sform(), atol=1e-4)
        assert image.header.get_zooms() == pytest.approx(second.spacing[::-1], abs=1e-5)
    seg = nib.load(folder / "seg.nii.gz")
    assert seg.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(seg.dataobj).T, second.lesion_mask)


def test_nifti_affine_puts_lesions_on_their_side(cohorts):
    folders, second = cohorts
    seg = nib.load(folders["nifti"][1] / "seg.nii.gz")
    world = nib.affines.apply_affine(seg.affine, np.argwhere(np.asarray(seg.dataobj))).mean(axis=0)
    z, y, x = np.argwhere(second.lesion_mask).mean(axis=0)
    depth, height, width = second.spacing
    middle = (np.array(SHAPE) - 1) / 2
    right = -(x - middle[2]) * width  # columns run to the patient's left
    front = -(y - middle[1]) * height  # rows run backwards
    assert world == pytest.approx([right, front, (z - middle[0]) * depth], abs=1e-3)


def test_png_cohort_shows_the_same_anatomy_and_side(cohorts):
    folders, second = cohorts
    folder = folders["png"][1]
    assert sorted(path.name for path in folder.iterdir()) == ["0", "1", "2", "3", "seg"]
    seg = read_png(folder, "seg")
    assert set(np.unique(seg)) == {0, 255}
    # Column 0 is patient left in the pictures and patient right in memory.
    assert np.array_equal(seg[:, :, ::-1] > 0, second.lesion_mask)
    for number, name in (("0", "bravo"), ("1", "t1_pre"), ("2", "t1_gd"), ("3", "flair")):
        levels = read_png(folder, number)[:, :, ::-1]
        volume = second.sequences[name]
        assert levels.dtype == np.uint8
        assert np.array_equal(levels > 0, volume > 0)
        # One scale per volume: grey level and intensity are proportional up to rounding and saturation.
        linear = (levels > 20) & (levels < 255)
        scale = levels[linear] / volume[linear]
        assert np.ptp(scale) < 0.06 * scale.mean()
        assert (levels == 255).any()


def test_gain_makes_fewer_grey_levels_of_the_same_picture(tmp_path, cohorts):
    folders, _ = cohorts
    (coarse,) = write_cohort(tmp_path, 1, seed=5, lesions=3, shape=SHAPE, gain=0.25)
    one, other = (
        np.asarray(nib.load(folder / "flair.nii.gz").dataobj) for folder in (coarse, folders["nifti"][0])
    )
    assert np.array_equal(one > 0, other > 0)
    assert np.abs(one - other / 4).max() <= 1
    assert (coarse / "flair.nii.gz").stat().st_size < (folders["nifti"][0] / "flair.nii.gz").stat().st_size


def test_an_existing_patient_is_never_replaced(tmp_path):
    real = tmp_path / "train" / "Mets_002"
    real.mkdir(parents=True)
    (real / "flair.nii.gz").write_text("a real scan")
    with pytest.raises(OutputError, match=r"Mets_002: the folder exists already"):
        write_cohort(tmp_path, 3, lesions=1, shape=(20, 32, 32))
    assert (real / "flair.nii.gz").read_text() == "a real scan"
    assert [path.name for path in real.parent.iterdir()] == ["Mets_002"]


def test_stopping_keeps_the_patients_that_are_done(tmp_path):
    seen = []
    with pytest.raises(Cancelled):
        write_cohort(
            tmp_path,
            5,
            lesions=0,
            shape=(20, 32, 32),
            on_progress=lambda done, total: seen.append((done, total)),
            should_stop=lambda: len(seen) == 2,
        )
    assert seen == [(1, 5), (2, 5)]
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == ["Mets_001", "Mets_002"]


def test_unwritable_output_is_an_output_error(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(OutputError, match="file"):
        write_cohort(blocked, 1, shape=(20, 32, 32))

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib, "save", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        write_cohort(tmp_path / "out", 1, shape=(20, 32, 32))
    assert not list((tmp_path / "out" / "train").iterdir())


@pytest.mark.parametrize(
    "call",
    [
        lambda out: write_cohort(out, 0),
        lambda out: write_cohort(out, 1, "dicom"),
        lambda out: write_cohort(out, 1, gain=0),
        lambda out: write_cohort(out, 1, metastases="many"),
        lambda out: make_patient(0, metastases="many"),
        lambda out: make_patient(-1),
        lambda out: make_patient(0, -1),
        lambda out: make_patient(0, lesions=21),
        lambda out: make_patient(0, shape=(4, 64, 64)),
    ],
)
def test_wrong_use_is_a_parameter_error_and_writes_nothing(tmp_path, call):
    with pytest.raises(ParameterError):
        call(tmp_path)
    assert not list(tmp_path.iterdir())


def test_missing_nilearn_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "nilearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"napari-cead\[phantom\]"):
        tissue_maps.__wrapped__()


def test_fields_have_unit_variance_and_do_not_depend_on_the_grid():
    fine, coarse = Grid((60, 60, 60)), Grid((20, 20, 20))
    fields = [smooth_field(np.random.default_rng(1), grid.axes(), 12.0) for grid in (fine, coarse)]
    # Every third voxel centre of the fine grid, from the second, is one of the coarse grid.
    assert np.allclose(fields[0][1::3, 1::3, 1::3], fields[1], atol=1e-4)
    assert 0.8 < fields[0].std() < 1.2
    assert np.diff(fields[0], axis=0).std() < 0.4, "smooth: 2.5 mm are a fifth of the distance between knots"


def test_the_sample_patient_is_small_licensed_and_shows_its_lesions():
    folder = sample_patient()
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 8_000_000
    notice = (sample_data() / "LICENSE-ICBM152.txt").read_text(encoding="utf-8")
    assert "McConnell Brain Imaging Centre" in notice
    volumes = {name: np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj) for name in (*SEQUENCES, "seg")}
    assert {volume.shape for volume in volumes.values()} == {(256, 256, 150)}
    found = ndimage.label(volumes["seg"], np.ones((3, 3, 3)))[1]
    assert 4 <= found <= 8
    flair, seg = volumes["flair"], volumes["seg"] > 0
    brain = flair > 0
    assert np.median(flair[seg]) > 1.2 * np.median(flair[brain & ~seg])


def test_varied_patients_differ_as_scanners_do_and_keep_their_anatomy():
    def liquid(varied):
        found = []
        for number in range(1, 8):
            patient = make_patient(9, number, 0, (40, 64, 64), varied=varied)
            flair = patient.sequences["flair"]
            found.append(np.percentile(flair[flair > 0], 3) / np.median(flair[flair > 0]))
        return np.array(found)

    usual, varied = liquid(False), liquid(True)
    assert varied.std() > 1.5 * usual.std() and varied.max() > usual.max()
    one, other = (make_patient(9, 1, 2, (40, 64, 64), varied=varied) for varied in (False, True))
    assert ((one.sequences["flair"] > 0) == (other.sequences["flair"] > 0)).all()
    assert (one.lesion_mask == other.lesion_mask).all()


def test_the_former_place_of_the_phantom_still_has_its_names():
    from napari_cead import phantom
    from napari_cead.patients.phantom import write_cohort

    assert write_cohort is phantom.write_cohort
