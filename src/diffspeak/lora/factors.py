"""Low-rank factors of a weight change: stack, slice, join, scale, to dense and back.

Takes and gives tensors only; knows nothing of models, files or training.
Orientation and scaling are PEFT's (Hu et al., arXiv 2106.09685, Eq. 3):

    change [out, in] = scaling * B [out, rank] @ A [rank, in]

Any number of leading axes may stand before the two matrix axes; a *stack* has one, `task`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffspeak.errors import MismatchError


@dataclass(frozen=True)
class LowRank:
    """The change of one linear, or of the same linear in a stack of finetunes.

    Attributes:
        A: `[..., rank, in]`.
        B: `[..., out, rank]`.
        scaling: What the product is multiplied with; `alpha / rank` in PEFT's terms.
    """

    A: Tensor
    B: Tensor
    scaling: float = 1.0

    def __post_init__(self) -> None:
        """Refuse factors whose shapes cannot be multiplied."""
        if self.A.shape[:-2] != self.B.shape[:-2] or self.A.shape[-2] != self.B.shape[-1]:
            raise ValueError(
                f"factors do not fit: A {tuple(self.A.shape)} must be [..., rank, in] "
                f"and B {tuple(self.B.shape)} [..., out, rank]"
            )

    @property
    def rank(self) -> int:
        """Number of columns of B."""
        return self.A.shape[-2]

    @property
    def is_stack(self) -> bool:
        """Whether there is a leading `task` axis."""
        return self.A.dim() > 2

    def __getitem__(self, tasks: int | slice | Tensor) -> "LowRank":
        """Take one task (an int drops the axis) or several of a stack."""
        return replace(self, A=self.A[tasks], B=self.B[tasks])

    def scaled(self, factor: float) -> "LowRank":
        """Multiply the change by `factor`, the factors left as they are."""
        return replace(self, scaling=self.scaling * factor)

    def folded(self) -> "LowRank":
        """The same change with scaling 1, folded into B."""
        return LowRank(self.A, self.B * self.scaling)

    def padded(self, rank: int) -> "LowRank":
        """The same change at a larger rank, filled up with zeros."""
        missing = rank - self.rank
        if missing < 0:
            raise ValueError(f"rank {self.rank} does not fit into rank {rank}")
        if missing == 0:
            return self
        pad = torch.nn.functional.pad
        return replace(self, A=pad(self.A, (0, 0, 0, missing)), B=pad(self.B, (0, missing)))

    def to(self, device: torch.device | str) -> "LowRank":
        """Move both factors."""
        return replace(self, A=self.A.to(device), B=self.B.to(device))

    def float(self) -> "LowRank":
        """The same factors in float32."""
        return replace(self, A=self.A.float(), B=self.B.float())

    def trainable(self, device: torch.device | str) -> "LowRank":
        """The same factors on a device, as leaves that take gradients."""
        moved = self.to(device)
        return replace(moved, A=moved.A.requires_grad_(), B=moved.B.requires_grad_())

    def detached(self) -> "LowRank":
        """The same factors on the CPU, without gradients."""
        return replace(self, A=self.A.detach().cpu(), B=self.B.detach().cpu())

    def isfinite(self) -> Tensor:
        """Whether all its numbers are finite, bool `[...]`."""
        return self.A.isfinite().flatten(-2).all(-1) & self.B.isfinite().flatten(-2).all(-1)

    def norm(self) -> Tensor:
        """Frobenius norm of the change, `[...]` float64; nothing dense is made for it."""
        inner = (self.B.mT.double() @ self.B.double()) * (self.A.double() @ self.A.mT.double()).mT
        return abs(self.scaling) * inner.sum((-2, -1)).clamp_min(0).sqrt()

    def dense(self) -> Tensor:
        """The change itself, `[..., out, in]`."""
        return self.scaling * (self.B @ self.A)


Diff = dict[str, LowRank]
"""A whole weight diff: full module name to its change."""


def stack(parts: Sequence[LowRank]) -> LowRank:
    """Put single changes `[rank, in]`, `[out, rank]` side by side along a new `task` axis.

    Different ranks are filled up with zeros to the largest. Where scalings differ they are
    folded into B.
    """
    scalings = {part.scaling for part in parts}
    if len(scalings) > 1:
        parts = [part.folded() for part in parts]
    rank = max(part.rank for part in parts)
    parts = [part.padded(rank) for part in parts]
    return LowRank(
        torch.stack([part.A for part in parts]),
        torch.stack([part.B for part in parts]),
        parts[0].scaling,
    )


def concatenate(parts: Sequence[LowRank]) -> LowRank:
    """The sum of several changes of one linear, as one change whose rank is the sum of ranks."""
    folded = [part.folded() for part in parts]
    return LowRank(
        torch.cat([part.A for part in folded], dim=-2),
        torch.cat([part.B for part in folded], dim=-1),
    )


def from_dense(change: Tensor, rank: int) -> tuple[LowRank, Tensor]:
    """The best change of a given rank in the Frobenius norm (Eckart and Young, 1936).

    Args:
        change: `[..., out, in]`.
        rank: How many singular directions to keep; at most `min(out, in)` of them exist.

    Returns:
        The factors, singular values shared evenly between A and B, and the share of the
        change's squared Frobenius norm that they hold, `[...]` between 0 and 1
        (1 where the change is zero).
    """
    rank = min(rank, *change.shape[-2:])
    U, S, Vh = torch.linalg.svd(change.double(), full_matrices=False)
    root = S[..., :rank].sqrt()
    factors = LowRank(
        (root[..., :, None] * Vh[..., :rank, :]).to(change.dtype),
        (U[..., :, :rank] * root[..., None, :]).to(change.dtype),
    )
    total = S.square().sum(-1)
    kept = S[..., :rank].square().sum(-1)
    return factors, torch.where(total > 0, kept / total.clamp_min(1e-300), torch.ones_like(total))


def stack_diffs(diffs: Sequence[Diff]) -> Diff:
    """Stack whole diffs module by module; a module that one of them lacks is zero there.

    Raises:
        MismatchError: Two diffs map one module's inputs and outputs differently.
    """
    stacked: Diff = {}
    for name in sorted({name for diff in diffs for name in diff}):
        have = [diff[name] for diff in diffs if name in diff]
        maps = sorted({(change.A.shape[-1], change.B.shape[-2]) for change in have})
        if len(maps) > 1:
            raise MismatchError(
                f"the diffs are not of one base: {name} maps {maps[0][0]} to {maps[0][1]} in one "
                f"and {maps[1][0]} to {maps[1][1]} in another; use them apart"
            )
        like = have[0]
        none = LowRank(torch.zeros_like(like.A), torch.zeros_like(like.B), like.scaling)
        stacked[name] = stack([diff.get(name, none) for diff in diffs])
    return stacked
