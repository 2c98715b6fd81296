"""Where a change of weights lies: its size by block and linear, as numbers and as a picture.

Takes finetunes and adapters, gives Frobenius norms. Knows nothing of what the changes do.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from diffspeak.files import atomic_path
from diffspeak.finetunes import Finetune
from diffspeak.lora import Diff
from diffspeak.models import Base, plain_tensors

Grid = dict[str, dict[int, float]]
"""Norm by linear (`self_attn.q_proj`) and block; what stands in no block has block -1."""

_BLOCK = re.compile(r"(?P<before>.*?)\.(?P<block>\d+)\.(?P<linear>.+)")


def norms_of(finetune: Finetune, base: Base) -> Grid:
    """Frobenius norm of each change of a finetune.

    Args:
        finetune: Of a whole one, each matrix is compared with the base's.
        base: Of the finetune.
    """
    if not finetune.whole:
        return norms_of_diff(finetune.diff)
    own = plain_tensors(base.model)
    return _grid(
        (name.removesuffix(".weight"), float((tensor.double() - own[name].double().cpu()).norm()))
        for name, tensor in finetune.parameters.items()
        if tensor.dim() > 1
    )


def norms_of_diff(diff: Diff) -> Grid:
    """Frobenius norm of each low-rank change."""
    return _grid((name, float(change.norm())) for name, change in diff.items())


def mean_norms(grids: Iterable[Grid]) -> Grid:
    """Root of the mean square over several changes; where one has none, it counts as zero."""
    found = list(grids)
    sums: Grid = {}
    for grid in found:
        for linear, blocks in grid.items():
            for block, norm in blocks.items():
                row = sums.setdefault(linear, {})
                row[block] = row.get(block, 0.0) + norm**2
    return {
        linear: {block: (total / len(found)) ** 0.5 for block, total in sorted(blocks.items())}
        for linear, blocks in sums.items()
    }


def plot_norms(path: Path, grids: Mapping[str, Grid]) -> None:
    """Draw a heat map for each of some changes, one below the other, each with its own scale.

    Args:
        path: A PNG file.
        grids: By the name that stands above each.
    """
    from matplotlib.figure import Figure

    heights = [max(2.0, 0.28 * len(grid) + 1.0) for grid in grids.values()]
    figure = Figure(figsize=(8, sum(heights)), layout="constrained", dpi=130)
    rows = figure.subplots(len(grids), squeeze=False, height_ratios=heights)[:, 0]
    for axes, (name, grid) in zip(rows, grids.items(), strict=True):
        blocks = sorted({block for row in grid.values() for block in row})
        cells = [[row.get(block, float("nan")) for block in blocks] for row in grid.values()]
        picture = axes.imshow(cells, aspect="auto", cmap="Blues", vmin=0)
        axes.set_yticks(range(len(grid)), list(grid))
        step = max(1, len(blocks) // 16)
        shown = list(range(0, len(blocks), step))
        axes.set_xticks(shown, ["-" if blocks[i] < 0 else str(blocks[i]) for i in shown])
        axes.set(xlabel="block", title=name)
        figure.colorbar(picture, ax=axes, label="Frobenius norm")
    with atomic_path(path) as draft:
        figure.savefig(draft, format="png")


def _grid(norms: Iterable[tuple[str, float]]) -> Grid:
    grid: Grid = {}
    for name, norm in norms:
        match = _BLOCK.fullmatch(name)
        linear, block = (match["linear"], int(match["block"])) if match else (name, -1)
        grid.setdefault(linear, {})[block] = norm
    return grid
