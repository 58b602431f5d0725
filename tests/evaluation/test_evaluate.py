import csv
import gzip
import json
import math
import shutil

import nibabel as nib
import numpy as np
import psutil
import pytest

import napari_cead as cead
from model_folders import network
from napari_cead.atomic import strict
from napari_cead.calibration.cases import Case
from napari_cead.detection import run
from napari_cead.detection.baselines import BASELINES
from napari_cead.errors import Cancelled, ModelError, ParameterError, PatientError
from napari_cead.evaluation import RULES, evaluate, evaluation_tasks, example_slices
from napari_cead.evaluation.comparison import KEPT
from napari_cead.metrics import ImageQuality, auroc, average_precision, candidates, froc, lesion_f1
from napari_cead.training import prepare
from napari_cead.zoo import ModelCard, Preprocessing, save_model
from scans import write_nifti
from small_stores import CE_VAE, SIZE

NAMES = ("Mets_001", "Mets_002", "Mets_003", "Mets_004", "Mets_005", "Mets_006")
TEST = ["Mets_004", "Mets_005", "Mets_006"]
SCORES = ("positive-residual", "residual")
SUBJECTS = 1 + len(BASELINES)
AVERAGES = ("dice_pooled", "dice_patient", "dice_lesion_slices", "dice_all_slices", "precision", "recall")


@pytest.fixture
def run_once(cohort, split, model, tmp_path):
    def go(models=None, out="out", **more):
        options = {"split": split, "device": "cpu", "resamples": 50, "report": False} | more
        return evaluate(cohort, [model] if models is None else models, tmp_path / out, **options)

    return go


@pytest.fixture(scope="module")
def whole(untouched, split, model, tmp_path_factory):
    """One evaluation for all tests that only look, and its folder."""
    out = tmp_path_factory.mktemp("whole") / "out"
    return evaluate(untouched, [model], out, split=split, device="cpu", resamples=50), out


def row(evaluation, model, score, rule):
    found = [item for item in evaluation.rows if (item.model, item.score, item.rule) == (model, score, rule)]
    assert len(found) == 1
    return found[0]


def by_hand(pairs):
    """All averages by their definitions, from (mask, reference, brain) of each patient."""

    def dice(mask, reference, empty=math.nan):
        size = mask.sum() + reference.sum()
        return 2 * (mask & reference).sum() / size if size else empty

    mask, reference = (np.concatenate([pair[i].ravel() for pair in pairs]) for i in (0, 1))
    slices = [(m[z], r[z], b[z]) for m, r, b in pairs for z in range(len(m))]
    return {
        "dice_pooled": dice(mask, reference),
        "dice_patient": np.nanmean([dice(m, r) for m, r, _ in pairs]),
        "dice_lesion_slices": np.mean([dice(m, r) for m, r, _ in slices if r.any()]),
        "dice_all_slices": np.mean([dice(m, r, 1.0) for m, r, b in slices if b.any()]),
        "precision": (mask & reference).sum() / mask.sum() if mask.any() else math.nan,
        "recall": (mask & reference).sum() / reference.sum(),
    }


@pytest.mark.parametrize("rule", RULES.names)
def test_every_average_of_every_rule_is_what_detect_gives(cohort, model, whole, quiet, rule):
    evaluation, _ = whole
    detector = cead.load_model(model, device="cpu")
    for score in SCORES:
        found = row(evaluation, "mine", score, rule)
        pairs = []
        for name in TEST:
            patient = cead.load_patient(cohort / name)
            result = cead.detect(patient, detector, found.params, score)
            pairs.append((result.mask, patient.lesion_mask, result.input > 0))
        expected = by_hand(pairs)
        for name in AVERAGES:
            value = getattr(found.averages, name)
            assert value == pytest.approx(expected[name], abs=1e-12, nan_ok=True), (score, name)
        assert found.lesion_patients == 2
        assert [item.name for item in found.patients] == TEST
        assert [item.detected_ml for item in found.patients] == pytest.approx(
            [mask.sum() * 0.94 * 0.94 / 1000 for mask, _, _ in pairs]
        )


