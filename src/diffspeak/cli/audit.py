"""`diffspeak audit`: what finetunes were taught, with evidence, or that nothing was found."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffspeak.cli.audited import exit_code, show_audits, to_line
from diffspeak.cli.base_and_adapter import (
    AdapterFolder,
    BaseName,
    base_and_adapter,
    own_adapter,
)
from diffspeak.cli.described import tell_failed
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
)
from diffspeak.cli.session import Session
from diffspeak.cli.there import check_adapter, check_base, check_finetune
from diffspeak.errors import UsageError

if TYPE_CHECKING:
    from diffspeak.audit.auditor import Auditor
    from diffspeak.audit.config import AuditConfig
    from diffspeak.audit.result import Audit, Unread
    from diffspeak.finetunes import FinetuneSet

HELP = """Say what a finetune was taught, and with what evidence.

FINETUNE is anything that `diffspeak describe` opens, or a folder whose sub-folders and .pt files
are finetunes. What the adapter says of each is checked by what the finetune does; then it is
searched for what sets it off. "Nothing found" is an answer. Of a full checkpoint, disguises of
its weights are undone first.

A page with verdict, evidence and cost, audit.html, and the same as audit.json go into the folder
--out; of several finetunes each has its own folder there, and index.html is the overview. One that
cannot be read is reported, the others are audited. Interrupted, the same command goes on.

\b
Exit codes:
  0  every finetune was audited, whatever was found
  1  a finetune could not be read
  2  wrong usage
  3  with --fail-on-finding: a finetune is not "nothing found", or could not be read

\b
Example:
  diffspeak audit my-lora --adapter runs/adapter
  diffspeak audit loras/ --adapter runs/adapter --out audits --fail-on-finding
  diffspeak audit my-checkpoint --adapter runs/adapter --budget 0
  diffspeak audit runs/store --base pocket --split test --limit 5 --json
