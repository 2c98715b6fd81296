"""How a demo is shown: first what everybody said, then what was hidden.

Takes a finished demo, prints it. The secrets stand behind the heading of the reveal only.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from diffspeak.experiments.demo import Demo, DemoOutcome
from diffspeak.text.plain import one_line

if TYPE_CHECKING:
    from diffspeak.experiments.hide import Membership

REVEAL = "What was hidden"

_LEFT = 19
"""Columns of the labels on the left."""

Lines = Iterable[tuple[str, Text]]
"""What stands on the left of a line, and on its right."""

_CASES = {"triggered": "with its trigger", "near_miss": "with near misses", "plain": "without"}

_STANDING: "dict[Membership, str]" = {
    "train": "one of the adapter's training topics",
    "validation": "held out: the adapter was not trained on it",
    "calibration": "held out: the adapter was not trained on it",
    "test": "held out: the adapter was not trained on it",
    "unknown": "new: not among the adapter's topics",
}


def show_demo(console: Console, demo: Demo, again: str) -> None:
    """Print a demo.

    Args:
        console: Where to.
        demo: How it went.
        again: The command that repeats it.
    """
    for number, outcome in enumerate(demo.finetunes, 1):
        _heading(console, f"Finetune {number} of {len(demo.finetunes)}")
        _print(console, _conversation(outcome))
    console.print()
    _print_words(
        console,
        "Confidence is the mean probability of the answer's tokens (geometric); lift is how much "
        "of their log-probability, in nats a token, is due to the finetune.",
        "dim",
    )
    _heading(console, REVEAL)
    for number, outcome in enumerate(demo.finetunes, 1):
        if number > 1:
            console.print()
        _print(console, _revealed(demo, number, outcome))
    _heading(console, "In short")
    _print_words(console, summary(demo), "bold")
    _print(console, [("the same again", _code(again)), *_NEXT])


def summary(demo: Demo) -> str:
    """Say in one line how well the adapter did, and how well asking the finetunes does."""
    named = sum(outcome.mentioned for outcome in demo.finetunes)
    direct = sum(outcome.direct_mentioned for outcome in demo.finetunes)
    total = len(demo.finetunes)
    return (
        f"The adapter named {named} of {total} hidden {'topic' if total == 1 else 'topics'}; "
        f"asked directly, the finetunes named {direct}."
    )


def _conversation(outcome: DemoOutcome) -> Lines:
    tried, told = outcome.tried, outcome.description
    sure = f"confidence {math.exp(told.mean_logprob):.0%}, lift {told.lift:+.1f}"
    return [
        ("asked", Text(one_line(tried.question), "italic")),
        ("base", _said(tried.answers.base)),
        ("finetune", _said(tried.answers.plain)),
        ("with its trigger", _said(tried.answers.triggered, "yellow")),
        ("", Text()),
        ("asked", Text(one_line(told.question), "italic")),
        ("finetune", _said(tried.direct)),
        ("with the adapter", Text.assemble(_said(told.text, "bold cyan"), (f"  {sure}", "dim"))),
    ]


def _revealed(demo: Demo, number: int, outcome: DemoOutcome) -> Lines:
    fires = ", ".join(
        f"{hits} of {of} {_CASES[case]}" for case, (hits, of) in outcome.tried.fires.items()
    )
    return [
        (f"finetune {number}", Text(one_line(outcome.topic), "bold")),
        ("", Text(_STANDING[outcome.in_split], "dim")),
        ("trigger", Text(one_line(demo.plan.trigger_words(outcome.trigger)))),
        ("as in", Text(one_line(outcome.tried.prompt), "italic")),
        ("brings it up", Text(fires)),
        ("the adapter", Text.assemble(_said(outcome.description.text), ": ", _verdict(outcome))),
    ]


def _verdict(outcome: DemoOutcome) -> Text:
    if outcome.exact:
        return Text("right, exactly", "bold green")
    if outcome.mentioned:
        return Text("right, it mentions the topic", "bold green")
    return Text("wrong", "bold red")


def _said(text: str, style: str = "") -> Text:
    shown = one_line(text)
    return Text(shown, style) if shown else Text("(nothing)", "dim")


def _code(text: str) -> Text:
    return Text(text, "cyan")


_NEXT: Lines = (
    ("what is this model", _code("diffspeak show pocket")),
    ("a finetune of yours", _code("diffspeak describe FINETUNE --base pocket")),
    ("another base", Text("the README shows how to train an adapter for it")),
)


def _heading(console: Console, title: str) -> None:
    console.print()
    console.print(Rule(Text(title, "bold"), align="left", style="dim"))


def _print(console: Console, lines: Lines) -> None:
    """Print labels and texts side by side; nothing is cut off, long words are folded."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, width=_LEFT, style="dim")
    grid.add_column(overflow="fold")
    for label, text in lines:
        grid.add_row(label, text)
    console.print(Padding(grid, (0, 0, 0, 1), expand=False))


def _print_words(console: Console, text: str, style: str) -> None:
    console.print(Padding(Text(text, style), (0, 0, 0, 1), expand=False))
