"""The denoising U-Nets (DAE, CE-UNet), which learn to repair corrupted healthy slices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..family import Design, NetworkFamily
from ..unet_options import UNetOptions

if TYPE_CHECKING:
    from torch import nn

    from ..specs import ModelSpec

FINE_SIZE = 192
"""The side that the small ``ce-unet`` works on: a brain at 1 mm, so that small lesions are more than a pixel."""

_DENOISER: dict[str, Any] = {
    "batch_size": 16,
    "learning_rate": 1e-3,
    "schedule": "linear",
    "optimizer": "adamw",
    "loss": "absolute",
    "augmentation": {"scale": 0.04, "rotation": 4, "shift": 0.02},
}


class DenoisingUNets(NetworkFamily):
    """Encoder and decoder are joined at every level."""

    name = "unet"
    fields = frozenset({"unet"})
    settings = frozenset(
        {
            *("loss", "bright_limit", "emphasis", "small_emphasis", "lesion_weight"),
            *("feature_maps", "working_size"),
        }
    )
    denoising = True
    designs = (
        # Kascenas, Pugeault, O'Neil 2022 draw noise on a grid of 16 x 16; finer and coarser grids beside it found more.
        Design(
            "dae",
            paper={"feature_maps": (64, 128, 256, 512), "latent": 0, "unet": UNetOptions()},
            small={"feature_maps": (16, 32, 64, 96), "latent": 0, "unet": UNetOptions()},
            recipe={**_DENOISER, "corruption": "coarse"},
        ),
        Design(
            "ce-unet",
            paper={
                "feature_maps": (64, 128, 256, 512),
                "latent": 0,
                "context_encoding": True,
                "unet": UNetOptions(predicts_lesion=True),
            },
            # Half the side, four channels: the layers see a slice in a fraction of the time, and as much of it.
            small={
                "feature_maps": (24, 48, 96, 128, 128),
                "latent": 0,
                "context_encoding": True,
                "unet": UNetOptions(
                    working_size=FINE_SIZE,
                    joining="add",
                    adds_input=True,
                    mirror_input=True,
                    stem=2,
                    enlarging="nearest",
                    predicts_lesion=True,
                ),
            },
            # The training of the bundled one: research/README.md has the effects.
            recipe={
                **_DENOISER,
                "batch_size": 8,
                "learning_rate": 1.5e-3,
                "schedule": "one-cycle",
                "weight_decay": 1e-3,
                "clip": 1.0,
                "corruption": "scanners",
                "emphasis": 5.0,
                "small_emphasis": 5.0,
                "lesion_weight": 0.1,
                "balance": "folders",
                "augmentation": {
                    "scale": 0.12,
                    "rotation": 10,
                    "shift": 0.04,
                    "intensity": 0.12,
                    "contrast": 0.35,
                    "bias": 0.03,
                    "blur": 1.2,
                    "rim": 0.25,
                },
            },
            # With the tissue at one level the network needs not learn the scanner's scale, and at 1 mm small lesions
            # are more than a pixel.
            preprocessing={"intensity": "volume-tissue", "spacing": (1.0, 1.0), "image_size": 192},
        ),
    )

    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec without options, or with a latent vector."""
        if spec.latent or spec.unet is None:
            raise ValueError("a unet has options of its own, and no latent vector (latent 0)")

    def strides(self, spec: ModelSpec) -> int:
        """There is one level more than the image is halved."""
        return len(spec.feature_maps) - 1

    def side(self, spec: ModelSpec) -> int:
        """Larger images are reduced to the working size."""
        return min(spec.image_size, _options(spec).working_size or spec.image_size)

    def sizes(self, spec: ModelSpec) -> tuple[int, ...]:
        """The image is padded (and made smaller by the stem), so that each side is half of the one before it."""
        steps = self.strides(spec)
        side = -(-self.side(spec) // (_options(spec).stem << steps)) << steps
        return tuple(side >> level for level in range(steps + 1))

    def reshaped(
        self, spec: ModelSpec, feature_maps: tuple[int, ...] | None, working_size: int | None
    ) -> dict[str, Any]:
        """Return the fields of a spec with other channels, or another working size."""
        changed = super().reshaped(spec, feature_maps, working_size)
        if working_size is not None:
            changed["unet"] = UNetOptions(**(_options(spec).model_dump() | {"working_size": working_size}))
        return changed

    def predicts_lesion(self, spec: ModelSpec) -> bool:
        """It takes a second head, which the options ask for."""
        return _options(spec).predicts_lesion

    def mirrors(self, spec: ModelSpec) -> bool:
        """The mirror image helps unless the layers see it anyway."""
        return not _options(spec).mirror_input

    def uses(self, setting: str, spec: ModelSpec) -> bool:
        """The weight of a second head belongs to networks that have one."""
        return super().uses(setting, spec) and (setting != "lesion_weight" or self.predicts_lesion(spec))

    def build(self, spec: ModelSpec) -> nn.Module:
        """Return a :class:`~napari_cead.models.unet.DenoisingUNet`."""
        from ..unet import DenoisingUNet

        return DenoisingUNet(spec)


def _options(spec: ModelSpec) -> UNetOptions:
    return spec.unet or UNetOptions()


OFFERED = (DenoisingUNets(),)
