"""Which lines of the package only run on a GPU, or behave in another way there; and which of them have run."""

from __future__ import annotations

import ast
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import napari_cead

PACKAGE = Path(napari_cead.__file__).parent
WORDS = re.compile(
    r"\bcuda\b|cudnn|autocast|pin_memory|pinned|non_blocking|empty_cache|OutOfMemory|channels_last|torch\.compile|bf16"
)
NEGATED = re.compile(r"!= |^not |cpu")
CONDITION = re.compile(r"""["']cuda["']""")

ELSEWHERE = {
    "there is no device called": "wrong use",
    "PyTorch sees no CUDA GPU here": "needs a machine without a GPU",
    "too small for {self.detector.name}, even for one": "the computer's own memory ends",
    "reading it takes": "the computer's own memory ends",
    "the memory is too small to strip": "the computer's own memory ends",
    "try --device cpu, or give a brain mask": "needs HD-BET, which is installed apart",
    "torch.cpu._is_avx512": "asks a processor",
    "out of memory with {self.micro} slices": "not even one slice fits",
}
"""What a line says that no part can make run, and why."""

Hits = dict[str, set[int]]


def statements(source: str) -> Iterator[tuple[int, int, str]]:
    """Give the statements within functions that name something of a GPU, or run only on one: first and last line, text.

    A compound statement counts by its body; of a ``with`` its first line counts too.
    """

    def within(nodes: list[ast.stmt], inside: bool, on_gpu: bool) -> Iterator[tuple[int, int, str]]:
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from within(node.body, True, on_gpu)
            elif isinstance(node, ast.ClassDef):
                yield from within(node.body, inside, on_gpu)
            elif bodies := [getattr(node, name, []) for name in ("body", "orelse", "finalbody")]:
                if isinstance(node, ast.With) and inside:
                    text = ", ".join(ast.unparse(item) for item in node.items)
                    if on_gpu or WORDS.search(text):
                        yield node.lineno, node.lineno, f"with {text}"
                only = isinstance(node, ast.If) and bool(CONDITION.search(ast.unparse(node.test)))
                only = only and not NEGATED.search(ast.unparse(node.test))
                yield from within(bodies[0], inside, on_gpu or only)
                for body in bodies[1:]:
                    yield from within(body, inside, on_gpu)
                for handler in getattr(node, "handlers", []):
                    yield from within(handler.body, inside, on_gpu)
            if inside and not hasattr(node, "body"):
                text = ast.unparse(node)
                plain = isinstance(node, ast.Import | ast.ImportFrom) or (
                    isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                )
                if not plain and (on_gpu or WORDS.search(text)):
                    yield node.lineno, node.end_lineno or node.lineno, text

    yield from within(ast.parse(source).body, False, False)


@cache
def of_package() -> dict[str, tuple[tuple[int, int, str], ...]]:
    """Return the statements of every file of the package that has some, by its path within the package."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        if lines := tuple(statements(file.read_text(encoding="utf-8"))):
            found[file.relative_to(PACKAGE).as_posix()] = lines
    return found


@contextmanager
def recorded(hits: Hits) -> Iterator[None]:
    """Note the lines of those files that run, in all threads of this process."""
    files = {str(PACKAGE / name): hits.setdefault(name, set()) for name in of_package()}

    def look(frame: FrameType, event: str, argument: Any) -> Any:
        seen = files.get(frame.f_code.co_filename)
        if seen is None:
            return None
        if event == "line":
            seen.add(frame.f_lineno)
        return look

    before = sys.gettrace()
    threading.settrace(look)
    sys.settrace(look)
    try:
        yield
    finally:
        sys.settrace(before)
        threading.settrace(before)  # type: ignore[arg-type]


def table(hits: Hits, required: bool) -> list[dict[str, Any]]:
    """Return a row for each statement: where, its text, and whether it ran.

    ``ok`` is missing where it did not run and cannot, or need not (not ``required``).
    """
    rows: list[dict[str, Any]] = []
    for name, lines in of_package().items():
        seen = hits.get(name, set())
        for first, last, text in lines:
            ran = any(first <= line <= last for line in seen)
            why = next((why for words, why in ELSEWHERE.items() if words in text), None)
            short = " ".join(text.split())
            row: dict[str, Any] = {
                "line": f"{name}:{first}",
                "statement": short if len(short) <= 90 else short[:89] + "…",
                "ran": "yes" if ran else f"no: {why}" if why else "no",
            }
            rows.append(row if not ran and (why or not required) else row | {"ok": ran})
    return rows
