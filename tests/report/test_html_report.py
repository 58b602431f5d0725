import base64
import io
import math
import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from napari_cead.detection import PostprocessParams
from napari_cead.errors import MissingExtraError
from napari_cead.metrics import PatientCounts
from napari_cead.report.html import html_report
from napari_cead.report.html.page import FIGURES, MORE, RANKING
from napari_cead.report.html.pictures import outline, panels
from napari_cead.report.paired_comparison import compare_twins
from napari_cead.report.paper import PAPER_DICE
from napari_cead.report.results import (
    NOTHING,
    Curve,
    Evaluation,
    LesionRecord,
    ModelSummary,
    OverSeeds,
    PatientFigures,
    Row,
    SkippedPatient,
    SlicePicture,
)

HOSTILE = "<script>alert(1)</script>"
VALIDATION = tuple(f"Mets_2{number:02d}" for number in range(12))
NAMES = ("Mets_001", HOSTILE, "Mets_003", "Mets_004")
MODELS = ("vae1", "ce-vae1")
RULES = ("healthy-quantile", "validation", "oracle")
CHOSEN = {"chosen_on": "validation patients", "chosen_by": len(VALIDATION)}
AVERAGES = ("dice_patient", "dice_pooled", "dice_lesion_slices", "dice_all_slices")
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


def patient(name, share, seed):
    """A patient of 5 slices of whose lesion about ``share`` is found; the last one holds no lesion."""
    rng = np.random.default_rng(seed)
    lesion = rng.integers(20, 200, 5) * (name != NAMES[-1])
    tp = np.rint(lesion * share).astype(np.int64)
    fp = rng.integers(0, 30, 5) * (share > 0) * (name != NAMES[-1])
    lesions = (LesionRecord(4.0, 33.0, 0.0, False), LesionRecord(15.0, 1767.0, 900.0, share > 0))
    lesions = lesions if name != NAMES[-1] else ()
    found = sum(record.found for record in lesions)
    hd95 = 7.5 if share > 0 and lesions else math.nan
    counts = PatientCounts(tp, fp, lesion - tp, np.ones(5, dtype=bool))
    return PatientFigures(name, counts, 1.0, 0.5, len(lesions), found, found + 1, 1, lesions, hd95)


def row(model, score, rule, share, threshold=0.2, **keywords):
    figures = [patient(name, share, seed) for seed, name in enumerate(NAMES)]
    params = None if threshold is None else PostprocessParams(threshold=threshold)
    return Row.of(model, score, rule, params, figures, ranking=(0.91, 0.37), resamples=50, **keywords)


def picture(model="ce-vae1", kind="best", name=NAMES[1]):
    y, x = np.mgrid[:40, :36]
    brain = (y - 20) ** 2 + (x - 18) ** 2 < 14**2
    image = (brain * (0.4 + 0.01 * (x % 7))).astype(np.float32)
    lesion = (y - 15) ** 2 + (x - 20) ** 2 < 4**2
    mask = (y - 16) ** 2 + (x - 20) ** 2 < 4**2
    return SlicePicture(
        model, "residual", "validation", "flair", kind, name, 17, 0.8125,
        image, image / 2, image / 2, mask, lesion, threshold=0.15,
    )  # fmt: skip


def curve(model):
    places = tuple(np.linspace(0, 1, 11))
    raw = tuple(np.linspace(0.4, 0, 11))
    return Curve(model, "residual", "flair", places, raw, places[::2], raw[::2], 4)


