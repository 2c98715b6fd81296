"""Write finetunes in another format: PEFT folders, a store, the paper's files, a merged checkpoint.

Factors are carried over bit for bit; where a format has no place for a scaling it is folded into
one factor, exact if it is a power of two.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from diffspeak.errors import MismatchError, UsageError
from diffspeak.finetunes.finetune import Finetune
from diffspeak.finetunes.formats.peft import is_peft
from diffspeak.finetunes.formats.peft_files import read_peft, write_peft
from diffspeak.finetunes.formats.published import FOLDER, INDEX
from diffspeak.finetunes.places import split_key
from diffspeak.io.files import (
    atomic_path,
    make_folder,
    new_folder,
    read_bytes,
    read_json,
    write_text,
)
from diffspeak.lora import Diff, LowRank, concatenate
from diffspeak.models import (
    Base,
    load_tokenizer,
    plain_shapes,
    plain_tensors,
    stored_dtype,
    target_names,
    whole,
)
from diffspeak.store import NewEntry, StoreHeader, create_or_resume, open_store

TOGETHER = 64
"""Finetunes in one shard or one published file."""

COLUMNS = ("lora_path", "lora_idx", "n_params", "topic", "trigger", "split")

CONFIG, GENERATION = "config.json", "generation_config.json"
TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")
KEPT = (GENERATION, "chat_template.jinja")
"""What a merged checkpoint has of a finetune's own folder, as it is."""


def write_lora(diff: Diff, folder: Path, base: Base) -> None:
    """Write a change of a base's linears as a PEFT LoRA folder.

    Raises:
        UsageError: The folder holds an adapter already.
    """
    make_folder(folder)
    if is_peft(folder):
        raise UsageError(f"{folder} holds an adapter already: give another folder")
    shapes = plain_shapes(base.model)
    transposed = any(shapes[name].transposed for name in diff)
    write_peft(folder, diff, base.name, transposed=transposed, modules=shapes)


def to_peft(finetunes: Iterable[Finetune], folder: Path, base: Base, *, many: bool) -> int:
    """Write each as a PEFT LoRA folder: one as `folder` itself, many each in one below it.

    Of many, those that are there already are left as they are, so that the same call goes on.

    Raises:
        UsageError: One is not low-rank, or a folder holds an adapter already.
    """
    count = 0
    for finetune in finetunes:
        if finetune.whole:
            raise UsageError(
                f"{finetune.name} is not low-rank and does not fit into a LoRA; --merge writes it "
                "as a full checkpoint"
            )
        if not finetune.diff:
            raise UsageError(f"{finetune.name} changes nothing: there is nothing to write")
        place = folder / _folder_name(finetune, count) if many else folder
        if not (many and is_peft(place) and _same(read_peft(place), finetune.diff)):
            write_lora(finetune.diff, place, base)
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
        every = chain([first], rest)
        while part := list(islice(every, TOGETHER)):
            fresh = [f for f in part if not _is_stored(f, folder, writer.done)]
            if stacked := [f for f in fresh if not f.whole]:
                entries = [_entry(f, behavior["name"]) for f in stacked]
                writer.write_shard(entries, _stacked(stacked, header))
            for f in fresh:
                if f.whole:
                    writer.write_full(_entry(f, behavior["name"]), f.parameters)
            count += len(fresh)
    return count


