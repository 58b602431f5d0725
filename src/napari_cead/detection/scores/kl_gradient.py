"""Scores of variational autoencoders."""

from __future__ import annotations

import numpy as np

from ._score import GRADIENT, RECONSTRUCTION, Score, residual

OFFERED = (
    Score(
        "kl-gradient",
        "how fast the latent code leaves the normal one as a pixel changes (VAEs; Zimmerer et al. 2018)",
        lambda of: of.ingredients[GRADIENT.name],
        (GRADIENT,),
        scaled=True,
        place=12,
    ),
    Score(
        "combined",
        "residual times kl-gradient (VAEs; Zimmerer et al. 2018)",
        lambda of: np.asarray(residual(of) * of.ingredients[GRADIENT.name]),
        (RECONSTRUCTION, GRADIENT),
        scaled=True,
        place=13,
    ),
)
