"""The figures of the paper, for reference.

Paolini, Boracchi and Matteucci, *Unsupervised Detection of Lesion in Brain MRI using Context Encoding AutoEncoders*.
"""

from __future__ import annotations

from collections.abc import Mapping

PAPER_DICE: Mapping[str, float] = {
    "ae": 0.302,
    "ce-ae": 0.405,
    "vae1": 0.317,
    "ce-vae1": 0.463,
    "vae2": 0.302,
    "ce-vae2": 0.326,
    "vq-vae": 0.169,
    "ce-vq-vae": 0.083,
}
"""Dice by name of the architecture (the paper's table prints CE-VAE2 twice; the first, 0.463, is CE-VAE1)."""

PAPER_NOTE = (
    "the Dice that Paolini, Boracchi and Matteucci report for this architecture, for reference only. It was measured "
    "on another data set (BrainMetShare, 419 test slices), and the paper says neither which average it is nor how the "
    "threshold was chosen, so it cannot be compared with any column of this table."
)
