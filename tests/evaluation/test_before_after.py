"""A model before and after fine-tuning: against figures computed one slice at a time."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import napari_cead as cead
from model_folders import ensemble_of, one_sentence
from napari_cead.calibration.finishing import finish
from napari_cead.errors import Cancelled, ParameterError, PatientError
from napari_cead.evaluation import evaluate
from napari_cead.evaluation.before_after import EXAMPLES, WHITE, compare
from napari_cead.evaluation.fine_tuned import DEFAULT, dice, tables
from napari_cead.training import prepare, train
from napari_cead.zoo import load_card
from small_stores import SIZE, settings, write_patients


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("before-after")


@pytest.fixture(scope="module")
def cohort(place):
    return write_patients(place / "cohort", count=6)


@pytest.fixture(scope="module")
def store(place, cohort):
    split = {"train": ["Mets_001", "Mets_002"], "validation": ["Mets_003", "Mets_004", "Mets_005"]}
    file = place / "split.json"
    file.write_text(json.dumps({**split, "test": ["Mets_006"]}))
    return prepare(cohort, place / "store", image_size=SIZE, min_brain=0.05, split=file)


@pytest.fixture(scope="module")
def models(place, store):
    """A base model that has learned a little, and what fine-tuning made of it."""
    base = finish(train(settings(epochs=4, learning_rate=4e-3), store, place / "base").run)
    tuned = finish(train(settings(epochs=50, learning_rate=3e-3), store, place / "tuned", init_from=base).run)
    return base, tuned


@pytest.fixture(scope="module")
def found(models, store, cohort):
    return compare(*models, store, patient=cohort / "Mets_006", device="cpu")


def slice_by_slice(folder, store):
    """Give patient, image, reconstruction of each healthy validation slice."""
    detector = cead.load_model(folder, device="cpu")
    rows = store.healthy_rows("validation")
    for (patient, _), picture in zip(rows, store.read(rows), strict=True):
        image = picture.astype(np.float32) / 255
        yield patient, image, detector.reconstruct(torch.from_numpy(image)[None, None])[0, 0].numpy()


def with_thresholds(folder, thresholds):
    """Put thresholds by score onto a model's card, as chosen by healthy slices."""
    values = json.loads((folder / "model.json").read_text("utf-8"))
    values["suggestions"] = [
        {"score": score, "rule": "healthy-quantile", "params": {"threshold": threshold}}
        for score, threshold in thresholds.items()
    ]
    (folder / "model.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def test_the_figures_are_means_over_the_same_slices(found, models, store):
    for side, folder in zip(("before", "after"), models, strict=True):
        seen = [*slice_by_slice(folder, store)]
        pairs = [(image.astype(float), made.astype(float)) for _, image, made in seen]
        expected = {
            "residual": [np.abs(image - made)[image > 0].mean() for image, made in pairs],
            "psnr": [peak_signal_noise_ratio(*pair, data_range=1.0) for pair in pairs],
            "ssim": [structural_similarity(*pair, data_range=1.0) for pair in pairs],
        }
        for name, values in expected.items():
            assert getattr(found.figures[name], side) == pytest.approx(np.mean(values), abs=1e-4), name
    assert (found.patients, found.slices) == (3, len(seen))
    residual = found.figures["residual"]
    assert residual.difference == pytest.approx(residual.after - residual.before)
    assert residual.after < residual.before  # it has learned longer
    assert (residual.verdict, found.figures["ssim"].more_is_better) == ("better", True)
    assert "reconstructs these scans better" in found.verdict


def test_a_denoiser_is_not_called_worse_for_changing_more(store, denoiser_folder):
    strong = cead.load_model(denoiser_folder, device="cpu")
    mild = cead.load_model(denoiser_folder, device="cpu")
    with torch.no_grad():
        mild.module.head.bias.fill_(0.6)
    for first, second, word, said in (
        (mild, strong, "changes more", "changes more of these scans"),
        (strong, mild, "changes less", "leaves more of these scans unchanged"),
    ):
        found = compare(first, second, store, device="cpu")
        assert said in found.verdict
        assert "reconstructs these scans" not in found.verdict
        (row,) = (row for row in tables(found)[0].rows if "residual" in row[0].lower())
        assert row[-1] == word


def test_healthy_maps_of_an_ensemble_are_the_median_of_its_members_maps(models, store, tmp_path):
    images, first, second = (
        np.stack(values)
        for values in zip(
            *(
                (image, one, other)
                for (_, image, one), (_, _, other) in zip(
                    *(slice_by_slice(model, store) for model in models), strict=True
                )
            ),
            strict=True,
        )
    )
    thresholds = {"residual": 0.05, "squared": 0.01}
    folder = with_thresholds(ensemble_of(tmp_path / "ours", models), thresholds)
    found = compare(models[0], folder, store, device="cpu")
    shares = {item.score: item.above_after for item in found.thresholds}
    for (score, threshold), power in zip(thresholds.items(), (1, 2), strict=True):
        middle = (np.abs(images - first) ** power + np.abs(images - second) ** power) / 2
        of_outputs = np.abs(images - (first + second) / 2) ** power
        above, other = (np.count_nonzero(each[images > 0] > threshold) for each in (middle, of_outputs))
        assert shares[score] * np.count_nonzero(images) == pytest.approx(above, abs=2)
        assert abs(above - other) > 5, "the score of the median of the outputs is another one"


def test_thresholds_come_from_the_cards_and_are_counted_on_local_scans(found, models, store):
    (item,) = (item for item in found.thresholds if item.score == "residual")
    for side, folder in zip(("before", "after"), models, strict=True):
        (expected,) = (
            suggestion.params["threshold"]
            for suggestion in load_card(folder).suggestions
            if (suggestion.score, suggestion.rule) == ("residual", "healthy-quantile")
        )
        assert getattr(item, side) == expected
        values = np.concatenate(
            [np.abs(image - made)[image > 0] for _, image, made in slice_by_slice(folder, store)]
        )
        assert 0 < expected < 1
        share = getattr(item, f"above_{side}")
        assert share == pytest.approx((values > expected).mean(), abs=3e-4)
        # Both were calibrated on this store: recomputed, their thresholds are what they were.
        assert getattr(item, f"{side}_local") == pytest.approx(expected, abs=1 / 1024)
        assert share <= item.expected + 3e-4


def test_a_threshold_that_does_not_fit_is_called_so(models, store, place):
    folder = shutil.copytree(models[0], place / "elsewhere")
    with_thresholds(folder, dict.fromkeys(("positive-residual", "residual"), 0.01))
    result = compare(folder, models[1], store, device="cpu")
    (item,) = (item for item in result.thresholds if item.score == "residual")
    assert item.before == 0.01 and item.above_before > 0.5 and item.before_local > 0.02
    assert "marks healthy tissue" in result.verdict
    assert "does not show that lesions are found better" in result.verdict


def test_a_patient_with_lesions_is_measured_by_the_same_rules(found, models, cohort):
    assert found.patient == "Mets_006"
    patient = cead.load_patient(cohort / "Mets_006")
    for name, folder in zip((found.before, found.after), models, strict=True):
        rows = [row for row in found.rows if row.model == name]
        (usual,) = (row for row in rows if row.note == DEFAULT)
        result = cead.detect(patient, cead.load_model(folder, device="cpu"))
        assert (usual.score, usual.rule, usual.params) == (result.score, result.rule, result.params)
        assert dice(usual) == pytest.approx(result.dice)
        for score in {row.score for row in rows}:
            of_score = [row for row in rows if row.score == score]
            (oracle,) = (row for row in of_score if row.optimistic)
            assert oracle.chosen_on == "reported patients"
            assert all(dice(row) <= dice(oracle) for row in of_score)
            again = cead.detect(patient, cead.load_model(folder, device="cpu"), oracle.params, score)
            assert dice(oracle) == pytest.approx(again.dice)
    baseline = [row for row in found.rows if row.model == "flair-threshold"]
    assert [(row.rule, row.chosen_on) for row in baseline] == [
        ("healthy-quantile", "local scans"),
        ("oracle", "reported patients"),
    ]
    assert found.rows[-1].model == "nothing" and dice(found.rows[-1]) == 0


def test_a_row_has_the_figures_that_it_has_in_an_evaluation(found, models, cohort, place):
    alone = shutil.copytree(cohort / "Mets_006", place / "alone" / "Mets_006").parent
    evaluation = evaluate(alone, models, place / "alone-out", report=False, device="cpu")
    summaries = {summary.sha256: summary.name for summary in evaluation.models}
    compared = 0
    for before, sha256 in zip(
        (found.before, found.after), (load_card(m).sha256 for m in models), strict=True
    ):
        for row in found.rows:
            for other in evaluation.rows:
                same = (other.model, other.score, other.params) == (summaries[sha256], row.score, row.params)
                if row.model == before and same:
                    assert (row.averages, row.detected_ml) == (other.averages, other.detected_ml)
                    assert (row.lesion_f1, row.hd95) == pytest.approx(
                        (other.lesion_f1, other.hd95), nan_ok=True
                    )
                    compared += 1
    assert compared >= 2


def test_the_settings_of_raw_intensity_are_from_the_local_scans(found, store):
    pictures = store.healthy_slices("validation")
    threshold = next(row for row in found.rows if row.model == "flair-threshold").params.threshold
    values = pictures[pictures > 0] / np.float32(255)
    assert (values > threshold).mean() <= 0.01 < (values > threshold - 1 / 1024).mean()


def test_examples_are_what_the_models_made(found, models, store):
    assert len(found.examples) == EXAMPLES
    changes = [item.change for item in found.examples]
    assert changes == sorted(changes)
    seen = {
        side: [*slice_by_slice(folder, store)]
        for side, folder in zip(("before", "after"), models, strict=True)
    }
    for item in found.examples:
        for side in ("before", "after"):
            (made,) = (
                made
                for _, image, made in seen[side]
                if np.array_equal((image * 255).round().astype(np.uint8), item.input)
            )
            shown = getattr(item, side)
            assert shown.dtype == np.uint8 and shown.shape == (SIZE, SIZE)
            assert np.abs(shown / 255 - np.clip(made, 0, 1)).max() <= 1 / 255
            expected = np.clip(np.abs(item.input / 255 - made) / WHITE, 0, 1)
            assert np.abs(getattr(item, f"residual_{side}") / 255 - expected).max() <= 1 / 255


def test_an_evaluation_of_both_compares_them_in_pairs(models, cohort, place):
    evaluation = evaluate(
        cohort,
        models,
        place / "evaluation",
        scores=["residual"],
        rules=["oracle"],
        resamples=20,
        report=False,
        device="cpu",
    )
    before, after = evaluation.rows[:2]
    pooled = next(item for item in evaluation.twins if item.average == "dice_pooled")
    assert {(item.twin, item.model, item.kind) for item in evaluation.twins} == {
        (before.model, after.model, "fine-tuning")
    }
    assert pooled.difference == pytest.approx(after.averages.dice_pooled - before.averages.dice_pooled)
    assert pooled.patients == len(before.patients)


def test_it_is_strict_json(found):
    values = found.described()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["schema_version"] == 2
    assert values["figures"]["residual"]["verdict"] == "better"
    assert {row["rule"] for row in values["rows"]} >= {"healthy-quantile", "oracle", "none"}


def test_it_says_what_the_figures_rest_on(found, models, store):
    assert any("flatters it a little" in note for note in found.notes)
    assert any("3 patients are few" in note for note in found.notes)
    assert not any("not fine-tuned from" in note for note in found.notes)
    back = compare(models[1], models[0], store, device="cpu")
    assert any("not fine-tuned from" in note for note in back.notes)
    assert back.figures["residual"].verdict == "worse"
    same = compare(models[0], models[0], store, device="cpu")
    assert "both models have the same weights" in same.notes
    assert same.figures["residual"].difference == 0 and same.before != same.after
    trained_on = store.patients_of("train")[0]
    seen = compare(*models, store, patient=trained_on.source, device="cpu")
    assert any("Mets_001 was in the training" in note for note in seen.notes)


def test_without_validation_slices_it_says_so(models, store, cohort):
    patients = [replace(patient, parts=("train",) * len(patient.parts)) for patient in store.patients]
    alone = replace(store, patients=tuple(patients))
    result = compare(*models, alone, device="cpu")
    assert (result.figures, result.examples, result.slices) == ({}, (), 0)
    assert "no healthy validation slices" in result.verdict
    assert all(item.above_before is None and item.after_local is None for item in result.thresholds)
    assert any(item.after is not None for item in result.thresholds)  # the cards still say
    json.dumps(result.described(), allow_nan=False)
    result = compare(*models, alone, patient=cohort / "Mets_006", device="cpu")
    assert not any(row.chosen_on == "local scans" for row in result.rows)


def test_what_cannot_be_compared_is_one_sentence(models, store, place, cohort, model_folder):
    with pytest.raises(ParameterError) as caught:
        compare(model_folder, models[1], store, device="cpu")
    one_sentence(caught)
    bare = shutil.copytree(cohort / "Mets_006", place / "bare")
    (bare / "seg.nii.gz").unlink()
    with pytest.raises(PatientError) as caught:
        compare(*models, store, patient=bare, device="cpu")
    assert "no lesion mask" in one_sentence(caught)


def test_progress_ends_and_a_stop_is_heard(models, store, cohort):
    steps = []
    compare(
        *models,
        store,
        patient=cohort / "Mets_006",
        device="cpu",
        on_progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == sorted(steps) and steps[-1][0] == steps[-1][1]
    assert len({total for _, total in steps}) == 1
    with pytest.raises(Cancelled):
        compare(*models, store, device="cpu", should_stop=lambda: True)
