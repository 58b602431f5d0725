import pytest

from napari_cead.patients.aliases import split_name, stem


@pytest.mark.parametrize(
    ("name", "prefix", "sequence"),
    [
        ("flair.nii.gz", "", "flair"),
        ("FLAIR.NII", "", "flair"),
        ("bravo.nii", "", "bravo"),
        ("t1_gd.nii.gz", "", "t1_gd"),
        ("t2.nii.gz", "", "t2"),
        ("seg.nii.gz", "", "seg"),
        ("BraTS-MET-00001-000-t2f.nii.gz", "BraTS-MET-00001-000", "flair"),
        ("BraTS-MET-00001-000-t1n.nii.gz", "BraTS-MET-00001-000", "t1_pre"),
        ("BraTS-MET-00001-000-t1c.nii.gz", "BraTS-MET-00001-000", "t1_gd"),
        ("BraTS-MET-00001-000-t2w.nii.gz", "BraTS-MET-00001-000", "t2"),
        ("mets_005_0003.nii.gz", "mets_005", "flair"),
        ("mets_005_0000.nii.gz", "mets_005", "bravo"),
        ("sub-01_ses-2_FLAIR.nii.gz", "sub-01_ses-2", "flair"),
        ("sub-01_T2_FLAIR.nii.gz", "sub-01", "flair"),
        ("sub-01_T1w.nii.gz", "sub-01", "t1_pre"),
        ("study1_brain_mask.nii.gz", "study1", "brain_mask"),
        ("study1_mask.nii.gz", "study1", "seg"),
        ("change_mask_common_space.nii.gz", "change_mask_common_space", None),
        ("reflair2.nii.gz", "reflair2", None),
        ("scan.v2.final.nii.gz", "scan.v2.final", None),
        ("anna_FLAIR_post.nii.gz", "anna", "flair"),
        ("anna_T2_FLAIR_gd.nii.gz", "anna", "flair"),
        ("gd_FLAIR_0001.nii.gz", "gd", "flair"),
        ("anna_T2_post.nii.gz", "anna", "t2"),
        ("anna_3D_FLAIR.nii.gz", "anna", "flair"),
        ("annaFlair.nii.gz", "anna", "flair"),
        ("flair_01.nii.gz", "01", "flair"),
        ("T1_to_FLAIR.nii.gz", "", "t1_pre"),
        ("lesionMask_on_FLAIR.nii.gz", "", "seg"),
        ("study1_changemask_on_flair.nii.gz", "study1_changemask_on_flair", None),
        ("anna_flair_n4.nii.gz", "anna", "flair"),
        ("anna_FLAIR_bias_field.nii.gz", "anna_FLAIR_bias_field", None),
        ("anna_flair_anomaly_map.nii.gz", "anna_flair_anomaly_map", None),
        ("brain_01_seg.nii.gz", "brain_01", "seg"),
        ("white_matter_lesions.nii.gz", "white_matter", "seg"),
        ("white_matter_seg.nii.gz", "white_matter", "other_mask"),
        ("csf_mask.nii.gz", "csf", "other_mask"),
        ("anna_predicted_mask.nii.gz", "anna_predicted", "other_mask"),
        ("anna_mask_brain.nii.gz", "anna", "brain_mask"),
        ("._seg.nii.gz", "._seg", None),
    ],
)
def test_what_a_file_holds_is_told_from_its_name(name, prefix, sequence):
    assert split_name(name) == (prefix, sequence)


def test_only_nifti_suffixes_are_taken_off():
    assert stem("a.b.nii.gz") == "a.b"
    assert stem("a.hdr") == "a"