@pytest.fixture(scope="module")
def evaluation():
    shares = {"vae1": 0.4, "ce-vae1": 0.7}
    rows = [
        row(model, "residual", rule, shares[model] + 0.05 * place, 0.1 + 0.05 * place, **CHOSEN)
        for model in MODELS
        for place, rule in enumerate(RULES)
    ]
    rows[0] = Row("vae1", "residual", RULES[0], None, note="no healthy slice")
    rows += [row("flair-threshold", "intensity", rule, 0.5, 0.6) for rule in RULES]
    rows.append(row(NOTHING, None, "none", 0.0, None))
    architectures = {name: name for name in MODELS}
    return Evaluation(
        cohort=Path("/data/a_cohort"),
        sequence="flair",
        split=Path("/data/split.json"),
        seed=0,
        resamples=50,
        quantile=None,
        rows=tuple(rows),
        models=tuple(
            ModelSummary(
                name,
                name,
                Path(name),
                "ab" * 32,
                "cpu",
                {"psnr": 27.25, "psnr_brain": 22.5, "ssim": 0.91, "slices": 3},
            )
            for name in MODELS
        ),
        parts={"train": ("Mets_100",), "validation": VALIDATION, "test": NAMES},
        skipped=(SkippedPatient("Mets_307", Path("/data/Mets_307"), "test", "the file ends early"),),
        warnings=("the side is assumed",),
        versions={"napari-cead": "0.1.0", "torch": "2.13.0"},
        sequences=("flair",),
        twins=compare_twins(rows, architectures, resamples=50),
        curves=tuple(curve(model) for model in MODELS),
        pictures=tuple(picture(model, kind) for model in MODELS for kind in ("best", "median", "worst")),
    )


@pytest.fixture(scope="module")
def page(evaluation):
    return html_report(evaluation)


def test_averages_over_seeds_stand_in_the_page(evaluation, page):
    assert "Over seeds" not in page
    seeds = tuple(
        OverSeeds("ce-vae1", "residual", "validation", "flair", name, 0.4567, 0.0123, (0.31, 0.62), 3, 4)
        for name in AVERAGES
    )
    shown = html_report(replace(evaluation, over_seeds=seeds))
    Reader(shown)
    assert "<h3>Over seeds</h3>" in shown and "ce-vae1 (3 seeds)" in shown
    assert shown.count("0.457 ± 0.012<small>[0.310, 0.620]</small>") == len(AVERAGES)


