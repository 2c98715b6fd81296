"""`diffspeak describe`: have an adapter say what finetunes were taught."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffspeak.cli.described import print_described, tell_failed, tell_notes
from diffspeak.cli.facts import Facts, to_json
from diffspeak.cli.options import Device, DeviceMap, Dtype, Json, Limit, LowRank, Quantize, Split
from diffspeak.cli.session import Session
from diffspeak.errors import UsageError

if TYPE_CHECKING:
    from diffspeak.adapter import Adapter
    from diffspeak.finetunes import Finetune, Source
    from diffspeak.interpret import Description
    from diffspeak.models import Base

HELP = """Say what a finetune was taught.

FINETUNE is a PEFT adapter, a full checkpoint, a published .pt file or folder, a store, or a hub
id (ORG/NAME@REVISION:SUBFOLDER, or :FILE.pt) of any of them; #KEY behind it names one of many.

The adapter is put on base + finetune and asked its question. "logprob" is the answer's mean
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
  diffspeak describe my-checkpoint --adapter runs/adapter --low-rank 16
  diffspeak describe org/my-lora --adapter org/my-dit-adapter
"""

AdapterFolder = Annotated[
    str | None,
    typer.Option(
        "--adapter",
        metavar="ADAPTER",
        help="What `diffspeak adapter` wrote, a folder or hub id, or pocket:hidden-topic or "
        "pocket:news; with --base and --question also a LoRA of others, such as the paper's "
        "dit-adapter.pt. By default, on the pocket base, the one for what the finetune was taught.",
    ),
]
Question = Annotated[
    str | None, typer.Option("--question", help="By default the adapter's first question.")
]
BaseName = Annotated[
    str | None,
    typer.Option("--base", help="Hub id, folder or pocket; by default the one the adapter names."),
]


def describe(
    context: typer.Context,
    finetune: Annotated[
        str,
        typer.Argument(
            metavar="FINETUNE", help="PEFT folder, checkpoint, .pt file, STORE, or hub id; #KEY."
        ),
    ],
    adapter: AdapterFolder = None,
    base: BaseName = None,
    question: Question = None,
    split: Split = None,
    limit: Limit = None,
    low_rank: LowRank = None,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Longest description.")] = 64,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, help="0 takes the likeliest words.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="For a temperature above 0.")] = 0,
    dtype: Dtype = "auto",
    device: Device = "auto",
    device_map: DeviceMap = "none",
    quantize: Quantize = "none",
    as_json: Json = False,
) -> None:
    """Describe the finetunes."""
    _check(question, temperature)
    from diffspeak.finetunes import open_source
    from diffspeak.interpret import Interpreter
    from diffspeak.models import Decoding

    how = {"dtype": dtype, "device": device, "device_map": device_map, "quantize": quantize}
    part = split and split.value
    ours = _own(adapter)
    source = open_source(finetune, split=part, limit=limit, low_rank=low_rank)
    if "#" not in finetune:
        tell_failed(context.obj, source, part)
    if adapter is not None and ours is None:
        loaded, trained = _adopted(adapter, base, question, how)
    else:
        loaded, trained = _with_base(ours or _shipped(source, base), base, how)
    labels: dict[str, str | None] = {}
    with Interpreter(loaded, trained) as interpreter:
        noted = _noting(context.obj, source, loaded, labels)
        decoding = Decoding(tokens, temperature)
        described = interpreter.stream(noted, question, decoding, seed=seed)
        rows = _told(context.obj, described, len(source.keys), labels, as_json)
    if not as_json:
        print_described(context.obj, rows)


def _check(question: str | None, temperature: float) -> None:
    """Refuse what no adapter can be asked, before anything is opened."""
    if question is not None and not question.strip():
        raise UsageError("--question is empty: ask something, or leave it out")
    if not math.isfinite(temperature):
        raise UsageError(f"--temperature {temperature}: expected a finite number")


def _own(adapter: str | None) -> "Adapter | None":
    """The adapter that is named, unless none is, or one of others."""
    from diffspeak.adapter import is_adapter, load_adapter

    return None if adapter is None or not is_adapter(adapter) else load_adapter(adapter)


def _with_base(adapter: "Adapter", base: str | None, how: dict[str, str]) -> "tuple[Base, Adapter]":
    """An adapter of ours and its base, which it names itself if the user does not."""
    from diffspeak.models import load_base

    return load_base(base or base_name_of(adapter), **how), adapter


def _adopted(
    adapter: str, base: str | None, question: str | None, how: dict[str, str]
) -> "tuple[Base, Adapter]":
    """An adapter of others and its base: a LoRA that says neither, so that the user has to."""
    from diffspeak.adapter import load_adapter
    from diffspeak.models import load_base

    if not base or not question:
        raise UsageError(
            f"{adapter} is no adapter: it holds no diffspeak.json; if it is a LoRA that others "
            "trained to describe finetunes, say with --base and --question of what, and what to ask"
        )
    loaded = load_base(base, **how)
    return loaded, load_adapter(adapter, loaded, [question])


def _shipped(source: "Source", base: str | None) -> "Adapter":
    """The adapter that ships for what a source's finetunes were taught."""
    from diffspeak.adapter import load_adapter
    from diffspeak.finetunes import StoreSource
    from diffspeak.models.pocket import NAME, PREFIX

    named, taught = None, ["hidden-topic"]
    if isinstance(source, StoreSource):
        named = source.store.header.base.get("name")
        taught = sorted({entry.behavior for entry in source.entries})
    if (base or named) != NAME:
        raise UsageError(
            "missing option '--adapter': give the folder that `diffspeak adapter` wrote; only "
            f"finetunes of the pocket base (--base {NAME}) have adapters that ship with us"
        )
    if len(taught) > 1:
        raise UsageError(
            f"{source.name} holds finetunes of several behaviors ({', '.join(taught)}): say with "
            "--adapter which adapter to ask"
        )
    return load_adapter(f"{PREFIX}{taught[0]}")


def base_name_of(adapter: "Adapter") -> str:
    """The base that an adapter belongs to, as `load_base` takes it."""
    from diffspeak.models.pocket import NAME, part_of

    if part_of(adapter.name) is not None:
        return NAME
    name = Path(adapter.base_name)
    if name.is_absolute() and not name.exists():
        raise UsageError(
            f"the adapter's base {name} is no longer there: say where it is now with --base"
        )
    return adapter.base_name


def _noting(
    session: Session, source: "Source", base: "Base", labels: dict[str, str | None]
) -> "Iterator[Finetune]":
    """Read finetunes one after the other, keeping their labels, which the adapter is not to see."""
    for key in source.keys:
        finetune = source.read(key, base)
        labels[finetune.name] = finetune.label
        tell_notes(session, finetune)
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
