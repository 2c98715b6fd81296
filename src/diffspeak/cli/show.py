"""`diffspeak show`: say what something on disk is.

Tells by content what a path is, has its facts gathered, and prints them.
"""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from diffspeak.cli.facts import Facts, show_facts, to_json
from diffspeak.cli.options import Json, Limit
from diffspeak.cli.there import check_base, check_finetune, is_there
from diffspeak.errors import UsageError
from diffspeak.hub import hub_id

HELP = """Explain a store, finetune, adapter, run or model on disk.

\b
  STORE       behavior, base, counts by split and kind, mean losses and firing rates,
              first entries, failures
  STORE#ID    one finetune, whose checksums are verified
  FOLDER      an adapter, a projection of weight-to-text, a run (config, progress, last
              metrics), a PEFT adapter, the paper's published finetunes (also a .pt
              FILE), or a model (architecture, parameters, fingerprint, targets)
  pocket      the base that ships with us: the same as of a model, its corpus and
              its adapters, such as pocket:hidden-topic (a folder of that name is
              ./pocket)

With --weights, where its change of weights lies: Frobenius norms by block and linear, each with a
shade. Of a store, or other finetunes at once, the root mean square. A full checkpoint and a .pt
file need their base.

\b
Example:
  diffspeak show runs/store
  diffspeak show runs/store#tiramisu-9f2c1b7e
  diffspeak show pocket --export my-base
  diffspeak show my-lora --weights --figure norms.svg
  diffspeak show my-checkpoint --weights --base Qwen/Qwen3-4B
"""

Weights = Annotated[
    bool, typer.Option("--weights", help="Norms of its change by block and linear.")
]
Figure = Annotated[
    Path | None,
    typer.Option("--figure", metavar="FILE", help="Draw the norms: a heat map, .png or .svg."),
]
BaseName = Annotated[
    str | None,
    typer.Option("--base", help="For --weights: what was changed, if it does not say itself."),
]

_EXPECTED = "a store, STORE#ID, adapter, run or model is expected"


def show(
    context: typer.Context,
    anything: Annotated[
        str,
        typer.Argument(metavar="ANYTHING", help="A folder, STORE#ID, a store's URL, or pocket."),
    ],
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FOLDER",
            help="Write the pocket base there as an ordinary Hugging Face folder.",
        ),
    ] = None,
    weights: Weights = False,
    figure: Figure = None,
    base: BaseName = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Print what it is."""
    if weights:
        if export is not None:
            raise UsageError("--export writes the pocket base: leave it out with --weights")
        if not is_there(anything):
            check_finetune(anything)
        check_base(base)
        from diffspeak.cli.weights import Asked, show_weights

        show_weights(context.obj, Asked(anything, base, limit, figure, as_json))
        return
    options = {"--figure": figure, "--base": base, "--limit": limit}
    given = [option for option, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{given[0]} is for norms of weights: add --weights")
    exported = {} if export is None else _export(anything, export.expanduser())
    facts = facts_of(anything) | exported
    if as_json:
        typer.echo(to_json(facts))
    else:
        show_facts(context.obj.results, facts)


def _export(source: str, folder: Path) -> Facts:
    from diffspeak.models import pocket

    if source != pocket.NAME:
        raise UsageError(f"--export writes the pocket base: give {pocket.NAME}, not {source}")
    pocket.export_base(folder)
    return {"exported": str(folder)}


def facts_of(source: str) -> Facts:
    """Gather the facts of anything that can be shown.

    Raises:
        UsageError: There is nothing, or nothing that is known.
    """
    place, _, id = source.partition("#")
    if not is_there(source):
        of_hub = hub_id(place) is not None
        missing = f"{source} does not exist: {_EXPECTED}"
        raise UsageError(_of_the_hub(source, place) if of_hub else missing)
    from diffspeak.cli import show_folders, show_pocket, show_store
    from diffspeak.models import pocket
    from diffspeak.store.layout import MANIFEST

    if source == pocket.NAME:
        return show_pocket.pocket_facts()
    if (shipped := pocket.part_of(source)) is not None:
        return show_folders.adapter_facts(pocket.adapter_folder(shipped))
    folder = Path(place).expanduser()
    if id:
        return show_store.entry_facts(place, id)
    if "://" in place or (folder / MANIFEST).is_file():
        return show_store.store_facts(place)
    return _folder_facts(folder, source)


def _of_the_hub(source: str, place: str) -> str:
    """What to say of a folder that is not there, when it may have been meant as a hub id."""
    describe, fetch = (
        shlex.join(["diffspeak", *verb]) for verb in (("describe", source), ("fetch", place))
    )
    return (
        f"{source} does not exist: {_EXPECTED}; if it is a hub id, give `{describe}`, or "
        f"`{fetch}` and show the folder that it names"
    )


def _folder_facts(folder: Path, source: str) -> Facts:
    """The facts of what is no store: the first kind whose mark it bears."""
    from diffspeak.adapters.saved import CARD
    from diffspeak.cli import show_folders
    from diffspeak.finetunes import is_peft
    from diffspeak.finetunes.published import INDEX, is_published
    from diffspeak.methods.weight_to_text.saved import CARD as PROJECTION

    if is_published(folder):
        return show_folders.published_facts(str(folder))
    if not folder.is_dir():
        raise UsageError(f"{source} is a file; give its folder: {_EXPECTED}")
    kinds: list[tuple[bool, Callable[[Path], Facts]]] = [
        ((folder / CARD).is_file(), show_folders.adapter_facts),
        ((folder / PROJECTION).is_file(), show_folders.projection_facts),
        (is_peft(folder), show_folders.peft_facts),
        ((folder / INDEX).is_file(), lambda path: show_folders.published_facts(str(path))),
        (show_folders.is_run(folder), show_folders.run_facts),
        ((folder / "config.json").is_file(), show_folders.model_facts),
    ]
    for is_kind, facts in kinds:
        if is_kind:
            return facts(folder)
    raise UsageError(
        f"{source} is nothing that diffspeak knows: it holds no store.json, {CARD}, "
        "adapter_config.json, index.csv or config.json"
    )
