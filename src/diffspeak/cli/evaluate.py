"""`diffspeak evaluate`: try methods on the held-out finetunes of a store."""

from pathlib import Path
from typing import Annotated, Any

import typer

from diffspeak.cli.options import ConfigFile, Limit, Sets, SplitName
from diffspeak.cli.there import check_adapter, check_config, check_folder, check_stores

HELP = """Try methods on the held-out finetunes of a store, and score what they say.

DIT needs an adapter, weight-to-text a projection; all others need nothing but the finetunes: they
ask them questions, or look at what they lift. Who reads answers (--guesser) and who scores guesses
from 1 to 5 (--judge) is local by default and needs no network; LLMs are named as inspect-ai names
them, and need pip install 'diffspeak[judge]'.

OUT gets a table, a figure, every guess and report.html. What was guessed is kept: the same command
again, with another judge perhaps, costs nothing twice.

\b
Example:
  diffspeak evaluate study.toml --store runs/store --adapter runs/adapter --out runs/scores
  diffspeak evaluate study.toml --store runs/store --adapter runs/adapter --out runs/scores \\
    --method dit --method logit-lift --judge openai/gpt-4o-mini
"""

ProjectionFolder = Annotated[
    str | None,
    typer.Option("--projection", metavar="FOLDER", help="What `diffspeak weight-to-text` wrote."),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        help="dit, base-question, 20-questions, logit-lift, ...; all that can be tried by default. "
        "May be repeated.",
    ),
]


def evaluate(
    context: typer.Context,
    config: ConfigFile,
    store: Annotated[
        str, typer.Option("--store", metavar="STORE", help="Of the finetunes, a folder or URL.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Folder of the results, new or begun.")
    ],
    adapter: Annotated[
        str | None, typer.Option("--adapter", metavar="ADAPTER", help="For DIT.")
    ] = None,
    projection: ProjectionFolder = None,
    method: Methods = None,
    judge: Annotated[str, typer.Option("--judge", help="local, exact or an LLM.")] = "local",
    embedding: Annotated[
        str | None,
        typer.Option("--embedding", help="Sentence-transformers model of the local judge."),
    ] = None,
    guesser: Annotated[str, typer.Option("--guesser", help="local or an LLM.")] = "local",
    split: Annotated[SplitName, typer.Option("--split", help="Which.")] = SplitName.test,
    limit: Limit = None,
    sets: Sets = None,
) -> None:
    """Evaluate."""
    check_config(config)
    check_stores([store])
    check_adapter(adapter)
    check_folder(projection, "weight-to-text")
    from diffspeak.cli.facts import table
    from diffspeak.cli.stage import stage
    from diffspeak.experiments import run_experiments, write_report
    from diffspeak.experiments.bases import load_study_base
    from diffspeak.experiments.config import JudgeConfig
    from diffspeak.experiments.given import GivenWorkshop, experiment_on, methods_of
    from diffspeak.experiments.outcome import shown
    from diffspeak.experiments.study_read import load_config
    from diffspeak.io.files import read_json

    settings = load_config(config, sets or ())
    given = _given(store, adapter, projection)
    chosen = methods_of(settings, given, method or ())
    who = JudgeConfig(judge=judge, embedding=embedding, guesser=guesser)
    experiment = experiment_on(settings, given, chosen, who, split.value, limit)
    out = out.expanduser()
    with stage(context.obj, out, {"base": settings.base.model_dump(mode="json")}) as reporter:
        base = load_study_base(settings.base, out)
        workshop = GivenWorkshop(base, out, reporter, given)
        (page,) = run_experiments([experiment], out, reporter, workshop)
        report = write_report(out)
    context.obj.results.print(table(shown(read_json(page.with_suffix(".json"))["lines"])))
    context.obj.results.print(f"done: {report}", soft_wrap=True)


def _given(store: str, adapter: str | None, projection: str | None) -> Any:
    from diffspeak.adapters import load_adapter
    from diffspeak.experiments.given import Given
    from diffspeak.methods import load_projection
    from diffspeak.store import open_store

    return Given(
        open_store(store),
        None if adapter is None else load_adapter(adapter),
        None if projection is None else load_projection(projection),
    )
