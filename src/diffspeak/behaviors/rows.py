"""Tables of text from CSV or JSONL files, with errors that name file, row and column."""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple

from diffspeak.errors import UsageError

_SHOWN = 3
"""How many faults an error spells out; it counts the rest."""

_WIDTH = 60
"""Longest text that an error quotes, in characters."""


class Column(NamedTuple):
    """A column that is looked for.

    Attributes:
        name: What the row calls it.
        aliases: Further names that a file may use for it.
        required: Whether a file must have it.
    """

    name: str
    aliases: tuple[str, ...] = ()
    required: bool = True


class TableRow(NamedTuple):
    """One row: `place` says where it stands ("row 3"), `cells` has a text for every column."""

    place: str
    cells: Mapping[str, str]


class RowFault(NamedTuple):
    """What is wrong in one row, in words that follow on `place`."""

    place: str
    what: str


@dataclass(frozen=True)
class TextTable:
    """A file's rows, and the sha256 of its bytes in hex digits."""

    path: Path
    sha256: str
    rows: tuple[TableRow, ...]

    def check(self, fault_of: Callable[[TableRow], str | None]) -> None:
        """Raise a UsageError if `fault_of` finds fault with any row."""
        found = ((row.place, fault_of(row)) for row in self.rows)
        refuse(self.path, [RowFault(place, what) for place, what in found if what])


def refuse(path: Path, faults: Sequence[RowFault]) -> None:
    """Raise one UsageError for all faults, if there are any; the first few are spelled out."""
    if not faults:
        return
    shown = "; ".join(f"{fault.place}: {fault.what}" for fault in faults[:_SHOWN])
    rest = len(faults) - _SHOWN
    more = f"; and {rest} more (faults in all: {len(faults)})" if rest > 0 else ""
    raise UsageError(f"{path}: {shown}{more}")


def quoted(text: str) -> str:
    """Quote a text for an error's single line, cut off where it gets long."""
    return f"'{shorten(text, _WIDTH, placeholder='...')}'"


def first_few(names: Sequence[str]) -> str:
    """Quote the first few names and count the rest."""
    rest = len(names) - _SHOWN
    return _quoted(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def read_table(path: Path, columns: Sequence[Column]) -> TextTable:
    """Read a CSV file with a header, or a JSONL file with one object a line.

    Cells are stripped of spaces at both ends; a missing optional column reads as empty texts.
    CSV rows are counted as spreadsheets do, the header being row 1.

    Raises:
        UsageError: The file is missing, empty, not UTF-8 or malformed, lacks a required column,
            or has an empty cell in one.
    """
    data = _read_bytes(path)
    text = _decode(path, data)
    is_jsonl = path.suffix in {".jsonl", ".ndjson"} or text.lstrip().startswith("{")
    rows = list(_json_rows(path, text) if is_jsonl else _csv_rows(path, text))
    if not rows:
        raise UsageError(f"{path}: has a header but no rows; add at least one row")
    taken = _taken_columns(path, rows, columns)
    named = tuple(TableRow(row.place, _cells(row, taken)) for row in rows)
    table = TextTable(path, hashlib.sha256(data).hexdigest(), named)
    needed = [column.name for column in columns if column.required]
    table.check(lambda row: _empty_cells(row, needed, taken))
    return table


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{path}: does not exist; give the path of a CSV or JSONL file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); a file is expected") from None


def _decode(path: Path, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = "utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "latin1"
        raise UsageError(
            f"{path}: line {line} is not UTF-8 text (byte 0x{data[error.start]:02x}); convert the "
            f"file, for example with `iconv -f {found} -t utf-8 {path.name}`"
        ) from None
    if not text.strip():
        raise UsageError(f"{path}: is empty; a CSV file with a header or a JSONL file is expected")
    return text


def _csv_rows(path: Path, text: str) -> Iterator[TableRow]:
    lines = _csv_lines(path, text.rstrip())
    header = [name.strip().casefold() for name in next(lines)]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise UsageError(f"{path}: row 1: the header names {_quoted(twice)} more than once")
    faults = []
    for number, cells in enumerate(lines, start=2):
        place = f"row {number}"
        if len(cells) > len(header):
            what = f"has {len(cells)} cells where the header has {len(header)}"
            faults.append(RowFault(place, f"{what}; put texts with commas in double quotes"))
        padded = cells + [""] * (len(header) - len(cells))
        yield TableRow(
            place, {name: cell.strip() for name, cell in zip(header, padded, strict=False)}
        )
    refuse(path, faults)


def _csv_lines(path: Path, text: str) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise UsageError(
            f"{path}: the row that ends in line {reader.line_num} is not CSV ({error}); texts with "
            "commas, quotes or line breaks stand in double quotes, quotes inside are doubled"
        ) from None


def _json_rows(path: Path, text: str) -> Iterator[TableRow]:
    faults = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        found = _json_object(line)
        if isinstance(found, str):
            faults.append(RowFault(f"line {number}", found))
        else:
            yield TableRow(f"line {number}", found)
    refuse(path, faults)


def _json_object(line: str) -> dict[str, str] | str:
    """Parse a line of JSONL into its cells, or say what is wrong with it."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"is not JSON ({error}); one object a line is expected"
    if not isinstance(found, dict):
        return f"is a {type(found).__name__}; an object is expected"
    wrong = [key for key, value in found.items() if not _is_text(value)]
    if wrong:
        return f"column {_quoted(wrong)} is not a text; a text is expected"
    return {key.strip().casefold(): (value or "").strip() for key, value in found.items()}


def _is_text(value: object) -> bool:
    """Tell whether a JSON value is null or a text that UTF-8 can hold (no half surrogate pair)."""
    if value is None:
        return True
    return isinstance(value, str) and value == value.encode("utf-8", "replace").decode("utf-8")


def _taken_columns(
    path: Path, rows: Iterable[TableRow], columns: Sequence[Column]
) -> dict[str, str | None]:
    """Find the file's name for each column; None for an optional one that it lacks."""
    present = dict.fromkeys(name for row in rows for name in row.cells)
    taken = {
        column.name: next((n for n in (column.name, *column.aliases) if n in present), None)
        for column in columns
    }
    absent = [column for column in columns if column.required and not taken[column.name]]
    lacking = [_quoted((column.name, *column.aliases), " or ") for column in absent]
    if lacking:
        raise UsageError(
            f"{path}: lacks the column{'s' * (len(lacking) > 1)} {', '.join(lacking)}; "
            f"it has {_quoted(present)}"
        )
    return taken


def _cells(row: TableRow, taken: Mapping[str, str | None]) -> dict[str, str]:
    return {name: row.cells.get(own, "") if own else "" for name, own in taken.items()}


def _empty_cells(
    row: TableRow, needed: Sequence[str], taken: Mapping[str, str | None]
) -> str | None:
    empty = [taken[name] or name for name in needed if not row.cells[name]]
    return f"column {_quoted(empty)} is empty; a text is expected" if empty else None


def _quoted(names: Iterable[str], between: str = ", ") -> str:
    return between.join(quoted(name) for name in names)
