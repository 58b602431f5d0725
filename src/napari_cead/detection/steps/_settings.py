"""The settings of this package's own steps."""

from __future__ import annotations

from pydantic import Field

from ..settings import MAX_RADIUS, Number, Parameter, Settings, Switch, Whole, extra, parameters_of


class OwnSettings(Settings):
    """The settings of the paper's steps, with their ranges and texts."""

    threshold: Number = Field(
        default=0.2,
        ge=0.0,
        le=1.0,
        strict=True,
        allow_inf_nan=False,
        title="Threshold",
        description="Pixels whose anomaly is greater than this are kept.",
        json_schema_extra=extra("", 0.01, flag="--threshold"),
    )
    closing_radius: Whole = Field(
        default=2,
        ge=0,
        le=MAX_RADIUS,
        strict=True,
        title="Closing radius",
        description="Radius of the disk of the binary closing, which joins what lies close together.",
        json_schema_extra=extra("px", 1, flag="--closing"),
    )
    area_fraction: Number = Field(
        default=0.6,
        ge=0.0,
        le=1.0,
        strict=True,
        allow_inf_nan=False,
        title="Area opening",
        description="Components smaller than this fraction of the slice's largest one are dropped.",
        json_schema_extra=extra("%", 0.01, flag="--area-fraction", percent=True),
    )
    dilation_radius: Whole = Field(
        default=1,
        ge=0,
        le=MAX_RADIUS,
        strict=True,
        title="Dilation radius",
        description="Radius of the disk of the final binary dilation.",
        json_schema_extra=extra("px", 1, flag="--dilation"),
    )
    min_area_mm2: Number = Field(
        default=0.0,
        ge=0.0,
        strict=True,
        allow_inf_nan=False,
        title="Smallest area",
        description="Components of a smaller area than this are dropped, whatever the largest one is.",
        json_schema_extra=extra("mm²", 1.0, flag="--min-area", slider=False),
    )
    inside_brain: Switch = Field(
        default=True,
        strict=True,
        title="Stay inside the brain",
        description="Whether the dilated mask ends where the brain ends.",
        json_schema_extra=extra(
            "",
            1,
            flag="--inside-brain",
            off_flag="--outside-brain",
            missing="the mask may differ at the brain's edge",
        ),
    )


PARAMETERS: tuple[Parameter, ...] = parameters_of(OwnSettings)
"""The settings of this package's own steps, in the order of the fields."""
