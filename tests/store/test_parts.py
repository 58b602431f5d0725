import json
from collections import Counter

import pytest

from napari_cead.errors import StoreError
from napari_cead.store.parts import assign_patients, assign_slices, read_split, write_split

SHARES = {"validation": 0.15, "test": 0.15}


def names(count, first=0):
    return [f"Mets_{number:03d}" for number in range(first, first + count)]


def test_a_split_file_comes_back_as_written(tmp_path):
    parts = {"b": "validation", "a": "train", "é/1": "test", "c": "train"}
    write_split(tmp_path / "split.json", parts)
    assert read_split(tmp_path / "split.json") == parts
    assert json.loads((tmp_path / "split.json").read_text("utf-8")) == {
        "train": ["a", "c"],
        "validation": ["b"],
        "test": ["é/1"],
    }


def test_a_list_that_is_not_there_is_empty(tmp_path):
    (tmp_path / "s.json").write_text('{"train": ["a"]}')
    assert read_split(tmp_path / "s.json") == {"a": "train"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"train": ["a"', "not valid JSON"),
        ("[]", "lists of patients' names"),
        ('{"train": "a"}', "lists of patients' names"),
        ('{"train": [1]}', "lists of patients' names"),
        ('{"train": ["a"], "val": ["b"]}', "no part 'val'"),
        ('{"train": ["a"], "test": ["a"]}', "a is in both train and test"),
        ('{"train": ["a", "a"]}', "a is in train twice"),
    ],
)
def test_a_damaged_split_file_is_one_sentence(tmp_path, text, words):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(StoreError, match=words) as caught:
        read_split(tmp_path / "s.json")
    assert "s.json" in str(caught.value)


def test_a_split_file_that_is_not_there(tmp_path):
    with pytest.raises(StoreError, match=r"no\.json.*cannot be read.*patient, slice or"):
        read_split(tmp_path / "no.json")


def test_shares_of_the_patients_whatever_their_order():
    parts = assign_patients(names(100), [], {}, seed=0, **SHARES)
    assert Counter(parts.values()) == {"train": 70, "validation": 15, "test": 15}
    assert assign_patients(names(100)[::-1], [], {}, seed=0, **SHARES) == parts
    assert assign_patients(names(100), [], {}, seed=1, **SHARES) != parts


@pytest.mark.parametrize(
    ("labelled", "unlabelled", "train", "validation"),
    [(2, 0, 1, 1), (3, 0, 2, 1), (0, 2, 1, 1), (1, 1, 1, 1), (1, 9, 8, 2), (1, 0, 1, 0), (0, 20, 17, 3)],
)
def test_one_trains_and_one_validates_as_far_as_there_are_patients(labelled, unlabelled, train, validation):
    parts = assign_patients(names(labelled), names(unlabelled, 500), {}, seed=3, **SHARES)
    counts = Counter(parts.values())
    assert (counts["train"], counts["validation"], counts["test"]) == (train, validation, 0)


def test_unlabelled_patients_are_never_kept_for_the_report():
    parts = assign_patients(names(40), names(40, 500), {}, seed=0, **SHARES)
    assert Counter(parts[name] for name in names(40)) == {"train": 28, "validation": 6, "test": 6}
    assert Counter(parts[name] for name in names(40, 500)) == {"train": 34, "validation": 6}


def test_a_part_stays_and_new_patients_fill_the_shares_up():
    before = assign_patients(names(20), [], {}, seed=0, **SHARES)
    after = assign_patients(names(60), [], before, seed=0, **SHARES)
    assert {name: after[name] for name in before} == before
    assert Counter(after.values()) == {"train": 42, "validation": 9, "test": 9}


def test_patients_that_are_gone_take_no_part():
    known = dict.fromkeys(names(50), "validation")
    parts = assign_patients(names(3, 48), [], known, seed=0, **SHARES)
    assert set(parts) == set(names(3, 48))
    assert parts["Mets_050"] == "train"  # both others validate already


def test_single_slices_get_their_shares_over_the_cohort():
    counts: Counter[str] = Counter()
    for name in names(400):
        counts.update(assign_slices(name, 3, labelled=True, seed=0, **SHARES))
    # 1200 slices, 180 expected; 5 standard deviations of a binomial are 62.
    assert abs(counts["validation"] - 180) < 62
    assert abs(counts["test"] - 180) < 62
    again = assign_slices("Mets_007", 40, labelled=True, seed=0, **SHARES)
    assert again == assign_slices("Mets_007", 40, labelled=True, seed=0, **SHARES)
    assert again != assign_slices("Mets_007", 40, labelled=True, seed=1, **SHARES)
    assert Counter(again) == {"train": 28, "validation": 6, "test": 6}
    assert "test" not in assign_slices("Mets_007", 40, labelled=False, seed=0, **SHARES)
