"""The benchmark on real scans, on tiny synthetic ones."""

import csv
import importlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from napari_cead import zoo
from napari_cead.detection import PostprocessParams, detect, postprocess
from napari_cead.detection.baselines import BASELINES
from napari_cead.detection.thresholds import ScoreHistograms
from napari_cead.metrics import PatientCounts, auroc, average_precision, averages, bootstrap, match_lesions
from napari_cead.models import build
from napari_cead.store.prepare import prepare
from scans import brain_of, make_brain, write_nifti
from small_stores import AE, SIZE
from tables import whole as with_tables

PAGE = """# Page

before

<!-- written by research/real.py: begin -->
STALE
<!-- written by research/real.py: end -->

after
"""


@pytest.fixture
def real():
    """The modules of the benchmark by name."""
    names = ("choosing", "figures", "measuring", "resampling", "scans", "tally")
    modules = {name: importlib.import_module(f"real_data.{name}") for name in names}
    command = importlib.import_module("real")
    return {"command": command, "main": command.main, **modules}


def write_slice(folder, number, lesion, seed):
    volume, mask = make_brain((12, 44, 40), seed=seed)
    z = 6
    name = f"{number:04d}.png"
    for part, image in (("flair", np.clip(volume[z], 0, 255)), ("mask", 255 * mask[z])):
        if part == "flair" or lesion:
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.astype(np.uint8)).save(folder / part / name)


