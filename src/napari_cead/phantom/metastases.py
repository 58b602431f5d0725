"""How many metastases a synthetic patient has, how large they are, and how far the oedema around them reaches."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError

MOST = 20
"""Most metastases that can be asked for."""


class Metastases(Protocol):
    """The statistics of a cohort's metastases."""

    def count(self, rng: np.random.Generator) -> int:
        """Draw how many a patient has."""

    def diameters(self, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
        """Draw their diameters in mm, (count,)."""

    def swelling(self, rng: np.random.Generator, diameter: float) -> float:
        """Draw how far the oedema around a metastasis reaches beyond its core, in mm; 0: there is none."""


class Few:
    """1 to 20 metastases, mostly few, of 2 to 40 mm: the default, and the sample patient."""

    def count(self, rng: np.random.Generator) -> int:
        """See `Metastases`."""
        return min(MOST, 1 + int(rng.exponential(4.0)))

    def diameters(self, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
        """See `Metastases`."""
        return np.clip(np.exp(rng.normal(np.log(7.0), 0.62, count)), 2.0, 40.0)

    def swelling(self, rng: np.random.Generator, diameter: float) -> float:
        """See `Metastases`."""
        radius = diameter / 2
        # Many have no oedema; where there is some, it mostly is a halo and seldom reaches three diameters.
        if rng.uniform() < (0.4 if diameter < 8 else 0.22):
            return 0.0
        return min((0.2 + rng.exponential(0.4)) * radius + rng.uniform(0.0, 2.0), 2.0 * radius, 22.0)


class BrainMetShare:
    """As in BrainMetShare, as far as is published.

    Number and size are those of Grøvik et al. 2020, *Deep learning enables automatic detection and segmentation of
    brain metastases on multisequence MRI*, doi:10.1002/jmri.26766: 41 % of the patients have 1 to 3 metastases, 30 %
    have 4 to 10, 29 % have more; they measure 2 mm to over 4 cm. How many "more" can be is not published: 60 here.

    The oedema is that of Schneider et al. 2017, *Edema is not a reliable diagnostic sign to exclude small brain
    metastases*, doi:10.1371/journal.pone.0177217: 865 oedemas around 1,416 metastases, and a diameter of 9.4 mm tells
    those with oedema from those without best. Where there is one, core and oedema together are about 2.2 times as wide
    as the core (lung and other primaries 2.5 ± 0.5, breast 2.0 ± 0.7; doi:10.29271/jcpsp.2022.08.1020).
    """

    def count(self, rng: np.random.Generator) -> int:
        """See `Metastases`."""
        group = rng.uniform()
        if group < 0.41:
            return int(rng.integers(1, 4))
        if group < 0.71:
            return int(rng.integers(4, 11))
        return min(60, 11 + int(rng.exponential(9.0)))

    def diameters(self, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
        """See `Metastases`."""
        return np.clip(np.exp(rng.normal(np.log(7.0), 0.7, count)), 2.0, 48.0)

    def swelling(self, rng: np.random.Generator, diameter: float) -> float:
        """See `Metastases`."""
        chance = 1 / (1 + np.exp(-3.0 * np.log(diameter / 5.4)))
        if rng.uniform() > chance:
            return 0.0
        wider = float(np.clip(rng.normal(2.2, 0.6), 1.2, 4.0))
        return min((wider - 1) * diameter / 2, 30.0)


DEFAULT = Few()
METASTASES: dict[str, Metastases] = {"default": DEFAULT, "brainmetshare": BrainMetShare()}
"""The statistics to choose from, by name."""


def metastases_called(name: str) -> Metastases:
    """Return the statistics of a name.

    Raises:
        ParameterError: If there are none.
    """
    if name not in METASTASES:
        raise ParameterError(
            f"there are no metastases called {name!r}", hint=f"use one of {', '.join(METASTASES)}"
        )
    return METASTASES[name]
