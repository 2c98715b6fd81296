"""`diffspeak evaluate`: try methods on the held-out finetunes of a store."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffspeak.cli.options import ConfigFile, Limit, Sets, SplitName
from diffspeak.cli.there import check_adapter, check_config, check_folder, check_stores
from diffspeak.errors import UsageError

if TYPE_CHECKING:
    from diffspeak.behaviors import BehaviorConfig
    from diffspeak.experiments import ExperimentConfig, JudgeConfig, StudyConfig

GIVEN = "given"
"""The name of store, adapter and projection."""

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
    from diffspeak.experiments import JudgeConfig, load_config, run_experiments, write_report
    from diffspeak.experiments.read import place_of
    from diffspeak.experiments.results import shown
    from diffspeak.io.files import read_json

    who = JudgeConfig(judge=judge, embedding=embedding, guesser=guesser)
    settings = load_config(config, sets or ())
    given = {"stores": store, "adapters": adapter, "projections": projection}
    paths = {section: place_of(path, Path()) for section, path in given.items() if path}
    experiment = _experiment(settings, paths, method or (), who, split.value, limit)
    out = out.expanduser()
    with stage(context.obj, out, experiment.bound()) as reporter:
        (page,) = run_experiments([experiment], out, reporter)
        report = write_report(out)
    context.obj.results.print(table(shown(read_json(page.with_suffix(".json"))["lines"])))
    context.obj.results.print(f"done: {report}", soft_wrap=True)


def _experiment(
    settings: "StudyConfig",
    paths: Mapping[str, str],
    names: Sequence[str],
    judge: "JudgeConfig",
    split: str,
    limit: int | None,
) -> "ExperimentConfig":
    """A table with a row for each method, on what is there already."""
    from diffspeak.experiments import ExperimentConfig
    from diffspeak.experiments.config import NEEDS
    from diffspeak.store import open_store

    behavior = settings.behavior
    reference = any(entry.split == "train" for entry in open_store(paths["stores"]).entries)
    made: dict[str, Any] = {section: {GIVEN: {"path": path}} for section, path in paths.items()}
    made["stores"][GIVEN]["behavior"] = behavior
    rows = [
        {
            "name": method.replace("-with-", ", with ").replace("-", " "),
            "test": GIVEN,
            "method": method,
            "adapter": GIVEN if method in NEEDS else None,
            "reference": GIVEN if reference and method.startswith("logit-lift") else None,
            "split": split,
            "limit": limit,
        }
        for method in _methods(behavior, paths, names)
    ]
    return ExperimentConfig.model_validate(
        {
            "name": "evaluation",
            "title": f"{behavior.name}, trigger {behavior.trigger}: every method",
            "base": settings.base,
            "evaluate": settings.evaluate,
            "judge": judge,
            "rows": rows,
            **made,
        }
    )


def _methods(
    behavior: "BehaviorConfig", paths: Mapping[str, str], names: Sequence[str]
) -> list[str]:
    """The methods of these names, or every method that can be tried with what is there."""
    from diffspeak.experiments.config import METHODS
    from diffspeak.experiments.config_errors import meant

    lacking = {
        method: f"it needs one, give --{option}"
        for method, option in (("dit", "adapter"), ("weight-to-text", "projection"))
        if f"{option}s" not in paths
    }
    if behavior.name != "news":
        lacking["generated-story"] = "the finetunes were not taught news"
    if behavior.trigger == "none":
        lacking |= {name: "the finetunes have no trigger" for name in METHODS if "-with-" in name}
    for name in names:
        if name not in METHODS:
            raise UsageError(f"there is no method {name!r}: {meant(name, METHODS)}")
        if name in lacking:
            raise UsageError(f"{name} cannot be tried: {lacking[name]}")
    return list(names) or [name for name in METHODS if name not in lacking]
