"""Fit continuous symmetries to a base that was finetuned, without fitting the finetuning.

A fit to the base itself would take a part of the finetuning for disguise. But finetuning lies
mostly in few directions, and a wrong fit leaves something over in all of them. So directions in
which a fit leaves much over are made to count little, and it is fitted again, until nothing moves
(iteratively reweighted least squares for the least log-determinant). `refine` works on matrices,
`nearest` on cross products alone, to move the channels that many matrices share.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ROUNDS, CHANNEL_ROUNDS = 24, 40
"""Most fits that are made of each sort; a finetune of rank 16 takes 18."""

STILL = 1e-5
"""A fit that moves nothing by more than this share is the last."""

SLOWLY = 0.5
"""To which share the width falls from one round to the next: less, and a fit gets stuck."""

VISIBLE = 1e-7
"""What is smaller than the largest by more than this is lost in the rounding of its square."""

NOISE = 0.2
"""What rounding comes to, by the grain of a dtype and the size of what is rounded."""

CLEAR = 0.02
"""Nats a number by which a difference must become likelier: finetuning's own doing stays below."""

ROUGHLY = 1e-6
"""A change that is no larger in half of its directions, by the base's size, asks for no fit."""

FURTHEST = 0.1
"""Largest angle by which two channels are turned in one round."""

PRIOR = 32.0
"""By how much the variance of a fit to a finetuned base exceeds that of independent numbers."""

BlockFit = Callable[[list[Tensor], list[Tensor]], Tensor]
"""From whitened sides and wanted ones the best move: matrices `[group, n, n]` or scales `[row]`."""

BlockMove = Callable[[list[Tensor], Tensor], list[Tensor]]
"""The sides after a move."""

ChannelFit = Callable[[Tensor, Tensor], Tensor]
"""From weighted cross products, of the matrices with themselves and with the base's, the move."""


@dataclass(frozen=True)
class Whitening:
    """Divides by how large a change is in each direction, but by no less than a width.

    Attributes:
        axes: Directions `[n, direction]`; in all others the change is nothing.
        sizes: How large the change is in them, `[direction]`, by root mean square over its rows.
        width: Sizes are raised by it, square added to square.
    """

    axes: Tensor
    sizes: Tensor
    width: float

    def __call__(self, rows: Tensor) -> Tensor:
        """Whiten rows, `[m, n]`."""
        shrink = self.width / (self.sizes.square() + self.width**2).sqrt()
        white: Tensor = rows + ((rows @ self.axes) * (shrink - 1)) @ self.axes.T
        return white / self.width


def whitening(
    given: Tensor, wanted: Tensor, floor: float, before: Whitening | None = None
) -> Whitening:
    """Whiten what changed along the second axis.

    The width starts at the largest size and falls with each round, but not below the middle one:
    finetuning is held to lie in half of all directions.

    Args:
        given: `[m, n]`.
        wanted: `[m, n]`.
        floor: What rounding comes to: the least width.
        before: The whitening of the round before, if there was one.
    """
    change = given - wanted
    rows, columns = change.shape
    if columns <= rows:
        squares, axes = torch.linalg.eigh(change.T @ change / rows)
        sizes = squares.clamp_min(0).sqrt()
    else:
        squares, left = torch.linalg.eigh(change @ change.T / rows)
        sizes = squares.clamp_min(0).sqrt()
        axes = change.T @ left / (sizes * rows**0.5).clamp_min(1e-300)
        # Where there is next to no change, rounding has made these up.
        axes = torch.where(sizes > VISIBLE * sizes[-1], axes, 0.0)
    fallen = SLOWLY * before.width if before else sizes[-1].item()
    return Whitening(axes, sizes, max(floor, middle(sizes), fallen))


