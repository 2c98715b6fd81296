"""`diffspeak run`: studies and tables of methods, from a config."""

from pathlib import Path
from typing import Annotated

import typer

from diffspeak.cli.options import ConfigFile, Sets, Shrink
from diffspeak.cli.there import check_config

HELP = """Run a config: finetunes, adapter, evaluation, tables.

A config with a [behavior] is a study: the stages of `diffspeak diffs` and `diffspeak adapter`,
followed by scores on finetunes that the adapter never saw, with controls. All of it goes into one
folder, with the resolved config, library versions, metrics.jsonl and loss.png beside. Interrupted,
the same command goes on.

A config with [[rows]] is a table of methods tried on held-out finetunes, with its figure. Each
store, adapter and projection that a row names is made by its settings, or opened where its path
says. A config that lists experiments runs them one after the other. Those that share a folder
share stores and adapters of the same name; report.html sums up all that is there.

\b
Example:
  diffspeak run study.toml --out runs/first
  diffspeak show runs/first
  diffspeak run configs/study/hidden-topic.toml --out runs/study
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
    """Run all of it."""
    check_config(config)
    from diffspeak.cli.stage import stage
    from diffspeak.experiments import load_experiments, run_experiments, write_report

    experiments = load_experiments(config, sets or (), shrink=shrink)
    out = out.expanduser()
    bound = {name: part for one in experiments for name, part in one.bound().items()}
    with stage(context.obj, out, bound) as reporter:
        pages = run_experiments(experiments, out, reporter)
        if any(experiment.rows for experiment in experiments):
            pages.append(write_report(out))
    for page in pages:
        context.obj.results.print(f"done: {page}", soft_wrap=True)
