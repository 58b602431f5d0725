"""The split of the report on local scans: nothing of the test patients is seen before."""

import pytest

import local_report as report


def test_healthy_scans_are_split_and_the_others_only_tested():
    healthy, lesions = [f"h{n:02d}" for n in range(40)], ["l1", "l2"]
    parts = report.split(healthy, lesions)
    assert parts["test"] == lesions
    assert sorted(parts["train"] + parts["validation"]) == healthy
    assert len(parts["validation"]) == 6
    assert parts == report.split(reversed(healthy), lesions)
    assert parts != report.split(healthy, lesions, seed=1)
    some = report.split(healthy, lesions, only=set(healthy[:10]))
    assert sorted(some["train"] + some["validation"]) == healthy[:10]


def test_a_scan_on_both_sides_is_refused():
    with pytest.raises(ValueError, match="a is in"):
        report.split(["a", "b", "c"], ["a"])
    with pytest.raises(ValueError, match="two healthy scans"):
        report.split(["a"], ["b"])
