import threading

import numpy as np
import pytest
from PIL import Image

from heads import add_head, make_stripped
from napari_cead.errors import Cancelled
from napari_cead.patients import judging
from napari_cead.store.inspection import inspect, inspect_all
from napari_cead.store.prepare import prepare
from napari_cead.store.scan_list import ScanList
from napari_cead.store.scans import ScanSource, find_scans
from scans import write_nifti

SPACING = np.diag([2.0, 2.0, 4.0, 1.0])


def scan(folder, name, volume, affine=SPACING, **more):
    return ScanSource(
        name, write_nifti(folder / f"{name}.nii", np.transpose(volume, (2, 1, 0)), affine), **more
    )


def codes(report, blocking=None):
    return {warning.code for warning in report.warnings if blocking in (None, warning.blocking)}


def brain(seed=0, contrast="flair"):
    return make_stripped((16, 96, 80), seed, contrast)


def test_a_good_scan_has_nothing_against_it(tmp_path):
    report = inspect(scan(tmp_path, "good", brain(), sequence="flair"))
    assert report.usable
    assert report.warnings == ()
    assert report.shape == (16, 96, 80)
    assert report.spacing == (4, 2, 2)
    assert report.thumbnail.shape == (96, 96)
    assert report.thumbnail.dtype == np.uint8
    assert report.thumbnail.max() > 128


def test_the_thumbnail_is_in_radiological_view(tmp_path):
    volume = brain()
    volume[:, 20:35, 10:25] *= (volume[:, 20:35, 10:25] > 0) * 3  # anterior, on the patient's right in LPS
    lps = np.diag([-2.0, -2.0, 4.0, 1.0])
    thumbnail = inspect(scan(tmp_path, "a", volume, lps)).thumbnail.astype(float)
    quarters = [thumbnail[:48, :48], thumbnail[:48, 48:], thumbnail[48:, :48], thumbnail[48:, 48:]]
    assert np.argmax([quarter.mean() for quarter in quarters]) == 0


def test_the_number_of_slices_is_that_of_a_store(tmp_path, quiet):
    lesion = np.zeros((16, 96, 80), np.uint8)
    lesion[5:8, 50:54, 40:44] = 1
    sources = []
    for number in range(3):
        mask = write_nifti(tmp_path / f"{number}_seg.nii", np.transpose(lesion, (2, 1, 0)), SPACING)
        sources.append(scan(tmp_path, str(number), brain(number), lesion_mask=mask))
    reports = inspect_all(sources)
    assert all(report.usable for report in reports)
    assert codes(reports[0]) == {"lesion-mask"}
    store = prepare(ScanList(tuple(sources)), tmp_path / "store")
    parts = [len(store.healthy_rows(part)) for part in ("train", "validation", "test")]
    assert sum(report.slices for report in reports) == sum(parts)
    assert reports[0].slices <= 13


def test_a_skull_blocks_and_a_brain_mask_mends_it(tmp_path):
    volume = brain()
    head = add_head(volume)
    bare = scan(tmp_path, "head", head)
    report = inspect(bare)
    assert codes(report, blocking=True) == {"skull"}
    assert not report.choosable
    assert "brain mask" in report.reasons[0]
    inside = np.pad(volume != 0, ((0, 0), (14, 14), (14, 14))).astype(np.uint8)
    file = write_nifti(tmp_path / "head_brain_mask.nii", np.transpose(inside, (2, 1, 0)), SPACING)
    (found,) = find_scans(tmp_path)
    assert found.brain_mask == file
    assert inspect(found).usable
    assert inspect(found).choosable


