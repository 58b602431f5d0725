"""What others build on: names and signatures, options, keys of saved files, columns, codes, the manifest.

python tools/public_surface.py           # writes tests/public_surface.json: at a release, and only then
python tools/public_surface.py --changes # what changed since the last release

``tests/test_public_surface.py`` compares the program with that file: each change has to be named in CHANGELOG.md.
docs/explanation/promises.md says what is promised.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import napari_cead

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "napari_cead"
RELEASED = ROOT / "tests" / "public_surface.json"
CHANGELOG = ROOT / "CHANGELOG.md"


def surface() -> dict[str, Any]:
    """Return all that is public, as JSON values."""
    return {
        "options": options(),
        "python": python(),
        "files": files(),
        "columns": columns(),
        "codes": codes(),
        "names": names(),
        "manifest": manifest(),
    }


def options() -> dict[str, list[str]]:
    """Return the options and arguments of each verb. This imports neither torch nor napari."""
    import typer

    from napari_cead.cli.app import app

    def verbs(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
        inner = getattr(command, "commands", {})
        for name in sorted(inner):
            yield from verbs(inner[name], (*path, name))
        if not inner:
            with command.make_context(path[-1], [], resilient_parsing=True):  # adds what is made late
                found = [word for one in command.params for word in (*one.opts, *one.secondary_opts)]
            yield " ".join(path), sorted(found)

    return dict(verbs(typer.main.get_command(app), ()))


def python() -> dict[str, str]:
    """Return the public names with their signatures."""
    found: dict[str, str] = {}
    for name in sorted({*napari_cead.__all__} - {"models", "__version__"}):
        thing = getattr(napari_cead, name)
        found[name] = _described(thing)
        if isinstance(thing, type):
            for member, value in _members(thing):
                found[f"{name}.{member}"] = _described(value)
    found["models.build"] = _described(napari_cead.models.build)
    return found


def _described(thing: Any) -> str:
    if isinstance(thing, type):
        fields = getattr(thing, "model_fields", None)
        if fields is not None:
            return f"({', '.join(fields)})"
        return f"({', '.join(thing.__dataclass_fields__)})" if is_dataclass(thing) else "class"
    if isinstance(thing, property):
        return "property"
    function = getattr(thing, "__func__", thing)
    return str(inspect.signature(function)) if callable(function) else "value"


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("napari_cead"):
            for name, value in vars(base).items():
                ours = callable(getattr(value, "__func__", value)) or isinstance(value, property)
                if ours and not name.startswith("_") and name not in getattr(kind, "model_fields", ()):
                    yield name, value


def files() -> dict[str, list[str]]:
    """Return the keys of the saved files."""
    from napari_cead.runs.run_info import RunInfo
    from napari_cead.store.index import StoreIndex
    from napari_cead.training.recipe import Recipe
    from napari_cead.zoo import ModelCard

    saving = "detection/saving.py"
    return {
        "detection.json": sorted(_keys(saving, "summary") | _keys(saving, "described_settings")),
        "results.json": sorted(_keys("report/report.py", "described")),
        "model.json": sorted({"schema_version", *ModelCard.model_fields}),
        "config.yaml of train": sorted(Recipe.model_fields),
        "status.json": sorted({"schema_version", *RunInfo.__dataclass_fields__}),
        "store": sorted({"schema_version", *StoreIndex.model_fields}),
    }


def _keys(file: str, function: str) -> set[str]:
    """Return the keys of the dictionaries that stand in a function."""
    tree = ast.parse((SOURCE / file).read_text(encoding="utf-8"))
    (found,) = (
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == function
    )
    literals = (node for node in ast.walk(found) if isinstance(node, ast.Dict))
    return {str(key.value) for literal in literals for key in literal.keys if isinstance(key, ast.Constant)}


def columns() -> dict[str, list[str]]:
    """Return the columns of the tables, in their order."""
    from napari_cead.detection.cohort import COLUMNS as DETECTED
    from napari_cead.report.columns import COLUMNS, LESION

    return {
        "results.csv": [column.name for column in COLUMNS],
        "per_lesion.csv": list(LESION),
        "detections.tsv": list(DETECTED),
    }


def codes() -> list[str]:
    """Return the codes of errors."""
    from napari_cead.errors import CeadError

    def below(kind: type[CeadError]) -> Iterator[str]:
        yield kind.code
        for inner in kind.__subclasses__():
            if inner.__module__.startswith("napari_cead"):
                yield from below(inner)

    return sorted({*below(CeadError)})


def names() -> dict[str, list[str]]:
    """Return the names of this package's own networks, scores, steps, …"""
    import napari_cead.corruption.kinds
    import napari_cead.detection.rules
    import napari_cead.patients.formats
    import napari_cead.preparing.strippers
    import napari_cead.training.loggers  # noqa: F401 - all kinds register when they are imported
    from napari_cead.models.networks import own_designs
    from napari_cead.plugins import registries

    ours = (registry for registry in registries() if registry._folder.startswith("napari_cead"))
    found = {registry.kind: sorted(registry.own) for registry in ours}
    return {**dict(sorted(found.items())), "designs": sorted(own_designs())}


def manifest() -> dict[str, list[str]]:
    """Return the commands, widgets and samples that napari finds."""
    import yaml

    given = yaml.safe_load((SOURCE / "napari.yaml").read_text(encoding="utf-8"))["contributions"]
    return {
        "commands": sorted(command["id"] for command in given["commands"]),
        "widgets": sorted(widget["display_name"] for widget in given["widgets"]),
        "samples": sorted(sample["key"] for sample in given["sample_data"]),
    }


# -- changes -----------------------------------------------------------------------------------------------


def flat(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """Return a surface as one value for each name, by its place."""
    if isinstance(value, dict):
        parts = [flat(inner, (*path, name)) for name, inner in value.items()]
        return {place: text for part in parts for place, text in part.items()}
    if isinstance(value, list):
        return {(*path, name): "" for name in value}
    return {path: value}


def changes(before: dict[str, Any], now: dict[str, Any]) -> dict[tuple[str, ...], str]:
    """Return what was added, removed or changed, by its place."""
    old, new = flat(before), flat(now)
    found = {}
    for place in sorted({*old, *new}):
        if place not in old or place not in new:
            found[place] = "added" if place in new else "removed"
        elif old[place] != new[place]:
            found[place] = f"was {old[place]}, is {new[place]}"
    return found


def unsaid(found: dict[tuple[str, ...], str], text: str) -> list[str]:
    """Return the changes that a text does not name, one line each."""
    return [
        f"{' / '.join(place)}: {what}"
        for place, what in found.items()
        if not re.search(rf"(?<![\w-]){re.escape(place[-1].rpartition('.')[2])}(?![\w-])", text)
    ]


def unreleased() -> str:
    """Return the part of the changelog about the next release."""
    text = CHANGELOG.read_text(encoding="utf-8")
    return text.partition("## [Unreleased]")[2].partition("\n## [")[0]


def released() -> dict[str, Any]:
    """Return version and surface of the last release."""
    found: dict[str, Any] = json.loads(RELEASED.read_text(encoding="utf-8"))
    return found


def main(arguments: list[str]) -> None:
    now = surface()
    if arguments == ["--changes"]:
        for place, what in changes(released()["surface"], now).items():
            print(f"{' / '.join(place)}: {what}")
        return
    described = {"version": napari_cead.__version__, "surface": now}
    RELEASED.write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
