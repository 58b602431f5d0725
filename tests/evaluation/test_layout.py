"""An evaluation and a slice store by the layout of a data set, with its fixed split."""

import csv
import json

import numpy as np
import pytest

from napari_cead.cli.app import run
from napari_cead.errors import ParameterError
from napari_cead.evaluation import evaluate
from napari_cead.patients.datasets import find_layout
from napari_cead.store.prepare import prepare
from scans import make_brain, write_nifti

pytestmark = pytest.mark.usefixtures("quiet")
AFFINE = np.diag([0.94, 0.94, 1.0, 1.0])
PLACES = (
    "training/Utrecht/0",
    "training/Singapore/50",
    "test/Utrecht/1",
    "test/Singapore/51",
    "test/Utrecht/3",
)


@pytest.fixture(scope="module")
def wmh(tmp_path_factory):
    """A data set laid out as WMH 2017 is, with a second pathology (label 2) that is as bright as the lesions."""
    root = tmp_path_factory.mktemp("wmh")
    for seed, place in enumerate(PLACES):
        volume, mask = make_brain((8, 44, 40), seed=seed)
        mask[:4] = False
        labels = mask.astype(np.uint8)
        other = np.zeros_like(mask)
        other[1:3, 28:34, 22:28] = volume[1:3, 28:34, 22:28] > 0
        labels[other] = 2
        volume = np.where(other, 300, volume)
        write_nifti(root / place / "pre/FLAIR.nii.gz", volume.T, AFFINE)
        write_nifti(root / place / "wmh.nii.gz", labels.T, AFFINE)
    return root


@pytest.fixture(scope="module")
def found(wmh, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return evaluate(wmh, [], out, layout="wmh2017", report=False, resamples=20), out


def test_the_publishers_training_patients_choose_and_its_test_patients_are_reported(found):
    evaluation, out = found
    assert evaluation.parts == {
        "train": (),
        "validation": ("Singapore-50", "Utrecht-0"),
        "test": ("Singapore-51", "Utrecht-1", "Utrecht-3"),
    }
    assert evaluation.split_name == "layout wmh2017" and not evaluation.skipped
    assert any(
        text.startswith("files are read by layout wmh2017, that of WMH") for text in evaluation.warnings
    )
    assert not any("no split" in text for text in evaluation.warnings)
    stored = json.loads((out / "results.json").read_text())
    assert (stored["layout"], stored["mixture"]) == ("wmh2017", None)
    assert stored["groups"]["site"] == {
        "Singapore-51": "Singapore",
        "Utrecht-1": "Utrecht",
        "Utrecht-3": "Utrecht",
    }
    with (out / "by_group.csv").open() as stream:
        assert {(line["by"], line["group"]) for line in csv.DictReader(stream)} == {
            ("site", "Singapore"),
            ("site", "Utrecht"),
        }


def test_voxels_that_are_ignored_are_neither_found_nor_missed(found):
    """The other pathology is the brightest there is: without the layout's labels it would be the first detection."""
    evaluation, _ = found
    rows = {row.rule: row for row in evaluation.rows if row.model == "flair-threshold"}
    assert rows["oracle"].averages.dice_pooled > 0.8
    assert rows["oracle"].auroc > 0.95
    assert all(patient.lesions == 1 for patient in rows["oracle"].patients)


def test_without_the_layout_they_are_lesions(wmh, tmp_path):
    plain = evaluate(wmh, [], tmp_path, report=False, resamples=20)
    rows = {row.rule: row for row in plain.rows if row.model == "flair-threshold"}
    assert all(patient.lesions == 2 for patient in rows["oracle"].patients)


def test_folds_replace_the_fixed_split(wmh, tmp_path):
    folded = evaluate(wmh, [], tmp_path, layout="wmh2017", folds=2, report=False, resamples=20)
    assert len(folded.parts["test"]) == 5 and len(folded.folds) == 2


def test_the_command_line_takes_a_layout(wmh, tmp_path, capsys):
    words = ["evaluate", str(wmh), "--models", "", "--layout", "wmh2017", "--out", str(tmp_path / "out")]
    assert run(words) == 0
    assert "3 patients reported" in capsys.readouterr().out
    assert run(["check", str(wmh), "--layout", "wmh2017"]) == 0
    assert run(["check", str(wmh), "--layout", "wmh17"]) == 2
    assert "there is no layout 'wmh17'" in capsys.readouterr().err
    assert run([*words[:-1], str(tmp_path / "other"), "--layout", "brats2021"]) == 2
    assert "no file here is called as in layout brats2021" in capsys.readouterr().err


def test_a_store_has_the_fixed_split_of_the_layout(wmh, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "title: Mine\nfiles: {flair: '**/{site}/{patient}/pre/FLAIR.nii.gz', seg: '**/{site}/{patient}/wmh.nii.gz'}\n"
        "called: '{site}-{patient}'\nlesion: [1]\nignored: [2]\nofficial: {training: train, test: validation}\n"
    )
    store = prepare(wmh, tmp_path / "store", layout=mine, image_size=48, min_brain=0.05)
    parts = {patient.name: set(patient.parts) - {None} for patient in store.patients}
    assert parts == {
        **dict.fromkeys(("Utrecht-0", "Singapore-50"), frozenset({"train"})),
        **dict.fromkeys(("Utrecht-1", "Singapore-51", "Utrecht-3"), frozenset({"validation"})),
    }
    for patient in store.patients:
        ill = dict(zip(patient.numbers, patient.labels, strict=True))
        assert ill[1] == ill[2] != ill[3]  # the other pathology is not healthy
    with pytest.raises(ParameterError, match="a layout is about a folder"):
        from napari_cead.store.scan_list import ScanList

        prepare(ScanList(()), tmp_path / "store2", layout=find_layout(mine))


def test_training_starts_from_a_layout(wmh, tmp_path, capsys):
    options = ["--data", str(wmh), "--out", str(tmp_path / "run"), "--size", "small", "--dry-run"]
    assert run(["train", "ae", *options, "--layout", "wmh2017"]) == 0
    said = capsys.readouterr().out
    assert "5 patients by the names of the files" in said and "fixed split of layout wmh2017: " in said
    assert run(["train", "ae", *options, "--layout", "mslub"]) == 2
    assert "no file here is called as in layout mslub" in capsys.readouterr().err