def middle(sizes: Tensor) -> float:
    """The size that half of all are no larger than; given in rising order."""
    return float(sizes[sizes.numel() // 2])


def refine(
    sides: list[list[Tensor]], fit: BlockFit, move: BlockMove, free: int, grain: float
) -> Tensor | None:
    """Fit a symmetry, if it explains the difference.

    It does if the difference becomes likelier by more than so many fitted numbers are worth (the
    Bayesian information criterion), and clearly so.

    Args:
        sides: Matrices `[moved, kept]` of the checkpoint, and of the base: the symmetry mixes or
            scales along their first axes.
        fit: The best move, by least squares.
        move: Makes it.
        free: How many numbers it fits.
        grain: The relative distance of neighboring numbers in the checkpoint's dtype.

    Returns:
        All moves in one; None where nothing is to be moved.
    """
    given, wanted = sides
    if all(bool((one == other).all()) for one, other in zip(given, wanted, strict=True)):
        return None
    floors = [max(NOISE * grain * float(side.square().mean().sqrt()), 1e-150) for side in wanted]
    white = [whitening(*each) for each in zip(given, wanted, floors, strict=True)]
    start = [each.sizes for each in white]
    total: Tensor | None = None
    for _ in range(ROUNDS):
        found = fit(
            [each(side) for each, side in zip(white, given, strict=True)],
            [each(side) for each, side in zip(white, wanted, strict=True)],
        )
        given = move(given, found)
        total = found if total is None else _after(found, total)
        white = [whitening(*each) for each in zip(given, wanted, floors, white, strict=True)]
        if from_identity(found).max() < STILL:
            break
    likelier = sum(
        max(side.shape) * _fallen(sizes, each.sizes, floor)
        for side, sizes, each, floor in zip(wanted, start, white, floors, strict=True)
    )
    numbers = sum(side.numel() for side in wanted)
    worth = max(0.5 * free * math.log(numbers), CLEAR * numbers)
    return total if likelier > worth else None


def _after(move: Tensor, first: Tensor) -> Tensor:
    """Two moves in one."""
    return move @ first if move.dim() == 3 else move * first


def from_identity(moves: Tensor) -> Tensor:
    """How far matrices `[group, n, n]` or scales `[row]` move anything, each."""
    if moves.dim() < 3:
        return (moves - 1).abs()
    norms: Tensor = torch.linalg.matrix_norm(moves - torch.eye(moves.shape[1], dtype=moves.dtype))
    return norms


@dataclass(frozen=True)
class Products:
    """Cross products over the rows of a matrix and the base's; chunks of rows add up.

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

    def __add__(self, other: "Products") -> "Products":
        """Of both matrices, one above the other."""
        return Products(
            self.given + other.given,
            self.cross + other.cross,
            self.wanted + other.wanted,
            self.rows + other.rows,
        )

    def moved(self, matrix: Tensor) -> "Products":
        """The same with the matrix's channels times `[channel, channel]`."""
        given = matrix.T @ self.given @ matrix
        return Products(given, matrix.T @ self.cross, self.wanted, self.rows)

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


def nearest(pairs: Sequence[Products], fit: ChannelFit, rounding: float = 0.0) -> Tensor:
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
    for _ in range(CHANNEL_ROUNDS):
        own, cross = torch.zeros_like(same), torch.zeros_like(same)
        for place, pair in enumerate(pairs):
            one, other, widths[place] = _weighted(pair.moved(total), widths[place])
            own, cross = own + one, cross + other
        move = fit(own, cross)
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


def turn_to_axes(given: Tensor, told: Tensor, rows: int | None = None) -> ChannelFit:
    """The best rotation of which some is known besides, from two matrices of the same origin.

    Where `told` was `given` with each channel scaled before both were turned, they are still one
    times a symmetric matrix, and its axes are the channels: no finetuning changes that. What they
    leave open, as channels of the same scale do, the cross products decide, each pair of channels
    by what both are worth.

    Args:
        given: `[row, channel]`, before any move; or the triangle that `triangle` makes of it.
        told: The same.
        rows: Of a triangle, how many rows the matrices had.
    """
    between = torch.linalg.lstsq(given, told, driver="gelsd").solution
    noise = (given @ between - told).square().sum() / ((rows or len(given)) * given.shape[1])
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


def triangle(rows: Tensor, above: Tensor | None) -> Tensor:
    """The triangle of a matrix's QR factors, from its rows and the triangle of those above."""
    stacked = rows if above is None else torch.cat([above, rows])
    upper: Tensor = torch.linalg.qr(stacked, mode="r").R
    return upper


def stretch(own: Tensor, cross: Tensor) -> Tensor:
    """The best scale of each channel; 1 for one that is nothing."""
    best = cross.diag() / own.diag().clamp_min(1e-300)
    return torch.diag(torch.where(best == 0, 1.0, best))


def scale(own: Tensor, cross: Tensor) -> Tensor:
    """The best scale of all channels together."""
    same = torch.eye(len(own), dtype=own.dtype)
    return same * (cross.trace() / own.trace().clamp_min(1e-300))


def _fallen(start: Tensor, end: Tensor, floor: float) -> float:
    """By how much all sizes together have fallen, by their logarithms, in nats.

    This times the rows is how much likelier a difference is whose rows are all drawn from one
    Gaussian. The smallest sizes, which are so by chance, count as half of the middle one.
    """
    least = max(floor, 0.5 * middle(end))
    fallen = (start.square() + least**2).log() - (end.square() + least**2).log()
    return 0.5 * float(fallen.sum())


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
    ours = (pair.given - pair.cross) @ axes / long
    theirs = (pair.cross.T - pair.wanted) @ axes / long
    dropped = sizes.square() / (sizes.square() + width**2)
    own = (pair.given - (ours * dropped) @ ours.T) / width**2
    cross = (pair.cross - (ours * dropped) @ theirs.T) / width**2
    return own, cross, width