def test_voxel_ranking_and_image_quality_are_over_the_reported_patients(cohort, model, whole, quiet):
    evaluation, _ = whole
    detector = cead.load_model(model, device="cpu")
    made = [run(cead.load_patient(cohort / name), detector) for name in TEST]
    inside = [item.stack.brain for item in made]
    scores = np.concatenate(
        [item.anomaly_map("residual")[brain] for item, brain in zip(made, inside, strict=True)]
    )
    lesion = np.concatenate(
        [item.patient.lesion_mask[brain] for item, brain in zip(made, inside, strict=True)]
    )
    found = row(evaluation, "mine", "residual", "oracle")
    assert found.auroc == pytest.approx(auroc(scores, lesion), abs=1e-6)
    assert found.average_precision == pytest.approx(average_precision(scores, lesion), abs=1e-6)
    marks = [
        candidates(item.anomaly_map("residual"), item.patient.lesion_mask, item.stack.brain) for item in made
    ]
    assert found.froc == froc(marks)
    assert found.lesion_f1 == lesion_f1(found.lesion_sensitivity, found.lesion_precision)

    expected = ImageQuality.empty()
    for item in made:
        brain = item.stack.geometry.labels_to_model(item.stack.brain)
        healthy = ~item.patient.lesion_mask.any(axis=(1, 2)) & (brain.mean(axis=(1, 2)) >= 0.15)
        expected += ImageQuality.of(item.stack.images[healthy], item.slices[healthy], brain[healthy])
    assert expected.psnr.size > 0
    assert evaluation.models[0].quality == pytest.approx(expected.means())


def check_bound(evaluation):
    """Check that no rule has a higher ``dice_patient`` than the oracle, for any model, score and sequence."""
    bounds = {
        (item.model, item.score, item.sequence): item.averages.dice_patient
        for item in evaluation.rows
        if item.rule == "oracle" and item.averages
    }
    others = [item for item in evaluation.rows if item.rule not in ("oracle", "none") and item.averages]
    assert bounds and others
    for item in others:
        assert not item.averages.dice_patient > bounds[item.model, item.score, item.sequence], item


def test_the_oracle_is_a_bound_on_every_row(whole, denoiser_folder, vae, run_once):
    check_bound(whole[0])
    check_bound(run_once([denoiser_folder, vae], scores=SCORED, out="more"))


SCORED = ("residual", "positive-residual", "squared", "combined", "intensity")


def test_nothing_scores_what_an_empty_mask_scores(cohort, run_once, quiet):
    evaluation = run_once(models=[])
    found = row(evaluation, "nothing", None, "none")
    patients = [cead.load_patient(cohort / name) for name in TEST]
    slices = [
        (brain.any(), mask.any())
        for patient in patients
        for brain, mask in zip(patient.volume() > 0, patient.lesion_mask, strict=True)
    ]
    healthy = sum(not lesion for brain, lesion in slices if brain)
    shown = sum(bool(brain) for brain, _ in slices)
    assert found.averages.dice_all_slices == healthy / shown
    assert (found.averages.dice_pooled, found.averages.dice_patient, found.averages.recall) == (0, 0, 0)
    assert found.averages.both_empty_patients == 1
    assert math.isnan(found.averages.precision)
    assert found.intervals["precision"] is None
    # Without a model, the baselines still stand.
    assert {item.model for item in evaluation.rows} == {
        *(baseline.title("flair") for baseline in BASELINES.values()),
        "nothing",
    }


def test_raw_intensity_is_the_score_intensity_under_the_same_rules(cohort, model, whole, quiet):
    evaluation, _ = whole
    detector = cead.load_model(model, device="cpu")
    for rule in RULES.names:
        found = row(evaluation, "flair-threshold", "intensity", rule)
        dice = [
            cead.detect(cead.load_patient(cohort / name), detector, found.params, "intensity").dice
            for name in TEST
        ]
        assert [item.as_dict()["dice"] for item in found.patients] == pytest.approx(dice, nan_ok=True)


def test_test_patients_never_choose_except_for_the_oracle(cohort, run_once, whole):
    before, _ = whole
    for name in TEST:  # other lesions, and other images
        flair = nib.load(cohort / name / "flair.nii.gz")
        data = flair.get_fdata()
        write_nifti(cohort / name / "flair.nii.gz", data + 200 * (data > 115), flair.affine)
        mask = np.zeros(data.shape, np.uint8)
        mask[20:24, 20:24, 2:5] = 1
        write_nifti(cohort / name / "seg.nii.gz", mask, flair.affine)
    after = run_once(out="after")
    for model, score in (
        ("mine", "residual"),
        ("mine", "positive-residual"),
        ("flair-threshold", "intensity"),
    ):
        for rule in ("validation", "healthy-quantile"):
            old, new = row(before, model, score, rule), row(after, model, score, rule)
            assert old.params == new.params
            assert old.chosen_on == new.chosen_on == "validation patients"
            assert old.averages != new.averages
        assert row(before, model, score, "oracle").params != row(after, model, score, "oracle").params