@pytest.fixture
def data(tmp_path):
    """A pack like the real one: 7 stroke patients, 4 lesion-free ones of whom 2 strictly, an MS patient."""
    folder = tmp_path / "data"
    for number in range(1, 8):
        write_slice(folder / "soop_axial" / "lesion", number, True, number)
    for number in range(11, 15):
        write_slice(folder / "soop_axial" / "lesion_free", number, False, number)
    with (folder / "soop_axial" / "index.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("soop_subject", "folder", "cleaner"))
        table.writerows((number, "lesion", 0) for number in range(1, 8))
        table.writerows((number, "lesion_free", number % 2) for number in range(11, 15))
    volume, lesion = make_brain((8, 44, 40), seed=99)
    write_nifti(folder / "patient26" / "flair.nii.gz", volume.T)
    write_nifti(folder / "patient26" / "seg.nii.gz", lesion.T.astype(np.uint8))
    return folder


def save_models(out, *names):
    for seed, name in enumerate(names):
        torch.manual_seed(seed)
        spec = AE.model_copy(update={"name": name, "context_encoding": name.startswith("ce-")})
        card = zoo.ModelCard(
            name=name,
            spec=spec,
            preprocessing=zoo.Preprocessing(image_size=SIZE),
            training={"patients": 4, "epochs": 2},
            suggestions=(
                zoo.Suggestion(score="residual", rule="healthy-quantile", params={"threshold": 0.25}),
            ),
        )
        zoo.save_model(build(spec), card, out / name / "model")


def run(real, data, out, *stages, more=()):
    models = ("--models", "ae", "ce-ae")
    real["main"](
        ["--data", str(data), "--out", str(out), "--only", *stages, *models, "--device", "cpu", *more]
    )


def random_counts(patients=23, thresholds=40, seed=0):
    """Counts (P, thresholds, 3) as of maps: what is found falls slowly with the threshold, what is false fast."""
    rng, levels = np.random.default_rng(seed), np.arange(thresholds)
    found = (rng.integers(20, 60, (patients, 1)) * (1 - levels / thresholds)).astype(int)
    wrong = (
        rng.integers(100, 900, (patients, 1)) * np.exp(-levels / rng.integers(3, 9, (patients, 1)))
    ).astype(int)
    return np.stack([found, wrong, found[:, :1] - found], axis=-1)


def test_the_threshold_of_a_patient_never_depends_on_its_own_fold(real):
    choosing, fold = real["choosing"], real["scans"].folds(23)
    counts = random_counts()
    chosen = choosing.by_fold(counts, fold)
    for number in range(5):
        own = fold == number
        others = [choosing.dice_pooled(counts[~own])[k] for k in range(counts.shape[1])]
        assert (chosen[own] == int(np.argmax(others))).all()
        spoilt = counts.copy()
        spoilt[own] = 50 * counts[own][:, ::-1]
        assert (choosing.by_fold(spoilt, fold)[own] == chosen[own]).all()
        assert (choosing.by_fold(spoilt, fold)[~own] != chosen[~own]).any()


def test_the_folds_are_of_one_size_and_the_same_for_every_map(real):
    fold = real["scans"].folds(544)
    assert sorted(np.bincount(fold)) == [108, 109, 109, 109, 109]
    assert (fold == real["scans"].folds(544)).all()


def test_the_patients_that_choose_are_a_fixed_fifth(real):
    names = [f"{number:04d}" for number in range(544)]
    chosen = real["scans"].validation_names(names)
    assert len(set(chosen)) == 109 and set(chosen) < set(names)
    assert real["scans"].validation_names(names[::-1]) == chosen
    fold = real["scans"].folds(544)
    assert min(np.bincount(fold[[names.index(name) for name in chosen]])) > 10  # they are none of the folds


def test_counts_from_histograms_are_those_of_the_masks(real):
    rng = np.random.default_rng(0)
    values = rng.random((3, 20, 20), np.float32) ** 2
    lesion, brain = rng.random((3, 20, 20)) < 0.2, rng.random((3, 20, 20)) < 0.8
    found = [ScoreHistograms.of(*slices, bins=1024) for slices in zip(values, lesion, brain, strict=True)]
    raw = real["choosing"].raw_counts(
        *(np.array([getattr(one, name) for one in found]) for name in ("lesion", "healthy"))
    )
    for number in (0, 1, 100, 500, 1023):
        counts = PatientCounts.of((values > number / 1024) & brain, lesion & brain)
        assert raw[:, number].tolist() == np.stack([counts.tp, counts.fp, counts.fn], axis=-1).tolist()
        assert real["choosing"].dice_pooled(raw)[number] == pytest.approx(averages([counts]).dice_pooled)


def test_resamples_are_those_of_the_metrics(real):
    resampling, counts = real["resampling"], random_counts()[:, 7]
    cohort = [PatientCounts(*row[:, None], np.array([True])) for row in counts]
    found = resampling.interval(resampling.pooled(resampling.drawn(len(counts)), counts))
    assert found == pytest.approx(bootstrap(cohort)["dice_pooled"])


def test_many_rankings_at_once_are_those_of_the_metrics(real):
    rng = np.random.default_rng(3)
    values = rng.integers(0, 64, (2, 500)) / np.float32(64)
    lesion = rng.random((2, 500)) < 0.1 + 0.3 * values
    found = [ScoreHistograms.of(*one, bins=64) for one in zip(values, lesion, strict=True)]
    auprc, rocs = real["resampling"].rankings(
        *(np.array([getattr(one, name) for one in found]) for name in ("lesion", "healthy"))
    )
    for number in range(2):
        assert auprc[number] == pytest.approx(average_precision(values[number], lesion[number]))
        assert rocs[number] == pytest.approx(auroc(values[number], lesion[number]))


def test_the_strict_set_is_that_of_the_index(real, data):
    assert real["scans"].cleaner(data) == {"0011", "0013"}


def test_candidates_come_from_lesion_free_slices(real):
    histogram = ScoreHistograms.of(np.linspace(0, 1, 100_000, dtype=np.float32), np.zeros(100_000), bins=1024)
    grid = real["measuring"].candidates(histogram.healthy[None])
    assert 15 < len(grid) <= real["measuring"].CANDIDATES  # at the top, several fall on one bin
    assert list(grid) == sorted(set(grid))
    assert grid[0] == pytest.approx(0.7, abs=2e-3)
    assert 0.998 < grid[-1] < 1


def test_the_command_measures_what_there_is_and_goes_on_where_it_stopped(real, data, tmp_path, capsys):
    out, page = tmp_path / "out", tmp_path / "results.md"
    page.write_text(PAGE)
    save_models(out, "ae", "ce-ae")
    run(real, data, out, "measure", "table", more=("--docs", str(page)))
    results = json.loads((out / "results.json").read_text())
    rows = {(row["model"], row["score"], row["kind"], row["rule"]): row for row in results["rows"]}
    free = {f"flair-{name}" for name in ("threshold", "tissue", "tissue-smooth", "asymmetry")}
    assert {row[0] for row in rows} == {"nothing", *free, "ae", "ce-ae"}
    assert {row[1] for row in rows if row[0] == "ae"} >= {"residual", "positive-residual", "squared"}
    nothing, chosen = (
        rows["nothing", "–", "post", "validation"],
        rows["ae", "residual", "post", "healthy-quantile"],
    )
    assert nothing["stroke"]["dice_pooled"]["value"] == 0
    assert nothing["stroke"]["dice_all_slices"]["value"] == pytest.approx(4 / 11)
    assert (chosen["lesion-free"]["slices"], chosen["strictly lesion-free"]["slices"]) == (4, 2)

    # What the library says of each patient, one after the other.
    detector = zoo.load_model(str(out / "ae" / "model"), "cpu")
    scans = real["scans"].load_scans(data)
    counts, sensitive = [], []
    for patient in scans["stroke"].patients:
        found = detect(patient, detector, PostprocessParams(threshold=0.25), "residual")
        brain = brain_of(patient)
        assert (postprocess(found.anomaly_map, found.params, patient.spacing, brain) == found.mask).all()
        counts.append(PatientCounts.of(found.mask, patient.lesion_mask))
        sensitive.append(match_lesions(found.mask, patient.lesion_mask, patient.spacing))
    expected = averages(counts).as_dict()
    for name in ("dice_pooled", "dice_patient", "precision", "recall"):
        assert chosen["stroke"][name]["value"] == pytest.approx(expected[name])
    assert chosen["stroke"]["dice_pooled"]["interval"] == pytest.approx(bootstrap(counts)["dice_pooled"])
    found = sum(len(match.found) for match in sensitive) / sum(len(match.lesions) for match in sensitive)
    assert chosen["stroke"]["lesion_sensitivity"]["value"] == pytest.approx(found)
    for row in rows.values():
        if row["rule"] == "validation" and row["score"] != "–":
            best = rows[row["model"], row["score"], row["kind"], "oracle"]
            assert best["stroke"]["dice_pooled"]["value"] >= row["stroke"]["dice_pooled"]["value"]
            assert best["ms"]["dice_pooled"]["value"] >= row["ms"]["dice_pooled"]["value"]
    differences = {
        (row["score"], row["kind"], row["rule"], row["average"]): row for row in results["differences"]
    }
    twins = [
        rows[name, "residual", "post", "validation"]["stroke"]["dice_pooled"]["value"]
        for name in ("ce-ae", "ae")
    ]
    assert differences["residual", "post", "validation", "dice_pooled"]["value"] == pytest.approx(
        twins[0] - twins[1]
    )
    own, base = (
        rows[name, score, "raw", "validation"]["stroke"]
        for name, score in (("ae", "residual"), ("flair-asymmetry", "asymmetry"))
    )
    assert own["dice_pooled_ratio"]["value"] == pytest.approx(
        own["dice_pooled"]["value"] / base["dice_pooled"]["value"]
    )

    text = page.read_text()
    assert text.startswith("# Page\n\nbefore\n") and text.endswith("\nafter\n") and "STALE" not in text
    shown = with_tables(page)
    assert "baseline flair-threshold" in shown and "baseline nothing" in shown
    assert "\n| baseline" not in text  # a long table is a file beside the page
    (every,) = (tmp_path / "tables").glob("results-every-*.csv")
    assert f"[{len(every.read_text('utf-8').splitlines()) - 1} rows as CSV](tables/{every.name})" in text
    assert "7 stroke patients" in text and "`vae1`" in text.split("Not measured yet")[1].splitlines()[0]
    assert "# Results on real scans: all rows" in (out / "table.md").read_text()

    lost, cut = (out / "measured" / "ae" / f"{score}.npz" for score in ("squared", "residual"))
    times = {file: file.stat().st_mtime_ns for file in (out / "measured").rglob("*.npz")}
    whole = np.load(cut)["stroke/lesion"]
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:1000])
    capsys.readouterr()
    run(real, data, out, "measure", "table", more=("--docs", str(page)))
    again = {file: file.stat().st_mtime_ns for file in (out / "measured").rglob("*.npz")}
    assert {file for file in times if again[file] != times[file]} == {lost, cut}
    assert (np.load(cut)["stroke/lesion"] == whole).all()
    assert "ce-ae: measured before" in capsys.readouterr().err

    card = out / "ae" / "model" / "model.json"  # the same weights, calibrated again
    card.write_text(card.read_text("utf-8").replace("0.25", "0.3"), encoding="utf-8")
    run(real, data, out, "measure", "table")
    latest = {file: file.stat().st_mtime_ns for file in again}
    assert {file for file in again if latest[file] != again[file]} == {cut}
    results = json.loads((out / "results.json").read_text())
    wanted = ("ae", "residual", "post", "healthy-quantile")
    (found,) = (
        row for row in results["rows"] if (row["model"], row["score"], row["kind"], row["rule"]) == wanted
    )
    assert found["thresholds"]["stroke"] in (0.3, [0.3])
    assert page.read_text() == text


