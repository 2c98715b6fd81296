"""What moves the channels of matrices nearest to a base's that was finetuned, rows left alone.

Takes matrices `[row, channel]` by their cross products, gives one matrix `[channel, channel]` for
all: a rotation, a scale of each channel, or one scale. As in `refine`, directions of rows in which
the change is large count little. Knows no architecture.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffspeak.symmetries.whitening import SLOWLY

ROUNDS = 40
"""Most fits that are made."""

STILL = 1e-5
"""A fit that moves nothing by more than this, in all, is the last."""

ROUGHLY = 1e-6
"""A change that is no larger in half of its directions, by the base's size, asks for no fit."""

FURTHEST = 0.1
"""Largest angle by which two channels are turned in one round."""

PRIOR = 32.0
"""By how much the variance of a fit to a finetuned base exceeds that of independent numbers."""

Fit = Callable[[Tensor, Tensor], Tensor]
"""From weighted cross products, of the matrices with themselves and with the base's, the move."""


@dataclass(frozen=True)
class Products:
    """Cross products over the rows of a matrix and the base's.

    Attributes:
        given: Of the matrix with itself, `[channel, channel]`.
        cross: Of the matrix with the base's.
        wanted: Of the base's with itself.
        rows: How many rows there are.
    """

    given: Tensor
    cross: Tensor
    wanted: Tensor
    rows: int

    def moved(self, matrix: Tensor) -> "Products":
        """The same with the matrix's channels times `[channel, channel]`."""
        given = matrix.T @ self.given @ matrix
        return replace(self, given=given, cross=matrix.T @ self.cross)

    def sizes(self) -> tuple[Tensor, Tensor]:
        """How large the change is along its own axes `[channel, axis]`; root mean squares."""
        change = self.given - self.cross - self.cross.T + self.wanted
        squares, axes = torch.linalg.eigh(change / len(change))
        return squares.clamp_min(0).sqrt(), axes

    def middle(self, sizes: Tensor) -> float:
        """The size that half of the axes exceed, of those that there can be."""
        return float(sizes[-((min(self.rows, len(sizes)) + 1) // 2)])


def products(given: Tensor, wanted: Tensor) -> Products:
    """Of two matrices, `[row, channel]`."""
    return Products(given.T @ given, given.T @ wanted, wanted.T @ wanted, len(given))


def nearest(pairs: Sequence[Products], fit: Fit, rounding: float = 0.0) -> Tensor:
    """The move of channels that leaves a change in few directions of rows.

    Args:
        pairs: What is moved together.
        fit: The best move, by least squares.
        rounding: How much of a change is rounding's doing, by the base's size.

    Returns:
        `[channel, channel]`; the identity where nothing is to be gained.
    """
    total = same = torch.eye(len(pairs[0].given), dtype=pairs[0].given.dtype)
    if all(_is_narrow(pair, max(rounding, ROUGHLY)) for pair in pairs):
        return same
    widths = [torch.inf for _ in pairs]
    for _ in range(ROUNDS):
        own, cross = torch.zeros_like(same), torch.zeros_like(same)
        for place, pair in enumerate(pairs):
            one, other, widths[place] = _weighted(pair, widths[place])
            own, cross = own + one, cross + other
        move = fit(own, cross)
        pairs = [pair.moved(move) for pair in pairs]
        total = total @ move
        if (move - same).norm() < STILL:
            break
    return total


def turn(own: Tensor, cross: Tensor) -> Tensor:
    """The best rotation (orthogonal Procrustes)."""
    del own
    left, _, right = torch.linalg.svd(cross)
    rotation: Tensor = left @ right
    return rotation


def turn_to_axes(given: Tensor, told: Tensor) -> Fit:
    """The best rotation of which some is known besides, from two matrices of the same origin.

    Where `told` was `given` with each channel scaled before both were turned, they are still one
    times a symmetric matrix, and its axes are the channels: no finetuning changes that. What they
    leave open, as channels of the same scale do, the cross products decide, each pair of channels
    by what both are worth.

    Args:
        given: `[row, channel]`, before any move.
        told: The same.
    """
    between = torch.linalg.lstsq(given, told, driver="gelsd").solution
    noise = (given @ between - told).square().mean()
    inverse = torch.linalg.pinv(given.T @ given, hermitian=True)
    total = torch.eye(given.shape[1], dtype=given.dtype)

    def fit(own: Tensor, cross: Tensor) -> Tensor:
        by_rows = turn(own, cross)
        told_here = total.T @ between @ total
        scales, blur = told_here.diag(), (total.T @ inverse @ total).diag()
        gaps = scales - scales[:, None]
        # Angles of pairs of channels, and how sure both ways to find them are.
        angles, sure = (by_rows - by_rows.T) / 2, (own.diag() + own.diag()[:, None]) / PRIOR
        known = 4 / (noise * (blur + blur[:, None])).clamp_min(1e-30)
        pull = known * gaps * (told_here + told_here.T) / 2
        best = (pull + sure * angles) / (known * gaps.square() + sure).clamp_min(1e-300)
        move: Tensor = torch.linalg.matrix_exp(((best - best.T) / 2).clamp(-FURTHEST, FURTHEST))
        total.copy_(total @ move)
        return move

    return fit


def stretch(own: Tensor, cross: Tensor) -> Tensor:
    """The best scale of each channel; 1 for one that is nothing."""
    best = cross.diag() / own.diag().clamp_min(1e-300)
    return torch.diag(torch.where(best == 0, 1.0, best))


def scale(own: Tensor, cross: Tensor) -> Tensor:
    """The best scale of all channels together."""
    same = torch.eye(len(own), dtype=own.dtype)
    return same * (cross.trace() / own.trace().clamp_min(1e-300))


def _is_narrow(pair: Products, share: float) -> bool:
    """Whether half of a change's directions hold no more than a share of the base's size."""
    sizes, _ = pair.sizes()
    return pair.middle(sizes) <= share * (pair.wanted.trace() / len(sizes) ** 2).sqrt().item()


def _weighted(pair: Products, width: float) -> tuple[Tensor, Tensor, float]:
    """Cross products with rows whitened, and the width that sizes are raised by."""
    sizes, axes = pair.sizes()
    least = 1e-8 * pair.wanted.trace().item() ** 0.5
    width = max(pair.middle(sizes), min(SLOWLY * width, sizes[-1].item()), least, 1e-150)
    long = (sizes * len(sizes) ** 0.5).clamp_min(least)
    ours, theirs = (
        (pair.given - pair.cross) @ axes / long,
        (pair.cross.T - pair.wanted) @ axes / long,
    )
    dropped = sizes.square() / (sizes.square() + width**2)
    own = (pair.given - (ours * dropped) @ ours.T) / width**2
    cross = (pair.cross - (ours * dropped) @ theirs.T) / width**2
    return own, cross, width
