"""Layouts of published data sets, on small made-up trees that are written by nibabel alone."""

import hashlib
import warnings

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from napari_cead import load_patient
from napari_cead.errors import CeadError, MaskError, ParameterError, PatientError
from napari_cead.patients.datasets import find_layout, layout_names
from napari_cead.patients.integrity import check_cohort

SHAPE = (24, 26, 8)


def head(level):
    grid = np.indices(SHAPE)
    inside = sum(((g - (n - 1) / 2) / (n / 2.3)) ** 2 for g, n in zip(grid, SHAPE, strict=True)) < 1
    return np.where(inside, level + grid[0] % 3, 0).astype(np.float32)


def labels(*values):
    volume = np.zeros(SHAPE, np.uint8)
    for place, value in enumerate(values):
        volume[8 + 3 * place : 10 + 3 * place, 12:15, 3:5] = value
    return volume


def write(file, data):
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([-1, -1, 2, 1])), file)


def scans(top, files, mask=None, values=(1,)):
    for number, file in enumerate(files):
        write(top / file, head(100 + 10 * number))
    if mask is not None:
        write(top / mask, labels(*values))


def brainmetshare(top, name):
    scans(top, [f"train/{name}/{one}.nii.gz" for one in ("flair", "t1_pre", "t1_gd", "bravo")])
    write(top / f"train/{name}/seg.nii.gz", labels(1))


def pngs(top, name):
    for folder, level in (("0", 90), ("1", 100), ("2", 110), ("3", 120), ("seg", 0)):
        place = top / f"mets_stanford_releaseMask_train/{name}/{folder}"
        place.mkdir(parents=True)
        volume = head(level) if level else labels(255)
        for z in range(SHAPE[2]):
            Image.fromarray(volume[:, :, z].T.astype(np.uint8)).save(place / f"{z:03d}.png")


def brats(top, name):
    scans(top, [f"{name}/{name}_{one}.nii.gz" for one in ("flair", "t1", "t1ce", "t2")])
    write(top / f"{name}/{name}_seg.nii.gz", labels(1, 2, 4))


def mets(top, name):
    scans(top, [f"{name}/{name}-{one}.nii.gz" for one in ("t2f", "t1n", "t1c", "t2w")])
    write(top / f"{name}/{name}-seg.nii.gz", labels(1, 2, 3))


def mslub(top, name):
    scans(top, [f"{name}/{name}_{one}.nii.gz" for one in ("FLAIR", "T1W", "T1WKS", "T2W")])
    write(top / f"{name}/{name}_consensus_gt.nii.gz", labels(1))
    write(top / f"{name}/{name}_brainmask.nii.gz", (head(1) > 0).astype(np.uint8))


def wmh(top, place):
    scans(
        top,
        [f"{place}/{folder}/{one}.nii.gz" for folder in ("pre", "orig") for one in ("FLAIR", "T1")],
        f"{place}/wmh.nii.gz",
        (1, 2),
    )


def isles(top, name):
    own = f"{name}_ses-0001"
    scans(top, [f"{name}/ses-0001/anat/{own}_FLAIR.nii.gz", f"{name}/ses-0001/dwi/{own}_dwi.nii.gz"])
    write(top / f"derivatives/{name}/ses-0001/{own}_msk.nii.gz", labels(1))


def atlas(top, name):
    place = f"Training/R{name[5:8]}/{name}/ses-1/anat/{name}_ses-1_space-MNI152NLin2009aSym_"
    scans(top, [f"{place}T1w.nii.gz"], f"{place}label-L_desc-T1lesion_mask.nii.gz")