def test_what_is_prepared_and_trained_is_not_done_again(real, data, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        real["command"], "napari_cead", lambda *given: asked.append([str(one) for one in given])
    )
    out = tmp_path / "out"
    run(real, data, out, "prepare")
    assert asked[0][:2] == ["prepare", str(data / "soop_axial" / "lesion_free")]
    assert "--assume-healthy" in asked[0] and asked[0][asked[0].index("--test") + 1] == "0"
    prepare(
        data / "soop_axial" / "lesion_free",
        out / "store",
        image_size=SIZE,
        min_brain=0.05,
        assume_healthy=True,
    )
    save_models(out, "ae")
    (out / "ce-ae").mkdir()
    (out / "ce-ae" / "run.json").write_text("{}")
    run(real, data, out, "prepare", "train")
    assert [line[:2] for line in asked[1:]] == [["train", "ce-ae"]]
    assert asked[1][-1] == "--resume"


def test_a_page_without_a_place_for_the_table_is_refused(real, data, tmp_path):
    page = tmp_path / "results.md"
    page.write_text("# Page\n")
    save_models(tmp_path / "out", "ae")
    with pytest.raises(SystemExit, match="no comments"):
        run(real, data, tmp_path / "out", "measure", "table", more=("--docs", str(page)))
    assert page.read_text() == "# Page\n"


