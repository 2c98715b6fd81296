"""Was a low-rank change merged into a checkpoint? Told from what stands above the rounding.

A change that was added to weights and stored is no longer exactly low-rank: the weights' last
digits cover its smallest parts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from diffspeak.lora import LinearShape

SKETCH = 64
"""Largest rank that is noticed."""

SAMPLED = 24
"""Linears that are looked at for it."""


class Difference(NamedTuple):
    """One tensor beside the base's."""

    name: str
    ours: Tensor
    theirs: Tensor

    @property
    def change(self) -> Tensor:
        """What was added, float32; exact where both are no finer than that."""
        return (self.theirs.double() - self.ours.double()).float()


def rank_above_rounding(change: Tensor, stored: Tensor) -> tuple[int | None, float]:
    """How many singular values of a change stand above what rounding alone would make.

    A weight that is stored in a dtype is off by up to half of its last digit, and so is each number
    of the change, if it was computed in that dtype before it was added. Were that all, the change
    would be a matrix of independent errors, whose largest singular value is near the root of the
    largest row's plus that of the largest column's summed variances (Bandeira and van Handel,
    2016).

    Args:
        change: `[out, in]`, float64 where it must be exact.
        stored: The finetune's weight, in the dtype of its file.

    Returns:
        The rank, None if it is above `SKETCH`; and the floor, in the change's units.
    """
    change = change.double()
    # The sum over the rank that made the change was rounded too, in float32 or better.
    summed = 8 * _last_digit(change, torch.float32)
    errors = (_last_digit(stored, stored.dtype), _last_digit(change, stored.dtype), summed)
    variance = torch.stack([error.square() for error in errors]).sum(0) / 12
    floor = 1.1 * sum(variance.sum(axis).max().sqrt().item() for axis in (0, 1))
    size = min(SKETCH + 8, *change.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, values, _ = torch.svd_lowrank(change, q=size, niter=3)
    rank = int((values > floor).sum())
    return (None if rank > SKETCH or rank > min(change.shape) // 2 else rank), floor


def _last_digit(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """What the last digit of each number is worth in a dtype."""
    exponent = tensor.double().abs().clamp_min(1e-30).log2().floor()
    return torch.finfo(dtype).eps * torch.exp2(exponent)


@dataclass
class MergedLoraDetector:
    """Tells from the tensors that went by whether a low-rank change was merged into the base."""

    shapes: Mapping[str, LinearShape]
    ranks: dict[str, int | None] = field(default_factory=dict)
    floor: float = 0.0
    dtype: str = ""
    others: int = 0
    linears: int = 0

    def add(self, difference: Difference) -> None:
        """Look at one more tensor."""
        module = difference.name.removesuffix(".weight")
        if module not in self.shapes:
            self.others += 1
            return
        self.linears += 1
        every = max(1, len(self.shapes) // SAMPLED)
        if (self.linears - 1) % every == 0:
            stored = difference.theirs
            exact = stored.double() - difference.ours.double()
            self.ranks[module], floor = rank_above_rounding(exact, stored)
            self.floor = max(self.floor, floor)
            self.dtype = str(stored.dtype).removeprefix("torch.")

    def notes(self) -> Iterator[str]:
        """What is worth telling."""
        ranks = [rank for rank in self.ranks.values() if rank is not None]
        if self.others or not ranks or len(ranks) < len(self.ranks) or not max(ranks):
            return
        yield (
            f"this is a merged LoRA: in {len(ranks)} linears looked at, the difference has rank "
            f"{max(ranks)} at most above the rounding of {self.dtype} (singular values up to "
            f"{self.floor:.2g}); --low-rank {max(ranks)} reads it as such"
        )
