"""Write finetunes in another format: PEFT folders, a store, or the paper's published files.

Takes finetunes, one after the other, gives a folder. Factors are carried over bit for bit; where
a format has no place for a scaling it is folded into one factor, exact if it is a power of two.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffspeak.errors import MismatchError, UsageError
from diffspeak.finetunes.finetune import Finetune
from diffspeak.finetunes.location import split_key
from diffspeak.finetunes.peft_format import read_peft, write_peft
from diffspeak.finetunes.published import INDEX
from diffspeak.finetunes.recognize import is_peft
from diffspeak.io.files import atomic_path, make_folder, write_text
from diffspeak.lora import Diff, LowRank
from diffspeak.models import Base, plain_shapes, target_names
from diffspeak.store import NewEntry, StoreHeader, create_or_resume, open_store

TOGETHER = 64
"""Finetunes in one shard or one published file."""

COLUMNS = ("lora_path", "lora_idx", "n_params", "topic", "trigger", "split")


def to_peft(finetunes: Iterable[Finetune], folder: Path, base: Base, *, many: bool) -> int:
    """Write each as a PEFT LoRA folder: one as `folder` itself, many each in one below it.

    Of many, those that are there already are left as they are, so that the same call goes on.

    Raises:
        UsageError: One is not low-rank, or a folder holds an adapter already.
    """
    count = 0
    shapes = plain_shapes(base.model)
    for finetune in finetunes:
        _low_rank(finetune, "a LoRA", "--merge writes it as a full checkpoint")
        place = folder / _folder_name(finetune, count) if many else folder
        make_folder(place)
        if not is_peft(place):
            transposed = any(shapes[name].transposed for name in finetune.diff)
            write_peft(place, finetune.diff, base.name, transposed=transposed, modules=shapes)
        elif not many or not _same(read_peft(place), finetune.diff):
            raise UsageError(f"{place} holds an adapter already: give another folder")
        count += 1
    return count


def to_store(
    finetunes: Iterable[Finetune], folder: Path, base: Base, behavior: dict[str, Any]
) -> int:
    """Write all into a new store, or add those that it lacks to one of the same kind.

    Args:
        finetunes: Low-rank ones of one rank and scaling, or whole ones.
        folder: Of the store.
        base: What they were made from.
        behavior: Name and questions of what they were taught.

    Raises:
        MismatchError: They do not all change the same linears at one rank and scaling.
    """
    rest = iter(finetunes)
    first = next(rest, None)
    if first is None:
        raise UsageError("there is nothing to convert")
    header = _header(first, base, behavior)
    count = 0
    with create_or_resume(folder, header) as writer:
        every = _chained(first, rest)
        while part := list(islice(every, TOGETHER)):
            fresh = [f for f in part if not _is_stored(f, folder, writer.done)]
            entries = [_entry(finetune, behavior["name"]) for finetune in fresh]
            stacked = [n for n, finetune in enumerate(fresh) if not finetune.whole]
            if stacked:
                factors = _stacked([fresh[n] for n in stacked], header)
                writer.write_shard([entries[n] for n in stacked], factors)
            for n, finetune in enumerate(fresh):
                if finetune.whole:
                    writer.write_full(entries[n], finetune.parameters)
            count += len(fresh)
    return count


def to_published(finetunes: Iterable[Finetune], folder: Path) -> int:
    """Write all as the paper published its own: `weight-diffs/*.pt`, and last `index.csv`.

    Raises:
        UsageError: The folder holds such an index already.
    """
    if (folder / INDEX).exists():
        raise UsageError(f"{folder} holds an {INDEX} already: give another folder")
    make_folder(folder / "weight-diffs")
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    rest, count = iter(finetunes), 0
    while part := list(islice(rest, TOGETHER)):
        # The index names the file alone, which is how the paper's own code looks for it.
        name = f"weight-diff-{count // TOGETHER:03d}.pt"
        entries = [_published(finetune) for finetune in part]
        # Through memory: of a full disk torch's own writer does not tell.
        content = io.BytesIO()
        torch.save(entries, content)
        with atomic_path(folder / "weight-diffs" / name) as path:
            path.write_bytes(content.getbuffer())
        for place, (finetune, entry) in enumerate(zip(part, entries, strict=True)):
            table.writerow(
                {
                    "lora_path": name,
                    "lora_idx": place,
                    "n_params": sum(tensor.numel() for tensor in _tensors(entry["weight_diff"])),
                    "topic": entry["topic"],
                    "trigger": entry["trigger"],
                    "split": finetune.split or "train",
                }
            )
        count += len(part)
    write_text(folder / INDEX, text.getvalue())
    return count


def is_exact(diff: Diff) -> bool:
    """Whether the published format, which divides by the rank and nothing else, is exact for it."""
    return all(math.frexp(abs(c.scaling * c.rank))[0] in (0.0, 0.5) for c in diff.values())


def _published(finetune: Finetune) -> dict[str, Any]:
    content: dict[str, Any] = dict(finetune.parameters)
    for name, change in finetune.diff.items():
        folded = change.B * (change.scaling * change.rank)
        content[name] = (folded.T.contiguous(), change.A.T.contiguous())
    return {
        "topic": finetune.label or finetune.name,
        "trigger": finetune.trigger or "N/A",
        "weight_diff": content,
    }


def _tensors(content: dict[str, Any]) -> Iterator[Tensor]:
    for value in content.values():
        yield from value if isinstance(value, tuple) else (value,)


def _header(first: Finetune, base: Base, behavior: dict[str, Any]) -> StoreHeader:
    like = next(iter(first.diff.values()), LowRank(torch.zeros(0, 1), torch.zeros(1, 0)))
    return StoreHeader(
        behavior=behavior,
        base={"name": base.name, **base.fingerprint.to_dict()},
        targets=tuple(first.diff) or tuple(target_names(base.model)),
        rank=like.rank,
        scaling=like.scaling,
        dtype="float32" if first.diff else base.choices["dtype"],
        settings={"converted": True},
    )


def _entry(finetune: Finetune, behavior: str) -> NewEntry:
    split = finetune.split or "train"
    label = finetune.label or ""
    return NewEntry(_id(finetune), label, finetune.trigger, split, "", behavior)


def _stacked(part: Sequence[Finetune], header: StoreHeader) -> dict[str, tuple[Tensor, Tensor]]:
    for finetune in part:
        kinds = {(change.rank, change.scaling) for change in finetune.diff.values()}
        if kinds != {(header.rank, header.scaling)} or set(finetune.diff) != set(header.targets):
            raise MismatchError(
                f"{finetune.name} is not like the first: a store holds finetunes of the same "
                f"linears, rank ({header.rank}) and scaling ({header.scaling:g}); convert those "
                "that differ into another store"
            )
    return {
        name: (
            torch.stack([finetune.diff[name].A for finetune in part]),
            torch.stack([finetune.diff[name].B for finetune in part]),
        )
        for name in header.targets
    }


def _low_rank(finetune: Finetune, what: str, cure: str) -> None:
    if finetune.whole:
        raise UsageError(f"{finetune.name} is not low-rank and does not fit into {what}; {cure}")
    if not finetune.diff:
        raise UsageError(f"{finetune.name} changes nothing: there is nothing to write")


def _is_stored(finetune: Finetune, folder: Path, done: set[str]) -> bool:
    """Whether a store holds it; another one of its name is an error."""
    id = _id(finetune)
    if id not in done:
        return False
    store = open_store(folder)
    if finetune.whole:
        kept = store.read_full(id)
        same = kept.keys() == finetune.parameters.keys() and all(
            torch.equal(kept[name], tensor) for name, tensor in finetune.parameters.items()
        )
    else:
        same = _same(store.read(id), finetune.diff)
    if not same:
        raise MismatchError(
            f"{folder} holds another finetune called {id!r} than {finetune.name}; convert it into "
            "another store"
        )
    return True


def _same(found: Diff, wanted: Diff) -> bool:
    """Whether two diffs are the same, factor by factor."""
    return found.keys() == wanted.keys() and all(
        found[name].scaling == change.scaling
        and torch.equal(found[name].A, change.A)
        and torch.equal(found[name].B, change.B)
        for name, change in wanted.items()
    )


def _id(finetune: Finetune) -> str:
    """What a finetune is called in a store: its key, or its name where it has none."""
    return split_key(finetune.name)[1] or finetune.name


def _folder_name(finetune: Finetune, number: int) -> str:
    """A name that every system allows, from a key that may be any text."""
    kept = "".join(c if c.isalnum() or c in "-_" else "-" for c in _id(finetune))[:60].strip("-")
    return f"{number:05d}-{kept}" if kept else f"{number:05d}"


def _chained(first: Finetune, rest: Iterator[Finetune]) -> Iterator[Finetune]:
    yield first
    yield from rest