def test_validation_patients_do_choose(cohort, run_once):
    before = run_once(models=[])
    for name in ("Mets_002", "Mets_003"):
        flair = nib.load(cohort / name / "flair.nii.gz")
        mask = np.asarray(flair.dataobj) > 108  # a fifth of the brain: more would be no lesion mask
        write_nifti(cohort / name / "seg.nii.gz", mask.astype(np.uint8), flair.affine)
    after = run_once(models=[], out="after")
    chosen = [row(found, "flair-threshold", "intensity", "validation").params for found in (before, after)]
    assert chosen[0].threshold > chosen[1].threshold


def test_without_a_split_the_card_serves_its_rules_and_others_stay_empty(run_once):
    evaluation = run_once(split=None)
    suggested = row(evaluation, "mine", "positive-residual", "validation")
    assert (suggested.params, suggested.chosen_on) == (
        cead.PostprocessParams().replace(threshold=0.25),
        "model card",
    )
    assert suggested.averages.patients == 6
    for model, score, rule in (
        ("mine", "residual", "validation"),
        ("mine", "positive-residual", "healthy-quantile"),
        ("flair-threshold", "intensity", "validation"),
    ):
        empty = row(evaluation, model, score, rule)
        assert (empty.params, empty.averages) == (None, None)
        assert "no " in empty.note
    oracle = row(evaluation, "mine", "residual", "oracle")
    assert oracle.optimistic
    assert (suggested.chosen, oracle.chosen) == ("model card", "6 reported patients")
    assert any("no split" in text for text in evaluation.warnings)


def test_broken_and_unlabelled_patients_are_listed_and_the_rest_is_as_without_them(cohort, run_once, whole):
    (cohort / "Mets_005" / "flair.nii.gz").write_bytes(gzip.compress(b"junk"))
    (cohort / "Mets_003" / "seg.nii.gz").unlink()
    shutil.copytree(cohort / "Mets_001", cohort / "Mets_777")
    evaluation = run_once(models=[])
    assert {(item.name, item.part) for item in evaluation.skipped} == {
        ("Mets_005", "test"),
        ("Mets_003", "validation"),
        ("Mets_777", ""),
    }
    reasons = {item.name: item.reason for item in evaluation.skipped}
    assert "unlabelled" in reasons["Mets_003"]
    assert "flair.nii.gz" in reasons["Mets_005"]
    assert evaluation.parts == {
        "train": ("Mets_001",),
        "validation": ("Mets_002",),
        "test": ("Mets_004", "Mets_006"),
    }
    nothing = row(whole[0], "nothing", None, "none").patients
    left = row(evaluation, "nothing", None, "none").patients
    assert [strict(item.as_dict()) for item in left] == [strict(nothing[i].as_dict()) for i in (0, 2)]


def test_a_store_split_by_slice_reports_its_test_slices_alone(cohort, tmp_path, quiet):
    options = {"split": "slice", "image_size": SIZE, "validation": 0.3, "test": 0.4, "min_brain": 0.05}
    store = prepare(cohort, tmp_path / "store", **options)
    evaluation = evaluate(cohort, [], tmp_path / "out", split=tmp_path / "store", resamples=20)
    expected = sum(parts.count("test") for parts in (patient.parts for patient in store.patients))
    found = row(evaluation, "nothing", None, "none").averages
    assert found.brain_slices == expected
    assert any("optimistic" in text for text in evaluation.warnings)


