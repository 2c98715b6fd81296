"""Where a change of weights lies: Frobenius norms by block and linear, and a picture of them."""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from diffspeak.errors import UsageError
from diffspeak.finetunes.finetune import Finetune
from diffspeak.io.files import atomic_path
from diffspeak.lora import Diff
from diffspeak.models import Base, plain_tensors

Grid = dict[str, dict[int, float]]
"""Norm by linear (`self_attn.q_proj`) and block; what stands in no block has block -1."""

PICTURES = (".png", ".svg")
"""Endings of the names of files that can be drawn."""

_BLOCK = re.compile(r"(?P<before>.*?)\.(?P<block>\d+)\.(?P<linear>.+)")
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


def norms_of(finetune: Finetune, base: Base) -> Grid:
    """Frobenius norm of each change of a finetune.

    Args:
        finetune: Of a whole one, each matrix is compared with the base's; one that stands in two
            places (tied embeddings) counts in the first.
        base: Of the finetune.
    """
    if not finetune.whole:
        return norms_of_diff(finetune.diff)
    own = plain_tensors(base.model)
    once = {own[name].data_ptr(): name for name in reversed(finetune.parameters)}
    return _grid(
        (name.removesuffix(".weight"), float((tensor.double() - own[name].double().cpu()).norm()))
        for name, tensor in finetune.parameters.items()
        if tensor.dim() > 1 and once[own[name].data_ptr()] == name
    )


def norms_of_diff(diff: Diff) -> Grid:
    """Frobenius norm of each low-rank change."""
    return _grid((name, float(change.norm())) for name, change in diff.items())


def mean_norms(grids: Iterable[Grid]) -> Grid:
    """Root of the mean square over several changes; where one has none, it counts as zero."""
    found = list(grids)
    return _joined(((row, blocks) for grid in found for row, blocks in grid.items()), len(found))


def total_norm(grid: Grid) -> float:
    """Frobenius norm of all changes together."""
    return math.sqrt(sum(norm**2 for blocks in grid.values() for norm in blocks.values()))


def gathered(grid: Grid) -> Grid:
    """The same with numbered linears (`experts.3.up_proj`) as one, each number a star."""
    return _joined((_NUMBER.sub("*", linear), blocks) for linear, blocks in grid.items())


def _joined(rows: Iterable[tuple[str, Mapping[int, float]]], count: int = 1) -> Grid:
    """Rows of the same name as one: roots of the sums of squares, each over a count."""
    squares: Grid = {}
    for name, blocks in rows:
        row = squares.setdefault(name, {})
        for block, norm in blocks.items():
            row[block] = row.get(block, 0.0) + norm**2
    return {
        name: {block: math.sqrt(square / count) for block, square in sorted(row.items())}
        for name, row in squares.items()
    }


def check_picture(path: Path) -> None:
    """Refuse the name of a file that cannot be drawn.

    Raises:
        UsageError: It ends in none of `PICTURES`.
    """
    if path.suffix.lower() not in PICTURES:
        raise UsageError(f"{path} is no picture: give a name that ends in {' or '.join(PICTURES)}")


def plot_norms(path: Path, grids: Mapping[str, Grid]) -> None:
    """Draw a heat map for each of some changes, one below the other, each with its own scale.

    Args:
        path: A file of one of `PICTURES`.
        grids: By the name that stands above each; none is empty.

    Raises:
        UsageError: The file's name ends otherwise.
    """
    check_picture(path)
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
        axes.set(xlabel="block")
        # A path may hold dollar signs, which would begin a formula.
        axes.set_title(name, parse_math=False)
        figure.colorbar(picture, ax=axes, label="Frobenius norm")
    kind = path.suffix.lower().removeprefix(".")
    with atomic_path(path) as draft:
        # What an SVG file would say of itself holds the time.
        figure.savefig(draft, format=kind, metadata={"Date": None} if kind == "svg" else None)


def _grid(norms: Iterable[tuple[str, float]]) -> Grid:
    grid: Grid = {}
    for name, norm in norms:
        match = _BLOCK.fullmatch(name)
        linear, block = (match["linear"], int(match["block"])) if match else (name, -1)
        grid.setdefault(linear, {})[block] = norm
    return grid
