"""Long tables of a page become CSV files beside it, and come back whole."""

import importlib

HEAD = ["| map | `Dice` |", "| --- | --- |"]


def test_long_tables_go_aside_and_come_back(tmp_path):
    tables = importlib.import_module("tables")
    page = tmp_path / "page.md"
    long = [*HEAD, *(f"| `m{number}` | **−0.{number}** [a \\| b] |" for number in range(tables.LONGEST + 1))]
    short = [*HEAD, "| one | 1 |"]
    lines = [
        "### First",
        "",
        *long,
        "",
        "### First",
        "",
        *long,
        "",
        "### Said",
        "",
        "Words.",
        "",
        *long,
        "",
        *short,
    ]
    shown = tables.aside(lines, page)
    rows = f"[{tables.LONGEST + 1} rows as CSV]"
    assert shown == [
        f"- First: {rows}(tables/page-first.csv)",
        f"- First: {rows}(tables/page-first-2.csv)",
        *("", "### Said", "", "Words.", ""),
        f"{rows}(tables/page-said.csv)",
        *("", *short),
    ]
    text = (tmp_path / "tables" / "page-said.csv").read_text("utf-8").splitlines()
    assert text[:2] == ["map,Dice", "m0,-0.0 [a | b]"]
    page.write_text("\n".join(shown) + "\n", encoding="utf-8")
    back = tables.whole(page).splitlines()
    assert back.count("### First") == 2 and back.count("| m3 | -0.3 [a \\| b] |") == 3
    assert back[-1] == short[-1]