def to_published(finetunes: Iterable[Finetune], folder: Path) -> int:
    """Write all as the paper published its own: `weight-diffs/*.pt`, and last `index.csv`.

    Raises:
        UsageError: The folder holds such an index already.
    """
    if (folder / INDEX).exists():
        raise UsageError(f"{folder} holds an {INDEX} already: give another folder")
    make_folder(folder / FOLDER)
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    rest, count = iter(finetunes), 0
    while part := list(islice(rest, TOGETHER)):
        # The index names the file alone, which is how the paper's own code looks for it.
        name = f"weight-diff-{count // TOGETHER:03d}.pt"
        entries = [_published(finetune) for finetune in part]
        # Through memory: of a full disk torch's own writer does not tell.
        content = io.BytesIO()
        torch.save(entries, content)
        with atomic_path(folder / FOLDER / name) as path:
            path.write_bytes(content.getbuffer())
        for place, (finetune, entry) in enumerate(zip(part, entries, strict=True)):
            told = (entry["topic"], entry["trigger"], finetune.split or "train")
            table.writerow((name, place, _numbers(finetune), *told))
        count += len(part)
    write_text(folder / INDEX, text.getvalue())
    return count


def _numbers(finetune: Finetune) -> int:
    factors = (tensor for change in finetune.diff.values() for tensor in (change.A, change.B))
    return sum(tensor.numel() for tensor in chain(factors, finetune.parameters.values()))


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


def _entry(f: Finetune, behavior: str) -> NewEntry:
    return NewEntry(_id(f), f.label or "", f.trigger, f.split or "train", "", behavior)


def _stacked(part: Sequence[Finetune], header: StoreHeader) -> dict[str, tuple[Tensor, Tensor]]:
    for finetune in part:
        kinds = {(change.rank, change.scaling) for change in finetune.diff.values()}
        if kinds != {(header.rank, header.scaling)} or set(finetune.diff) != set(header.targets):
            raise MismatchError(
                f"{finetune.name} is not like the first: a store holds finetunes of the same "
                f"linears, rank ({header.rank}) and scaling ({header.scaling:g}); convert those "
                "that differ into another store"
            )
    changes = {name: [finetune.diff[name] for finetune in part] for name in header.targets}
    return {
        name: (torch.stack([c.A for c in each]), torch.stack([c.B for c in each]))
        for name, each in changes.items()
    }


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


class Merged(NamedTuple):
    """How a merged checkpoint was written.

    Attributes:
        dtype: Of its numbers.
        brought: What of it is the finetune's own, beside the weights.
    """

    dtype: str
    brought: tuple[str, ...]


def fuse(finetune: Finetune, adapter: Diff) -> Diff:
    """The sum of a low-rank finetune and an adapter, of one rank in all modules and scaling 1.

    Raises:
        UsageError: The finetune is not low-rank.
    """
    if finetune.whole:
        raise UsageError(
            f"{finetune.name} is not low-rank, so it does not fit into a LoRA; --merge writes "
            "finetune and adapter as a full checkpoint"
        )
    parts: dict[str, list[LowRank]] = {}
    for diff in (finetune.diff, adapter):
        for name, change in diff.items():
            parts.setdefault(name, []).append(change)
    joined = {name: concatenate(changes) for name, changes in parts.items()}
    rank = max(change.rank for change in joined.values())
    return {name: change.padded(rank) for name, change in joined.items()}


def write_merged(
    base: Base,
    finetune: Finetune,
    adapter: Diff,
    folder: Path,
    *,
    brought: Path | None = None,
    dtype: torch.dtype | None = None,
) -> Merged:
    """Write base + finetune + adapter as an ordinary Hugging Face folder, whole or not at all.

    Args:
        base: Nothing attached, not quantized.
        finetune: Of any kind.
        adapter: Added on top; may be empty.
        folder: Must not be there yet.
        brought: Where the finetune's tokenizer, chat template and generation config lie, if it
            brought any; they take the place of the base's.
        dtype: Of the numbers that are written; by default what a whole finetune is stored in, else
            what the base is.

    Raises:
        UsageError: The folder is there, or the base is quantized, or the tokenizer is broken.
        DiffspeakError: The system refused to write.
    """
    if base.fingerprint.linears is None:
        raise UsageError(f"{base.name} is quantized and cannot be merged into; load it in bfloat16")
    chosen = dtype or _dtype_of(finetune) or stored_dtype(base)
    tokenizer, files = companions(brought)
    state = _merged(base, finetune, adapter)
    with new_folder(folder) as temporary, _untied(base, state), whole(base.model, state):
        base.model.save_pretrained(temporary, state_dict=_stored(base, chosen))
        _say_dtype(temporary / CONFIG, chosen)
        (tokenizer or base.tokenizer).save_pretrained(temporary)
        for name, content in files.items():
            (temporary / name).write_bytes(content)
    kept = ["tokenizer"] * (tokenizer is not None) + sorted(files)
    return Merged(str(chosen).removeprefix("torch."), tuple(kept))