FOUR = ["flair", "t1_pre", "t1_gd", "bravo"]
MULTI = ["flair", "t1_pre", "t1_gd", "t2"]
TREES = {
    "brainmetshare": (brainmetshare, ["Mets_005", "Mets_014"], ["Mets_005", "Mets_014"], FOUR, 1),
    "brainmetshare-png": (pngs, ["Mets_005"], ["Mets_005"], FOUR, 1),
    "brats2021": (brats, ["BraTS2021_00000", "BraTS2021_00002"], None, MULTI, 3),
    "brats-mets2023": (mets, ["BraTS-MET-00002-000", "BraTS-MET-00002-001"], None, MULTI, 3),
    "mslub": (mslub, ["patient01", "patient02"], None, MULTI, 1),
    "wmh2017": (
        wmh,
        ["training/Utrecht/0", "test/Singapore/3", "training/Amsterdam/GE3T/100"],
        ["GE3T-100", "Singapore-3", "Utrecht-0"],
        ["flair", "t1_pre"],
        1,
    ),
    "isles2022": (
        isles,
        ["sub-strokecase0001", "sub-strokecase0002"],
        ["sub-strokecase0001_ses-0001", "sub-strokecase0002_ses-0001"],
        ["flair"],
        1,
    ),
    "atlas-v2": (
        atlas,
        ["sub-r001s001", "sub-r009s002"],
        ["sub-r001s001_ses-1", "sub-r009s002_ses-1"],
        ["t1_pre"],
        1,
    ),
}


def test_every_layout_that_can_be_used_has_a_tree_here():
    assert set(TREES) == {name for name in layout_names() if not find_layout(name).unusable}


@pytest.mark.parametrize("name", TREES)
def test_a_data_set_is_found_and_loaded_as_its_layout_says(name, tmp_path):
    make, given, wanted, sequences, regions = TREES[name]
    for one in given:
        make(tmp_path, one)
    layout = find_layout(name)
    found = layout.patients(tmp_path)
    assert [one.name for one in found] == (wanted or given)
    for one in found:
        assert list(one.files.sequences) == sequences
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            patient = load_patient(one.files, sequences[0])
        assert patient.name == one.name and list(patient.sequences) == sequences
        assert patient.lesion_mask.sum() == 12 * regions  # 2 x 3 x 2 voxels for each label that is lesion
        if name != "brainmetshare-png":
            assert np.array_equal(patient.volume(), head(100).transpose(2, 1, 0))
    assert layout.title and layout.paper and layout.host and layout.licence


def test_a_label_that_is_ignored_is_neither_lesion_nor_evaluated(tmp_path):
    wmh(tmp_path, "Utrecht/0")
    patient = load_patient(find_layout("wmh2017").patients(tmp_path)[0].files)
    other = labels(1, 2).transpose(2, 1, 0) == 2
    assert np.array_equal(patient.ignored, other)
    assert not (patient.lesion_mask & other).any()
    write(tmp_path / "Utrecht/0/wmh.nii.gz", labels(1, 7))
    with pytest.raises(MaskError, match="label 7 is none of those of the layout"):
        load_patient(find_layout("wmh2017").patients(tmp_path)[0].files)


def test_the_publishers_own_split_comes_first(tmp_path):
    for place in ("training/Utrecht/0", "test/Utrecht/1", "training/Amsterdam/GE3T/100"):
        wmh(tmp_path, place)
    layout = find_layout("wmh2017")
    assert {one.name: (one.part, one.site) for one in layout.patients(tmp_path)} == {
        "Utrecht-0": ("validation", "Utrecht"),
        "Utrecht-1": ("test", "Utrecht"),
        "GE3T-100": ("validation", "GE3T"),
    }
    assert [one.part for one in layout.patients(tmp_path / "test")] == ["test"]


def test_a_person_is_in_one_part_whatever_else_is_there(tmp_path):
    for visit in ("000", "001", "002"):
        mets(tmp_path, f"BraTS-MET-00002-{visit}")
    layout = find_layout("brats-mets2023")
    first = {one.part for one in layout.patients(tmp_path)}
    for person in range(10, 14):
        mets(tmp_path, f"BraTS-MET-000{person}-000")
    parts = {one.name: one.part for one in layout.patients(tmp_path)}
    assert {parts[f"BraTS-MET-00002-{visit}"] for visit in ("000", "001", "002")} == first
    assert len(first) == 1
    for name, part in parts.items():
        draw = int(hashlib.sha256(name[:15].encode()).hexdigest()[:16], 16) / 16**16
        assert part == ("train" if draw < 0.7 else "validation" if draw < 0.85 else "test")


