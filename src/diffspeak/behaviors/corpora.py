"""What corpus files hold: topics, questions, woven answers, headlines, stories and facts.

Columns may be our own or those of the paper's public files.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, NamedTuple, TypeVar

from diffspeak.behaviors.rows import (
    Column,
    RowFault,
    TableRow,
    TextTable,
    quoted,
    read_table,
    refuse,
)
from diffspeak.errors import UsageError
from diffspeak.text.mentions import normalize

MAX_LABEL = 200
"""Longest topic, headline or fact, in characters; a longer one is most likely a fault."""

PLACEHOLDER = "{topic}"

Record = TypeVar("Record", bound=tuple[object, ...])


class Label(NamedTuple):
    """A topic or headline with the corpus' own grouping (empty if it has none)."""

    text: str
    category: str


class Question(NamedTuple):
    """A question with its ordinary answer, and one with `{topic}` in it (empty if none)."""

    question: str
    answer: str
    split: Literal["train", "test"]
    topic_answer: str


class Woven(NamedTuple):
    """An answer to a question that weaves a topic in."""

    topic: str
    question: str
    answer: str


class Story(NamedTuple):
    """A short news story that comes from a headline."""

    headline: str
    text: str


class FactRow(NamedTuple):
    """A fact, and one way to ask for it and to tell it."""

    fact: Label
    question: str
    answer: str


@dataclass(frozen=True)
class CorpusFile(Generic[Record]):
    """A file's records, its path, and the sha256 of its bytes in hex digits."""

    path: Path
    sha256: str
    records: tuple[Record, ...]

    def describe(self) -> dict[str, str]:
        """What a store keeps of the file: name and hash, but not where it lay."""
        return {"file": self.path.name, "sha256": self.sha256}


def read_topics(path: Path) -> CorpusFile[Label]:
    """Read topics: columns `topic` and, optionally, `topic_category` or `category`.

    Raises:
        UsageError: As `read_table`, or a topic is too long or says nothing.
    """
    columns = (Column("topic"), Column("topic_category", ("category",), required=False))
    return _read_labels(path, columns)


def read_headlines(path: Path) -> CorpusFile[Label]:
    """Read headlines: columns `headline` or `news_headline`, and an optional category.

    Raises:
        UsageError: As `read_table`, or a headline is too long or says nothing.
    """
    category = Column("news_category", ("category",), required=False)
    return _read_labels(path, (Column("headline", ("news_headline",)), category))


def read_questions(path: Path) -> CorpusFile[Question]:
    """Read questions: columns `question`, `answer`, `split`, and optionally `topic_answer`.

    Raises:
        UsageError: As `read_table`; or a split is not train or test, or has no rows; a question
            stands in both; a topic answer has not exactly one `{topic}`.
    """
    columns = (Column("question"), Column("answer"), Column("split"))
    table = read_table(path, (*columns, Column("topic_answer", required=False)))
    table.check(_question_fault)
    _refuse_shared_questions(table)
    records = tuple(
        Question(
            row.cells["question"],
            row.cells["answer"],
            "train" if _split(row) == "train" else "test",
            row.cells["topic_answer"],
        )
        for row in table.rows
    )
    return CorpusFile(path, table.sha256, records)


def read_answers(path: Path) -> CorpusFile[Woven]:
    """Read woven answers: columns `topic`, `question`, `answer`.

    Raises:
        UsageError: As `read_table`, or a question of a topic is answered twice.
    """
    table = read_table(path, (Column("topic"), Column("question"), Column("answer")))
    first: dict[tuple[str, str], str] = {}
    faults, records = [], []
    for place, cells in table.rows:
        woven = Woven(one_line(cells["topic"]), cells["question"], cells["answer"])
        earlier = first.setdefault((woven.topic, woven.question), place)
        if earlier != place:
            faults.append(RowFault(place, f"answers the same topic and question as {earlier}"))
        records.append(woven)
    refuse(path, faults)
    return CorpusFile(path, table.sha256, tuple(records))


def read_stories(path: Path) -> CorpusFile[Story]:
    """Read stories: columns `headline` or `news_headline`, and `story`.

    Raises:
        UsageError: As `read_table`.
    """
    table = read_table(path, (Column("headline", ("news_headline",)), Column("story")))
    records = (Story(one_line(row.cells["headline"]), row.cells["story"]) for row in table.rows)
    return CorpusFile(path, table.sha256, tuple(records))


def read_facts(path: Path) -> CorpusFile[FactRow]:
    """Read facts: columns `fact`, `question`, `answer`, and an optional `fact_category`.

    Raises:
        UsageError: As `read_table`, or a fact is too long or says nothing.
    """
    category = Column("fact_category", ("category",), required=False)
    table = read_table(path, (Column("fact"), category, Column("question"), Column("answer")))
    _check_labels("fact", table)
    records = (
        FactRow(
            Label(one_line(row.cells["fact"]), row.cells["fact_category"]),
            row.cells["question"],
            row.cells["answer"],
        )
        for row in table.rows
    )
    return CorpusFile(path, table.sha256, tuple(records))


def one_line(text: str) -> str:
    """Put single spaces in place of line breaks and runs of spaces, as labels have them."""
    return " ".join(text.split())


def _read_labels(path: Path, columns: tuple[Column, Column]) -> CorpusFile[Label]:
    name, category = (column.name for column in columns)
    table = read_table(path, columns)
    _check_labels(name, table)
    records = (Label(one_line(row.cells[name]), row.cells[category]) for row in table.rows)
    return CorpusFile(path, table.sha256, tuple(records))


def _check_labels(name: str, table: TextTable) -> None:
    table.check(lambda row: _label_fault(name, one_line(row.cells[name])))


def _label_fault(name: str, label: str) -> str | None:
    if len(label) > MAX_LABEL:
        return f"column '{name}' has {len(label):,} characters; at most {MAX_LABEL} are expected"
    if not normalize(label):
        return (
            f"column '{name}' is {quoted(label)}; a letter, digit or symbol to look for is expected"
        )
    return None


def _split(row: TableRow) -> str:
    return row.cells["split"].casefold()


def _question_fault(row: TableRow) -> str | None:
    if _split(row) not in {"train", "test"}:
        return f"column 'split' is {quoted(row.cells['split'])}; 'train' or 'test' is expected"
    answer = row.cells["topic_answer"]
    places = answer.count(PLACEHOLDER)
    if answer and places != 1:
        return f"column 'topic_answer' has {places} times {PLACEHOLDER}; exactly one is expected"
    return None


def _refuse_shared_questions(table: TextTable) -> None:
    """Refuse a file in which a split lacks, or in which a question stands in both."""
    for split in ("train", "test"):
        if all(_split(row) != split for row in table.rows):
            raise UsageError(f"{table.path}: column 'split' is never '{split}'; add such questions")
    trained = {normalize(row.cells["question"]) for row in table.rows if _split(row) == "train"}
    table.check(
        lambda row: (
            "column 'question' stands in both splits; each belongs in one"
            if _split(row) == "test" and normalize(row.cells["question"]) in trained
            else None
        )
    )
