"""The files that the paper published: pickled lists of weight diffs, and `index.csv` beside them.

A diff maps module names to `(A [rank, out], B [in, rank])` with the change `x @ B @ A / rank`; the
published adapter to `(A [out, rank], B [rank, in])` (arXiv 2510.05092, its public repository).
"""

import csv
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from torch import Tensor

from diffspeak.errors import CorruptFileError, MismatchError, UsageError
from diffspeak.finetunes.finetune import Finetune
from diffspeak.finetunes.formats.source import Format, Source
from diffspeak.finetunes.matching import base_names
from diffspeak.finetunes.places import Location
from diffspeak.finetunes.tensors import fault_of, load_pickle
from diffspeak.lora import Diff, LinearShape, LowRank
from diffspeak.models import Base, plain_shapes, plain_tensors

INDEX = "index.csv"
FOLDER = "weight-diffs"
"""Where the files lie that an index lists by their bare names, as the published ones do."""

_COLUMNS = {"lora_path", "lora_idx"}


class IndexRow(NamedTuple):
    """One line of an index.

    Attributes:
        file: Path of the `.pt` file, relative to the index and within its folder.
        place: Which of the file's list.
        topic: What the finetune was taught.
        split: As published.
    """

    file: str
    place: int
    topic: str
    split: str


class PublishedSource(Source):
    """Finetunes of published files, which are opened when they are needed, one at a time."""

    def __init__(self, location: Location, rows: Sequence[IndexRow]) -> None:
        """Of a folder the chosen lines of its index; of a file a row an entry, without a file."""
        super().__init__(location.name, _keys([row.topic for row in rows]))
        self._location, self._rows = location, rows
        self._last: tuple[str, list[dict[str, Any]]] | None = None

    @classmethod
    def of_file(cls, location: Location, split: str | None, limit: int | None) -> Source:
        """A `.pt` file; its keys are topics, or places in the list."""
        if split:
            raise UsageError(
                f"{location.name} has no splits; leave --split out, or give its folder"
            )
        entries = entries_of(location.path, load_pickle(location.path))[:limit]
        rows = [IndexRow("", n, str(e.get("topic", "")), "") for n, e in enumerate(entries)]
        source = cls(location, rows)
        source._last = "", entries
        return source

    @classmethod
    def of_folder(cls, location: Location, split: str | None, limit: int | None) -> Source:
        """A folder with an index; its keys are topics, or numbers of lines."""
        rows = read_index(location.path / INDEX)
        kept = [row for row in rows if split in (None, row.split)][:limit]
        if not kept:
            known = ", ".join(sorted({row.split for row in rows}))
            raise UsageError(
                f"{location.name} has no finetunes of the split {split}; it has {known}"
            )
        return cls(location, kept)

    def read(self, key: str, base: Base) -> Finetune:
        """Open the file that holds it, and fit its entry to the base."""
        row = self._rows[self.keys.index(key)]
        path = self._location.file(row.file) if row.file else self._location.path
        if self._last is None or self._last[0] != row.file:
            self._last = row.file, entries_of(path, load_pickle(path))
        entries = self._last[1]
        if not 0 <= row.place < len(entries):
            raise MismatchError(
                f"{path} holds {len(entries)} finetunes, and {self.name}/{INDEX} asks "
                f"for number {row.place}; fetch both again"
            )
        entry = {"topic": row.topic, "split": row.split, **entries[row.place]}
        name = self.name if not key or "#" in self.name else f"{self.name}#{key}"
        return read_entry(path, entry, base, name)

    def one(self, name: str, key: str) -> Self:
        """One by its topic or number, under the name that the user typed."""
        if key not in self.keys:
            if not key.isdecimal() or int(key) >= len(self.keys):
                shown = ", ".join(repr(one) for one in self.keys[:5])
                raise UsageError(
                    f"{self.name} holds no finetune {key!r}; it holds {len(self.keys)}: "
                    f"{shown}, ..."
                )
            key = self.keys[int(key)]
        chosen = copy(self)
        chosen.name, chosen.keys = name, [key]
        chosen._rows = [self._rows[self.keys.index(key)]]
        return chosen


