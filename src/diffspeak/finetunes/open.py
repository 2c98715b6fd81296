"""Open a finetune, or many, by what the user typed. What a source is, its content tells.

Takes `PLACE#key`, gives a source that knows its finetunes and reads each when it is asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from diffspeak.errors import UsageError
from diffspeak.finetunes import checkpoint, mlx, published
from diffspeak.finetunes.finetune import Finetune
from diffspeak.finetunes.location import locate, split_key
from diffspeak.finetunes.recognize import is_peft, no_finetune
from diffspeak.finetunes.sources import (
    CheckpointSource,
    FileSource,
    IndexSource,
    MlxSource,
    PeftSource,
    Source,
    StoreSource,
    choose,
)
from diffspeak.models import Base
from diffspeak.store import open_store
from diffspeak.store.layout import MANIFEST

Known = StoreSource | PeftSource | MlxSource | CheckpointSource | FileSource | IndexSource


def open_source(
    source: str, *, split: str | None = None, limit: int | None = None, low_rank: int | None = None
) -> Source:
    """Recognize a source by its content, and choose from it.

    Args:
        source: A PEFT folder, a full checkpoint, a published `.pt` file or folder, a store, or a
            hub id (`org/name@revision:subfolder`, or with a file's path for a `.pt`) of one of
            them; behind `#` the key of a single finetune where it holds several.
        split: Where it holds several, only this split.
        limit: Where it holds several, at most so many.
        low_rank: Of a full checkpoint, the best change of this rank.

    Raises:
        UsageError: There is nothing, or nothing that can be opened, or not what was chosen.
        CorruptFileError: It was changed or cut off, or is not safe.
    """
    name, key = split_key(source)
    found = _recognized(name, split, limit)
    if isinstance(found, CheckpointSource):
        found = replace(found, low_rank=low_rank)
    elif low_rank is not None:
        raise UsageError(f"--low-rank is for full checkpoints, and {name} is none; leave it out")
    if isinstance(found, PeftSource | MlxSource | CheckpointSource):
        if key:
            raise UsageError(f"{name} holds one finetune; leave out #{key}")
        if split or limit:
            raise UsageError(f"{name} is one finetune: there is nothing to choose from")
        return found
    if key is None:
        return found
    if split or limit:
        raise UsageError(f"{source} is one finetune: there is nothing to choose from")
    if isinstance(found, StoreSource):
        return replace(found, entries=(found.store.find(key),))
    return _One(source, found, found.key_of(key))


def open_finetunes(
    source: str,
    base: Base,
    *,
    split: str | None = None,
    limit: int | None = None,
    low_rank: int | None = None,
) -> Iterator[Finetune]:
    """Read the finetunes that a source names, one after the other; see `open_source`."""
    found = open_source(source, split=split, limit=limit, low_rank=low_rank)
    return (found.read(key, base) for key in found.keys)


def load_finetune(source: str | Path, base: Base, *, low_rank: int | None = None) -> Finetune:
    """Read one finetune, of any format; see `open_source`.

    Args:
        source: What it is in.
        base: What it was made from.
        low_rank: Of a full checkpoint, the best change of this rank.

    Raises:
        UsageError: It cannot be opened, or there are several.
        MismatchError: It was made from another base.
        CorruptFileError: It was changed or cut off, or is not safe.
    """
    found = open_source(str(source), low_rank=low_rank)
    if len(found.keys) != 1:
        raise UsageError(
            f"{source} holds {len(found.keys)} finetunes; name one, such as "
            f"{source}#{found.keys[0]}"
        )
    return found.read(found.keys[0], base)


@dataclass(frozen=True)
class _One:
    """One of many."""

    name: str
    many: Source
    key: str

    @property
    def keys(self) -> list[str]:
        return [self.key]

    def read(self, key: str, base: Base) -> Finetune:
        return replace(self.many.read(key, base), name=self.name)


def _recognized(name: str, split: str | None, limit: int | None) -> Known:
    if "://" in name:
        return _store(name, name, split, limit)
    place = locate(name)
    path = place.path
    if mlx.is_mlx(path):
        return MlxSource(place)
    if is_peft(path):
        return PeftSource(place)
    if (path / MANIFEST).is_file():
        return _store(name, str(path), split, limit)
    if (path / published.INDEX).is_file():
        return IndexSource(place, split, limit)
    if checkpoint.is_checkpoint(path):
        return CheckpointSource(place)
    if published.is_published(path):
        if split:
            raise UsageError(f"{name} has no splits; leave --split out, or give its folder")
        return FileSource(place, limit)
    raise no_finetune(name, path)


def _store(name: str, path: str, split: str | None, limit: int | None) -> StoreSource:
    store = open_store(path)
    return StoreSource(store, tuple(choose(store, split, limit)), name)
