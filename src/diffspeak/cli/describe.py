"""`diffspeak describe`: have an adapter say what finetunes were taught."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from diffspeak.cli.base_and_adapter import (
    AdapterFolder,
    BaseName,
    base_and_adapter,
    own_adapter,
)
from diffspeak.cli.described import facts_of, print_described, tell_failed, tell_notes
from diffspeak.cli.facts import Facts, to_json
from diffspeak.cli.left_out import LeftOut
from diffspeak.cli.options import (
    Device,
    DeviceMap,
    Dtype,
    Json,
    Limit,
    LowRank,
    Quantize,
    Split,
    Tokenizer,
    check_temperature,
)
from diffspeak.cli.session import Session
from diffspeak.cli.there import check_adapter, check_base, check_finetune
from diffspeak.errors import UsageError

if TYPE_CHECKING:
    from diffspeak.finetunes import Finetune

HELP = """Say what a finetune was taught.

FINETUNE is a PEFT adapter, a full checkpoint, a published .pt file or folder, a store, or a hub
id (ORG/NAME@REVISION:SUBFOLDER, or :FILE.pt) of any of them; #KEY behind it names one of many.

The adapter is put on base + finetune and asked its question. "logprob" is the answer's mean
log-probability in nats a token; "lift" is how much of that is due to the finetune: the same
answer's figure on the base alone is subtracted. An adapter answers with confidence even where
nothing was changed, so look at the lift.

An adapter that `diffspeak calibrate` has calibrated does so itself. "probability", at even odds, is
that the finetune was taught something of what it knows; below a threshold with few false positives
the description is "nothing found". With --json the adapter's words are there all the same, as
"guess". A --question of your own is not calibrated, and has no probability.

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

Question = Annotated[
    str | None, typer.Option("--question", help="By default the adapter's first question.")
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
    tokenizer: Tokenizer = None,
    as_json: Json = False,
) -> None:
    """Describe the finetunes."""
    _check(question, temperature)
    check_adapter(adapter)
    check_finetune(finetune)
    check_base(base)
    from diffspeak.adapters import Interpreter
    from diffspeak.finetunes import open_source
    from diffspeak.models import Decoding

    how = {"dtype": dtype, "device": device, "device_map": device_map, "quantize": quantize}
    if tokenizer:
        how["tokenizer"] = tokenizer
    part = split and split.value
    ours = own_adapter(adapter)
    source = open_source(finetune, split=part, limit=limit, low_rank=low_rank)
    if "#" not in finetune:
        tell_failed(context.obj, source, part)
    loaded, trained = base_and_adapter(adapter, ours, base, question, source, how)
    left = LeftOut(context.obj, len(source.keys))
    with Interpreter(loaded, trained) as interpreter:
        noted = _noting(context.obj, left.read(source, loaded))
        decoding = Decoding(tokens, temperature)
        ask = partial(interpreter.describe, question=question, decoding=decoding, seed=seed)
        described = left.worked(noted, decoding.batch_size, ask, lambda told: told.finite)
        calibrated = trained.calibrations.describe is not None
        facts = (facts_of(told, one.label, calibrated) for one, told in described)
        rows = _told(context.obj, facts, len(source.keys), as_json)
    if rows and not as_json:
        print_described(context.obj, rows)
    left.end()


def _check(question: str | None, temperature: float) -> None:
    """Refuse what no adapter can be asked, before anything is opened."""
    if question is not None and not question.strip():
        raise UsageError("--question is empty: ask something, or leave it out")
    check_temperature(temperature)


def _noting(session: Session, finetunes: "Iterator[Finetune]") -> "Iterator[Finetune]":
    """Say of each finetune what a person should know about how it was read."""
    for finetune in finetunes:
        tell_notes(session, finetune)
        yield finetune


def _told(session: Session, described: Iterator[Facts], count: int, as_json: bool) -> list[Facts]:
    """Collect the descriptions, writing each at once if JSON is wanted."""
    from diffspeak.cli.reporter import TerminalReporter

    rows = []
    with TerminalReporter(session) as reporter:
        if count > 1:
            reporter.begin("describe", count, "finetunes")
        for facts in described:
            rows.append(facts)
            if as_json:
                typer.echo(to_json(facts))
            reporter.advance()
        reporter.end()
    return rows
