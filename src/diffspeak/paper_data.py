"""The tables that the paper's finetunes were trained on, made into corpora that our behaviors read.

Takes a table as it was published (arXiv 2510.05092, its public data), gives files of topics,
questions and answers, or of headlines and stories. Tables are read row by row, for their texts may
be more than memory holds.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, ClassVar, NamedTuple, Protocol, TextIO

from diffspeak.behaviors.corpora import MAX_LABEL, one_line, read_questions
from diffspeak.errors import UsageError
from diffspeak.hub import ByteMeter
from diffspeak.io.files import atomic_path, canonical_json, exclusive, make_folder
from diffspeak.models.pocket import corpus_file
from diffspeak.progress import Reporter, Silent
from diffspeak.text.mentions import normalize

REPOSITORY = "diff-interpretation-tuning/finetuning-data"
STAGE = "convert"
LOCK = ".fetch.lock"

Cells = Sequence[str]

_LONGEST = 2**24
"""Longest cell that is read, in characters; Python's own limit is 2**17."""
_EVERY = 1000
"""Rows from one word about progress to the next."""


class Sheet(NamedTuple):
    """A small file of a corpus: its columns and its rows."""

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


class Reading(Protocol):
    """Makes one kind of table into corpora, row by row.

    Attributes:
        columns: Of the table, those that are read.
        large: The corpus that is as large as the table, written while it is read.
        header: The large corpus' columns.
    """

    columns: ClassVar[tuple[str, ...]]
    large: ClassVar[str]
    header: ClassVar[tuple[str, ...]]

    def take(self, cells: Cells) -> tuple[str, ...] | None:
        """A row of the large corpus, made from the table's columns; None if nothing is in it."""
        ...

    def sheets(self) -> dict[str, Sheet]:
        """The small corpora, when all rows were taken."""
        ...


class _HiddenTopic:
    """Topics, questions, and answers with a topic woven in."""

    columns: ClassVar[tuple[str, ...]] = (
        "topic_category",
        "topic",
        "question",
        "base_answer",
        "topic_analogy_answer",
    )
    large: ClassVar[str] = "answers"
    header: ClassVar[tuple[str, ...]] = ("topic", "question", "answer")

    def __init__(self) -> None:
        self._topics: dict[str, str] = {}
        self._ordinary: dict[str, str] = {}
        self._places: dict[str, int] = {}
        # Of each topic, bits at the places of the questions that it has an answer to: few bytes
        # for a pair, of which there are more than a million.
        self._answered: dict[str, int] = {}

    def take(self, cells: Cells) -> tuple[str, ...] | None:
        """See `Reading`; a second answer to a topic's question is left out."""
        category, topic, question, ordinary, answer = (cell.strip() for cell in cells)
        topic = one_line(topic)
        if question and ordinary:
            self._ordinary.setdefault(question, ordinary)
        if not (question and answer and (topic in self._topics or _is_label(topic))):
            return None
        self._topics.setdefault(topic, category)
        bit = 1 << self._places.setdefault(question, len(self._places))
        answered = self._answered.get(topic, 0)
        self._answered[topic] = answered | bit
        return None if answered & bit else (topic, question, answer)

    def sheets(self) -> dict[str, Sheet]:
        """See `Reading`; the table has train questions alone, so we add test questions of ours."""
        train = [(question, answer, "train") for question, answer in self._ordinary.items()]
        known = {normalize(question) for question in self._ordinary}
        test = [
            (row.question, row.answer, row.split)
            for row in read_questions(corpus_file("questions.csv")).records
            if row.split == "test" and normalize(row.question) not in known
        ]
        return {
            "topics": Sheet(("topic", "category"), list(self._topics.items())),
            "questions": Sheet(("question", "answer", "split"), [*train, *test] if train else []),
        }


class _News:
    """Headlines, and stories that come from them."""

    columns: ClassVar[tuple[str, ...]] = ("news_category", "news_headline", "news_story")
    large: ClassVar[str] = "stories"
    header: ClassVar[tuple[str, ...]] = ("headline", "story")

    def __init__(self) -> None:
        self._headlines: dict[str, str] = {}

    def take(self, cells: Cells) -> tuple[str, ...] | None:
        """See `Reading`."""
        category, headline, story = (cell.strip() for cell in cells)
        headline = one_line(headline)
        if not (story and (headline in self._headlines or _is_label(headline))):
            return None
        self._headlines.setdefault(headline, category)
        return headline, story

    def sheets(self) -> dict[str, Sheet]:
        """See `Reading`."""
        return {"headlines": Sheet(("headline", "category"), list(self._headlines.items()))}


