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
    ],
)
def test_the_sequence_is_told_from_the_end_of_the_name(name, prefix, sequence):
    assert split_name(name) == (prefix, sequence)


def test_only_nifti_suffixes_are_taken_off():
    assert stem("a.b.nii.gz") == "a.b"
    assert stem("a.hdr") == "a"
