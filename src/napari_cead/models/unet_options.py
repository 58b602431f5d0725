"""The options of a U-Net, which the other families of networks lack."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ..json_files import Saved

WORKING_SIZE = 128
"""Side of the images that the named U-Nets work on in pixels: that of Kascenas et al. 2022."""


class UNetOptions(Saved):
    """Options beside the fields of `ModelSpec`.

    Attributes:
        working_size: Side in pixels to which larger images are reduced inside the network; 0: never.
        joining: ``"concat"`` puts the encoder's maps beside the decoder's, ``"add"`` adds them, which is cheaper.
        adds_input: Whether the output is added to the input, so that the layers learn the change alone.
        mirror_input: Whether the layers also see the mirrored image: left and right of a healthy brain are alike.
        stem: The layers work on an image smaller by this factor, whose pixels become channels.
        enlarging: How the decoder enlarges maps.
        predicts_lesion: Whether a second head says where a lesion is. It learns from the places of the simulated ones
            (after DRAEM, Zavrtanik et al. 2021): no real lesion is needed.
    """

    UNWRITTEN: ClassVar[frozenset[str]] = frozenset({"predicts_lesion"})

    working_size: int = Field(default=WORKING_SIZE, ge=0, le=4096)
    joining: Literal["concat", "add"] = "concat"
    adds_input: bool = False
    mirror_input: bool = False
    stem: Literal[1, 2, 4] = 1
    enlarging: Literal["bilinear", "nearest"] = "bilinear"
    predicts_lesion: bool = False