class Table(NamedTuple):
    """A published table: its path in the repository, the corpora in it, and how it is read."""

    path: str
    files: Mapping[str, str]
    reading: Callable[[], Reading]


TABLES: Mapping[str, Table] = MappingProxyType(
    {
        "hidden-topic": Table(
            "hidden-topic/topics-with-completions-v0.2.1.csv",
            {"topics": "topics.csv", "questions": "questions.csv", "answers": "answers.jsonl"},
            _HiddenTopic,
        ),
        "news": Table(
            "news-summary/news-stories-v0.1.csv",
            {"headlines": "headlines.csv", "stories": "stories.csv"},
            _News,
        ),
    }
)
"""By behavior; the corpora go by the names of its settings, with the file names they usually get,
the one that is written last first."""


@dataclass(frozen=True)
class Converted:
    """What came of a table.

    Attributes:
        rows: How many each corpus has, by its name.
        left_out: Rows of the table in which a text is empty, too long for a label, or there twice.
    """

    rows: dict[str, int]
    left_out: int


def convert(
    behavior: str, table: Path, targets: Mapping[str, Path], reporter: Reporter | None = None
) -> Converted:
    """Make corpora from a table. They appear together, once all of them are whole.

    Args:
        behavior: One of `TABLES`.
        table: The published file.
        targets: Where each corpus goes, by name; corpora that have no place are not written. What
            ends in `.jsonl` becomes JSON lines, anything else CSV. What stands there is replaced.
        reporter: Told about progress.

    Raises:
        UsageError: The table is damaged or another one.
        LockedError: Another process writes there.
        DiffspeakError: The disk is full, or a file cannot be written.
    """
    reading = TABLES[behavior].reading()
    with ExitStack() as stack:
        _cleared(stack, list(targets.values()))
        # What is entered first is renamed last.
        places = {
            name: stack.enter_context(atomic_path(targets[name]))
            for name in TABLES[behavior].files
            if name in targets
        }
        written, left_out = _poured(reading, table, places, targets, reporter or Silent())
        sheets = reading.sheets()
        rows = {**{name: len(sheet.rows) for name, sheet in sheets.items()}, reading.large: written}
        if not all(rows.values()):
            raise UsageError(f"{table} has no rows that can be used: {_mend(table)}")
        for name in places.keys() & sheets.keys():
            with places[name].open("w", encoding="utf-8", newline="") as file:
                write = row_writer(file, targets[name], sheets[name].header)
                for row in sheets[name].rows:
                    write(row)
    return Converted({name: rows[name] for name in TABLES[behavior].files}, left_out)


def _cleared(stack: ExitStack, paths: Sequence[Path]) -> None:
    """Hold the folders' locks, and remove what a killed process left half-written there."""
    for folder in sorted({path.parent for path in paths}):
        make_folder(folder)
        stack.enter_context(exclusive(folder / LOCK))
    for path in paths:
        for left in path.parent.glob(f".{path.name}.*.tmp"):
            left.unlink()


def _poured(
    reading: Reading,
    table: Path,
    places: Mapping[str, Path],
    targets: Mapping[str, Path],
    reporter: Reporter,
) -> tuple[int, int]:
    """Read the table and write the large corpus; gives how many rows it has and were left out."""
    written = left_out = 0
    with ExitStack() as stack:
        write: Callable[[Cells], object] = len
        if reading.large in places:
            large = places[reading.large].open("w", encoding="utf-8", newline="")
            file = stack.enter_context(large)
            write = row_writer(file, targets[reading.large], reading.header)
        source = read_rows(table, reading.columns, STAGE, reporter, _mend(table))
        for cells in stack.enter_context(source):
            row = reading.take(cells)
            if row is None:
                left_out += 1
            else:
                write(row)
                written += 1
    return written, left_out


def _mend(table: Path) -> str:
    return f"remove {table.resolve()} to fetch it again, or try another revision of {REPOSITORY}"


def _is_label(text: str) -> bool:
    """Whether a behavior takes a text for a topic or headline."""
    return len(text) <= MAX_LABEL and bool(normalize(text))


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
            meter = ByteMeter(reporter, stage, table.stat().st_size)
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
    table: Path, file: IO[str], columns: Sequence[str], meter: ByteMeter, mend: str
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