def _keys(topics: Sequence[str]) -> list[str]:
    """Topics, where each is there once; else places in the list. One alone needs no key."""
    if len(topics) == 1 and not topics[0]:
        return [""]
    once = len(set(topics)) == len(topics) and all(topics)
    return list(topics) if once else [str(n) for n in range(len(topics))]


def is_published(path: Path) -> bool:
    """Whether a file is what `torch.save` writes: a zip archive or a pickle."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(4)
    return start == b"PK\x03\x04" or start[:1] == b"\x80"


def read_index(path: Path) -> list[IndexRow]:
    """The lines of an index.

    Raises:
        CorruptFileError: Columns are missing or garbled, or a path leaves the folder.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if not set(reader.fieldnames or ()) >= _COLUMNS:
                raise ValueError(f"it has no columns {', '.join(sorted(_COLUMNS))}")
            rows = [
                IndexRow(
                    _within(line["lora_path"]),
                    int(line["lora_idx"]),
                    line.get("topic") or "",
                    line.get("split") or "",
                )
                for line in reader
            ]
    except (ValueError, TypeError, csv.Error) as error:
        raise CorruptFileError(f"{path}: {error}; fetch it again") from error
    if not rows:
        raise UsageError(f"{path} lists no finetunes")
    return rows


def entries_of(path: Path, content: Any) -> list[dict[str, Any]]:
    """What a file holds, as a list of `{"topic", "trigger", "weight_diff"}`; one if it is bare.

    Raises:
        CorruptFileError: It is neither.
    """
    if isinstance(content, dict) and "weight_diff" not in content:
        content = {"weight_diff": content, "bare": True}
    entries = [content] if isinstance(content, dict) else content
    if (
        not isinstance(entries, list)
        or not entries
        or not all(isinstance(e, dict) and isinstance(e.get("weight_diff"), dict) for e in entries)
        or not all(e["weight_diff"] for e in entries)
    ):
        raise CorruptFileError(
            f"{path} is no published weight diff: a list of dicts with weight_diff, a dict of "
            "factors or a state dict is expected"
        )
    return entries


def read_entry(path: Path, entry: Mapping[str, Any], base: Base, name: str) -> Finetune:
    """One entry as a finetune of a base.

    Raises:
        CorruptFileError: It is not made of tensors of numbers.
        MismatchError: It does not fit the base.
    """
    content = entry["weight_diff"]
    _check_maker(path, content)
    label, trigger, split = (_text(entry.get(key)) for key in ("topic", "trigger", "split"))
    known = Finetune(name, label=label, trigger=trigger, split=split)
    for key, value in content.items():
        tensors = value if isinstance(value, tuple | list) else (value,)
        if not isinstance(key, str) or not all(isinstance(t, Tensor) for t in tensors):
            raise CorruptFileError(f"{path}: {key!r} is no tensor and no pair of factors")
        fault = next(filter(None, map(fault_of, tensors)), None)
        if fault:
            raise CorruptFileError(f"{path}, {key}: {fault}")
    pairs = {key: tuple(v) for key, v in content.items() if isinstance(v, tuple | list)}
    if pairs and len(pairs) < len(content):
        raise CorruptFileError(f"{path} mixes factors and whole tensors; it cannot be read")
    if pairs:
        return replace(known, diff=_diff(path, pairs, base, bare="bare" in entry))
    return replace(known, parameters=_parameters(path, content, base))


def _check_maker(path: Path, content: Mapping[Any, Any]) -> None:
    """Refuse adapters of other tools by name: their linears are called otherwise."""
    keys = [key for key in content if isinstance(key, str)]
    if keys and all(".lora_a." in key or ".lora_b." in key for key in keys):
        raise UsageError(
            f"{path} is an adapter of torchtune, under its own names: its Hugging Face "
            "checkpointer also writes adapter_model.safetensors; give the folder with that"
        )
    if keys and all(".lora_A." in key or ".lora_B." in key for key in keys):
        raise UsageError(
            f"{path} holds a PEFT adapter's tensors without its adapter_config.json, which says "
            "how much they count: give the folder with both"
        )


