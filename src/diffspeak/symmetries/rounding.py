"""Take out of a change what rounding a disguised file has put there.

Takes weights and the base's in the plain layout, once they are aligned; changes the weights. A
disguise in numbers that hold few digits leaves their rounding behind: a little in all directions,
by a known amount, where finetuning changes some directions by more. Knows no symmetry.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from diffspeak.symmetries.layout import Weights
from diffspeak.symmetries.refine import NOISE

ALLOWED = 1.2
"""What is left of a change and is no larger than rounding by this factor is held to be rounding."""

EDGE = 2.5
"""A direction that is longer than rounding's longest by this factor is finetuning in any case."""

FEW = 1e-5
"""The grain from which on rounding matters: bfloat16 and float16."""


def drop_rounding(weights: Weights, base: Weights, dtypes: Mapping[str, torch.dtype]) -> None:
    """Take rounding out of each matrix's change, if most of its directions hold nothing else.

    Matrices that still hold numbers of their dtype have not been rounded since, and stay.

    Args:
        weights: Aligned.
        base: What to.
        dtypes: Of the checkpoint's tensors, by plain names.
    """
    for name, weight in weights.items():
        dtype = dtypes.get(name, torch.float32)
        grain = torch.finfo(dtype).eps
        if weight.dim() != 2 or name not in base or grain < FEW:
            continue
        if not torch.equal(weight.to(dtype).double(), weight):
            change = weight - base[name]
            noise = NOISE * grain * float(weight.square().mean().sqrt())
            weights[name] = base[name] + _above(change, noise)


def _above(change: Tensor, noise: float) -> Tensor:
    """A change without the directions that leave nothing but noise; as it is if that needs most.

    Noise of a size fills an `[m, n]` matrix up to singular values of about sqrt(m) + sqrt(n) times
    that size, but is larger in some directions if it is larger in some rows or columns.
    """
    rows, columns = change.shape
    if rows < columns:
        return _above(change.T, noise).T
    squares, axes = torch.linalg.eigh(change.T @ change)
    squares = squares.clamp_min(0)
    # Without its longest directions a change has fewer numbers too.
    left = torch.arange(1, columns + 1) * torch.arange(rows - columns + 1, rows + 1)
    rounded = squares.cumsum(0) <= (ALLOWED * noise) ** 2 * left
    rounded &= squares.sqrt() <= EDGE * noise * (rows**0.5 + columns**0.5)
    dropped = int(rounded.sum())
    if dropped < columns / 2:
        return change
    kept = axes[:, dropped:]
    left_over: Tensor = (change @ kept) @ kept.T
    return left_over
