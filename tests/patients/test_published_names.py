"""How published data sets name their files, and what is recognised of each."""

import pytest

from napari_cead.patients import find_files, find_patients

MNI = "space-MNI152NLin2009aSym"

DATA_SETS = {
    "BrainMetShare, NIfTI": (
        "train/Mets_005/{bravo,flair,seg,t1_gd,t1_pre}.nii.gz test/Mets_201/{bravo,flair,t1_gd,t1_pre}.nii",
        {
            "Mets_005": (
                "train/Mets_005",
                {"bravo": "bravo", "flair": "flair", "t1_gd": "t1_gd", "t1_pre": "t1_pre"},
                "seg",
            ),
            "Mets_201": (
                "test/Mets_201",
                {"bravo": "bravo", "flair": "flair", "t1_gd": "t1_gd", "t1_pre": "t1_pre"},
                None,
            ),
        },
    ),
    "BrainMetShare, PNG": (
        "mets_stanford_releaseMask_train/Mets_005/{0,1,2,3,seg}/000.png",
        {
            "Mets_005": (
                "mets_stanford_releaseMask_train/Mets_005",
                {"bravo": "0", "t1_pre": "1", "t1_gd": "2", "flair": "3"},
                "seg",
            )
        },
    ),
    "BraTS 2018": (
        "HGG/Brats18_2013_10_1/Brats18_2013_10_1_{flair,t1,t1ce,t2,seg}.nii.gz",
        {
            "Brats18_2013_10_1": (
                "HGG/Brats18_2013_10_1/Brats18_2013_10_1_",
                {"flair": "flair", "t1_pre": "t1", "t1_gd": "t1ce", "t2": "t2"},
                "seg",
            )
        },
    ),
    "BraTS 2020, Kaggle, with the mask that was named otherwise": (
        "BraTS20_Training_355/BraTS20_Training_355_{flair,t1,t1ce,t2}.nii BraTS20_Training_355/W39_1998.09.19_Segm.nii",
        {
            "BraTS20_Training_355": (
                "BraTS20_Training_355/",
                {
                    "flair": "BraTS20_Training_355_flair",
                    "t1_pre": "BraTS20_Training_355_t1",
                    "t1_gd": "BraTS20_Training_355_t1ce",
                    "t2": "BraTS20_Training_355_t2",
                },
                "W39_1998.09.19_Segm",
            )
        },
    ),
    "BraTS 2021": (
        "BraTS2021_00000/BraTS2021_00000_{flair,t1,t1ce,t2,seg}.nii.gz",
        {
            "BraTS2021_00000": (
                "BraTS2021_00000/BraTS2021_00000_",
                {"flair": "flair", "t1_pre": "t1", "t1_gd": "t1ce", "t2": "t2"},
                "seg",
            )
        },
    ),
    **{
        f"BraTS 2023 and 2024, {kind}": (
            f"BraTS-{kind}-00001-000/BraTS-{kind}-00001-000-{{t1c,t1n,t2f,t2w,seg}}.nii.gz",
            {
                f"BraTS-{kind}-00001-000": (
                    f"BraTS-{kind}-00001-000/BraTS-{kind}-00001-000-",
                    {"flair": "t2f", "t1_pre": "t1n", "t1_gd": "t1c", "t2": "t2w"},
                    "seg",
                )
            },
        )
        for kind in ("GLI", "MEN", "MET", "PED", "SSA")
    },
    "BraTS 2024, MEN-RT": (
        "BraTS-MEN-RT-0000-1/BraTS-MEN-RT-0000-1_{t1c,gtv}.nii.gz",
        {"BraTS-MEN-RT-0000-1": ("BraTS-MEN-RT-0000-1/BraTS-MEN-RT-0000-1_", {"t1_gd": "t1c"}, "gtv")},
    ),
    "MSSEG 2015": (
        "training01/preprocessed/training01_{01,02}_{flair,mprage,pd,t2}_pp.nii "
        "training01/masks/training01_{01,02}_{mask1,mask2}.nii",
        {
            f"training01_{visit}": (
                f"training01/preprocessed/training01_{visit}_",
                {"flair": "flair_pp", "t1_pre": "mprage_pp", "t2": "t2_pp"},
                "mask1",
            )
            for visit in ("01", "02")
        },
    ),
    "MSSEG 2016, all in one folder": (
        "01016SACH/{3DFLAIR,3DT1,3DT1GADO,T2,DP,Consensus,Brain_Mask}.nii.gz "
        "01016SACH/ManualSegmentation_{1,2,7}.nii.gz",
        {
            "01016SACH": (
                "01016SACH/",
                {"flair": "3DFLAIR", "t1_pre": "3DT1", "t1_gd": "3DT1GADO", "t2": "T2"},
                "Consensus",
            )
        },
    ),
    "MSSEG 2016, in folders": (
        "Center_01/Patient_01/Raw_Data/{FLAIR,T1,GADO,T2,DP}.nii.gz "
        "Center_01/Patient_01/Preprocessed_Data/{FLAIR,T1,GADO,T2,DP}_preprocessed.nii.gz "
        "Center_01/Patient_01/Masks/{Consensus,Brain_Mask,ManualSegmentation_1}.nii.gz",
        {
            "Patient_01": (
                "Center_01/Patient_01/Preprocessed_Data/",
                {
                    "flair": "FLAIR_preprocessed",
                    "t1_pre": "T1_preprocessed",
                    "t1_gd": "GADO_preprocessed",
                    "t2": "T2_preprocessed",
                },
                "Consensus",
            )
        },
    ),
    "MSLUB": (
        "patient01/patient01_{FLAIR,T1W,T1WKS,T2W,brainmask,consensus_gt}.nii.gz",
        {
            "patient01": (
                "patient01/patient01_",
                {"flair": "FLAIR", "t1_pre": "T1W", "t1_gd": "T1WKS", "t2": "T2W"},
                "consensus_gt",
            )
        },
    ),
    "WMH 2017": (
        "Utrecht/0/{pre,orig}/{FLAIR,T1,3DT1}.nii.gz Utrecht/0/orig/3DT1_mask.nii.gz Utrecht/0/wmh.nii.gz",
        {"0": ("Utrecht/0/pre/", {"flair": "FLAIR", "t1_pre": "T1"}, "wmh")},
    ),
    "ISLES 2022": (
        "rawdata/sub-strokecase0001/ses-0001/sub-strokecase0001_ses-0001_{adc,dwi,flair}.nii.gz "
        "derivatives/sub-strokecase0001/ses-0001/sub-strokecase0001_ses-0001_msk.nii.gz",
        {
            "sub-strokecase0001_ses-0001": (
                "rawdata/sub-strokecase0001/ses-0001/sub-strokecase0001_ses-0001_",
                {"flair": "flair"},
                "msk",
            )
        },
    ),
    "ATLAS 2": (
        f"Training/R001/sub-r001s001/ses-1/anat/sub-r001s001_ses-1_{MNI}_"
        "{T1w,label-L_desc-T1lesion_mask}.nii.gz",
        {
            "sub-r001s001_ses-1": (
                f"Training/R001/sub-r001s001/ses-1/anat/sub-r001s001_ses-1_{MNI}_",
                {"t1_pre": "T1w"},
                "label-L_desc-T1lesion_mask",
            )
        },
    ),
    "UCSF-PDGM": (
        "UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_{FLAIR,FLAIR_bias,T1,T1_bias,T1c,T1c_bias,T2,T2_bias,SWI,DWI,ADC,ASL,"
        "tumor_segmentation,brain_segmentation,brain_parenchyma_segmentation}.nii.gz",
        {
            "UCSF-PDGM-0004_nifti": (
                "UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_",
                {"flair": "FLAIR", "t1_pre": "T1", "t1_gd": "T1c", "t2": "T2"},
                "tumor_segmentation",
            )
        },
    ),
    "OpenNeuro, masks named after their scans": (
        "sub-00001/anat/sub-00001_{acq-iso08_T1w,acq-T2sel_FLAIR,acq-T2sel_FLAIR_roi,acq-T2sel_FLAIR_bet_mask}.nii.gz",
        {
            "sub-00001": (
                "sub-00001/anat/sub-00001_acq-",
                {"flair": "T2sel_FLAIR", "t1_pre": "iso08_T1w"},
                "T2sel_FLAIR_roi",
            )
        },
    ),
    "masks named before their scans": (
        "Patient-1/1-{Flair,T1,LesionSeg-Flair}.nii",
        {"Patient-1": ("Patient-1/1-", {"flair": "Flair", "t1_pre": "T1"}, "LesionSeg-Flair")},
    ),
    "OpenNeuro": (
        "sub-01/anat/sub-01_{FLAIR,T1w,ce-gadolinium_T1w,T2w}.nii.gz "
        "sub-01/func/sub-01_task-rest_bold.nii.gz "
        "derivatives/lesion_masks/sub-01/dwi/sub-01_space-TRACE_desc-lesion_mask.nii.gz "
        "derivatives/fmriprep/sub-01/anat/sub-01_{desc-brain_mask,dseg,label-GM_probseg}.nii.gz",
        {
            "sub-01": (
                "sub-01/anat/sub-01_",
                {"flair": "FLAIR", "t1_pre": "T1w", "t1_gd": "ce-gadolinium_T1w", "t2": "T2w"},
                "space-TRACE_desc-lesion_mask",
            )
        },
    ),
}


