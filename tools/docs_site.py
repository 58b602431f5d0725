"""What mkdocs cannot find by itself: pages from outside docs/, links to them, and the reference of the command line."""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {"CHANGELOG.md": "changelog.md", "research/README.md": "research.md"}
"""Files of the repository that are pages too."""

ORIGINS = {page: origin for origin, page in OUTSIDE.items()}
COMMANDS = "reference/command-line.md"

VERBS = (
    *(
        (verb,)
        for verb in ("demo", "open", "detect", "check", "prepare", "train", "evaluate", "phantom", "plugins")
    ),
    *(("models", verb) for verb in ("list", "show", "install", "export")),
    *(("runs", verb) for verb in ("list", "status", "tail", "stop", "resume")),
)
LINK = re.compile(r"(?<!!)\[([^\]\n]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


SHIM = "https://unpkg.com/iframe-worker/shim"
OWN_SHIM = "assets/iframe-worker.js"
"""Lets the search work in pages opened from the disk; the theme would fetch it from the network."""


def on_config(config: Any) -> Any:
    """Name headings as GitHub does, so that links to them work in both places."""
    config.mdx_configs["toc"] = {"permalink": True, "slugify": slugify(case="lower")}
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that do not stand in docs/."""
    for origin, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / origin).read_text(encoding="utf-8")))
    files.append(File.generated(config, COMMANDS, content=command_line()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links at pages of the site; a link to a file that is no page becomes its text."""
    here = page.file.src_uri
    base = posixpath.dirname(ORIGINS.get(here, f"docs/{here}"))

    def linked(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        place = posixpath.normpath(posixpath.join(base, target))
        if place in OUTSIDE:
            to = OUTSIDE[place]
        elif place.startswith("docs/"):
            folder = (ROOT / place).is_dir()  # its page has the same name
            to = place.removeprefix("docs/") + (".md" if folder else "")
        else:
            return text if (ROOT / place).exists() else found[0]
        return f"[{text}]({posixpath.relpath(to, posixpath.dirname(here) or '.')}{anchor})"

    return LINK.sub(linked, markdown)


def command_line() -> str:
    """Return the help of every verb as a page."""
    os.environ["COLUMNS"] = "100"
    lines = ["# Command line", "", "What `napari-cead VERB --help` prints, verb by verb.", ""]
    for verb in VERBS:
        lines += [f"## {' '.join(verb)}", "", "```text", help_of(verb), "```", ""]
    return "\n".join(lines)


def help_of(verb: tuple[str, ...]) -> str:
    from napari_cead.cli.app import run

    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        run([*verb, "--help"])
    return shown.getvalue().strip()


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Fetch nothing from the network."""
    return _own_shim(output, page.file.dest_uri)


def on_post_template(output: str, template_name: str, **_: Any) -> str:
    """The page for an address that there is not, likewise."""
    return _own_shim(output, template_name)


def _own_shim(html: str, place: str) -> str:
    return html.replace(SHIM, "../" * place.count("/") + OWN_SHIM)
