"""`diffspeak show --weights`: where changes of weights lie, as numbers, shades and a picture.

Takes what was typed, prints norms by block and linear. Opens a base only where a change is told by
nothing less. Knows nothing of how norms are computed and drawn.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from diffspeak.cli.facts import Facts, show_facts, table, to_json
from diffspeak.cli.session import Session
from diffspeak.errors import UsageError
from diffspeak.text.plain import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from diffspeak.finetunes import Finetune, Source
    from diffspeak.finetunes.norms import Grid
    from diffspeak.models import Base

SHADES = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
"""From nothing to the largest of a table."""


class Asked(NamedTuple):
    """What to show of weights.

    Attributes:
        source: Anything that `diffspeak describe` opens, or an adapter of ours.
        base: What it was made from, if it does not say so itself.
        limit: Of several, at most so many.
        figure: Where to draw it, if anywhere.
        as_json: Write JSON instead of a table.
    """

    source: str
    base: str | None = None
    limit: int | None = None
    figure: Path | None = None
    as_json: bool = False


def show_weights(session: Session, asked: Asked) -> None:
    """Print, and draw if asked to, the norms of a source's changes; of several their mean.

    Raises:
        UsageError: There is nothing, nothing that changes weights, or its base is not named.
        MismatchError: It was made from another base.
    """
    from diffspeak.finetunes import base_named
    from diffspeak.finetunes.norms import check_picture, gathered, mean_norms, total_norm

    if asked.figure:
        check_picture(asked.figure)
    source = _opened(asked)
    base = _base_of(source, asked.base)
    grids = list(_grids(session, source, base))
    grid = mean_norms(grids)
    facts: Facts = {
        "kind": "weight norms",
        "source": asked.source,
        "base": base.name if base else base_named(source),
        "finetunes": len(grids),
        "norm": total_norm(grid),
    }
    if asked.figure:
        _draw(asked.figure.expanduser(), asked.source, gathered(grid))
        facts["figure"] = str(asked.figure)
    if asked.as_json:
        typer.echo(to_json(facts | {"norms": _rows(grid)}))
        return
    show_facts(session.results, facts)
    mean = ", root mean square over the finetunes" if len(grids) > 1 else ""
    session.results.print(f"\nFrobenius norms{mean}" if grid else "\nno matrix is changed")
    _print(session.results, gathered(grid))


def _opened(asked: Asked) -> "Source":
    from diffspeak.finetunes import open_source
    from diffspeak.models.pocket import NAME, adapter_folder, part_of

    if asked.source == NAME:
        raise UsageError(f"{NAME} is a base, which changes nothing: give a finetune or an adapter")
    shipped = part_of(asked.source)
    # An adapter of ours is a PEFT LoRA, and opened as one.
    place = asked.source if shipped is None else str(adapter_folder(shipped))
    return open_source(place, limit=asked.limit)


def _base_of(source: "Source", named: str | None) -> "Base | None":
    """The base of a source, loaded if one was named or its changes cannot be told without."""
    from diffspeak.finetunes import base_named, load_named
    from diffspeak.models import load_base

    if named is None and not _needs_base(source):
        return None
    name = named or base_named(source)
    if name is None:
        raise UsageError(
            f"missing option '--base': {source.name} does not say what its base is, and its "
            "change cannot be told without"
        )
    # Float32 keeps the numbers of every checkpoint.
    how = {"dtype": "float32", "device": "cpu"}
    return load_base(named, **how) if named else load_named(name, source.name, **how)


def _needs_base(source: "Source") -> bool:
    from diffspeak.finetunes import StoreSource
    from diffspeak.finetunes.adapter_files import read_config, read_weights
    from diffspeak.finetunes.peft_format import modules_of, oddities
    from diffspeak.finetunes.sources import PeftSource

    if isinstance(source, StoreSource):
        return any(entry.kind == "full" for entry in source.entries)
    if isinstance(source, PeftSource):
        folder = source.place.path
        return bool(oddities(read_config(folder))) or modules_of(list(read_weights(folder))) is None
    return True


def _grids(session: Session, source: "Source", base: "Base | None") -> "Iterator[Grid]":
    """Norms of one finetune after the other, showing how far it is."""
    from diffspeak.cli.reporter import TerminalReporter
    from diffspeak.finetunes.norms import norms_of, norms_of_diff

    with TerminalReporter(session) as reporter:
        if len(source.keys) > 1:
            reporter.begin("weights", len(source.keys), "finetunes")
        for key in source.keys:
            finetune = _read(source, key, base)
            yield norms_of(finetune, base) if base else norms_of_diff(finetune.diff)
            reporter.advance()
        reporter.end()


def _read(source: "Source", key: str, base: "Base | None") -> "Finetune":
    from diffspeak.finetunes import Finetune, StoreSource, from_store, read_peft
    from diffspeak.finetunes.sources import PeftSource
    from diffspeak.models import check_base

    if base is not None:
        finetune = source.read(key, base)
        if finetune.base is not None:
            check_base(base.fingerprint, finetune.base, f"the finetune {finetune.name}")
        return finetune
    if isinstance(source, StoreSource):
        return from_store(source.store, source.store.find(key))
    assert isinstance(source, PeftSource)
    return Finetune(source.name, read_peft(source.place.path))


def _draw(path: Path, name: str, grid: "Grid") -> None:
    from diffspeak.finetunes.norms import plot_norms
    from diffspeak.io.files import make_folder

    if not grid:
        raise UsageError(f"{name} changes no matrix: there is nothing to draw")
    make_folder(path.parent)
    plot_norms(path, {one_line(name): grid})


def _rows(grid: "Grid") -> list[Facts]:
    """Each norm with where it stands; what is in no block has none."""
    return [
        {"linear": linear, "block": None if block < 0 else block, "norm": norm}
        for linear, blocks in grid.items()
        for block, norm in blocks.items()
    ]


def _print(console: "Console", grid: "Grid") -> None:
    """Blocks by linears, side by side as far as the terminal is wide, then what is in no block."""
    outside = {linear: blocks[-1] for linear, blocks in grid.items() if -1 in blocks}
    inside = {
        linear: {block: norm for block, norm in blocks.items() if block >= 0}
        for linear, blocks in grid.items()
        if max(blocks) >= 0
    }
    written = _Written([norm for blocks in grid.values() for norm in blocks.values()])
    for part in _parts(inside, written, console.width):
        console.print(_by_block({linear: inside[linear] for linear in part}, written))
    if outside:
        rows = [
            {"in no block": linear, "norm": written.shaded(norm)}
            for linear, norm in outside.items()
        ]
        console.print(table(rows))


class _Written:
    """Norms of one table as text: as many decimals as give the largest three digits."""

    def __init__(self, norms: Sequence[float]) -> None:
        self.largest = max((norm for norm in norms if math.isfinite(norm)), default=0.0)
        size = math.floor(math.log10(self.largest)) if self.largest > 0 else 0
        self.decimals = max(0, 2 - size)

    def shaded(self, norm: float) -> str:
        """A norm and its shade, a space for none; what is not there stays empty."""
        if math.isnan(norm):
            return ""
        share = min(1.0, norm / self.largest) if self.largest > 0 else 0.0
        return f"{norm:.{self.decimals}f}{SHADES[math.ceil(share * (len(SHADES) - 1))]}"


def _parts(grid: "Grid", written: _Written, width: int) -> Iterator[list[str]]:
    """Linears whose columns fit side by side."""
    widest = max((len(written.shaded(n)) for row in grid.values() for n in row.values()), default=0)
    part: list[str] = []
    left = 0
    for linear in grid:
        needed = 1 + max(widest, *map(len, one_line(linear).split(".")))
        if not part or needed > left:
            if part:
                yield part
            part, left = [], width - len("block")
        part.append(linear)
        left -= needed
    if part:
        yield part


def _by_block(grid: "Grid", written: _Written) -> object:
    from rich.table import Table
    from rich.text import Text

    made = Table(
        box=None, pad_edge=False, padding=(0, 1), collapse_padding=True, header_style="bold"
    )
    made.add_column("block", justify="right", vertical="bottom")
    for linear in grid:
        name = Text(one_line(linear).replace(".", "\n"))
        made.add_column(name, justify="right", no_wrap=True)
    for block in sorted({block for row in grid.values() for block in row}):
        cells = (written.shaded(row.get(block, math.nan)) for row in grid.values())
        made.add_row(str(block), *map(Text, cells))
    return made
