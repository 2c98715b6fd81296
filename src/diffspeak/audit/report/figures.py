"""Rates with intervals and norms with shades: what a page draws, as numbers.

Takes counts and a grid of norms, gives data for templates. Knows nothing of how it looks.
"""

import math
from typing import NamedTuple

from scipy.stats import binomtest

from diffspeak.finetunes.norms import Grid, gathered


class Bar(NamedTuple):
    """A rate to draw.

    Attributes:
        name: What it is of.
        hits: How many times it happened.
        n: Out of how many; of none the interval is from 0 to 1.
        low: Lower end of the 95% interval, 0 to 1.
        high: Its upper end.
    """

    name: str
    hits: int
    n: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """The rate, 0 to 1."""
        return self.hits / self.n if self.n else 0.0


class Cell(NamedTuple):
    """A norm and how dark it is, 0 to 1; both None where there is no finite number."""

    norm: float | None
    shade: float | None


class Line(NamedTuple):
    """A linear with a cell for each block; None where it has none there."""

    linear: str
    cells: list[Cell | None]


class HeatMap(NamedTuple):
    """Norms to draw.

    Attributes:
        blocks: Numbers of the blocks.
        lines: Linears that stand in blocks.
        outside: Those that stand in none, each with its one cell.
        total: Norm of all finite ones together.
        largest: Linear and block of the largest; the block is -1 outside of blocks.
        top: Norm of the largest.
    """

    blocks: list[int]
    lines: list[Line]
    outside: list[Line]
    total: float
    largest: tuple[str, int]
    top: float


def bar(name: str, hits: int, n: int) -> Bar:
    """A rate with its Wilson 95% interval (Wilson, 1927).

    Args:
        name: What it is of.
        hits: How many times it happened.
        n: Out of how many.
    """
    if n < 1:
        return Bar(name, hits, n, 0.0, 1.0)
    found = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    return Bar(name, hits, n, float(found.low), float(found.high))


def heat_map(grid: Grid) -> HeatMap | None:
    """Shade norms by the largest of them; None where nothing was changed.

    Args:
        grid: Frobenius norm by linear and block; numbered linears (experts) are drawn as one.
    """
    grid = gathered(grid)
    finite = {
        (linear, block): norm
        for linear, row in grid.items()
        for block, norm in row.items()
        if math.isfinite(norm)
    }
    largest = max(finite, key=finite.__getitem__, default=("", -1))
    top = finite.get(largest, 0.0)
    if not top and len(finite) == sum(map(len, grid.values())):
        return None

    def cell(norm: float | None) -> Cell | None:
        if norm is None:
            return None
        return Cell(norm, norm / top if top else 0.0) if math.isfinite(norm) else Cell(None, None)

    blocks = sorted({block for row in grid.values() for block in row if block >= 0})
    lines = [
        Line(linear, [cell(row.get(block)) for block in blocks])
        for linear, row in grid.items()
        if row.keys() - {-1}
    ]
    outside = [Line(linear, [cell(row[-1])]) for linear, row in grid.items() if -1 in row]
    return HeatMap(blocks, lines, outside, math.hypot(*finite.values()), largest, top)
