"""What mkdocs cannot find by itself: pages from outside docs/, links to them, and pages made from the program."""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {"CHANGELOG.md": "changelog.md", "research/README.md": "research.md"}
"""Files of the repository that are pages too."""

ORIGINS = {page: origin for origin, page in OUTSIDE.items()}

VERBS = (
    *(
        (verb,)
        for verb in ("demo", "open", "detect", "check", "prepare", "train", "evaluate", "phantom", "plugins")
    ),
    *(("models", verb) for verb in ("list", "show", "install", "export")),
    *(("runs", verb) for verb in ("list", "status", "tail", "stop", "resume")),
)
PICTURE = re.compile(r"!\[([^\]]*)\]\(([\w./-]+)\.png\)")
"""A picture; beside it may lie one of the light theme, ``NAME-light.png``."""

LINK = re.compile(r"(?<!!)\[([^\]\n]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


ROLE = re.compile(r":(?:func|class|meth|mod|attr|data|exc):<code>~?(?:[\w.]+\.)?([\w]+)</code>")
"""A reference of a docstring, as Sphinx writes it."""

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
    for page, write in GENERATED.items():
        files.append(File.generated(config, page, content="\n".join(write())))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links at pages of the site, and show pictures in the theme; a link to no page becomes its text."""
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

    def in_both_themes(found: re.Match[str]) -> str:
        light = f"{found[2]}-light.png"
        if not (ROOT / posixpath.normpath(posixpath.join(base, light))).exists():
            return found[0]
        return f"![{found[1]}]({light}#only-light)![{found[1]}]({found[2]}.png#only-dark)"

    return LINK.sub(linked, PICTURE.sub(in_both_themes, markdown))


def command_line() -> Iterable[str]:
    """Return the help of every verb as a page."""
    os.environ["COLUMNS"] = "100"
    yield from ("# Command line", "", "What `napari-cead VERB --help` prints, verb by verb.", "")
    for verb in VERBS:
        yield from (f"## {' '.join(verb)}", "", "```text", help_of(verb), "```", "")


def help_of(verb: tuple[str, ...]) -> str:
    from napari_cead.cli.app import run

    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        run([*verb, "--help"])
    return shown.getvalue().strip()


def settings() -> Iterable[str]:
    """Return every setting of a detection and of a training as a page."""
    from napari_cead.detection import MapOptions, PostprocessParams
    from napari_cead.training.recipe import Recipe, filled

    yield from (
        "# Settings",
        "",
        "Generated from the program. What an installed package adds is not here.",
        "",
    )
    for title, described in (("Post-processing", PostprocessParams), ("Anomaly map", MapOptions)):
        rows = (
            (
                f"`{row.name}`",
                row.title,
                f"`{row.flag}`" + (f", `{row.off_flag}`" if row.off_flag else ""),
                f"{row.default}",
                f"{row.range} {row.unit if not row.percent else ''}".strip(),
                row.description,
            )
            for row in described.parameters()
        )
        yield from (f"## {title}", "", *_table("Python|dock|option|default|values|", rows), "")
    fields = Recipe.model_fields.items()
    options = (
        (f"`{name}`", _default(field.default), filled(field.description or "")) for name, field in fields
    )
    words = "The keys of a file for `train --config`. The options have the same names, with `-` for `_`."
    yield from ("## Training", "", words, "", *_table("name|default|", options), "")


def _default(value: Any) -> str:
    if str(value) == "PydanticUndefined":
        return "needed"
    return "" if value is None else f"`{getattr(value, 'value', value)}`"


def columns() -> Iterable[str]:
    """Return the columns of the tables of an evaluation as a page."""
    from napari_cead.report.columns import COLUMNS

    words = "Generated from the program. [Metrics](metrics.md) defines the figures and their empty cases."
    yield from ("# Columns of an evaluation", "", words, "")
    rows = ((f"`{one.name}`", one.title, one.tip) for one in COLUMNS)
    yield from _table("in `results.csv`|in tables|meaning", rows)


def kinds() -> Iterable[str]:
    """Return what there is of each kind that packages can add to."""
    from napari_cead.corruption.kinds import CORRUPTIONS
    from napari_cead.detection import SCORES
    from napari_cead.detection.rules import RULES
    from napari_cead.detection.steps import STEPS
    from napari_cead.models.networks import NETWORKS, all_designs
    from napari_cead.patients.formats import FORMATS
    from napari_cead.preparing.strippers.registry import STRIPPERS
    from napari_cead.training.loggers import LOGGERS

    def told(thing: Any) -> str:
        found = next((getattr(thing, name) for name in ("description", "about") if hasattr(thing, name)), "")
        return found or (thing.__doc__ or thing.title).strip().split("\n")[0]

    titles = {
        "Networks": NETWORKS,
        "Anomaly scores": SCORES,
        "Post-processing steps": STEPS,
        "Threshold rules": RULES,
        "File formats": FORMATS,
        "Skull strippers": STRIPPERS,
        "Corruptions": CORRUPTIONS,
        "Loggers": LOGGERS,
    }
    words = "Generated from the program. [Other packages](../how-to/adding.md) can add to each list."
    yield from ("# What there is of each kind", "", words, "")
    for title, things in titles.items():
        yield from (f"## {title}", "")
        if title == "Networks":
            designs = ((f"`{name}`", f"`{family.name}`") for name, (family, _) in all_designs().items())
            yield from (*_table("design|of the family", designs), "")
        elif title == "File formats":
            endings = ((one.title, ", ".join(f"`{end}`" for end in one.endings)) for one in FORMATS)
            yield from (*_table("format|endings", endings), "")
        else:
            yield from (*_table("name|", ((f"`{one.name}`", told(one)) for one in things)), "")


GENERATED: Mapping[str, Callable[[], Iterable[str]]] = {
    "reference/command-line.md": command_line,
    "reference/settings.md": settings,
    "reference/columns.md": columns,
    "reference/kinds.md": kinds,
}
"""Pages that are made from the program."""


def _table(head: str, rows: Iterable[Iterable[str]]) -> Iterable[str]:
    names = head.split("|")
    for row in (names, ["---"] * len(names), *rows):
        yield f"| {' | '.join(' '.join(cell.replace('|', chr(92) + '|').split()) for cell in row)} |"


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Fetch nothing from the network, and show what docstrings point at by its own name."""
    return _own_shim(ROLE.sub(r"<code>\1</code>", output), page.file.dest_uri)


def on_post_template(output: str, template_name: str, **_: Any) -> str:
    """The page for an address that there is not, likewise."""
    return _own_shim(output, template_name)


def _own_shim(html: str, place: str) -> str:
    return html.replace(SHIM, "../" * place.count("/") + OWN_SHIM)
