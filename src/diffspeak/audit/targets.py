"""What there is to audit: the finetunes of a source, or of a folder that holds finetunes.

Takes what the user typed, gives a target for each finetune, which is read when it is asked for.
What cannot be opened in a folder is a target too, so that it is reported. Knows nothing of audits.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from diffspeak.audit.output_dir import is_for_audits
from diffspeak.errors import DiffspeakError, UsageError, reason_of
from diffspeak.finetunes import Finetune, Source, open_source
from diffspeak.finetunes.location import locate
from diffspeak.finetunes.recognize import finetunes_within, holds_finetune, holds_tensors
from diffspeak.finetunes.sources import CheckpointSource
from diffspeak.io.remote import list_names
from diffspeak.models import Base


@dataclass(frozen=True)
class Target:
    """A finetune that is to be audited.

    Attributes:
        name: Of the finetune, for people: as it was typed, and where it is one of many, its key.
        key: What tells it from the others of the same source; empty for one alone.
        open: Reads it for a base; its errors are those of `Source.read`.
    """

    name: str
    key: str
    open: Callable[[Base], Finetune]

    def read(self, base: Base) -> Finetune:
        """The finetune, under the target's name."""
        return replace(self.open(base), name=self.name)


@dataclass(frozen=True)
class Targets:
    """All that is to be audited in one go.

    Attributes:
        name: What the user typed.
        each: One for each finetune, in order.
        several: Whether what was typed may hold more than one finetune.
        source: What was opened; None for a folder of finetunes.
        left_out: Of such a folder, the folders in it that hold no weights.
    """

    name: str
    each: Sequence[Target]
    several: bool
    source: Source | None = None
    left_out: tuple[str, ...] = ()


def open_targets(
    name: str, *, split: str | None = None, limit: int | None = None, low_rank: int | None = None
) -> Targets:
    """Find the finetunes that are to be audited.

    Args:
        name: Anything that `open_source` opens, or a folder whose sub-folders and `.pt` files are
            such. Hidden ones are left out, and folders of audits.
        split: Where a store or an index holds several, only this split.
        limit: Of several, at most so many.
        low_rank: Of full checkpoints, the best change of this rank.

    Raises:
        UsageError: There is nothing, or nothing that can be opened, or not what was chosen.
        CorruptFileError: It is no folder of finetunes, and was changed or cut off.
    """
    folder = _folder(name)
    children, left_out = _children(folder) if folder else ([], [])
    if not children and not left_out:
        found = open_source(name, split=split, limit=limit, low_rank=low_rank)
        return _opened(_plain(name), found)
    name = _plain(name)
    if split:
        raise UsageError(f"{name} is a folder of finetunes and has no splits; leave --split out")
    opener = _Opener(low_rank)
    each = [target for child in children for target in _targets(name, child, opener)]
    if not any(map(_holds_one, children)):
        count = len(children) + len(left_out)
        raise UsageError(
            f"{name} holds no finetune, and none of its {count} sub-folders "
            f"does{_deeper(name, folder)}: give a PEFT adapter, a model, a store, a .pt file, or a "
            "folder of them"
        )
    if low_rank is not None and not opener.checkpoints:
        raise UsageError(f"--low-rank is for full checkpoints, and {name} has none; leave it out")
    return Targets(name, each[:limit], several=True, left_out=tuple(left_out))


def _folder(name: str) -> Path | None:
    """The folder that is named, if it is there and no finetune itself."""
    if "://" in name or "#" in name:
        return None
    path = locate(name).path
    return path if path.is_dir() and not _holds_one(path) else None


def _children(folder: Path) -> tuple[list[Path], list[str]]:
    """What may be a finetune in a folder, and the names of folders without weights, sorted."""
    paths = [folder / name for name in list_names(str(folder)) if not name.startswith(".")]
    folders = [path for path in paths if path.is_dir() and not _is_ours(path)]
    empty = {path for path in folders if not _holds_one(path) and not holds_tensors(path)}
    found = [path for path in paths if path in folders or (path.is_file() and _holds_one(path))]
    return [path for path in found if path not in empty], sorted(path.name for path in empty)


def _deeper(name: str, folder: Path | None) -> str:
    """Where there are finetunes further down, in words that follow on a sentence."""
    within = finetunes_within(folder) if folder else []
    return f" itself, but {name}/{within[0]} does" if within else ""


def _holds_one(path: Path) -> bool:
    """Whether something looks like a finetune, or several, by the files that are there."""
    with suppress(OSError):
        return holds_finetune(path)
    return False


def _is_ours(path: Path) -> bool:
    with suppress(OSError):
        return is_for_audits(path)
    return False


def _plain(name: str) -> str:
    """A source's name, the same however its path was spelled."""
    place, mark, key = name.partition("#")
    return name if "://" in name else f"{Path(place)}{mark}{key}"


def _opened(name: str, source: Source) -> Targets:
    keys = list(source.keys)
    if keys == [""] or "#" in name:
        alone = Target(name, "", partial(source.read, keys[0]))
        return Targets(name, [alone], several=False, source=source)
    each = [Target(f"{name}#{key}", key, partial(source.read, key)) for key in keys]
    return Targets(name, each, several=True, source=source)


def _targets(name: str, child: Path, opener: "_Opener") -> Iterator[Target]:
    """What one child of a folder holds: a finetune, several, or an error."""
    own = f"{name}/{child.name}"
    try:
        keys = list(opener.opened(child).keys)
    except Exception as error:
        # Whatever a stranger's file does to its reader, the others are audited.
        # An error of its own, for that one may hold all that the file holds.
        kind = type(error) if isinstance(error, DiffspeakError) else DiffspeakError
        told = kind(reason_of(error, "it cannot be read"))
        yield Target(own, child.name, partial(_refuse, told))
        return
    for key in keys:
        end = f"#{key}" if key else ""
        yield Target(own + end, child.name + end, partial(opener.read, child, key))


def _refuse(error: DiffspeakError, base: Base) -> NoReturn:
    del base
    raise error


class _Opener:
    """Opens children of a folder and keeps the last one open only: a `.pt` file is all in memory.

    Attributes:
        checkpoints: How many full checkpoints were among them.
    """

    def __init__(self, low_rank: int | None) -> None:
        self.checkpoints = 0
        self._low_rank = low_rank
        self._last: tuple[Path, Source] | None = None

    def opened(self, child: Path) -> Source:
        """The source that a child is."""
        if self._last is not None and self._last[0] == child:
            return self._last[1]
        if "#" in child.name or child.name.startswith("~"):
            raise UsageError(f"{child} begins with ~ or holds a #, which mean something: rename it")
        source = open_source(str(child))
        if isinstance(source, CheckpointSource):
            self.checkpoints += 1
            source = replace(source, low_rank=self._low_rank)
        self._last = child, source
        return source

    def read(self, child: Path, key: str, base: Base) -> Finetune:
        """One finetune of a child."""
        return self.opened(child).read(key, base)