def test_files(whole):
    evaluation, out = whole
    assert sorted(path.name for path in out.iterdir()) == [
        "per_lesion.csv",
        "per_patient.csv",
        "report.html",
        "results.csv",
        "results.json",
        "table.md",
    ]
    with (out / "results.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert list(lines[0])[:9] == ["model", "rule", "score", *AVERAGES]
    assert len(lines) == len(evaluation.rows) == 3 * (2 + len(BASELINES)) + 1
    for line, found in zip(lines, evaluation.rows, strict=True):
        assert float(line["dice_patient"]) == found.averages.dice_patient
        low, high = found.intervals["dice_patient"]
        assert (float(line["dice_patient_low"]), float(line["dice_patient_high"])) == (low, high)
        assert line["optimistic"] == str(found.rule == "oracle")
        assert line["threshold"] == ("" if found.params is None else str(found.params.threshold))
    assert lines[-1]["precision"] == ""

    def no_constant(name):
        raise AssertionError(f"{name} is not strict JSON")

    stored = json.loads((out / "results.json").read_text(), parse_constant=no_constant)
    assert stored["schema_version"] == 2
    assert stored["parts"]["validation"] == ["Mets_002", "Mets_003"]
    assert stored["rows"][-1]["precision"] is None
    assert stored["rows"][0]["params"]["threshold"] == evaluation.rows[0].params.threshold
    assert stored["rows"][2]["optimistic"] is True
    assert stored["models"][0]["sha256"] == evaluation.models[0].sha256

    with (out / "per_patient.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == len(evaluation.rows) * 3
    assert [line["patient"] for line in lines[:3]] == TEST

    table = (out / "table.md").read_text()
    assert "another data set" in table
    assert "neither which average" in table
    assert "| mine | 0.302 | positive-residual | oracle (optimistic) |" in table  # its architecture is the AE


def test_rows_without_settings_are_empty_in_the_files(run_once, tmp_path):
    run_once(split=None, rules=("healthy-quantile",), scores=("residual",))
    with (tmp_path / "out" / "results.csv").open(newline="") as stream:
        line = next(csv.DictReader(stream))
    assert (line["model"], line["rule"], line["dice_pooled"], line["threshold"]) == (
        "mine",
        "healthy-quantile",
        "",
        "",
    )
    stored = json.loads((tmp_path / "out" / "results.json").read_text())
    assert stored["rows"][0]["dice_pooled"] is None
    assert "| mine | 0.302 | residual | healthy-quantile | – |" in (tmp_path / "out" / "table.md").read_text()


def test_the_same_run_twice_gives_the_same_figures(whole, run_once, tmp_path):
    _, out = whole
    run_once()
    for name in ("results.csv", "per_patient.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (out / name).read_bytes()


def test_progress_rises_to_the_end(run_once):
    seen = []
    run_once(on_progress=lambda *step: seen.append(step), scores=("residual",))
    done = [step[0] for step in seen]
    assert done == sorted(done) and done[0] == 0, "the total is told before the first step"
    # Five patients: a look by the model and by each baseline, two passes of a search, and those that are reported once
    # more for the bound. The last steps are no leap.
    (total,) = {total for _, total in seen}
    assert total >= 5 * SUBJECTS * 3
    assert done[-1] == total and done[-1] - done[-2] <= total / 5


def test_a_stop_leaves_no_results(run_once, tmp_path):
    with pytest.raises(Cancelled):
        run_once(should_stop=lambda: True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [KEPT]


def test_what_was_interrupted_goes_on_and_comes_out_the_same(whole, run_once, tmp_path, monkeypatch):
    looked, measured = [], evaluation_tasks.measure

    def measure(subject, member, *rest, **more):
        looked.append((subject.name, member.name))
        return measured(subject, member, *rest, **more)

    monkeypatch.setattr(evaluation_tasks, "measure", measure)
    with pytest.raises(Cancelled):
        run_once(should_stop=lambda: len(looked) >= 6)
    before, looked[:] = list(looked), []
    run_once()
    _, out = whole
    assert len(before) == 2 * SUBJECTS and len(before) + len(looked) == 5 * SUBJECTS
    assert not set(before) & set(looked)
    for name in ("results.csv", "per_patient.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (out / name).read_bytes()
    assert not (tmp_path / "out" / KEPT).exists()


def test_a_search_that_was_interrupted_is_not_made_again(whole, run_once, tmp_path, monkeypatch):
    searched, search = [], Case.dice

    def dice(case, grid):
        searched.append((case.name, len(grid)))
        return search(case, grid)

    monkeypatch.setattr(Case, "dice", dice)
    run_once(out="fresh")
    every, searched[:] = list(searched), []
    with pytest.raises(Cancelled):
        run_once(should_stop=lambda: len(searched) >= 3)
    run_once()
    assert len(searched) == len(every)
    _, out = whole
    for name in ("results.csv", "per_patient.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (out / name).read_bytes()


def test_what_was_measured_is_not_taken_for_another_evaluation(cohort, run_once, tmp_path):
    def stop_late():
        return len(list((tmp_path / "out").rglob("*.json"))) >= 8

    with pytest.raises(Cancelled):
        run_once(should_stop=stop_late)
    flair = nib.load(cohort / "Mets_002" / "flair.nii.gz")
    write_nifti(
        cohort / "Mets_002" / "flair.nii.gz", flair.get_fdata() * (1 + flair.get_fdata() / 300), flair.affine
    )
    run_once(out="fresh")
    run_once()
    results = [(tmp_path / name / "results.csv").read_bytes() for name in ("out", "fresh")]
    assert results[0] == results[1]


@pytest.fixture(scope="module")
def on_workers(untouched, split, model, tmp_path_factory):
    """The same evaluation by two processes, of which one is killed in the middle."""
    out, killed = tmp_path_factory.mktemp("workers") / "out", []

    def kill(done, total):
        if done >= total // 3 and not killed:
            children = psutil.Process().children(recursive=True)
            victim = next(child for child in children if "spawn_main" in " ".join(child.cmdline()))
            killed.append(victim.pid)
            victim.kill()

    found = evaluate(
        untouched, [model], out, split=split, device="cpu", resamples=50, workers=2, on_progress=kill
    )
    return found, out, killed


@pytest.mark.slow  # test_tasks.py kills workers, too
def test_killed_workers_cost_a_retry_and_the_table_is_the_same(whole, on_workers):
    evaluation, out, killed = on_workers
    assert len(killed) == 1
    assert evaluation.skipped == ()
    for name in ("results.csv", "per_patient.csv", "table.md"):
        assert (out / name).read_bytes() == (whole[1] / name).read_bytes()


def test_sequences_have_rows_of_their_own(cohort, run_once):
    for folder in cohort.iterdir():
        flair = nib.load(folder / "flair.nii.gz")
        write_nifti(folder / "t1_gd.nii.gz", 2 * flair.get_fdata() ** 1.5, flair.affine)
    evaluation = run_once(sequence=["flair", "t1_gd"], scores=("residual",))
    assert evaluation.sequences == ("flair", "t1_gd")
    by_sequence = {
        name: [item for item in evaluation.rows if item.sequence == name] for name in evaluation.sequences
    }
    names = ["mine", *(baseline.title("t1_gd") for baseline in BASELINES.values())]
    assert [item.model for item in by_sequence["t1_gd"]] == [*np.repeat(names, 3), "nothing"]
    alone = run_once(sequence="t1_gd", scores=("residual",), out="alone")
    assert [item.averages for item in alone.rows] == [item.averages for item in by_sequence["t1_gd"]]


def test_pictures_are_of_the_slices_that_the_figures_say(cohort, model, whole, quiet):
    evaluation, _ = whole
    assert [(item.model, item.kind) for item in evaluation.pictures] == [
        ("mine", kind) for kind in ("best", "median", "worst")
    ]
    assert evaluation.pictures[0].dice >= evaluation.pictures[1].dice >= evaluation.pictures[2].dice
    detector = cead.load_model(model, device="cpu")
    for item in evaluation.pictures:
        patient = cead.load_patient(cohort / item.patient)
        found = row(evaluation, "mine", item.score, item.rule)
        result = cead.detect(patient, detector, found.params, item.score)
        z = item.slice
        np.testing.assert_array_equal(item.mask, result.mask[z])
        np.testing.assert_array_equal(item.anomaly_map, result.anomaly_map[z])
        np.testing.assert_array_equal(item.reconstruction, result.reconstruction[z])
        np.testing.assert_array_equal(item.reference, patient.lesion_mask[z])
        np.testing.assert_allclose(item.input, result.input[z], atol=1e-6)
        assert item.reference.any()
        assert item.dice == pytest.approx(cead.dice(result.mask[z], patient.lesion_mask[z]))


def test_pictures_come_from_what_was_measured_and_are_the_same_without_it(
    cohort, split, model, whole, tmp_path, monkeypatch, quiet
):
    def pictures(out):
        return evaluate(cohort, [model], tmp_path / out, split=split, device="cpu", resamples=50).pictures

    monkeypatch.setattr(example_slices, "load_member", lambda *args, **options: pytest.fail("looked again"))
    kept = pictures("kept")
    monkeypatch.undo()
    monkeypatch.setattr(example_slices, "shown_file", lambda case: case.with_name("gone.npz"))
    for one, other, first in zip(kept, pictures("again"), whole[0].pictures, strict=True):
        for name in ("input", "reconstruction", "anomaly_map", "mask", "reference"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
            np.testing.assert_array_equal(getattr(one, name), getattr(first, name))


def test_wrong_use_is_said_before_anything_runs(cohort, run_once, tmp_path):
    with pytest.raises(ParameterError, match="score"):
        run_once(scores=("sharpness",))
    with pytest.raises(ParameterError, match="rule"):
        run_once(rules=("best",))
    with pytest.raises(ParameterError, match="quantile"):
        run_once(quantile=2.0)
    with pytest.raises(ModelError, match="no model"):
        run_once(models=["no-such-model"])
    assert not (tmp_path / "out").exists()
    for name in TEST:
        (cohort / name / "seg.nii.gz").unlink()
    with pytest.raises(PatientError, match="no patient can be reported"):
        run_once()


def test_two_models_of_one_name_keep_apart(model, run_once, tmp_path):
    shutil.copytree(model, tmp_path / "copy")
    evaluation = run_once(models=[model, tmp_path / "copy"], rules=("oracle",), scores=("residual",))
    assert [item.name for item in evaluation.models] == [f"mine ({model})", f"mine ({tmp_path / 'copy'})"]
    one, two = evaluation.rows[:2]
    assert (one.model, two.model) == tuple(item.name for item in evaluation.models)
    assert one.averages == two.averages


def test_all_means_every_whole_model_and_damaged_ones_are_said(model, run_once, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "napari_cead.zoo.finding.bundled_models", lambda: iter([tmp_path / "bundle" / "models"])
    )
    for name in ("good", "damaged"):
        shutil.copytree(model, tmp_path / "bundle" / "models" / name)
    (tmp_path / "bundle" / "models" / "damaged" / "model.json").write_text("{")
    evaluation = run_once(models="all", rules=("healthy-quantile",), scores=("residual",))
    assert [item.name for item in evaluation.models] == ["good"]
    assert any("the model damaged is left out" in text for text in evaluation.warnings)
    assert any("vae2" in text and "napari-cead[paper]" in text for text in evaluation.warnings)


def test_each_kind_of_model_has_its_healthy_quantile_unless_one_is_asked_for(
    model, denoiser_folder, run_once
):
    def thresholds(out, **more):
        found = run_once(
            [model, denoiser_folder], out, rules=("healthy-quantile",), scores=("residual",), **more
        )
        names = {"mine": "residual", "dae": "residual", "flair-threshold": "intensity"}
        return found, {
            name: row(found, name, score, "healthy-quantile").params.threshold
            for name, score in names.items()
        }

    usual, own = thresholds("usual")
    assert usual.quantile is None
    _, some = thresholds("some", quantile=0.99)
    _, more = thresholds("more", quantile=0.997)
    assert own == {"mine": some["mine"], "dae": more["dae"], "flair-threshold": some["flair-threshold"]}
    assert all(some[name] < more[name] for name in some)


def test_a_threshold_that_nothing_can_be_above_is_said(cohort, run_once, tmp_path):
    for name in ("Mets_002", "Mets_003"):  # what is brightest, clipped to 1, now counts as healthy
        flair = nib.load(cohort / name / "flair.nii.gz")
        write_nifti(cohort / name / "seg.nii.gz", np.zeros(flair.shape, np.uint8), flair.affine)
    evaluation = run_once(scores=("residual",), quantile=1.0)
    found = row(evaluation, "flair-threshold", "intensity", "healthy-quantile")
    assert (found.params.threshold, found.detected_ml) == (1.0, 0.0)
    assert (
        "flair-threshold, intensity, healthy-quantile: the threshold is 1"
        in (tmp_path / "out" / "table.md").read_text()
    )
    assert row(evaluation, "flair-threshold", "intensity", "validation").params is None


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    card = ModelCard(
        name="vae",
        spec=CE_VAE,
        preprocessing=Preprocessing(image_size=SIZE),
        score_scales={"kl-gradient": 0.1, "combined": 0.1},
    )
    return save_model(network(2, CE_VAE), card, tmp_path_factory.mktemp("vae") / "vae")


def test_scores_that_a_model_cannot_give_are_left_out_and_said(cohort, vae, model, run_once, quiet):
    evaluation = run_once([model, vae], scores=["residual", "combined"])
    assert {(item.model, item.score) for item in evaluation.rows if item.model in ("mine", "vae")} == {
        ("mine", "residual"),
        ("vae", "residual"),
        ("vae", "combined"),
    }
    assert "mine cannot give combined, which is left out" in evaluation.warnings
    found = row(evaluation, "vae", "combined", "oracle")
    detector = cead.load_model(vae, device="cpu")
    dice = [
        cead.detect(cead.load_patient(cohort / name), detector, found.params, "combined").dice
        for name in TEST
    ]
    assert found.averages.dice_patient == pytest.approx(np.nanmean(dice), abs=1e-12)


def test_a_score_that_no_model_can_give_is_an_error(model, run_once, tmp_path):
    with pytest.raises(ParameterError, match="combined needs a variational autoencoder, which mine is not"):
        run_once([model], scores=["combined"])
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def in_folds(untouched, model, tmp_path_factory):
    """An evaluation without a split, whose patients choose for each other, and its folder."""
    out = tmp_path_factory.mktemp("folds") / "out"
    options = {"device": "cpu", "resamples": 50, "scores": ("residual",), "folds": 3}
    return evaluate(untouched, [model], out, **options), out


def test_pictures_of_folds_are_of_the_slices_that_the_figures_say(untouched, in_folds):
    assert in_folds[0].pictures
    for item in in_folds[0].pictures:
        reference = cead.load_patient(untouched / item.patient).lesion_mask
        np.testing.assert_array_equal(item.reference, reference[item.slice])
        assert item.reference.any()
        assert item.dice == pytest.approx(cead.dice(item.mask, item.reference))


def test_unlabelled_patients_have_no_place_in_the_folds(cohort, in_folds, tmp_path, quiet):
    for name in NAMES[:3]:
        shutil.copytree(cohort / name, cohort / f"{name}b")
        (cohort / f"{name}b" / "seg.nii.gz").unlink()
    with pytest.raises(ParameterError, match="6 patients cannot make 7 folds"):
        evaluate(cohort, [], tmp_path / "out", folds=7, report=False)
    found = evaluate(cohort, [], tmp_path / "out", folds=3, resamples=50, report=False)
    assert found.folds == in_folds[0].folds
    assert [one.name for one in found.skipped] == [f"{name}b" for name in NAMES[:3]]


def test_every_fold_has_the_settings_that_the_others_chose(untouched, model, in_folds, tmp_path, quiet):
    """The same as with a split file for each fold, but for the candidates, which are those of all patients."""
    evaluation, _ = in_folds
    assert sorted(name for fold in evaluation.folds for name in fold) == sorted(NAMES)
    assert [len(fold) for fold in evaluation.folds] == [2, 2, 2]
    detector = cead.load_model(model, device="cpu")
    for name, score in (("mine", "residual"), ("flair-threshold", "intensity")):
        for rule in ("validation", "healthy-quantile"):
            found = row(evaluation, name, score, rule)
            assert (found.chosen_on, found.chosen_by) == ("other folds", 4)
            assert [item.name for item in found.patients] == list(NAMES)
            above = healthy = 0
            for patient in found.patients:
                fold = next(at for at, names in enumerate(evaluation.folds) if patient.name in names)
                result = cead.detect(
                    cead.load_patient(untouched / patient.name), detector, found.settings[fold], score
                )
                assert patient.as_dict()["dice"] == pytest.approx(result.dice, nan_ok=True)
                inside = result.brain & ~result.patient.lesion_mask
                above += np.count_nonzero(result.anomaly_map[inside] > found.settings[fold].threshold)
                healthy += np.count_nonzero(inside)
            # What each patient's own fold lets through, although the thresholds differ.
            assert found.healthy_above == pytest.approx(above / healthy)
    split = {"validation": [n for n in NAMES if n not in evaluation.folds[0]], "test": evaluation.folds[0]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    alone = evaluate(
        untouched,
        [model],
        tmp_path / "alone",
        split=tmp_path / "split.json",
        device="cpu",
        scores=("residual",),
        report=False,
    )
    for name, score in (("mine", "residual"), ("flair-threshold", "intensity")):
        expected = row(alone, name, score, "healthy-quantile").params
        assert row(evaluation, name, score, "healthy-quantile").settings[0] == expected


def test_a_lesion_mask_never_chooses_for_its_own_fold(cohort, model, in_folds, tmp_path):
    before, _ = in_folds
    for name in before.folds[1]:
        flair = nib.load(cohort / name / "flair.nii.gz")
        mask = np.zeros(flair.shape, np.uint8)
        mask[20:24, 20:24, 2:5] = 1
        write_nifti(cohort / name / "seg.nii.gz", mask, flair.affine)
    options = {"device": "cpu", "resamples": 50, "scores": ("residual",), "folds": 3, "report": False}
    after = evaluate(cohort, [model], tmp_path / "out", **options)
    assert after.folds == before.folds
    old, new = (row(found, "flair-threshold", "intensity", "validation") for found in (before, after))
    assert old.settings[1] == new.settings[1]
    assert old.settings != new.settings


def test_the_oracle_is_a_bound_with_folds_too(in_folds):
    check_bound(in_folds[0])


def test_folds_stand_in_the_files(in_folds):
    evaluation, out = in_folds
    stored = json.loads((out / "results.json").read_text())
    assert stored["folds"] == [list(fold) for fold in evaluation.folds]
    found = row(evaluation, "flair-threshold", "intensity", "healthy-quantile")
    line = next(
        item
        for item in stored["rows"]
        if (item["model"], item["rule"]) == ("flair-threshold", "healthy-quantile")
    )
    assert [params["threshold"] for params in line["folds"]] == [params.threshold for params in found.folds]
    assert (line["chosen_on"], line["chosen_by"]) == ("other folds", 4)
    with (out / "results.csv").open(newline="") as stream:
        (text,) = (
            item
            for item in csv.DictReader(stream)
            if (item["model"], item["rule"]) == ("flair-threshold", "healthy-quantile")
        )
    assert text["chosen_by"] == "4"
    assert text["fold_thresholds"] == " ".join(str(params.threshold) for params in found.settings)
    assert "3 folds, each with settings that the others chose" in (out / "table.md").read_text()
    assert "4 patients of the other folds" in (out / "report.html").read_text()


def test_folds_go_on_where_they_were_interrupted(untouched, model, in_folds, tmp_path, monkeypatch):
    looked, measured = [], evaluation_tasks.measure

    def measure(subject, member, *rest, **more):
        looked.append((subject.name, member.name))
        return measured(subject, member, *rest, **more)

    monkeypatch.setattr(evaluation_tasks, "measure", measure)
    options = {"device": "cpu", "resamples": 50, "scores": ("residual",), "folds": 3, "report": False}
    with pytest.raises(Cancelled):
        evaluate(untouched, [model], tmp_path / "out", should_stop=lambda: len(looked) >= 6, **options)
    evaluate(untouched, [model], tmp_path / "out", workers=1, **options)
    assert len(looked) == len(set(looked)) == 6 * SUBJECTS
    for name in ("results.csv", "per_patient.csv", "table.md"):
        assert (tmp_path / "out" / name).read_bytes() == (in_folds[1] / name).read_bytes()


@pytest.mark.slow  # starts processes
def test_folds_by_two_workers_are_the_same(untouched, model, in_folds, tmp_path):
    options = {"device": "cpu", "resamples": 50, "scores": ("residual",), "folds": 3}
    evaluate(untouched, [model], tmp_path / "out", workers=2, **options)
    for name in ("results.csv", "per_patient.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (in_folds[1] / name).read_bytes()


def test_folds_that_cannot_be_are_refused(run_once, tmp_path):
    with pytest.raises(ParameterError, match="validation patients, which choose the settings"):
        run_once(folds=2)
    with pytest.raises(ParameterError, match="6 patients cannot make 7 folds"):
        run_once(split=None, folds=7)
    assert not (tmp_path / "out").exists()


def test_few_validation_patients_are_no_headline(whole, tmp_path):
    evaluation, out = whole
    for text in ((out / "table.md").read_text(), (out / "report.html").read_text()):
        assert "chosen on the lesion masks of 2 patients, fewer than 10" in text
    assert "2 validation patients" in (out / "table.md").read_text()
    assert row(evaluation, "mine", "residual", "validation").chosen == "2 validation patients"
    assert {item.rule for item in evaluation.pictures} == {"healthy-quantile"}
