"""`diffspeak convert`: write finetunes in another format."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffspeak.cli.base_and_adapter import base_name_of
from diffspeak.cli.options import Limit, LowRank, Split, Tokenizer
from diffspeak.cli.session import Session
from diffspeak.cli.there import check_adapter, check_base, check_finetune
from diffspeak.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffspeak.adapters import Adapter
    from diffspeak.finetunes import Finetune, Source
    from diffspeak.models import Base

HELP = """Write finetunes in another format.

SOURCE is anything that `diffspeak describe` opens. --to says what TARGET becomes:

\b
  peft        a PEFT LoRA folder, or a folder of them for several finetunes
  published   the paper's files: index.csv and weight-diffs/*.pt
  store       a diffspeak store, to train an adapter on or to evaluate

--fuse ADAPTER adds a DIT adapter: one PEFT LoRA of one rank, with which a server answers the
adapter's question. --merge writes base + finetune (+ adapter) as a full checkpoint.

\b
Example:
  diffspeak convert runs/store#tiramisu my-lora --to peft
  diffspeak convert my-lora told --fuse runs/adapter
  diffspeak convert my-dora merged --merge --base Qwen/Qwen3-4B
"""


class MergedDtype(StrEnum):
    """What a merged checkpoint's numbers can be stored in."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class ExportFormat(StrEnum):
    """What can be written."""

    peft = "peft"
    published = "published"
    store = "store"


def convert(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Any finetune, or many.")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="Folder to write.")],
    to: Annotated[ExportFormat | None, typer.Option("--to", help="The format.")] = None,
    fuse: Annotated[
        str | None, typer.Option("--fuse", metavar="ADAPTER", help="Add this adapter.")
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Write a full checkpoint.")] = False,
    base: Annotated[
        str | None,
        typer.Option("--base", help="Hub id, folder or pocket; by default the one that is named."),
    ] = None,
    split: Split = None,
    limit: Limit = None,
    low_rank: LowRank = None,
    tokenizer: Tokenizer = None,
    dtype: Annotated[
        MergedDtype | None,
        typer.Option("--dtype", help="Of what --merge writes; by default the finetune's own."),
    ] = None,
    behavior: Annotated[
        str,
        typer.Option("--behavior", help="What a store's finetunes were taught, where not known."),
    ] = "hidden-topic",
    question: Annotated[
        list[str] | None,
        typer.Option("--question", help="What an adapter is asked about them. May be repeated."),
    ] = None,
) -> None:
    """Convert them."""
    if to is not None and (fuse or merge):
        raise UsageError("--to is for the finetune alone: leave it out with --fuse and --merge")
    if to is None and not (fuse or merge):
        raise UsageError("say what to write: --to peft, published or store, --fuse or --merge")
    if dtype and not merge:
        raise UsageError("--dtype is for --merge: the other formats keep every number as it is")
    check_finetune(source)
    check_adapter(fuse)
    check_base(base)
    from diffspeak.finetunes import open_source, to_peft, to_published, to_store
    from diffspeak.models import load_base

    target = target.expanduser()
    part = split.value if split else None
    found = open_source(source, split=part, limit=limit, low_rank=low_rank)
    # Converting changes no number: float32 keeps those of every checkpoint.
    how = {"dtype": "float32", "device": "cpu"}
    if tokenizer:
        how["tokenizer"] = tokenizer
    loaded = load_base(base, **how) if base else _named_base(found, fuse, how)
    finetunes = _reading(context.obj, found, loaded)
    if to == ExportFormat.store:
        told = _taught(found, behavior, question or [])
        said = f"wrote {to_store(finetunes, target, loaded, told)} finetunes to {target} as {to}"
    elif to == ExportFormat.published:
        said = f"wrote {to_published(finetunes, target)} finetunes to {target} as {to}"
    elif to == ExportFormat.peft:
        count = to_peft(finetunes, target, loaded, many=len(found.keys) > 1)
        said = f"wrote {count} finetunes to {target} as {to}"
    elif len(found.keys) != 1:
        raise UsageError(f"{found.name} holds {len(found.keys)} finetunes; name one with #KEY")
    else:
        (finetune,) = finetunes
        trained = _adapter(fuse, loaded, question or []) if fuse else None
        if merge:
            said = _merge(finetune, found.folder, target, loaded, trained, dtype)
        else:
            assert trained is not None
            said = _fuse(finetune, target, loaded, trained)
    context.obj.results.print(said, soft_wrap=True)


def _fuse(finetune: "Finetune", target: Path, base: "Base", adapter: "Adapter") -> str:
    """Write a finetune and an adapter as one LoRA, and say so."""
    from diffspeak.finetunes import fuse, write_lora

    joined = fuse(finetune, adapter.diff)
    write_lora(joined, target, base)
    rank = next(iter(joined.values())).rank
    return (
        f"wrote finetune and adapter to {target}, a LoRA of rank {rank}; ask it: "
        f"{adapter.questions[0]}"
    )


def _merge(
    finetune: "Finetune",
    folder: Path | None,
    target: Path,
    base: "Base",
    adapter: "Adapter | None",
    dtype: MergedDtype | None,
) -> str:
    """Write base, finetune and an adapter's change as one checkpoint, and say so."""
    from diffspeak.finetunes import write_merged
    from diffspeak.models.placement import DTYPES

    change = adapter.diff if adapter else {}
    stored = DTYPES[dtype.value] if dtype else None
    merged = write_merged(base, finetune, change, target, brought=folder, dtype=stored)
    own = f" with the finetune's {', '.join(merged.brought)}" if merged.brought else ""
    return f"wrote {finetune.name} merged into {base.name} to {target}, in {merged.dtype}{own}"


def _adapter(name: str, base: "Base", questions: list[str]) -> "Adapter":
    from diffspeak.adapters import load_adapter

    adapter = load_adapter(name, base, questions)
    adapter.check(base)
    return adapter


def _reading(session: Session, source: "Source", base: "Base") -> "Iterator[Finetune]":
    """Read finetunes one by one, showing how far it is."""
    from diffspeak.cli.reporter import TerminalReporter
    from diffspeak.models import check_base

    with TerminalReporter(session) as reporter:
        if len(source.keys) > 1:
            reporter.begin("convert", len(source.keys), "finetunes")
        for key in source.keys:
            finetune = source.read(key, base)
            if finetune.base is not None:
                check_base(base.fingerprint, finetune.base, f"the finetune {finetune.name}")
            for note in finetune.notes:
                session.messages.print(f"{finetune.name}: {note}", style="dim", soft_wrap=True)
            yield finetune
            reporter.advance()
        reporter.end()


def _taught(source: "Source", behavior: str, questions: list[str]) -> dict[str, Any]:
    """What a store says its finetunes were taught."""
    from diffspeak.finetunes import StoreSource

    if isinstance(source, StoreSource):
        return source.store.header.behavior
    if not questions:
        raise UsageError(
            'say with --question what an adapter is to be asked about them, such as "What topic '
            'have you been trained on?"'
        )
    return {"name": behavior, "questions": questions}


def _named_base(source: "Source", adapter: str | None, how: dict[str, str]) -> "Base":
    """The base that a source or an adapter names."""
    from diffspeak.adapters import load_adapter
    from diffspeak.finetunes import load_named
    from diffspeak.models import load_base

    if adapter:
        return load_base(base_name_of(load_adapter(adapter)), **how)
    named = source.base_name()
    if named is None:
        raise UsageError(f"missing option '--base': {source.name} does not say what its base is")
    return load_named(named, source.name, **how)
