"""Write a store, shard by shard, so that a killed run goes on where it was.

Takes entries with their factors `[task, ...]` or full states, gives files in the store's folder.
One process writes at a time. Tensors come first and lines last, each file whole or not at all:
a shard counts once its lines are in place, and anything else is swept away by the next start.
"""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from diffspeak.errors import CorruptFileError, MismatchError, UsageError
from diffspeak.io.files import (
    atomic_path,
    canonical_json,
    exclusive,
    failed_write,
    make_folder,
    parse_json,
    write_text,
)
from diffspeak.io.runs import differences
from diffspeak.store.layout import (
    FULL_FILE,
    LOCK,
    MANIFEST,
    NewEntry,
    Place,
    StoreHeader,
    format_header,
    format_line,
    full_name,
    lines_name,
    read_header,
    read_lines,
    shard_numbers,
    tensors_name,
)
from diffspeak.store.tensors import Factors, factors_sum, file_sum, header_sum, save_tensors

# Our temporary files, and those that safetensors makes while it writes.
_TEMPORARY = re.compile(r"\.(store\.json|shard-.*)\.[0-9a-f]{8}\.tmp|\.tmp[0-9A-Za-z]{6}")


@contextmanager
def create_or_resume(path: str | Path, header: StoreHeader) -> Iterator["StoreWriter"]:
    """Start a store, or go on with one that was started with the same settings.

    One that was started with others, but holds no finetune yet, is started anew.

    Args:
        path: A local folder; made if missing.
        header: What the finetunes have in common. Its `choices` are written at the first start;
            afterwards those on disk hold.

    Yields:
        The writer, which holds the store's lock.

    Raises:
        LockedError: Another process writes to this store.
        MismatchError: The store was made with something else; says with what.
        CorruptFileError: A file of the store was changed or cut off.
    """
    if "://" in str(path):
        raise UsageError(f"{path} cannot be written: write to a local folder and upload it")
    folder = Path(path).expanduser()
    make_folder(folder)
    with exclusive(folder / LOCK):
        yield _opened(folder, header)


def _opened(folder: Path, header: StoreHeader) -> "StoreWriter":
    place = Place(str(folder))
    names = place.names()
    shards = shard_numbers(names)
    if MANIFEST not in names and shards:
        raise CorruptFileError(
            f"{folder} holds shards but no {MANIFEST}: restore that file, or use another folder"
        )
    if MANIFEST not in names or not shards and _is_other(read_header(place), header):
        write_text(folder / MANIFEST, format_header(header))
    header = _agreed(place, header)
    _sweep(folder)
    done: set[str] = set()
    for shard in shards:
        done.update(entry.id for entry in read_lines(place, shard))
    return StoreWriter(folder, header, done, set(shards))


def _agreed(place: Place, header: StoreHeader) -> StoreHeader:
    """The header on disk, if the new one differs from it in choices alone."""
    found = read_header(place)
    named = differences(_settled(found), _settled(header))
    if named:
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""
        raise MismatchError(
            f"{place.source} was made with other settings: {', '.join(named[:3])}{more}; "
            "go on with the same settings, or write to another folder"
        )
    return found


def _is_other(found: StoreHeader, header: StoreHeader) -> bool:
    """Whether a store, begun but still without a finetune, was begun as another one."""
    chosen = [{key: one.choices.get(key) for key in _WHERE} for one in (found, header)]
    return _settled(found) != _settled(header) or chosen[0] != chosen[1]


_WHERE = ("device", "dtype", "attention")
"""Choices with which a base has to be loaded to go on."""

_HOW = ("max_tokens", "checkpointing")
"""Settings that decide memory and time and change a finetune by rounding only: a run may go on
with smaller passes."""


def _settled(header: StoreHeader) -> dict[str, Any]:
    content = asdict(header)
    del content["choices"]
    # A base that was moved is the same base: its fingerprint says so.
    content["base"].pop("name", None)
    for name in _HOW:
        content["settings"].pop(name, None)
    plain: dict[str, Any] = parse_json(canonical_json(content))
    return plain


def _sweep(folder: Path) -> None:
    """Remove what a run left behind that was killed or failed in the middle of a shard."""
    names = {path.name for path in folder.iterdir()}
    for name in sorted(names):
        shard = re.fullmatch(r"(?:full-(\d{5,})|shard-(\d{5,})\.safetensors)", name)
        orphan = shard and lines_name(int(shard[1] or shard[2])) not in names
        if not orphan and not _TEMPORARY.fullmatch(name):
            continue
        path = folder / name
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError as error:
            raise failed_write(path, error) from error


