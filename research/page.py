"""The tables of ``results.md`` and of ``results-detail.md``, from ``results.json``, between markers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from napari_cead.atomic import write_text
from tables import aside

Results = Mapping[str, Any]
Figures = Mapping[str, Any]

COME, FULL = "as it comes", "suggested"

EARLIER = "ce-unet-stroke"
"""Name under which the earlier model stays bundled; when it was measured it was still called ``ce-unet``."""

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "raw": ("flair-threshold",),
    "tissue": ("flair-tissue",),
    "1 mm": ("flair-tissue-smooth 1mm-2d", "flair-tissue-smooth 1mm-3d"),
    "3 mm": ("flair-tissue-smooth 3mm-2d", "flair-tissue-smooth 3mm-3d"),
    "asymmetry": ("flair-asymmetry",),
}
"""Maps without a network as they are called; of two maps in one column the better one of the row is shown."""

SEEING: Mapping[str, str] = {
    "test-strokes": "The other {} strokes (chose nothing)",
    "strokes": "{} strokes (recipe, score and settings were chosen on them)",
    "ms": "Multiple sclerosis: `patient26` ({} patient)",
    "hyperintensities": "Hyperintensities: {} held-back volumes, *automatic* masks (silver standard)",
    "phantoms": "{} synthetic patients with 12 metastases each",
}
CALM: Mapping[str, str] = {
    "free": "5 lesion-free synthetic patients, median mL marked",
    "healthy": "`visits/long04` (nearly lesion-free by eye), mL marked",
    "calm": "`Subj07` outside its automatic mask, mL marked",
}
SIDES = {"front": "front 20 % brighter, back 20 % darker", "left": "left 20 % brighter, right 20 % darker"}


def write_page(results: Results, page: Path) -> None:
    """Write the two tables of the page."""
    _write(page, "lesions", _lesions(results))
    _write(page, "elsewhere", _elsewhere(results))


def write_detail(results: Results, page: Path) -> None:
    """Write all maps and settings, long tables as CSV files beside the page."""
    lines = ["### Settings", "", *_settings(results)]
    for part, title in SEEING.items():
        if part in results["parts"]:
            lines += ["", f"### {title.format(_scans(results, part))}", "", *_every(results, part)]
    lines += ["", "### Does the threshold travel?", "", *_travel(results)]
    lines += ["", "### Each volume", "", *_volumes(results)]
    lines += ["", "### Healthy scans, mL marked in each", "", *_each_calm(results)]
    lines += ["", "### A coil that is 20 % uneven", "", *_shades(results)]
    lines += ["", "### Synthetic lesions by size, at 1 false detection per patient", "", *_sizes(results)]
    _write(page, "every map", aside(lines, page))


def _write(page: Path, block: str, lines: Sequence[str]) -> None:
    """Replace what is between the markers of a block."""
    begin, end = (f"<!-- written by research/results.py, {block}: {word} -->" for word in ("begin", "end"))
    text = page.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1:
        raise SystemExit(f"error: {page}: there must be one {begin} and one {end}")
    before, after = text.split(begin)[0], text.split(end)[1]
    write_text(page, "\n".join((before + begin, "", *lines, "", end + after)))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    line = "| {} |".format
    return [
        line(" | ".join(head)),
        line(" | ".join("---" for _ in head)),
        *(line(" | ".join(row)) for row in rows),
    ]


def _models(results: Results) -> dict[str, str]:
    """Return the title of each model, the new one first."""
    maps = results["maps"]
    found = {"model": f"`{maps['model']['model']}`"}
    if "earlier" in maps:
        found["earlier"] = f"`{EARLIER}`"
    return found


def _title(results: Results, name: str) -> str:
    return _models(results).get(name, f"`{name}`")


def _scans(results: Results, part: str) -> int:
    return int(results["parts"][part]["model"]["scans"])


def _number(value: float | None, digits: int = 3, signed: bool = False) -> str:
    if value is None:
        return "–"
    return f"{value:+.{digits}f}".replace("-", "−") if signed else f"{value:.{digits}f}"


def _with_interval(figure: Figures, digits: int = 3, signed: bool = False, scale: float = 1.0) -> str:
    text = _number(scale * figure["mean"], digits, signed)
    if figure["interval"] is None:
        return text
    low, high = (_number(scale * end, digits, signed) for end in figure["interval"])
    return f"{text} [{low}, {high}]"


def _lesions(results: Results) -> list[str]:
    """Return the table of what is found."""
    models, rows = _models(results), []
    head = ["", *models.values(), "strongest without a network", f"{models['model']} − strongest"]
    for part, title in SEEING.items():
        if part not in results["parts"] or part == "phantoms":  # they have a figure of their own
            continue
        rows.append([f"**{title.format(_scans(results, part))}**", *("" for _ in head[1:])])
        rows += [
            _row(results, part, f"Dice, {_said(setting)}", f"Dice, {setting}") for setting in (COME, FULL)
        ]
        if part == "strokes":  # they chose: the rest is on the page of details
            rows.append(_row(results, part, "AP", "AP"))
            continue
        rows += [_row(results, part, "Dice, map at its best", "best"), _row(results, part, "AP", "AP")]
        if part == "test-strokes":
            for setting in (COME, FULL):
                title, key = f"nothing found, {_said(setting)}", f"nothing found, {setting}"
                rows.append(_row(results, part, title, key, lower=True, percent=True))
        rows.append(_found_row(results, part))
    return _table(head, rows)


def _said(setting: str) -> str:
    return "`suggested`" if setting == FULL else setting


def _row(
    results: Results, part: str, title: str, key: str, lower: bool = False, percent: bool = False
) -> list[str]:
    """Return a row of means: the models, the strongest map without a network, and the difference."""
    found = results["parts"][part]
    digits, scale = (0, 100.0) if percent else (3, 1.0)
    cells = [_with_interval(found[name][key], digits, scale=scale) for name in _models(results)]
    strongest = _strongest(results, part, key, lower)
    cells.append(f"{_number(scale * found[strongest][key]['mean'], digits)} ({_column(strongest)})")
    gap = results["differences"][part][strongest][key]
    cells.append(_with_interval(gap, digits, signed=True, scale=scale))
    return [title + (" (%)" if percent else ""), *cells]


def _strongest(results: Results, part: str, key: str, lower: bool = False) -> str:
    """Return the map without a network that has the best mean."""
    names: Sequence[str] = results["without a network"]
    ranked = sorted(names, key=lambda name: results["parts"][part][name][key]["mean"], reverse=not lower)
    return ranked[0]


def _column(name: str) -> str:
    return next(title for title, names in COLUMNS.items() if name in names)


def _found_row(results: Results, part: str) -> list[str]:
    """Return a row of lesions found and false detections per scan, with the suggested settings.

    The map without a network is the one with the highest Dice under these settings.
    """
    found = results["parts"][part]
    strongest = _strongest(results, part, f"Dice, {FULL}")

    def cell(name: str) -> str:
        each = found[name]
        return f"{each[f'found, {FULL}']}, {_number(each[f'false, {FULL}']['mean'], 1)}"

    lesions = found["model"]["lesions"]
    title = f"of {lesions} lesions found, false detections per scan, `suggested`"
    return [title, *map(cell, _models(results)), f"{cell(strongest)} ({_column(strongest)})", ""]


def _elsewhere(results: Results) -> list[str]:
    """Return the table of healthy scans and uneven coils, as it comes."""
    models, rows = _models(results), []
    head = ["as it comes", *models.values(), *COLUMNS]
    for part, title in CALM.items():
        if part in results["parts"]:
            found = results["parts"][part]
            cells = [_ml(found, [name]) for name in models]
            rows.append([title, *cells, *(_ml(found, names) for names in COLUMNS.values())])
    for plain, what in (("strokes", "109 strokes"), ("ms", "`patient26`")):
        for side, words in SIDES.items():
            if f"{plain}, {side}" in results["parts"]:
                cells = [_shaded(results, plain, side, [name]) for name in models]
                cells += [_shaded(results, plain, side, names) for names in COLUMNS.values()]
                rows.append([f"{what}, {words}: Dice", *cells])
    return _table(head, rows)


def _ml(found: Figures, names: Sequence[str]) -> str:
    """Return the mL marked as it comes, of several maps the least."""
    return _number(min(found[name][f"mL, {COME}"]["median"] for name in names), 1)


def _dice(results: Results, part: str, name: str, setting: str) -> float:
    return float(results["parts"][part][name][f"Dice, {setting}"]["mean"])


def _shaded(results: Results, plain: str, side: str, names: Sequence[str], setting: str = COME) -> str:
    """Return the Dice under an uneven coil and what of the Dice is lost by it, of several maps the best."""
    name = max(names, key=lambda each: _dice(results, f"{plain}, {side}", each, setting))
    now, before = (_dice(results, part, name, setting) for part in (f"{plain}, {side}", plain))
    if before == 0:
        return f"{_number(now)} (–)"
    return f"{_number(now)} ({_number(100 * (now / before - 1), 0, signed=True)} %)"


def _settings(results: Results) -> list[str]:
    rows = []
    for name, each in results["maps"].items():
        for setting, values in each["settings"].items():
            rows.append(
                [
                    _title(results, name),
                    f"`{each['score']}`",
                    _said(setting),
                    f"{values['threshold']:g}",
                    str(values["closing_radius"]),
                    f"{100 * values['area_fraction']:g} %",
                    str(values["dilation_radius"]),
                ]
            )
    return _table(["map", "score", "setting", "threshold", "closing", "area opening", "dilation"], rows)


def _every(results: Results, part: str) -> list[str]:
    found = results["parts"][part]
    strokes = "strokes" in part
    head = ["map", "Dice, as it comes", "Dice, `suggested`", "map at its best (threshold)", "AP"]
    head += ["pooled Dice, as it comes / `suggested`"]
    head += ["nothing found, %, as it comes / `suggested`"] if strokes else []
    head += [f"found of {found['model']['lesions']}, as it comes / `suggested`", "false per scan, the same"]
    rows = []
    for name, each in found.items():
        row = [_title(results, name), *(_with_interval(each[f"Dice, {setting}"]) for setting in (COME, FULL))]
        row += [f"{_with_interval(each['best'])} ({each['best threshold']:g})", _with_interval(each["AP"])]
        row += [_both(each, lambda one: _number(one), "pooled Dice, {}")]
        if strokes:
            row += [_both(each, lambda one: _number(100 * one["mean"], 0), "nothing found, {}")]
        row += [_both(each, str, "found, {}"), _both(each, lambda one: _number(one["mean"], 1), "false, {}")]
        rows.append(row)
    return _table(head, rows)


def _both(figures: Figures, say: Callable[[Any], str], name: str) -> str:
    return " / ".join(say(figures[name.format(setting)]) for setting in (COME, FULL))


def _travel(results: Results) -> list[str]:
    """Return what each map has above the threshold that is best for the 109, and above the best one of each part."""
    parts = {"test-strokes": "435 strokes", "ms": "`patient26`", "hyperintensities": "six volumes"}
    rows = []
    for name, each in results["travel"].items():
        row = [_title(results, name), f"{each['strokes']['kept']:g}"]
        for part in parts:
            if part in each:
                one = each[part]
                row.append(f"{_number(one['Dice'])}, {_number(one['best Dice'])} ({one['best']:g})")
            else:
                row.append("–")
        rows.append(row)
    head = [
        "map",
        "threshold that is best for the 109",
        *(f"{title}: Dice, at its best" for title in parts.values()),
    ]
    return [
        "The map alone, no post-processing. In brackets the best threshold of the part.",
        "",
        *_table(head, rows),
    ]


def _volumes(results: Results) -> list[str]:
    parts = [part for part in ("ms", "hyperintensities") if part in results["parts"]]
    names = list(results["maps"])
    rows = []
    for part in parts:
        for scan in results["parts"][part]["model"]["each"]:
            for figure, title in ((f"Dice, {FULL}", "Dice, `suggested`"), ("AP", "AP")):
                cells = (
                    _number(results["parts"][part][name]["each"][scan][figure])
                    if name in results["parts"][part]
                    else "–"
                    for name in names
                )
                rows.append([f"`{scan}`, {title}", *cells])
    return _table(["", *(_title(results, name) for name in names)], rows)


def _each_calm(results: Results) -> list[str]:
    rows = []
    for part, title in CALM.items():
        for name, found in results["parts"].get(part, {}).items():
            cells = (
                ", ".join(_number(ml, 1) for ml in found[f"mL, {setting}"]["each"])
                for setting in (COME, FULL)
            )
            rows.append([title.split(",")[0], _title(results, name), *cells])
    return _table(["scans", "map", "as it comes", "`suggested`"], rows)


def _shades(results: Results) -> list[str]:
    rows = []
    for plain, what in (("strokes", "109 strokes"), ("ms", "`patient26`")):
        for side, words in SIDES.items():
            for name in results["parts"].get(f"{plain}, {side}", {}):
                cells = (_shaded(results, plain, side, [name], setting) for setting in (COME, FULL))
                rows.append([f"{what}, {words}", _title(results, name), *cells])
    return _table(["scans", "map", "Dice, as it comes", "Dice, `suggested`"], rows)


def _sizes(results: Results) -> list[str]:
    mm, rows = results["sizes"]["mm"], []
    head = ["map"]
    for low, high in pairwise(mm):
        head.append(
            f"under {high:g} mm" if not low else f"{low:g}–{high:g} mm" if high else f"{low:g} mm and more"
        )
    for name, each in results["sizes"]["maps"].items():
        cells = (f"{one['found']} of {one['lesions']}" for one in each["bins"])
        rows.append([_title(results, name), *cells, _number(each["all"])])
    return _table([*head, "share of all"], rows)
