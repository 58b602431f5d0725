"""Several networks as one."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer
from torch import Tensor, nn

from .building import build
from .outputs import LesionOutput, Output
from .specs import ModelSpec


class EnsembleOptions(BaseModel):
    """The members of an ensemble.

    Attributes:
        members: Their architectures, in the order of their weights.
        median: What the median is taken of: the members' anomaly maps; or their outputs, before any score, as in
            ensembles of version 0.2.0, whose settings were chosen for that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: tuple[ModelSpec, ...] = Field(min_length=2, max_length=64)
    median: Literal["outputs", "maps"] = "outputs"

    @model_serializer(mode="wrap")
    def _as_it_was(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialize(self)
        if self.median == "outputs":  # so that the checksum of an older card stays
            del values["median"]
        return values


class Ensemble(nn.Module):
    """Members that see the same image; each pixel of the output is the median of theirs.

    The median of an even number is the mean of the two in the middle. A detection takes the members one by one
    (:func:`~napari_cead.zoo.storage.repaired_by_each`): its anomaly map is the median of their maps.

    Args:
        spec: The members' specs.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        assert isinstance(spec.options, EnsembleOptions)
        self.spec = spec
        self.members = nn.ModuleList(build(member) for member in spec.options.members)

    def forward(
        self, x: Tensor, *, sample: bool | None = None, generator: torch.Generator | None = None
    ) -> Output:
        """Return the median of the members' outputs for images (N, 1, S, S)."""
        outputs = [member(x, sample=sample, generator=generator) for member in self.members]
        made = median([output.reconstruction for output in outputs])
        if not self.spec.predicts_lesion:
            return Output(made)
        logits = median([output.lesion_logit for output in outputs if isinstance(output, LesionOutput)])
        return LesionOutput(made, logits)

    def settle(self) -> None:
        """Let each member join what it can join before it is used."""
        for member in self.members:
            if (settle := getattr(member, "settle", None)) is not None:
                settle()


def median(tensors: list[Tensor]) -> Tensor:
    """Return the median of tensors of one shape, element by element."""
    ordered = torch.stack(tensors).sort(dim=0).values
    return (ordered[(len(tensors) - 1) // 2] + ordered[len(tensors) // 2]) / 2
