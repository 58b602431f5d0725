"""The figures, tables and pictures of the page of results, from scans that are made up."""

import importlib

import numpy as np
import pytest

import napari_cead as cead
from napari_cead.metrics import average_precision
from napari_cead.metrics.froc import froc
from napari_cead.patients import Patient

PARAMS = cead.PostprocessParams(threshold=0.5, closing_radius=0, area_fraction=0, dilation_radius=0)
SHAPE = (3, 40, 40)


@pytest.fixture(scope="module")
def research():
    """The modules of the command, as it imports them itself."""
    return tuple(importlib.import_module(name) for name in ("results", "measuring", "page", "drawing"))


def scan(number):
    """A patient with lesions of one and of eight voxels."""
    rng = np.random.default_rng(number)
    reference = np.zeros(SHAPE, bool)
    reference[0, 5, 5 + number % 9] = reference[0:2, 20:22, 20:22] = True
    values = (0.3 * rng.random(SHAPE) + 0.5 * reference * rng.random(SHAPE)).astype(np.float32)
    brain = np.zeros(SHAPE, np.bool_)
    brain[:, 2:-2, 2:-2] = True
    patient = Patient.from_arrays(
        {"flair": brain.astype(np.float32)}, lesion_mask=reference, spacing=(1.0, 1.0, 1.0), name=f"p{number}"
    )
    return patient, values * brain, brain


@pytest.fixture
def measured(research, tmp_path):
    """Counts of three maps on every part: a good one, the scan itself, and noise."""
    results, measuring, *_ = research
    free = [
        name
        for names in research[2].COLUMNS.values()
        for name in names  # all that the page shows
    ]
    subjects = [
        measuring.Subject(name, name, dict.fromkeys(measuring.SETTINGS, PARAMS), "fused")
        for name in ("model", "earlier", *free)
    ]
    for part in measuring.PARTS:
        for place, subject in enumerate(subjects):
            records = []
            for number in range(24 if "strokes" in part else 3):
                patient, values, brain = scan(number)
                values = np.clip(values * (1 - 0.05 * place), 0, 1)
                mask = cead.postprocess(values, PARAMS, patient.spacing, brain)
                seen = measuring.Seen(values, brain, dict.fromkeys(measuring.SETTINGS, mask))
                records.append(measuring.record(seen, patient, part))
            measuring._save(tmp_path, subject, part, records)
    return results, measuring, subjects, tmp_path


def test_a_record_has_the_figures_of_the_package(research):
    _, measuring, *_ = research
    patient, values, brain = scan(3)
    mask = values > 0.5
    kept = measuring.record(measuring.Seen(values, brain, {"as it comes": mask}), patient, "ms")
    by_hand = [
        cead.dice((values > threshold) & brain, patient.lesion_mask, empty=0) for threshold in measuring.GRID
    ]
    assert kept["curve"] == pytest.approx(np.array(by_hand), abs=1e-6)
    assert kept["ap"] == average_precision(values, patient.lesion_mask, brain)
    tp, fp, fn = kept["as it comes/counts"]
    assert 2 * tp / (2 * tp + fp + fn) == cead.dice(mask, patient.lesion_mask)
    assert kept["as it comes/ml"] == pytest.approx((mask & ~patient.lesion_mask).sum() / 1000)


def test_counts_of_other_weights_or_settings_are_not_taken(measured):
    _, measuring, subjects, out = measured
    other = measuring.Subject("model", "other weights", subjects[0].masks, "fused")
    assert measuring.load(out, subjects[0], "ms") is not None
    assert measuring.load(out, other, "ms") is None


def test_by_size_at_one_false_detection(measured):
    results, measuring, subjects, out = measured
    arrays = measuring.load(out, subjects[0], "phantoms")
    found = results.by_size(arrays)
    cohort = [
        results.Candidates(*each)
        for each in zip(arrays["scores"], arrays["changes"], arrays["highest"], strict=True)
    ]
    assert found["all"] == pytest.approx(froc(cohort, (1.0,))[0])
    assert [each["lesions"] for each in found["bins"]] == [6, 0, 0, 0, 0]  # of 1.2 and 2.5 mm
    assert sum(each["found"] for each in found["bins"]) == pytest.approx(found["all"] * 6)


def test_page_and_pictures(measured, research, tmp_path):
    results, _, subjects, out = measured
    _, _, page, drawing = research
    gathered = results.gather(subjects, out)
    gathered["without a network"] = [subject.name for subject in subjects[2:]]
    for name in ("model", "earlier"):
        gathered["maps"][name]["model"] = "ce-unet"
    assert gathered["missing"] == []

    short, long = tmp_path / "results.md", tmp_path / "results-detail.md"
    for file, blocks in ((short, ("lesions", "elsewhere")), (long, ("every map",))):
        marks = (
            f"<!-- written by research/results.py, {each}: {end} -->"
            for each in blocks
            for end in ("begin", "end")
        )
        file.write_text("before\n" + "\n".join(marks) + "\nafter\n", encoding="utf-8")
    for _ in range(2):  # written again, nothing changes
        page.write_page(gathered, short)
        page.write_detail(gathered, long)
        texts = [file.read_text(encoding="utf-8") for file in (short, long)]
        assert all(text.startswith("before\n") and text.endswith("after\n") for text in texts)
    tables = [line for line in "".join(texts).splitlines() if line.startswith("| AP |")]
    mean = gathered["parts"]["test-strokes"]
    first = tables[0].split(" | ")
    assert first[1].startswith(f"{mean['model']['AP']['mean']:.3f} [")
    strongest = max(gathered["without a network"], key=lambda name: mean[name]["AP"]["mean"])
    (column,) = (title for title, names in page.COLUMNS.items() if strongest in names)
    assert first[3] == f"{mean[strongest]['AP']['mean']:.3f} ({column})"

    for draw in (drawing.draw_thresholds, drawing.draw_sizes):
        draw(gathered, tmp_path / "figure.png")
        assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_an_interval_is_that_of_the_package(research):
    results, *_ = research
    values = np.random.default_rng(1).random(50)
    drawn = np.random.default_rng(0).integers(50, size=(1000, 50))
    assert results.interval(values) == pytest.approx(
        np.quantile(values[drawn].mean(axis=1), [0.025, 0.975]), abs=1e-4
    )
    assert results.interval(values[:6]) is None
