"""`diffspeak run`: a whole study."""

from pathlib import Path
from typing import Annotated

import typer

from diffspeak.cli.options import ConfigFile, Sets, Shrink

HELP = """Run a whole study: finetunes, adapter, evaluation.

The stages are those of `diffspeak diffs` and `diffspeak adapter`, followed by scores on finetunes
that the adapter never saw, with controls. All of it goes into one folder, with the resolved
config, library versions, metrics.jsonl and loss.png beside. Interrupted, the same command goes on.

\b
Example:
  diffspeak run study.toml --out runs/first
  diffspeak show runs/first
"""


def run(
    context: typer.Context,
    config: ConfigFile,
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Folder of the run, new or begun.")
    ],
    sets: Sets = None,
    shrink: Shrink = False,
) -> None:
    """Run the study."""
    from diffspeak.cli.stage import stage
    from diffspeak.study import load_config
    from diffspeak.study.run import run_study

    settings = load_config(config, sets or (), shrink=shrink)
    out = out.expanduser()
    with stage(context.obj, out, settings.model_dump(mode="json")) as reporter:
        made = run_study(settings, out, reporter)
    context.obj.results.print(f"done: {made}", soft_wrap=True)