def test_the_block_of_the_baselines_needs_no_trained_models(real, data, tmp_path):
    begin, end = (f"<!-- written by research/real.py, baselines: {what} -->" for what in ("begin", "end"))
    page = tmp_path / "results.md"
    row = "| `vae2` | `{}` | {} [0.1, 0.2] | 1.0 [1, 1] | 0.3 [0.2, 0.4] | 1.0 | {} [0.1, 0.2] | 1.0 | 0.9 |"
    page.write_text(
        "### Every model, every score\n\n"
        + "\n".join(
            row.format(*cells)
            for cells in (("residual", 0.25, 0.1), ("squared", 0.5, 0.2), ("intensity", 0.4, 0.3))
        )
        + f"\n\n## Next\n\n| `no` | `figures` |\n\n{begin}\nSTALE\n{end}\nafter\n"
    )
    out = tmp_path / "out"
    run(real, data, out, "measure", more=("--scores", "none"))
    run(real, data, out, "table", more=("--docs", str(page), "--block", "baselines"))
    text = with_tables(page)
    assert "STALE" not in text and text.endswith(f"{end}\nafter\n")
    text = text.replace("`", "")

    load, scans = real["tally"].Measured.load, real["scans"].load_scans(data)
    maps = {
        (name, score): load(out / "measured" / baseline.title("flair") / f"{score}.npz")
        for name, baseline in BASELINES.items()
        for score in baseline.maps
    }
    for (name, score), found in maps.items():  # the very order of the voxels
        seen = [BASELINES[name].seen(patient) for patient in scans["stroke"].patients]
        values = np.concatenate([one.anomaly_map(score)[one.stack.brain] for one in seen])
        lesion = np.concatenate(
            [
                person.lesion_mask[one.stack.brain]
                for person, one in zip(scans["stroke"].patients, seen, strict=True)
            ]
        )
        assert found.meta["exact"]["stroke"]["AUPRC"] == pytest.approx(average_precision(values, lesion))
        assert found.meta["exact"]["stroke"]["AUROC"] == pytest.approx(auroc(values, lesion))
    figures = {}
    for (name, score), found in maps.items():
        counts = real["figures"].counts_of(found, "stroke", "raw", "validation")
        figures[name, score] = averages(counts).dice_pooled
        assert f"| baseline flair-{name}" in text and f"| {figures[name, score]:.3f} [" in text
    taken = text.split("flair-tissue-smooth, ")[1].split(" stands")[0]
    best = max(value for (name, score), value in figures.items() if name != "tissue-smooth" or score == taken)
    assert f"| vae2 | residual | {0.25 - best:+.3f} |" in text
    assert f"| vae2 | squared | {0.5 - best:+.3f} |" in text  # its best; its third score is left out
    assert "vae2 | intensity | +" not in text and "vae2 | intensity | -" not in text

    found, base = maps["tissue", "intensity"], maps["threshold", "intensity"]
    exact, strict = found.meta["exact"]["stroke"], real["scans"].cleaner(data)
    # As far as bins may blur a map that crowds in a few of them.
    for moved, blurred in ((0.0, False), (0.1, True)):
        shifted = {name: exact[name] + moved for name in ("AUPRC", "AUROC")}
        meta = {**found.meta, "exact": {**found.meta["exact"], "stroke": {**exact, **shifted}}}
        ranks = real["figures"].rows_of(replace(found, meta=meta), base, strict)[0]["stroke"]
        for name in ("AUPRC", "AUROC"):
            assert ranks[name]["value"] == shifted[name]
            for figure in (ranks[name], ranks[f"{name}_ratio"]):
                assert (figure["interval"] is None) == blurred

    page.write_text("no marks")
    with pytest.raises(SystemExit, match="there are no comments"):
        run(real, data, out, "table", more=("--docs", str(page), "--block", "baselines"))