def expand(pattern: str) -> list[str]:
    """Put each word of the first braces in their place, as a shell does."""
    start, end = pattern.find("{"), pattern.find("}")
    if start < 0:
        return [pattern]
    words = pattern[start + 1 : end].split(",")
    return [each for word in words for each in expand(pattern[:start] + word + pattern[end + 1 :])]


@pytest.mark.parametrize("data_set", DATA_SETS)
def test_the_scans_and_the_mask_of_a_published_data_set(tmp_path, data_set):
    patterns, expected = DATA_SETS[data_set]
    for pattern in patterns.split():
        for name in expand(pattern):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
    found = {}
    for place in find_patients(tmp_path):
        files = find_files(place)
        assert files.name not in found
        found[files.name] = files
    assert set(found) == set(expected)
    for name, (beginning, sequences, mask) in expected.items():
        files = found[name]
        for sequence, ending in sequences.items():
            place = files.sequences[sequence].relative_to(tmp_path).as_posix()
            assert place.split(".nii")[0].endswith(ending)
            assert place.startswith(beginning)
        assert set(files.sequences) == set(sequences)
        told = None if files.mask is None else files.mask.name.split(".nii")[0]
        assert told is None if mask is None else told.endswith(mask)


def test_what_was_chosen_among_several_is_said(tmp_path):
    for name in ("FLAIR", "FLAIR_bet", "ManualSegmentation_2", "ManualSegmentation_10", "T1", "mprage"):
        (tmp_path / f"{name}.nii.gz").touch()
    files = find_files(tmp_path)
    assert (files.sequences["flair"].name, files.mask.name) == (
        "FLAIR_bet.nii.gz",
        "ManualSegmentation_2.nii.gz",
    )
    assert files.notes == (
        "FLAIR_bet.nii.gz is taken as the flair scan, not FLAIR.nii.gz",
        "both T1.nii.gz and mprage.nii.gz look like t1_pre, so neither is used",
        "ManualSegmentation_2.nii.gz is taken as the lesion mask, not ManualSegmentation_10.nii.gz",
    )


