"""A store of ours: factors, or whole parameters, of every finetune that did not fail."""

from collections.abc import Sequence
from typing import Self

from diffspeak.errors import MismatchError, UsageError
from diffspeak.finetunes.finetune import Finetune
from diffspeak.finetunes.formats.source import Format, Source, text_or_none
from diffspeak.lora import Diff
from diffspeak.models import Base, Fingerprint
from diffspeak.store import Entry, Store, open_store
from diffspeak.store.layout import MANIFEST


class StoreSource(Source):
    """Entries of a store, by their ids."""

    def __init__(self, store: Store, entries: Sequence[Entry], name: str) -> None:
        super().__init__(name, [entry.id for entry in entries])
        self.store, self.entries = store, entries

    def read(self, key: str, base: Base) -> Finetune:
        """Read and verify one; whether the base is the right one, its fingerprint tells."""
        del base
        return from_store(self.store, self.store.find(key), f"{self.name}#{key}")

    def one(self, name: str, key: str) -> Self:
        """One entry, by its id."""
        del name
        return type(self)(self.store, [self.store.find(key)], self.name)

    def base_name(self) -> str | None:
        """As its header has it."""
        return text_or_none(self.store.header.base.get("name"))

    def diff_without_base(self, key: str) -> Diff | None:
        """The factors, where all that it holds are low-rank."""
        if any(entry.kind == "full" for entry in self.entries):
            return None
        return self.store.read(key)


def open_at(place: str, name: str, split: str | None, limit: int | None) -> StoreSource:
    """Open the store at a folder or URL, called `name` by the user; see `choose`."""
    store = open_store(place)
    return StoreSource(store, choose(store, split, limit), name)


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
        trigger=entry.trigger,
        split=entry.split,
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


FORMAT = Format(
    "store",
    lambda path: (path / MANIFEST).is_file(),
    lambda location, *chosen: open_at(str(location.path), location.name, *chosen),
)