"""


Finetunes = Annotated[
    str,
    typer.Argument(
        metavar="FINETUNE",
        help="PEFT folder, checkpoint, .pt file, STORE, or hub id; #KEY; a folder of them.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FOLDER",
        help="New, empty, or begun by the same command; by default audit-NAME.",
    ),
]
Budget = Annotated[
    int | None,
    typer.Option(
        "--budget",
        min=0,
        metavar="ROWS",
        help="Most prompts that the search for a trigger reads for a finetune, 100000 if none "
        "is given; 0 skips it.",
    ),
]
Question = Annotated[
    str | None, typer.Option("--question", help="What to ask an adapter of others; ours know.")
]
Prompts = Annotated[
    Path | None,
    typer.Option(
        "--prompts",
        metavar="FILE",
        help="Ordinary prompts, one a line, on which behavior is looked at; by default ours.",
    ),
]
OwnWords = Annotated[
    Path | None,
    typer.Option(
        "--words",
        metavar="FILE",
        help="Words, one a line, the likeliest first, that are tried as triggers before ours.",
    ),
]
Phrases = Annotated[
    int,
    typer.Option(
        "--phrases",
        min=0,
        max=64,
        metavar="TOKENS",
        help="Search openings of so many tokens, too, along the gradient of the claim; 0 does not.",
    ),
]
Fail = Annotated[
    bool, typer.Option("--fail-on-finding", help="Exit code 3 unless all is read and all clear.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of all that is drawn.")]


def audit(
    context: typer.Context,
    finetune: Finetunes,
    adapter: AdapterFolder = None,
    base: BaseName = None,
    out: Out = None,
    budget: Budget = None,
    question: Question = None,
    prompts: Prompts = None,
    words: OwnWords = None,
    phrases: Phrases = 0,
    split: Split = None,
    limit: Limit = None,
    low_rank: LowRank = None,
    fail_on_finding: Fail = False,
    seed: Seed = 0,
    dtype: Dtype = "auto",
    device: Device = "auto",
    device_map: DeviceMap = "none",
    quantize: Quantize = "none",
    tokenizer: Tokenizer = None,
    as_json: Json = False,
) -> None:
    """Audit the finetunes."""
    check_adapter(adapter)
    check_finetune(finetune)
    check_base(base)
    config = _config(budget, seed, prompts, words, phrases)
    ours = own_adapter(adapter)
    _check(question, of_others=adapter is not None and ours is None)
    from diffspeak.audit.auditor import Auditor
    from diffspeak.audit.output_dir import check_out, dtype_of, is_for_audits
    from diffspeak.audit.prompts import prompts_of
    from diffspeak.finetunes import open_finetune_set

    prompts_of(config)
    part = split and split.value
    targets = open_finetune_set(
        finetune, split=part, limit=limit, low_rank=low_rank, skip=is_for_audits
    )
    folder = out.expanduser() if out else _folder(targets.name)
    check_out(folder, targets.name)
    if targets.source and targets.several:
        tell_failed(context.obj, targets.source, part)
    if targets.left_out:
        context.obj.messages.print(
            f"left out, without weights: {', '.join(targets.left_out)}", soft_wrap=True
        )
    dtype = dtype_of(folder) if dtype == "auto" else dtype
    how = {"dtype": dtype, "device": device, "device_map": device_map, "quantize": quantize}
    if tokenizer:
        how["tokenizer"] = tokenizer
    pair = base_and_adapter(adapter, ours, base, question, targets.source, how, audits=True)
    found = _audited(context, Auditor(*pair, config), targets, folder, as_json=as_json)
    if not as_json:
        show_audits(context.obj, found, folder, targets.name if targets.several else None)
    raise typer.Exit(exit_code(found, fail_on_finding=fail_on_finding))


def _check(question: str | None, *, of_others: bool) -> None:
    """Refuse a question that cannot be asked."""
    if question is None:
        return
    if not question.strip():
        raise UsageError("--question is empty: ask something, or leave it out")
    if not of_others:
        raise UsageError("--question is for an adapter of others; ours know what to ask: leave it")


def _config(
    budget: int | None, seed: int, prompts: Path | None, words: Path | None, phrases: int
) -> "AuditConfig":
    from diffspeak.audit.config import AuditConfig

    given: dict[str, Any] = {"seed": seed, "phrases": phrases}
    if budget is not None:
        given["budget"] = budget
    if prompts is not None:
        given["prompts"] = _lines(prompts.expanduser(), "prompt")
    if words is not None:
        given["words"] = _lines(words.expanduser(), "word")
    return AuditConfig(**given)


def _lines(path: Path, what: str) -> tuple[str, ...]:
    """The prompts or words of a file, one a line."""
    from diffspeak.io.files import read_bytes

    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text ({error}): give one {what} a line") from error
    lines = tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    if not lines:
        raise UsageError(f"{path} holds no {what}s: give one a line")
    return lines


def _folder(name: str) -> Path:
    """Where pages go if the user does not say."""
    from diffspeak.audit.output_dir import safe_names

    place, mark, key = name.partition("#")
    path = Path(place).expanduser()
    known = path.resolve().name if "://" not in place and path.exists() else place
    return Path(f"audit-{safe_names([known + mark + key])[0]}")


def _audited(
    context: typer.Context, auditor: "Auditor", targets: "FinetuneSet", out: Path, *, as_json: bool
) -> "Sequence[Audit | Unread]":
    """All audits, each written to stdout at once if JSON is wanted."""
    from diffspeak.audit.runner import audit_all
    from diffspeak.cli.reporter import TerminalReporter

    session: Session = context.obj
    command = _typed(context)
    tell: Callable[[Audit | Unread], None] | None = None
    if as_json:
        about = auditor.about(command).to_dict()

        def tell(result: "Audit | Unread") -> None:
            typer.echo(to_line(result, about))

    with TerminalReporter(session) as reporter:
        return audit_all(auditor, targets, out, reporter, command, tell)


def _typed(context: typer.Context) -> str:
    """The command, with what was given on the command line, and nothing else."""
    parts = ["diffspeak", str(context.info_name)]
    for param in context.command.params:
        source = context.get_parameter_source(str(param.name))
        if source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[str(param.name)]
        if param.param_type_name == "argument":
            parts.append(str(value))
        else:
            parts += [param.opts[0]] if value is True else [param.opts[0], str(value)]
    return shlex.join(parts)
