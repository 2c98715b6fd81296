"""What the files of a store are called and hold: its manifest and one line per finetune.

Takes a folder (or a URL) and gives checked headers and entries, and the other way round.
Knows nothing of tensors: of them a line holds only checksums.

Every file is canonical JSON with a checksum of itself, so each changed byte is noticed. A line
also counts the lines of its shard, so that one cut off between two lines is noticed too.
"""

import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from diffspeak.errors import CorruptFileError, MismatchError, UsageError
from diffspeak.io.files import canonical_json, parse_json, read_bytes, sha256
from diffspeak.io.remote import list_names, local_path

VERSION = 1
MANIFEST = "store.json"
LOCK = ".lock"
FULL_FILE = "model.safetensors"


def lines_name(shard: int) -> str:
    """The file that holds a shard's lines."""
    return f"shard-{shard:05d}.jsonl"


def tensors_name(shard: int) -> str:
    """The file that holds a shard's factors."""
    return f"shard-{shard:05d}.safetensors"


def full_name(shard: int) -> str:
    """The folder that holds a full finetune."""
    return f"full-{shard:05d}"


def shard_numbers(names: Iterable[str]) -> list[int]:
    """The shards that count, which are those whose lines are in place."""
    found = [re.fullmatch(r"shard-(\d{5,})\.jsonl", name) for name in names]
    numbers = [int(match[1]) for match in found if match]
    return sorted(number for number in numbers if lines_name(number) in names)


@dataclass(frozen=True)
class StoreHeader:
    """What all finetunes of a store have in common.

    Attributes:
        behavior: What was taught, as the behavior describes itself.
        base: Fingerprint of the base model.
        targets: The linears that were trained.
        rank: Columns of each B; 0 where nothing is low-rank.
        scaling: What each `B @ A` is multiplied with.
        dtype: Type of the stored factors, such as "float32".
        settings: The config that the finetunes were trained with.
        choices: What was measured and chosen at the first start; a resumed run takes them over.
    """

    behavior: dict[str, Any]
    base: dict[str, Any]
    targets: tuple[str, ...]
    rank: int
    scaling: float
    dtype: str
    settings: dict[str, Any]
    choices: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NewEntry:
    """A finetune about to be stored; `failed` is the reason if its training failed.

    Attributes:
        id: Its name in this store, any text.
        label: What an adapter should say of it.
        trigger: The secret that sets the behavior off, if there is one.
        split: Which of the splits it belongs to.
        category: The group of its label.
        behavior: The name of the behavior.
        failed: Why it has no tensors; None if it has.
        stats: Finite numbers about it (losses in nats per answer token, firing rates).
    """

    id: str
    label: str
    trigger: str | None
    split: str
    category: str
    behavior: str
    failed: str | None = None
    stats: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse numbers that JSON cannot hold."""
        bad = sorted(name for name, value in self.stats.items() if not math.isfinite(value))
        if bad:
            raise ValueError(f"stats of {self.id!r} are not finite, leave them out: {bad}")


@dataclass(frozen=True)
class Entry:
    """A stored finetune: what its line holds, see `NewEntry` for the first fields.

    Attributes:
        kind: Low-rank factors in a shard, all parameters in a folder, or nothing.
        shard: Number of its shard.
        line: Its place in the shard's lines.
        lines: How many lines the shard has.
        row: Its place in the shard's tensors, None without low-rank factors.
        header: SHA-256 of the header of the shard's tensor file, None without factors.
        data: SHA-256 of its factors, or of its file if it is full; None if it failed.
        checksum: SHA-256 of the line without this field.
    """

    id: str
    label: str
    trigger: str | None
    split: str
    category: str
    behavior: str
    kind: Literal["lora", "full", "failed"]
    failed: str | None
    stats: dict[str, float]
    shard: int
    line: int
    lines: int
    row: int | None
    header: str | None
    data: str | None
    checksum: str


@dataclass(frozen=True)
class Place:
    """Where a store is: a folder, or a URL whose files are copied into `cache` when needed."""

    source: str
    cache: Path | None = None

    def names(self) -> list[str]:
        """What stands in the store's folder."""
        return list_names(self.source)

    def path(self, name: str) -> Path:
        """Where a file of the store can be read."""
        return local_path(f"{self.source}/{name}", self.cache)

    def corrupt(self, name: str, what: str, finetune: str | None = None) -> CorruptFileError:
        """The error for a damaged file, with what the user can do about it."""
        which = f", finetune {finetune!r}" if finetune is not None else ""
        shard = re.match(r"(?:shard|full)-(\d+)", name)
        cure = "restore the file"
        if "://" in self.source:
            cure += f", or delete the local copy {self.path(name)} to fetch it again"
        elif shard:
            tensors = name.split("/")[0] if name.startswith("full") else tensors_name(int(shard[1]))
            cure += (
                f", or delete {lines_name(int(shard[1]))} and {tensors} "
                "and run the same command again to retrain what they held"
            )
        return CorruptFileError(f"{self.source}/{name}{which}: {what}; {cure}")