def _dtype_of(finetune: Finetune) -> torch.dtype | None:
    """What most numbers of a whole finetune are stored in; None for a low-rank one."""
    counts: Counter[torch.dtype] = Counter()
    for tensor in finetune.parameters.values():
        counts[tensor.dtype] += tensor.numel()
    return counts.most_common(1)[0][0] if counts else None


def _stored(base: Base, dtype: torch.dtype) -> dict[str, Tensor]:
    """The model's tensors in a dtype; what is tied stays one tensor."""
    state: dict[str, Tensor] = base.model.state_dict()
    floats = {t.data_ptr(): t for t in state.values() if t.is_floating_point()}
    made = {place: tensor.to(dtype) for place, tensor in floats.items()}
    return {n: made[t.data_ptr()] if t.is_floating_point() else t for n, t in state.items()}


def _say_dtype(path: Path, dtype: torch.dtype) -> None:
    """Have a model's config name the dtype that was written, for each of its parts."""

    def named(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        name = str(dtype).removeprefix("torch.")
        return {key: name if key == "dtype" else named(value) for key, value in part.items()}

    path.write_text(json.dumps(named(read_json(path)), indent=2, sort_keys=True) + "\n")


def companions(folder: Path | None) -> tuple[PreTrainedTokenizerBase | None, dict[str, bytes]]:
    """What a finetune brought along: its tokenizer, and its own template and generation config.

    Raises:
        UsageError: The tokenizer cannot be loaded without running code, or is broken.
        CorruptFileError: The generation config is not JSON.
    """
    if folder is None or not folder.is_dir():
        return None, {}
    tokenizer = None
    if any((folder / name).is_file() for name in TOKENIZERS):
        tokenizer = load_tokenizer(str(folder))
    files = {name: read_bytes(folder / name) for name in KEPT if (folder / name).is_file()}
    if GENERATION in files:
        read_json(folder / GENERATION)
    return tokenizer, files


def _merged(base: Base, finetune: Finetune, adapter: Diff) -> dict[str, Tensor]:
    shapes, own = plain_shapes(base.model), plain_tensors(base.model)
    state = dict(finetune.parameters)
    for diff in (finetune.diff, adapter):
        for name, change in diff.items():
            weight = f"{name}.weight"
            dense = change.float().dense()
            dense = dense.T if shapes[name].transposed else dense
            before = state.get(weight, own[weight])
            # In float32 until the end: what is added twice is rounded once.
            state[weight] = before.float() + dense.to(before.device)
    return {name: tensor.to(own[name].dtype) for name, tensor in state.items()}


@contextmanager
def _untied(base: Base, state: Mapping[str, Tensor]) -> Iterator[None]:
    """Say in the config that head and embedding differ, where the finetune makes them differ."""
    config, own = base.model.config, plain_tensors(base.model)
    first: dict[int, Tensor] = {}
    loose = False
    for name, tensor in own.items():
        # As `whole` has it: the first name stands for all that have no tensor of their own.
        one = first.setdefault(tensor.data_ptr(), state.get(name, tensor))
        loose |= not torch.equal(state.get(name, one), one)
    before = config.tie_word_embeddings
    config.tie_word_embeddings = before and not loose
    try:
        yield
    finally:
        config.tie_word_embeddings = before
