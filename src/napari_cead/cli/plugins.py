"""The verb that lists all things of each kind, and those of other packages."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import print_json


def plugins(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List what there is of each kind, and what other packages add.

    The kinds are networks, corruptions, scores, steps, rules, formats, strippers and loggers.
    """
    from .. import detection, models, patients, preparing, training  # noqa: F401  # each registers its kinds
    from ..corruption import kinds as corruptions  # noqa: F401
    from ..detection import rules, scores, steps  # noqa: F401
    from ..models import networks  # noqa: F401
    from ..patients import formats  # noqa: F401
    from ..plugins import registries
    from ..preparing import strippers  # noqa: F401
    from ..training import loggers  # noqa: F401

    found = registries()
    if json:
        print_json(
            {
                "schema_version": 1,
                "kinds": {each.kind: list(each.listed) for each in found},
                "packages": [vars(origin) for each in found for origin in each.origins],
            }
        )
        return
    for each in found:
        typer.echo(f"{each.kind:<12}{', '.join(each.listed)}")
        for origin in each.origins:
            state = "" if origin.reason is None else f" cannot be used: {origin.reason}"
            typer.echo(f"{'':<12}{origin.name}, of {origin.package}{state}")
