"""Options that several verbs have, so that they read the same everywhere."""

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from diffspeak.errors import UsageError

ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="TOML file; docs/cli.md lists its keys.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help="Change a value of the config, for example diffs.rank=2. May be repeated.",
    ),
]
Shrink = Annotated[
    bool,
    typer.Option(
        "--shrink",
        help="A dry run: a small random base of the same architecture, few finetunes and steps.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to stdout and nothing else there.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Of several, at most so many.")]
LowRank = Annotated[
    int | None,
    typer.Option(
        "--low-rank",
        metavar="RANK",
        min=1,
        help="Of a full checkpoint, the best change of this rank.",
    ),
]


Dtype = Annotated[
    str, typer.Option("--dtype", help="The base computes in float32 or bfloat16; auto measures.")
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, ...; auto takes a GPU.")]
DeviceMap = Annotated[
    str, typer.Option("--device-map", help="auto spreads a large base over several GPUs.")
]
Quantize = Annotated[
    str, typer.Option("--quantize", help="nf4 holds the base's linears in four bits.")
]

Tokenizer = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        metavar="FINETUNE",
        help="Load the base with this tokenizer, and room for the tokens that it adds.",
    ),
]


LEAST = 1e-3
"""The lowest temperature above 0: what is divided by less has no likeliest word any more."""


def check_temperature(given: float) -> None:
    """Refuse a temperature that words cannot be drawn at.

    Raises:
        UsageError: It is not finite, or hardly more than 0.
    """
    if not math.isfinite(given):
        raise UsageError(f"--temperature {given}: expected a finite number")
    if 0 < given < LEAST:
        raise UsageError(f"--temperature {given}: expected 0, or {LEAST} and more")


class SplitName(StrEnum):
    """The splits, in the form that typer takes choices in."""

    train = "train"
    validation = "validation"
    calibration = "calibration"
    test = "test"


Split = Annotated[
    SplitName | None,
    typer.Option("--split", help="Of several, only train, validation, calibration or test."),
]
