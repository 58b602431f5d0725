"""What the networks return."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Output:
    """Output of an autoencoder.

    Attributes:
        reconstruction: (N, 1, S, S), same scale as the input.
    """

    reconstruction: Tensor


@dataclass(frozen=True)
class LesionOutput(Output):
    """Output of a network that also says where it sees a lesion.

    Attributes:
        lesion_logit: (N, 1, S, S), log-odds that a pixel belongs to a lesion.
    """

    lesion_logit: Tensor


@dataclass(frozen=True)
class VariationalOutput(Output):
    """Output of a variational autoencoder.

    Attributes:
        mu: (N, latent), mean of the posterior.
        log_std: (N, latent), logarithm of its standard deviation.
        latent: (N, latent), the vector that was decoded: a sample, or ``mu``.
    """

    mu: Tensor
    log_std: Tensor
    latent: Tensor


@dataclass(frozen=True)
class QuantisedOutput(Output):
    """Output of a vector-quantised autoencoder.

    Attributes:
        encoded: (N, D, H, W), the encoder's vectors.
        quantised: (N, D, H, W), the nearest code vectors, with a gradient to the codebook only.
        indices: (N, H, W) int64, which codes they are.
    """

    encoded: Tensor
    quantised: Tensor
    indices: Tensor
