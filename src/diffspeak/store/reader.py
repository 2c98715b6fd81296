"""Read a store: an index of all its lines, and single finetunes when they are asked for.

Takes a folder or a URL, gives entries and `LowRank` factors, each verified against its checksums.
Memory holds the index and what was asked for, never the store.
"""

import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from torch import Tensor

from diffspeak.errors import DiffspeakError, UsageError
from diffspeak.lora.factors import Diff, LowRank, stack_diffs
from diffspeak.store.layout import (
    FULL_FILE,
    Entry,
    Place,
    StoreHeader,
    full_name,
    lines_name,
    read_header,
    read_lines,
    shard_numbers,
    tensors_name,
)
from diffspeak.store.tensors import ShardTensors, factors_sum, file_sum, load_full
from diffspeak.store.writer import StoreWriter, create_or_resume

log = logging.getLogger(__name__)

SHOWN = 5
"""Lost shards that a warning names."""

_OPEN_SHARDS = 256
"""Whose headers are kept: to read one costs as much as to read a finetune behind it."""


def open_store(source: str | Path, cache: Path | None = None) -> "Store":
    """Open a store to read it; one that is being written gives the shards finished so far.

    Args:
        source: A folder, or a URL that fsspec knows, of which the files that are needed are
            copied to this machine.
        cache: Where such copies go; the user's cache folder if none is given.

    Raises:
        UsageError: There is no store.
        MismatchError: It is of a newer version.
        CorruptFileError: A file of its index was changed or cut off.
    """
    text = str(source).rstrip("/") or "/"
    return Store(Place(text if "://" in text else str(Path(text).expanduser()), cache))


class Store:
    """A store that is open for reading; made by `open_store`.

    Attributes:
        header: What all its finetunes have in common.
        entries: One for each finetune, in stored order, those that failed included.
    """

    def __init__(self, place: Place) -> None:
        self.header: StoreHeader = read_header(place)
        self.entries: list[Entry] = []
        self._place = place
        self._index: dict[str, Entry] = {}
        self._open: OrderedDict[int, ShardTensors] = OrderedDict()
        shards = shard_numbers(place.names())
        for shard in shards:
            for entry in read_lines(place, shard):
                self._add(entry)
        self._tell_lost(shards)

    def _tell_lost(self, shards: Sequence[int]) -> None:
        """Warn where shards are not there that came before others."""
        lost = sorted(set(range(max(shards, default=0))) - set(shards))
        if lost:
            log.warning(
                "%s misses %d of %d shards (number %s): their finetunes are left out; restore the "
                "files, or make them anew with the command that made the store",
                self.source,
                len(lost),
                max(shards) + 1,
                ", ".join(map(str, lost[:SHOWN])) + (", ..." if len(lost) > SHOWN else ""),
            )

    @staticmethod
    def create_or_resume(
        path: str | Path, header: StoreHeader
    ) -> AbstractContextManager[StoreWriter]:
        """Open a store to write it, see `writer.create_or_resume`."""
        return create_or_resume(path, header)

    @property
    def source(self) -> str:
        """Where it was opened."""
        return self._place.source

    def __len__(self) -> int:
        return len(self.entries)

    def find(self, id: str) -> Entry:
        """The entry of a finetune.

        Raises:
            UsageError: The store holds no such finetune.
        """
        if id not in self._index:
            raise UsageError(
                f"{self._place.source} holds no finetune {id!r}: "
                f"`diffspeak show {self._place.source}` lists its {len(self)}"
            )
        return self._index[id]

    def read(self, id: str) -> Diff:
        """The factors of one finetune, A `[rank, in]` and B `[out, rank]`, verified.

        Raises:
            UsageError: It is unknown, failed, or stored as all its parameters.
            CorruptFileError: A byte of it was changed.
        """
        entry = self._found(id, "lora")
        assert entry.row is not None
        with self._blaming(tensors_name(entry.shard), id):
            factors = self._shard(entry).row(entry.row)
            if factors_sum(factors) != entry.data:
                raise ValueError("changed since it was written")
        return {name: LowRank(A, B, self.header.scaling) for name, (A, B) in factors.items()}

    def read_many(self, ids: Sequence[str]) -> Diff:
        """The factors of several finetunes, stacked `[task, ...]` in the order of `ids`."""
        return stack_diffs([self.read(id) for id in ids])

    def read_full(self, id: str) -> dict[str, Tensor]:
        """All stored parameters of a full finetune, verified; errors as in `read`."""
        entry = self._found(id, "full")
        name = f"{full_name(entry.shard)}/{FULL_FILE}"
        with self._blaming(name, id):
            path = self._place.path(name)
            if file_sum(path) != entry.data:
                raise ValueError("changed since it was written")
            return load_full(path)

    def _add(self, entry: Entry) -> None:
        first = self._index.setdefault(entry.id, entry)
        if first is not entry:
            what = f"this finetune is in {lines_name(first.shard)} already"
            raise self._place.corrupt(lines_name(entry.shard), what, entry.id)
        self.entries.append(entry)

    def _found(self, id: str, kind: str) -> Entry:
        entry = self.find(id)
        if entry.kind == "failed":
            raise UsageError(f"finetune {id!r} has no weights, its training failed: {entry.failed}")
        if entry.kind != kind:
            raise UsageError(
                f"finetune {id!r} is stored as {entry.kind}: "
                f"read it with {'read_full' if entry.kind == 'full' else 'read'}"
            )
        return entry

    @contextmanager
    def _blaming(self, name: str, id: str) -> Iterator[None]:
        """Turn what is wrong with a file into the error that the user sees."""
        try:
            yield
        except FileNotFoundError as error:
            raise self._place.corrupt(name, "the file is missing", id) from error
        except ValueError as error:
            raise self._place.corrupt(name, str(error), id) from error
        except OSError as error:
            raise DiffspeakError(
                f"cannot read {self._place.source}/{name} ({error.strerror or error}): "
                "check that you may read it, and try again"
            ) from error

    def _shard(self, entry: Entry) -> ShardTensors:
        """The shard's tensors, opened once while it is among the last few used."""
        if entry.shard not in self._open:
            shard = ShardTensors(self._place.path(tensors_name(entry.shard)))
            if shard.header != entry.header:
                raise ValueError("changed since it was written (its header)")
            self._open[entry.shard] = shard
            if len(self._open) > _OPEN_SHARDS:
                self._open.popitem(last=False)
        self._open.move_to_end(entry.shard)
        return self._open[entry.shard]
