"""`diffspeak calibrate`: find out how far an adapter can be believed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffspeak.cli.options import Device, Dtype, SplitName
from diffspeak.cli.there import check_base, check_stores
from diffspeak.errors import UsageError

if TYPE_CHECKING:
    from diffspeak.adapters import Adapter
    from diffspeak.finetunes import Finetune
    from diffspeak.store import Store

HELP = """Calibrate an adapter: from when on is what it says more than a guess?

ADAPTER is the folder that `diffspeak adapter` wrote. Each STORE holds finetunes that it never saw:
those of behaviors that it was trained to tell are positives; all others, such as ordinary
finetunes, are negatives of a kind. Random and shuffled changes are made of the positives. At least
20 of each kind are needed, some hundred are good: of n negatives of a kind so few may lie above the
threshold that another one does with a chance of 0.5%, or of 1 in n + 1 if n is below 199.

What comes out is calibration.json in the adapter's folder, with two calibrations: by how much
likelier the finetune makes a description, with which `diffspeak describe` says "nothing found"
instead of guessing, and by that with what the finetune does, for `diffspeak audit`. Each gives a
probability at even odds, and a threshold whose false positives were counted. What was measured is
kept in calibration.jsonl: interrupted, the same command goes on.

\b
Example:
  diffspeak calibrate runs/adapter --store runs/topics --store runs/ordinary
"""

KEPT = "calibration.jsonl"


def calibrate(
    context: typer.Context,
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="Folder of the adapter.")],
    store: Annotated[
        list[str],
        typer.Option("--store", metavar="STORE", help="Finetunes, a folder or URL; repeated."),
    ],
    split: Annotated[
        SplitName, typer.Option("--split", help="Which finetunes of the stores.")
    ] = SplitName.calibration,
    base: Annotated[
        str | None, typer.Option("--base", help="By default the one the adapter names.")
    ] = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
) -> None:
    """Calibrate the adapter."""
    folder = adapter.expanduser()
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: give the one that `diffspeak adapter` wrote")
    check_stores(store)
    check_base(base)
    from diffspeak.adapters import load_adapter, save_calibrations
    from diffspeak.audit.calibrate import calibrated
    from diffspeak.cli.base_and_adapter import base_name_of
    from diffspeak.cli.facts import table
    from diffspeak.cli.reporter import TerminalReporter
    from diffspeak.io.files import exclusive
    from diffspeak.models import load_base
    from diffspeak.store import open_store

    trained = load_adapter(folder)
    positives, negatives = _sorted(trained, [open_store(source) for source in store], split.value)
    loaded = load_base(base or base_name_of(trained), dtype=dtype, device=device)
    with exclusive(folder / ".lock"), TerminalReporter(context.obj) as reporter:
        made = calibrated(
            loaded, trained, positives, negatives, kept=folder / KEPT, reporter=reporter
        ).calibrations
        save_calibrations(folder, trained.diff, made)
    rows = []
    for name in ("describe", "audit"):
        calibration = getattr(made, name)
        for kind, found, n in calibration.counted:
            rows.append({"for": name, "finetunes": kind, "called something": f"{found} of {n}"})
    context.obj.results.print(table(rows))
    context.obj.results.print(f"\ndone: {folder}", soft_wrap=True)


def _sorted(
    adapter: "Adapter", stores: "Sequence[Store]", split: str
) -> "tuple[list[Finetune], dict[str, list[Finetune]]]":
    """Finetunes that were taught what the adapter tells, and the others by behavior."""
    from diffspeak.adapters import NOTHING_TAUGHT
    from diffspeak.finetunes import choose, from_store

    known = [name for name in adapter.behaviors if name != NOTHING_TAUGHT]
    positives: list[Finetune] = []
    negatives: dict[str, list[Finetune]] = {}
    for store in stores:
        name = str(store.header.behavior["name"])
        found = [from_store(store, entry) for entry in choose(store, split)]
        (positives if name in known else negatives.setdefault(name, [])).extend(found)
    if not positives:
        raise UsageError(
            f"no finetune of the split '{split}' was taught what {adapter.name} tells "
            f"({', '.join(known) or 'nothing'}): give a --store of them, or another --split"
        )
    return positives, negatives
