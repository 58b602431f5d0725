"""A VQ-VAE's codebook during training: the number of used codes, moving averages, and replacement of dead codes."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, distributed

from ..errors import ParameterError
from .precision import single
from .vqvae import QuantisedOutput, VectorQuantisedAutoencoder

EPSILON = 1e-5
"""Laplace smoothing of the cluster sizes, in vectors."""


class CodebookTracker:
    """Counts the used codes, and moves the codebook if losses do not.

    With a decay γ the codebook learns by moving averages (van den Oord, Vinyals, Kavukcuoglu 2017, appendix A.1). If
    n_i vectors z fell to code i in a batch: N_i ← γ N_i + (1 - γ) n_i, m_i ← γ m_i + (1 - γ) Σ z, and the code becomes
    m_i / N'_i, with N'_i = (N_i + ε) / (N + K ε) · N, where N sums all N_i. The averages start at one vector per code,
    the code itself, so that training can continue from any codebook. Use it with ``LossWeights(codebook="ema")``;
    the codebook's ``requires_grad`` is set to match, so that optimizers and DistributedDataParallel leave it alone.

    In distributed training counts and sums are over all ranks, and the codebooks stay equal. The whole state is in
    :meth:`state_dict`; nothing is added to the network.

    Args:
        module: The network, unwrapped and already on its device.
        decay: γ, 0.99 in the usual implementation; None: the codebook learns by its loss.
        reset_dead: Whether codes that were unused for a whole epoch are moved onto vectors of its last batches.

    Raises:
        ParameterError: If the decay is not between 0 and 1.
    """

    figure: ClassVar[str] = "used_codes"

    def __init__(
        self, module: VectorQuantisedAutoencoder, *, decay: float | None = None, reset_dead: bool = False
    ) -> None:
        if decay is not None and not 0 < decay < 1:
            raise ParameterError(
                f"the codebook's decay is {decay:g}, it has to be between 0 and 1", hint="0.99 is usual"
            )
        self.codebook = module.codebook.weight
        self.codebook.requires_grad_(decay is None)
        self.decay = decay
        self.reset_dead = reset_dead
        codes = self.codebook.detach()
        self.counts = torch.zeros(len(codes), dtype=torch.int64, device=codes.device)
        self.sizes = torch.ones_like(codes[:, 0])
        self.sums = codes.clone()
        self.recent = codes[:0].clone()

    def update(self, output: QuantisedOutput, generator: torch.Generator | None = None) -> None:
        """Record a batch; call it after each step of the optimizer.

        Nothing here waits for the device.

        Args:
            output: The network's output for the clean images.
            generator: Source of the choice of vectors kept for dead codes, on the device of the network.
        """
        self.take(*output.kept, generator=generator)

    @torch.no_grad()
    def take(self, *kept: Tensor, generator: torch.Generator | None = None) -> None:
        """Take in what the outputs of a batch keep: vectors and codes; see :meth:`update`."""
        encoded, indices = kept
        vectors = single(encoded.detach()).movedim(1, -1).flatten(0, -2)
        indices = indices.flatten()
        counts = torch.zeros_like(self.counts).scatter_add_(0, indices, torch.ones_like(indices))
        sums = None
        if (
            self.decay is not None
        ):  # index_put, unlike index_add, gives the same sums every time on a GPU as well
            sums = torch.zeros_like(self.sums).index_put_((indices,), vectors, accumulate=True)
        if _world_size() > 1:
            distributed.all_reduce(counts)
            if sums is not None:
                distributed.all_reduce(sums)
        self.counts += counts
        if self.decay is not None and sums is not None:
            self.sizes.lerp_(counts.to(self.sizes.dtype), 1 - self.decay)
            self.sums.lerp_(sums, 1 - self.decay)
            self._follow_averages()
        if self.reset_dead:
            # An eighth per batch: the stored vectors come from the last eight or so.
            share = -(-len(self.codebook) // 8)
            chosen = torch.randperm(len(vectors), device=vectors.device, generator=generator)[:share]
            self.recent = torch.cat([vectors[chosen], self.recent])[: len(self.codebook)]

    @torch.no_grad()
    def end_epoch(self, generator: torch.Generator | None = None) -> int:
        """Return the number of codes used since the last call, replace dead ones if requested, and start counting anew.

        Args:
            generator: Source of the choice among the stored vectors, on the device of the network.
        """
        used = self.counts > 0
        if self.reset_dead and len(self.recent):
            self._reset(~used, generator)
        self.counts.zero_()
        return int(used.sum())

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the state as tensors; in distributed training that of the first rank is enough for all."""
        return {name: getattr(self, name).clone() for name in ("counts", "sizes", "sums", "recent")}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a state; the codebook itself is among the network's weights.

        Raises:
            ParameterError: If the state belongs to another codebook.
        """
        if set(state) != {"counts", "sizes", "sums", "recent"} or state["sums"].shape != self.sums.shape:
            raise ParameterError("the state is that of another codebook", hint="resume with the same network")
        for name, value in state.items():
            setattr(self, name, value.to(getattr(self, name), copy=True))

    def _follow_averages(self) -> None:
        total = self.sizes.sum()
        smoothed = (self.sizes + EPSILON) / (total + len(self.sizes) * EPSILON) * total
        self.codebook.copy_(self.sums / smoothed[:, None])

    def _reset(self, dead: Tensor, generator: torch.Generator | None) -> None:
        # The background gives the same vector again and again: only one code can live there.
        places = torch.unique(self.recent, dim=0)
        places = places[torch.randperm(len(places), device=places.device, generator=generator)]
        which = dead.nonzero().flatten()[: len(places)]
        places = places[: len(which)]
        self.codebook[which] = places.to(self.codebook.dtype)
        self.sums[which], self.sizes[which] = places, 1.0
        if _world_size() > 1:  # each rank has stored other vectors
            for tensor in (self.codebook.data, self.sums, self.sizes):
                distributed.broadcast(tensor, src=0)


def _world_size() -> int:
    if not (distributed.is_available() and distributed.is_initialized()):
        return 1
    return distributed.get_world_size()
