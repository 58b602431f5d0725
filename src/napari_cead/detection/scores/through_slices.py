"""Kinds of evidence, fused and alone, through the slices of a scan."""

from __future__ import annotations

from ..evidence import KINDS, Seen, fused
from ._score import LESION, RECONSTRUCTION, TAILS, TISSUE, Evidence, Score


def _scan(of: Evidence, *, network: bool = True) -> Seen:
    """Return the scan as a source of evidence; without a network it is not evened."""
    lesion = of.ingredients.get(LESION.name) if network else None
    return Seen(of.image, of.reconstruction, lesion, (of.depth, *of.spacing), of.midline)


OFFERED = (
    Score(
        "fused",
        "how rare in healthy tissue: probability of a lesion, change, brightness and asymmetry together",
        lambda of: fused(_scan(of), of.tails),
        (RECONSTRUCTION, TAILS, TISSUE),
        whole=True,
        volume=True,
        searched_for=frozenset({"denoiser"}),
        default_for={"denoiser": 2},
        place=10,
    ),
    Score(
        "brightness",
        "brighter than the tissue, smoothed by a Gaussian of 1 mm in 3-D: no network",
        lambda of: KINDS["brightness"].compute(_scan(of, network=False)),
        (TISSUE,),
        whole=True,
        volume=True,
        place=14,
    ),
    Score(
        "asymmetry",
        "brighter than the tissue and than the mirrored side, smoothed by a Gaussian of 3 mm in 3-D: no network",
        lambda of: KINDS["asymmetry"].compute(_scan(of, network=False)),
        (TISSUE,),
        whole=True,
        volume=True,
        place=15,
    ),
)