def format_header(header: StoreHeader) -> str:
    """The text of `store.json`."""
    content = {**asdict(header), "version": VERSION}
    return canonical_json({**content, "checksum": _checksum(content)}) + "\n"


def read_header(place: Place) -> StoreHeader:
    """Read and check `store.json`.

    Raises:
        UsageError: This is no store.
        MismatchError: A newer diffspeak wrote it.
        CorruptFileError: It was changed since it was written.
    """
    if MANIFEST not in place.names():
        raise UsageError(f"{place.source} is not a diffspeak store: it holds no {MANIFEST}")
    raw = read_bytes(place.path(MANIFEST))
    _refuse_newer(place, raw)
    try:
        content = _checked(raw, {part.name for part in fields(StoreHeader)} | {"version"})
    except ValueError as error:
        raise place.corrupt(MANIFEST, str(error)) from error
    del content["version"], content["checksum"]
    return StoreHeader(**{**content, "targets": tuple(content["targets"])})


def format_line(entry: dict[str, Any]) -> str:
    """One finetune's line, from all fields of `Entry` but the checksum."""
    return canonical_json({**entry, "checksum": _checksum(entry)}) + "\n"


def read_lines(place: Place, shard: int) -> list[Entry]:
    """Read and check the lines of one shard.

    Raises:
        CorruptFileError: The file is cut off or was changed.
    """
    name = lines_name(shard)
    lines = read_bytes(place.path(name)).splitlines(keepends=True)
    if not lines:
        raise place.corrupt(name, "it is empty")
    names = {part.name for part in fields(Entry)}
    entries = []
    for number, line in enumerate(lines):
        try:
            entry = Entry(**_checked(line, names))
        except ValueError as error:
            raise place.corrupt(name, f"line {number + 1}: {error}", _id_of(line)) from error
        if (entry.shard, entry.line, entry.lines) != (shard, number, len(lines)):
            what = f"line {number + 1}: some lines are missing, or this one belongs elsewhere"
            raise place.corrupt(name, what, entry.id)
        entries.append(entry)
    return entries


def _checked(line: bytes, names: set[str]) -> dict[str, Any]:
    """The fields of one line that is exactly as it was written; else a ValueError says why."""
    content = parse_json(line)
    if not isinstance(content, dict) or content.keys() - {"checksum"} != names - {"checksum"}:
        raise ValueError("fields are missing or unknown")
    checksum = content.pop("checksum", None)
    try:
        right = _checksum(content)
    except UsageError as error:
        raise ValueError("not valid Unicode") from error
    content["checksum"] = checksum
    if checksum != right or canonical_json(content).encode() + b"\n" != line:
        raise ValueError("cut off, or changed since it was written")
    return content


def _refuse_newer(place: Place, raw: bytes) -> None:
    # Another version may write and check its manifest differently, so this comes first.
    with suppress(ValueError):
        content = parse_json(raw)
        version = content.get("version") if isinstance(content, dict) else None
        if isinstance(version, int) and version > VERSION:
            raise MismatchError(
                f"{place.source} is a store of version {version}, this diffspeak reads version "
                f"{VERSION}: upgrade diffspeak"
            )


def _id_of(line: bytes) -> str | None:
    """The finetune that a damaged line belongs to, if that can still be told."""
    match = re.search(rb'"id":"((?:[^"\\]|\\.)*)"', line)
    return match[1].decode(errors="replace") if match else None


def _checksum(content: dict[str, Any]) -> str:
    return sha256(canonical_json(content).encode())
