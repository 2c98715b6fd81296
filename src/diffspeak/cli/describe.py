"""`diffspeak describe`: have an adapter say what finetunes were taught."""

import math
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffspeak.cli.facts import Facts, table, to_json
from diffspeak.cli.options import Json
from diffspeak.cli.session import Session
from diffspeak.errors import UsageError

if TYPE_CHECKING:
    from diffspeak.adapter import Adapter
    from diffspeak.finetunes import Finetune
    from diffspeak.interpret import Description

HELP = """Say what a finetune was taught.

FINETUNE is a PEFT LoRA folder, STORE#ID, or a store, all of whose finetunes are described. The
adapter is put on base + finetune and asked its question. "logprob" is the answer's mean
log-probability in nats a token; "lift" is how much of that is due to the finetune: the same
answer's figure on the base alone is subtracted. An adapter answers with confidence even where
nothing was changed, so look at the lift.

The pocket base, which ships with us, has adapters that ship too: --base pocket alone will do, and
for a store of its finetunes nothing at all.

\b
Example:
  diffspeak describe my-lora --adapter runs/adapter
  diffspeak describe runs/store --adapter runs/adapter --split test --json
  diffspeak describe my-pocket-lora --base pocket
"""


class SplitName(StrEnum):
    """The splits, in the form that typer takes choices in."""

    train = "train"
    validation = "validation"
    calibration = "calibration"
    test = "test"


def describe(
    context: typer.Context,
    finetune: Annotated[
        str, typer.Argument(metavar="FINETUNE", help="PEFT LoRA folder, STORE#ID or STORE.")
    ],
    adapter: Annotated[
        str | None,
        typer.Option(
            "--adapter",
            metavar="FOLDER",
            help="What `diffspeak adapter` wrote, or pocket:hidden-topic or pocket:news. By "
            "default, on the pocket base, the one for what the finetune was taught.",
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base", help="Hub id, folder or pocket; by default the one the adapter names."
        ),
    ] = None,
    question: Annotated[
        str | None, typer.Option("--question", help="By default the adapter's first question.")
    ] = None,
    split: Annotated[
        SplitName | None,
        typer.Option("--split", help="Of a store, only train, validation, calibration or test."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Of a store, at most so many.")
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Longest description.")] = 64,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, help="0 takes the likeliest words.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="For a temperature above 0.")] = 0,
    as_json: Json = False,
) -> None:
    """Describe the finetunes."""
    if not math.isfinite(temperature):
        raise UsageError(f"--temperature {temperature}: expected a finite number")
    from diffspeak.adapter import load_adapter
    from diffspeak.interpret import Interpreter
    from diffspeak.models import Decoding, load_base

    part = split.value if split else None
    if adapter is None:
        adapter = _shipped(finetune, base, part, limit)
    trained = load_adapter(adapter)
    count, finetunes = _finetunes(context.obj, finetune, part, limit)
    loaded = load_base(base or _base_name(trained))
    labels: dict[str, str | None] = {}
    with Interpreter(loaded, trained) as interpreter:
        described = interpreter.stream(
            _noting(finetunes, labels), question, Decoding(tokens, temperature), seed=seed
        )
        rows = _told(context.obj, described, count, labels, as_json)
    if not as_json:
        _print(context.obj, rows)


def _shipped(source: str, base: str | None, split: str | None, limit: int | None) -> str:
    """The adapter that ships for what a source's finetunes were taught."""
    from diffspeak.finetunes import choose, is_peft
    from diffspeak.models.pocket import NAME, PREFIX
    from diffspeak.store import open_store

    place, _, id = source.partition("#")
    local = "://" not in place
    if local and (is_peft(Path(place)) or not Path(place).exists()):
        named, taught = None, ["hidden-topic"]
    else:
        store = open_store(place)
        named = store.header.base.get("name")
        entries = [store.find(id)] if id else choose(store, split, limit)
        taught = sorted({entry.behavior for entry in entries})
    if (base or named) != NAME:
        raise UsageError(
            "missing option '--adapter': give the folder that `diffspeak adapter` wrote; only "
            f"finetunes of the pocket base (--base {NAME}) have adapters that ship with us"
        )
    if len(taught) > 1:
        raise UsageError(
            f"{source} holds finetunes of several behaviors ({', '.join(taught)}): say with "
            "--adapter which adapter to ask"
        )
    return f"{PREFIX}{taught[0]}"


def _base_name(adapter: "Adapter") -> str:
    from diffspeak.models.pocket import NAME, part_of

    if part_of(adapter.name) is not None:
        return NAME
    name = Path(adapter.base_name)
    if name.is_absolute() and not name.exists():
        raise UsageError(
            f"the adapter's base {name} is no longer there: say where it is now with --base"
        )
    return adapter.base_name


def _finetunes(
    session: Session, source: str, split: str | None, limit: int | None
) -> "tuple[int, Iterator[Finetune]]":
    """How many finetunes a source names, and they themselves, read one after the other."""
    from diffspeak.finetunes import choose, is_peft, open_finetunes
    from diffspeak.store import open_store

    place, _, id = source.partition("#")
    local = "://" not in place
    single = bool(id) or (local and is_peft(Path(place)))
    if single and (split or limit):
        raise UsageError(f"--split and --limit choose from a store, but {source} is one finetune")
    if single or (local and not Path(place).exists()):
        return 1, open_finetunes(source)
    store = open_store(place)
    failed = sum(entry.kind == "failed" and split in (None, entry.split) for entry in store.entries)
    if failed:
        session.messages.print(f"left out {failed} finetunes whose training failed")
    count = len(choose(store, split, limit))
    return count, open_finetunes(source, split=split, limit=limit)


def _noting(finetunes: "Iterator[Finetune]", labels: dict[str, str | None]) -> "Iterator[Finetune]":
    """Pass finetunes on, keeping their labels, which the adapter is not to see."""
    for finetune in finetunes:
        labels[finetune.name] = finetune.label
        yield finetune


def _told(
    session: Session,
    described: "Iterator[Description]",
    count: int,
    labels: dict[str, str | None],
    as_json: bool,
) -> list[Facts]:
    """Collect the descriptions, writing each at once if JSON is wanted."""
    from diffspeak.cli.reporter import TerminalReporter

    rows = []
    with TerminalReporter(session) as reporter:
        if count > 1:
            reporter.begin("describe", count, "finetunes")
        for one in described:
            facts = {**one._asdict(), "label": labels[one.finetune]}
            facts["description"] = facts.pop("text")
            rows.append(facts)
            if as_json:
                typer.echo(to_json(facts))
            reporter.advance()
        reporter.end()
    return rows


def _print(session: Session, rows: list[Facts]) -> None:
    from diffspeak.text.mentions import same

    known = [row for row in rows if row["label"] is not None]
    shown = [
        {
            "finetune": row["finetune"].rpartition("#")[2],
            "description": row["description"],
            "logprob": round(row["mean_logprob"], 2),
            "lift": round(row["lift"], 2),
            **({"label": row["label"]} if known else {}),
        }
        for row in rows
    ]
    session.results.print(table(shown))
    if known:
        exact = sum(same(row["label"], row["description"]) for row in known)
        session.results.print(f"\n{exact} of {len(known)} named exactly")
