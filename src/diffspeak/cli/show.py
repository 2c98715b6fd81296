"""`diffspeak show`: say what something on disk is, and where changes of weights lie."""

import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffspeak.cli.facts import Facts, show_facts, table, to_json
from diffspeak.cli.options import Json, Limit
from diffspeak.cli.session import Session
from diffspeak.cli.there import check_base, check_finetune, is_there
from diffspeak.errors import UsageError
from diffspeak.hub import hub_id
from diffspeak.text.plain import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from diffspeak.finetunes import Source
    from diffspeak.finetunes.norms import Grid
    from diffspeak.models import Base

HELP = """Explain a store, finetune, adapter, run or model on disk.

\b
  STORE       behavior, base, counts by split and kind, mean losses and firing rates,
              first entries, failures
  STORE#ID    one finetune, whose checksums are verified
  FOLDER      an adapter, a projection of weight-to-text, a run (config, progress, last
              metrics), a PEFT adapter, the paper's published finetunes (also a .pt
              FILE), or a model (architecture, parameters, fingerprint, targets)
  pocket      the base that ships with us: the same as of a model, its corpus and
              its adapters, such as pocket:hidden-topic (a folder of that name is
              ./pocket)

With --weights, where its change of weights lies: Frobenius norms by block and linear, each with a
shade. Of a store, or other finetunes at once, the root mean square. A full checkpoint and a .pt
file need their base.

\b
Example:
  diffspeak show runs/store
  diffspeak show runs/store#tiramisu-9f2c1b7e
  diffspeak show pocket --export my-base
  diffspeak show my-lora --weights --figure norms.svg
  diffspeak show my-checkpoint --weights --base Qwen/Qwen3-4B
"""

SHADES = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
"""From nothing to the largest of a table."""

_EXPECTED = "a store, STORE#ID, adapter, run or model is expected"