class StoreWriter:
    """Adds finetunes to a store; made by `create_or_resume`.

    Attributes:
        header: The store's header as it is on disk.
        done: Ids that are stored, those that failed included.
    """

    def __init__(self, folder: Path, header: StoreHeader, done: set[str], shards: set[int]) -> None:
        self.header = header
        self.done = done
        self._folder = folder
        self._shards = shards

    @property
    def choices(self) -> dict[str, Any]:
        """What was measured and chosen at the first start."""
        return self.header.choices

    def write_shard(
        self, entries: Sequence[NewEntry], factors: Mapping[str, tuple[Tensor, Tensor]]
    ) -> None:
        """Store finetunes that were trained together.

        Args:
            entries: One for each task, in the order of the factors' rows.
            factors: Module name to A `[task, rank, in]` and B `[task, out, rank]`. Rows of
                entries that failed are left out of the file.

        Raises:
            ValueError: Ids are not new, or factors fit neither the entries nor the header.
            DiffspeakError: The system refused to write; nothing of the shard is left.
        """
        self._refuse_known(entries)
        self._refuse_misfits(len(entries), factors)
        kept = [task for task, entry in enumerate(entries) if entry.failed is None]
        if kept and not factors:
            raise ValueError("entries that did not fail need factors")
        rows = {
            module: (A.detach()[kept].cpu(), B.detach()[kept].cpu())
            for module, (A, B) in factors.items()
        }
        shard = self._next()
        with self._whole_or_nothing():
            with atomic_path(self._folder / tensors_name(shard)) as temporary:
                save_tensors(temporary, _named(rows))
                header = header_sum(temporary)
            places = [
                {
                    "kind": "lora",
                    "row": row,
                    "header": header,
                    "data": factors_sum({name: (A[row], B[row]) for name, (A, B) in rows.items()}),
                }
                for row in range(len(kept))
            ]
            self._write_lines(shard, entries, dict(zip(kept, places, strict=True)))

    def write_full(self, entry: NewEntry, state: Mapping[str, Tensor]) -> None:
        """Store one finetune as all its parameters, or the mere fact that it failed.

        Raises:
            ValueError: The id is not new.
            DiffspeakError: The system refused to write; nothing of it is left.
        """
        self._refuse_known([entry])
        shard = self._next()
        with self._whole_or_nothing():
            places = {}
            if entry.failed is None:
                folder = self._folder / full_name(shard)
                make_folder(folder)
                with atomic_path(folder / FULL_FILE) as temporary:
                    save_tensors(temporary, state)
                    data = file_sum(temporary)
                places = {0: {"kind": "full", "row": None, "header": None, "data": data}}
            self._write_lines(shard, [entry], places)

    def _write_lines(
        self, shard: int, entries: Sequence[NewEntry], places: Mapping[int, dict[str, Any]]
    ) -> None:
        nowhere = {"kind": "failed", "row": None, "header": None, "data": None}
        lines = [
            format_line(
                {
                    **asdict(entry),
                    "stats": {name: float(value) for name, value in entry.stats.items()},
                    "shard": shard,
                    "line": line,
                    "lines": len(entries),
                    **places.get(line, nowhere),
                }
            )
            for line, entry in enumerate(entries)
        ]
        write_text(self._folder / lines_name(shard), "".join(lines))
        self._shards.add(shard)
        self.done.update(entry.id for entry in entries)

    @contextmanager
    def _whole_or_nothing(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            _sweep(self._folder)
            raise

    def _next(self) -> int:
        """The first free number; one in the middle if the user deleted a damaged shard."""
        return next(n for n in range(len(self._shards) + 1) if n not in self._shards)

    def _refuse_known(self, entries: Sequence[NewEntry]) -> None:
        ids = [entry.id for entry in entries]
        known = sorted(self.done.intersection(ids))
        if not ids or known or len(set(ids)) < len(ids):
            raise ValueError(f"ids must be new and different, got {ids} of which stored: {known}")

    def _refuse_misfits(self, tasks: int, factors: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        rank = self.header.rank
        for module, (A, B) in factors.items():
            shapes = (A.dim(), B.dim(), *A.shape[:2], B.shape[0], B.shape[-1])
            types = {str(A.dtype), str(B.dtype)}
            if shapes != (3, 3, tasks, rank, tasks, rank) or types != {
                f"torch.{self.header.dtype}"
            }:
                raise ValueError(
                    f"{module}: expected {self.header.dtype} A [{tasks}, {rank}, in] and "
                    f"B [{tasks}, out, {rank}], got {A.dtype} {tuple(A.shape)} and "
                    f"{B.dtype} {tuple(B.shape)}"
                )


def _named(rows: Factors) -> dict[str, Tensor]:
    """Factors under the names they have in a shard's file."""
    return {
        f"{module}.{side}": tensor
        for module, pair in rows.items()
        for side, tensor in zip("AB", pair, strict=True)
    }
