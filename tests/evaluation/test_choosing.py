import numpy as np
import pytest

import napari_cead as cead
from napari_cead.calibration.candidates import MORPHOLOGIES
from napari_cead.calibration.cases import Case
from napari_cead.calibration.rules import search
from napari_cead.detection.rules import HEALTHY, RULES, VALIDATION
from napari_cead.evaluation.choosing import (
    FOLDS,
    Chosen,
    best_rule,
    chosen_by_healthy,
    chosen_by_lesions,
    on_card,
    search_all,
)
from napari_cead.evaluation.cohort_progress import Steps
from napari_cead.metrics import PatientCounts
from napari_cead.models import spec
from napari_cead.report.columns import columns
from napari_cead.report.results import PatientFigures, chosen_by
from napari_cead.store.cohort_split import folds_of
from napari_cead.tasks import Here
from napari_cead.zoo import ModelCard, Suggestion

KEY = (1, "residual")


def case(seed, lesion=True):
    rng = np.random.default_rng(seed)
    brain = np.ones((4, 30, 30), bool)
    reference = np.zeros(brain.shape, bool)
    reference[1:3, 10:15, 10 : 12 + 2 * seed] = lesion
    anomaly_map = np.clip(rng.random(brain.shape) * 0.5 + reference * (0.2 + 0.1 * seed), 0, 1)
    healthy = ~reference.any(axis=(1, 2))
    return Case.of(f"p{seed}", anomaly_map.astype(np.float32), reference, brain, (1.0, 1.0, 1.0), healthy)


@pytest.fixture
def files(tmp_path):
    found = []
    for seed in range(4):
        case(seed).save(tmp_path / f"{seed}.npz")
        found.append((f"p{seed}", tmp_path / f"{seed}.npz"))
    return {KEY: found}


def searched(files, groups, also=()):
    return search_all(files, groups, {KEY: also}, RULES.names, Here(), Steps(4, None), None)[KEY]


def test_a_search_over_files_is_that_over_cases_in_memory(files):
    found = searched(files, [{"p0", "p1", "p2", "p3"}])
    assert found.best == found.choices["oracle"] == (search([case(seed) for seed in range(4)]),)
    assert found.patients == (4,)
    assert dict(found.curve)[found.curve[0][0]] == pytest.approx(
        np.mean(
            [case(seed).dice([MORPHOLOGIES[0].replace(threshold=found.curve[0][0])])[0] for seed in range(4)]
        )
    )


def test_each_group_has_the_best_of_what_was_tried_for_it(files):
    groups = [{"p0", "p1"}, {"p2", "p3"}, {"p0", "p1", "p2", "p3"}]
    odd = cead.PostprocessParams(threshold=0.321, dilation_radius=4)
    found = searched(files, groups, [odd])
    for group, choice in zip(groups, found.best, strict=True):
        own = [case(int(name[1])) for name in sorted(group)]
        for params in (*(other.params for other in found.best), odd):
            assert choice.dice_patient >= np.mean([one.dice([params])[0] for one in own])
        assert choice.dice_patient == pytest.approx(np.mean([one.dice([choice.params])[0] for one in own]))
    chosen = chosen_by_lesions(found, 2, FOLDS, VALIDATION)
    assert (chosen.chosen_by, chosen.at(0), chosen.at(1)) == (
        2,
        found.best[0].params,
        found.best[1].params,
    )


def test_a_fold_without_lesions_among_the_others_has_no_choice(files, tmp_path):
    case(5, lesion=False).save(tmp_path / "5.npz")
    files[KEY].append(("p5", tmp_path / "5.npz"))
    assert chosen_by_lesions(searched(files, [{"p0"}, {"p5"}]), 2, FOLDS, VALIDATION) is None
    both = chosen_by_healthy(files[KEY], [{"p0", "p1"}, {"p5"}], 0.9, FOLDS, RULES.find(HEALTHY))
    assert (len(both.params), both.chosen_by) == (2, 1)
    assert chosen_by_healthy(files[KEY], [{"p0"}, set()], 0.9, FOLDS, RULES.find(HEALTHY)) is None


def figures(dice):
    """Return figures of a patient with this Dice, in hundredths."""
    counts = PatientCounts(*(np.array([value]) for value in (dice, 100 - dice, 100 - dice, True)))
    return PatientFigures("one", counts, 0.1, 0.1, 1, 1, 1, 0)


def test_the_bound_is_what_any_rule_reaches_and_the_oracle_of_equals():
    assert best_rule({"validation": [figures(60)], "oracle": [figures(50)]}) == "validation"
    assert best_rule({"validation": [figures(60)], "oracle": [figures(60)]}) == "oracle"
    assert best_rule({"oracle": []}) is None


def test_a_card_says_how_many_patients_chose_if_it_knows():
    suggestion = Suggestion(score="residual", rule="validation", params={"threshold": 0.25})
    card = ModelCard(name="mine", spec=spec("ae", "small"), suggestions=(suggestion,))
    assert on_card(card, "mine", "residual", "validation").chosen_by is None
    calibration = {"validation_patients": 14, "validation_edges": {"residual": "highest"}}
    told = card.model_copy(update={"training": {"calibration": calibration}})
    chosen = on_card(told, "mine", "residual", "validation")
    assert (chosen.params[0].threshold, chosen.chosen_on, chosen.chosen_by) == (0.25, "model card", 14)
    assert (chosen.edge, on_card(card, "mine", "residual", "validation").edge) == ("highest", "")
    assert "mine suggests none" in on_card(told, "mine", "squared", "validation").note
    assert on_card(None, "flair-threshold", "intensity", "validation").params == ()


def test_who_chose_is_told_in_words():
    assert chosen_by("validation patients", 1) == "1 validation patient"
    assert (
        chosen_by("validation patients", 12, "lowest")
        == "12 validation patients, at the edge: lowest threshold tried"
    )
    assert chosen_by("other folds", 8) == "8 patients of the other folds"
    assert chosen_by("model card", 152) == "model card (152 patients)"
    assert chosen_by("model card", None) == "model card"
    assert chosen_by("", None) == ""


def test_thresholds_of_folds_are_shown_as_a_range_and_one_below_1_never_as_1():
    def shown(*values):
        (column,) = columns("threshold")
        return column.text({"params": None, "folds": [{"threshold": value} for value in values]})

    assert shown(0.12345, 0.2, 0.15) == "0.1235–0.2"
    assert shown(0.2, 0.2) == "0.2"
    assert (shown(0.99999), shown(1.0), shown()) == ("0.99999", "1", "–")


def test_an_edge_of_any_fold_counts():
    params = (cead.PostprocessParams(),) * 2
    assert Chosen(params, FOLDS, 3, ("", "highest")).edge == "highest"


def test_folds_are_even_repeatable_and_keep_visits_of_one_person_together():
    names = [f"Mets_{number:03d}" for number in range(11)]
    folds = folds_of(names, 4)
    assert folds == folds_of(reversed(names), 4)
    assert folds != folds_of(names, 4, seed=1)
    assert sorted(list(folds.values()).count(fold) for fold in range(4)) == [2, 3, 3, 3]
    visits = folds_of([f"sub-{person}_ses-{visit}" for person in "abc" for visit in (1, 2)], 3)
    assert all(visits[f"sub-{person}_ses-1"] == visits[f"sub-{person}_ses-2"] for person in "abc")
    assert len(set(visits.values())) == 3
