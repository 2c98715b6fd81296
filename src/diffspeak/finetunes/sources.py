"""What holds finetunes, a class a format: which there are, and each when it is asked for.

Takes places, gives finetunes that fit a base. `opening` tells which class a place needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from diffspeak.errors import MismatchError, UsageError
from diffspeak.finetunes import checkpoint, mlx, published
from diffspeak.finetunes.adapter_files import beside, ignored, read_adapter, read_config
from diffspeak.finetunes.finetune import Finetune
from diffspeak.finetunes.location import Place
from diffspeak.finetunes.named_bases import other_base
from diffspeak.finetunes.pickles import load_pickle
from diffspeak.finetunes.plain_lora import read_plain
from diffspeak.finetunes.through_peft import merged_by_peft
from diffspeak.models import Base, Fingerprint
from diffspeak.store import Entry, Store


class Source(Protocol):
    """Something that holds finetunes.

    Attributes:
        name: As the user typed it.
        keys: Of each finetune it holds, in order; a single empty one if it is one finetune.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def keys(self) -> Sequence[str]: ...  # noqa: D102

    def read(self, key: str, base: Base) -> Finetune:
        """One of its finetunes, checked against the base."""
        ...


@dataclass(frozen=True)
class StoreSource:
    """A store: its finetunes that did not fail."""

    store: Store
    entries: tuple[Entry, ...]
    name: str

    @property
    def keys(self) -> list[str]:
        """Ids."""
        return [entry.id for entry in self.entries]

    def read(self, key: str, base: Base) -> Finetune:
        """Read and verify one."""
        del base  # Whether it is the right one its fingerprint tells.
        return from_store(self.store, self.store.find(key), f"{self.name}#{key}")


@dataclass(frozen=True)
class _Alone:
    """A place that is one finetune."""

    place: Place

    @property
    def name(self) -> str:
        """As typed."""
        return self.place.name

    @property
    def keys(self) -> list[str]:
        """It is one finetune."""
        return [""]


@dataclass(frozen=True)
class PeftSource(_Alone):
    """A PEFT adapter."""

    def read(self, key: str, base: Base) -> Finetune:
        """As low-rank factors if that is all it is, else as PEFT itself merges it."""
        del key
        files = read_adapter(self.place.path)
        found = read_plain(files, base, self.name) or merged_by_peft(files, base, self.name)
        told = (*other_base(files.config, base), *beside(files.folder), *ignored(files.config))
        return replace(found, notes=(*found.notes, *told))


@dataclass(frozen=True)
class MlxSource(_Alone):
    """An adapter of mlx-lm."""

    def read(self, key: str, base: Base) -> Finetune:
        """As low-rank factors."""
        del key
        return mlx.read_mlx(self.place.path, base, self.name)


@dataclass(frozen=True)
class CheckpointSource(_Alone):
    """A full checkpoint, used whole or by its best low-rank change."""

    low_rank: int | None = None

    def read(self, key: str, base: Base) -> Finetune:
        """Compare it with the base."""
        del key
        if self.low_rank is None:
            return checkpoint.read_checkpoint(self.place.path, base, self.name)
        return checkpoint.read_low_rank(self.place.path, base, self.name, self.low_rank)


class FileSource:
    """A published `.pt` file; its keys are topics, or places in the list."""

    def __init__(self, place: Place, limit: int | None = None) -> None:
        self.name, self._path = place.name, place.path
        self._entries = published.entries_of(self._path, load_pickle(self._path))[:limit]
        self.keys: Sequence[str] = _keys([str(entry.get("topic", "")) for entry in self._entries])

    def key_of(self, text: str) -> str:
        """The key that a user means: a topic or a number."""
        return _key_of(self.name, self.keys, text)

    def read(self, key: str, base: Base) -> Finetune:
        """Fit one to the base."""
        entry: dict[str, Any] = self._entries[self.keys.index(key)]
        name = f"{self.name}#{key}" if key else self.name
        return published.read_entry(self._path, entry, base, name)


class IndexSource:
    """A published folder: `index.csv`, and the files it lists, opened when they are needed."""

    def __init__(self, place: Place, split: str | None = None, limit: int | None = None) -> None:
        self.name, self._place = place.name, place
        rows = published.read_index(place.path / published.INDEX)
        kept = [(n, row) for n, row in enumerate(rows) if split in (None, row.split)][:limit]
        if not kept:
            known = ", ".join(sorted({row.split for row in rows}))
            raise UsageError(f"{place.name} has no finetunes of the split {split}; it has {known}")
        self._rows = [row for _, row in kept]
        self.keys: Sequence[str] = _keys([row.topic for row in self._rows])
        self._last: tuple[str, list[dict[str, Any]]] = ("", [])

    def key_of(self, text: str) -> str:
        """The key that a user means: a topic or a line's number."""
        return _key_of(self.name, self.keys, text)

    def read(self, key: str, base: Base) -> Finetune:
        """Open the file that a line names, and fit its entry to the base."""
        row = self._rows[self.keys.index(key)]
        path = self._place.file(row.file)
        if self._last[0] != row.file:
            self._last = row.file, published.entries_of(path, load_pickle(path))
        entries = self._last[1]
        if not 0 <= row.place < len(entries):
            raise MismatchError(
                f"{path} holds {len(entries)} finetunes, and {self.name}/{published.INDEX} asks "
                f"for number {row.place}; fetch both again"
            )
        entry = {"topic": row.topic, "split": row.split, **entries[row.place]}
        return published.read_entry(path, entry, base, f"{self.name}#{key}")


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


def _keys(topics: Sequence[str]) -> list[str]:
    """Topics, where each is there once; else places in the list. One alone needs no key."""
    if len(topics) == 1 and not topics[0]:
        return [""]
    once = len(set(topics)) == len(topics) and all(topics)
    return list(topics) if once else [str(n) for n in range(len(topics))]


def _key_of(name: str, keys: Sequence[str], text: str) -> str:
    if text in keys:
        return text
    if text.isdecimal() and int(text) < len(keys):
        return keys[int(text)]
    shown = ", ".join(repr(key) for key in keys[:5])
    raise UsageError(f"{name} holds no finetune {text!r}; it holds {len(keys)}: {shown}, ...")


def base_named(source: Source) -> str | None:
    """The base that a source says it was made from, a hub id or a folder; None if it does not."""
    found: Any = None
    if isinstance(source, StoreSource):
        found = source.store.header.base.get("name")
    elif isinstance(source, PeftSource):
        found = read_config(source.place.path).get("base_model_name_or_path")
    elif isinstance(source, MlxSource):
        found = mlx.named_base(source.place.path)
    return found if isinstance(found, str) and found else None


def folder_of(source: Source) -> Path | None:
    """The folder that a finetune's own files lie in; None where a source holds several."""
    if isinstance(source, PeftSource | MlxSource | CheckpointSource):
        return source.place.path
    return None
