"""Do the claims of the paper show on other patients? Paired differences with bootstrap intervals, and a verdict each.

The intervals are over patients: with one training of each model, a verdict is about these trainings, not about designs.

Paolini, Boracchi and Matteucci claim that context encoding raises Dice for AE, VAE1 and VAE2, that it sharpens
reconstructions, and that VQ-VAEs reconstruct lesions and so miss them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .tables import MISSING, listing, signed

Verdict = Literal["agrees", "disagrees", "undecided"]

RESAMPLES = 10_000

DENSE = ("ae", "vae1", "vae2")
"""The designs without a codebook and without context encoding."""


@dataclass(frozen=True)
class Difference:
    """Mean difference of two figures of the same patients.

    Attributes:
        mean: Mean over the patients of first minus second.
        low: Lower end of the 95 % percentile bootstrap interval over patients.
        high: Its upper end.
        patients: Patients that have both figures.
    """

    mean: float
    low: float
    high: float
    patients: int

    def text(self, digits: int = 4) -> str:
        """Return the difference and its interval with so many decimals."""
        low, high = signed(self.low, digits), signed(self.high, digits)
        return f"{signed(self.mean, digits)} [{low}, {high}]"


def paired(
    first: Mapping[str, float], second: Mapping[str, float], resamples: int = RESAMPLES, seed: int = 0
) -> Difference | None:
    """Compare two figures patient by patient.

    Args:
        first: Figure by patient.
        second: Figure by patient, of the other model.
        resamples: Resamples of the bootstrap.
        seed: Its seed.

    Returns:
        First minus second; None with fewer than two patients in common.
    """
    names = sorted(first.keys() & second.keys())
    if len(names) < 2:
        return None
    differences = np.array([first[name] - second[name] for name in names])
    draws = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
    low, high = np.quantile(differences[draws].mean(axis=1), [0.025, 0.975])
    return Difference(float(differences.mean()), float(low), float(high), len(names))


def mean_of(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean by patient of several figures, over the patients that have them all."""
    if not figures:
        return {}
    names = set.intersection(*(set(figure) for figure in figures))
    return {name: sum(figure[name] for figure in figures) / len(figures) for name in sorted(names)}


@dataclass(frozen=True)
class Comparison:
    """One claim about one pair.

    Attributes:
        pair: What is compared, for instance ``CE-AE − AE``.
        figure: The figure that is compared.
        expected: 1 if the claim is that the first is larger, -1 if smaller.
        difference: What was found; None without figures.
    """

    pair: str
    figure: str
    expected: Literal[1, -1]
    difference: Difference | None

    def text(self) -> str:
        """Return the difference and its interval; a dash without figures."""
        digits = 2 if self.figure.endswith("dB") else 4
        return MISSING if self.difference is None else self.difference.text(digits)

    @property
    def verdict(self) -> Verdict:
        """Whether the interval, over patients alone, lies on the side of the claim, on the other, or holds 0."""
        if self.difference is None:
            return "undecided"
        near, far = sorted((self.expected * self.difference.low, self.expected * self.difference.high))
        return "agrees" if near > 0 else "disagrees" if far < 0 else "undecided"


@dataclass(frozen=True)
class Claim:
    """A claim of the paper with all that it is compared on.

    Attributes:
        text: The claim.
        comparisons: One for each pair and figure.
    """

    text: str
    comparisons: tuple[Comparison, ...]

    def sentence(self) -> str:
        """Say what was found, from the verdicts alone."""
        parts = []
        for verdict, words in (
            ("agrees", "agrees"),
            ("disagrees", "does not agree"),
            ("undecided", "undecided"),
        ):
            found = [item for item in self.comparisons if item.verdict == verdict]
            if found:
                named = listing([f"{item.pair} ({item.figure})" for item in found])
                parts.append(f"**{words}** for {named}")
        return f"{self.text}: {'; '.join(parts) or 'not compared'}."


def paper_claims(
    dice: Mapping[str, Mapping[str, float]],
    ssim: Mapping[str, Mapping[str, float]],
    psnr: Mapping[str, Mapping[str, float]],
    lesion_residual: Mapping[str, Mapping[str, float]],
) -> list[Claim]:
    """Hold the paper's claims against figures of patients.

    Args:
        dice: Dice of the volume by model and patient.
        ssim: Mean SSIM of healthy slices by model and patient.
        psnr: Mean PSNR in the brain of healthy slices by model and patient.
        lesion_residual: Mean absolute residual of the lesion's voxels by model and patient.
    """

    def twins(
        bases: Iterable[str], figure: str, values: Mapping[str, Mapping[str, float]]
    ) -> list[Comparison]:
        return [
            Comparison(
                f"CE-{base.upper()} − {base.upper()}",
                figure,
                1,
                paired(values.get(f"ce-{base}", {}), values.get(base, {})),
            )
            for base in bases
        ]

    def codebooks(figure: str, values: Mapping[str, Mapping[str, float]]) -> list[Comparison]:
        return [
            Comparison(
                f"{prefix.upper()}VQ-VAE − mean of {listing([f'{prefix}{base}'.upper() for base in DENSE])}",
                figure,
                -1,
                paired(
                    values.get(f"{prefix}vq-vae", {}),
                    mean_of([values.get(f"{prefix}{base}", {}) for base in DENSE]),
                ),
            )
            for prefix in ("", "ce-")
        ]

    bases = (*DENSE, "vq-vae")
    return [
        Claim("Context encoding raises Dice for AE, VAE1 and VAE2", tuple(twins(DENSE, "Dice", dice))),
        Claim(
            "VQ-VAEs reconstruct the lesion (a smaller residual in it)",
            tuple(codebooks("residual in the lesion", lesion_residual)),
        ),
        Claim("VQ-VAEs miss the lesion (a lower Dice)", tuple(codebooks("Dice", dice))),
        Claim(
            "Context encoding sharpens reconstructions (higher SSIM and PSNR on healthy slices)",
            (*twins(bases, "SSIM", ssim), *twins(bases, "PSNR in dB", psnr)),
        ),
    ]