def show(
    context: typer.Context,
    anything: Annotated[
        str,
        typer.Argument(metavar="ANYTHING", help="A folder, STORE#ID, a store's URL, or pocket."),
    ],
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FOLDER",
            help="Write the pocket base there as an ordinary Hugging Face folder.",
        ),
    ] = None,
    weights: Annotated[
        bool, typer.Option("--weights", help="Norms of its change by block and linear.")
    ] = False,
    figure: Annotated[
        Path | None,
        typer.Option("--figure", metavar="FILE", help="Draw the norms: a heat map, .png or .svg."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", help="For --weights: what was changed, if it does not say itself."),
    ] = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Print what it is."""
    if weights:
        if export is not None:
            raise UsageError("--export writes the pocket base: leave it out with --weights")
        if not is_there(anything):
            check_finetune(anything)
        check_base(base)
        _show_weights(context.obj, anything, base, limit, figure, as_json=as_json)
        return
    options = {"--figure": figure, "--base": base, "--limit": limit}
    given = [option for option, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{given[0]} is for norms of weights: add --weights")
    exported = {} if export is None else _export(anything, export.expanduser())
    facts = facts_of(anything) | exported
    if as_json:
        typer.echo(to_json(facts))
    else:
        show_facts(context.obj.results, facts)


def _export(source: str, folder: Path) -> Facts:
    from diffspeak.models import pocket

    if source != pocket.NAME:
        raise UsageError(f"--export writes the pocket base: give {pocket.NAME}, not {source}")
    pocket.export_base(folder)
    return {"exported": str(folder)}


def facts_of(source: str) -> Facts:
    """Gather the facts of anything that can be shown.

    Raises:
        UsageError: There is nothing, or nothing that is known.
    """
    place, _, id = source.partition("#")
    if not is_there(source):
        of_hub = hub_id(place) is not None
        missing = f"{source} does not exist: {_EXPECTED}"
        raise UsageError(_of_the_hub(source, place) if of_hub else missing)
    from diffspeak.cli import show_kinds
    from diffspeak.models import pocket

    if source == pocket.NAME:
        return show_kinds.pocket_facts()
    if (shipped := pocket.part_of(source)) is not None:
        return show_kinds.adapter_facts(pocket.adapter_folder(shipped))
    if id:
        return show_kinds.entry_facts(place, id)
    if "://" in place:
        return show_kinds.store_facts(place)
    path = Path(place).expanduser()
    found = show_kinds.facts_at(path)
    if found is None and not path.is_dir():
        raise UsageError(f"{source} is a file; give its folder: {_EXPECTED}")
    if found is None:
        raise UsageError(
            f"{source} is nothing that diffspeak knows: it holds no store.json, diffspeak.json, "
            "adapter_config.json, index.csv or config.json"
        )
    return found


def _of_the_hub(source: str, place: str) -> str:
    """What to say of a folder that is not there, when it may have been meant as a hub id."""
    describe, fetch = (
        shlex.join(["diffspeak", *verb]) for verb in (("describe", source), ("fetch", place))
    )
    return (
        f"{source} does not exist: {_EXPECTED}; if it is a hub id, give `{describe}`, or "
        f"`{fetch}` and show the folder that it names"
    )


def _show_weights(
    session: Session,
    name: str,
    base_name: str | None,
    limit: int | None,
    figure: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print, and draw if asked to, the norms of a source's changes; of several their mean.

    Raises:
        UsageError: There is nothing, nothing that changes weights, or its base is not named.
        MismatchError: It was made from another base.
    """
    from diffspeak.finetunes.norms import check_picture, gathered, mean_norms, total_norm

    if figure:
        check_picture(figure)
    source = _changes_of(name, limit)
    base = _base_of(source, base_name)
    grids = list(_grids(session, source, base))
    grid = mean_norms(grids)
    facts: Facts = {
        "kind": "weight norms",
        "source": name,
        "base": base.name if base else source.base_name(),
        "finetunes": len(grids),
        "norm": total_norm(grid),
    }
    if figure:
        _draw(figure.expanduser(), name, gathered(grid))
        facts["figure"] = str(figure)
    if as_json:
        # What is in no block has none.
        norms = [
            {"linear": linear, "block": None if block < 0 else block, "norm": norm}
            for linear, blocks in grid.items()
            for block, norm in blocks.items()
        ]
        typer.echo(to_json(facts | {"norms": norms}))
        return
    show_facts(session.results, facts)
    mean = ", root mean square over the finetunes" if len(grids) > 1 else ""
    session.results.print(f"\nFrobenius norms{mean}" if grid else "\nno matrix is changed")
    _print(session.results, gathered(grid))


def _changes_of(name: str, limit: int | None) -> "Source":
    from diffspeak.finetunes import open_source
    from diffspeak.models.pocket import NAME, adapter_folder, part_of

    if name == NAME:
        raise UsageError(f"{NAME} is a base, which changes nothing: give a finetune or an adapter")
    shipped = part_of(name)
    # An adapter of ours is a PEFT LoRA, and opened as one.
    return open_source(name if shipped is None else str(adapter_folder(shipped)), limit=limit)


def _base_of(source: "Source", named: str | None) -> "Base | None":
    """The base of a source, loaded if one was named or its changes cannot be told without."""
    from diffspeak.finetunes import load_named
    from diffspeak.models import load_base

    # Float32 keeps the numbers of every checkpoint.
    how = {"dtype": "float32", "device": "cpu"}
    if named is not None:
        return load_base(named, **how)
    if source.diff_without_base(source.keys[0]) is not None:
        return None
    name = source.base_name()
    if name is None:
        raise UsageError(
            f"missing option '--base': {source.name} does not say what its base is, and its "
            "change cannot be told without"
        )
    return load_named(name, source.name, **how)


def _grids(session: Session, source: "Source", base: "Base | None") -> "Iterator[Grid]":
    """Norms of one finetune after the other, showing how far it is."""
    from diffspeak.cli.reporter import TerminalReporter
    from diffspeak.finetunes.norms import norms_of, norms_of_diff
    from diffspeak.models import check_base as check_fingerprint

    with TerminalReporter(session) as reporter:
        if len(source.keys) > 1:
            reporter.begin("weights", len(source.keys), "finetunes")
        for key in source.keys:
            if base is None:
                yield norms_of_diff(source.diff_without_base(key) or {})
            else:
                finetune = source.read(key, base)
                if finetune.base is not None:
                    what = f"the finetune {finetune.name}"
                    check_fingerprint(base.fingerprint, finetune.base, what)
                yield norms_of(finetune, base)
            reporter.advance()
        reporter.end()


def _draw(path: Path, name: str, grid: "Grid") -> None:
    from diffspeak.finetunes.norms import plot_norms
    from diffspeak.io.files import make_folder

    if not grid:
        raise UsageError(f"{name} changes no matrix: there is nothing to draw")
    make_folder(path.parent)
    plot_norms(path, {one_line(name): grid})


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