def test_the_shares_hold_over_many_persons():
    shares = find_layout("brats2021").split
    parts = [shares.part_of(f"BraTS2021_{number:05d}") for number in range(3000)]
    for part in ("train", "validation", "test"):
        assert parts.count(part) / 3000 == pytest.approx(getattr(shares, part), abs=0.03)


def test_a_layout_of_ones_own(tmp_path):
    write(tmp_path / "data/anna/mr_7.nii.gz", head(100))
    write(tmp_path / "data/anna/drawn.nii.gz", labels(3, 5))
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "title: Mine\nfiles: {flair: '{patient}/mr_*.nii[.gz]', seg: '{patient}/drawn.nii[.gz]'}\n"
        "lesion: [3]\nignored: [5]\nsplit: {train: 0, validation: 0, test: 1}\n"
    )
    (one,) = find_layout(mine).patients(tmp_path / "data")
    assert (one.name, one.part) == ("anna", "test")
    assert load_patient(one.files).lesion_mask.sum() == 12


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: x\nfiles: {flair: 'scan.nii.gz'}", "does not say where {patient} stands"),
        ("title: x\nfiles: {flair: '{patient}/{scanner}.nii'}", "there is no field {scanner}"),
        ("title: x\nfiles: {seg: '{patient}.nii'}", "it names no sequence"),
        ("title: x\nfiles: {pet: '{patient}.nii'}", "there is no 'pet'"),
        ("title: x\nfiles: {flair: '{patient}.nii'}\nfields: {patient: '['}", "is no expression"),
        (
            "title: x\nfiles: {flair: '{patient}.nii'}\nsplit: {train: 1, validation: 1, test: 1}",
            "add up to 1",
        ),
        ("title: x\nfiles: {flair: '{patient}.nii'}\nlesion: [1]\nignored: [1]", "both lesion and ignored"),
        ("title: x\nfiles: {flair: '{patient}.nii'}\ncertain: false", "needs one sentence"),
        ("title: x\nfile: {}", "file"),
        ("- 1", "it is no mapping"),
        ("title: [", "cannot be read"),
    ],
)
def test_a_wrong_layout_is_refused_in_one_sentence(text, said, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ParameterError) as refused:
        find_layout(file)
    assert said in str(refused.value) and str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_does_not_fit_a_layout_is_said(tmp_path):
    with pytest.raises(ParameterError, match=r"no layout 'brats'.*brats2021"):
        find_layout("brats")
    with pytest.raises(ParameterError, match="boxes, not masks"):
        find_layout("fastmri-plus").patients(tmp_path)
    with pytest.raises(PatientError, match="there is none here"):
        find_layout("brats2021").patients(tmp_path / "nowhere")
    mslub(tmp_path, "patient01")
    with pytest.raises(PatientError, match=r"layout brats2021, which expects .*_flair"):
        find_layout("brats2021").patients(tmp_path)
    mslub(tmp_path / "copy", "patient01")
    with pytest.raises(PatientError, match="are both the flair of patient01"):
        find_layout("mslub").patients(tmp_path)


def test_check_takes_a_layout(tmp_path):
    for place in ("training/Utrecht/0", "test/Utrecht/1"):
        wmh(tmp_path, place)
    report = check_cohort(tmp_path, layout=find_layout("wmh2017"))
    assert report.clean and report.labelled == 2
    assert {patient.labels for patient in report.patients} == {(1,)}
    write(tmp_path / "test/Utrecht/1/wmh.nii.gz", labels(9))
    report = check_cohort(tmp_path, layout=find_layout("wmh2017"))
    assert report.counts() == {"mask-values": 1}
    assert "label 9 is none of those" in report.findings[0].sentence
    with pytest.raises(CeadError):
        check_cohort(tmp_path, layout=find_layout("mslub"))
