"""Open a finetune, or many, by what the user typed: `PLACE#key`, or a folder of finetunes.

A source knows its finetunes and reads each when it is asked for.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import NoReturn

from diffspeak.errors import DiffspeakError, UsageError, reason_of
from diffspeak.finetunes.finetune import Finetune
from diffspeak.finetunes.formats import (
    Source,
    checkpoint,
    finetunes_within,
    holds_finetune,
    holds_tensors,
    recognize,
    tensor_files,
)
from diffspeak.finetunes.formats.store import open_at
from diffspeak.finetunes.places import locate, split_key
from diffspeak.io.remote import list_names
from diffspeak.models import Base

_SHOWN = 3


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
    found = _opened(name, split, limit)
    if isinstance(found, checkpoint.CheckpointSource):
        found.low_rank = low_rank
    elif low_rank is not None:
        raise UsageError(f"--low-rank is for full checkpoints, and {name} is none; leave it out")
    if key is None:
        return found
    if split or limit:
        raise UsageError(f"{source} is one finetune: there is nothing to choose from")
    return found.one(source, key)


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


def _opened(name: str, split: str | None, limit: int | None) -> Source:
    if "://" in name:
        return open_at(name, name, split, limit)
    location = locate(name)
    found = recognize(location.path)
    if found is None:
        raise _no_finetune(name, location.path)
    return found.open(location, split, limit)


def _no_finetune(name: str, path: Path) -> UsageError:
    """The error for a path that holds no finetune that we know."""
    known = (
        f"{name} holds no finetune that diffspeak knows: a PEFT or MLX adapter "
        "(adapter_config.json), a model (config.json), a store (store.json), a published folder "
        "(index.csv) or .pt file"
    )
    if not path.is_dir():
        return UsageError(known)
    within = finetunes_within(path)
    if within:
        shown = ", ".join(f"{name.rstrip('/')}/{one}" for one in within[:_SHOWN])
        more = f" ({len(within)} in all)" if len(within) > _SHOWN else ""
        return UsageError(f"{name} holds no finetune itself, but folders in it do: {shown}{more}")
    if tensors := tensor_files(path):
        return UsageError(f"{known}; it holds {', '.join(tensors[:_SHOWN])}, but no config beside")
    return UsageError(known)


@dataclass(frozen=True)
class FinetuneRef:
    """A finetune that can be read.

    Attributes:
        name: Of the finetune, for people: as it was typed, and where it is one of many, its key.
        key: What tells it from the others of the same set; empty for one alone.
        open: Reads it for a base; its errors are those of `Source.read`.
    """

    name: str
    key: str
    open: Callable[[Base], Finetune]

    def read(self, base: Base) -> Finetune:
        """The finetune, under this name."""
        return replace(self.open(base), name=self.name)


@dataclass(frozen=True)
class FinetuneSet:
    """The finetunes of a source, or of a folder that holds finetunes.

    Attributes:
        name: What the user typed.
        each: One for each finetune, in order. What cannot be opened in a folder is among them, so
            that it is reported: reading it is an error.
        several: Whether what was typed may hold more than one finetune.
        source: What was opened; None for a folder of finetunes.
        left_out: Of such a folder, the folders in it that hold no weights.
    """

    name: str
    each: Sequence[FinetuneRef]
    several: bool
    source: Source | None = None
    left_out: tuple[str, ...] = ()


def open_finetune_set(
    name: str,
    *,
    split: str | None = None,
    limit: int | None = None,
    low_rank: int | None = None,
    skip: Callable[[Path], bool] = lambda folder: False,
) -> FinetuneSet:
    """Find finetunes, which are read when they are asked for.

    Args:
        name: Anything that `open_source` opens, or a folder whose sub-folders and `.pt` files are
            such. Hidden ones are left out.
        split: Where a store or an index holds several, only this split.
        limit: Of several, at most so many.
        low_rank: Of full checkpoints, the best change of this rank.
        skip: Which sub-folders are not looked at.

    Raises:
        UsageError: There is nothing, or nothing that can be opened, or not what was chosen.
        CorruptFileError: It is no folder of finetunes, and was changed or cut off.
    """
    place, mark, key = name.partition("#")
    remote = "://" in name
    folder = None if remote or mark else locate(name).path
    children, left_out = ([], []) if folder is None else _children(folder, skip)
    # A source's name, the same however its path was spelled.
    plain = name if remote else f"{Path(place)}{mark}{key}"
    if folder is None or not (children or left_out):
        source = open_source(name, split=split, limit=limit, low_rank=low_rank)
        return _set_of(plain, source)
    if split:
        raise UsageError(f"{plain} is a folder of finetunes and has no splits; leave --split out")
    checkpoints = {child for child in children if _suppressed(_is_checkpoint, child)}

    # The last one is kept open, and no more: a `.pt` file is all in memory.
    @lru_cache(maxsize=1)
    def opened(child: Path) -> Source:
        if "#" in child.name or child.name.startswith("~"):
            raise UsageError(f"{child} begins with ~ or holds a #, which mean something: rename it")
        return open_source(str(child), low_rank=low_rank if child in checkpoints else None)

    each = [ref for child in children for ref in _refs(plain, child, opened)]
    if not any(map(_may_hold, children)):
        within = finetunes_within(folder)
        deeper = f" itself, but {plain}/{within[0]} does" if within else ""
        raise UsageError(
            f"{plain} holds no finetune, and none of its {len(children) + len(left_out)} "
            f"sub-folders does{deeper}: give a PEFT adapter, a model, a store, a .pt file, or a "
            "folder of them"
        )
    if low_rank is not None and not checkpoints:
        raise UsageError(f"--low-rank is for full checkpoints, and {plain} has none; leave it out")
    return FinetuneSet(plain, each[:limit], several=True, left_out=tuple(left_out))


def _children(folder: Path, skip: Callable[[Path], bool]) -> tuple[list[Path], list[str]]:
    """What may be a finetune in a folder, and the names of folders without weights, sorted.

    Nothing of what is a finetune itself.
    """
    if not folder.is_dir() or _may_hold(folder):
        return [], []
    found, empty = [], []
    for name in list_names(str(folder)):
        path = folder / name
        if name.startswith("."):
            continue
        if not path.is_dir():
            found += [path] if path.is_file() and _may_hold(path) else []
        elif not _suppressed(skip, path):
            has = _may_hold(path) or holds_tensors(path)
            found += [path] if has else []
            empty += [] if has else [name]
    return found, sorted(empty)


def _is_checkpoint(path: Path) -> bool:
    found = recognize(path)
    return found is not None and found.name == checkpoint.FORMAT.name


def _may_hold(path: Path) -> bool:
    return _suppressed(holds_finetune, path)


def _suppressed(asked: Callable[[Path], bool], path: Path) -> bool:
    """The answer about a path; no, if it may not be looked at."""
    with suppress(OSError):
        return asked(path)
    return False


def _set_of(name: str, source: Source) -> FinetuneSet:
    keys = list(source.keys)
    if keys == [""] or "#" in name:
        alone = FinetuneRef(name, "", partial(source.read, keys[0]))
        return FinetuneSet(name, [alone], several=False, source=source)
    each = [FinetuneRef(f"{name}#{key}", key, partial(source.read, key)) for key in keys]
    return FinetuneSet(name, each, several=True, source=source)


def _refs(name: str, child: Path, opened: Callable[[Path], Source]) -> Iterator[FinetuneRef]:
    """What one child of a folder holds: a finetune, several, or an error."""
    own = f"{name}/{child.name}"
    try:
        keys = list(opened(child).keys)
    except Exception as error:
        # Whatever a stranger's file does to its reader, the others are read.
        # An error of its own, for that one may hold all that the file holds.
        kind = type(error) if isinstance(error, DiffspeakError) else DiffspeakError
        told = kind(reason_of(error, "it cannot be read"))
        yield FinetuneRef(own, child.name, partial(_refuse, told))
        return
    for key in keys:
        end = f"#{key}" if key else ""

        def read(base: Base, key: str = key) -> Finetune:
            return opened(child).read(key, base)

        yield FinetuneRef(own + end, child.name + end, read)


def _refuse(error: DiffspeakError, base: Base) -> NoReturn:
    del base
    raise error
