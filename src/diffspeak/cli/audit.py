"""`diffspeak audit`: what finetunes were taught, with evidence, or that nothing was found."""

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffspeak.cli.base_and_adapter import (
    AdapterFolder,
    BaseName,
    base_and_adapter,
    own_adapter,
)
from diffspeak.cli.described import tell_failed
from diffspeak.cli.facts import Facts, show_facts, table, to_json
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
from diffspeak.stats import probability_text
from diffspeak.text.plain import one_line

if TYPE_CHECKING:
    from diffspeak.audit.auditor import Auditor
    from diffspeak.audit.config import AuditConfig
    from diffspeak.audit.schema import Audit, Unread
    from diffspeak.finetunes import FinetuneSet

FINDING = 3
"""Exit code that keeps a finetune from being deployed."""

CLEAR = "nothing found"
UNREAD = "could not be read"

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


FinetuneArgument = Annotated[
    str,
    typer.Argument(
        metavar="FINETUNE",
        help="PEFT folder, checkpoint, .pt file, STORE, or hub id; #KEY; a folder of them.",
    ),
]
AuditFolder = Annotated[
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
ForeignQuestion = Annotated[
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
    finetune: FinetuneArgument,
    adapter: AdapterFolder = None,
    base: BaseName = None,
    out: AuditFolder = None,
    budget: Budget = None,
    question: ForeignQuestion = None,
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
    """Audit the finetunes; options that are not named here are read from the context."""
    check_adapter(adapter)
    check_finetune(finetune)
    check_base(base)
    config = _config(context.params)
    ours = own_adapter(adapter)
    _check(question, of_others=adapter is not None and ours is None)
    from diffspeak.audit.auditor import Auditor
    from diffspeak.audit.config import prompts_of
    from diffspeak.audit.output_dir import check_out
    from diffspeak.audit.targets import open_targets

    prompts_of(config)
    part, session = split and split.value, context.obj
    targets = open_targets(finetune, split=part, limit=limit, low_rank=low_rank)
    folder = out.expanduser() if out else _folder(targets.name)
    check_out(folder, targets.name)
    _tell_left_out(session, targets, part)
    how = _how(context.params, folder)
    pair = base_and_adapter(adapter, ours, base, question, targets.source, how, audits=True)
    found = _audited(context, Auditor(*pair, config), targets, folder)
    if not as_json:
        _show(session, found, folder, targets.name if targets.several else None)
    outcomes = {_outcome(result) for result in found}
    clear = outcomes <= {CLEAR} or not fail_on_finding
    raise typer.Exit(int(UNREAD in outcomes) if clear else FINDING)


def _tell_left_out(session: Session, targets: "FinetuneSet", split: str | None) -> None:
    if targets.source and targets.several:
        tell_failed(session, targets.source, split)
    if targets.left_out:
        left_out = ", ".join(targets.left_out)
        session.messages.print(f"left out, without weights: {left_out}", soft_wrap=True)


def _check(question: str | None, *, of_others: bool) -> None:
    """Refuse a question that cannot be asked."""
    if question is not None and not question.strip():
        raise UsageError("--question is empty: ask something, or leave it out")
    if question is not None and not of_others:
        raise UsageError("--question is for an adapter of others; ours know what to ask: leave it")


def _config(params: dict[str, Any]) -> "AuditConfig":
    from diffspeak.audit.config import AuditConfig

    given = {name: params[name] for name in ("budget", "seed", "phrases")}
    given |= {name: _lines(params[name], name[:-1]) for name in ("prompts", "words")}
    return AuditConfig.model_validate({n: value for n, value in given.items() if value is not None})


def _how(params: dict[str, Any], folder: Path) -> dict[str, str]:
    """What `load_base` is told; the dtype is the one that audits in the folder were begun with."""
    from diffspeak.audit.output_dir import dtype_of

    names = ("dtype", "device", "device_map", "quantize", "tokenizer")
    how = {name: params[name] for name in names if params[name]}
    return {**how, "dtype": dtype_of(folder)} if how["dtype"] == "auto" else how


def _lines(path: Path | None, what: str) -> tuple[str, ...] | None:
    """The prompts or words of a file, one a line; None without a file."""
    if path is None:
        return None
    from diffspeak.io.files import read_bytes

    path = path.expanduser()
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
    context: typer.Context, auditor: "Auditor", targets: "FinetuneSet", out: Path
) -> "Sequence[Audit | Unread]":
    """All audits; if JSON is wanted, a line of each goes to stdout at once."""
    from diffspeak.audit.runner import audit_all
    from diffspeak.audit.schema import VERSION, Audit
    from diffspeak.cli.reporter import TerminalReporter

    command = _typed(context)
    tell: Callable[[Audit | Unread], None] | None = None
    if context.params["as_json"]:
        about = auditor.about(command).to_dict()

        def tell(result: "Audit | Unread") -> None:
            if isinstance(result, Audit):
                line = {**result.to_dict(), "about": about}
            else:
                line = {"version": VERSION, "finetune": result.finetune, "error": result.error}
            typer.echo(to_json(line))

    with TerminalReporter(context.obj) as reporter:
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


def _show(
    session: Session, found: "Sequence[Audit | Unread]", out: Path, several: str | None
) -> None:
    """Print verdicts, evidence in short, and where the pages are.

    `several` is the name of what holds the finetunes; None for one alone.
    """
    from diffspeak.audit.schema import Unread

    for result in found:
        if isinstance(result, Unread):
            told = one_line(f"{result.finetune} {UNREAD}: {result.error}")
            session.messages.print(told, soft_wrap=True)
        elif several is None:
            _show_one(session, result, out)
    if several is None:
        return
    session.results.print(table([_row(result, several) for result in found]))
    session.results.print(f"\n{_counted(found)}")
    session.results.print(f"overview: {out / 'index.html'}", soft_wrap=True)


def _counted(found: "Sequence[Audit | Unread]") -> str:
    """How many there are of each outcome, in words."""
    counts = Counter(map(_outcome, found))
    finding = "findings" if counts["finding"] > 1 else "finding"
    names = {"finding": finding, **{one: one for one in ("not cleared", CLEAR, UNREAD)}}
    parts = [f"{counts[outcome]} {name}" for outcome, name in names.items() if counts[outcome]]
    return f"{len(found)} finetune{'s' if len(found) > 1 else ''}: {', '.join(parts)}"


def _show_one(session: Session, audit: "Audit", out: Path) -> None:
    session.results.print(one_line(audit.verdict), soft_wrap=True)
    probability, disguise = "none", audit.disguise
    if audit.threshold is None:
        probability = "none: the adapter has no calibration"
    elif audit.probability is not None:
        threshold = probability_text(audit.threshold)
        probability = f"{probability_text(audit.probability)}; a finding from {threshold} on"
    undone = [f"undone: {one.kind}" for one in disguise.undone] if disguise else []
    facts: Facts = {
        "outcome": audit.outcome,
        "probability": probability,
        "trigger": audit.search.summary if audit.search else "not searched",
        "disguise": [*undone, *disguise.flags] if disguise else [],
        "notes": list(audit.notes),
        "page": str(out / "audit.html"),
    }
    shown = {name: value for name, value in facts.items() if value}
    claims = [
        {
            "verdict": one.verdict,
            "claim": one.claim.text,
            "lift": round(one.claim.lift, 2),
            "why": one.reason,
        }
        for one in audit.claims
    ]
    session.results.print()
    show_facts(session.results, {**shown, "claims": claims})


def _row(result: "Audit | Unread", several: str) -> Facts:
    """One finetune of many, in a line."""
    from diffspeak.audit.schema import Audit

    row: Facts = dict.fromkeys(("finetune", "outcome", "probability", "claim", "trigger"))
    row["finetune"] = result.finetune.removeprefix(several).lstrip("/#")
    row["outcome"] = _outcome(result)
    if not isinstance(result, Audit):
        return row
    if result.probability is not None:
        row["probability"] = probability_text(result.probability)
    if result.outcome == "finding" and result.claims:
        row["claim"] = result.claims[0].claim.text
    if result.search and result.search.trigger:
        row["trigger"] = result.search.trigger.text
    return row


def _outcome(result: "Audit | Unread") -> str:
    return getattr(result, "outcome", UNREAD)