class Reader(HTMLParser):
    """Checks that tags are balanced, and collects references, tables of figures and text."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tables, self.seen, self.text, self.ids = [], [], [], [], []
        self.in_figures = False
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.seen.append((tag, attributes))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.in_figures = attributes.get("class") == "figures"
            if self.in_figures:
                self.tables.append([])
        if self.in_figures and tag == "tr":
            self.tables[-1].append([])
        if self.in_figures and tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)
        if self.in_figures and ("td" in self.open or "th" in self.open):
            self.tables[-1][-1][-1] += f"{data} "

    def all(self, tag, **wanted):
        return [found for name, found in self.seen if name == tag and wanted.items() <= found.items()]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def reader(page):
    return Reader(page)


def figures(reader, rule):
    """Cells of the two tables of a rule by name of the model, then by name of the column."""
    found = {}
    for number, shown in enumerate(([one.name for one in FIGURES], [one.name for one in MORE])):
        for cells in reader.tables[2 * RULES.index(rule) + number][1:]:
            title, *texts = (" ".join(cell.split()) for cell in cells)
            row = found.setdefault(title.split()[0], {"title": title})
            row |= dict(zip(shown, texts, strict=True))
    return found


def maps(reader):
    """Cells of the table of the maps by name of the model, then by name of the column."""
    rows = reader.tables[2 * len(RULES)][1:]
    names = [one.name for one in RANKING]
    return {row[0].split()[0]: dict(zip(names, map(str.strip, row[1:]), strict=True)) for row in rows}


class TestTable:
    def test_every_figure_of_every_row_stands_under_its_rule(self, evaluation, reader):
        for found in evaluation.rows:
            for rule in RULES if found.rule == "none" else (found.rule,):
                cells = figures(reader, rule)[found.model]
                if found.averages is None:
                    assert {*cells.values()} == {cells["title"], cells["paper"], "–"}
                    continue
                for name in (*AVERAGES, "precision", "recall"):
                    value = getattr(found.averages, name)
                    shown = "–" if math.isnan(value) else f"{value:.3f}"
                    if (interval := found.intervals[name]) is not None:
                        shown += f" [{interval[0]:.3f}, {interval[1]:.3f}]"
                    assert cells[name] == shown
                assert cells["lesion_sensitivity"] == f"{found.lesion_sensitivity:.3f}"
                assert cells["lesion_precision"] == f"{found.lesion_precision:.3f}"
                assert cells["false_positives_per_patient"] == f"{found.false_positives_per_patient:.1f}"
                assert cells["healthy_ml"] == f"{found.healthy_ml:.2f} (n = 1)"
                if found.score is not None:  # of the maps, whatever the rule
                    shown = maps(reader)[found.model]
                    assert (shown["auroc"], shown["auprc"]) == ("0.910", "0.370")
                assert cells["detected_ml"] == "0.50"

    def test_paper_and_threshold(self, reader):
        cells = figures(reader, "validation")
        assert cells["ce-vae1"]["paper"] == f"{PAPER_DICE['ce-vae1']:.3f}"
        assert cells["flair-threshold"]["paper"] == "–"
        assert cells["ce-vae1"]["threshold"] == "0.15 12 validation patients"
        assert cells[NOTHING]["threshold"] == "–"

    def test_undefined_is_a_dash(self, reader):
        nothing = figures(reader, "oracle")[NOTHING]
        assert nothing["hd95"] == nothing["precision"] == "–"
        assert not re.search(r"\bnan\b", reader.words, re.IGNORECASE)

    def test_only_oracle_is_optimistic(self, reader):
        for rule in RULES:
            marked = {name for name, cells in figures(reader, rule).items() if "optimistic" in cells["title"]}
            assert marked == ({*MODELS, "flair-threshold"} if rule == "oracle" else set())

    def test_best_never_of_all_slices(self, page):
        strong = re.findall(r"<td[^>]*>\s*<strong>", page)
        assert len(strong) == 3 * len(RULES)  # one in each of the other averages, under each rule

    def test_hd95_says_over_how_many(self, reader):
        assert figures(reader, "validation")["vae1"]["hd95"] == "7.5 (n = 3)"


@pytest.fixture
def no_charts(monkeypatch):
    """Leave the charts of a page empty, for tests of its words: drawing takes most of the time."""
    monkeypatch.setattr(Figure, "savefig", lambda figure, stream, **_: stream.write("<svg/>"))


@pytest.mark.usefixtures("no_charts")
class TestText:
    def test_summary_compares_the_best_with_the_best_baseline(self, evaluation, reader):
        best = next(row for row in evaluation.rows if (row.model, row.rule) == ("ce-vae1", "validation"))
        raw = next(
            row for row in evaluation.rows if (row.model, row.rule) == ("flair-threshold", "validation")
        )
        difference = best.averages.dice_patient - raw.averages.dice_patient
        words = reader.words
        assert "Under rule validation (settings chosen by 12 validation patients), ce-vae1 (residual), the best of 2 " \
            f"models, reaches dice_patient {best.averages.dice_patient:.3f} (95 % interval" in words  # fmt: skip
        assert f"The difference over the same 4 patients is {difference:+.3f} (95 % interval" in words
        assert "the model is better than the best baseline" in words

    def test_summary_falls_back_to_the_next_rule(self, evaluation):
        rows = tuple(row for row in evaluation.rows if row.rule != "validation")
        reader = Reader(html_report(replace(evaluation, rows=rows, twins=(), curves=(), pictures=())))
        assert (
            "Under rule healthy-quantile (settings chosen by 12 validation patients), ce-vae1" in reader.words
        )
        shown = [found["id"] for found in reader.all("input", type="radio") if "checked" in found]
        assert shown == ["rule-1"]

    def test_few_validation_patients_are_no_headline_and_that_is_said(self, evaluation):
        def opened(chosen_on, chosen_by):
            rows = tuple(
                replace(one, chosen_on=chosen_on, chosen_by=chosen_by) if one.rule == "validation" else one
                for one in evaluation.rows
            )
            few = Reader(html_report(replace(evaluation, rows=rows, pictures=(), curves=())))
            shown = [found["id"] for found in few.all("input", type="radio") if "checked" in found]
            return few.words, RULES[int(shown[0].removeprefix("rule-")) - 1]

        for enough in (("validation patients", 10), ("other folds", 12)):
            words, rule = opened(*enough)
            assert rule == "validation" and "a matter of chance" not in words
        words, rule = opened("validation patients", 9)
        assert rule == "healthy-quantile"
        assert "Under rule healthy-quantile" in words
        assert "chosen on the lesion masks of 9 patients, fewer than 10" in words
        # However many validation patients there are: without a lesion, they have chosen nothing by a mask.
        words, rule = opened("model card", 14)
        assert len(evaluation.parts["validation"]) == 12
        assert rule == "healthy-quantile" and "No validation patient chose settings by a lesion mask" in words

    def test_patients_that_the_best_model_was_trained_on_are_in_the_summary(self, evaluation):
        rows = tuple(
            replace(one, patients=tuple(replace(item, trained_on=True) for item in one.patients))
            for one in evaluation.rows
        )
        words = Reader(html_report(replace(evaluation, rows=rows, pictures=(), curves=()))).words
        assert "ce-vae1 (residual) (trained on 4 of 4), the best of 2 models, reaches" in words

    def test_without_a_lesion_there_is_nothing_to_compare_by(self, evaluation):
        healthy = [patient(NAMES[-1], share, 3) for share in (0.0, 0.5)]
        marked = replace(healthy[1], counts=replace(healthy[1].counts, fp=np.full(5, 3)))
        rows = tuple(
            Row.of(model, "residual", "validation", PostprocessParams(), [one], resamples=50)
            for model, one in (("vae1", marked), ("flair-threshold", marked), ("flair-tissue", healthy[0]))
        )
        words = Reader(html_report(replace(evaluation, rows=rows, twins=(), curves=(), pictures=()))).words
        assert "No reported patient has a lesion, so there is no Dice to compare by" in words
        assert "Compare by FP mL, healthy." in words and "reaches dice_patient" not in words

    def test_a_sequence_without_figures_is_named(self, evaluation):
        empty = Row("vae1", "residual", "validation", None, sequence="t1_gd")
        rows = (row("vae1", "residual", "validation", 0.4), empty)
        other = replace(evaluation, rows=rows, sequences=("flair", "t1_gd"), twins=(), curves=(), pictures=())
        assert "No model has a figure on t1_gd under rule validation." in Reader(html_report(other)).words

    def test_a_choice_at_the_edge_is_marked(self, evaluation):
        rows = tuple(
            replace(one, chosen_on="validation patients", chosen_by=12, edge="highest") if one.params else one
            for one in evaluation.rows
        )
        words = Reader(html_report(replace(evaluation, rows=rows, pictures=(), curves=()))).words
        assert "12 validation patients, at the edge: highest threshold tried" in words

    def test_the_quantile_is_told_in_words(self, evaluation, reader):
        def said(text):
            return [words for words in text.splitlines() if "healthy brain voxels" in words]

        asked = html_report(replace(evaluation, quantile=0.95, pictures=(), curves=()))
        assert evaluation.quantile is None
        assert "all but 0.01 (for denoisers 0.003) of the healthy brain voxels lie below" in reader.words
        assert "all but 0.05 of the healthy brain voxels lie below" in asked
        assert not any("None" in line for line in said(asked) + said(reader.words))

    def test_a_worse_model_is_called_worse(self, evaluation):
        rows = (
            row("vae1", "residual", "validation", 0.1),
            row("flair-threshold", "intensity", "validation", 0.9),
        )
        words = Reader(html_report(replace(evaluation, rows=rows, twins=(), curves=(), pictures=()))).words
        assert "the model is worse than the best baseline" in words

    def test_says_who_was_what(self, reader):
        words = reader.words
        for text in (
            "Mets_100",
            "Mets_200",
            "Mets_003",
            "Mets_307",
            "the file ends early",
            "the side is assumed",
        ):
            assert text in words
        for text in (
            "split.json",
            "2.13.0",
            "27.25",
            "Research software",
            "is not BrainMetShare",
            "Column paper",
        ):
            assert text in words

    def test_names_are_escaped(self, page, reader):
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert reader.all("script") == []
        assert (
            reader.words.count(HOSTILE) == 1 + 1 + 6
        )  # a test patient, with its lesions, and above each picture


@pytest.mark.usefixtures("no_charts")
class TestLead:
    def lead(self, evaluation, rows):
        page = html_report(replace(evaluation, rows=rows, twins=(), curves=(), pictures=()))
        return re.search(r'<p class="?lead"?>(.*?)</p>', page).group(1)

    def test_one_sentence_then_one_figure(self, page):
        lead, chart, rest = (page.index(text) for text in ('<p class="lead">', 'class="chart"', "Under rule"))
        assert lead < chart < rest
        assert page.count('<p class="lead">') == 1

    @pytest.mark.parametrize(
        ("share", "raw", "said"),
        [
            (
                0.9,
                0.2,
                "vae1 is better than flair-threshold, the best baseline without a network: dice_patient",
            ),
            (0.1, 0.9, "vae1 is worse than flair-threshold"),
            (0.5, 0.5, "It is not clear whether vae1 is better than flair-threshold"),
        ],
    )
    def test_it_says_no_more_than_the_interval(self, evaluation, share, raw, said):
        rows = (
            row("vae1", "residual", "validation", share),
            row("flair-threshold", "intensity", "validation", raw),
        )
        assert self.lead(evaluation, rows).startswith(said)

    def test_figures_that_are_too_good_are_no_headline(self, evaluation):
        rows = (row("vae1", "residual", "oracle", 0.9), row("flair-threshold", "intensity", "oracle", 0.2))
        assert self.lead(evaluation, rows).startswith("Under rule oracle (optimistic)")
        seen = tuple(
            replace(
                one,
                rule="validation",
                patients=tuple(replace(patient, trained_on=True) for patient in one.patients),
            )
            for one in rows
        )
        assert "trained on 4 of 4" in self.lead(evaluation, seen)


class TestLesions:
    def test_every_lesion_of_the_best_model_has_a_row(self, evaluation, reader):
        best = next(row for row in evaluation.rows if (row.model, row.rule) == ("ce-vae1", "validation"))
        for one in best.patients:
            dice = "–" if not one.lesions else f"{one.counts.total.dice():.3f}"
            assert (
                f"{one.name} Dice {dice} · {one.lesions_found} of {one.lesions} lesions found" in reader.words
            )
        count = sum(patient.lesions for patient in best.patients)
        assert reader.words.count("missed") + len(re.findall(r"\b0\.900 found\b", reader.words)) == count
        assert "15.0 1.767 0.900 found" in reader.words and "4.0 0.033 0.000 missed" in reader.words


class TestNarrowScreens:
    def test_every_cell_carries_the_title_of_its_column(self, page):
        for table in re.findall(r'<table class="(?:figures|cards)">.*?</table>', page, re.DOTALL):
            titles = [re.sub("<.*?>", "", title) for title in re.findall(r"<th scope=\"col\".*?</th>", table)]
            for line in re.findall(r"<tr.*?</tr>", table.partition("<tbody>")[2], re.DOTALL):
                shown = re.findall(r'data-title="(.*?)"', line)
                assert shown == titles[len(titles) - len(shown) :]

    @pytest.mark.parametrize("cell", ["tbody th", 'td[data-title="model"]'])
    def test_a_long_name_breaks_and_hides_no_column(self, page, cell):
        style = re.search(rf"^(?:.*, )?{re.escape(cell)}(?:, .*)? {{(.*)}}$", page, re.MULTILINE)[1]
        assert "white-space: normal" in style and "overflow-wrap: anywhere" in style and "max-width" in style


class TestSelfContained:
    def test_nothing_is_asked_of_the_network(self, page, reader):
        for tag, found in reader.seen:
            for name in ("src", "href", "srcset", "poster", "data", "action", "xlink:href"):
                assert found.get(name, "#").startswith(("data:", "#")), (tag, name)
        assert reader.all("link") == reader.all("iframe") == reader.all("script") == []
        assert not re.search(r"url\(|@import|https?:", page)

    def test_charts_ask_nothing_either(self, reader):
        charts = [
            found["src"] for found in reader.all("img") if found["src"].startswith("data:image/svg+xml")
        ]
        assert charts
        for uri in charts:
            svg = base64.b64decode(uri.partition(",")[2]).decode()
            ElementTree.fromstring(svg)
            assert "<!DOCTYPE" not in svg
            assert not re.findall(r"(?:href|src)=\"(?!#)", svg)
            assert not re.findall(r"url\((?!#)", svg)

    def test_references_within_the_page_have_a_target_of_their_own(self, reader):
        assert len(reader.ids) == len(set(reader.ids))
        targets = [found["href"][1:] for found in reader.all("use")] + [f["for"] for f in reader.all("label")]
        assert set(targets) <= set(reader.ids)

    def test_every_image_says_what_it_shows(self, reader):
        assert all(found["alt"] for found in reader.all("img"))
        assert all(found["aria-label"] for found in reader.all("svg"))

    def test_drawing_leaves_matplotlib_as_it_was(self, evaluation):
        import matplotlib

        before = dict(matplotlib.rcParams)
        html_report(evaluation)
        assert dict(matplotlib.rcParams) == before

    def test_the_same_evaluation_gives_the_same_page(self, evaluation, page):
        assert html_report(evaluation) == page


class TestCharts:
    def test_number(self, reader):
        charts = [f["alt"] for f in reader.all("img", **{"class": "chart"})]
        # The one that leads; for each rule four averages and two sizes of lesions.
        without_twins = 1 + len(RULES) * (4 + 2)
        twins = 2 * 4  # vae1 has no figures under healthy-quantile
        assert len(charts) == without_twins + twins + len(MODELS)

    def test_say_their_values(self, evaluation, reader):
        charts = [f["alt"] for f in reader.all("img", **{"class": "chart"})]
        best = next(row for row in evaluation.rows if (row.model, row.rule) == ("ce-vae1", "oracle"))
        assert any(
            f"ce-vae1 {best.averages.dice_pooled:.3f}" in alt and "dice_pooled" in alt for alt in charts
        )
        assert any("< 5 mm · 3 lesions" in alt for alt in charts)
        assert any("vae1 undefined" in alt for alt in charts)

    def test_names_with_signs_of_markup_and_mathematics(self, evaluation):
        name = "a<b>&$\\frac$"
        rows = (
            row(name, "residual", "validation", 0.4),
            row("flair-threshold", "intensity", "validation", 0.5),
        )
        model = replace(evaluation.models[0], name=name)
        other = replace(evaluation, rows=rows, models=(model,), twins=(), curves=(curve(name),), pictures=())
        reader = Reader(html_report(other))
        charts = [found["src"] for found in reader.all("img", **{"class": "chart"})]
        texts = [
            "".join(ElementTree.fromstring(base64.b64decode(uri.partition(",")[2])).itertext())
            for uri in charts
        ]
        assert sum(name in text for text in texts) == len(charts)

    def test_several_scores_and_sequences_are_told_apart(self, evaluation):
        rows = tuple(
            row("vae1", score, "validation", 0.4, sequence=sequence)
            for score in ("residual", "squared")
            for sequence in ("flair", "t1_gd")
        ) + tuple(
            row(f"{name}-threshold", "intensity", "validation", 0.2, sequence=name)
            for name in ("flair", "t1_gd")
        )
        other = replace(evaluation, rows=rows, sequences=("flair", "t1_gd"), twins=(), curves=(), pictures=())
        reader = Reader(html_report(other))
        assert {" ".join(cells[0].split()) for cells in reader.tables[0][1:5]} == {
            f"vae1 {score} · {name}" for score in ("residual", "squared") for name in ("flair", "t1_gd")
        }
        assert "Under rule validation on t1_gd, vae1" in reader.words
        assert any("vae1 squared · t1_gd 0." in found["alt"] for found in reader.all("img"))


class TestPictures:
    def test_five_panels_for_each(self, evaluation, reader):
        number = len(evaluation.pictures)
        assert len(reader.all("figure", **{"class": "slice"})) == number
        assert len(reader.all("div", **{"class": "panel"})) == 5 * number
        assert len(reader.all("image")) == number
        assert "patient Mets" not in reader.words  # the hostile one alone is pictured
        assert "Dice 0.812 · rule validation" in reader.words
        assert "threshold 0.15" in reader.words

    def test_the_best_model_is_open(self, reader):
        albums = [found for found in reader.all("details") if "open" in found]
        assert len(albums) == 2  # its slices, and the skipped patients

    def test_images_keep_their_levels(self):
        made = picture()
        drawn = panels(made)
        decoded = np.array(Image.open(io.BytesIO(base64.b64decode(drawn.input.partition(",")[2]))))
        assert decoded.shape == (drawn.height, drawn.width)
        rows, columns = np.flatnonzero(made.input.any(axis=1)), np.flatnonzero(made.input.any(axis=0))
        brain = decoded[np.ix_(*(np.flatnonzero((decoded > 0).any(axis=axis)) for axis in (1, 0)))]
        expected = np.rint(255 * made.input[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
        np.testing.assert_array_equal(brain, expected)

    def test_outline_goes_around_the_pixels(self):
        mask = np.zeros((9, 8), dtype=bool)
        mask[2:5, 3:7] = True
        mask[8, 0] = True
        points = np.array([[float(n) for n in p.split()] for p in re.split("[MLZ]+", outline(mask)) if p])
        block = points[points[:, 1] < 7]
        # Half way between the middles of the pixels inside and outside, whose edges are whole numbers.
        assert (block.min(axis=0), block.max(axis=0)) == (pytest.approx([3, 2]), pytest.approx([7, 5]))
        assert points.max() == pytest.approx(9)
        assert outline(np.zeros((4, 4), dtype=bool)) == ""

    def test_an_empty_slice(self):
        made = picture()
        nothing = np.zeros_like(made.input)
        empty = replace(made, input=nothing, mask=nothing > 0, reference=nothing > 0)
        drawn = panels(empty)
        assert (drawn.height, drawn.width, drawn.mask) == (40, 36, "")


class TestWithoutParts:
    def test_no_pictures_curves_and_twins(self, evaluation):
        reader = Reader(html_report(replace(evaluation, twins=(), curves=(), pictures=())))
        assert reader.all("figure") == []
        assert "Dice over the threshold" not in reader.words
        assert "Does context encoding help?" not in reader.words
        assert len(reader.tables) == 2 * len(RULES) + 1  # and that of the maps

    def test_no_models_and_no_rules(self, evaluation):
        bare = replace(
            evaluation,
            rows=(row(NOTHING, None, "none", 0.0, None),),
            models=(),
            split=None,
            skipped=(),
            warnings=(),
            sequences=(),
            twins=(),
            curves=(),
            pictures=(),
        )
        reader = Reader(html_report(bare))
        assert "No model has a figure under any rule." in reader.words
        assert reader.all("label") == []

    def test_one_patient_has_no_intervals(self, evaluation):
        figure = patient(NAMES[0], 0.5, 0)
        params = PostprocessParams()
        rows = (
            Row.of("vae1", "residual", "validation", params, [figure]),
            Row.of("flair-threshold", "intensity", "validation", params, [figure]),
        )
        reader = Reader(html_report(replace(evaluation, rows=rows, twins=(), curves=(), pictures=())))
        assert "The difference is +0.000 over 1 patient, too few for an interval." in reader.words

    @pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
    def test_a_missing_package_is_named_with_its_extra(self, evaluation, monkeypatch, package):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtraError, match=rf"{package}.*napari-cead\[evaluate\]"):
            html_report(evaluation)