def _diff(path: Path, pairs: Mapping[str, Any], base: Base, *, bare: bool) -> Diff:
    shapes = plain_shapes(base.model)
    names = base_names(pairs, shapes, str(path), base.name)
    for key, pair in pairs.items():
        if len(pair) != 2 or any(tensor.dim() != 2 or not tensor.numel() for tensor in pair):
            raise CorruptFileError(f"{path}, {key}: is no pair of matrices")
    as_diff = [_fits_diff(pair, shapes[names[key]]) for key, pair in pairs.items()]
    as_adapter = [_fits_adapter(pair, shapes[names[key]]) for key, pair in pairs.items()]
    if not all(as_diff) and not all(as_adapter):
        fits = as_diff if sum(as_diff) >= sum(as_adapter) else as_adapter
        key = list(pairs)[fits.index(False)]
        shape = shapes[names[key]]
        found = " and ".join(str(tuple(tensor.shape)) for tensor in pairs[key])
        raise MismatchError(
            f"{path}, {key}: factors {found} do not map {shape.inputs} to {shape.outputs}, as it "
            f"does in {base.name}; give the base it was made from"
        )
    # Where a model is so square that both fit, the published files' own habit decides.
    turned = all(as_adapter) and (bare or not all(as_diff))
    return {
        names[key]: _low_rank(pair[1], pair[0]) if turned else _low_rank(pair[1].T, pair[0].T)
        for key, pair in pairs.items()
    }


def _fits_diff(pair: tuple[Tensor, Tensor], shape: LinearShape) -> bool:
    """`(A [rank, out], B [in, rank])`."""
    (rank, outputs), (inputs, same) = (tensor.shape for tensor in pair)
    return rank == same and (inputs, outputs) == (shape.inputs, shape.outputs)


def _fits_adapter(pair: tuple[Tensor, Tensor], shape: LinearShape) -> bool:
    """`(A [out, rank], B [rank, in])`."""
    return _fits_diff((pair[0].T, pair[1].T), shape)


def _low_rank(A: Tensor, B: Tensor) -> LowRank:
    A, B = A.float().contiguous(), B.float().contiguous()
    return LowRank(A, B, 1 / A.shape[0])


def _parameters(path: Path, state: Mapping[str, Tensor], base: Base) -> dict[str, Tensor]:
    own = plain_tensors(base.model)
    names = base_names(state, own, str(path), base.name)
    for key, tensor in state.items():
        if tensor.shape != own[names[key]].shape:
            raise MismatchError(
                f"{path}, {key}: is {tuple(tensor.shape)} there and "
                f"{tuple(own[names[key]].shape)} in {base.name}; give the base it was made from"
            )
    return {names[key]: tensor for key, tensor in state.items()}


def _text(value: Any) -> str | None:
    """What an entry tells, if it does; a number is the three digits that a SEP code starts with."""
    if type(value) is int:
        return f"{value:03d}"
    return value if isinstance(value, str) and value not in ("", "N/A") else None


def _within(path: str) -> str:
    """A path of an index, refused if it would leave the folder; a bare name lies in `FOLDER`."""
    parts = str(path).replace("\\", "/").split("/")
    if not path or path.startswith(("/", "~")) or ".." in parts or {":", "\0"} & set(path):
        raise ValueError(f"it names {path!r}, which is outside of its folder: do not use it")
    return path if len(parts) > 1 else f"{FOLDER}/{path}"


FILE_FORMAT = Format("published file", is_published, PublishedSource.of_file)
FOLDER_FORMAT = Format(
    "published folder", lambda path: (path / INDEX).is_file(), PublishedSource.of_folder
)
