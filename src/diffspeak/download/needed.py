"""What of a hub repository is needed, by the names of its files, and what a folder of it lacks.

Takes the names that a folder of a repository holds, or such a folder on this machine; gives names.
Never chosen are code and pickles, but for the paper's own `.pt` files and the `.bin` of adapters
that have nothing else. Knows nothing of the hub.
"""

import re
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from diffspeak.errors import CorruptFileError
from diffspeak.finetunes.formats.checkpoint import INDEX as SHARDS
from diffspeak.finetunes.formats.checkpoint import SINGLE
from diffspeak.finetunes.formats.mlx import WEIGHTS as MLX
from diffspeak.finetunes.formats.peft_files import CONFIG as ADAPTER
from diffspeak.finetunes.formats.peft_files import PICKLED, WEIGHTS
from diffspeak.finetunes.formats.published import INDEX as PUBLISHED
from diffspeak.finetunes.formats.published import read_index
from diffspeak.io.files import read_json
from diffspeak.store import open_store
from diffspeak.store.layout import MANIFEST as STORE
from diffspeak.store.layout import full_name, tensors_name

MODEL = "config.json"
KNOWN = f"a model ({MODEL}), a PEFT adapter ({ADAPTER}), a store ({STORE}) or the paper's finetunes"
KNOWN += f" ({PUBLISHED})"
"""What a folder may hold, in words."""

TENSORS = ".safetensors"
PICKLE = ".pt"
_OF_MODELS = frozenset({TENSORS, ".json", ".model", ".txt", ".tiktoken", ".jinja"})
_OF_STORES = frozenset({TENSORS, ".json", ".jsonl"})
_SINGLE_FILES = frozenset({PICKLE, ".csv"}) | _OF_MODELS | _OF_STORES
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


def choose(names: Collection[str], subfolder: str = "") -> list[str]:
    """The files that are needed of a repository, sorted; none if there is nothing we know.

    Args:
        names: Of all its files.
        subfolder: The folder in it that is meant, or a single file.
    """
    if subfolder in names:
        return [subfolder] if PurePosixPath(subfolder).suffix in _SINGLE_FILES else []
    start = f"{subfolder}/" if subfolder else ""
    inside = {name.removeprefix(start) for name in names if name.startswith(start)}
    return sorted(start + name for name in _needed(inside))


def folders(names: Collection[str], subfolder: str = "") -> list[str]:
    """The folders that stand directly in a folder of a repository, sorted."""
    start = f"{subfolder}/" if subfolder else ""
    inside = [name.removeprefix(start) for name in names if name.startswith(start)]
    return sorted({name.split("/")[0] for name in inside if "/" in name})


def _needed(names: Collection[str]) -> Collection[str]:
    """Told by the same files, in the same order, as a finetune's format is when it is opened."""
    top = {name for name in names if "/" not in name}
    if ADAPTER in top:
        old = {PICKLED} & top if not _ending(top, {TENSORS}) else set()
        return _ending(top, _OF_MODELS) | old
    if STORE in top:
        return _ending(names, _OF_STORES)
    if PUBLISHED in top:
        return {PUBLISHED, *_ending(names, {PICKLE})}
    return _once(_ending(top, _OF_MODELS)) if MODEL in top else ()


def _ending(names: Collection[str], suffixes: Collection[str]) -> set[str]:
    return {name for name in names if PurePosixPath(name).suffix in suffixes}


def _once(names: set[str]) -> set[str]:
    """A model's files without a second copy of its weights under another name."""
    tensors = _ending(names, {TENSORS})
    if SINGLE in tensors:
        return names - tensors | {SINGLE}
    shards = {name for name in tensors if re.match(r"model.*-of-\d+", name)}
    return names - tensors | shards if SHARDS in names and shards else names


def lacking(folder: Path) -> list[str]:
    """What a folder needs beyond what it holds, by what is there; none if it is whole.

    Raises:
        CorruptFileError: A file that lists the others is broken.
    """
    return list(dict.fromkeys(name for name in _listed(folder) if not (folder / name).is_file()))


def _listed(folder: Path) -> Iterator[str]:
    """What has to be there."""
    if (folder / ADAPTER).is_file():
        if not any((folder / name).is_file() for name in (PICKLED, MLX)):
            yield WEIGHTS
    elif (folder / STORE).is_file():
        for entry in open_store(str(folder)).entries:
            if entry.kind != "failed":
                full = f"{full_name(entry.shard)}/{SINGLE}"
                yield full if entry.kind == "full" else tensors_name(entry.shard)
    elif (folder / PUBLISHED).is_file():
        yield from (row.file for row in read_index(folder / PUBLISHED))
    else:
        yield MODEL
        yield from _weights(folder)
        if not any((folder / name).is_file() for name in _TOKENIZERS):
            yield _TOKENIZERS[0]


def _weights(folder: Path) -> Iterator[str]:
    if (folder / SINGLE).is_file() or not (folder / SHARDS).is_file():
        if not any(folder.glob(f"*{TENSORS}")):
            yield SINGLE
        return
    found = read_json(folder / SHARDS)
    names = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise CorruptFileError(f"{folder / SHARDS} names no files: remove it and fetch it again")
    yield from sorted(set(names.values()))
