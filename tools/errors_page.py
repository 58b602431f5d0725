# ruff: noqa: E501 -- rows of a table are lines
"""Write docs/reference/errors.md: every error and warning of the program, read from its source.

python tools/errors_page.py docs/reference/errors.md
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "napari_cead"
BASE = "CeadError"
WARNING = "CeadWarning"
NOTES = {"notes", "warnings", "note", "found"}
"""Names under which the source gathers warnings that travel with a patient or a result."""

DISK = "disk_errors"
"""The function that turns errors of the system into ours: kind, what failed, file, and what to do."""

JSON = "read_json_of"
"""The function that reads JSON of users: kind, what it is, file, what to do if it is no JSON, and if it is not there."""

HEAD = """# Errors and warnings

Written by `make docs-errors` from the source. `…` stands for what is filled in.

## What an error looks like

A mistake that a user can mend is one sentence: the file, what is wrong with it, and what to do.

| where | what is seen |
| --- | --- |
| command line | one line `error: FILE: REASON; MEND` on stderr, exit status 2; nothing half-written, no traceback |
| command line with `--json` | the same line, and on stdout `{"schema_version": 1, "error": {"code", "message", "reason", "file", "hint"}}` |
| napari | a notification with the sentence; its button *Details…* unfolds kind, code, file, reason, hint and what it came from, as text that can be copied |
| Python | an exception of one of the kinds below, all of them `napari_cead.errors.CeadError`, with `.code`, `.reason`, `.file` and `.hint` |

An error that is none of these is a bug. On the command line it is a traceback; in napari a notification asks to report
it, and *Details…* unfolds the traceback with the versions.

A *warning* says what was assumed or repaired; the result can be used. The command line prints `warning: …` on stderr,
napari shows a notification, and results hold it in their JSON.

## Kinds

Codes stay the same from version to version; sentences may get better. A kind is also one of the kinds it is indented
under, so that `except PatientError` catches all that is wrong with a patient.

