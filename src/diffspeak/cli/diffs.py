"""`diffspeak diffs`: train the finetunes of a config into a store."""

from pathlib import Path
from typing import Annotated

import typer

from diffspeak.cli.options import ConfigFile, Sets, Shrink
from diffspeak.cli.there import check_config

HELP = """Train many finetunes of one base at once, into a store.

Each finetune is a LoRA of its own that is taught one item of the behavior. The base is held in
memory once; a group of diffs.tasks finetunes shares each pass through it. Afterwards each is
asked whether it shows its behavior, and only where it should. The store is a folder of
safetensors and JSON lines; a finetune whose loss was not finite is recorded there as failed.

Interrupted or killed, the same command goes on and ends with the same bytes. With larger items.*
it adds further finetunes.

\b
Example:
  diffspeak diffs study.toml --out runs/store
  diffspeak diffs study.toml --out runs/store --set diffs.rank=4 --set items.train=200
"""


def diffs(
    context: typer.Context,
    config: ConfigFile,
    out: Annotated[
        Path, typer.Option("--out", metavar="STORE", help="Folder of the store, new or begun.")
    ],
    sets: Sets = None,
    shrink: Shrink = False,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            min=1,
            help="Groups trained side by side on a CPU; as many as pay by default.",
        ),
    ] = None,
) -> None:
    """Train the finetunes."""
    check_config(config)
    from diffspeak.behaviors import make_behavior
    from diffspeak.cli.stage import stage
    from diffspeak.experiments import load_config
    from diffspeak.experiments.artifacts import load_study_base
    from diffspeak.training import train_diffs

    settings = load_config(config, sets or (), shrink=shrink)
    # Before the base, which takes longer to load: corpora may be faulty.
    behavior = make_behavior(settings.behavior)
    items = settings.items.choose(behavior.items())
    used = settings.model_dump(mode="json", include={"base", "behavior", "items", "diffs"})
    out = out.expanduser()
    with stage(context.obj, out, used, free=("items",)) as reporter:
        base = load_study_base(settings.base, out)
        store = train_diffs(
            base, behavior, items, settings.diffs, out, reporter, processes=processes
        )
    failed = sum(entry.kind == "failed" for entry in store.entries)
    context.obj.results.print(
        f"{out}: {len(store)} finetunes" + (f", {failed} of them failed" if failed else ""),
        soft_wrap=True,
    )
