"""A small network with options, a loss and a recipe of its own."""

from pydantic import BaseModel, ConfigDict, Field

from napari_cead.models import Design, NetworkFamily


class Options(BaseModel):
    """What a spec of this family says beside its ``feature_maps``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slope: float = Field(default=0.1, ge=0, le=1)


class Shallow(NetworkFamily):
    """Two convolutions down and two up, trained to repair slices by the root of the squared error."""

    name = "shallow"  # as the entry point is called
    options = Options
    denoising = True  # it learns from corrupted slices alone
    designs = (
        Design(
            "shallow",  # what a user trains: napari-cead train shallow
            paper={"feature_maps": (32, 64), "latent": 0},
            small={"feature_maps": (8, 16), "latent": 0, "options": {"slope": 0.2}},
            recipe={"batch_size": 8, "learning_rate": 3e-3, "schedule": "one-cycle", "corruption": "stripes"},
        ),
    )

    def check(self, spec):
        """Refuse what cannot be built."""
        if len(spec.feature_maps) != 2 or spec.image_size % 4:
            raise ValueError("shallow takes two feature_maps and images whose side is a multiple of 4")

    def build(self, spec):
        """Return the network; torch is imported here, so that listing the names stays fast."""
        from torch import nn

        from napari_cead.models.outputs import Output

        class Network(nn.Module):
            def __init__(self):
                super().__init__()
                self.spec = spec
                first, second = spec.feature_maps
                act = nn.LeakyReLU(spec.options.slope)
                self.encoder = nn.Sequential(
                    nn.Conv2d(1, first, 4, 2, 1), act, nn.Conv2d(first, second, 4, 2, 1)
                )
                self.decoder = nn.Sequential(
                    act,
                    nn.ConvTranspose2d(second, first, 4, 2, 1),
                    act,
                    nn.ConvTranspose2d(first, 1, 4, 2, 1),
                )

            def forward(self, x, *, sample=None, generator=None):
                return Output(self.decoder(self.encoder(x)))

        return Network()

    def losses(self, network, images, corrupted, lesion, weights, generator=None):
        """Return the terms of the loss of a batch."""
        from napari_cead.models.losses import Losses

        made = network(images if corrupted is None else corrupted).reconstruction
        return Losses.of(((made.float() - images) ** 2 + 1e-6).sqrt().mean())
