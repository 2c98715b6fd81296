"""The adapter that a verb asks and the base it belongs to, from what the user said of them.

Takes options, gives both, loaded. Knows nothing of what the adapter is asked for.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffspeak.errors import UsageError

if TYPE_CHECKING:
    from diffspeak.adapters import Adapter
    from diffspeak.finetunes import Source
    from diffspeak.models import Base

AdapterFolder = Annotated[
    str | None,
    typer.Option(
        "--adapter",
        metavar="ADAPTER",
        help="What `diffspeak adapter` wrote, a folder or hub id, or pocket:hidden-topic or "
        "pocket:news; with --base and --question also a LoRA of others, such as the paper's "
        "dit-adapter.pt. By default, on the pocket base, the one for what the finetune was taught.",
    ),
]
BaseName = Annotated[
    str | None,
    typer.Option("--base", help="Hub id, folder or pocket; by default the one the adapter names."),
]


def own_adapter(adapter: str | None) -> "Adapter | None":
    """The adapter of ours that is named; None if none is, or one of others."""
    from diffspeak.adapters import is_adapter, load_adapter

    return None if adapter is None or not is_adapter(adapter) else load_adapter(adapter)


def base_and_adapter(
    named: str | None,
    ours: "Adapter | None",
    base: str | None,
    question: str | None,
    source: "Source | None",
    how: dict[str, str],
    *,
    audits: bool = False,
) -> "tuple[Base, Adapter]":
    """Load the base, and give it with the adapter.

    Args:
        named: The adapter as typed.
        ours: What `own_adapter` gave for it.
        base: As typed; an adapter of ours names its own.
        question: For an adapter of others.
        source: Of the finetunes; where no adapter is named, it may tell which one ships for them.
        how: What `load_base` is told.
        audits: Whether the adapter that ships for audits will do where it can.

    Raises:
        UsageError: Something is missing, or there is no such base or adapter.
        MismatchError: They do not belong together.
    """
    if named is not None and ours is None:
        return _adopted(named, base, question, how)
    from diffspeak.models import load_base

    adapter = ours or _shipped(source, base, audits=audits)
    return load_base(base or base_name_of(adapter), **how), adapter


def _adopted(
    adapter: str, base: str | None, question: str | None, how: dict[str, str]
) -> "tuple[Base, Adapter]":
    """An adapter of others and its base: a LoRA that says neither, so that the user has to."""
    from diffspeak.adapters import load_adapter
    from diffspeak.models import load_base

    if not base or not question:
        raise UsageError(
            f"{adapter} is no adapter: it holds no diffspeak.json; if it is a LoRA that others "
            "trained to describe finetunes, say with --base and --question of what, and what to ask"
        )
    loaded = load_base(base, **how)
    return loaded, load_adapter(adapter, loaded, [question])


def _shipped(source: "Source | None", base: str | None, *, audits: bool) -> "Adapter":
    """The adapter that ships for what a source's finetunes were taught."""
    from diffspeak.adapters import load_adapter
    from diffspeak.finetunes import StoreSource
    from diffspeak.models.pocket import AUDIT, NAME, PREFIX

    named, taught = None, ["hidden-topic"]
    if isinstance(source, StoreSource):
        named = source.store.header.base.get("name")
        taught = sorted({entry.behavior for entry in source.entries})
    if (base or named) != NAME:
        raise UsageError(
            "missing option '--adapter': give the folder that `diffspeak adapter` wrote; only "
            f"finetunes of the pocket base (--base {NAME}) have adapters that ship with us"
        )
    if audits and taught != ["news"]:
        return load_adapter(f"{PREFIX}{AUDIT}")
    if len(taught) > 1:
        raise UsageError(
            f"these are finetunes of several behaviors ({', '.join(taught)}): say with --adapter "
            "which adapter to ask"
        )
    return load_adapter(f"{PREFIX}{taught[0]}")


def base_name_of(adapter: "Adapter") -> str:
    """The base that an adapter belongs to, as `load_base` takes it."""
    from diffspeak.models.pocket import NAME, part_of

    if part_of(adapter.name) is not None:
        return NAME
    name = Path(adapter.base_name)
    if name.is_absolute() and not name.exists():
        raise UsageError(
            f"the adapter's base {name} is no longer there: say where it is now with --base"
        )
    return adapter.base_name
