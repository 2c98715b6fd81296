"""Make the directions in which a change is large count little.

Takes a change, gives what makes it as large in all directions. What finetuning adds lies mostly in
few directions, what a wrong fit leaves over in all: least squares between whitened matrices see the
fit and not the finetuning. Knows no architecture.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

SLOWLY = 0.5
"""To which share the width falls from one round to the next: less, and a fit gets stuck."""

VISIBLE = 1e-7
"""What is smaller than the largest by more than this is lost in the rounding of its square."""


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
    width = max(floor, middle(sizes), fallen)
    return Whitening(axes, sizes, width)


def middle(sizes: Tensor) -> float:
    """The size that half of all are no larger than; given in rising order."""
    return float(sizes[sizes.numel() // 2])