@pytest.mark.parametrize("contrast", ["t1", "t2"])
def test_another_contrast_by_its_grey_values_and_by_its_name(tmp_path, contrast):
    volume = brain(contrast=contrast)
    report = inspect(scan(tmp_path, "unnamed", volume))
    assert codes(report, blocking=True) == {"contrast"}
    assert report.choosable
    assert contrast.upper() in report.reasons[0]
    named = inspect(scan(tmp_path, "named", volume, sequence="flair"))
    assert named.usable
    assert codes(named) == {"contrast"}
    told = inspect(scan(tmp_path, "told", brain(), sequence="t2"))
    assert told.reasons == ("the name says t2, the model takes flair",)
    wanted = {"t1": "t1_gd", "t2": "t2"}[contrast]
    assert inspect(scan(tmp_path, "right", volume), sequence=wanted).usable


def test_the_same_scan_under_another_name_format_margin_and_scale(tmp_path):
    volume, other = brain(), brain(1)
    other[:, 40:60] *= 0.8
    padded = np.pad(volume, ((2, 0), (5, 9), (1, 3))) * 7
    flipped = np.transpose(volume, (2, 1, 0))[::-1]
    affine = SPACING.copy()
    affine[0, 0] = -2
    file = write_nifti(tmp_path / "e.nii.gz", flipped, affine)
    sources = [
        scan(tmp_path, "a", volume),
        scan(tmp_path, "b", other),
        scan(tmp_path, "c", padded),
        scan(tmp_path, "d", np.rint(volume * 255 / volume.max()).astype(np.uint8)),
        ScanSource("e", file),
    ]
    reports = inspect_all(sources)
    assert ["duplicate" in codes(report) for report in reports] == [False, False, True, True, True]
    assert reports[2].reasons == ("the same scan as a",)
    assert "duplicate" in codes(inspect(sources[4], known=reports[:1]))


def test_what_cannot_be_read_is_a_report_too(tmp_path):
    (tmp_path / "bad.nii.gz").write_bytes(b"no")
    report = inspect(ScanSource("bad", tmp_path / "bad.nii.gz"))
    assert codes(report, blocking=True) == {"unreadable"}
    assert (report.shape, report.thumbnail.shape) == ((0, 0, 0), (0, 0))
    assert codes(inspect(ScanSource("gone", tmp_path / "gone.nii"))) == {"unreadable"}
    folder = tmp_path / "Mets_1" / "2"
    folder.mkdir(parents=True)
    Image.fromarray(np.full((9, 9), 3, np.uint8)).save(folder / "000.png")
    report = inspect(ScanSource("png", folder.parent))
    assert "there is no flair scan, only t1_gd" in report.reasons[0]


def test_masks_that_cannot_be_used(tmp_path):
    far = SPACING.copy()
    far[:3, 3] = 999
    mask = write_nifti(tmp_path / "far.nii", np.ones((5, 5, 5), np.uint8), far)
    report = inspect(scan(tmp_path, "a", brain(), lesion_mask=mask))
    assert codes(report, blocking=True) == {"lesion-mask-unusable"}
    assert report.source.lesion_mask is None
    report = inspect(scan(tmp_path, "b", brain(), brain_mask=mask))
    assert report.usable
    assert codes(report) == {"brain-mask-unusable"}
    assert report.source.brain_mask is None


def test_a_scan_is_read_once_whatever_its_masks_are(tmp_path, monkeypatch):
    read, files = judging.read_place, []
    monkeypatch.setattr(judging, "read_place", lambda file, *how: files.append(file) or read(file, *how))
    volume = brain()
    image = write_nifti(tmp_path / "a_seg.nii", np.transpose(volume * 0.5, (2, 1, 0)), SPACING)
    whole = write_nifti(
        tmp_path / "b_mask.nii", np.transpose((volume != 0).astype(np.uint8), (2, 1, 0)), SPACING
    )
    for name, mask, code in (("a", image, "lesion-mask-unusable"), ("b", whole, "brain-mask")):
        files.clear()
        source = scan(tmp_path, name, volume, lesion_mask=mask)
        assert code in codes(inspect(source))
        assert files.count(source.scan) == files.count(mask) == 1