def test_a_scan_of_one_stage_finds_the_mask_beside_its_folder(tmp_path):
    for name in ("7/pre/FLAIR", "7/orig/FLAIR", "7/wmh"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.nii.gz").touch()
    for place in ("7/pre", "7/pre/FLAIR.nii.gz", "7/orig", "7/orig/FLAIR.nii.gz", "7"):
        files = find_files(tmp_path / place)
        assert (files.name, files.mask) == ("7", tmp_path / "7" / "wmh.nii.gz"), place
    assert find_files(tmp_path / "7").notes == ("the scans in pre are taken, not those in orig",)


def test_files_of_a_number_go_together(tmp_path):
    """``seg_02`` is the second patient's, not the second rater's of the first."""
    for name in ("flair_01", "flair_02", "seg_02"):
        (tmp_path / f"{name}.nii.gz").touch()
    found = {place.name: find_files(place) for place in find_patients(tmp_path)}
    assert {name: files.mask and files.mask.name for name, files in found.items()} == {
        "01": None,
        "02": "seg_02.nii.gz",
    }
    assert find_files(tmp_path / "flair_01.nii.gz").mask is None
    assert find_files(tmp_path / "flair_02.nii.gz").mask == tmp_path / "seg_02.nii.gz"


@pytest.mark.parametrize(
    "name",
    [
        *("brain_mask", "anna_flair_bet_mask", "wm_mask", "csf_seg", "brain_segmentation", "ventricle_mask"),
        *("intracranial_mask", "icv_mask", "deepbet_mask", "vessel_mask", "hippo_mask", "brainstem_seg"),
        *("tiv_mask", "vent_mask", "brain_mask_flair"),
    ],
)
def test_a_brain_or_tissue_mask_is_no_lesion_mask(tmp_path, name):
    for each in ("anna_flair", name):
        (tmp_path / f"{each}.nii.gz").touch()
    for place in (tmp_path, tmp_path / "anna_flair.nii.gz"):
        assert find_files(place).mask is None


@pytest.mark.parametrize("name", ["anna_flair_mask", "anna_flair_seg"])
def test_a_mask_that_may_be_one_of_the_brain_is_said(tmp_path, name):
    """HD-BET and FAST call their results so, and people their lesion masks."""
    for each in ("anna_flair", name):
        (tmp_path / f"{each}.nii.gz").touch()
    for place in (tmp_path, tmp_path / "anna_flair.nii.gz"):
        files = find_files(place)
        assert files.mask == tmp_path / f"{name}.nii.gz"
        assert files.notes == (
            f"the name of {name}.nii.gz leaves open whether lesions or the brain are marked; what it covers decides",
        )


@pytest.mark.parametrize(
    "name", ["mask_flair", "lesion_mask_FLAIR", "seg_flair", "flair_pred", "FLAIR_csf", "ples_lpa_FLAIR"]
)
def test_what_was_made_from_a_flair_is_not_taken_for_it(tmp_path, name):
    for each in ("t1_pre", name):
        (tmp_path / f"{each}.nii.gz").touch()
    assert find_files(tmp_path).sequences == {"t1_pre": tmp_path / "t1_pre.nii.gz"}


def test_a_scan_with_its_lesions_filled_is_no_mask(tmp_path):
    for name in ("FLAIR", "T1_lesion_filled", "wmh"):
        (tmp_path / f"{name}.nii.gz").touch()
    assert find_files(tmp_path).mask == tmp_path / "wmh.nii.gz"


def test_hidden_files_are_nobodys(tmp_path):
    for name in ("flair", "._flair", "._seg", ".seg"):
        (tmp_path / f"{name}.nii.gz").touch()
    for place in (tmp_path, tmp_path / "flair.nii.gz"):
        files = find_files(place)
        assert (files.mask, files.sequences) == (None, {"flair": tmp_path / "flair.nii.gz"})


def test_runs_and_raters_compare_as_numbers_and_phase_is_no_scan(tmp_path):
    anat, derived = tmp_path / "sub-01" / "anat", tmp_path / "derivatives" / "x" / "sub-01" / "anat"
    anat.mkdir(parents=True)
    derived.mkdir(parents=True)
    for name in ("run-10_FLAIR", "run-2_FLAIR", "part-phase_FLAIR", "acq-FLAIR_T2w"):
        (anat / f"sub-01_{name}.nii.gz").touch()
    for number in (2, 10):
        (derived / f"sub-01_label-lesion_desc-rater{number}_mask.nii.gz").touch()
    files = find_files(tmp_path / "sub-01")
    assert files.sequences == {"flair": anat / "sub-01_run-2_FLAIR.nii.gz"}
    assert files.mask.name == "sub-01_label-lesion_desc-rater2_mask.nii.gz"
    assert files.notes[0] == (
        "sub-01_run-2_FLAIR.nii.gz is taken as the flair scan, not sub-01_run-10_FLAIR.nii.gz, "
        "sub-01_acq-FLAIR_T2w.nii.gz"
    )
