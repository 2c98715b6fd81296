"""Options that several verbs have, so that they read the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

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
Json = Annotated[bool, typer.Option("--json", help="Write JSON to stdout and nothing else there.")]