| kind | code | meaning |
| --- | --- | --- |
"""


@dataclass(frozen=True)
class Kind:
    """A class of errors: its name, its first base among the errors, its code and the first line of its docstring."""

    name: str
    base: str | None
    code: str
    meaning: str


@dataclass(frozen=True)
class Raised:
    """A place where an error is made: class, reason and hint as templates, module."""

    kind: str
    reason: str
    hint: str
    module: str


def _room() -> str:
    """Return the usual advice of that function."""
    from napari_cead.errors import ROOM

    return ROOM


def kinds() -> list[Kind]:
    """Return the classes in errors.py, a base before its subclasses."""
    found: dict[str, Kind] = {}
    for node in ast.parse((SOURCE / "errors.py").read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ClassDef):
            continue
        base = next((each.id for each in node.bases if isinstance(each, ast.Name) and each.id in found), None)
        if base is None and node.name != BASE:
            continue
        codes = [
            item.value.value
            for item in node.body
            if isinstance(item, ast.Assign | ast.AnnAssign)
            and isinstance(item.value, ast.Constant)
            and "code" in ast.unparse(item.targets[0] if isinstance(item, ast.Assign) else item.target)
        ]
        meaning = (ast.get_docstring(node) or "").splitlines()[0]
        found[node.name] = Kind(node.name, base, codes[0], meaning)
    return list(found.values())


def words(node: ast.expr | None, known: dict[str, ast.expr]) -> str:
    """Return a string expression with `…` for what is filled in, and constants of the module put in."""
    match node:
        case None:
            return ""
        case ast.Constant(value=value):
            return "" if value is None else str(value)
        case ast.JoinedStr(values=values):
            return "".join(words(value, known) for value in values)
        case ast.FormattedValue(value=ast.Name(id=name)) if isinstance(known.get(name), ast.Constant):
            return words(known[name], known)
        case ast.FormattedValue():
            return "…"
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return words(left, known) + words(right, known)
        case ast.IfExp(body=body, orelse=other):
            return " / ".join(part for part in (words(body, known), words(other, known)) if part)
        case ast.Name(id=name) if name in known:
            return words(known[name], known)
        case _:
            return "…"


def modules() -> Iterator[tuple[str, ast.Module, dict[str, ast.expr]]]:
    """Give each module: its name, its tree and the strings that it gives names to, at its top."""
    for file in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        known = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and isinstance(node.value, ast.Constant | ast.JoinedStr)
        }
        name = ".".join(file.relative_to(SOURCE).with_suffix("").parts)
        yield name.removesuffix(".__init__"), tree, known


def raised() -> list[Raised]:
    """Return every place where the source makes an error."""
    names = {kind.name for kind in kinds()}
    found = []
    for module, tree, known in modules():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id == DISK:
                near = known | _local(tree, node)
                kind, said, _, *hints = node.args
                hint = words(hints[0], near) if hints else _room()
                found.append(Raised(ast.unparse(kind), f"{words(said, near)} (…)", hint, module))
                continue
            if node.func.id == JSON:
                kind, what, _, hint, *missing = node.args
                said, near = words(what, known), known | _local(tree, node)
                lost = words(missing[0], near) if missing else "check the path"
                found.append(Raised(ast.unparse(kind), f"{said} cannot be read (…)", lost, module))
                found.append(
                    Raised(ast.unparse(kind), f"{said} is not valid JSON (…)", words(hint, near), module)
                )
                continue
            if node.func.id not in names:
                continue
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            reason = words(node.args[0], known) if node.args else ""
            found.append(Raised(node.func.id, reason, words(given.get("hint"), known), module))
    return found


def _local(tree: ast.Module, node: ast.AST) -> dict[str, ast.expr]:
    """Return the strings that the function around a node gives names to."""
    around = [
        each
        for each in ast.walk(tree)
        if isinstance(each, ast.FunctionDef) and each.lineno <= node.lineno <= (each.end_lineno or 0)
    ]
    return {
        item.targets[0].id: item.value
        for function in around
        for item in ast.walk(function)
        if isinstance(item, ast.Assign)
        and isinstance(item.targets[0], ast.Name)
        and isinstance(item.value, ast.Constant | ast.JoinedStr)
    }


def warned() -> list[tuple[str, str]]:
    """Return every warning, as words and module."""
    found = []
    for module, tree, known in modules():
        for node in ast.walk(tree):
            for value in _warnings(node):
                text = words(value, known | _local(tree, node) if isinstance(value, ast.Name) else known)
                if len(re.sub(r"[…\W]", "", text)) > 8:  # more than what is filled in
                    found.append((text, module))
    return sorted(dict.fromkeys(found), key=lambda row: (row[1], row[0]))


def _warnings(node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case ast.Call(func=ast.Attribute(attr="warn"), args=[value, ast.Name(id=kind), *_]) if (
            kind == WARNING
        ):
            yield value
        case ast.Call(func=ast.Name(id="Note") | ast.Attribute(attr="_tell"), args=[_, value, *_]):
            yield value
        case ast.Call(func=ast.Attribute(attr="append", value=ast.Name(id=name)), args=[value]) if (
            name in NOTES
        ):
            yield from _strings(value)
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in NOTES:
            yield from _strings(value)
        case ast.AugAssign(target=ast.Name(id=name), value=value) if name in NOTES:
            yield from _strings(value)


def _strings(value: ast.expr) -> Iterator[ast.expr]:
    if isinstance(value, ast.Tuple | ast.List):
        for item in value.elts:
            yield from _strings(item)
    elif isinstance(value, ast.JoinedStr) or (
        isinstance(value, ast.Constant) and isinstance(value.value, str)
    ):
        yield value
    elif isinstance(value, ast.Call | ast.GeneratorExp):
        yield from (each for each in ast.walk(value) if isinstance(each, ast.JoinedStr))


def page() -> str:
    """Return the page."""
    every = kinds()
    depth = {BASE: 0}
    children: dict[str, list[Kind]] = {}
    for kind in every:
        if kind.base is not None:
            depth[kind.name] = depth[kind.base] + 1
            children.setdefault(kind.base, []).append(kind)
    ordered: list[Kind] = []

    def add(kind: Kind) -> None:
        ordered.append(kind)
        for child in children.get(kind.name, ()):
            add(child)

    add(next(kind for kind in every if kind.name == BASE))
    lines = [
        f"| {'&emsp;' * depth[kind.name]}`{kind.name}` | `{kind.code}` | {_cell(kind.meaning)} |"
        for kind in ordered
    ]
    found = raised()
    lines += ["", "## Reasons and mends"]
    for kind in ordered:
        rows = sorted({(row.reason, row.hint, row.module) for row in found if row.kind == kind.name})
        rows = [row for row in rows if row[0].strip("… ")]  # an error passed on under another name
        if rows:
            lines += [
                "",
                f"### {kind.name} (`{kind.code}`)",
                "",
                "| reason | hint | from |",
                "| --- | --- | --- |",
            ]
            lines += [
                f"| {_cell(reason)} | {_cell(hint) or '–'} | `{module}` |" for reason, hint, module in rows
            ]
    lines += ["", "## Warnings", "", "| warning | from |", "| --- | --- |"]
    lines += [f"| {_cell(text)} | `{module}` |" for text, module in warned()]
    return HEAD + "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    text = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return re.sub(r"(?<!`)\b__?\w+__?\b", lambda match: f"`{match.group()}`", text)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.parse_args().file.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
