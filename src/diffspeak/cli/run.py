"""`diffspeak run`: a whole study."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from diffspeak.cli.options import ConfigFile, Sets, Shrink
from diffspeak.cli.session import Session
from diffspeak.cli.there import check_config
from diffspeak.errors import UsageError

HELP = """Run a whole study: finetunes, adapter, evaluation. Or experiments.

The stages are those of `diffspeak diffs` and `diffspeak adapter`, followed by scores on finetunes
that the adapter never saw, with controls. All of it goes into one folder, with the resolved
config, library versions, metrics.jsonl and loss.png beside. Interrupted, the same command goes on.

A config with [[rows]] is an experiment: a table of methods tried on held-out finetunes, with its
figure. One that lists experiments runs them one after the other. Those that share a folder share
stores and adapters of the same name; report.html sums up all that is there.

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
    """Run the study, or the experiments."""
    check_config(config)
    from diffspeak.cli.stage import stage
    from diffspeak.experiments import is_experiment
    from diffspeak.experiments.study_read import load_config
    from diffspeak.experiments.study_run import run_study

    if is_experiment(config):
        _experiments(context.obj, config, out.expanduser(), sets or (), shrink)
        return
    settings = load_config(config, sets or (), shrink=shrink)
    out = out.expanduser()
    with stage(context.obj, out, settings.model_dump(mode="json")) as reporter:
        made = run_study(settings, out, reporter)
    context.obj.results.print(f"done: {made}", soft_wrap=True)


def _experiments(
    session: Session, config: Path, out: Path, sets: Sequence[str], shrink: bool
) -> None:
    from diffspeak.cli.stage import stage
    from diffspeak.experiments import load_experiments, run_experiments, write_report

    if shrink:
        raise UsageError("--shrink is for studies: an experiment runs as it is")
    experiments = load_experiments(config, sets)
    base = {"base": experiments[0].base.model_dump(mode="json")}
    with stage(session, out, base) as reporter:
        pages = run_experiments(experiments, out, reporter)
        report = write_report(out)
    for page in [*pages, report]:
        session.results.print(f"done: {page}", soft_wrap=True)
