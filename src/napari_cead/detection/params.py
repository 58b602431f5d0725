"""The settings of the post-processing, those of added steps included."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from ..errors import ParameterError
from .settings import MAX_RADIUS, Parameter, no_setting
from .steps import PARAMETERS, added_settings, settings_in_order
from .steps._settings import OwnSettings

__all__ = ["MAX_RADIUS", "PARAMETERS", "Parameter", "PostprocessParams"]


class PostprocessParams(OwnSettings):
    """How an anomaly map becomes a detected mask. Immutable, validated, JSON-serialisable.

    The steps run slice by slice: threshold, closing, filling of holes, area opening, which drops what is too small by
    ``area_fraction`` or ``min_area_mm2``, dilation, and the cut at the brain. A radius of 0 skips its step. Values
    are strict: a bool or a string is not a number, and a radius must be an ``int``. Radii are whole pixels of the map
    given. Steps of other packages (:mod:`~napari_cead.detection.steps`) have settings of their own here, attributes
    like these.

    Example:
        >>> params = PostprocessParams(threshold=0.3)
        >>> params.replace(dilation_radius=0).model_dump(mode="json")["threshold"]
        0.3

    Raises:
        ParameterError: If a value is out of its range, of another type, or of an unknown name.
    """

    model_config = ConfigDict(extra="allow")  # settings of added steps, which `_completed` checks

    kind = "post-processing"

    @classmethod
    def parameters(cls) -> tuple[Parameter, ...]:
        """Return the table of the settings, those of added steps after the one that their step follows."""
        return settings_in_order()

    @classmethod
    def _completed(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return given values with those of added steps, checked."""
        others = added_settings()
        for name in values.keys() - cls.model_fields.keys() - others.keys():
            raise ParameterError(no_setting(cls, name))
        if not others:
            return values
        return {
            **values,
            **{name: row.checked(values.get(name, row.default)) for name, row in others.items()},
        }
