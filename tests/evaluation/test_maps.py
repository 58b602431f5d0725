"""Score maps of other methods stand in the table as models do."""

from __future__ import annotations

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

import napari_cead as cead
from napari_cead.cli.app import run
from napari_cead.detection.baselines import BASELINES
from napari_cead.errors import ParameterError, PatientError
from napari_cead.evaluation import evaluate
from napari_cead.evaluation.maps import find_maps

pytestmark = pytest.mark.usefixtures("quiet")
LOOKED_AT = tuple(f"Mets_00{number}" for number in range(2, 7))
"""The patients of the split but that of the training part."""


@pytest.fixture(scope="session")
def maps(untouched, tmp_path_factory):
    """The map of the baseline of raw intensity, as somebody else's files."""
    folder = tmp_path_factory.mktemp("maps")
    for name in LOOKED_AT:
        patient = cead.load_patient(untouched / name)
        made = BASELINES["threshold"].seen(patient).anomaly_map("intensity")
        cead.save_volume(made, patient, folder / f"{name}_anomaly.nii.gz")
    return folder


def changed(maps, folder, change):
    """Write other maps into a folder: ``change`` takes name, values and affine and returns the last two."""
    folder.mkdir()
    for file in sorted(maps.iterdir()):
        image = nib.load(file)
        values, affine = change(file.name, image.get_fdata(dtype=np.float32), image.affine)
        nib.save(nib.Nifti1Image(values, affine), folder / file.name)
    return folder


def measured(cohort, split, out, maps, **options):
    found = evaluate(cohort, [], out, maps=maps, split=split, report=False, resamples=20, **options)
    return found, {(row.model, row.rule): row for row in found.rows}


def test_they_have_the_figures_of_the_method_that_made_them(untouched, split, tmp_path, maps):
    found, rows = measured(untouched, split, tmp_path / "out", {"theirs": maps})
    for rule in ("healthy-quantile", "validation", "oracle"):
        mine, theirs = rows["flair-threshold", rule], rows["theirs", rule]
        assert theirs.averages is not None and theirs.averages == mine.averages
        assert (theirs.params, theirs.chosen_on, theirs.edge) == (mine.params, mine.chosen_on, mine.edge)
        assert (theirs.auroc, theirs.average_precision, theirs.froc) == (
            mine.auroc,
            mine.average_precision,
            mine.froc,
        )
        assert (theirs.lesion_f1, theirs.hd95) == (mine.lesion_f1, mine.hd95)
        assert [replace(one, trained_on=False).as_dict() for one in theirs.patients] == [
            one.as_dict() for one in mine.patients
        ]
    assert [model.name for model in found.models] == ["theirs"]


def test_any_scale_ranks_the_same(untouched, split, tmp_path, maps):
    other = changed(maps, tmp_path / "other", lambda _, values, affine: (30 * values - 7, affine))
    _, rows = measured(untouched, split, tmp_path / "out", [maps, f"z={other}"])
    one, two = rows[maps.name, "oracle"], rows["z", "oracle"]
    assert two.auroc == pytest.approx(one.auroc, abs=1e-4)
    assert two.averages.dice_patient == pytest.approx(one.averages.dice_patient, abs=0.02)
    assert 0 < two.params.threshold < 1


def test_a_map_on_another_grid_is_resampled_and_one_of_another_place_left_out(
    untouched, split, tmp_path, maps
):
    def moved(name, values, affine):
        if name.startswith("Mets_005"):
            half = affine.copy()
            half[:3, :3] *= 2
            half[:3, 3] += affine[:3, :3].sum(axis=1) / 2
            cut = values[: values.shape[0] // 2 * 2, : values.shape[1] // 2 * 2, : values.shape[2] // 2 * 2]
            return cut.reshape(*(side for size in cut.shape for side in (size // 2, 2))).mean(
                axis=(1, 3, 5)
            ), half
        far = affine.copy()
        far[:3, 3] += 5000 if name.startswith("Mets_006") else 0
        return (values[:-1] if name.startswith("Mets_006") else values), far

    other = changed(maps, tmp_path / "other", moved)
    found, rows = measured(untouched, split, tmp_path / "out", {"theirs": other}, rules=["oracle"])
    assert any("the map of theirs: on another grid, resampled (linear)" in text for text in found.warnings)
    assert any("left out of the rows of theirs" in text and "Mets_006" in text for text in found.warnings)
    assert [one.name for one in rows["theirs", "oracle"].patients] == ["Mets_004", "Mets_005"]


def test_values_that_are_no_number_are_said(untouched, split, tmp_path, maps):
    def spoiled(name, values, affine):
        return np.where(values > 0.5, np.nan, values).astype(np.float32), affine

    other = changed(maps, tmp_path / "other", spoiled)
    found, _ = measured(untouched, split, tmp_path / "out", {"theirs": other}, rules=["oracle"])
    assert any("the map of theirs" in text and "no number" in text for text in found.warnings)


def test_patients_without_a_map_are_named_before_anything_runs(untouched, split, tmp_path, maps):
    other = changed(maps, tmp_path / "other", lambda _, values, affine: (values, affine))
    for name in ("Mets_003", "Mets_005"):
        (other / f"{name}_anomaly.nii.gz").unlink()
    with pytest.raises(PatientError, match=r"2 of 5 patients have no map here: Mets_003, Mets_005"):
        measured(untouched, split, tmp_path / "out", [other])
    assert not (tmp_path / "out").exists()


def write_maps(folder, *places):
    for place in places:
        file = folder / place
        file.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4)), file)


