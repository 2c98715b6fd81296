"""Large tables, read and written row by row.

Takes a CSV file and the names of columns, gives cells; takes rows, writes CSV or JSON lines. Never
holds more than a row. Knows nothing of what the columns mean.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TextIO

from diffspeak.download.meter import Meter
from diffspeak.errors import UsageError
from diffspeak.io.files import canonical_json
from diffspeak.progress import Reporter

Cells = Sequence[str]

_LONGEST = 2**24
"""Longest cell that is read, in characters; Python's own limit is 2**17."""
_EVERY = 1000
"""Rows from one word about progress to the next."""


@contextmanager
def read_rows(
    table: Path, columns: Sequence[str], stage: str, reporter: Reporter, mend: str
) -> Iterator[Iterator[Cells]]:
    """Give the cells of some columns, row by row.

    Args:
        table: A CSV file with a header, in UTF-8.
        columns: Names, in the order in which the cells are wanted.
        stage: What the reporter is told that this is.
        reporter: Told how many bytes are read.
        mend: What an error tells the user to do.

    Raises:
        UsageError: There is no such file, it is no such table, or it is damaged.
    """
    try:
        file = table.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise UsageError(f"cannot read {table} ({error.strerror}): {mend}") from error
    limit = csv.field_size_limit(_LONGEST)
    try:
        with file:
            meter = Meter(reporter, stage, table.stat().st_size)
            yield _cells(table, file, columns, meter, mend)
            meter.end()
    finally:
        csv.field_size_limit(limit)


def row_writer(file: TextIO, target: Path, header: Cells) -> Callable[[Cells], object]:
    """What writes a row: as JSON where the target's name ends in `.jsonl`, else as CSV."""
    if target.suffix in {".jsonl", ".ndjson"}:
        return lambda row: file.write(canonical_json(dict(zip(header, row, strict=True))) + "\n")
    # All is quoted, for Python before 3.13 leaves a lone carriage return bare.
    rows = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    rows.writerow(header)
    return rows.writerow


def _cells(
    table: Path, file: IO[str], columns: Sequence[str], meter: Meter, mend: str
) -> Iterator[Cells]:
    reader = csv.reader(file, strict=True)
    try:
        header = next(reader, [])
        absent = [name for name in columns if name not in header]
        if absent:
            raise UsageError(f"{table} lacks the column {absent[0]!r}: {mend}")
        places = [header.index(name) for name in columns]
        for number, row in enumerate(filter(None, reader), start=2):
            fault = _fault_of(row, len(header))
            if fault:
                raise UsageError(f"{table}: row {number} {fault}: {mend}")
            if number % _EVERY == 0:
                meter.reach(file.buffer.tell())  # type: ignore[attr-defined]
            yield [row[place] for place in places]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"{table} is no CSV text after line {reader.line_num} ({error}): {mend}"
        ) from error


def _fault_of(row: Cells, cells: int) -> str | None:
    if len(row) != cells:
        return f"has {len(row)} cells where the header has {cells}"
    return "holds a NUL byte" if any("\0" in cell for cell in row) else None
