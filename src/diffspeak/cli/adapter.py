"""`diffspeak adapter`: train the DIT adapter on stores."""

from pathlib import Path
from typing import Annotated

import typer

from diffspeak.cli.options import ConfigFile, Sets, Shrink
from diffspeak.cli.there import check_config, check_stores

HELP = """Train the DIT adapter on stores of finetunes.

It is one LoRA that makes any finetune of the base tell what it was taught. It learns from the
training split of one or several stores: base + finetune + adapter, asked the behavior's question,
has to answer with the finetune's label; only the adapter is trained. The validation split is
described now and then. What comes out is a PEFT LoRA folder with one further file,
diffspeak.json; peft loads it without diffspeak.

Of the config, [base] and [adapter] are used. Interrupted, the same command goes on from the last
checkpoint.

\b
Example:
  diffspeak adapter study.toml --store runs/store --out runs/adapter
"""


def adapter(
    context: typer.Context,
    config: ConfigFile,
    store: Annotated[
        list[str],
        typer.Option(
            "--store",
            metavar="STORE",
            help="Store to learn from, a folder or URL. May be repeated.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Folder of the adapter, new or begun.")
    ],
    sets: Sets = None,
    shrink: Shrink = False,
) -> None:
    """Train the adapter."""
    check_config(config)
    check_stores(store)
    from diffspeak.cli.facts import inline
    from diffspeak.cli.stage import stage
    from diffspeak.experiments.artifacts import load_study_base
    from diffspeak.experiments.config import ExperimentConfig
    from diffspeak.experiments.read import load_config, place_of
    from diffspeak.store import open_store
    from diffspeak.training import train_adapter

    settings = load_config(config, sets or (), ExperimentConfig, shrink=shrink)
    stores = [open_store(place_of(source, Path())) for source in store]
    used = settings.model_dump(mode="json", include={"base", "adapter"})
    used["stores"] = [opened.source for opened in stores]
    out = out.expanduser()
    with stage(context.obj, out, used) as reporter:
        base = load_study_base(settings.base, out)
        trained = train_adapter(base, stores, settings.adapter, out, reporter)
    context.obj.results.print(f"{out}: {inline(trained.results)}", soft_wrap=True)
