"""Imports go one way: no circle of modules or of rooms, imports inside functions included."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import napari_cead

SOURCE = Path(napari_cead.__file__).parent


def modules():
    """Return the file of each module by its parts: ``("patients", "grid")``; a package is its ``__init__``."""
    found = {}
    for file in SOURCE.rglob("*.py"):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        found[parts[:-1] if parts[-1] == "__init__" else parts] = file
    return found


def imported(tree, package, known):
    """Give the modules that a module imports anywhere; what is imported for annotations alone does not run."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            base += tuple(node.module.split(".")) if node.module else ()
            for name in node.names:
                yield (*base, name.name) if (*base, name.name) in known else base


@pytest.fixture(scope="module")
def graph():
    known = modules()
    found = {}
    for module, file in known.items():
        package = module if file.name == "__init__.py" else module[:-1]
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found[module] = set(imported(tree, package, known)) - {module}
    assert ("patients", "grid") in found["patients", "volumes"]  # it sees something
    return found


def circle(graph):
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return [".".join(each) for each in error.args[1]]
    return []


def test_no_module_imports_itself_through_others(graph):
    assert circle(graph) == []


def test_no_room_imports_itself_through_others(graph):
    rooms = {}
    for module, others in graph.items():
        if module:  # the face of the package knows all rooms
            rooms.setdefault(module[:1], set()).update(
                other[:1] for other in others if other and other[0] != module[0]
            )
    assert circle(rooms) == []


def test_a_circle_would_be_found():
    assert circle({("a",): {("b",)}, ("b",): {("a",)}}) != []