def test_how_files_are_found(tmp_path):
    write_maps(tmp_path / "a", "Mets_1/map.nii.gz", "Mets_1/mask.nii.gz", "Mets_12-x.nii")
    write_maps(tmp_path / "b", "s_Mets_1.nii", "Mets_12.nii")
    (found,) = find_maps([tmp_path / "b"], ["Mets_1", "Mets_12"])
    assert [file.name for _, file in found.files] == ["s_Mets_1.nii", "Mets_12.nii"]
    with pytest.raises(
        PatientError, match=r"2 files are called after Mets_1, map\.nii\.gz and mask\.nii\.gz"
    ):
        find_maps([tmp_path / "a"], ["Mets_1"])
    (found,) = find_maps({"x": tmp_path / "a"}, ["Mets_1"], "{patient}/map.nii.gz")
    assert (found.name, [file.name for _, file in found.files]) == ("x", ["map.nii.gz"])
    with pytest.raises(ParameterError, match="where the name stands"):
        find_maps([tmp_path / "a"], ["Mets_1"], "map.nii.gz")
    with pytest.raises(ParameterError, match="one name"):
        find_maps([tmp_path / "a", tmp_path / "b" / ".." / "a"], ["Mets_1"])
    with pytest.raises(PatientError, match="no such folder"):
        find_maps([tmp_path / "c"], ["Mets_1"])


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("{patient}/m?p.*", "a[1]/map.nii.gz"),
        ("{patient}/map*", "a[1]/map.nii.gz"),
        ("fold*/{patient}-*.nii", "fold2/a[1]-x.nii"),
        ("**/{patient}-x.nii", "fold2/a[1]-x.nii"),
        ("run[3]/{patient}.nii", "run[3]/a[1].nii"),
        ("*/{patient}", None),
        ("fold3/{patient}*", None),
    ],
)
def test_a_pattern_has_wildcards_and_letters_of_a_name_are_none(tmp_path, pattern, found):
    write_maps(tmp_path, "a[1]/map.nii.gz", "a[1]/mask.nii.gz", "a1/map.nii.gz")
    write_maps(tmp_path, "fold2/a[1]-x.nii", "fold3/a1-x.nii", "run[3]/a[1].nii", "run3/a1.nii")
    for place in (pattern, str(tmp_path / pattern)):
        if found is None:
            with pytest.raises(PatientError, match="1 of 1 patients have no map here"):
                find_maps([tmp_path], ["a[1]"], place)
        else:
            ((name, file),) = find_maps([tmp_path], ["a[1]"], place)[0].files
            assert (name, file) == ("a[1]", tmp_path / found)


def test_several_files_of_a_pattern_are_refused(tmp_path):
    write_maps(tmp_path, "Mets_1/map.nii.gz", "Mets_1/mask.nii.gz")
    with pytest.raises(PatientError, match=r"2 files are called after Mets_1, map\.nii\.gz and mask"):
        find_maps([tmp_path], ["Mets_1"], "{patient}/*.nii.gz")


def test_the_command_line_ranks_them(untouched, split, tmp_path, maps, capsys):
    out = tmp_path / "out"
    words = ["evaluate", str(untouched), "--models", "", "--maps", f"theirs={maps}", "--split", str(split)]
    assert run([*words, "--out", str(out), "--workers", "1"]) == 0
    assert "theirs" in capsys.readouterr().out
    models = {row["model"] for row in json.loads((out / "results.json").read_text())["rows"]}
    assert {"theirs", "flair-threshold", "nothing"} <= models
    assert "theirs" in (out / "report.html").read_text(encoding="utf-8")
    again = [*words, "--maps-pattern", "{patient}.nii", "--out", str(out)]
    assert run(again) == 2
    assert f"{len(LOOKED_AT)} of {len(LOOKED_AT)} patients have no map" in capsys.readouterr().err
    assert (
        run([*words[:4], "--maps", f"flair-threshold={maps}", "--split", str(split), "--out", str(out)]) == 2
    )
    assert "another row called flair-threshold" in capsys.readouterr().err
