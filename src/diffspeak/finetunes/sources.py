"""Open a finetune, or a whole store of them, by what the user typed.

Takes `STORE#task-id`, a store or a PEFT LoRA folder, gives finetunes one after the other, each
read when it is asked for. What a source is, is told by its content.
"""

from collections.abc import Iterator
from pathlib import Path

from diffspeak.errors import MismatchError, UsageError
from diffspeak.finetunes.finetune import Finetune
from diffspeak.finetunes.peft_format import is_peft, read_peft
from diffspeak.models import Fingerprint
from diffspeak.store import Entry, Store, open_store


def open_finetunes(
    source: str, *, split: str | None = None, limit: int | None = None
) -> Iterator[Finetune]:
    """Read the finetunes that a source names.

    Args:
        source: `STORE#task-id`, a store (all that did not fail) or a PEFT LoRA folder.
        split: Of a store, only this split.
        limit: At most so many of a store.

    Raises:
        UsageError: The source is none of these, or holds nothing that was asked for.
        CorruptFileError: It was changed or cut off.
    """
    place, _, task = source.partition("#")
    if "://" not in place and is_peft(Path(place)):
        if task:
            raise UsageError(
                f"{place} is a PEFT LoRA folder and holds one finetune; leave out #{task}"
            )
        yield Finetune(source, read_peft(Path(place)))
        return
    if "://" not in place and not Path(place).exists():
        raise UsageError(
            f"{place} does not exist; give a store, STORE#task-id or a PEFT LoRA folder"
        )
    store = open_store(place)
    if task:
        yield from_store(store, store.find(task), source)
        return
    entries = choose(store, split, limit)
    for entry in entries:
        yield from_store(store, entry, f"{place}#{entry.id}")


def load_finetune(source: str) -> Finetune:
    """Read one finetune: `STORE#task-id` or a PEFT LoRA folder.

    Raises:
        UsageError: The source is neither, or a store of several.
    """
    found = open_finetunes(source, limit=2)
    first = next(found)
    if next(found, None) is not None:
        raise UsageError(f"{source} holds several finetunes; name one as {source}#task-id")
    return first


def choose(store: Store, split: str | None = None, limit: int | None = None) -> list[Entry]:
    """Entries of a store that did not fail, in its order.

    Raises:
        UsageError: There are none.
    """
    entries = [
        entry for entry in store.entries if entry.kind != "failed" and split in (None, entry.split)
    ]
    if not entries:
        which = f" in the split {split}" if split else ""
        raise UsageError(f"the store holds no finetune{which}; look at it with diffspeak show")
    return entries[:limit]


def from_store(store: Store, entry: Entry, name: str | None = None) -> Finetune:
    """Read one entry of a store, verified."""
    is_whole = entry.kind == "full"
    return Finetune(
        name or entry.id,
        diff={} if is_whole else store.read(entry.id),
        parameters=store.read_full(entry.id) if is_whole else {},
        base=base_of(store),
        label=entry.label,
    )


def base_of(store: Store) -> Fingerprint:
    """Fingerprint of the base that a store's finetunes were made from.

    Raises:
        MismatchError: The store's header holds no such fingerprint.
    """
    fields = {key: value for key, value in store.header.base.items() if key != "name"}
    try:
        return Fingerprint(**fields)
    except TypeError as error:
        raise MismatchError(f"the store {store.source} names no base: {error}") from error
