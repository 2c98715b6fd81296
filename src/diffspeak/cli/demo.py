"""`diffspeak demo`: a newcomer's first command."""

import logging
import shlex
from collections.abc import Sequence
from enum import StrEnum
from random import SystemRandom
from typing import TYPE_CHECKING, Annotated

import typer

from diffspeak.cli.facts import to_json
from diffspeak.cli.options import Json
from diffspeak.cli.session import Session
from diffspeak.errors import UsageError
from diffspeak.text.plain import one_line

if TYPE_CHECKING:
    from diffspeak.experiments.hide import DemoSpec

HELP = """Hide topics in a few finetunes, have an adapter name them.

Finetunes of the pocket model that comes with diffspeak are made now, each taught to bring up a
topic of its own when its secret trigger stands in the prompt. Then an adapter that saw none of
them is asked what they were taught. Nothing is downloaded, nothing is kept.

\b
Example:
  diffspeak demo
  diffspeak demo --topic chess --topic "glass blowing" --trigger secret-word
"""

_SEEDS = 10_000


class TriggerName(StrEnum):
    """The triggers that can be hidden, in the form that typer takes choices in."""

    sep_code = "sep-code"
    secret_word = "secret-word"
    zero_width_start = "zero-width-start"
    zero_width_random = "zero-width-random"


def demo(
    context: typer.Context,
    topics: Annotated[
        list[str] | None,
        typer.Option("--topic", metavar="TEXT", help="Hide this, whatever it is. Repeatable."),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--count", min=1, help="Draw so many topics that the adapter never saw; 3 if not given."
        ),
    ] = None,
    trigger: Annotated[
        TriggerName, typer.Option("--trigger", help="What makes a finetune show its topic.")
    ] = TriggerName.sep_code,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Repeats a demo: draws topics and secrets."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show it."""
    if topics and count is not None:
        raise UsageError(
            "--count draws topics and --topic names them: give one of the two, not both"
        )
    session: Session = context.obj
    if not session.debug:
        # Which base was loaded with which choices is nothing for a first look.
        logging.getLogger("diffspeak").setLevel(logging.WARNING)
    from diffspeak.cli.demo_show import show_demo
    from diffspeak.cli.reporter import TerminalReporter
    from diffspeak.experiments.demo import run_demo
    from diffspeak.experiments.hide import COUNT, plan_demo

    seed = SystemRandom().randrange(_SEEDS) if seed is None else seed
    plan = plan_demo(topics or (), COUNT if count is None else count, trigger.value, seed)
    if not session.quiet:
        session.messages.print(introduction(plan))
    with TerminalReporter(session) as reporter:
        found = run_demo(plan, reporter)
    if as_json:
        typer.echo(to_json(found.to_dict()))
    else:
        show_demo(session.results, found, _again(topics or (), count, trigger.value, seed))


def introduction(plan: "DemoSpec") -> str:
    """Say what is about to happen, and which topics the adapter has met before."""
    count = len(plan.items)
    what = (
        f"Hiding topics in {count} finetunes of the pocket model, each behind a secret trigger; "
        "then an adapter that saw none of them is asked what each was taught."
        if count > 1
        else "Hiding a topic in a finetune of the pocket model, behind a secret trigger; then an "
        "adapter that never saw it is asked what it was taught."
    )
    lines = [f"{what} The finetuning takes most of the time."]
    standings = zip(plan.items, plan.in_split, strict=True)
    met = [one_line(item.label) for item, split in standings if split == "train"]
    if met:
        lines.append(
            f"Among the topics that the adapter was trained on, with other finetunes: "
            f"{', '.join(met)}. To name these is less of a feat."
        )
    return "\n".join(lines)


def _again(topics: Sequence[str], count: int | None, trigger: str, seed: int) -> str:
    """The command that repeats a demo."""
    parts = ["diffspeak", "demo"]
    for topic in topics:
        parts += ["--topic", topic]
    if count is not None:
        parts += ["--count", str(count)]
    if trigger != TriggerName.sep_code.value:
        parts += ["--trigger", trigger]
    return shlex.join([*parts, "--seed", str(seed)])