def test_a_brain_mask_that_is_named_like_a_lesion_mask(tmp_path):
    volume = brain()
    whole = np.transpose((volume != 0).astype(np.uint8), (2, 1, 0))
    mask = write_nifti(tmp_path / "a_mask.nii", whole, SPACING)
    report = inspect(scan(tmp_path, "a", volume, lesion_mask=mask))
    assert (report.source.lesion_mask, report.source.brain_mask) == (None, mask)
    assert report.usable
    assert report.slices > 10
    labels = write_nifti(tmp_path / "b_dseg.nii", whole, SPACING)
    report = inspect(scan(tmp_path, "b", volume, lesion_mask=labels))
    assert "lesion-mask-unusable" in codes(report, blocking=True)


def test_nothing_is_learnt_inside_a_mask_that_is_neither_of_lesions_nor_of_the_brain(tmp_path):
    volume = brain()
    inside = volume != 0
    half = inside & (np.arange(80) < 38)
    for name, mask in (
        ("a_mask", half),  # of something
        ("b_lesion_mask", inside),
        ("c_lesionmask", inside & (np.arange(80) < 50)),
        ("d_mask", ~inside),
    ):
        file = write_nifti(tmp_path / f"{name}.nii", np.transpose(mask.astype(np.uint8), (2, 1, 0)), SPACING)
        report = inspect(scan(tmp_path, name[0], volume, lesion_mask=file))
        assert "lesion-mask-unusable" in codes(report, blocking=True), name
        assert report.source.brain_mask is None and not report.choosable


def test_grids_that_are_odd(tmp_path):
    assert "spacing" in codes(inspect(scan(tmp_path, "small", brain(), np.diag([0.5, 0.5, 1, 1]))))
    assert "spacing" in codes(inspect(scan(tmp_path, "thick", brain(), np.diag([2.0, 2, 9, 1]))))
    assert "orientation" in codes(
        inspect(ScanSource("none", write_nifti(tmp_path / "n.nii", brain().T, oriented=False)))
    )
    shifted = inspect(scan(tmp_path, "air", brain() + 50))  # put right when it is read
    assert shifted.usable
    assert "intensities" in codes(shifted)
    assert "background" not in codes(shifted)
    noise = np.abs(np.random.default_rng(0).normal(3, 1, brain().shape))
    noisy = np.where(brain() == 0, noise, brain())
    assert "background" in codes(inspect(scan(tmp_path, "noise", noisy)), blocking=True)
    few = inspect(scan(tmp_path, "few", brain()[6:10]))
    assert few.usable
    assert codes(few) == {"few-slices"}
    everywhere = np.broadcast_to((np.arange(96) == 48)[None, :, None], (80, 96, 4)).astype(np.uint8)
    lesion = write_nifti(tmp_path / "l.nii", everywhere, SPACING)
    assert "no-slices" in codes(
        inspect(scan(tmp_path, "ill", brain()[6:10], lesion_mask=lesion)), blocking=True
    )


def test_reports_come_in_order_from_the_calling_thread(tmp_path):
    sources = [scan(tmp_path, str(number), brain(number)[6:10]) for number in range(6)]
    order, threads = [], set()

    def on_report(report):
        order.append(report.source.name)
        threads.add(threading.get_ident())

    inspect_all(sources, on_report, workers=3)
    assert order == [source.name for source in sources]
    assert threads == {threading.get_ident()}


def test_it_can_be_stopped(tmp_path):
    sources = [scan(tmp_path, str(number), brain(number)[6:10]) for number in range(4)]
    got = []
    with pytest.raises(Cancelled):
        inspect_all(sources, got.append, lambda: len(got) == 2, workers=1)
    assert len(got) == 2


def test_the_real_pack(real_data):
    sources = find_scans([real_data / "patient26", real_data / "raw", real_data / "layouts"])
    reports = {report.source.name: report for report in inspect_all(sources)}
    assert reports["patient26"].usable
    assert codes(reports["study1"], blocking=True) == {"skull"}
    assert codes(reports["Mets_026"], blocking=True) == {"duplicate"}
    assert "unreadable" in codes(reports["change_mask_common_space"])
